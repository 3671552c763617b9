"""Speed-up curves from measured throughput (E1)."""

from __future__ import annotations

from scheduler_core.curves import curve_of, learned
from scheduler_core.elastic import ElasticJob, targets
from scheduler_core.policy import MINUTE


def test_e1_nothing_measured_is_no_curve() -> None:
    assert curve_of({}, 8) == ()
    assert curve_of({2: 0}, 8) == ()


def test_e1_beyond_what_is_measured_everybodys_assumption_goes_on_from_there() -> None:
    assert curve_of({1: 100}, 4) == (100, 200, 300, 400)
    assert curve_of({2: 100}, 4) == (50, 100, 150, 200)
    assert curve_of({1: 100, 4: 120}, 6)[4:] == (134, 146)


def test_e1_between_two_measured_sizes_lies_a_straight_line() -> None:
    assert curve_of({1: 100, 3: 160}, 3) == (100, 130, 160)


def test_e1_one_odd_measurement_moves_little() -> None:
    assert learned(None, 80) == 80
    assert learned(100, 20) == 80
    assert learned(learned(100, 100), 104) == 101


def test_e1_who_measured_that_it_gains_nothing_gives_way_to_who_gains() -> None:
    grown, young = curve_of({1: 100, 2: 101}, 4), curve_of({1: 100}, 4)
    jobs = [
        ElasticJob(1, 1, 4, 2, grown, due=True, attained=10 * MINUTE, since_resize=60 * MINUTE),
        ElasticJob(2, 1, 4, 1, young, due=True, attained=10 * MINUTE, since_resize=60 * MINUTE),
    ]
    sizes = {target.job: target.replicas for target in targets(jobs, 1, MINUTE)}
    assert sizes == {1: 1, 2: 3}
