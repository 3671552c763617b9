"""Where a dependency stands, from the laws that people know from Slurm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.dependencies import After, Standing, of_all, standing

AN_END = st.sampled_from(["succeeded", "failed"])
TASKS = st.lists(st.sampled_from(["open", "succeeded", "failed"]), min_size=1, max_size=6)


def stands(after: After, tasks: list[str]) -> Standing:
    return standing(after, one_is_open="open" in tasks, one_has_failed="failed" in tasks)


@given(st.sampled_from(After), TASKS, st.data())
def test_what_is_decided_stays_however_the_open_tasks_end(
    after: After, tasks: list[str], data: st.DataObject
) -> None:
    ended = [data.draw(AN_END) if task == "open" else task for task in tasks]
    before, at_the_end = stands(after, tasks), stands(after, ended)
    assert at_the_end is not Standing.PENDING
    assert before in (Standing.PENDING, at_the_end)


@given(st.sampled_from(After), TASKS)
def test_what_waits_could_still_come(after: After, tasks: list[str]) -> None:
    ends = [[end if task == "open" else task for task in tasks] for end in ("succeeded", "failed")]
    if stands(after, tasks) is Standing.PENDING:
        assert Standing.MET in [stands(after, one) for one in ends]


@given(TASKS)
def test_once_all_have_ended_exactly_one_of_ok_and_not_ok_has_come(tasks: list[str]) -> None:
    ended = ["failed" if task == "open" else task for task in tasks]
    assert stands(After.ANY, ended) is Standing.MET
    assert {stands(After.OK, ended), stands(After.NOT_OK, ended)} == {Standing.MET, Standing.NEVER}


def test_the_first_failure_decides_afterok_while_others_run() -> None:
    assert stands(After.OK, ["failed", "open"]) is Standing.NEVER
    assert stands(After.NOT_OK, ["failed", "open"]) is Standing.PENDING
    assert stands(After.ANY, ["failed", "open"]) is Standing.PENDING


@given(st.lists(st.sampled_from(Standing), max_size=6))
def test_a_job_needs_all_it_depends_on(standings: list[Standing]) -> None:
    met = all(one is Standing.MET for one in standings)
    assert (of_all(standings) is Standing.MET) == met
    assert (of_all(standings) is Standing.NEVER) == (Standing.NEVER in standings)
