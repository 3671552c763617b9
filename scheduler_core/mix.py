"""What a cell has been asked for lately, as its engine is told (P3): how much of it, and when it is told anew.

The latest replicas count, whatever became of them. Told anew, the engine values all states again: so only where the mix
has moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from scheduler_core.model import WHOLE_CHIP, Request, Seen

LATEST_JOBS: Final = 2_000
"""Enough to meet what is one in a hundred some twenty times."""
MOST_OF_ONE: Final = 100
"""Tasks of an array, or replicas of a job, that count: one submission does not drown all others."""
MOST_KINDS: Final = 64
"""Those for which most chips were asked. The rest is left out: each of them less than the least of these."""
MOVED_PERCENT: Final = 10
"""Of what is asked for, in chips: so much has to be asked for otherwise than the engine knows. That 2,000 requests are
drawn by chance moves them less."""

Requests: TypeAlias = Mapping[Request, int]
"""How many replicas asked for it."""


def mix_of(came: Iterable[tuple[Request, int]]) -> dict[Request, int]:
    """The `MOST_KINDS` of the requests that came, each with how many replicas asked for it."""
    counts: Counter[Request] = Counter()
    for request, replicas in came:
        counts[request] += replicas
    most = sorted(counts, key=lambda request: (-_milli(request) * counts[request], _order(request)))[
        :MOST_KINDS
    ]
    return {request: counts[request] for request in most}


def has_moved(before: Requests, after: Requests) -> bool:
    """Whether `MOVED_PERCENT` of what is asked for, or more, is asked for otherwise than before."""
    was, is_now = _in_chips(before), _in_chips(after)
    all_before, all_after = max(1, sum(was.values())), max(1, sum(is_now.values()))
    moved = sum(abs(was[kind] * all_after - is_now[kind] * all_before) for kind in was.keys() | is_now.keys())
    return 100 * moved >= 2 * MOVED_PERCENT * all_before * all_after


def as_rows(mix: Requests) -> tuple[Seen, ...]:
    """The mix as the engine is told: rows numbered in an order that depends on nothing else."""
    return tuple(
        Seen(at, request, mix[request]) for at, request in enumerate(sorted(mix, key=_order), start=1)
    )


def _in_chips(mix: Requests) -> Counter[Request]:
    return Counter({request: count * _milli(request) for request, count in mix.items()})


def _milli(request: Request) -> int:
    """Milli-chips; a request for none, or for chip memory, counts as a whole chip."""
    return request.milli or WHOLE_CHIP * max(request.chips, 1)


def _order(request: Request) -> tuple[object, ...]:
    return (
        request.chips, request.milli, request.chip_memory, request.chip_types, request.in_order, request.cpu,
        request.memory, str(request.isolation), request.image,
    )  # fmt: skip
