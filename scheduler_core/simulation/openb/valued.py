"""Our policy on the trace: the request goes where the value of what remains falls least (P3).

The rule itself is `scheduler_core.value`; here it is compiled and its answers are remembered by state, so that
equal nodes are valued once (P6).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scheduler_core import value
from scheduler_core.simulation.compiled import compiled
from scheduler_core.simulation.openb.protocol import Trial
from scheduler_core.value import Ints, Mix

MEMORY_BITS = 21
"""The table of remembered states has 2^21 places (32 MB); half full, it starts afresh."""

further_use = compiled(value.further_use)
homes = compiled(value.homes)
scarcity = compiled(value.scarcity)


def flexai(trial: Trial, *, samples: int = value.SAMPLES, seed: int = 0) -> NDArray[np.bool_]:
    """For each arrival, whether it was placed. The mix is that of the workload, as FGD's typical requests are;
    `samples` is the effort (S4).
    """
    kinds, nodes = trial.requests.kinds, trial.nodes
    counts = np.bincount(trial.requests.of, minlength=len(kinds)).astype(np.int64)
    mix = Mix(kinds, counts)
    gangs = np.flatnonzero(kinds[:, value.CHIPS] > 1)
    alike = np.array([counts[kinds[:, value.CHIPS] == kinds[k, value.CHIPS]].sum() for k in gangs], np.int64)
    placed: NDArray[np.bool_] = _place_all(
        nodes.cpu.copy(), nodes.memory.copy(), trial.free_chips(), nodes.chip_type, nodes.chips, trial.ranks,
        kinds, counts, trial.kinds_in_order, value.streams(mix, seed, samples), value.least_of(mix),
        gangs, alike,
    )  # fmt: skip
    return placed


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
def _value(
    cpu: int, memory: int, free: Ints, chip_type: int, kinds: Ints, requests: Ints, least: Ints, left: Ints,
    keys: Ints, values: Ints, used: Ints,
) -> int:  # fmt: skip
    key = _hash(cpu, memory, free, chip_type)
    at = key & (len(keys) - 1)
    while keys[at] != 0:
        if keys[at] == key:
            return values[at]
        at = (at + 1) & (len(keys) - 1)
    found = further_use(cpu, memory, free, chip_type, kinds, requests, least, left)
    if used[0] * 2 > len(keys):
        keys[:] = 0
        used[0] = 0
        at = key & (len(keys) - 1)
    keys[at] = key
    values[at] = found
    used[0] += 1
    return found


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
    count = 0
    for i in range(len(free)):
        count += free[i] >= kind[3]
    return count >= kind[2] and (kind[4] >> chip_type) & 1 == 1


@compiled
def _place_all(
    cpu: Ints, memory: Ints, free: Ints, chip_type: Ints, chips: Ints, ranks: Ints,
    kinds: Ints, counts: Ints, arrivals: Ints, requests: Ints, least: Ints, gangs: Ints, alike: Ints,
) -> NDArray[np.bool_]:  # fmt: skip
    nodes, many = len(cpu), len(gangs)
    placed = np.zeros(len(arrivals), np.bool_)
    version = np.ones(nodes, np.int64)
    scored = np.zeros((len(kinds), nodes), np.int64)
    loss = np.zeros((len(kinds), nodes), np.int64)
    chosen = np.zeros((len(kinds), nodes), np.int64)
    taken = np.zeros((len(kinds), nodes, many), np.int8)
    home = np.zeros((nodes, many), np.int64)
    in_all = np.zeros(many, np.int64)
    price = np.zeros(many, np.int64)
    keys = np.zeros(1 << MEMORY_BITS, np.int64)
    values = np.zeros(1 << MEMORY_BITS, np.int64)
    used = np.zeros(1, np.int64)
    left, scratch = np.zeros(free.shape[1], np.int64), np.zeros(free.shape[1], np.int64)
    size = (counts * kinds[:, 2] * kinds[:, 3]).sum()
    unused = free.sum()
    for n in range(nodes):
        for g in range(many):
            home[n, g] = homes(cpu[n], memory[n], free[n, : chips[n]], chip_type[n], kinds[gangs[g]])
            in_all[g] += home[n, g]
    for a in range(len(arrivals)):
        k = arrivals[a]
        kind = kinds[k]
        for g in range(many):
            # as many to come as fill what is free: unused / (size / seen), of which alike / seen are such gangs
            chance = scarcity((alike[g] * unused << 10) // size, in_all[g])
            worth = kinds[gangs[g], 2] * kinds[gangs[g], 3] * len(requests)
            price[g] = worth * counts[gangs[g]] // alike[g] * chance >> 20
        best, least_loss, least_left = -1, 1 << 62, 1 << 62
        for n in range(nodes):
            if scored[k, n] != version[n]:
                scored[k, n] = version[n]
                loss[k, n] = -1
                on, t = free[n, : chips[n]], chip_type[n]
                if not _fits(cpu[n], memory[n], on, t, kind):
                    continue
                rest = left[: chips[n]]
                most, chip = -1, -1
                for i in range(chips[n] if kind[2] == 1 and kind[3] < 1000 else 1):
                    if kind[2] == 1 and kind[3] < 1000:
                        if on[i] < kind[3]:
                            continue
                        _after(on, kind, i, rest)
                    else:
                        _after(on, kind, -1, rest)
                    worth = _value(cpu[n] - kind[0], memory[n] - kind[1], rest, t, kinds, requests, least,
                                   scratch, keys, values, used)  # fmt: skip
                    if worth > most or (worth == most and chip >= 0 and on[i] < on[chip]):
                        most, chip = worth, i
                if kind[2] != 1 or kind[3] == 1000:
                    chip = -1
                chosen[k, n] = chip
                _after(on, kind, chip, rest)
                loss[k, n] = max(0, (1 << 40) + _value(cpu[n], memory[n], on, t, kinds, requests, least,
                                                       scratch, keys, values, used) - most)  # fmt: skip
                for g in range(many):
                    taken[k, n, g] = home[n, g] - homes(
                        cpu[n] - kind[0], memory[n] - kind[1], rest, t, kinds[gangs[g]]
                    )
            if loss[k, n] < 0:
                continue
            cost = loss[k, n]
            for g in range(many):
                cost += taken[k, n, g] * price[g]
            if cost > least_loss:
                continue
            remains = free[n].sum() * 128_000 + cpu[n] * 8_000
            if (
                cost < least_loss
                or remains < least_left
                or (remains == least_left and ranks[n] < ranks[best])
            ):
                best, least_loss, least_left = n, cost, remains
        if best < 0:
            continue
        placed[a] = True
        n = best
        _after(free[n, : chips[n]].copy(), kind, chosen[k, n], free[n])
        cpu[n] -= kind[0]
        memory[n] -= kind[1]
        version[n] += 1
        unused -= kind[2] * kind[3]
        for g in range(many):
            now = homes(cpu[n], memory[n], free[n, : chips[n]], chip_type[n], kinds[gangs[g]])
            in_all[g] += now - home[n, g]
            home[n, g] = now
    return placed
