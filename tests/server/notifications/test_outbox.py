"""What moves is told to who asked, once, in the transaction that moves it."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from flexai.common import clock
from flexai.jobs import services
from flexai.jobs.deadlines import time_out_due
from flexai.jobs.models import Event, Job, Notice
from flexai.jobs.reports import take_reports
from flexai.jobs.spending import look_at_budgets
from flexai.notifications.models import Delivery, Webhook
from flexai.notifications.services import change_hook, create_hook
from flexai.notifications.vocabulary import EVENTS, JOB_EVENTS
from flexai.tenancy.models import Budget, UsageDay
from flexai.tenancy.services import create_team
from tests.support.placed import PlacedWorld, report
from tests.support.tenants import Tenant, a_spec, a_tenant

pytestmark = pytest.mark.django_db
URL = "https://ci.example/flexai"


def a_hook(
    tenant: Tenant, name: str = "ci", *, events: Any = EVENTS, team: str = "", url: str = URL
) -> Webhook:
    return create_hook(tenant.principal, name=name, url=url, events=list(events), team=team)[0]


def told(hook: Webhook) -> Counter[tuple[str, str]]:
    """(job, event) of its messages."""
    rows = Delivery.objects.filter(hook=hook)
    return Counter((row.data["job"]["id"], row.event) for row in rows if "job" in row.data)


def in_world(world: PlacedWorld, **fields: Any) -> Webhook:
    return Webhook.objects.create(
        organization=world.organization, secret="sealed", url=URL, name=fields.pop("name", "ci"),
        events=list(EVENTS), **fields,
    )  # fmt: skip


def expected(organization: Any) -> Counter[tuple[str, str]]:
    """What the history says happened, told again in other words than the trigger's."""
    found: Counter[tuple[str, str]] = Counter()
    for one in Event.objects.filter(organization=organization).select_related("job"):
        ended = one.kind.startswith("job.") and one.to_state in (
            "succeeded",
            "failed",
            "cancelled",
            "timed_out",
        )
        if ended and one.from_state != one.to_state:
            found[one.job.public_id, f"job.{one.to_state}"] += 1
        elif one.kind == "job.queued":
            words = {"preempted": "job.preempted", "idle_suspended": "job.suspended"}
            found[one.job.public_id, words.get(one.reason_code, "job.requeued")] += 1
        elif one.kind == "attempt.running" and one.from_state in ("placed", "starting"):
            found[one.job.public_id, "job.started"] += 1
        elif one.kind in ("job.submitted", "job.requeued", "job.held"):
            found[one.job.public_id, one.kind] += 1
    return found


def test_every_move_with_a_subscriber_has_exactly_one_message(tenant: Tenant) -> None:
    """Moves by people, nodes and clocks; a job that names the webhook too is not told twice."""
    hook, some = a_hook(tenant), a_hook(tenant, "some", events=["job.cancelled", "job.held"])
    principal = tenant.principal
    made = services.submit(
        principal, a_spec(array="0-4", notify={"webhook": "ci", "on": ["cancelled", "held"]})
    )
    jobs = [services.hold_job(principal, job) for job in made.jobs]
    services.resume_job(principal, jobs[0])
    for job in jobs[:3]:
        services.stop_job(principal, job)
    services.requeue_job(principal, jobs[2])
    Job.objects.filter(pk=jobs[4].pk).update(deadline=clock.now() - timedelta(seconds=1))
    time_out_due(clock.now())
    told_all = told(hook)
    assert told_all == expected(tenant.organization)
    assert set(told_all.values()) == {1}
    kinds = {event for _, event in told_all}
    assert kinds == {"job.submitted", "job.held", "job.cancelled", "job.requeued", "job.timed_out"}
    assert told(some) == Counter({key: n for key, n in told_all.items() if key[1] in some.events})


def test_what_a_node_reports_is_told_with_its_outcome() -> None:
    world = PlacedWorld()
    hook = in_world(world)
    node = world.a_node()
    fine, failing, again = (
        world.placed(node), world.placed(node), world.placed(node, retry={"limit": 1, "on": ["exit"], "exit_codes": []})
    )  # fmt: skip
    take_reports(node.pk, [report(one, "running") for one in (fine, failing, again)])
    take_reports(
        node.pk,
        [
            report(fine, "ended"),
            *(report(one, "ended", exit_code=3, outcome="exit") for one in (failing, again)),
        ],
    )
    assert told(hook) == expected(world.organization)
    started = Delivery.objects.filter(event="job.started").first()
    assert started is not None
    assert started.data["job"]["started_at"] is not None
    events = {row.data["job"]["id"]: row for row in Delivery.objects.order_by("id")}
    failed = events[failing.job.public_id]
    assert (failed.event, failed.data["job"]["exit_code"], failed.data["job"]["outcome"]) == (
        "job.failed",
        3,
        "exit",
    )
    assert failed.data["to"] == "failed"
    assert (failed.data["job"]["team"], failed.data["organization"]) == ("vision", world.organization.slug)
    assert events[fine.job.public_id].event == "job.succeeded"
    assert events[again.job.public_id].event == "job.requeued"


@pytest.mark.parametrize(
    ("reason_code", "event"),
    [("preempted", "job.preempted"), ("idle_suspended", "job.suspended"), ("node_lost", "job.requeued")],
)
def test_why_a_job_is_queued_again_makes_the_event(reason_code: str, event: str) -> None:
    world = PlacedWorld()
    hook = in_world(world)
    attempt = world.placed(world.a_node())
    Event.objects.create(
        at=clock.now(), organization=world.organization, job=attempt.job, kind="job.queued", from_state="active",
        to_state="queued", reason_code=reason_code,
    )  # fmt: skip
    assert told(hook) == Counter({(attempt.job.public_id, event): 1})


@pytest.mark.parametrize(
    ("fields", "event"),
    [
        ({"kind": "attempt.idle"}, "job.idle"),
        ({"kind": "job.waits", "to_state": "held", "reason_code": "dependency_never"}, "job.held"),
        ({"kind": "job.waits", "to_state": "held", "reason_code": "dependency"}, None),
        ({"kind": "attempt.running", "from_state": "checkpointing", "to_state": "running"}, None),
        ({"kind": "attempt.ended", "from_state": "running", "to_state": "ended"}, None),
        ({"kind": "job.kept", "from_state": "active", "to_state": "active"}, None),
    ],
)  # fmt: skip
def test_other_moves_by_the_table(fields: dict[str, str], event: str | None) -> None:
    world = PlacedWorld()
    hook = in_world(world)
    attempt = world.placed(world.a_node())
    Event.objects.create(at=clock.now(), organization=world.organization, job=attempt.job, **fields)
    assert [one for _, one in told(hook)] == ([event] if event else [])


def test_what_is_rolled_back_was_never_told(tenant: Tenant) -> None:
    a_hook(tenant)
    with transaction.atomic():
        services.submit(tenant.principal, a_spec())
        assert Delivery.objects.count() == 1
        transaction.set_rollback(True)
    assert not Delivery.objects.exists()


def test_a_webhook_hears_of_its_team_and_those_below_alone(tenant: Tenant, other: Tenant) -> None:
    below = create_team(tenant.organization, "below", parent=tenant.team)
    beside = create_team(tenant.organization, "beside")
    of_all, of_team = a_hook(tenant, "all"), a_hook(tenant, "team", team="research")
    of_below, of_beside = a_hook(tenant, "below", team="below"), a_hook(tenant, "beside", team="beside")
    elsewhere = a_hook(other)
    for team in (tenant.team, below, beside):
        services.submit(tenant.principal, a_spec(team=team.name))
    counts = [sum(told(hook).values()) for hook in (of_all, of_team, of_below, of_beside, elsewhere)]
    assert counts == [3, 2, 1, 1, 0]
    change_hook(tenant.principal, of_all, {"on": False})
    services.submit(tenant.principal, a_spec(team="beside"))
    assert Delivery.objects.filter(hook=of_all).count() == 3, "what is off hears nothing"
    assert set(Delivery.objects.filter(hook=of_all).values_list("state", flat=True)) == {"failed"}


def test_a_webhook_without_events_hears_of_jobs_that_name_it(tenant: Tenant) -> None:
    hook = a_hook(tenant, events=[])
    services.submit(tenant.principal, a_spec())
    named = services.submit(tenant.principal, a_spec(notify={"webhook": URL, "on": ["cancelled"]})).jobs[0]
    services.stop_job(tenant.principal, named)
    assert told(hook) == Counter({(named.public_id, "job.cancelled"): 1})
    assert Notice.objects.get().on == ["job.cancelled"]


def test_a_webhook_that_is_gone_is_told_nothing_and_stops_nothing(tenant: Tenant) -> None:
    hook = a_hook(tenant)
    job = services.submit(tenant.principal, a_spec(notify={"webhook": "ci"})).jobs[0]
    hook.delete()
    assert not Delivery.objects.exists()
    assert services.stop_job(tenant.principal, job).state == "cancelled"
    assert not Delivery.objects.exists()


def test_a_job_names_what_its_team_may_name(tenant: Tenant, other: Tenant) -> None:
    create_team(tenant.organization, "beside")
    a_hook(tenant, "beside", team="beside")
    a_hook(other, "theirs")
    for name in ("beside", "theirs", "nobodys"):
        answer = tenant.api.post("/jobs", a_spec(team="research", notify={"webhook": name}))
        assert answer.status_code == 400, answer.content
        [wrong] = answer.json()["errors"]
        assert (wrong["field"], name in wrong["message"]) == ("notify.webhook", True)
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("notify", "field"),
    [
        ({}, "notify"),
        ("mail", "notify"),
        ({"mail": False}, "notify"),
        ({"mail": "nobody"}, "notify.mail"),
        ({"mail": ["a@b.example", 3]}, "notify.mail.1"),
        ({"mail": ["a@b.example\nBcc: x@y.example"]}, "notify.mail.0"),
        ({"mail": [f"a{n}@b.example" for n in range(11)]}, "notify.mail"),
        ({"webhook": "ci", "on": ["exploded"]}, "notify.on"),
        ({"webhook": "ci", "to": "x"}, "notify.to"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_notify_is_said_where(tenant: Tenant, notify: Any, field: str) -> None:
    answer = tenant.api.post("/jobs", a_spec(notify=notify))
    assert answer.status_code == 400
    assert field in [wrong["field"] for wrong in answer.json()["errors"]]
    assert not Job.objects.exists()


def test_a_budget_that_is_reached_is_told_once(tenant: Tenant) -> None:
    hook = a_hook(tenant, events=["budget.warned", "budget.reached"])
    now = clock.now()
    Budget.objects.create(team=tenant.team, since=now.date(), period="total", chip_hours=10)

    def spend(hours: int) -> None:
        UsageDay.objects.create(
            organization=tenant.organization, team=tenant.team, user=tenant.owner, day=now.date(), chip_type="H100",
            labels={}, labels_hash=str(hours), starting=0, running=hours * 1000 * 3_600_000, stopping=0, guest=0,
            used=0, measured=0, ended=1,
        )  # fmt: skip
        look_at_budgets(now)
        look_at_budgets(now)

    spend(8)
    spend(3)
    rows = list(Delivery.objects.filter(hook=hook).order_by("id"))
    assert [row.event for row in rows] == ["budget.warned", "budget.reached"]
    assert rows[1].data["team"]["name"] == "research"
    assert rows[1].data["spent"]["chip_ms"] == 11 * 3_600_000


def test_every_event_that_can_be_asked_for_is_said_by_somebody() -> None:
    """The trigger's words and the vocabulary's are the same."""
    from importlib import import_module

    said = import_module("flexai.jobs.migrations.0025_stragglers").TELLS
    finals = {f"job.{state}" for state in ("succeeded", "failed", "cancelled", "timed_out")}
    assert all(f"'{event}'" in said for event in set(JOB_EVENTS) - finals)


def test_where_nobody_listens_nothing_is_written() -> None:
    world = PlacedWorld()
    attempt = world.placed(world.a_node())
    take_reports(attempt.replicas.get().node_id, [report(attempt, "ended")])
    assert Event.objects.exists()
    assert not Delivery.objects.exists()
    assert a_tenant("lonely").api.get("/webhooks").json()["items"] == []
