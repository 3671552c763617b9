"""Every endpoint, socket topic and console page, tried as every role of two organizations.

The rows are written by hand, apart from the table in `tenancy.roles`: each says what one path answers to whom. A path
without a row fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import transaction
from django.test import Client as Browser
from django.urls import get_resolver

from flexai.api import throttling
from flexai.cluster.services import node_for_credential
from flexai.common import clock
from flexai.common.errors import Unauthenticated
from flexai.jobs.models import Job
from flexai.notifications.models import Delivery
from flexai.realtime.browsers import TOPICS, _visible
from flexai.realtime.hub import Hub
from flexai.realtime.routing import AGENT_PATH, BROWSER_PATH, sockets
from flexai.scheduling.models import Recording
from flexai.tenancy.models import (
    Announcement,
    AuditEntry,
    BrowserSession,
    Budget,
    JobPolicy,
    Organization,
    Quota,
    Role,
    ServiceAccount,
    Team,
    TeamMember,
    Token,
    User,
)
from flexai.tenancy.services import DEFAULT_CELL, add_member, create_team, create_token
from flexai.tenancy.tokens import principal_for_token
from tests.server.api.test_recorded import ELSEWHERE, PREPARED, UNRECORDED
from tests.support.tenants import Api, Tenant, a_cell, a_node, a_spec, a_tenant

pytestmark = pytest.mark.django_db

ACTORS = ("nobody", "viewer", "member", "maintainer", "owner", "operator", "stranger", "elsewhere")
"""By role in the organization `zebra`; an operator of the platform from a third organization; the owner of another
organization; and a token of zebra's owner that reaches another team only."""
EVERYBODY = "401 ok ok ok ok ok ok ok"
OPERATORS = "401 403 403 403 403 ok 403 403"
MINE = "401 ok ok ok ok 404 404 404"
"""What the members of zebra may see, and nobody else finds."""
STEERS_OWN = "401 403 ok ok ok 404 404 404"
MANAGES = "401 404 404 ok ok 404 404 404"
"""What those find who may manage it, and nobody else."""
STEERS_ANY = "401 403 403 ok ok 404 404 404"

NAMES = (
    "Zebra",
    "zebra-team",
    "zebra-other",
    "zebra-ci",
    "zebra-job",
    "zebra-member",
    "zebra-owner",
    "zebra-seated",
    "zebra-news",
    "zebra-hook",
    "ZEBRA_TOKEN",
)
"""What a stranger learns from no answer, but what it said itself."""

SPEC = a_spec(team="zebra-team")
ENROLS = {"token": "x", "name": "n", "credential": "flxa_" + "x" * 43}
QUOTAS = {"quotas": [{"chip_type": "H100-80GB", "guaranteed_milli": 1000}]}
PRICE = {"chip_type": "H100-80GB", "from_day": str(clock.now().date()), "micro_per_chip_hour": 1}
TRUST = {"account": "zebra-ci", "name": "gitlab", "issuer": "https://gitlab.com", "scopes": ["read"],
         "claims": {"project_path": "zebra/train"}}  # fmt: skip
ASKED = {"team": "{team}", "chip_type": "A100", "guaranteed_milli": 1000, "reason": "more to do"}
MONEY = {"team": "{third}", "kind": "budget", "chip_hours": 2000, "reason": "more to do"}
HOOK = {"name": "zebra-new", "url": "https://ci.example/x", "events": ["job.failed"]}
TOKEN = {"name": "ci", "scopes": ["read"], "expires_in_days": 1}

ENDPOINTS: list[tuple[str, str, Any, str]] = [
    ("get", "health", None, "ok ok ok ok ok ok ok ok"),
    ("get", "schema/", None, "ok ok ok ok ok ok ok ok"),
    ("get", "session", None, "ok ok ok ok ok ok ok ok"),
    ("post", "session", {"username": "nobody", "password": "wrong"}, "403 403 403 403 403 403 403 403"),
    ("delete", "session", None, "ok ok ok ok ok ok ok ok"),
    ("post", "agents/enrol", ENROLS, "401 401 401 401 401 401 401 401"),
    ("post", "agents/outputs/{job}", {"files": []}, "401 401 401 401 401 401 401 401"),
    ("put", "agents/outputs/{job}/{number}", {}, "401 401 401 401 401 401 401 401"),
    ("post", "agents/outputs/{job}/end", {}, "401 401 401 401 401 401 401 401"),
    ("get", "me", None, EVERYBODY),
    ("put", "me/organization", {"organization": "zebra"}, "401 409 409 409 409 409 409 409"),
    ("get", "me/sessions", None, EVERYBODY),
    ("delete", "me/sessions/{session}", None, "401 404 ok 404 404 404 404 404"),
    ("post", "me/sessions/end-others", None, EVERYBODY),
    ("get", "me/second-factor", None, EVERYBODY),
    ("post", "me/second-factor", {"password": "wrong"}, "401 401 401 401 401 401 401 401"),
    ("post", "me/second-factor/confirm", {"code": "123456"}, "401 409 409 409 409 409 409 409"),
    ("post", "me/second-factor/remove", {"password": "wrong", "code": "1"}, "401 401 401 401 401 401 401 401"),
    ("get", "jobs", None, EVERYBODY),
    ("post", "jobs", SPEC, "401 403 ok ok ok 400 400 400"),
    ("post", "jobs/batch", {"jobs": [SPEC]}, "401 400 ok ok ok 400 400 400"),
    ("get", "jobs/counts", None, EVERYBODY),
    ("get", "jobs/{job}", None, MINE),
    ("post", "jobs/{job}/stop", None, STEERS_OWN),
    ("post", "jobs/{other_job}/stop", None, STEERS_ANY),
    ("post", "jobs/{job}/hold", None, STEERS_OWN),
    ("post", "jobs/{other_job}/hold", None, STEERS_ANY),
    ("post", "jobs/{held}/resume", None, STEERS_OWN),
    ("post", "jobs/{active}/keep", None, STEERS_OWN),
    ("post", "jobs/{ended}/requeue", None, STEERS_OWN),
    ("get", "jobs/{job}/events", None, MINE),
    ("get", "jobs/{job}/logs", None, MINE),
    ("get", "jobs/{job}/explain", None, MINE),
    ("get", "jobs/{job}/usage", None, MINE),
    ("get", "jobs/{job}/metrics", None, MINE),
    ("get", "jobs/{job}/outputs", None, MINE),
    ("delete", "jobs/{job}/outputs", None, STEERS_OWN),
    ("delete", "jobs/{other_job}/outputs", None, STEERS_ANY),
    ("get", "jobs/{job}/outputs/file?path=x", None, "401 404 404 404 404 404 404 404"),
    ("get", "jobs/{job}/outputs.tar", None, "401 404 404 404 404 404 404 404"),
    ("get", "schedules", None, EVERYBODY),
    ("post", "schedules", {**SPEC, "name": "new", "schedule": {"cron": "0 3 * * *"}},
     "401 403 ok ok ok 400 400 400"),
    ("get", "schedules/{schedule}", None, MINE),
    ("post", "schedules/{schedule}/pause", None, STEERS_OWN),
    ("post", "schedules/{schedule}/resume", None, STEERS_OWN),
    ("post", "schedules/{other_schedule}/pause", None, STEERS_ANY),
    ("delete", "schedules/{schedule}", None, STEERS_OWN),
    ("delete", "schedules/{other_schedule}", None, STEERS_ANY),
    ("get", "nodes", None, EVERYBODY),
    ("get", "nodes/{node}", None, EVERYBODY),
    ("post", "nodes/{node}/drain", None, OPERATORS),
    ("post", "nodes/{node}/cordon", None, OPERATORS),
    ("post", "nodes/{node}/return", None, OPERATORS),
    ("post", "nodes/{node}/revoke-credential", {"reason": "stolen"}, OPERATORS),
    ("get", "chips", None, EVERYBODY),
    ("post", "chips/{chip}/cordon", {"reason": "it smells"}, OPERATORS),
    ("post", "chips/{chip}/return", None, OPERATORS),
    ("get", "cluster", None, EVERYBODY),
    ("get", "cycles", None, EVERYBODY),
    ("get", "forecasts", None, EVERYBODY),
    ("get", "policy", None, EVERYBODY),
    ("put", "policy", {"values": {}}, OPERATORS),
    ("get", "recordings", None, OPERATORS),
    ("get", "recordings/{recording}", None, OPERATORS),
    ("get", "teams", None, EVERYBODY),
    ("get", "teams/{team}", None, "401 ok ok ok ok ok 404 404"),
    ("put", "teams/{team}/quotas", QUOTAS, "401 403 403 403 403 ok 404 404"),
    ("put", "teams/{below}/quotas", QUOTAS, "401 403 403 403 ok ok 404 404"),
    ("put", "teams/{team}/user-caps", {"user_caps": []}, "401 403 403 403 ok ok 404 404"),
    ("put", "teams/{team}/budget", {"chip_hours": 1}, "401 403 403 403 403 ok 404 404"),
    ("put", "teams/{below}/budget", {"chip_hours": 1}, "401 403 403 403 ok ok 404 404"),
    ("delete", "teams/{team}/budget", None, "401 403 403 403 403 ok 404 404"),
    ("delete", "teams/{below}/budget", None, "401 403 403 403 ok ok 404 404"),
    ("get", "quota-requests", None, EVERYBODY),
    ("post", "quota-requests", ASKED, "401 403 403 ok ok 404 404 404"),
    ("post", "quota-requests", MONEY, "401 403 403 ok ok 404 404 404"),
    ("post", "quota-requests/{request}/withdraw", None, "401 403 403 ok ok 404 404 404"),
    ("post", "quota-requests/{request}/approve", {}, "401 403 403 403 403 ok 404 404"),
    ("post", "quota-requests/{request_below}/approve", {}, "401 403 403 403 ok ok 404 404"),
    ("post", "quota-requests/{budget}/approve", {}, "401 403 403 403 403 ok 404 404"),
    ("post", "quota-requests/{budget_below}/approve", {}, "401 403 403 403 ok ok 404 404"),
    ("post", "quota-requests/{request}/decline", {"reason": "full"}, "401 403 403 403 403 ok 404 404"),
    ("post", "quota-requests/{request_below}/decline", {"reason": "full"}, "401 403 403 403 ok ok 404 404"),
    ("put", "teams/{team}/members/zebra-viewer", {"role": "member"}, "401 403 403 ok ok ok 404 404"),
    ("put", "teams/{team}/members/zebra-viewer", {"role": "owner"}, "401 403 403 403 ok ok 404 404"),
    ("put", "teams/{team}/members/giraffe-owner", {"role": "viewer"}, "401 403 403 404 404 404 404 404"),
    ("delete", "teams/{team}/members/zebra-seated", None, "401 403 403 ok ok ok 404 404"),
    ("get", "members", None, "401 403 403 ok ok ok ok 403"),
    ("put", "members/zebra-viewer", {"role": "member"}, "401 403 403 ok ok 404 404 403"),
    ("put", "members/zebra-viewer", {"role": "owner"}, "401 403 403 403 ok 404 404 403"),
    ("put", "members/zebra-owner", {"role": "viewer"}, "401 403 403 403 409 404 404 403"),
    ("delete", "members/zebra-viewer", None, "401 403 403 ok ok 404 404 403"),
    ("get", "service-accounts", None, EVERYBODY),
    ("post", "service-accounts", {"name": "new", "role": "member"}, "401 403 403 ok ok ok ok ok"),
    ("post", "service-accounts", {"name": "new", "role": "owner", "team": "zebra-team"},
     "401 403 403 403 ok 404 404 404"),
    ("get", "service-accounts/{account}", None, "401 404 404 ok ok 404 404 404"),
    ("delete", "service-accounts/{account}", None, "401 404 404 ok ok 404 404 404"),
    ("post", "service-accounts/{account}/tokens", TOKEN, "401 404 404 ok ok 404 404 404"),
    ("get", "trust-rules", None, EVERYBODY),
    ("post", "trust-rules", TRUST, "401 404 404 ok ok 404 404 404"),
    ("delete", "trust-rules/{trust}", None, "401 404 404 ok ok 404 404 404"),
    ("post", "auth/exchange", {"subject_token": "x"}, "401 401 401 401 401 401 401 401"),
    ("post", "sign-ins", {"machine": "laptop"}, "ok ok ok ok ok ok ok ok"),
    ("post", "sign-ins/token", {"device_code": "x"}, "400 400 400 400 400 400 400 400"),
    ("post", "sign-ins/look", {"code": "BCDF-GHJK"}, "401 409 409 409 409 409 409 409"),
    ("post", "sign-ins/decide", {"code": "BCDF-GHJK", "grant": True}, "401 409 409 409 409 409 409 409"),
    ("get", "announcements", None, EVERYBODY),
    ("get", "audit", None, "401 403 403 403 ok ok ok 403"),
    ("get", "audit.csv", None, "401 403 403 403 ok ok ok 403"),
    ("get", "webhooks", None, EVERYBODY),
    ("post", "webhooks", HOOK, "401 403 403 ok ok ok ok ok"),
    ("post", "webhooks", {**HOOK, "team": "zebra-team"}, "401 403 403 ok ok 404 404 404"),
    ("get", "webhooks/{hook}", None, MANAGES),
    ("patch", "webhooks/{hook}", {"on": False}, MANAGES),
    ("delete", "webhooks/{hook}", None, MANAGES),
    ("post", "webhooks/{hook}/secret", None, MANAGES),
    ("post", "webhooks/{hook}/ping", None, MANAGES),
    ("get", "webhooks/{hook}/deliveries", None, MANAGES),
    ("post", "webhooks/{hook}/deliveries/{message}/redeliver", None, MANAGES),
    ("get", "job-policy", None, EVERYBODY),
    ("put", "job-policy", {"bounds": {"priority": 60}}, "401 403 403 403 ok ok ok 403"),
    ("delete", "job-policy", None, "401 403 403 403 ok 404 404 403"),
    ("get", "teams/{team}/job-policy", None, "401 ok ok ok ok ok 404 404"),
    ("put", "teams/{team}/job-policy", {"bounds": {"priority": 60}}, "401 403 403 403 ok ok 404 404"),
    ("delete", "teams/{team}/job-policy", None, "401 403 403 403 ok ok 404 404"),
    ("get", "teams/{team}/secrets", None, "401 403 ok ok ok ok 404 404"),
    ("get", "teams/{team}/secrets/ZEBRA_TOKEN", None, "401 403 ok ok ok ok 404 404"),
    ("get", "teams/{below}/secrets/ZEBRA_TOKEN", None, "401 403 404 404 404 404 404 404"),
    ("put", "teams/{team}/secrets/ZEBRA_TOKEN", {"value": "x"}, "401 403 403 ok ok ok 404 404"),
    ("put", "teams/{below}/secrets/NEW", {"value": "x"}, "401 403 403 ok ok ok 404 404"),
    ("delete", "teams/{team}/secrets/ZEBRA_TOKEN", None, "401 403 403 ok ok ok 404 404"),
    ("get", "usage", None, EVERYBODY),
    ("get", "usage.csv", None, EVERYBODY),
    ("get", "history", None, "401 403 403 403 ok ok ok 403"),
    ("get", "savings", None, OPERATORS),
    ("get", "prices", None, EVERYBODY),
    ("put", "prices", {"prices": [PRICE]}, OPERATORS),
    ("get", "tokens", None, EVERYBODY),
    ("post", "tokens", TOKEN, EVERYBODY),
    ("post", "tokens", {**TOKEN, "team": "zebra-team"}, "401 ok ok ok ok 404 404 404"),
    ("delete", "tokens/{token}", None, "401 404 ok 404 404 404 404 404"),
    ("delete", "tokens/{account_token}", None, "401 404 404 ok ok 404 404 404"),
    ("post", "enrolment-tokens", {}, OPERATORS),
]  # fmt: skip

SOCKETS = [
    ("cluster", "(cluster)", "ok ok ok ok ok ok ok"),
    ("team:{team}:jobs", "team:([^:]+):jobs", "ok ok ok ok ok - -"),
    ("job:{job}", "job:([^:]+)", "ok ok ok ok - - -"),
]
"""As `ACTORS` from the viewer on; a socket without a caller is not opened at all (tests of the socket)."""

SITE: dict[str, tuple[str, str]] = {
    "api/v1/": ("/api/v1/health", "200 200 200 200 200 200 200 200"),
    "metrics": ("/metrics", "401 403 403 403 403 200 403 403"),
    "sign-in/oidc": ("/sign-in/oidc", "404 404 404 404 404 404 404 404"),
    "sign-in/oidc/callback": ("/sign-in/oidc/callback?code=x", "404 404 404 404 404 404 404 404"),
    "favicon.ico": ("/favicon.ico", "301 301 301 301 301 301 301 301"),
    "console/login/": ("/console/login/", "302 302 302 302 302 302 302 302"),
    "console/": ("/console/", "302 302 302 302 302 302 302 302"),
    r"^(?!api/|console/|static/|ws/).*$": ("/jobs", "200 200 200 200 200 200 200 200"),
}
"""Every route of the server, one path of each: by a token the console is opened to nobody, and no provider signs in
where none is set (with one: `test_sign_in.py`)."""

CONSOLE = {
    "tenancy.organization": "list add change", "tenancy.team": "list add change", "tenancy.user": "list add change",
    "tenancy.token": "list", "tenancy.auditentry": "list", "tenancy.serviceaccount": "list",
    "tenancy.trustrule": "list add", "tenancy.secret": "list add",
    "tenancy.announcement": "list add",
    "tenancy.price": "list add", "tenancy.jobpolicy": "list add change delete", "tenancy.quotarequest": "list",
    "notifications.webhook": "list", "notifications.delivery": "list",
    "cluster.pool": "list add change", "cluster.node": "list", "cluster.chip": "list", "cluster.nodeevent": "list",
    "cluster.chiptype": "list",
    "jobs.job": "list", "jobs.attempt": "list", "jobs.event": "list", "scheduling.cycle": "list",
    "scheduling.recording": "list", "scheduling.mix": "list", "scheduling.verdict": "list",
    "scheduling.quarantine": "list",
}  # fmt: skip
"""What an operator may do with each model by forms; nobody else enters at all."""
FORMS = {
    "changelist": "",
    "add": "add/",
    "change": "1/change/",
    "delete": "1/delete/",
    "history": "1/history/",
}
OTHER_PAGES = {
    "index": "", "app_list": "tenancy/", "logout": "logout/", "search": "search/", "autocomplete": "autocomplete/",
    "jsi18n": "jsi18n/", "view_on_site": "r/1/1/", "password_change": "password_change/",
    "password_change_done": "password_change/done/", "auth_user_password_change": "tenancy/user/1/password/",
    "tenancy_quota_tree": "tenancy/team/quotas/",
}  # fmt: skip
"""The console's pages that are of no model's forms."""


@dataclass
class Matrix:
    """The two organizations, who acts, and the ids that paths name."""

    apis: dict[str, Api]
    secrets: dict[str, str]
    users: dict[str, User]
    ids: dict[str, str]


@pytest.fixture
def matrix(db: None, monkeypatch: pytest.MonkeyPatch) -> Matrix:
    monkeypatch.setattr(throttling, "TERMINALS_PER_WINDOW", 10**9)
    a_cell()
    node = a_node(chips=1)
    zebra = Organization.objects.create(slug="zebra", name="Zebra")
    team, other_team = create_team(zebra, "zebra-team"), create_team(zebra, "zebra-other")
    users = {role.value: User.objects.create(username=f"zebra-{role.value}") for role in Role}
    for role in Role:
        add_member(zebra, users[role.value], role)
    operators, giraffe = a_tenant("operations", operator=True), a_tenant("giraffe")
    User.objects.filter(pk=giraffe.owner.pk).update(username="giraffe-owner")
    users |= {"operator": operators.owner, "stranger": giraffe.owner}
    secrets = {"operator": operators.token, "stranger": giraffe.token}
    for role in Role:
        _, secrets[role.value] = create_token(users[role.value], zebra, "zebra", ["read", "write"], 1)
    _, secrets["elsewhere"] = create_token(users["owner"], zebra, "e", ["read", "write"], 1, other_team)
    made = Matrix(
        {"nobody": Api(), **{who: Api(secret) for who, secret in secrets.items()}}, secrets, users, {}
    )
    below = create_team(zebra, "zebra-below", parent=team)
    Quota.objects.create(team=team, cell_id=DEFAULT_CELL, chip_type="H100-80GB", guaranteed_milli=1000)
    made.ids = {
        "below": below.public_id,
        "node": node.public_id,
        "chip": node.chips.get().public_id,
        "team": team.public_id,
        **_jobs(made),
        **_others(made, zebra, team),
    }
    return made


def _jobs(matrix: Matrix) -> dict[str, str]:
    """Jobs of the member, and one of the owner, in every state that an action needs."""
    ids = {}
    for name, actor in {"job": "member", "other_job": "owner", "held": "member", "active": "member",
                        "ended": "member"}.items():  # fmt: skip
        ids[name] = matrix.apis[actor].post("/jobs", {**SPEC, "name": f"zebra-{name}"}).json()["id"]
    for name, actor in {"schedule": "member", "other_schedule": "owner"}.items():
        spec = {**SPEC, "name": f"zebra-{name}", "schedule": {"cron": "0 3 * * *"}}
        ids[name] = matrix.apis[actor].post("/schedules", spec).json()["id"]
    states = {"held": "held", "active": "active", "ended": "succeeded"}
    for name, state in states.items():
        Job.objects.filter(public_id=ids[name]).update(state=state, status=state, reason_code="hold")
    return ids


def _others(matrix: Matrix, zebra: Organization, team: Team) -> dict[str, str]:
    below = Team.objects.get(name="zebra-below")
    third = create_team(zebra, "zebra-third", parent=team)
    for one in (team, below, third):
        Budget.objects.create(team=one, since=clock.now().date(), chip_hours=1000)
    requests = [
        matrix.apis["maintainer"]
        .post("/quota-requests", {**ASKED, "team": one.public_id, **more})
        .json()["id"]
        for one, more in (
            (team, {"chip_type": "H100-80GB", "guaranteed_milli": 2000}),
            (below, {"chip_type": "H100-80GB"}),
        )
    ]
    budgets = [
        matrix.apis["maintainer"].post("/quota-requests", {**MONEY, "team": one.public_id}).json()["id"]
        for one in (team, below)
    ]
    matrix.apis["owner"].put(f"/teams/{team.public_id}/secrets/ZEBRA_TOKEN", {"value": "x"})
    JobPolicy.objects.create(organization=zebra, team=team)
    JobPolicy.objects.create(organization=zebra)
    now = clock.now()
    Announcement.objects.create(
        text="zebra-news", organization=zebra, starts_at=now, ends_at=now + timedelta(days=1)
    )
    seated = User.objects.create(username="zebra-seated")
    TeamMember.objects.create(team=team, user=seated, role="viewer")
    account = (
        matrix.apis["owner"].post("/service-accounts", {"name": "zebra-ci", "role": "member"}).json()["id"]
    )
    token = matrix.apis["owner"].post(f"/service-accounts/{account}/tokens", TOKEN).json()["id"]
    trust = matrix.apis["owner"].post("/trust-rules", TRUST).json()["id"]
    hook = matrix.apis["owner"].post("/webhooks", {**HOOK, "name": "zebra-hook"}).json()["id"]
    message = matrix.apis["owner"].post(f"/webhooks/{hook}/ping").json()["id"]
    Delivery.objects.update(state="delivered")
    recording = Recording.objects.create(
        cell_id=1, first_at=clock.now(), last_at=clock.now(), cycles=1, size=1, data=b"x"
    )
    own = Token.objects.get(user=matrix.users["member"]).public_id
    Browser().force_login(matrix.users["member"])
    session = BrowserSession.objects.get().public_id
    return {"number": "0", "account": account, "account_token": token, "recording": str(recording.pk), "token": own,
            "trust": trust, "request": requests[0], "request_below": requests[1], "hook": hook,
            "message": message, "third": third.public_id, "budget": budgets[0], "budget_below": budgets[1],
            "session": session}  # fmt: skip


def test_every_endpoint_answers_each_role_as_written(matrix: Matrix) -> None:
    wrong, recorded = [], set()
    for method, path, body, expected in ENDPOINTS:
        url = "/" + path.format(**matrix.ids)
        if body in (ASKED, MONEY):
            body = {**body, "team": body["team"].format(**matrix.ids)}
        right = dict(zip(ACTORS, expected.split(), strict=True))
        tries = {actor: _tried(matrix, actor, method, url, body) for actor in ACTORS}
        got = {actor: answer for actor, (answer, _) in tries.items()}
        if any(entries for answer, entries in tries.values() if answer == "ok"):
            recorded.add((method, _pattern(path)))
        wrong += [(method, path, who, got[who], right[who]) for who in ACTORS if got[who] != right[who]]
    assert not wrong, "method, path, who, answer, as written:\n" + "\n".join(map(str, wrong))
    writes = {(method, _pattern(path)) for method, path, _, _ in ENDPOINTS if method != "get"}
    assert writes - recorded == {*UNRECORDED, *PREPARED, *ELSEWHERE}, "every write is in the audit log"


def _tried(matrix: Matrix, actor: str, method: str, url: str, body: Any) -> tuple[str, int]:
    """What became of one request, which is undone: "ok", or the status of a refusal that left nothing behind; and how
    many entries of the audit log it left."""
    api = matrix.apis[actor]
    entries = AuditEntry.objects.count()
    with transaction.atomic():
        answer = getattr(api, method)(url, *([body] if method in ("post", "put", "patch") else []))
        wrote = AuditEntry.objects.count() - entries
        transaction.set_rollback(True)
    if actor == "stranger":
        told = answer.content.decode() if not answer.streaming else ""
        learnt = [name for name in NAMES if name in told and name not in f"{url} {body}"]
        assert not learnt, f"another tenant's names in the answer of {url}"
    if answer.status_code < 300:
        return "ok", wrote
    assert not wrote, f"what is refused leaves nothing behind: {url}"
    assert answer["Content-Type"] == "application/problem+json", url
    return str(answer.status_code), 0


def test_every_endpoint_has_its_row() -> None:
    written = {(method, _pattern(path)) for method, path, _, _ in ENDPOINTS}
    there = {
        (method, _pattern(str(entry.pattern)))
        for entry in get_resolver("flexai.api.urls").url_patterns
        for method in ("get", "post", "put", "patch", "delete")
        if hasattr(entry.callback.view_class, method)
    }
    assert written == there


def test_every_route_of_the_site_answers_each_role_as_written(matrix: Matrix) -> None:
    assert {str(entry.pattern) for entry in get_resolver().url_patterns} == set(SITE), "every route has a row"
    got = {
        pattern: " ".join(str(matrix.apis[actor].site(path).status_code) for actor in ACTORS)
        for pattern, (path, _) in SITE.items()
    }
    assert got == {pattern: expected for pattern, (_, expected) in SITE.items()}


def test_the_agents_socket_is_for_credentials_of_nodes_alone_and_they_open_nothing_else(
    matrix: Matrix,
) -> None:
    assert set(sockets(Hub())) == {AGENT_PATH, BROWSER_PATH}, "the browsers' has its topics in `SOCKETS`"
    for secret in ("", *matrix.secrets.values()):
        with pytest.raises(Unauthenticated):
            node_for_credential(secret)
    token = matrix.apis["operator"].post("/enrolment-tokens").json()["token"]
    matrix.apis["nobody"].post("/agents/enrol", {**ENROLS, "token": token})
    credential = ENROLS["credential"]
    assert node_for_credential(credential).name == "n"
    for method, path, body, expected in ENDPOINTS:
        if expected.startswith("401") and not path.startswith("agents/"):
            answer = _tried(
                Matrix({"agent": Api(credential)}, {}, {}, {}), "agent", method, "/" + _pattern(path), body
            )
            assert answer == ("401", 0), (method, path)


def _pattern(path: str) -> str:
    """The path with every id as a star."""
    path = path.partition("?")[0]
    parts = [
        ("*" if part[:1] in "{<" or before in ("members", "secrets") else part)
        for before, part in _pairs(path)
    ]
    return "/".join(parts)


def _pairs(path: str) -> list[tuple[str, str]]:
    parts = path.split("/")
    return list(zip(["", *parts], parts, strict=False))


def test_a_topic_is_heard_by_each_role_as_written(matrix: Matrix) -> None:
    assert {pattern for _, pattern, _ in SOCKETS} == set(TOPICS), "every kind of topic has a row"
    topics = {topic: topic.format(**matrix.ids) for topic, _, _ in SOCKETS}
    for actor, secret in matrix.secrets.items():
        seen = _visible(principal_for_token(secret), list(topics.values()))
        for topic, _, expected in SOCKETS:
            right = dict(zip(ACTORS[1:], expected.split(), strict=True))[actor]
            assert ("ok" if topics[topic] in seen else "-") == right, (actor, topic)


def test_the_console_is_the_operators_alone(matrix: Matrix) -> None:
    registered = {model._meta.label_lower for model in admin.site._registry}
    assert registered == set(CONSOLE), "every model of the console has a row"
    forms = [f"{_place(label)}/{page}" for label in CONSOLE for page in FORMS.values()]
    for actor in ("nobody", "viewer", "member", "maintainer", "owner", "stranger"):
        browser = Browser(HTTP_HOST="localhost")
        if actor != "nobody":
            browser.force_login(matrix.users[actor])
        for path in (*forms, *OTHER_PAGES.values()):
            assert browser.get(f"/console/{path}").status_code == 302, (actor, path)


def test_every_page_of_the_console_has_its_row() -> None:
    forms = {f"{label.replace('.', '_')}_{form}" for label in CONSOLE for form in FORMS}
    assert set(_names(admin.site.urls[0])) - {"login"} == forms | set(OTHER_PAGES), (
        "the way in is open to all"
    )


def _names(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        if hasattr(entry, "url_patterns"):
            yield from _names(entry.url_patterns)
        elif entry.name is not None:
            yield entry.name


def test_an_operator_does_in_the_console_what_is_written(matrix: Matrix) -> None:
    browser = Browser(HTTP_HOST="localhost")
    browser.force_login(matrix.users["operator"])
    for label in CONSOLE:
        _check_page(browser, label)


def _check_page(browser: Browser, label: str) -> None:
    model = next(model for model in admin.site._registry if model._meta.label_lower == label)
    may = CONSOLE[label].split()
    assert browser.get(f"/console/{_place(label)}/").status_code == 200
    added = browser.get(f"/console/{_place(label)}/add/").status_code
    assert added == (200 if "add" in may else 403), label
    row = model._default_manager.first()
    if row is not None:
        page = f"/console/{_place(label)}/{row.pk}"
        answer = browser.get(f"{page}/change/")
        assert answer.status_code == 200
        assert (b'name="_save"' in answer.content) == ("change" in may)
        assert browser.get(f"{page}/delete/").status_code == (200 if "delete" in may else 403)


def _place(label: str) -> str:
    return label.replace(".", "/")


def test_the_account_of_a_service_has_no_more_than_its_role(matrix: Matrix) -> None:
    account = ServiceAccount.objects.get()
    made = matrix.apis["maintainer"].post(f"/service-accounts/{account.public_id}/tokens", {
        "name": "ci", "scopes": ["read", "write"], "expires_in_days": 1})  # fmt: skip
    api = Api(made.json()["token"])
    assert api.post("/jobs", {**SPEC}).status_code == 201
    assert api.post(f"/jobs/{matrix.ids['other_job']}/stop").status_code == 403
    assert api.put(f"/teams/{matrix.ids['team']}/quotas", QUOTAS).status_code == 403
    shown = matrix.apis["owner"].get(f"/service-accounts/{account.public_id}").json()
    assert (shown["username"], shown["role"]) == ("zebra-ci@zebra", "member")
    assert shown["tokens"][0]["last_used_at"] is not None
    assert "token" not in shown["tokens"][0], "the secret is shown once"
    assert matrix.apis["owner"].delete(f"/service-accounts/{account.public_id}").status_code == 204
    assert api.get("/me").status_code == 401
    again = matrix.apis["owner"].post("/service-accounts", {"name": "zebra-ci", "role": "viewer"}).json()
    assert again["username"] == "zebra-ci@zebra-2"


def test_the_last_owner_stays(tenant: Tenant) -> None:
    assert tenant.api.delete(f"/members/{tenant.owner.username}").status_code == 409
    _, api = tenant.somebody(Role.OWNER)
    assert api.delete(f"/members/{tenant.owner.username}").status_code == 204
    assert tenant.api.get("/jobs").json()["items"] == []
    assert tenant.api.get("/members").status_code == 403
