"""What is not searched, or asked about once for many, would have been answered no, or alike (ADR 0012)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from scheduler_core import Decision, Policy, Snapshot, clearing, decide, moves, placement, takeback
from scheduler_core.decision import Rung
from scheduler_core.glance import Glance
from scheduler_core.moves import Consolidation
from scheduler_core.rights import Rights
from scheduler_core.takeback import TakeBack
from tests.core.cells import crowded_cells, policies
from tests.core.taking_cells import POLICIES, contended_cells, overfull_cells
from tests.core.test_taking_properties import bounded

seen: Counter[str] = Counter()
"""How often each was answered no; see the last test."""


@contextmanager
def everything_searched() -> Iterator[None]:
    """No quick no is heard; all rungs are searched, by everybody anew, and every attempt is asked about by itself."""
    with ExitStack() as stack:
        for owner, name in (
            (Glance, "allows"),
            (Consolidation, "_may_be_enough"),
            (clearing, "may_free_enough"),
            (moves, "may_free_enough"),
        ):
            stack.enter_context(patch.object(owner, name, _yes_to(name, getattr(owner, name))))
        stack.enter_context(patch.object(takeback, "_what_a_search_depends_on", lambda kind: (object(),)))
        stack.enter_context(patch.object(TakeBack, "_rungs", lambda self: iter(Rung)))
        stack.enter_context(patch.object(Rights, "sort_of", lambda self, attempt: attempt.id))
        stack.enter_context(patch.object(placement, "_is_known_not_to_fit", lambda gang, ranking: False))
        yield


def _yes_to(name: str, asked: Any) -> Any:
    def yes(*args: Any) -> bool:
        seen[name] += not asked(*args)
        return True

    return yes


def _alike(quick: Decision, searched: Decision) -> None:
    """Who searched in vain may look again earlier: it does not know that time changes nothing of it."""
    assert replace(quick, due=None) == replace(searched, due=None)
    assert quick.due is None or (searched.due is not None and searched.due <= quick.due)


@bounded
@given(st.one_of(contended_cells(), overfull_cells()), POLICIES)
def test_where_work_is_taken_no_search_is_missed(snapshot: Snapshot, policy: Policy) -> None:
    quick = decide(snapshot, policy)
    with everything_searched():
        _alike(quick, decide(snapshot, policy))


@bounded
@given(crowded_cells(), policies)
def test_in_a_crowd_no_place_is_missed(snapshot: Snapshot, policy: Policy) -> None:
    quick = decide(snapshot, policy)
    with everything_searched():
        _alike(quick, decide(snapshot, policy))


def test_every_quick_no_was_heard() -> None:
    assert min(seen[name] for name in ("allows", "_may_be_enough", "may_free_enough")) > 10, seen
