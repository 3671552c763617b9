"""What running work says of itself, as the server takes it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flexai.common import clock
from flexai.common.errors import InvalidInput
from flexai.jobs.models import Attempt, AttemptProgress, Event, Job
from flexai.jobs.presenting import present_attempts
from flexai.jobs.progress import SAVING_EVERY, check_progress, take_progress_of
from flexai.jobs.reports import take_reports
from node_agent.protocol import ReplicaProgress
from tests.support.placed import PlacedWorld, report

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> PlacedWorld:
    return PlacedWorld()


def running(world: PlacedWorld, *nodes) -> Attempt:
    attempt = world.placed(*nodes)
    for index, node in enumerate(nodes):
        take_reports(node.pk, [report(attempt, "running", index)])
    attempt.refresh_from_db()
    return attempt


def words(attempt: Attempt, replica: int = 0, **said) -> ReplicaProgress:
    return ReplicaProgress(attempt=attempt.public_id, replica=replica, **said)


def test_the_newest_words_are_kept_and_shown(world):
    node = world.a_node()
    attempt = running(world, node)
    saved = clock.now() - timedelta(seconds=20)
    for step in (1, 2):
        heard = take_progress_of(
            {node.pk: [words(attempt, step=step, throughput_milli=1500, loss=0.5, saved_step=1,
                             saved_at=clock.to_ms(saved))]},
            at=clock.now(),
        )  # fmt: skip
        assert (heard.heard, heard.ignored, heard.foreign) == (1, 0, {})
    shown = present_attempts(Job.objects.get())[0]["progress"]
    assert (shown["step"], shown["throughput"], shown["loss"], shown["saved_step"]) == (2, 1.5, 0.5, 1)
    assert AttemptProgress.objects.get().saved_at == clock.from_ms(clock.to_ms(saved))


def test_of_several_replicas_the_first_that_speaks_is_heard(world):
    nodes = [world.a_node(), world.a_node()]
    attempt = running(world, *nodes)
    now = clock.now()
    take_progress_of({nodes[1].pk: [words(attempt, 1, step=7)]}, at=now)
    assert AttemptProgress.objects.get().step == 7
    heard = take_progress_of(
        {nodes[0].pk: [words(attempt, 0, step=3)], nodes[1].pk: [words(attempt, 1, step=9)]}, at=now
    )
    assert heard.heard == 1
    take_progress_of({nodes[1].pk: [words(attempt, 1, step=10)]}, at=now)
    assert (AttemptProgress.objects.get().step, AttemptProgress.objects.get().replica) == (3, 0)


def test_words_about_another_nodes_replica_are_foreign_and_of_what_is_over_ignored(world):
    mine, other = world.a_node(), world.a_node()
    attempt = running(world, mine)
    heard = take_progress_of({other.pk: [words(attempt, step=1)]}, at=clock.now())
    assert heard.foreign == {other.pk: [attempt.public_id]}
    take_reports(mine.pk, [report(attempt, "ended")])
    assert take_progress_of({mine.pk: [words(attempt, step=1)]}, at=clock.now()).ignored == 1
    assert not AttemptProgress.objects.exists()


def test_an_attempt_is_checkpointing_while_it_saves_and_history_says_so(world):
    node = world.a_node()
    attempt = running(world, node)
    now = clock.now()

    def say(at, **said):
        take_progress_of({node.pk: [words(attempt, **said)]}, at=at)
        attempt.refresh_from_db()
        return attempt.state

    assert say(now, step=100, saving=True) == "checkpointing"
    assert say(now, step=100, saving=True) == "checkpointing"
    assert say(now, step=101, saved_step=100, saved_at=clock.to_ms(now)) == "running"
    assert say(now + timedelta(seconds=5), step=102, saving=True) == "running", "not told too often"
    assert say(now + SAVING_EVERY, step=200, saving=True) == "checkpointing"
    told = Event.objects.filter(kind__startswith="attempt.checkpoint").order_by("id")
    assert [(event.from_state, event.to_state, event.sentence) for event in told] == [
        ("running", "checkpointing", "It saves a checkpoint."),
        ("checkpointing", "running", "Checkpoint saved at step 100; it goes on."),
        ("running", "checkpointing", "It saves a checkpoint."),
    ]
    take_reports(node.pk, [report(attempt, "ended")])
    attempt.refresh_from_db()
    assert (attempt.state, attempt.outcome) == ("ended", "succeeded")


def test_a_checkpoint_of_the_future_is_one_of_now(world):
    node = world.a_node()
    attempt = running(world, node)
    now = clock.now()
    take_progress_of({node.pk: [words(attempt, saved_at=clock.to_ms(now) + 86_400_000)]}, at=now)
    assert AttemptProgress.objects.get().saved_at <= now


@pytest.mark.parametrize(
    "said",
    [
        {"step": -1}, {"step": 2**60}, {"throughput_milli": -1}, {"throughput_milli": 10**19},
        {"loss": float("nan")}, {"loss": float("inf")}, {"saved_at": -1}, {"saved_at": 2**70}, {"problem": "x" * 300},
        {"replica": -1}, {"replica": 2**40},
    ],
)  # fmt: skip
def test_what_the_protocol_does_not_allow_is_refused(said):
    item = ReplicaProgress(**({"attempt": "att-1", "replica": 0} | said))
    with pytest.raises(InvalidInput, match="out of range"):
        check_progress([item])


def test_too_many_at_once_are_refused():
    with pytest.raises(InvalidInput, match="at most 500"):
        check_progress([ReplicaProgress(attempt="a", replica=0)] * 501)
