"""How much of the cluster any policy could hold at the end of a trial: an upper bound from a linear program.

Nodes of one class (chip type, host CPU, host memory, chips) are taken together and requests may be split among
the nodes of a class, so no placement is left out and the bound may be too high, never too low. Two things keep
it near the truth: a chip that is sliced is sliced by one of the patterns of slices that fit it and leave no room
for another, so that 810 milli-chips leave 190 that nothing uses; and of one kind a node takes no more than fit
it alone. Solved by HiGHS (Huangfu and Hall 2018, through SciPy).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog  # type: ignore[import-untyped]
from scipy.sparse import csr_array  # type: ignore[import-untyped]

from scheduler_core.simulation.openb.protocol import Trial
from scheduler_core.simulation.openb.trace import WHOLE_CHIP
from scheduler_core.value import CHIPS, CPU, MEMORY, MILLI, TYPES, Ints

OPTIMAL: Final = 0
"""What `linprog` says of a program that it has solved."""


def ceiling(trial: Trial, kept: int = 0) -> float:
    """No placement of the trial's requests that includes the first `kept` arrivals holds more of the cluster, in
    %. With 0 every choice is free, in hindsight; with what a policy placed before its first refusal it is the
    bound for everybody who refuses nothing that early.
    """
    kinds = trial.requests.kinds
    arrived = np.bincount(trial.kinds_in_order, minlength=len(kinds))
    in_any_case = np.bincount(trial.kinds_in_order[:kept], minlength=len(kinds))
    sizes = sorted({int(k[MILLI]) for k in kinds[arrived > 0] if k[CHIPS] == 1 and k[MILLI] < WHOLE_CHIP})
    nodes = np.column_stack((trial.nodes.cpu, trial.nodes.memory, trial.nodes.chips, trial.nodes.chip_type))
    program = Program()
    of_kind: dict[int, list[int]] = {int(k): [] for k in np.flatnonzero(arrived)}
    for like, count in zip(*np.unique(nodes, axis=0, return_counts=True), strict=True):
        for k, variable in _class_of_nodes(program, like, int(count), kinds, list(of_kind), sizes).items():
            of_kind[k].append(variable)
    for k, variables in of_kind.items():
        program.at_most([(variable, 1) for variable in variables], int(arrived[k]))
        program.at_most([(variable, -1) for variable in variables], -int(in_any_case[k]))
    return 100 * program.best() / trial.nodes.capacity


def until_first_refusal(placed: NDArray[np.bool_]) -> int:
    """How many arrivals were placed before one was dropped."""
    return len(placed) if placed.all() else int(np.argmin(placed))


class Program:
    """A linear program: variables from 0 to a bound, what one of each gains, and sums that have a limit."""

    def __init__(self) -> None:
        self._gains: list[int] = []
        self._bounds: list[tuple[int, int]] = []
        self._terms: list[tuple[int, int, int]] = []
        self._limits: list[int] = []

    def variable(self, gain: int, at_most: int) -> int:
        """Its number."""
        self._gains.append(gain)
        self._bounds.append((0, at_most))
        return len(self._gains) - 1

    def at_most(self, terms: list[tuple[int, int]], limit: int) -> None:
        """The sum of these variables, each times its factor, is at most the limit."""
        self._terms += [(len(self._limits), variable, factor) for variable, factor in terms if factor]
        self._limits.append(limit)

    def best(self) -> float:
        """The most that can be gained. Raises ValueError when nothing satisfies all limits."""
        rows, variables, factors = np.array(self._terms, np.int64).T
        shape = (len(self._limits), len(self._gains))
        limited = csr_array((factors.astype(np.float64), (rows, variables)), shape=shape)
        found = linprog(
            -np.array(self._gains, np.float64),
            A_ub=limited,
            b_ub=np.array(self._limits, np.float64),
            bounds=self._bounds,
            method="highs",
        )
        if found.status != OPTIMAL:
            raise ValueError(f"the linear program has no optimum: {found.message}")
        return -float(found.fun)


def patterns(sizes: list[int]) -> list[dict[int, int]]:
    """Every way to slice one chip that leaves no room for another slice of these sizes: how many of each."""
    if not sizes:
        return []
    found: list[dict[int, int]] = []
    begun: list[tuple[int, int, dict[int, int]]] = [(len(sizes) - 1, WHOLE_CHIP, {})]
    while begun:
        at, left, slices = begun.pop()
        if at < 0:
            found += [slices] if left < sizes[0] else []
            continue
        for count in range(left // sizes[at] + 1):
            begun.append(
                (at - 1, left - count * sizes[at], {**slices, sizes[at]: count} if count else slices)
            )
    return found


def _class_of_nodes(
    program: Program, like: Ints, count: int, kinds: Ints, arrived: list[int], sizes: list[int]
) -> dict[int, int]:
    """What nodes like this can take together: for each kind that fits one, its variable."""
    cpu, memory, chips, chip_type = map(int, like)
    taken: dict[int, int] = {}
    for k in arrived:
        kind = [int(part) for part in kinds[k]]
        fit = _alone(cpu, memory, chips, kind) if not kind[CHIPS] or kind[TYPES] >> chip_type & 1 else 0
        if fit:
            taken[k] = program.variable(kind[CHIPS] * kind[MILLI], fit * count)
    cuts = [(program.variable(0, chips * count), pattern) for pattern in patterns(sizes)]
    program.at_most([(x, int(kinds[k, CPU])) for k, x in taken.items()], cpu * count)
    program.at_most([(x, int(kinds[k, MEMORY])) for k, x in taken.items()], memory * count)
    whole = [(x, int(kinds[k, CHIPS])) for k, x in taken.items() if kinds[k, MILLI] == WHOLE_CHIP]
    program.at_most(whole + [(cut, 1) for cut, _ in cuts], chips * count)
    for size in sizes:
        slices = [(x, 1) for k, x in taken.items() if kinds[k, MILLI] == size]
        program.at_most(slices + [(cut, -pattern.get(size, 0)) for cut, pattern in cuts], 0)
    return taken


def _alone(cpu: int, memory: int, chips: int, kind: list[int]) -> int:
    """How many requests of this kind an empty node takes."""
    limits = [cpu // kind[CPU]] if kind[CPU] else []
    limits += [memory // kind[MEMORY]] if kind[MEMORY] else []
    if kind[CHIPS]:
        per_chip = WHOLE_CHIP // kind[MILLI]
        limits.append(chips // kind[CHIPS] if kind[CHIPS] > 1 else chips * per_chip)
    return min(limits, default=MANY)


MANY: Final = 10**9
"""Requests that ask for nothing: as many as come."""
