"""Tiresias on cases small enough to be played by hand. Times in seconds, a restart costs 30."""

from __future__ import annotations

from scheduler_core.simulation.replay.clock import NodeLoss
from scheduler_core.simulation.replay.policies import Tiresias
from tests.simulation.replay.small import ended, jobs, on_chips, played, seconds

TWO_QUEUES = (1_000_000,)
"""The first queue ends at 1,000 chip-seconds."""


def tiresias() -> Tiresias:
    return Tiresias("tiresias", TWO_QUEUES)


def test_a_newcomer_takes_from_a_job_of_the_lower_queue() -> None:
    """8 chips for 200 s are 1,600 chip-seconds: at 200 the runner is in the second queue and gives way. It
    has 300 s left, waits 50 s, pays 30 s.
    """
    outcome = played(jobs([(0, 500, 8), (200, 50, 8)]), on_chips(8), tiresias())
    assert seconds(outcome) == [580, 250]
    assert outcome.evictions == 1
    assert outcome.lost == 30_000 * 8


def test_a_newcomer_waits_for_a_job_of_its_own_queue() -> None:
    """At second 100 the runner has 800 chip-seconds; it crosses into the second queue at 125."""
    outcome = played(jobs([(0, 500, 8), (100, 50, 8)]), on_chips(8), tiresias())
    assert seconds(outcome) == [580, 175]


def test_no_more_is_taken_than_is_needed() -> None:
    """Two runners of 4 chips, both in the second queue; a newcomer of 4 takes only one of them."""
    outcome = played(jobs([(0, 1000, 4), (0, 1000, 4), (500, 100, 4)]), on_chips(8), tiresias())
    assert seconds(outcome) == [1000, 1130, 600]
    assert outcome.evictions == 1


def test_nothing_is_taken_for_a_gang_that_would_still_not_fit() -> None:
    """The gang of 16 needs both nodes; the job of the first queue on one of them keeps it."""
    work = jobs([(0, 1000, 8), (390, 100, 8), (400, 50, 16)])
    outcome = played(work, on_chips(16), tiresias())
    assert seconds(outcome) == [1080, 490, 540]


def test_what_a_lost_node_ran_goes_on_elsewhere() -> None:
    """The job loses its node at 100, waits for the node to come back at 300, pays 30 s."""
    outcome = played(jobs([(0, 500, 8)]), on_chips(8), tiresias(), NodeLoss(0, 100_000, 300_000))
    assert seconds(outcome) == [730]
    assert outcome.interrupted == 1


def test_a_rejected_start_is_tried_again_when_something_happens() -> None:
    outcome = played(jobs([(0, 100, 8), (10, 100, 1)]), on_chips(16), tiresias(), rejected=1)
    assert outcome.rejected == 1
    assert seconds(outcome) == [140, 110]


def test_two_runs_are_the_same() -> None:
    work = jobs([(at, 40 + 97 * at % 1300, 1 + at % 8) for at in range(200)])
    assert ended(work, on_chips(24), tiresias()) == ended(work, on_chips(24), tiresias())
