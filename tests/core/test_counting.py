"""P1: the compiled count of nodes says what the filters say when each node is asked in plain words."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import event, given
from hypothesis import strategies as st

from scheduler_core import Snapshot
from scheduler_core.census import Why
from scheduler_core.fit import enforces, may_join, sides
from scheduler_core.ledger import Ledger
from scheduler_core.model import Job
from scheduler_core.ordering import JobClass
from scheduler_core.placement import Placer
from scheduler_core.request import wants_slice
from scheduler_core.shape import ChipState, NodeState, tenant
from scheduler_core.slices import host_cpu_claim
from scheduler_core.stamps import Stamps
from tests.core.cells import cells, crowded_cells, troubled_cells
from tests.core.test_properties import brisk
from tests.support.engine import a_gang, a_node
from tests.support.engine import given as a_case


@brisk
@given(st.one_of(cells(), crowded_cells(), troubled_cells()))
def test_p1_the_count_is_what_the_filters_say_of_each_node(snapshot: Snapshot) -> None:
    ledger = Ledger(snapshot)
    placer = Placer(ledger)
    for job in snapshot.jobs:
        kind = JobClass.of(job)
        for chip_type in placer.chip_types(job.gang.request) if not kind.problem else ():
            ranking = placer.ranking(kind, chip_type)
            told = {node: first_filter(job, chip_type, state) for node, state in ledger.states.items()}
            everywhere = list(told.values())
            assert ranking.census.counts == [everywhere.count(why) for why in (*Why, None)]
            assert ranking.census.fitting == everywhere.count(None)
            for node, why in told.items():
                event(f"{why}")
                assert (ranking.on(node) is not None) == (why is None)


def first_filter(job: Job, chip_type: str, state: NodeState) -> Why | None:
    """The first filter that rejects the node for one replica of the job; None when none does."""
    request, build = job.gang.request, state.frame.build
    if job.pools and build.pool not in job.pools:
        return Why.OTHER_POOL
    if request.image and not build.images:
        return Why.NO_IMAGES
    why, claim = None, 0
    if request.chips:
        why, claim = _whole_chips(job, chip_type, state)
    elif wants_slice(request):
        met = [_part_of(job, chip, state) for chip in state.frame.chips if chip.type == chip_type]
        fitting = [claim for why, claim in met if why is None]
        why, claim = (None, min(fitting)) if fitting else max(met, default=(Why.NO_SUCH_CHIPS, 0))
    if why is not None and why < Why.HOST_CPU_TOO_SMALL:
        return why
    if request.cpu + claim > build.cpu:
        return Why.HOST_CPU_TOO_SMALL
    if request.memory > build.memory:
        return Why.HOST_MEMORY_TOO_SMALL
    if build.unready is not None:
        return Why.NOT_READY
    if why is None and request.cpu + claim > max(state.free_cpu, 0):
        return Why.CPU_BUSY
    if why is None and request.memory > max(state.free_memory, 0):
        return Why.MEMORY_BUSY
    return why


def _whole_chips(job: Job, chip_type: str, state: NodeState) -> tuple[Why | None, int]:
    wanted = job.gang.request.chips
    of_type = [chip for chip in state.frame.chips if chip.type == chip_type]
    healthy = [chip for chip in of_type if chip.healthy]
    free = sorted((chip for chip in healthy if not chip.tenants), key=lambda chip: -chip.health)
    claim = sum(chip.host_cpu for chip in (free if len(free) >= wanted else of_type)[:wanted])
    if not of_type:
        return Why.NO_SUCH_CHIPS, 0
    if len(of_type) < wanted:
        return Why.TOO_FEW_CHIPS, 0
    if len(healthy) < wanted:
        return Why.UNHEALTHY, claim
    return (Why.BUSY if len(free) < wanted else None), claim


def _part_of(job: Job, chip: ChipState, state: NodeState) -> tuple[Why | None, int]:
    request = job.gang.request
    if request.chip_memory > chip.memory:
        return Why.CHIPS_TOO_SMALL, 0
    if not enforces(chip, request.isolation):
        return Why.ISOLATION, 0
    milli, memory = sides(request, chip, state.frame.build.slice_step)
    claim = host_cpu_claim(milli, chip.host_cpu)
    if not chip.healthy:
        return Why.UNHEALTHY, claim
    if milli > chip.free_milli or memory > chip.free_memory:
        return Why.BUSY, claim
    if not may_join(chip, tenant(job.organization, request.isolation)):
        return Why.HELD_BY_STRANGERS, claim
    return None, claim


def test_p6_what_did_not_fit_does_not_fit_until_room_is_made() -> None:
    stamps = Stamps()
    stamps.go_on(makes_room=False)
    full = stamps.now
    stamps.go_on(makes_room=False)
    assert stamps.only_less_room_since(full)
    stamps.go_on()
    assert not stamps.only_less_room_since(full)
    stamps.go_back()
    assert stamps.only_less_room_since(full)


def test_p6_what_did_not_fit_in_a_trial_says_nothing_once_it_is_rewound() -> None:
    stamps = Stamps()
    stamps.go_on(makes_room=False)
    full = stamps.now
    stamps.go_back()
    stamps.go_on(makes_room=False)
    assert not stamps.only_less_room_since(full)


def test_p6_a_gang_costs_no_more_after_others_in_the_same_trial() -> None:
    few, many = (_states_looked_through(gangs) for gangs in (10, 40))
    assert few < many < 8 * few


def _states_looked_through(gangs: int) -> int:
    """How often it is asked whether a trial comes back to a state, while so many gangs are placed in one."""
    nodes = [a_node(chips=8) for _ in range(gangs)]
    waiting = [a_gang(f"g{n}", replicas=8, chips=1, spread=False) for n in range(gangs)]
    with patch.object(Stamps, "lies_before", autospec=True, side_effect=Stamps.lies_before) as asked:
        case = a_case(nodes=nodes, waiting=waiting)
        assert len(case.decision.started) == gangs
    return asked.call_count
