"""The rule P3 alone on the trace: the request goes where the value of what remains falls least (P3).

The rule itself is `scheduler_core.value`; here it is compiled and its answers are remembered by state, so that
equal nodes are valued once (P6).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler_core import value
from scheduler_core.compiled import compiled
from scheduler_core.simulation.openb.protocol import Trial
from scheduler_core.value import Ints, Mix

MEMORY_BITS: Final = 21
"""The table of remembered states has 2^21 places (32 MB); half full, it starts afresh."""

NEVER: Final = 1 << 62
"""More than any loss."""

further_use = value.further_use
homes = value.homes
home_price = value.home_price


class Cell(NamedTuple):
    """What is free, a row a node, and what nodes are."""

    cpu: Ints
    memory: Ints
    free: Ints
    chip_type: Ints
    chips: Ints
    ranks: Ints


class Rule(NamedTuple):
    """The mix, its streams, and the rows of the gangs whose homes are protected; `alike` has for each of these
    the requests with as many chips, `prices` what a home is worth now.
    """

    kinds: Ints
    counts: Ints
    requests: Ints
    least: Ints
    gangs: Ints
    alike: Ints
    prices: Ints


class Memory(NamedTuple):
    """The value of each state met: a table open to both ends of a hash, and scratch for one node's chips."""

    keys: Ints
    values: Ints
    used: Ints
    left: Ints
    scratch: Ints


class Scores(NamedTuple):
    """By kind and node, as long as the node stays as it is: what is lost (-1: does not fit), the chip for a
    slice, the homes of each gang taken. Of each node its version, and how many homes it has.
    """

    version: Ints
    scored: Ints
    loss: Ints
    chosen: Ints
    taken: NDArray[np.int8]
    home: Ints


def by_value(
    trial: Trial, *, samples: int = value.SAMPLES, refresh: int = 1, seed: int = 0
) -> NDArray[np.bool_]:
    """For each arrival, whether it was placed. The mix is that of the workload, as FGD's typical requests are;
    `samples` streams (S4); homes are priced anew every `refresh` arrivals.
    """
    nodes, kinds = trial.nodes, trial.requests.kinds
    counts = np.bincount(trial.requests.of, minlength=len(kinds)).astype(np.int64)
    mix = Mix(kinds, counts)
    gangs = np.flatnonzero(kinds[:, value.CHIPS] > 1)
    alike = np.array([counts[kinds[:, value.CHIPS] == kinds[k, value.CHIPS]].sum() for k in gangs], np.int64)
    free = trial.free_chips()
    table = (len(kinds), len(nodes.cpu))
    placed: NDArray[np.bool_] = _place_all.machine(
        Cell(nodes.cpu.copy(), nodes.memory.copy(), free, nodes.chip_type, nodes.chips, trial.ranks),
        Rule(kinds, counts, value.streams(mix, seed, samples), value.least_of(mix), gangs, alike, 0 * alike),
        Memory(_whole(1 << MEMORY_BITS), _whole(1 << MEMORY_BITS), _whole(1), 0 * free[0], 0 * free[0]),
        Scores(
            _whole(len(nodes.cpu)) + 1, _whole(*table), _whole(*table), _whole(*table),
            np.zeros((*table, len(gangs)), np.int8), _whole(len(nodes.cpu), len(gangs)),
        ),
        trial.kinds_in_order,
        refresh,
    )  # fmt: skip
    return placed


def _whole(*shape: int) -> Ints:
    return np.zeros(shape, np.int64)


@compiled
def _place_all(
    cell: Cell, rule: Rule, memory: Memory, scores: Scores, arrivals: Ints, refresh: int
) -> NDArray[np.bool_]:
    placed = np.zeros(len(arrivals), np.bool_)
    asked = (rule.counts * rule.kinds[:, 2] * rule.kinds[:, 3]).sum()
    unused = cell.free.sum()
    in_all = np.zeros(len(rule.gangs), np.int64)
    for n in range(len(cell.cpu)):
        _count_homes(cell, rule, scores, n, in_all)
    for a in range(len(arrivals)):
        k = arrivals[a]
        if a % refresh == 0:
            _price_homes(rule, unused, asked, in_all)
        n = _best_node(cell, rule, memory, scores, k)
        if n < 0:
            continue
        placed[a] = True
        kind = rule.kinds[k]
        _after(cell.free[n, : cell.chips[n]].copy(), kind, scores.chosen[k, n], cell.free[n])
        cell.cpu[n] -= kind[0]
        cell.memory[n] -= kind[1]
        scores.version[n] += 1
        unused -= kind[2] * kind[3]
        _count_homes(cell, rule, scores, n, in_all)
    return placed


@compiled
def _price_homes(rule: Rule, unused: int, asked: int, in_all: Ints) -> None:
    for g in range(len(rule.gangs)):
        k = rule.gangs[g]
        worth = rule.kinds[k, 2] * rule.kinds[k, 3] * len(rule.requests)
        rule.prices[g] = home_price(worth, rule.counts[k], rule.alike[g], unused, asked, in_all[g])


@compiled
def _count_homes(cell: Cell, rule: Rule, scores: Scores, n: int, in_all: Ints) -> None:
    """The homes of each gang on this node are those of its state now; `in_all` follows."""
    on = cell.free[n, : cell.chips[n]]
    for g in range(len(rule.gangs)):
        now = homes(cell.cpu[n], cell.memory[n], on, cell.chip_type[n], rule.kinds[rule.gangs[g]])
        in_all[g] += now - scores.home[n, g]
        scores.home[n, g] = now


@compiled
def _best_node(cell: Cell, rule: Rule, memory: Memory, scores: Scores, k: int) -> int:
    """Where least is lost, homes included; then the node left with least, then by rank. -1: it fits nowhere."""
    best, least_cost, least_left = -1, NEVER, NEVER
    for n in range(len(cell.cpu)):
        if scores.scored[k, n] != scores.version[n]:
            scores.scored[k, n] = scores.version[n]
            _score(cell, rule, memory, scores, k, n)
        cost = scores.loss[k, n]
        if cost < 0:
            continue
        for g in range(len(rule.gangs)):
            cost += scores.taken[k, n, g] * rule.prices[g]
        if cost > least_cost:
            continue
        left = cell.free[n].sum() * 128_000 + cell.cpu[n] * 8_000
        if cost == least_cost and (
            left > least_left or (left == least_left and cell.ranks[n] >= cell.ranks[best])
        ):
            continue
        best, least_cost, least_left = n, cost, left
    return best


@compiled
def _score(cell: Cell, rule: Rule, memory: Memory, scores: Scores, k: int, n: int) -> None:
    """What is lost when this node takes this kind, on which chip, and the homes that go with it."""
    kind, on, chip_type = rule.kinds[k], cell.free[n, : cell.chips[n]], cell.chip_type[n]
    cpu, host = cell.cpu[n], cell.memory[n]
    scores.loss[k, n] = -1
    if not _fits(cpu, host, on, chip_type, kind):
        return
    rest = memory.left[: len(on)]
    most, chip = -1, -1
    if kind[2] == 1 and kind[3] < 1000:
        for i in range(len(on)):
            if on[i] >= kind[3]:
                _after(on, kind, i, rest)
                worth = _value(cpu - kind[0], host - kind[1], rest, chip_type, rule, memory)
                if worth > most or (worth == most and on[i] < on[chip]):
                    most, chip = worth, i
    else:
        _after(on, kind, -1, rest)
        most = _value(cpu - kind[0], host - kind[1], rest, chip_type, rule, memory)
    scores.chosen[k, n] = chip
    _after(on, kind, chip, rest)
    scores.loss[k, n] = max(0, LEVEL + _value(cpu, host, on, chip_type, rule, memory) - most)
    for g in range(len(rule.gangs)):
        kept = homes(cpu - kind[0], host - kind[1], rest, chip_type, rule.kinds[rule.gangs[g]])
        scores.taken[k, n, g] = scores.home[n, g] - kept


LEVEL: Final = 1 << 40
"""Added to every loss, for a stream may get more out of less; comparisons do not change."""


@compiled
def _value(cpu: int, memory: int, free: Ints, chip_type: int, rule: Rule, known: Memory) -> int:
    """`further_use` of the streams, remembered."""
    key = _hash(cpu, memory, free, chip_type)
    places = len(known.keys) - 1
    at = key & places
    while known.keys[at] != 0:
        if known.keys[at] == key:
            worth: int = known.values[at]
            return worth
        at = (at + 1) & places
    found = further_use(cpu, memory, free, chip_type, rule.kinds, rule.requests, rule.least, known.scratch)
    if known.used[0] * 2 > len(known.keys):
        known.keys[:] = 0
        known.used[0] = 0
        at = key & places
    known.keys[at] = key
    known.values[at] = found
    known.used[0] += 1
    return found


@compiled
def _hash(cpu: int, memory: int, free: Ints, chip_type: int) -> int:
    """Of the state; equal for chips in any order."""
    mixed = 0
    for i in range(len(free)):
        x = (free[i] + 1) * 0x1E3779B97F4A7C15
        x = (x ^ ((x >> 31) & 0x1FFFFFFFF)) * 0x3F58476D1CE4E5B9
        mixed += x ^ ((x >> 27) & 0x1FFFFFFFFF)
    for part in (cpu, memory, chip_type * 64 + len(free)):
        mixed = (mixed ^ part) * 0x100000001B3
        mixed ^= (mixed >> 29) & 0x7FFFFFFFF
    return mixed if mixed != 0 else 1


@compiled
def _after(free: Ints, kind: Ints, chip: int, left: Ints) -> None:
    """`left` is `free` once the request sits there: a slice on this chip, or on whole chips."""
    left[: len(free)] = free
    if chip >= 0:
        left[chip] -= kind[3]
        return
    count = kind[2]
    for i in range(len(free)):
        if count > 0 and left[i] == 1000:
            left[i] = 0
            count -= 1


@compiled
def _fits(cpu: int, memory: int, free: Ints, chip_type: int, kind: Ints) -> bool:
    if cpu < kind[0] or memory < kind[1]:
        return False
    if kind[2] == 0:
        return True
    count: int = 0
    for i in range(len(free)):
        count += free[i] >= kind[3]
    enough: bool = count >= kind[2] and (kind[4] >> chip_type) & 1 == 1
    return enough
