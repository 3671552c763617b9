"""E1: the next chip goes where it gains most under fair share, less the cost of a restart."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.elastic import MICRO, ElasticJob, Target, speedup, targets
from scheduler_core.policy import MINUTE, SECOND

LINEAR = tuple(MICRO * chips for chips in range(1, 9))
FLAT = (MICRO,) * 8


def a_job(id: int, **fields: object) -> ElasticJob:
    return replace(ElasticJob(id, minimum=1, maximum=8, size=0, curve=LINEAR, since_resize=MINUTE), **fields)


def sizes(*jobs: ElasticJob, free: int, interval: int = MINUTE) -> list[int]:
    return [target.replicas for target in targets(jobs, free, interval)]


def test_e1_equal_jobs_share_alike_and_the_odd_chip_goes_to_the_lower_id() -> None:
    assert sizes(a_job(1), a_job(2), free=7) == [4, 3]


def test_e1_a_chip_goes_where_it_gains() -> None:
    assert sizes(a_job(1), a_job(2, curve=FLAT), free=8) == [7, 1]


def test_e1_chips_that_gain_nothing_stay_free() -> None:
    assert sizes(a_job(1, curve=FLAT), a_job(2, curve=FLAT), free=8) == [1, 1]


def test_e1_a_step_that_pays_only_as_a_whole_is_taken_as_a_whole() -> None:
    stairs = (MICRO, MICRO, MICRO, 4 * MICRO)
    assert sizes(a_job(1, curve=stairs, maximum=4), free=4) == [4]
    assert sizes(a_job(1, curve=stairs, maximum=4), free=3) == [1]


def test_e1_twice_the_weight_is_more_chips() -> None:
    assert sizes(a_job(1, weight=2), a_job(2), free=5) == [4, 1]


def test_e1_a_job_that_has_had_little_goes_before_one_that_has_had_much() -> None:
    much = 100 * 60 * MINUTE
    assert sizes(a_job(1, attained=much), a_job(2), free=1) == [0, 1]
    old, young = sizes(a_job(1, attained=much), a_job(2), free=8)
    assert old < young


def test_e1_a_resize_must_be_worth_its_restart() -> None:
    """From 4 to 5 chips is a quarter more speed; a restart of one minute in two is more than that."""
    job = a_job(1, size=4, restart_cost=MINUTE, since_resize=2 * MINUTE)
    assert sizes(job, free=1) == [4]
    assert sizes(replace(job, since_resize=60 * MINUTE), free=1) == [5]
    assert sizes(replace(job, restart_cost=0), free=1) == [5]


def test_e1_nobody_is_resized_within_the_interval() -> None:
    assert sizes(a_job(1, size=2, since_resize=MINUTE - SECOND), free=6) == [2]
    assert sizes(a_job(1, size=2, since_resize=MINUTE), free=6) == [8]


def test_e1_whoever_waits_gets_the_chips_of_those_who_gain_less() -> None:
    assert sizes(a_job(1, size=8), a_job(2), free=0) == [4, 4]


def test_e1_a_gang_runs_with_its_minimum_or_not_at_all() -> None:
    assert sizes(a_job(1, minimum=4), free=3) == [0]


def test_e1_a_job_stays_below_the_size_for_which_there_is_no_place() -> None:
    answer = targets([a_job(1)], 8, MINUTE, fits=lambda job, chips: chips <= 6)
    assert answer == (Target(1, 6),)


def test_e1_of_whom_nothing_is_measured_a_node_is_taken_to_help_in_full_and_more_by_its_root() -> None:
    job = a_job(1, curve=())
    assert [speedup(job, chips) for chips in (1, 2, 4, 16)] == [MICRO, 2 * MICRO, 4 * MICRO, 8 * MICRO]


@st.composite
def elastic_jobs(draw: st.DrawFn) -> list[ElasticJob]:
    jobs = []
    for id in range(draw(st.integers(1, 6))):
        minimum = draw(st.integers(1, 4))
        maximum = draw(st.integers(minimum, 12))
        jobs.append(
            ElasticJob(
                id,
                minimum,
                maximum,
                size=draw(st.sampled_from([0, *range(minimum, maximum + 1)])),
                curve=tuple(draw(st.lists(st.integers(0, 20 * MICRO), max_size=12))),
                weight=draw(st.integers(1, 5)),
                attained=draw(st.integers(0, 10**12)),
                restart_cost=draw(st.integers(0, 10 * MINUTE)),
                since_resize=draw(st.integers(0, 100 * MINUTE)),
            )
        )
    return jobs


@given(elastic_jobs(), st.integers(0, 20), st.integers(0, 10 * MINUTE))
def test_e1_laws(jobs: list[ElasticJob], free: int, interval: int) -> None:
    answer = targets(jobs, free, interval)
    assert [target.job for target in answer] == [job.id for job in jobs]
    assert sum(target.replicas for target in answer) <= free + sum(job.size for job in jobs)
    for job, target in zip(jobs, answer, strict=True):
        assert target.replicas == 0 or job.minimum <= target.replicas <= job.maximum
        if job.size and job.since_resize < interval:
            assert target.replicas == job.size


@given(elastic_jobs(), st.integers(0, 20), st.randoms())
def test_e1_symmetry(jobs: list[ElasticJob], free: int, random: object) -> None:
    """The same answer in any order of the jobs and under names that keep their order."""
    answer = {target.job: target.replicas for target in targets(jobs, free, MINUTE)}
    renamed = [replace(job, id=7 * job.id + 100) for job in jobs]
    random.shuffle(renamed)  # type: ignore[attr-defined]
    assert {(target.job - 100) // 7: target.replicas for target in targets(renamed, free, MINUTE)} == answer


@given(st.integers(1, 6), st.integers(0, 30))
def test_e1_more_chips_take_none_from_anybody(count: int, free: int) -> None:
    """For curves that only flatten out."""
    jobs = [
        a_job(id, curve=tuple(MICRO * 2 * n * (id + 1) // (n + id + 1) for n in range(1, 9)))
        for id in range(count)
    ]
    fewer, more = targets(jobs, free, MINUTE), targets(jobs, free + 1, MINUTE)
    assert all(a.replicas <= b.replicas for a, b in zip(fewer, more, strict=True))
