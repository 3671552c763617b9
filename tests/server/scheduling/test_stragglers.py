"""T6: what holds running work back is found, told with its numbers, and moved only where its own policy says so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flexai.cluster.models import Chip
from flexai.cluster.telemetry import Window, keep_windows
from flexai.common import clock
from flexai.jobs.ending import Ending, end_attempts
from flexai.jobs.models import Attempt, AttemptProgress, Event, Job, Straggler
from flexai.notifications.models import Delivery, Webhook
from flexai.scheduling import engine_state
from flexai.scheduling.cycle import run_cycle
from flexai.scheduling.stragglers import look_at_stragglers
from scheduler_core.lifecycle import Outcome
from scheduler_core.stragglers import Action
from tests.server.scheduling.world import World

pytestmark = pytest.mark.django_db(transaction=True)
TEN = timedelta(seconds=10)
MOVES = {"action": "move", "below_permille": 800, "window_ms": 60_000, "moves": 1}


class Observed:
    """A gang of one chip on each of four nodes, whose nodes report window by window."""

    def __init__(self, policy: dict[str, Any] | None, *, nodes: int = 4, **job: Any) -> None:
        self.world = World()
        self.nodes = [self.world.a_node(f"gpu-{n}", chips=1) for n in range(nodes)]
        Chip.objects.update(driver="nvidia")
        self.job = self.world.a_job("train", chips=1, replicas=4, **job)
        self.job.effective_spec |= {"stragglers": policy, "checkpoint_path": "/shared/run"}
        self.job.save()
        engine_state.forget(self.world.cell.pk)
        assert run_cycle(self.world.cell.pk).started == 1
        self.now = clock.now()
        self.begin()

    def begin(self) -> None:
        """The job's newest attempt runs."""
        self.attempt = Attempt.objects.filter(job=self.job).latest("number")
        Attempt.objects.filter(pk=self.attempt.pk).update(state="running", running_at=self.now)
        Job.objects.filter(pk=self.job.pk).update(status="running")
        self.replicas = [r.node_id for r in self.attempt.replicas.order_by("index")]

    def window(self, *clocks: int, use: int = 1000, hot: int = 0) -> list[Action]:
        """Ten seconds pass in which the chips of the replicas clocked so; what was done at their end."""
        since, self.now = self.now, self.now + TEN
        keep_windows(
            {
                node: Window(
                    clock.to_ms(since), clock.to_ms(self.now), {0: use}, {}, clocks={0: permille},
                    temperatures={0: 91 if permille < 900 else 60}, hot={0: hot} if permille < 900 and hot else {},
                )
                for node, permille in zip(self.replicas, clocks, strict=True)
            }
        )  # fmt: skip
        return self.look()

    def look(self) -> list[Action]:
        return [step.action for step in look_at_stragglers(self.world.cell.pk, self.now)]

    def windows(self, count: int, *clocks: int, **how: int) -> list[tuple[int, Action]]:
        """What was done, by the number of the window after which it was."""
        return [(number, action) for number in range(1, count + 1) for action in self.window(*clocks, **how)]


def test_t6_the_slow_chip_of_a_gang_is_told_with_the_numbers_and_nobody_moves() -> None:
    observed = Observed(None)
    assert observed.windows(90, 950, 1000, 600, 960, hot=400) == [(60, Action.NOTIFY)]
    told = Event.objects.get(kind="attempt.straggler")
    slow = observed.attempt.replicas.get(index=2).node.name
    assert told.sentence == (
        f"Chip 0 of {slow} runs at 62 % of the clock of the 3 others, slowed by heat (91 °C), for 10 min now."
    )
    assert told.facts | {"chip": 0, "clock_permille": 600, "usual_permille": 960, "equals": 3} == told.facts
    assert told.reason_code == "straggler_clock"
    assert Attempt.objects.get().state == "running"
    assert Straggler.objects.get().leaves_at is None


def test_t6_who_recovers_in_time_is_not_told() -> None:
    observed = Observed(None)
    assert observed.windows(59, 950, 1000, 600, 960) == []
    assert observed.windows(1, 950, 1000, 900, 960) == []
    assert not Straggler.objects.exists()
    assert observed.windows(59, 950, 1000, 600, 960) == []


def test_t6_chips_that_wait_or_are_not_measured_tell_nothing() -> None:
    observed = Observed(None)
    assert observed.windows(90, 950, 1000, 600, 960, use=400) == []
    observed.now += timedelta(minutes=30)
    assert observed.look() == []
    assert not Straggler.objects.exists()


def test_t6_who_says_never_is_not_looked_at() -> None:
    observed = Observed({**MOVES, "action": "never"})
    assert observed.windows(90, 950, 1000, 600, 960) == []


def test_t6_by_its_policy_it_is_told_first_and_then_to_be_moved() -> None:
    observed = Observed(MOVES)
    assert observed.windows(6, 950, 1000, 600, 960) == [(3, Action.NOTIFY), (6, Action.MOVE)]
    assert "its own policy moves it elsewhere in 30 s" in Event.objects.get(kind="attempt.straggler").sentence
    row = Straggler.objects.get()
    assert row.nodes == [observed.replicas[2]]
    assert row.leaves_at == observed.now
    assert observed.windows(2, 950, 1000, 600, 960) == [], "it is asked for once"
    observed.window(950, 1000, 990, 960)
    row = Straggler.objects.get()
    assert (row.since, row.leaves_at) == (None, None), "it is well again and stays"
    assert row.told_at is not None


def test_r8_it_goes_on_elsewhere_once_and_its_history_says_why() -> None:
    observed = Observed(MOVES, nodes=5)
    assert observed.windows(6, 950, 1000, 600, 960)[-1] == (6, Action.MOVE)
    slow = observed.replicas[2]
    cycle = run_cycle(observed.world.cell.pk)
    assert cycle.started == 0
    observed.attempt.refresh_from_db()
    assert (observed.attempt.state, observed.attempt.stop_outcome) == ("stopping", "moved")
    leaving = Event.objects.get(kind="attempt.stopping")
    assert (
        "runs at 62 % of the clock of the 3 others: by its own policy it goes on elsewhere."
        in leaving.sentence
    )
    assert leaving.facts["pace_permille"] == 625

    end_attempts([Ending(observed.attempt.pk, Outcome.MOVED)], actor="agent", at=observed.now)
    assert run_cycle(observed.world.cell.pk).started == 1
    observed.begin()
    assert observed.attempt.number == 2
    assert slow not in observed.replicas
    assert observed.windows(20, 950, 600, 1000, 960) == [(6, Action.NOTIFY)], "its one move is used"
    told = Event.objects.filter(kind="attempt.straggler").latest("id").sentence
    assert "It has been moved 1 time, as often as its policy says." in told


def test_r8_without_a_free_node_it_goes_on_where_it_is_until_there_is_one() -> None:
    observed = Observed(MOVES)
    observed.windows(6, 950, 1000, 600, 960)
    run_cycle(observed.world.cell.pk)
    assert Attempt.objects.get().state == "running"
    observed.world.a_node("spare", chips=1)
    run_cycle(observed.world.cell.pk)
    assert Attempt.objects.get().state == "stopping"


def test_t6_what_may_not_be_taken_is_told_only() -> None:
    observed = Observed(MOVES, preemptible=False)
    observed.world.a_quota(observed.world.team, guaranteed=4000)
    assert observed.windows(10, 950, 1000, 600, 960) == [(6, Action.NOTIFY)]
    assert "cannot move it" in Event.objects.get(kind="attempt.straggler").sentence


def test_t6_kept_work_is_not_moved() -> None:
    observed = Observed(MOVES)
    Job.objects.update(kept_until=observed.now + timedelta(minutes=5))
    assert [at for at, action in observed.windows(40, 950, 1000, 600, 960) if action is Action.MOVE] == [30]


def test_t6_a_webhook_hears_of_it() -> None:
    observed = Observed(MOVES)
    Webhook.objects.create(
        organization=observed.world.organization, name="ci", url="https://example.org/x", secret="s",
        events=["job.straggler"],
    )  # fmt: skip
    observed.windows(3, 950, 1000, 600, 960)
    delivery = Delivery.objects.get(event="job.straggler")
    assert "62 % of the clock" in delivery.data["sentence"]


# -- arrays -------------------------------------------------------------------------------------------------------


def an_array(
    world: World, *, running: int, ended: int, took: timedelta = timedelta(minutes=4)
) -> list[Attempt]:
    """Attempts of tasks that run since now, beside some that have ended."""
    node = world.a_node(chips=running + ended)
    Chip.objects.update(driver="nvidia")
    of = world.a_set(size=running + ended, cap=None)
    for index in range(running + ended):
        job = world.a_job(f"task-{index}", chips=1, set=of, index=index)
        job.effective_spec |= {"array": {"indices": [[0, running + ended - 1, 1]], "cap": None}}
        job.save()
    engine_state.forget(world.cell.pk)
    assert run_cycle(world.cell.pk).started == running + ended
    now = clock.now()
    Attempt.objects.update(state="running", running_at=now)
    attempts = list(Attempt.objects.order_by("job__index"))
    for attempt in attempts[:ended]:
        Attempt.objects.filter(pk=attempt.pk).update(state="ended", running_at=now - took, ended_at=now)
        Job.objects.filter(pk=attempt.job_id).update(state="succeeded", status="succeeded")
    assert node.chips.count() == running + ended
    return attempts[ended:]


def test_t6_a_task_that_runs_far_longer_than_those_that_ended_is_told() -> None:
    world = World()
    [task] = an_array(world, running=1, ended=3)
    assert task.running_at is not None
    begin = clock.now()
    told = [
        minute
        for minute in range(1, 40)
        for _ in look_at_stragglers(world.cell.pk, begin + timedelta(minutes=minute))
    ]
    assert told == [20], "2.5 times the median of 4 min, and a window of 10 min on top"
    event = Event.objects.get(kind="attempt.straggler")
    assert (
        "longer than 2.5 times the median of the 3 tasks of its array that have ended (4 min)"
        in event.sentence
    )
    assert event.facts["usual_ms"] == 240_000


def test_t6_of_too_few_ended_tasks_nothing_is_told() -> None:
    world = World()
    an_array(world, running=1, ended=2)
    begin = clock.now()
    assert not any(
        look_at_stragglers(world.cell.pk, begin + timedelta(minutes=minute)) for minute in range(1, 60)
    )


def test_t6_a_task_that_makes_fewer_steps_than_its_equals_is_told() -> None:
    world = World()
    tasks = an_array(world, running=4, ended=0)
    begin = clock.now()
    told = []
    for minute in range(1, 20):
        now = begin + timedelta(minutes=minute)
        for number, task in enumerate(tasks):
            step = minute * (30 if number == 1 else 100 + number)
            AttemptProgress.objects.update_or_create(
                attempt=task, defaults={"replica": 0, "step": step, "first_at": begin, "at": now}
            )
        told += [(minute, step.attempt) for step in look_at_stragglers(world.cell.pk, now)]
    assert told == [(11, tasks[1].pk)]
    assert (
        "29 % of the steps a second of the 3 other tasks"
        in Event.objects.get(kind="attempt.straggler").sentence
    )


def test_t6_a_look_costs_the_same_few_statements_however_many_run(django_assert_max_num_queries: Any) -> None:
    world = World()
    an_array(world, running=8, ended=3)
    with django_assert_max_num_queries(12):
        look_at_stragglers(world.cell.pk, clock.now() + timedelta(minutes=30))
