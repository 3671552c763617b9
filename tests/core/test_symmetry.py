"""Symmetry, as the laws word it: renaming that keeps the order of ids, and swapping ids of equal things (ADR 0030).

That the order of rows decides nothing is asked of every case (`order_does_not_matter`), hash seeds in
`test_properties`.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from scheduler_core import Decision, Policy, Snapshot, decide
from scheduler_core.model import Id
from tests.core.cells import cells, crowded_cells, policies
from tests.core.taking_cells import POLICIES, contended_cells, overfull_cells
from tests.core.test_resizing import elastic_cells
from tests.support.engine import Case, a_gang, a_job, a_node, live
from tests.support.engine import given as given_case
from tests.support.renaming import Anew, named_anew, renamed, swapping

thorough = settings(
    max_examples=int(os.environ.get("FLEXAI_TEST_EXAMPLES", "60")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

CELLS = st.one_of(
    st.tuples(cells(), policies),
    st.tuples(crowded_cells(), policies),
    st.tuples(contended_cells(), POLICIES),
    st.tuples(overfull_cells(), POLICIES),
    st.tuples(elastic_cells(), POLICIES),
)

PACES = {
    "job": 7,
    "node": 3,
    "chip": 5,
    "attempt": 2,
    "team": 4,
    "organization": 6,
    "user": 9,
    "set": 3,
}

seen: Counter[str] = Counter()
"""What happened at all in the runs of this module; see the last test."""


@thorough
@given(CELLS)
def test_symmetry_renaming_that_keeps_the_order_of_ids_renames_the_decision(
    drawn: tuple[Snapshot, Policy],
) -> None:
    """The whole of it, sentences included; and so does the next one, which stands on the rows of this one."""
    snapshot, policy = drawn
    plain = decide(snapshot, policy)
    assert decide(renamed(snapshot, further_apart), policy) == renamed(plain, further_apart)
    remember("renamed", plain)
    later = replace(snapshot, now=snapshot.now + 1, reservations=plain.reservations)
    assert decide(renamed(later, further_apart), policy) == renamed(decide(later, policy), further_apart)


def further_apart(kind: str, one: Id) -> Id:
    """Every id anew, in the same order; but a pool without a row goes by its id as its name: pools keep theirs."""
    return one if kind == "pool" else one * PACES.get(kind, 1) + 1


@dataclass(frozen=True)
class Twins:
    """A cell in which some things are there twice, equal in everything but their ids and names."""

    cell: Snapshot
    swap: Anew
    """The ids of the ones and of the others change places: of all that is there twice."""


@st.composite
def twins(draw: st.DrawFn) -> tuple[str, Twins, Policy]:
    snapshot, policy = draw(CELLS)
    ways = [
        *(("node", row.id) for row in snapshot.nodes),
        *(("team", row.id) for row in snapshot.teams),
        *(("job", row.id) for row in snapshot.jobs),
    ]
    assume(ways)
    kind, which = draw(st.sampled_from(ways))
    make = {"node": twin_nodes, "team": twin_teams, "job": twin_jobs}[kind]
    return kind, make(snapshot, which), policy


def twin_nodes(snapshot: Snapshot, node: Id) -> Twins:
    """The node is there twice, with its chips, all that runs on it, and the nodes on which this runs too."""
    nodes, live_there = {node}, set[Id]()
    while more := {
        a.id
        for a in snapshot.running
        if a.id not in live_there and nodes & {place.node for place in a.placements}
    }:
        live_there |= more
        nodes |= {place.node for a in snapshot.running if a.id in more for place in a.placements}
    return twice(
        snapshot,
        node=nodes,
        chip={chip.id for chip in snapshot.chips if chip.node in nodes},
        attempt=live_there,
        job={a.job for a in snapshot.running if a.id in live_there},
    )


def twin_teams(snapshot: Snapshot, team: Id) -> Twins:
    """The team is there twice, with all teams below it and their waiting jobs; nothing of theirs runs."""
    teams = {team}
    while below := {row.id for row in snapshot.teams if row.parent in teams} - teams:
        teams |= below
    idle = replace(
        snapshot,
        running=tuple(a for a in snapshot.running if a.team not in teams),
        windows=tuple(window for window in snapshot.windows if window.team not in teams),
    )
    return twice(idle, team=teams, job={job.id for job in snapshot.jobs if job.team in teams})


def twin_jobs(snapshot: Snapshot, job: Id) -> Twins:
    """The waiting job is there twice."""
    return twice(snapshot, job={job})


def twice(snapshot: Snapshot, **ids: set[Id]) -> Twins:
    """What has these ids, by kind, is there twice. Ids are doubled first, so that each twin has the next one."""
    apart = renamed(snapshot, lambda kind, one: 2 * one if kind in ids else one)
    swap = swapping((kind, 2 * one, 2 * one + 1) for kind, of_kind in ids.items() for one in of_kind)
    parts = {}
    for part, kind in (
        ("nodes", "node"),
        ("chips", "chip"),
        ("teams", "team"),
        ("jobs", "job"),
        ("running", "attempt"),
    ):
        rows = getattr(apart, part)
        twice_there = [row for row in rows if row.id // 2 in ids.get(kind, ())]
        parts[part] = (*rows, *(renamed(row, swap) for row in twice_there))
    return Twins(replace(apart, **parts), swap)


@thorough
@given(twins())
def test_symmetry_swapping_the_ids_of_equal_things_and_all_that_is_theirs_swaps_them_and_nothing_else(
    drawn: tuple[str, Twins, Policy],
) -> None:
    """Names stay with the things. Whoever has the id now has its part, and the sentences say its name."""
    kind, both, policy = drawn
    plain = decide(both.cell, policy)
    swapped = named_anew(renamed(both.cell, both.swap), both.swap)
    assert decide(swapped, policy) == named_anew(plain, both.swap)
    remember(f"twin {kind}s", plain)
    if touched(plain, both.swap):
        remember(f"a part for twin {kind}s", plain)


def touched(decision: Decision, swap: Anew) -> bool:
    """Whether any of the twins is in it."""
    return renamed(decision, swap) != decision


def test_adr30_ties_of_attempts_and_ties_of_nodes_are_broken_by_ids_of_their_own() -> None:
    """Two gangs on two nodes each, equal but for ids. The urgent job ends one of them: that with the lower id (R1).
    The next one sits on a free chip: on the node with the lower id (P2). Where both are of one side the third finds two
    chips on the other, and where the ids of the gangs alone are swapped it does not.
    """
    case = given_case(
        nodes=[a_node(f"{n}", chips=chips, pool=pool) for n, chips, pool in FOUR],
        running=[
            live(
                a_gang(f"gang-{n}", replicas=2, chips=1, preemptible=True, priority=10),
                (f"{n}", [0]),
                (f"{n + 1}", [0]),
            )
            for n in (1, 3)
        ],
        waiting=[
            a_job("urgent", priority=90, pools=("small",)),
            a_job("next", priority=80, pools=("large",)),
            a_job("third", chips=2, priority=70, pools=("large",)),
        ],
    )
    assert sides(case) == {"urgent": {"1"}, "next": {"2"}, "third": {"4"}}
    one, other = case.snapshot.running
    swapped = case.but(
        running=(replace(one, id=other.id, job=other.job), replace(other, id=one.id, job=one.job))
    )
    assert sides(swapped) == {"urgent": {"3"}, "next": {"2"}}


FOUR = (("1", 1, "small"), ("2", 2, "large"), ("3", 1, "small"), ("4", 2, "large"))
"""Name, chips and pool of each node."""


def sides(case: Case) -> dict[str, set[str]]:
    """Who starts, on which nodes."""
    return {name: set(case.decision.nodes_of(name)) for name in case.decision.started}


def remember(name: str, decision: Decision) -> None:
    """Note what this run met, so that no law is true for want of a case."""
    met = {name}
    for part in ("units", "verdicts", "reservations", "excesses", "relief", "resizings"):
        if getattr(decision, part):
            met.add(part)
    if any(unit.takings for unit in decision.units):
        met.add("takings")
    for one in met:
        event(one)
        seen[one] += 1


def test_each_interesting_thing_sometimes_happens() -> None:
    """Counts what the tests above met, so it runs after them and not by itself."""
    if not seen:
        pytest.skip("the tests that meet these things were not run")
    expected = {f"{part}twin {kind}s" for part in ("", "a part for ") for kind in ("node", "team", "job")}
    expected |= {"renamed", "units", "verdicts", "reservations", "excesses", "relief", "resizings", "takings"}
    assert expected - set(seen) == set(), dict(seen)
