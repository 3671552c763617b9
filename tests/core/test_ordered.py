"""A long list that stays in order is the plain sorted list, whatever comes and goes."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from scheduler_core import ordered
from scheduler_core.ordered import Ordered
from tests.core.test_properties import thorough


@thorough
@given(st.sets(st.integers(0, 99)), st.lists(st.integers(0, 99)), st.integers(0, 100))
def test_what_comes_and_goes_leaves_it_in_order(first: set[int], flips: list[int], bound: int) -> None:
    """Every number of `flips` goes where it is there, and comes where it is not."""
    with patch.object(ordered, "LONGEST", 4), patch.object(ordered, "SWEEP_EVERY", 3):
        plain, kept = set(first), Ordered(first)
        for number in flips:
            (plain.discard if number in plain else plain.add)(number)
            (kept.add if number in plain else kept.remove)(number)
            assert len(kept) == len(plain)
        assert list(kept) == sorted(plain)
        assert kept.first(bound % 8) == sorted(plain)[: bound % 8]
        assert kept.before(bound) == [number for number in sorted(plain) if number < bound]
