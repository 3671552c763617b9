"""A large decision is applied in parts, on two connections: while the server writes one part another is put together,
and where it has two cores it writes two (ADR 0041).

Each part is a transaction and a cycle on record: the first of a backlog start while the others are written, and no row
is locked for long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from threading import Event
from typing import TypeVar

from django.db import connection

from flexai.common.database import plan_anew, plan_once
from scheduler_core.decision import Unit

PART = 500
"""Starts that are applied together: a twentieth of a second of work."""

Part = TypeVar("Part")
Result = TypeVar("Result")


def parts_of(starts: Sequence[Unit], most: int) -> list[list[Unit]]:
    """All these starts, at most so many a part, each in the order that they came in. Parts share no node where that can
    be: who needs a node that another part has locked waits until that is committed."""
    if len(starts) <= most:
        return [list(starts)]

    def node(at: int) -> int:
        return starts[at].start.placements[0].node

    parts: list[list[int]] = [[]]
    for _, same in groupby(sorted(range(len(starts)), key=node), key=node):
        group = list(same)
        if len(parts[-1]) + len(group) > most and parts[-1]:
            parts.append([])
        parts[-1] += group[:most]
        parts += [group[at : at + most] for at in range(most, len(group), most)]
    return [[starts[at] for at in sorted(part)] for part in parts]


def by_two(do: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """What becomes of each part, in their order: they are done by this thread and another, which has a connection of
    its own. In a transaction, which no other connection could see into, by this thread alone.

    Raises what one of them raised, once both have stopped; what was not begun by then is left.
    """
    ahead = iter(list(enumerate(parts)))
    done: dict[int, Result] = {}
    failed = Event()

    def work() -> None:
        try:
            for at, part in ahead:
                if failed.is_set():
                    return
                done[at] = do(part)
        except BaseException:
            failed.set()
            raise

    def work_elsewhere() -> None:
        try:
            plan_once()
            plan_anew()
            work()
        finally:
            connection.close()

    if len(parts) < 2 or connection.in_atomic_block:
        work()
    else:
        with ThreadPoolExecutor(1, "flexai-parts") as others:
            other = others.submit(work_elsewhere)
            work()
        other.result()
    return [done[at] for at in range(len(parts))]
