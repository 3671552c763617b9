"""The laws counted for all starts at once say what they say start by start."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from scheduler_core import Decision, Policy, Snapshot, Start, decide, invariants, tally
from scheduler_core.ledger import Ledger
from scheduler_core.model import ChipShare, Isolation, Placement, Quota
from tests.core.test_properties import brisk
from tests.core.test_stretches import alike_cells

seen: Counter[str] = Counter()


@st.composite
def tampered(draw: st.DrawFn, decision: Decision) -> Decision:
    """The decision with some of its starts changed, or none of them."""
    units = [unit for unit in decision.units if not unit.takings]
    places = [place for unit in units for place in unit.start.placements]
    for _ in range(draw(st.sampled_from([0, 1, 1, 2])) if places else 0):
        at = draw(st.integers(0, len(units) - 1))
        start = draw(changed(units[at].start, places))
        units[at] = replace(units[at], start=start)
    return replace(decision, units=tuple(units), relief=(), resizings=())


@st.composite
def changed(draw: st.DrawFn, start: Start, places: list[Placement]) -> Start:
    what = draw(
        st.sampled_from(["place", "place", "place", "share", "amount", "version", "more", "less", "replica"])
    )
    other = draw(st.sampled_from(places))
    if what == "version":
        return replace(start, version=start.version + 1)
    if what == "more":
        return replace(start, placements=(*start.placements, replace(other, replica=len(start.placements))))
    if what == "less" or not start.placements:
        return replace(start, placements=start.placements[:-1])
    first, *rest = start.placements
    if what == "place":
        alike = [
            p
            for p in places
            if (p.cpu, p.memory, len(p.chips)) == (first.cpu, first.memory, len(first.chips))
        ]
        first = replace(draw(st.sampled_from(alike)), replica=0)
    elif what == "replica":
        first = replace(first, replica=1)
    elif what == "share":
        first = replace(first, chips=other.chips)
    else:
        more = draw(st.sampled_from([1, -1, 1 << 70]))
        field = draw(st.sampled_from(["cpu", "memory", "milli", "node", "chip"]))
        if field in ("cpu", "memory", "node"):
            first = replace(first, **{field: getattr(first, field) + more})
        elif first.chips:
            share = first.chips[0]
            share = (
                replace(share, milli=share.milli + more)
                if field == "milli"
                else ChipShare(share.chip + more, share.milli, share.memory)
            )
            first = replace(first, chips=(share, *first.chips[1:]))
    return replace(start, placements=(first, *rest))


@st.composite
def otherwise(draw: st.DrawFn, snapshot: Snapshot) -> Snapshot:
    """The cell, with less of something than there was when it was decided."""
    what = draw(st.sampled_from(["as it was", "as it was", "host", "chips", "limit"]))
    if what == "host":
        return replace(
            snapshot, nodes=tuple(replace(n, cpu=n.cpu // 8, memory=n.memory // 8) for n in snapshot.nodes)
        )
    if what == "chips":
        kept_apart = frozenset({draw(st.sampled_from([Isolation.EXCLUSIVE, Isolation.COOPERATIVE]))})
        return replace(snapshot, chips=tuple(replace(c, isolation=kept_apart) for c in snapshot.chips))
    if what == "limit":
        quotas = tuple(Quota(name, limit=draw(st.integers(0, 2000))) for name in ("A", "B"))
        return replace(snapshot, teams=tuple(replace(team, quotas=quotas) for team in snapshot.teams))
    return snapshot


@brisk
@given(alike_cells(), st.data())
def test_all_starts_at_once_break_a_law_where_one_of_them_does(
    snapshot: Snapshot, data: st.DataObject
) -> None:
    decision = data.draw(tampered(decide(snapshot, Policy())))
    snapshot = data.draw(otherwise(snapshot))
    ledger, waiting = Ledger(snapshot), {job.id: job for job in snapshot.jobs}
    with patch.object(invariants, "adds_up", lambda *_: False):
        broken = invariants.enforce(ledger, waiting, decision)[1]
    with patch.object(tally, "FEW", 0):
        adds_up = tally.adds_up(ledger, waiting, decision.units)
    assert adds_up == (not broken)
    seen["lawful" if adds_up else "broken"] += bool(decision.units)
    seen.update(fault.law for fault in broken)


def test_the_runs_met_what_is_lawful_and_what_is_not() -> None:
    """Each law alone is met in `test_invariants`, which counts all units together too."""
    assert min(seen["lawful"], seen["broken"]), seen
    assert len(seen) >= 2 + 4, f"fewer than four laws: {seen}"
