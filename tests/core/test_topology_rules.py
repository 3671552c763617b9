"""P2: gangs on nodes that are close together, required (`within`) and preferred (`near`)."""

from __future__ import annotations

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from scheduler_core import Policy, decide
from scheduler_core.effort import CYCLE_VALUES, FEW_NODES, LEAST_VALUES, effort
from scheduler_core.invariants import check
from scheduler_core.model import Gang, Job, Node, Request, Snapshot
from scheduler_core.reasons import NotEnoughTogether


def rack(zone: str, name: str, *nodes: tuple[str, int]) -> list[tuple[str, int, tuple[str, ...]]]:
    return [(node, cpu, (zone, name)) for node, cpu in nodes]


def a_cell(
    *racks: list[tuple[str, int, tuple[str, ...]]], gang: Gang, others: tuple[Gang, ...] = ()
) -> Snapshot:
    """Nodes by name, free millicores and topology; one waiting gang, and others after it."""
    rows = [row for nodes in racks for row in nodes]
    nodes = tuple(
        Node(number, name, 0, cpu, 1000, topology=topology)
        for number, (name, cpu, topology) in enumerate(rows, 1)
    )
    jobs = tuple(
        Job(number, f"job-{number}", 1, 1, 1, asked, submitted=number)
        for number, asked in enumerate((gang, *others), 1)
    )
    return Snapshot(1000, nodes=nodes, jobs=jobs)


def nodes_of(snapshot: Snapshot) -> list[str]:
    """Where the first job's replicas sit, after the laws were checked."""
    decision = decide(snapshot, Policy())
    assert check(snapshot, decision) == ()
    names = {node.id: node.name for node in snapshot.nodes}
    starts = [unit.start for unit in decision.units if unit.start.job == 1]
    return sorted(names[placement.node] for start in starts for placement in start.placements)


def gang(replicas: int | tuple[int, int], *, spread: bool = True, **topology: int) -> Gang:
    low, high = replicas if isinstance(replicas, tuple) else (replicas, replicas)
    return Gang(Request(cpu=1000), low, high, spread, **topology)


EAST, WEST = rack("z", "east", ("e1", 1000), ("e2", 1000)), rack("z", "west", ("w1", 1000), ("w2", 1000))


def test_p2_a_required_domain_is_found_where_the_best_nodes_lie_apart() -> None:
    """The tightest nodes of the cell are in different racks; only one rack takes the gang whole."""
    tight = rack("z", "east", ("e1", 1000), ("e2", 500))
    wide = rack("z", "west", ("w1", 3000), ("w2", 3000))
    assert nodes_of(a_cell(tight, wide, gang=gang(2))) == ["e1", "w1"]
    assert nodes_of(a_cell(tight, wide, gang=gang(2, within=2))) == ["w1", "w2"]
    assert nodes_of(a_cell(tight, wide, gang=gang(2, within=1))) == ["e1", "w1"]


def test_p2_a_gang_that_fits_in_no_domain_waits_and_says_how_many_would_fit() -> None:
    snapshot = a_cell(EAST, WEST, gang=gang(3, within=2))
    decision = decide(snapshot, Policy())
    (verdict,) = decision.verdicts
    assert verdict.reasons[0] == NotEnoughTogether(3, 2, 2, "1 core")
    assert verdict.reasons[0].sentence() == (
        "Needs 3 replicas with 1 core each on nodes that share the first 2 parts of the topology; "
        "there is room for 2."
    )


def test_p2_a_preferred_domain_is_taken_where_there_is_one_and_never_waited_for() -> None:
    assert nodes_of(a_cell(EAST, WEST, gang=gang(2, near=2))) == ["e1", "e2"]
    assert nodes_of(a_cell(EAST, WEST, gang=gang(3, near=2))) == ["e1", "e2", "w1"]


def test_p2_of_equal_domains_the_smallest_is_taken() -> None:
    large = rack("z", "east", ("e1", 1000), ("e2", 1000), ("e3", 1000))
    assert nodes_of(a_cell(large, WEST, gang=gang(2, within=2))) == ["w1", "w2"]


def test_p2_an_elastic_gang_takes_the_domain_with_room_for_more_of_it() -> None:
    large = rack("z", "west", ("w1", 1000), ("w2", 1000), ("w3", 1000))
    assert nodes_of(a_cell(EAST, large, gang=gang((1, 3), within=2))) == ["w1", "w2", "w3"]


def test_p2_preferred_lies_inside_required() -> None:
    """Both racks of zone `z` are needed; the wider zone is taken whole where no rack has room."""
    far = rack("y", "north", ("n1", 1000))
    assert nodes_of(a_cell(far, EAST, WEST, gang=gang(3, within=1, near=2))) == ["e1", "e2", "w1"]
    assert nodes_of(a_cell(far, EAST, WEST, gang=gang(2, within=1, near=2))) == ["e1", "e2"]


@pytest.mark.parametrize(("spread", "starts"), [(False, ["big", "big"]), (True, [])])
def test_p2_a_node_whose_topology_is_not_told_is_close_to_itself_alone(spread: bool, starts: list) -> None:
    nodes = [("big", 2000, ()), ("other", 1000, ())]
    assert nodes_of(a_cell(nodes, gang=gang(2, spread=spread, within=1))) == starts


def test_p2_replicas_on_one_node_are_together() -> None:
    nodes = rack("z", "east", ("e1", 1000), ("e2", 3000))
    assert nodes_of(a_cell(nodes, WEST, gang=gang(4, spread=False, within=2))) == ["e1", "e2", "e2", "e2"]


racks = st.lists(
    st.tuples(st.sampled_from(["a", "b", ""]), st.sampled_from(["x", "y", ""]), st.integers(0, 3)), max_size=6
)


@settings(max_examples=200, deadline=None, derandomize=True)
@for_all(racks, st.integers(1, 4), st.integers(1, 2), st.booleans())
def test_p2_required_topology_is_complete(rows, replicas: int, within: int, spread: bool) -> None:
    """The gang starts exactly where some domain has room for it."""
    nodes = [
        (f"n{n}", cores * 1000, tuple(part for part in (zone, row if zone else "") if part))
        for n, (zone, row, cores) in enumerate(rows)
    ]
    room: dict[object, int] = {}
    for name, cpu, topology in nodes:
        domain = topology[:within] if len(topology) >= within else name
        here = cpu // 1000
        room[domain] = room.get(domain, 0) + (min(here, 1) if spread else here)
    starts = bool(nodes_of(a_cell(nodes, gang=gang(replicas, spread=spread, within=within))))
    assert starts == (max(room.values(), default=0) >= replicas)


def test_s4_effort_is_shared_among_the_waiting_and_ends_with_the_nodes() -> None:
    assert effort(1, 1000) == 1000
    assert effort(100, 1000) == CYCLE_VALUES // 100
    assert effort(CYCLE_VALUES + 1, 1000) == 0
    assert effort(0, 7) == 7
    assert effort(CYCLE_VALUES // LEAST_VALUES, 1000) == LEAST_VALUES
    assert effort(CYCLE_VALUES // LEAST_VALUES + 1, 1000) == 0, "so few are no choice"
    assert [effort(waiting, FEW_NODES) for waiting in (1, 10, LEAST_VALUES)] == [FEW_NODES] * 3
    assert effort(5, FEW_NODES - 1) == 0, "loops are plain there"
    assert [effort(waiting, 7) for waiting in (2, 4, 5, 17)] == [7, 4, 0, 0]
