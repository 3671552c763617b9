"""The compiler is loaded where there is much to loop over, and nowhere else; compiled or not, the numbers are the
same."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from scheduler_core.columns import Ints
from scheduler_core.compiled import LONG, compiled, inlined


@inlined
def _square(value: int) -> int:
    return value * value


@compiled
def _sum_of_squares(values: Ints) -> int:
    total = 0
    for at in range(len(values)):
        total += _square(values[at])
    return total


def test_a_loop_gives_the_same_before_and_after_it_is_compiled() -> None:
    short, long = np.arange(LONG - 1), np.arange(LONG)
    plain = _sum_of_squares(short)
    assert _sum_of_squares(long) == sum(n * n for n in range(LONG))
    assert _sum_of_squares(short) == plain == sum(n * n for n in range(LONG - 1))


def test_a_small_cell_is_decided_without_the_compiler() -> None:
    """It takes more than a second and 70 MiB that no laptop with a few nodes should pay."""
    program = """
import sys
from scheduler_core import Policy, decide
from tests.support.engine import a_gang, a_node, given
case = given(nodes=[a_node(chips=8) for _ in range(16)], waiting=[a_gang("a", chips=8), a_gang("b", chips=9)])
assert case.decision.starts("a") and not case.decision.starts("b")
assert "numba" not in sys.modules, "the compiler was loaded"
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
