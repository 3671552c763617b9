"""FGD and best fit as their published runs decide, number by number (floats and all).

From hkust-adsl/kubernetes-scheduler-simulator (Apache-2.0), `pkg/simulator/plugin/{fgd,best_fit}_score.go` and
`pkg/utils/frag.go`: scores are truncated to whole numbers from 0 to 100, and among equals the node with the
lowest rank wins. A score holds until its node changes, so we keep it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler_core.compiled import compiled
from scheduler_core.simulation.openb.protocol import Trial
from scheduler_core.value import Ints

Floats = NDArray[np.float64]

TYPICAL_SHARE: Final = 0.95
"""FGD's typical requests: the most frequent kinds that together make up so much of the workload."""
MOST_CPU: Final = 128_000.0
MOST_MILLI: Final = 8_000.0
"""What the published best fit divides free CPU and free milli-chips by."""


def fgd(trial: Trial) -> NDArray[np.bool_]:
    """Fragmentation gradient descent (Weng et al., ATC'23)."""
    kinds, shares = typical(trial)
    return _replay(trial, kinds, shares, False)


def best_fit(trial: Trial) -> NDArray[np.bool_]:
    """The node left with least CPU and chips."""
    return _replay(trial, np.zeros((0, 4), np.int64), np.zeros(0), True)


def typical(trial: Trial) -> tuple[Ints, Floats]:
    """Kinds without memory (CPU, milli, chips, types), most frequent first, and their shares of the whole."""
    without_memory = trial.requests.kinds[:, [0, 3, 2, 4]]
    kinds, counts = np.unique(without_memory[trial.requests.of], axis=0, return_counts=True)
    ranked = np.lexsort((*kinds.T[::-1], counts))[::-1]
    upto = np.cumsum(counts[ranked])
    used = ranked[: 1 + int(np.searchsorted(upto, TYPICAL_SHARE * upto[-1]))]
    return kinds[used], counts[used] / counts[used].sum()


def _replay(trial: Trial, kinds: Ints, shares: Floats, tightest: bool) -> NDArray[np.bool_]:
    nodes = trial.nodes
    placed: NDArray[np.bool_] = _place_all.machine(
        nodes.cpu.copy(), nodes.memory.copy(), trial.free_chips(), nodes.chip_type, nodes.chips, trial.ranks,
        trial.requests.kinds, trial.kinds_in_order, kinds, shares, tightest,
    )  # fmt: skip
    return placed


@compiled
def _fits(cpu: int, memory: int, free: Ints, chip_type: int, kind: Ints) -> bool:
    if cpu < kind[0] or memory < kind[1]:
        return False
    if kind[2] == 0:
        return True
    if (kind[4] >> chip_type) & 1 == 0:
        return False
    count: int = 0
    for i in range(len(free)):
        count += free[i] >= kind[3]
    enough: bool = count >= kind[2]
    return enough


@compiled
def _fragmentation(cpu: int, free: Ints, chip_type: int, kinds: Ints, shares: Floats) -> float:
    """Milli-chips that a typical request could not use, on average."""
    everything = 0
    for i in range(len(free)):
        everything += free[i]
    lost = 0.0
    for k in range(len(kinds)):
        milli = kinds[k, 1]
        if milli == 0 or (kinds[k, 3] >> chip_type) & 1 == 0 or cpu < kinds[k, 0]:
            lost += shares[k] * everything
            continue
        enough, too_small = 0, 0
        for i in range(len(free)):
            if free[i] >= milli:
                enough += 1
            else:
                too_small += free[i]
        lost += shares[k] * (too_small if enough >= kinds[k, 2] else everything)
    return lost


@compiled
def _take_whole(free: Ints, count: int) -> None:
    for i in range(len(free)):
        if count > 0 and free[i] == 1000:
            free[i] = 0
            count -= 1


@compiled
def _sigmoid_score(gain: float) -> int:
    return int(1.0 / (1.0 + np.exp(-gain / 1000)) * 100)


@compiled
def _fgd_score(
    cpu: int, free: Ints, chip_type: int, kind: Ints, kinds: Ints, shares: Floats
) -> tuple[int, int]:
    """The score of a node, and the chip for a slice."""
    before = _fragmentation(cpu, free, chip_type, kinds, shares)
    left = free.copy()
    if kind[2] == 1 and kind[3] < 1000:
        best, chip = -1, -1
        for i in range(len(free)):
            if free[i] >= kind[3]:
                left[i] -= kind[3]
                after = _fragmentation(cpu - kind[0], left, chip_type, kinds, shares)
                left[i] += kind[3]
                score = _sigmoid_score(before - after)
                if score > best:
                    best, chip = score, i
        return best, chip
    _take_whole(left, kind[2])
    return _sigmoid_score(before - _fragmentation(cpu - kind[0], left, chip_type, kinds, shares)), -1


@compiled
def _best_fit_score(cpu: int, free: Ints, kind: Ints) -> tuple[int, int]:
    distance = (cpu - kind[0]) / MOST_CPU * 0.5
    distance += (free.sum() - kind[2] * kind[3]) / MOST_MILLI * 0.5
    chip = -1
    for i in range(len(free)):
        if free[i] >= kind[3] and (chip < 0 or free[i] < free[chip]):
            chip = i
    return int((1.0 - distance) * 100), chip


@compiled
def _winner(scores: Ints, ranks: Ints, normalized: bool) -> int:
    """The node with the highest score, by rank among equals; -1 when none fits. Best fit's scores are first
    stretched to 0..100, again in whole numbers.
    """
    low, high = 1 << 40, -1
    for n in range(len(scores)):
        if scores[n] >= 0:
            low, high = min(low, scores[n]), max(high, scores[n])
    best, best_score = -1, -1
    for n in range(len(scores)):
        score = scores[n]
        if score < 0:
            continue
        if normalized:
            score = 0 if high == low else (score - low) * 100 // (high - low)
        if score > best_score or (score == best_score and ranks[n] < ranks[best]):
            best, best_score = n, score
    return best


@compiled
def _place_all(
    cpu: Ints, memory: Ints, free: Ints, chip_type: Ints, chips: Ints, ranks: Ints,
    kinds: Ints, arrivals: Ints, typical_kinds: Ints, shares: Floats, tightest: bool,
) -> NDArray[np.bool_]:  # fmt: skip
    placed = np.zeros(len(arrivals), np.bool_)
    version = np.ones(len(cpu), np.int64)
    scored = np.zeros((len(kinds), len(cpu)), np.int64)
    scores = np.zeros((len(kinds), len(cpu)), np.int64)
    chosen = np.zeros((len(kinds), len(cpu)), np.int64)
    for a in range(len(arrivals)):
        k = arrivals[a]
        kind = kinds[k]
        for n in range(len(cpu)):
            if scored[k, n] == version[n]:
                continue
            scored[k, n] = version[n]
            on = free[n, : chips[n]]
            if not _fits(cpu[n], memory[n], on, chip_type[n], kind):
                scores[k, n] = -1
            elif tightest:
                scores[k, n], chosen[k, n] = _best_fit_score(cpu[n], on, kind)
            else:
                scores[k, n], chosen[k, n] = _fgd_score(cpu[n], on, chip_type[n], kind, typical_kinds, shares)
        n = _winner(scores[k], ranks, tightest)
        if n < 0:
            continue
        placed[a] = True
        cpu[n] -= kind[0]
        memory[n] -= kind[1]
        version[n] += 1
        if kind[2] == 1 and kind[3] < 1000:
            free[n, chosen[k, n]] -= kind[3]
        else:
            _take_whole(free[n], kind[2])
    return placed
