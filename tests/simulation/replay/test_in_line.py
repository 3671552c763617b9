"""FIFO, greedy and EASY on cases small enough to be played by hand. Times in seconds."""

from __future__ import annotations

from scheduler_core.simulation.replay.in_line import EASY, GREEDY, STRICT
from scheduler_core.simulation.replay.placing import FGD
from scheduler_core.simulation.replay.policies import TRUE_RUNTIME, InLine, Manner
from tests.simulation.replay.small import ended, jobs, on_chips

# (submitted, run time, chips): two long jobs leave 2 of 8 chips, a wide one waits for all, a small short and a
# small long one come after it.
BLOCKED = [(0, 100, 3), (0, 60, 3), (1, 50, 8), (2, 90, 2), (3, 300, 2)]


def test_strict_fifo_lets_nobody_pass() -> None:
    assert ended(jobs(BLOCKED), on_chips(8), InLine("fifo", Manner(STRICT))) == [100, 60, 150, 240, 450]


def test_greedy_lets_everybody_pass_who_fits() -> None:
    assert ended(jobs(BLOCKED), on_chips(8), InLine("best-fit", Manner(GREEDY))) == [100, 60, 410, 92, 360]


def test_easy_lets_pass_who_does_not_delay_the_first() -> None:
    """The wide job is promised second 100. The short small one ends at 92 and may pass; the long may not."""
    policy = InLine("easy-oracle", Manner(EASY, estimate=TRUE_RUNTIME))
    assert ended(jobs(BLOCKED), on_chips(8), policy) == [100, 60, 150, 92, 450]


def test_easy_lets_a_long_job_pass_on_chips_that_the_first_leaves() -> None:
    """The first needs 6 of 8 at second 100, so two chips are spare even then."""
    work = jobs([(0, 100, 6), (1, 50, 6), (2, 500, 2)])
    policy = InLine("easy-oracle", Manner(EASY, estimate=TRUE_RUNTIME))
    assert ended(work, on_chips(8), policy) == [100, 150, 502]


def test_easy_without_knowledge_predicts_an_hour() -> None:
    """Nothing has ended yet: all are predicted an hour, so the small job is not expected to be done in time."""
    work = jobs([(0, 100, 6), (1, 50, 8), (2, 10, 2)])
    assert ended(work, on_chips(8), InLine("easy", Manner(EASY, estimate=1))) == [100, 150, 160]


def test_best_fit_takes_the_fullest_node_that_fits() -> None:
    """5 and 3 chips lie on one node together, so the job of 8 finds the other node whole."""
    work = jobs([(0, 50, 5), (1, 50, 3), (2, 10, 8)])
    assert ended(work, on_chips(16), InLine("best-fit", Manner(GREEDY))) == [50, 51, 12]


def test_fgd_spares_the_node_that_wide_requests_can_use() -> None:
    """Of the requests seen one is of 4 chips: a single chip goes where 3 are free, not where 4 are."""
    work = jobs([(0, 100, 5), (0, 100, 4), (1, 10, 1), (2, 10, 4)])
    assert ended(work, on_chips(16), InLine("fgd", Manner(GREEDY, FGD))) == [100, 100, 11, 12]


def test_a_gang_wider_than_a_node_takes_whole_nodes() -> None:
    work = jobs([(0, 10, 16), (0, 10, 1), (0, 10, 12)])
    assert ended(work, on_chips(24), InLine("fifo", Manner(STRICT))) == [10, 10, 20]


def test_a_gang_no_empty_cluster_could_hold_is_refused_and_blocks_nobody() -> None:
    work = jobs([(0, 10, 64), (1, 10, 8)])
    assert ended(work, on_chips(16), InLine("fifo", Manner(STRICT))) == [None, 11]
