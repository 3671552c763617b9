"""What is kept of a decision adds up and stays small, however many jobs there are."""

from __future__ import annotations

import json

import pytest

from flexai.scheduling.cycle import run_cycle
from flexai.scheduling.models import CellPolicy, Cycle
from flexai.scheduling.summaries import MOST_CODES, NAMED, decided_in, does_anything, reasons_in
from scheduler_core.decision import Decision, Ground, Rung, Start, Taking, Unit, Verdict
from scheduler_core.reasons import BudgetSpent, SetCapReached, TeamLimit
from tests.server.scheduling.world import World


def test_what_is_done_is_counted_by_kind_and_right_with_whom_it_serves() -> None:
    takings = (
        Taking(1, 11, Rung.SUSPEND, Ground.GUARANTEE, 0),
        Taking(2, 12, Rung.SUSPEND, Ground.GUARANTEE, 0),
        Taking(3, 13, Rung.EVICT, Ground.PRIORITY, 0),
    )
    relief = (Taking(4, 14, Rung.SUSPEND, Ground.EXCESS, 0),)
    starts = tuple(Unit(Start(job, 0, ())) for job in range(100, 140))
    decision = Decision(0, units=(*starts, Unit(Start(7, 0, ()), takings)), relief=relief)
    assert decided_in(decision) == [
        {"what": "started", "ground": "", "jobs": 40, "some": [(job, 0) for job in range(100, 100 + NAMED)]},
        {"what": "promised", "ground": "", "jobs": 1, "some": [(7, 0)]},
        {"what": "preempted", "ground": "guarantee", "jobs": 2, "some": [(11, 7), (12, 7)]},
        {"what": "evicted", "ground": "priority", "jobs": 1, "some": [(13, 7)]},
        {"what": "preempted", "ground": "excess", "jobs": 1, "some": [(14, 0)]},
    ]
    assert does_anything(decision)
    assert not does_anything(Decision(0))


def test_a_hundred_thousand_who_wait_are_a_few_rows_that_add_up() -> None:
    limits = [Verdict(tuple(range(n * 100, n * 100 + 99)), (_limit(n),)) for n in range(1, 1000)]
    big = Verdict(tuple(range(200_000, 200_500)), (_limit(0), BudgetSpent("vision")))
    spent = Verdict((5, 6), (BudgetSpent("vision"),))
    rows = reasons_in(Decision(0, verdicts=(*limits, big, spent)))
    assert [(row["code"], row["jobs"]) for row in rows] == [
        ("team_limit", 999 * 99 + 500),
        ("budget_spent", 2),
    ]
    assert rows[0]["sentence"] == _limit(0).sentence()
    assert rows[0]["some"] == big.jobs[:NAMED]
    assert len(json.dumps(rows)) < 1000
    assert len(reasons_in(Decision(0, verdicts=(Verdict((1,), (SetCapReached(1, 1),)),) * 30))) <= MOST_CODES


@pytest.mark.django_db(transaction=True)
def test_a_cycle_keeps_what_it_did_and_why_the_rest_waited() -> None:
    world = World()
    world.a_node(chips=1)
    first, second = world.a_job("first", chips=1), world.a_job("second", chips=1)
    run_cycle(world.cell.pk)
    cycle = Cycle.objects.get(cell=world.cell, applied=1)
    assert cycle.decided == [{"what": "started", "ground": "", "jobs": 1, "some": [[first.pk, 0]]}]
    (reason,) = cycle.reasons
    assert (reason["code"], reason["jobs"], reason["some"]) == ("not_enough_free_chips", 1, [second.pk])
    assert reason["sentence"].startswith("Needs 1 chip")

    CellPolicy.objects.create(cell=world.cell, values={"min_runtime": 0})
    urgent = world.a_job("urgent", chips=1, priority=90)
    run_cycle(world.cell.pk)
    rows = {
        (row["what"], row["ground"]): row["some"]
        for cycle in Cycle.objects.filter(cell=world.cell)
        for row in cycle.decided
    }
    assert rows["evicted", "priority"] == [[first.pk, urgent.pk]]
    assert rows["promised", ""] == [[urgent.pk, 0]]


def _limit(number: int) -> TeamLimit:
    return TeamLimit(f"team-{number}", "H100", 1000, 8000, 8000)
