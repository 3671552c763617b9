"""The value of what remains of a node (P3), and what scarce homes for large gangs are worth.

The naive rule is best fit: take the node that is left with least. It strands chips beside exhausted host CPU
and leaves holes that nothing fits. The departures:

*Further use.* A node is worth the use it can still be put to. We let streams of requests, drawn from the mix
this cell really sees, run into what remains until nothing fits, and add up the milli-chips they get. A
request goes where this sum falls least. All states meet the same streams (common random numbers), so that a
difference between two states is a difference of the states. A node is not alone: of every `CHOICE` requests
in a stream it gets the one that leaves the smallest hole, for the others have better homes elsewhere.

*Scarce homes.* A stream seldom holds a gang of many chips, and one node cannot know that it is among the
last that could take one. By Littlewood's rule (Littlewood 1972, the first rule of revenue management) the
last homes of a kind are protected by what a request of that kind brings times the probability that more of
them come than homes are left. Those to come are as many as would fill what is free.

Fragmentation gradient descent (Weng et al., ATC 2023) is where this starts from: there a state is worth what
one more request of the mix could use.

All numbers are whole (Q1): milli-chips, millicores, MiB. The functions are pure; compiled they give the same
numbers as in plain Python.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler_core.compiled import compiled, inlined

Ints = NDArray[np.int64]

WHOLE: Final = 1000
CPU, MEMORY, CHIPS, MILLI, TYPES = range(5)
"""Columns of a table of kinds: millicores, MiB, chips, milli-chips of each, bit mask of chip types."""

CHOICE: Final = 2
"""Of so many requests of a stream the node gets the best fitting: the least that is a choice at all."""

LENGTH: Final = 128
"""Requests in a stream: enough to fill an empty node of 16 chips with requests of half a chip, four times
over."""

SAMPLES: Final = 128
"""Streams at full effort. With 16 the sampling error still decides between nodes; past 128 nothing changes."""
LEAST_SAMPLES: Final = 4
"""Fewer say less, and save nothing: with so few, most of the time goes to the look at the nodes."""
CLASSES_A_SAMPLE: Final = 8
"""So many classes of nodes are valued, that another stream is worth its time."""

ONE: Final = 1 << 20
"""Probability 1 of `scarcity`."""

NO_HOLE: Final = 1 << 30
HOLE_WITHOUT_CHIPS: Final = 500
"""A request without chips gives way to a slice that leaves less of a chip than half, and goes before others."""


class Mix(NamedTuple):
    """Kinds of requests, a row each (columns `CPU` … `TYPES`), and how often each was seen."""

    kinds: Ints
    counts: Ints


def samples_at(effort: int) -> int:
    """Streams at this effort (S4): one for every `CLASSES_A_SAMPLE` that are valued, within `LEAST_SAMPLES` and
    `SAMPLES`, rounded down to a power of two, so that what is remembered of a state outlives small changes of the load.
    """
    return min(SAMPLES, max(LEAST_SAMPLES, 1 << (effort // CLASSES_A_SAMPLE).bit_length() >> 1))


def streams(mix: Mix, seed: int, samples: int, length: int = LENGTH) -> Ints:
    """Row numbers of kinds, one stream a row. Each position is stratified over the streams: together they
    hold the mix, from the smallest to the largest kind.
    """
    order = np.array(sorted(range(len(mix.counts)), key=lambda k: _size(mix.kinds[k])), np.int64)
    upto = np.cumsum(mix.counts[order])
    total = int(upto[-1]) if len(upto) else 0
    positions, every = 2 * np.arange(length)[:, None], np.arange(samples)
    by_key = np.argsort(draws(seed, positions, every), axis=1, kind="stable")
    within = draws(seed, positions + 1, by_key) % max(total, 1)
    kinds = order[np.searchsorted(upto, (every * total + within) // samples, side="right")]
    found = np.zeros((length, samples), np.int64)
    np.put_along_axis(found, by_key, kinds, axis=1)
    return np.ascontiguousarray(found.T)


def draws(seed: int, streams: Ints, counters: Ints) -> Ints:
    """For each stream and counter a number below 2^63 that depends on nothing but these and the seed (Q1; the finaliser
    of SplitMix64).
    """
    x = np.uint64(seed * 0x9E3779B97F4A7C15 & _MASK) + streams.astype(np.uint64) * np.uint64(
        0xD1B54A32D192ED03
    )
    x = x + (counters.astype(np.uint64) + np.uint64(1)) * np.uint64(0x8CB92BA72F3D8DD7)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)


@compiled
def further_use(
    cpu: int, memory: int, free: Ints, chip_type: int, kinds: Ints, requests: Ints, least: Ints, left: Ints
) -> int:
    """Milli-chips that the streams get of a node with this much free, summed over the streams.

    `free` has the milli-chips of each chip; `least` the least CPU, memory and milli-chips that any request for
    chips asks for (`least_of`); `left` is scratch, no shorter than `free`.
    """
    total = 0
    left = left[: len(free)]
    for s in range(requests.shape[0]):
        for i in range(len(free)):
            left[i] = free[i]
        total += use_by(cpu, memory, left, chip_type, kinds, requests, s, least)
    return total


@compiled
def use_by(
    cpu: int, memory: int, left: Ints, chip_type: int, kinds: Ints, requests: Ints, stream: int, least: Ints
) -> int:
    """Milli-chips that one stream gets of a node; `left` has what is free of each chip, and then what the
    stream leaves.
    """
    got = 0
    most, whole = largest_and_whole(left)
    for at in range(0, requests.shape[1] - CHOICE + 1, CHOICE):
        if cpu < least[0] or memory < least[1] or most < least[2] or most == 0:
            break
        best, best_hole = -1, NO_HOLE
        for q in range(at, at + CHOICE):
            kind = requests[stream, q]
            if kinds[kind, 0] <= cpu and kinds[kind, 1] <= memory:
                hole = hole_after(left, most, whole, chip_type, kinds, kind)
                if hole < best_hole:
                    best, best_hole = kind, hole
        if best < 0:
            continue
        cpu -= kinds[best, 0]
        memory -= kinds[best, 1]
        if kinds[best, 2] > 0:
            take(left, kinds[best, 2], kinds[best, 3])
            got += kinds[best, 2] * kinds[best, 3]
            most, whole = largest_and_whole(left)
    return got


@inlined
def largest_and_whole(left: Ints) -> tuple[int, int]:
    """The most that is free of one chip, and how many chips are wholly free."""
    most, whole = 0, 0
    for i in range(len(left)):
        most = max(most, left[i])
        whole += left[i] == 1000
    return most, whole


@inlined
def hole_after(left: Ints, most: int, whole: int, chip_type: int, kinds: Ints, kind: int) -> int:
    """What a slice leaves of the chip that it fits best; 0 for whole chips, `HOLE_WITHOUT_CHIPS` for a request
    without chips, `NO_HOLE` for one that does not fit the chips.
    """
    chips, milli, hole = kinds[kind, 2], kinds[kind, 3], NO_HOLE
    if chips == 0:
        hole = HOLE_WITHOUT_CHIPS
    elif milli <= most and (chips == 1 or whole >= chips) and (kinds[kind, 4] >> chip_type) & 1:
        if milli == 1000:
            hole = 0
        else:
            for i in range(len(left)):
                if left[i] >= milli:
                    hole = min(hole, left[i] - milli)
    return hole


@compiled
def take(left: Ints, chips: int, milli: int) -> None:
    """The request sits there: a slice on the chip that it fits best, whole chips on the first."""
    if milli == 1000:
        for i in range(len(left)):
            if chips > 0 and left[i] == 1000:
                left[i] = 0
                chips -= 1
        return
    on = -1
    for i in range(len(left)):
        if left[i] >= milli and (on < 0 or left[i] < left[on]):
            on = i
    left[on] -= milli


@compiled
def homes(cpu: int, memory: int, free: Ints, chip_type: int, kind: Ints) -> int:
    """How many requests of this kind for whole chips a node with this much free could take."""
    if (kind[4] >> chip_type) & 1 == 0:
        return 0
    _, whole = largest_and_whole(free)
    return homes_on(cpu, memory, whole, kind[0], kind[1], kind[2])


@inlined
def homes_on(cpu: int, memory: int, whole: int, asked_cpu: int, asked_memory: int, chips: int) -> int:
    """The same for a node with so many chips wholly free, of a type that will do."""
    count: int = whole // chips
    if asked_cpu > 0:
        count = min(count, cpu // asked_cpu)
    if asked_memory > 0:
        count = min(count, memory // asked_memory)
    return count


@compiled
def home_price(worth: int, seen: int, alike: int, unused: int, asked: int, left: int) -> int:
    """What one of the `left` homes of a kind of gang is worth by Littlewood's rule: `worth`, what the gang brings
    in the measure of `further_use`, times its part (`seen`) of the gangs with as many chips (`alike`), times the
    probability that more of those come than homes are left. Those to come are `alike` for every `asked`
    milli-chips that the mix asks for, as long as it takes to fill the `unused` milli-chips of the cell.
    """
    return worth * seen // alike * scarcity((alike * unused << 10) // asked, left) >> 20


@compiled
def scarcity(expected: int, left: int) -> int:
    """The probability, in parts of `ONE`, that `left` or more requests come when `expected` (in 1/1024) are
    expected: the tail of a Poisson distribution, from its mode outwards, in whole numbers.
    """
    if left <= 0:
        return 1 << 20
    mode = expected >> 10
    total, tail = 0, 0
    weight, i = 1 << 30, mode
    while weight > 0:
        total += weight
        if i >= left:
            tail += weight
        i += 1
        weight = weight * expected // (i << 10)
    weight, i = 1 << 30, mode
    while weight > 0 and i > 0:
        weight = weight * (i << 10) // max(expected, 1)
        i -= 1
        total += weight
        if i >= left:
            tail += weight
    return (tail << 20) // total


def least_of(mix: Mix) -> Ints:
    """The least CPU, memory and milli-chips that any request for chips asks for."""
    wanted = mix.kinds[mix.kinds[:, CHIPS] > 0]
    if not len(wanted):
        return np.array([0, 0, WHOLE + 1], np.int64)
    least: Ints = wanted[:, [CPU, MEMORY, MILLI]].min(axis=0)
    return least


_MASK: Final = (1 << 64) - 1


def _size(kind: Ints) -> tuple[int, ...]:
    return int(kind[CHIPS]), int(kind[MILLI]), int(kind[CPU]), int(kind[MEMORY]), int(kind[TYPES])
