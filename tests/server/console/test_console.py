"""The console: operators only, every page opens, what it changes goes through services and is recorded."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client as Browser
from django.utils import timezone

from flexai.cluster.models import Chip, Node
from flexai.cluster.telemetry import keep_frames
from flexai.common import clock
from flexai.common.source import asked_from
from flexai.jobs.models import Attempt, IdleAttempt, Job
from flexai.scheduling.models import Quarantine, Verdict
from flexai.tenancy.models import (
    AuditEntry,
    Budget,
    Membership,
    Organization,
    Quota,
    Secret,
    ServiceAccount,
    Team,
    TrustRule,
    User,
    UserCap,
)
from flexai.tenancy.team_secrets import unsealed
from node_agent.protocol import ChipSample, Telemetry, pack_telemetry

pytestmark = pytest.mark.django_db

PAGES = [
    "tenancy/organization", "tenancy/team", "tenancy/user", "tenancy/token", "tenancy/auditentry",
    "tenancy/serviceaccount", "tenancy/trustrule", "tenancy/price", "tenancy/jobpolicy", "tenancy/quotarequest",
    "tenancy/announcement", "tenancy/secret",
    "notifications/webhook", "notifications/delivery",
    "cluster/pool", "cluster/node", "cluster/chip", "cluster/chiptype", "cluster/nodeevent",
    "jobs/job", "jobs/attempt", "jobs/event",
    "scheduling/cycle", "scheduling/recording", "scheduling/mix", "scheduling/verdict", "scheduling/quarantine",
]  # fmt: skip


def check_scripts(answer: Any) -> None:
    """The page has no script of its own in it, which its content policy would refuse."""
    scripts = re.findall(r"<script\b[^>]*>", text := answer.content.decode())
    assert scripts
    assert [tag for tag in scripts if 'src="/' not in tag and 'type="application/json"' not in tag] == []
    assert re.findall(r"<[^>]*\son(?:click|change|load|submit|input|error)=", text) == []
    assert "javascript:" not in text


@pytest.mark.parametrize("page", PAGES)
def test_every_list_and_object_opens(browser: Browser, rows: dict[str, Any], page: str) -> None:
    answer = browser.get(f"/console/{page}/")
    assert answer.status_code == 200
    assert b"<script>alert(1)" not in answer.content
    check_scripts(answer)
    model = next(model for model in admin.site._registry if model._meta.label_lower.replace(".", "/") == page)
    found = model._default_manager.first()
    if found is not None:
        answer = browser.get(f"/console/{page}/{found.pk}/change/")
        assert answer.status_code == 200
        assert b"<script>alert(1)" not in answer.content
        assert b"secret-hash" not in answer.content
        assert b"of-a-secret" not in answer.content
    assert browser.get(f"/console/{page}/?q=x").status_code == 200


def test_the_side_bar_and_the_registry_name_the_same_pages(browser: Browser) -> None:
    registered = {model._meta.label_lower.replace(".", "/") for model in admin.site._registry}
    assert registered == set(PAGES)
    start = browser.get("/console/").content.decode()
    for page in PAGES:
        assert f'href="/console/{page}/"' in start


def test_the_first_page_has_real_figures(browser: Browser, rows: dict[str, Any]) -> None:
    answer = browser.get("/console/")
    figures = {figure["title"]: figure["value"] for figure in answer.context["figures"]}
    assert figures["Nodes ready"] == "1 of 1"
    assert figures["Jobs queued"] == 1
    assert figures["Failed cycles, 24 h"] == 1
    assert figures["In quarantine"] == 1
    assert answer.context["types"][0]["total"] == 1


def test_the_first_page_shows_what_asks_for_an_operator(browser: Browser, rows: dict[str, Any]) -> None:
    node, job, attempt = rows["node"], rows["job"], rows["attempt"]
    Chip.objects.filter(node=node).update(used_milli=500)
    Chip.objects.create(
        node=node, cell=rows["cell"], index=1, type="cpu", memory_mib=100, memory_ceiling_mib=100, used_milli=1000
    )  # fmt: skip
    frame = Telemetry(1, 0, 0, [ChipSample(0, 700, 0), ChipSample(1, 250, 0)])
    keep_frames({node.pk: pack_telemetry(frame)}, at_ms=clock.to_ms(clock.now()))
    page = browser.get("/console/")
    (kind,) = page.context["types"]
    assert (kind["held"], kind["used"], kind["unused"]) == ("1.5", "0.8", 50), (
        "a chip is used by what is held of it"
    )
    assert [waits.pk for waits in page.context["waiting"]] == [job.pk]
    assert "No chips." in page.content.decode()
    assert "All nodes are well." in page.content.decode()

    Attempt.objects.filter(pk=attempt.pk).update(state="running")
    IdleAttempt.objects.create(
        attempt=attempt, cell=rows["cell"], since=timezone.now(), use_permille=31, notified_at=timezone.now()
    )
    Chip.objects.filter(node=node, index=1).update(cordoned_because="a fan is loud")
    page = browser.get("/console/")
    assert [idle.attempt.job.pk for idle in page.context["idle"]] == [job.pk]
    assert [(ill.pk, ill.sick, ill.chips_now) for ill in page.context["unwell"]] == [(node.pk, 1, 2)]
    assert "used by 3 %" in page.content.decode()

    Node.objects.filter(pk=node.pk).update(reachable=False)
    assert "unreachable" in browser.get("/console/").content.decode()
    assert b"<script>alert(1)" not in page.content


@pytest.mark.parametrize("path", ["", *(f"{page}/" for page in PAGES), "tenancy/user/add/"])
def test_nobody_but_operators_enters(rows: dict[str, Any], path: str) -> None:
    stranger = Browser(HTTP_HOST="localhost")
    assert stranger.get(f"/console/{path}").status_code == 302
    stranger.force_login(User.objects.get(username="ana"))
    assert stranger.get(f"/console/{path}").status_code == 302
    assert stranger.post(f"/console/{path}", {"action": "stop"}).status_code == 302
    assert Job.objects.get().status == "queued"


def test_the_error_of_a_cycle_is_visible_and_escaped(browser: Browser, rows: dict[str, Any]) -> None:
    page = browser.get(f"/console/scheduling/cycle/{rows['cycle'].pk}/change/").content.decode()
    assert "&lt;b&gt;it broke&lt;/b&gt;" in page
    assert browser.get("/console/scheduling/cycle/?result=failed").content.count(b"failed") > 0


def test_quotas_are_set_through_the_service(browser: Browser, rows: dict[str, Any]) -> None:
    team, cell = rows["team"], rows["cell"]
    page = f"/console/tenancy/team/{team.pk}/change/"
    line = {
        "cell": cell.pk,
        "chip_type": "cpu",
        "guaranteed_milli": 4000,
        "limit_milli": 8000,
        "over_quota_weight": 1,
    }
    assert browser.post(page, _team_form(team, [line])).status_code == 302
    quota = Quota.objects.get()
    assert (quota.guaranteed_milli, quota.limit_milli) == (4000, 8000)
    entry = AuditEntry.objects.filter(actor="olga", object_id=team.public_id).latest("id")
    assert "4000" in str(entry.after)
    line = {**line, "id": quota.pk, "DELETE": "on"}
    assert browser.post(page, _team_form(team, [line], existing=1)).status_code == 302
    assert not Quota.objects.exists()


def test_a_refused_quota_changes_nothing_and_is_said(browser: Browser, rows: dict[str, Any]) -> None:
    team, cell = rows["team"], rows["cell"]
    line = {
        "cell": cell.pk,
        "chip_type": "no chip type",
        "guaranteed_milli": 1,
        "limit_milli": "",
        "over_quota_weight": 1,
    }
    answer = browser.post(f"/console/tenancy/team/{team.pk}/change/", _team_form(team, [line]), follow=True)
    assert "is no chip type" in answer.content.decode()
    assert not Quota.objects.exists()


def test_a_node_is_drained_and_returned(browser: Browser, rows: dict[str, Any]) -> None:
    node = rows["node"]
    for action, state in (("cordon", "cordoned"), ("drain", "draining"), ("return_to_service", "ready")):
        _act(browser, "cluster/node", action, node.pk)
        node.refresh_from_db()
        assert node.state == state
    assert AuditEntry.objects.filter(object_id=node.public_id).count() == 3
    page = _act(browser, "cluster/node", "declare_dead", node.pk)
    assert "is in contact" in page
    node.refresh_from_db()
    assert node.state == "ready"


def test_a_node_is_drained_from_its_own_page(browser: Browser, rows: dict[str, Any]) -> None:
    page = browser.get(f"/console/cluster/node/{rows['node'].pk}/change/").content.decode()
    [form] = re.findall(r'<form method="post" action="/console/cluster/node/".*?</form>', page, re.DOTALL)
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))
    assert 'name="action" value="drain"' in form
    answer = browser.post("/console/cluster/node/", {**fields, "action": "drain"}, follow=True)
    assert "n1 is being emptied." in answer.content.decode()
    rows["node"].refresh_from_db()
    assert rows["node"].state == "draining"


def test_roles_are_given_on_a_users_page_and_recorded(browser: Browser, rows: dict[str, Any]) -> None:
    ana, acme = User.objects.get(username="ana"), rows["team"].organization
    owner = Membership.objects.get()
    prefixes = _prefixes(browser, f"/console/tenancy/user/{ana.pk}/change/")
    form = {
        "username": "ana", "is_active": "on",
        **_management(prefixes[0], 1, 1), **_management(prefixes[1], 1, 0),
        f"{prefixes[0]}-0-id": owner.pk, f"{prefixes[0]}-0-user": ana.pk,
        f"{prefixes[0]}-0-organization": acme.pk, f"{prefixes[0]}-0-role": "viewer",
        f"{prefixes[1]}-0-user": ana.pk, f"{prefixes[1]}-0-team": rows["team"].pk,
        f"{prefixes[1]}-0-role": "maintainer",
    }  # fmt: skip
    answer = browser.post(f"/console/tenancy/user/{ana.pk}/change/", form)
    assert answer.status_code == 302, answer.content
    entries = AuditEntry.objects.filter(action__contains="member").order_by("id")
    assert list(entries.values_list("action", "object_id", "before", "after")) == [
        (
            "membership.changed",
            acme.public_id,
            {"user": "ana", "role": "owner"},
            {"user": "ana", "role": "viewer"},
        ),
        ("teammember.added", rows["team"].public_id, None, {"user": "ana", "role": "maintainer"}),
    ]


def _prefixes(browser: Browser, page: str) -> list[str]:
    return re.findall(r'name="([a-z_]+)-TOTAL_FORMS"', browser.get(page).content.decode())


def test_a_job_of_any_tenant_is_stopped_and_recorded(browser: Browser, rows: dict[str, Any]) -> None:
    job = rows["job"]
    _act(browser, "jobs/job", "stop", job.pk)
    job.refresh_from_db()
    assert job.status == "cancelled"
    entry = AuditEntry.objects.get(object_id=job.public_id)
    assert (entry.actor, entry.organization) == ("olga", job.organization)
    assert "has" in _act(browser, "jobs/job", "stop", job.pk)


def test_a_jobs_page_says_why_it_waits(browser: Browser, rows: dict[str, Any]) -> None:
    job = rows["job"]
    reasons = [{"code": "no_chips", "sentence": f"Needs {n} chips.", "facts": {}} for n in (8, 9)]
    Verdict.objects.filter(job=job).update(reasons=reasons)
    page = f"/console/jobs/job/{job.pk}/change/"
    assert "Needs 8 chips. Needs 9 chips." in browser.get(page).content.decode()
    Job.objects.filter(pk=job.pk).update(state="active")
    assert "it does not wait" in browser.get(page).content.decode()


def test_a_quarantined_job_is_released(browser: Browser, rows: dict[str, Any]) -> None:
    _act(browser, "scheduling/quarantine", "let_out", rows["job"].pk)
    assert not Quarantine.objects.exists()
    assert AuditEntry.objects.filter(action="quarantine.released").count() == 1


def test_a_token_is_revoked(browser: Browser, rows: dict[str, Any]) -> None:
    _act(browser, "tenancy/token", "revoke", rows["token"].pk)
    rows["token"].refresh_from_db()
    assert rows["token"].revoked_at is not None


def test_nothing_read_only_can_be_changed_or_deleted(browser: Browser, rows: dict[str, Any]) -> None:
    for page, row in (
        ("jobs/job", rows["job"]),
        ("scheduling/cycle", rows["cycle"]),
        ("cluster/node", rows["node"]),
    ):
        assert browser.post(f"/console/{page}/{row.pk}/change/", {"name": "x"}).status_code == 403
        assert browser.post(f"/console/{page}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
        assert browser.get(f"/console/{page}/add/").status_code == 403
    _act(browser, "tenancy/team", "drain", rows["team"].pk)
    assert Team.objects.count() == 1


def test_a_user_and_an_organization_are_made(browser: Browser) -> None:
    form = {
        "username": "new",
        "password1": "a long pass phrase",
        "password2": "a long pass phrase",
        "usable_password": "true",
    }
    assert browser.post("/console/tenancy/user/add/", form).status_code == 302
    assert User.objects.get(username="new").check_password("a long pass phrase")
    inline = _management("memberships", 0, 0)
    answer = browser.post("/console/tenancy/organization/add/", {"name": "Acme", "slug": "acme", **inline})
    assert answer.status_code == 302
    assert Organization.objects.get().slug == "acme"
    entries = AuditEntry.objects.all()
    assert {entry.action for entry in entries} == {"user.created", "organization.created"}
    assert "pass phrase" not in str([(entry.before, entry.after) for entry in entries])


def test_passwords_operators_and_roles_are_recorded_with_what_was_before(
    browser: Browser, rows: dict[str, Any]
) -> None:
    ana, acme = User.objects.get(username="ana"), rows["team"].organization
    page, new = f"/console/tenancy/user/{ana.pk}", "another pass phrase"
    form = {"password1": new, "password2": new, "usable_password": "true"}
    assert browser.post(f"{page}/password/", form).status_code == 302
    rowless = [_management(prefix, 0, 0) for prefix in _prefixes(browser, f"{page}/change/")]
    form = {"username": "ana", "is_active": "on", "is_staff": "on", **rowless[0], **rowless[1]}
    assert browser.post(f"{page}/change/", form).status_code == 302
    values = {"id": Membership.objects.get().pk, "organization": acme.pk, "user": ana.pk, "role": "viewer"}
    seat = {f"memberships-0-{key}": value for key, value in values.items()}
    form = {"name": acme.name, "slug": acme.slug, **_management("memberships", 1, 1), **seat}
    assert browser.post(f"/console/tenancy/organization/{acme.pk}/change/", form).status_code == 302
    form = {"old_password": "a long pass phrase", "new_password1": new, "new_password2": new}
    assert browser.post("/console/password_change/", form).status_code == 302
    entries = AuditEntry.objects.exclude(action="organization.changed").order_by("id")
    before, after = {"user": "ana", "role": "owner"}, {"user": "ana", "role": "viewer"}
    assert list(entries.values_list("action", "object_id", "before", "after")) == [
        ("user.password_set", str(ana.pk), None, None),
        ("user.changed", str(ana.pk), {"is_staff": "False"}, {"is_staff": "True"}),
        ("membership.changed", acme.public_id, before, after),
        ("user.password_set", str(User.objects.get(username="olga").pk), None, None),
    ]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"name": "Second", "slug": "second"}, "it holds one organization"),
        ({"name": "Second", "slug": "No_Slug"}, "is no short name"),
    ],
)
def test_a_refused_organization_is_an_error_of_the_form(
    browser: Browser, rows: dict[str, Any], settings: Any, form: dict[str, str], said: str
) -> None:
    settings.SINGLE_ORGANIZATION = True
    answer = browser.post("/console/tenancy/organization/add/", {**form, **_management("memberships", 0, 0)})
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert Organization.objects.count() == 1
    assert not AuditEntry.objects.exists()


def test_a_refused_team_is_an_error_at_its_field(browser: Browser, rows: dict[str, Any]) -> None:
    team = rows["team"]
    globex = Organization.objects.create(slug="globex", name="Globex")
    blank = Team(organization=globex, name="")
    page = "/console/tenancy/team/add/"
    for given, field, said in (
        ({"organization": globex.pk, "name": "below", "parent": team.pk}, "parent", "another organization"),
        ({"organization": globex.pk, "name": "No_Name"}, "name", "is no team"),
        ({"organization": team.organization.pk, "name": team.name}, "__all__", "already exists"),
        ({"name": "homeless"}, "organization", "required"),
    ):
        answer = browser.post(page, {**_team_form(blank, []), **given})
        assert answer.status_code == 200
        errors = answer.context["adminform"].form.errors
        assert list(errors) == [field]
        assert said in str(errors)
    assert list(Team.objects.all()) == [team]
    made = browser.post(page, {**_team_form(blank, []), "organization": globex.pk, "name": "vision"})
    assert made.status_code == 302
    assert Team.objects.get(organization=globex).name == "vision"


def _act(browser: Browser, page: str, action: str, pk: object) -> str:
    answer = browser.post(f"/console/{page}/", {"action": action, "_selected_action": [pk]}, follow=True)
    return answer.content.decode()


def _team_form(team: Team, lines: list[dict[str, Any]], existing: int = 0) -> dict[str, Any]:
    form: dict[str, Any] = {"name": team.name, **_management("quotas", len(lines), existing)}
    for number, line in enumerate(lines):
        form.update({f"quotas-{number}-{key}": value for key, value in line.items()})
        form[f"quotas-{number}-team"] = team.pk
    others = ("members", "uses", "user_caps", "budget")
    return {**form, **{key: value for name in others for key, value in _management(name, 0, 0).items()}}


def _management(prefix: str, total: int, existing: int) -> dict[str, Any]:
    return {
        f"{prefix}-TOTAL_FORMS": total,
        f"{prefix}-INITIAL_FORMS": existing,
        f"{prefix}-MIN_NUM_FORMS": 0,
        f"{prefix}-MAX_NUM_FORMS": 1000,
    }


def test_caps_and_a_budget_are_set_through_their_services(browser: Browser, rows: dict[str, Any]) -> None:
    team, cell = rows["team"], rows["cell"]
    page = f"/console/tenancy/team/{team.pk}/change/"
    form = {
        **_team_form(team, []), **_management("user_caps", 1, 0), **_management("budget", 1, 0),
        "user_caps-0-cell": cell.pk, "user_caps-0-chip_type": "cpu", "user_caps-0-limit_milli": 3000,
        "budget-0-period": "month", "budget-0-since": "2026-01-01", "budget-0-chip_hours": 100,
        "budget-0-soft_percent": 80, "budget-0-hard": "on",
    }  # fmt: skip
    assert browser.post(page, form).status_code == 302
    assert UserCap.objects.get().limit_milli == 3000
    assert (Budget.objects.get().chip_hours, Budget.objects.get().hard) == (100, True)
    actions = set(AuditEntry.objects.filter(actor="olga").values_list("action", flat=True))
    assert {"team.user_caps_set", "team.budget_set"} <= actions


def test_a_trust_rule_is_made_and_removed_through_the_service(browser: Browser, rows: dict[str, Any]) -> None:
    account = ServiceAccount.objects.create(
        organization=rows["team"].organization, user=User.objects.create_user("ci@acme"), name="ci"
    )
    page = "/console/tenancy/trustrule/add/"
    values = {"account": account.pk, "name": "train", "issuer": "http://gitlab.example", "scopes": ["read"],
              "claims": '{"project_path": "acme/train"}', "expires_in_minutes": 60}  # fmt: skip
    assert b"must begin with https" in browser.post(page, values).content
    assert b"say whose identity" in browser.post(page, {**values, "claims": '{"ref": "main"}'}).content
    assert not TrustRule.objects.exists()
    made = browser.post(page, {**values, "issuer": "https://gitlab.example"})
    assert made.status_code == 302, made.content
    rule = TrustRule.objects.get()
    assert (rule.audience, rule.organization) == (rule.public_id, account.organization)
    _act(browser, "tenancy/trustrule", "remove", rule.pk)
    assert not TrustRule.objects.exists()
    entries = AuditEntry.objects.filter(object_kind="trustrule").order_by("id")
    assert [entry.action for entry in entries] == ["trust.created", "trust.removed"]


def test_a_secret_is_set_replaced_and_removed_and_never_shown(browser: Browser, rows: dict[str, Any]) -> None:
    page, value = "/console/tenancy/secret/add/", "hunter2-hunter2\r\nand more"
    wrong = browser.post(page, {"team": rows["team"].pk, "name": "not a name", "value": value})
    assert b"is no name of a secret" in wrong.content
    assert b"hunter2" not in wrong.content
    for _ in range(2):
        made = browser.post(page, {"team": rows["team"].pk, "name": "HF_TOKEN", "value": value})
        assert made.status_code == 302, made.context["adminform"].form.errors
    secret = Secret.objects.get()
    assert unsealed([secret.pk]) == {secret.pk: "hunter2-hunter2\nand more"}
    for shown in ("", f"{secret.pk}/change/", f"{secret.pk}/history/"):
        answer = browser.get(f"/console/tenancy/secret/{shown}")
        assert answer.status_code == 200
        assert b"hunter2" not in answer.content
        assert secret.sealed.encode() not in answer.content
    _act(browser, "tenancy/secret", "remove", secret.pk)
    assert not Secret.objects.exists()
    entries = AuditEntry.objects.filter(object_kind="secret").order_by("id")
    assert [entry.action for entry in entries] == ["secret.set", "secret.set", "secret.removed"]
    assert "hunter2" not in str(list(AuditEntry.objects.values()))


def test_the_page_of_quotas_marks_its_own_entry_alone(browser: Browser, rows: dict[str, Any]) -> None:
    marks = {}
    for page in ("/console/tenancy/team/quotas/", "/console/tenancy/team/", "/console/tenancy/user/"):
        request = browser.get(page).wsgi_request
        items = [item for group in admin.site.get_sidebar_list(request) for item in group["items"]]
        marks[page] = [str(item["title"]) for item in items if item["active"]]
    assert list(marks.values()) == [["Quotas"], ["Teams"], ["Users"]]


def test_the_audit_log_is_exported_as_it_is_filtered(browser: Browser, rows: dict[str, Any]) -> None:
    with asked_from("asked-1", "192.0.2.7"):
        kept, _ = [
            AuditEntry.objects.create(
                actor_kind="user", actor=name, action="a.b", object_kind="x", object_id="y"
            )
            for name in ("=ana", "bob")
        ]
    asked = {"action": "export", "_selected_action": [kept.pk]}
    answer = browser.post("/console/tenancy/auditentry/?q=192.0.2.7", asked)
    assert answer["Content-Type"].startswith("text/csv")
    _, line, end = answer.content.decode().split("\r\n")
    assert "'=ana" in line
    assert "192.0.2.7" in line
    assert end == ""
