"""T1, T2: what running work uses of its chips is measured, and idle work climbs its ladder, with notice."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from flexai.cluster.models import Node
from flexai.cluster.telemetry import Window, keep_windows
from flexai.common import clock
from flexai.common.errors import Conflict, InvalidInput
from flexai.jobs.ending import Ending, end_attempts
from flexai.jobs.models import Attempt, Event, IdleAttempt, Job
from flexai.jobs.moves import allowed_actions, keep_job, resume_job
from flexai.jobs.presenting import present_job
from flexai.scheduling import engine_state
from flexai.scheduling.cycle import run_cycle
from flexai.scheduling.demand import look_at_demand
from flexai.tenancy.models import Membership, Role
from flexai.tenancy.principals import Principal
from node_agent.protocol import replica_key
from scheduler_core.demand import Rung
from scheduler_core.lifecycle import Outcome
from tests.server.scheduling.world import World

pytestmark = pytest.mark.django_db(transaction=True)
TEN = timedelta(seconds=10)
SUSPENDS = {"below_permille": 50, "window_ms": 60_000, "action": "suspend"}


class Observed:
    """A running job whose node reports, window by window."""

    def __init__(self, idle: dict[str, Any] | None, *, driver: str = "nvidia", chips: int = 1) -> None:
        self.world = World()
        self.node = self.world.a_node(chips=chips)
        self.node.chips.update(driver=driver)
        self.job = self.world.a_job("train", chips=chips)
        self.job.effective_spec["idle"] = idle
        self.job.save()
        engine_state.forget(self.world.cell.pk)
        assert run_cycle(self.world.cell.pk).started == 1
        self.now = clock.now()
        self.attempt = Attempt.objects.get(job=self.job)
        Attempt.objects.update(state="running", running_at=self.now)
        Job.objects.filter(pk=self.job.pk).update(status="running")

    def window(self, use: int, *, own: int = 0) -> list[Rung]:
        """Ten seconds pass in which the chips were used so; what was done at their end."""
        since, self.now = self.now, self.now + TEN
        key = replica_key(self.attempt.public_id, 0).hex()
        chips = {chip.index: use for chip in self.node.chips.all()}
        keep_windows({self.node.pk: Window(clock.to_ms(since), clock.to_ms(self.now), chips, {key: own})})
        return self.look()

    def look(self) -> list[Rung]:
        return [step.rung for step in look_at_demand(self.world.cell.pk, self.now)]

    def end(self, outcome: Outcome) -> Job:
        end_attempts([Ending(self.attempt.pk, outcome)], actor="agent", at=self.now)
        return Job.objects.get(pk=self.job.pk)


def test_t2_who_says_that_it_saves_and_sleeps_is_told_all_the_same() -> None:
    observed = Observed(SUSPENDS)
    assert windows(observed, [900, 0]) == []
    Attempt.objects.update(state="checkpointing")
    assert windows(observed, [0, 0, 0, 0, 0]) == [(2, Rung.NOTIFY), (5, Rung.SUSPEND)]
    assert Attempt.objects.get().stop_outcome == "idle_suspended"


def windows(observed: Observed, uses: list[int]) -> list[tuple[int, Rung]]:
    """What was done, by the number of the window after which it was."""
    return [(place, rung) for place, use in enumerate(uses, 1) for rung in observed.window(use)]


def test_t2_an_idle_job_is_told_and_then_suspended_by_its_own_policy() -> None:
    observed = Observed(SUSPENDS)
    assert windows(observed, [900, 0, 10, 0]) == [(4, Rung.NOTIFY)]
    told = present_job(Job.objects.select_related("team", "user", "set").get())["idle"]
    assert (told["action"], told["use_permille"]) == ("suspend", 0)
    assert told["acts_at"] is not None
    notice = Event.objects.get(kind="attempt.idle")
    assert "used nothing of its chips for 30 s" in notice.sentence
    assert notice.facts["idle_ms"] == 30_000
    assert windows(observed, [0, 0, 0]) == [(3, Rung.SUSPEND)]
    attempt = Attempt.objects.get()
    assert (attempt.state, attempt.stop_outcome) == ("stopping", "idle_suspended")
    assert observed.look() == []

    job = observed.end(Outcome.IDLE_SUSPENDED)
    assert (job.state, job.failures) == ("queued", 0)
    assert job.start_after == observed.now + timedelta(minutes=1)
    assert run_cycle(observed.world.cell.pk).started == 0, "it pauses before it may start again"
    assert observed.look() == []
    assert not IdleAttempt.objects.exists()


def test_t2_chips_of_a_suspended_job_go_to_who_waits() -> None:
    observed = Observed(SUSPENDS)
    waiting = observed.world.a_job("waits", chips=1)
    assert run_cycle(observed.world.cell.pk).started == 0
    windows(observed, [0] * 6)
    observed.end(Outcome.IDLE_SUSPENDED)
    assert run_cycle(observed.world.cell.pk).started == 1
    assert Job.objects.get(pk=waiting.pk).state == "active"


def test_t2_a_job_that_works_again_in_time_loses_nothing_and_is_told_anew_next_time() -> None:
    observed = Observed(SUSPENDS)
    done = windows(observed, [0, 0, 0, 800, 0, 0, 0, 0])
    assert done == [(3, Rung.NOTIFY), (7, Rung.NOTIFY)]
    assert Attempt.objects.get().state == "running"


def test_f4_without_a_policy_it_is_only_told_and_only_once() -> None:
    observed = Observed(None)
    assert windows(observed, [0] * 800) == [(360, Rung.NOTIFY)]
    assert Attempt.objects.get().state == "running"


def test_t2_a_policy_may_stop_for_good() -> None:
    observed = Observed({**SUSPENDS, "action": "stop"})
    assert windows(observed, [0] * 6) == [(3, Rung.NOTIFY), (6, Rung.STOP)]
    assert Job.objects.get().status == "cancelling"
    job = observed.end(Outcome.CANCELLED)
    assert job.state == "cancelled"
    assert Event.objects.filter(reason_code="idle_stopped").exists()


def test_t1_where_cores_are_the_chips_only_the_jobs_own_time_counts() -> None:
    """Another process keeps the core busy: the job is idle all the same."""
    observed = Observed(SUSPENDS, driver="cpu")
    assert [observed.window(1000, own=0) for _ in range(3)][-1] == [Rung.NOTIFY]
    busy = Observed(SUSPENDS, driver="cpu")
    assert [busy.window(1000, own=900) for _ in range(6)] == [[]] * 6


def test_t1_what_is_not_measured_is_not_idle() -> None:
    observed = Observed(SUSPENDS)
    windows(observed, [0, 0])
    observed.now += timedelta(minutes=10)  # nothing came from the node
    assert observed.look() == []
    assert windows(observed, [0, 0]) == []
    assert windows(observed, [0]) == [(1, Rung.NOTIFY)]


def test_t1_windows_from_before_it_ran_do_not_count() -> None:
    observed = Observed(SUSPENDS)
    Attempt.objects.update(running_at=observed.now + timedelta(seconds=25))
    assert windows(observed, [0, 0, 0, 0, 0]) == []
    assert windows(observed, [0]) == [(1, Rung.NOTIFY)]


def test_t1_a_gang_is_idle_only_if_all_of_it_is() -> None:
    observed = Observed(SUSPENDS, chips=2)
    busy, idle = {0: 180, 1: 0}, {0: 40, 1: 20}
    for chips in (busy, idle):
        for _ in range(3):
            since, observed.now = observed.now, observed.now + TEN
            window = Window(clock.to_ms(since), clock.to_ms(observed.now), chips, {})
            keep_windows({observed.node.pk: window})
            done = observed.look()
    assert done == [Rung.NOTIFY]
    assert Event.objects.filter(kind="attempt.idle").count() == 1


def owner(world: World) -> Principal:
    Membership.objects.create(user=world.user, organization=world.organization, role=Role.OWNER)
    return Principal(world.user, world.organization, Role.OWNER)


def test_t2_keep_puts_everything_off_for_as_long_as_was_said() -> None:
    observed = Observed(SUSPENDS)
    principal = owner(observed.world)
    assert windows(observed, [0, 0, 0, 0]) == [(3, Rung.NOTIFY)]
    assert "keep" in allowed_actions(principal, Job.objects.get())
    kept = keep_job(principal, Job.objects.get(), for_ms=600_000)
    assert present_job(kept)["idle"] is None
    kept_windows = (kept.kept_until - observed.now) // TEN  # type: ignore[operator]
    assert windows(observed, [0] * kept_windows) == []
    assert [rung for _, rung in windows(observed, [0] * 9)] == [Rung.NOTIFY, Rung.SUSPEND]


@pytest.mark.parametrize("for_ms", [0, 999, 8 * 86_400_000])
def test_t2_keep_has_bounds(for_ms: int) -> None:
    observed = Observed(SUSPENDS)
    with pytest.raises(InvalidInput, match="1 s to 7 d"):
        keep_job(owner(observed.world), observed.job, for_ms=for_ms)
    assert Job.objects.get().kept_until is None


def test_t2_only_who_holds_chips_can_keep_them() -> None:
    world = World()
    job = world.a_job()
    with pytest.raises(Conflict):
        keep_job(owner(world), job)


def test_t2_who_comes_back_early_need_not_wait_out_the_pause() -> None:
    observed = Observed(SUSPENDS)
    windows(observed, [0] * 6)
    job = observed.end(Outcome.IDLE_SUSPENDED)
    principal = owner(observed.world)
    assert _pauses_until(job) > clock.now()
    assert "resume" in allowed_actions(principal, job)
    resume_job(principal, job)
    assert run_cycle(observed.world.cell.pk).started == 1


def _pauses_until(job: Job) -> datetime:
    assert job.start_after is not None
    return job.start_after


def test_a_look_costs_the_same_few_statements_however_many_run(django_assert_max_num_queries: Any) -> None:
    observed = Observed(SUSPENDS)
    node: Node = observed.world.a_node(chips=8)
    node.chips.update(driver="nvidia")
    observed.world.jobs(8, chips=1)
    assert run_cycle(observed.world.cell.pk).started == 8
    Attempt.objects.update(state="running", running_at=observed.now)
    with django_assert_max_num_queries(12):
        observed.window(0)
