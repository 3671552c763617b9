"""Every write of the console is in the audit log. What an operator may do by form, action or page has a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from flexai.cluster.models import Chip, ChipType, Node
from flexai.common import clock
from flexai.jobs.models import Job
from flexai.jobs.policies import set_job_policy
from flexai.notifications.services import change_hook, create_hook
from flexai.scheduling.models import Quarantine
from flexai.tenancy import quota_requests
from flexai.tenancy.models import (
    Announcement,
    AuditEntry,
    Organization,
    SecondFactor,
    ServiceAccount,
    Team,
    Token,
    User,
)
from flexai.tenancy.principals import Principal, principal_for_user
from flexai.tenancy.team_secrets import set_secret
from flexai.tenancy.trust import Wanted, new_rule

pytestmark = pytest.mark.django_db
PASSWORD = {"password1": "another pass phrase", "password2": "another pass phrase", "usable_password": "true"}
DAY = str(clock.now().date())


def ana() -> Principal:
    """The owner of the organization."""
    return principal_for_user(User.objects.get(username="ana"))


def account() -> ServiceAccount:
    user = User.objects.create_user("ci@acme")
    return ServiceAccount.objects.create(organization=Organization.objects.get(), user=user, name="ci")


def rule() -> Any:
    claims = {"project_path": "acme/train"}
    return new_rule(account(), Wanted("train", "https://gitlab.example", claims, ["read"], "", 60))


def hook(*, on: bool = True) -> Any:
    made, _ = create_hook(ana(), name="ci", url="https://ci.example/x", events=["job.failed"])
    return made if on else change_hook(ana(), made, {"on": False})


def announcement() -> Any:
    now = clock.now()
    return Announcement.objects.create(text="news", starts_at=now, ends_at=now + timedelta(days=1))


def factor() -> User:
    user = User.objects.get(username="ana")
    SecondFactor.objects.create(user=user, secret="x", confirmed_at=timezone.now())
    return user


def policy() -> Any:
    return set_job_policy(ana(), None, {}, {"priority": 60})


def asked() -> Any:
    given = {"chip_type": "cpu", "guaranteed_milli": 1000, "reason": "more"}
    return quota_requests.ask(ana(), Team.objects.get(), given, cell_id=1, today=clock.now().date())


def that(model: Any, **values: Any) -> Callable[[], Any]:
    """The only row of its kind, with these values."""

    def found() -> Any:
        row = model.objects.get(**({"username": "ana"} if model is User else {}))
        model.objects.filter(pk=row.pk).update(**values)
        return row

    return found


@dataclass
class Write:
    """What is written to which row (None: a new one), and the entry that it has to leave."""

    entry: str
    row: Callable[[], Any] | None = None
    form: dict[str, Any] = field(default_factory=dict)


WRITES: dict[str, Write] = {
    "cluster.node cordon": Write("node.cordoned", that(Node)),
    "cluster.node drain": Write("node.draining", that(Node)),
    "cluster.node return_to_service": Write("node.returned", that(Node, state="cordoned")),
    "cluster.node declare_dead": Write("node.declared_dead", that(Node, reachable=False)),
    "cluster.node revoke": Write("node.credential_revoked", that(Node)),
    "cluster.chip cordon": Write("chip.cordoned", that(Chip)),
    "cluster.chip return_to_service": Write("chip.returned", that(Chip, cordoned_because="smells")),
    "cluster.pool add": Write("pool.created", None, {"name": "a100"}),
    "cluster.pool change": Write("pool.changed", lambda: Node.objects.get().pool, {"name": "other"}),
    "tenancy.announcement end_now": Write("announcement.ended", announcement),
    "tenancy.announcement add": Write("announcement.created", None, {
        "text": "news", "level": "info", "starts_at_0": DAY, "starts_at_1": "00:00",
        "ends_at_0": str(clock.now().date() + timedelta(days=2)),
        "ends_at_1": "00:00"}),
    "tenancy.price add": Write("price.set", None, {"chip_type": "cpu", "price": "1", "from_day": DAY, "save": "1"}),
    "tenancy.organization add": Write("organization.created", None, {"name": "Globex", "slug": "globex"}),
    "tenancy.organization change": Write("organization.changed", that(Organization), {"name": "Acme Inc"}),
    "tenancy.team add": Write("team.created", None, {"name": "speech"}),
    "tenancy.team change": Write("team.changed", that(Team), {"name": "seeing"}),
    "tenancy.user add": Write("user.created", None, {"username": "new", **PASSWORD}),
    "tenancy.user change": Write("user.changed", that(User), {"first_name": "Ana"}),
    "tenancy.user forget_second_factor": Write("second_factor.removed", factor),
    "tenancy.token revoke": Write("token.revoked", that(Token)),
    "tenancy.jobpolicy add": Write("job_policy.set", None, {"bounds_priority": "60"}),
    "tenancy.jobpolicy change": Write("job_policy.set", policy, {"bounds_priority": "50"}),
    "tenancy.jobpolicy delete": Write("job_policy.removed", policy, {"post": "yes"}),
    "tenancy.secret add": Write("secret.set", None, {"name": "HF_TOKEN", "value": "hunter2"}),
    "tenancy.secret remove": Write("secret.removed", lambda: set_secret(ana(), Team.objects.get(), "A", "hunter2")),
    "tenancy.trustrule add": Write("trust.created", None, {
        "name": "x", "issuer": "https://gitlab.example", "scopes": ["read"], "expires_in_minutes": "60",
        "claims": '{"project_path": "acme/train"}'}),
    "tenancy.trustrule remove": Write("trust.removed", rule),
    "notifications.webhook switch_off": Write("webhook.changed", hook),
    "notifications.webhook switch_on": Write("webhook.changed", lambda: hook(on=False)),
    "notifications.webhook remove": Write("webhook.removed", hook),
    "jobs.job stop": Write("job.stopped", that(Job)),
    "scheduling.quarantine let_out": Write("quarantine.released", that(Quarantine)),
}  # fmt: skip
READS = {"tenancy.auditentry export"}
PAGES: dict[str, Write] = {
    "admin:cluster_chiptype_change": Write(
        "price.set", lambda: ChipType.objects.create(name="cpu"), {"price": "1", "from_day": DAY, "save": "1"}),
    "admin:tenancy_quotarequest_change": Write("quota_request.declined", asked, {
        "guaranteed": "1", "limit": "2", "weight": "1", "answer": "full", "decline": "1"}),
    "admin:auth_user_password_change": Write("user.password_set", that(User), PASSWORD),
    "admin:password_change": Write("user.password_set", None, {
        "old_password": "a long pass phrase", "new_password1": "another pass phrase",
        "new_password2": "another pass phrase"}),
    "admin:logout": Write("session.ended"),
}  # fmt: skip
"""Pages of their own; the tree of quotas is held by `test_quota_tree.py`, roles and limits of one team by
`test_console.py`."""


def test_whatever_an_operator_may_write_has_a_row() -> None:
    there = set()
    for model, page in admin.site._registry.items():
        may: Any = page
        forms = {"adds": "add", "changes": "change", "deletes": "delete"}
        kinds = [word for flag, word in forms.items() if getattr(may, flag, False)] + list(may.actions or ())
        there |= {f"{model._meta.label_lower} {kind}" for kind in kinds}
    assert there == set(WRITES) | READS


@pytest.mark.parametrize("what", WRITES)
def test_every_form_and_action_is_recorded(browser: Browser, rows: dict[str, Any], what: str) -> None:
    label, kind = what.split()
    write, place = WRITES[what], f"/console/{label.replace('.', '/')}"
    row = write.row() if write.row is not None else None
    before = AuditEntry.objects.count()
    if kind in ("add", "change"):
        path = f"{place}/add/" if row is None else f"{place}/{row.pk}/change/"
        answer = browser.post(path, _filled(browser.get(path)) | write.form)
    elif kind == "delete":
        answer = browser.post(f"{place}/{row.pk}/delete/", write.form)
    else:
        answer = browser.post(f"{place}/", {"action": kind, "_selected_action": [row.pk]})
    _check(answer, before, write.entry)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_that_writes_is_recorded(browser: Browser, rows: dict[str, Any], page: str) -> None:
    write = PAGES[page]
    row = write.row() if write.row is not None else None
    before = AuditEntry.objects.count()
    _check(browser.post(reverse(page, args=[row.pk] if row else []), write.form), before, write.entry)


def _check(answer: Any, before: int, entry: str) -> None:
    context = answer.context or {}
    assert answer.status_code in (200, 302), answer.content
    assert "errors" not in context or not context["errors"], context["errors"]
    left = AuditEntry.objects.order_by("id")[before:]
    assert entry in [one.action for one in left]
    assert {one.actor for one in left} == {"olga"}


def _filled(page: Any) -> dict[str, Any]:
    """The form as the page shows it, with the first choice of what has to be chosen."""
    if "adminform" not in page.context:
        return {}
    form = page.context["adminform"].form
    given = {bound.html_name: bound.value() for bound in form if bound.value() not in (None, False, "")}
    for bound in form:
        choices = getattr(bound.field, "queryset", None)
        if bound.field.required and choices is not None and bound.html_name not in given:
            given[bound.html_name] = (choices.first() or account()).pk
    for each in page.context["inline_admin_formsets"]:
        given |= {bound.html_name: bound.value() for bound in each.formset.management_form}
        for inline in each.formset.initial_forms:
            given |= {
                bound.html_name: bound.value() for bound in inline if bound.value() not in (None, False, "")
            }
    return {name: value for name, value in given.items() if not isinstance(value, dict)}
