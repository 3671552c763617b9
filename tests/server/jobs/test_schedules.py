"""Schedules: when their jobs are made, that none is lost or doubled, and who may change them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from flexai.common import clock
from flexai.common.errors import Conflict, Forbidden, InvalidInput
from flexai.jobs import schedules, services
from flexai.jobs.models import Job, Schedule
from flexai.jobs.spec_schedule import MAX_CAUGHT_UP, CatchUp, chosen_instants, next_instant
from flexai.tenancy.models import Membership, Role
from flexai.tenancy.principals import principal_for_user
from tests.support.tenants import Tenant, a_cell, a_node, a_spec, a_tenant

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def a_schedule(tenant: Tenant, cron: str = "*/5 * * * *", *, at: datetime = NOON, **fields: Any) -> Schedule:
    """A schedule that was made just before this instant."""
    words = {key: fields.pop(key) for key in ("timezone", "catch_up", "overlap") if key in fields}
    made = schedules.create_schedule(tenant.principal, a_spec(schedule={"cron": cron, **words}, **fields))
    first = next_instant(cron, made.timezone, at - timedelta(seconds=1))
    Schedule.objects.filter(pk=made.pk).update(next_at=first)
    return Schedule.objects.get(pk=made.pk)


def made_for(schedule: Schedule) -> list[str]:
    jobs = Job.objects.filter(schedule=schedule).order_by("id")
    return [job.effective_spec["env"]["FLEXAI_SCHEDULED_AT"] for job in jobs]


CRONS = st.sampled_from(["* * * * *", "*/7 * * * *", "30 2 * * *", "0 */3 * * 1-5", "15 1,14 1 * *"])
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
TICKS = st.lists(st.integers(1, 40_000), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(CRONS, ZONES, TICKS, st.integers(0, 300 * 86_400))
def test_however_the_ticks_fall_every_instant_is_chosen_once(
    cron: str, zone: str, pauses: list[int], offset: int
) -> None:
    """The law behind `catch_up: all`, up to its bound; changes of clocks included."""
    begin = NOON + timedelta(seconds=offset)
    following, now, chosen = next_instant(cron, zone, begin), begin, []
    for pause in pauses:
        now += timedelta(seconds=min(pause, 90 * 60))
        if following <= now:
            chosen += chosen_instants(cron, zone, CatchUp.ALL, following, now)
            following = next_instant(cron, zone, now)
    expected, instant = [], next_instant(cron, zone, begin)
    while instant <= now:
        expected.append(instant)
        instant = next_instant(cron, zone, instant)
    assert chosen == expected
    assert following > now


def test_missed_instants_are_chosen_as_the_policy_says() -> None:
    def choose(catch_up: CatchUp, late: timedelta) -> list[datetime]:
        return chosen_instants("* * * * *", "UTC", catch_up, NOON, NOON + late)

    assert choose(CatchUp.NONE, timedelta(minutes=10, seconds=30)) == [NOON + 10 * MINUTE]
    assert chosen_instants("0 12 * * *", "UTC", CatchUp.NONE, NOON, NOON + 2 * MINUTE) == []
    assert choose(CatchUp.LAST, 10 * MINUTE) == [NOON + 10 * MINUTE]
    assert choose(CatchUp.ALL, 3 * MINUTE) == [NOON + n * MINUTE for n in range(4)]
    assert len(choose(CatchUp.ALL, timedelta(days=1))) == MAX_CAUGHT_UP


def test_where_clocks_change_a_day_has_its_job_once() -> None:
    spring = next_instant("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 28, 22, tzinfo=UTC))
    assert spring == datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "02:30 does not exist: it comes at 03:00"
    autumn = next_instant("30 2 * * *", "Europe/Berlin", datetime(2026, 10, 24, 22, tzinfo=UTC))
    after = next_instant("30 2 * * *", "Europe/Berlin", autumn)
    assert after - autumn > timedelta(hours=23), "02:30 exists twice: it comes once"


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        ({}, "schedule.cron"),
        ({"cron": "* * * *"}, "schedule.cron"),
        ({"cron": "* * * * * *"}, "schedule.cron"),
        ({"cron": "61 * * * *"}, "schedule.cron"),
        ({"cron": "0 0 30 2 *"}, "schedule.cron"),
        ({"cron": "1," * 500}, "schedule.cron"),
        ({"cron": 5}, "schedule.cron"),
        ({"cron": "* * * * *", "timezone": "Europe/Atlantis"}, "schedule.timezone"),
        ({"cron": "* * * * *", "timezone": "../../etc/passwd"}, "schedule.timezone"),
        ({"cron": "* * * * *", "catch_up": "some"}, "schedule.catch_up"),
        ({"cron": "* * * * *", "every": "1h"}, "schedule.every"),
    ],
)
@pytest.mark.django_db
def test_what_is_wrong_is_named_and_nothing_is_written(tenant: Tenant, schedule: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        schedules.create_schedule(tenant.principal, a_spec(schedule=schedule))
    assert [error.field for error in caught.value.errors] == [field]
    assert not Schedule.objects.exists()


@pytest.mark.django_db
class TestMaking:
    def test_a_job_is_made_at_its_instant_and_not_again(self, tenant: Tenant) -> None:
        schedule = a_schedule(tenant)
        assert schedules.run_due(NOON - timedelta(seconds=1)) == 0
        assert schedules.run_due(NOON + timedelta(seconds=3)) == 1
        assert schedules.run_due(NOON + timedelta(seconds=8)) == 0
        assert made_for(schedule) == ["2026-03-02T12:00:00Z"]
        job = Job.objects.get()
        assert (job.state, job.name, job.user_id) == ("queued", "train", tenant.owner.pk)
        schedule.refresh_from_db()
        assert (schedule.last_job_id, schedule.next_at) == (job.pk, NOON + 5 * MINUTE)

    def test_sweeps_and_arrays_are_made_too(self, tenant: Tenant) -> None:
        schedule = a_schedule(tenant, matrix={"lr": [1, 2]})
        schedules.run_due(NOON)
        assert Job.objects.filter(schedule=schedule, set__isnull=False).count() == 2

    def test_with_overlap_skip_the_next_waits_for_the_end_of_the_last(self, tenant: Tenant) -> None:
        schedule = a_schedule(tenant, overlap="skip")
        schedules.run_due(NOON)
        schedules.run_due(NOON + 5 * MINUTE)
        schedule.refresh_from_db()
        assert "has not ended" in schedule.problem
        Job.objects.update(state="succeeded", status="succeeded")
        schedules.run_due(NOON + 10 * MINUTE)
        schedule.refresh_from_db()
        assert (made_for(schedule), schedule.problem) == (
            ["2026-03-02T12:00:00Z", "2026-03-02T12:10:00Z"],
            "",
        )

    def test_what_cannot_be_made_is_said_and_the_next_instant_is_tried(self, tenant: Tenant) -> None:
        schedule = a_schedule(tenant)
        Membership.objects.filter(user=tenant.owner).update(role=Role.VIEWER)
        schedules.run_due(NOON)
        schedule.refresh_from_db()
        assert schedule.problem.startswith("Nothing was made for 2026-03-02T12:00:00Z: You")
        Membership.objects.filter(user=tenant.owner).delete()
        schedules.run_due(NOON + 5 * MINUTE)
        schedule.refresh_from_db()
        assert "is no member of" in schedule.problem
        assert not Job.objects.exists()
        assert schedule.next_at == NOON + 10 * MINUTE

    def test_paused_it_makes_nothing_and_resumed_nothing_of_what_passed(self, tenant: Tenant) -> None:
        schedule = a_schedule(tenant, catch_up="all")
        schedules.pause_schedule(tenant.principal, schedule)
        assert schedules.run_due(NOON + timedelta(hours=1)) == 0
        resumed = schedules.resume_schedule(tenant.principal, schedule)
        assert resumed.next_at > clock.now() - timedelta(seconds=1)
        assert not Job.objects.exists()

    def test_a_deleted_one_leaves_its_jobs(self, tenant: Tenant) -> None:
        schedule = a_schedule(tenant)
        schedules.run_due(NOON)
        schedules.delete_schedule(tenant.principal, schedule)
        assert Job.objects.get().schedule is None
        again = a_schedule(tenant)
        schedules.run_due(NOON)
        assert made_for(again) == ["2026-03-02T12:00:00Z"]

    def test_one_of_a_name_in_a_team(self, tenant: Tenant) -> None:
        a_schedule(tenant)
        with pytest.raises(Conflict, match="has a schedule 'train' already"):
            a_schedule(tenant)

    def test_members_change_their_own(self, tenant: Tenant) -> None:
        schedule = a_schedule(tenant)
        user, _ = tenant.somebody(Role.MEMBER)
        for act in (schedules.pause_schedule, schedules.resume_schedule, schedules.delete_schedule):
            with pytest.raises(Forbidden):
                act(principal_for_user(user), schedule)
        assert not Schedule.objects.get().paused

    def test_one_that_fails_unforeseen_keeps_no_other(self, tenant: Tenant, monkeypatch: Any) -> None:
        broken, sound = a_schedule(tenant, name="a"), a_schedule(tenant, name="b")
        make = schedules._make

        def fail(schedule: Schedule, instant: datetime) -> None:
            if schedule.pk == broken.pk:
                raise RuntimeError("unforeseen")
            make(schedule, instant)

        monkeypatch.setattr(schedules, "_make", fail)
        assert schedules.run_due(NOON) == 1
        assert (made_for(broken), made_for(sound)) == ([], ["2026-03-02T12:00:00Z"])
        monkeypatch.undo()
        schedules.run_due(NOON + MINUTE)
        assert made_for(broken) == ["2026-03-02T12:00:00Z"], "it was not lost"


@pytest.mark.django_db
def test_a_job_spec_with_a_schedule_is_no_job(tenant: Tenant) -> None:
    with pytest.raises(InvalidInput, match="makes a schedule"):
        services.submit(tenant.principal, a_spec(schedule={"cron": "* * * * *"}))


@pytest.mark.django_db(transaction=True)
def test_ticks_at_the_same_moment_make_each_job_once() -> None:
    a_cell(), a_node()
    tenant = a_tenant()
    made = [a_schedule(tenant, "* * * * *", name=f"s{n}", catch_up="all") for n in range(5)]
    barrier = threading.Barrier(3)

    def tick() -> None:
        barrier.wait()
        for second in range(0, 180, 30):
            schedules.run_due(NOON + timedelta(seconds=second))
        connection.close()

    threads = [threading.Thread(target=tick) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    schedules.run_due(NOON + timedelta(seconds=150))
    for schedule in made:
        assert made_for(schedule) == [f"2026-03-02T12:0{minute}:00Z" for minute in range(3)]
