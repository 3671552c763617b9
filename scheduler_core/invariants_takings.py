"""The safety laws of takings (R1, R4, R6, F4): what a unit takes, and the promise that it makes of it.

Counted from rows and from the unit alone, not by the code that found it. Capacity is that of the cell once
the victims are gone; what moves must have its new place on what is free before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

from scheduler_core.decision import Resize, Rung, Taking
from scheduler_core.ledger import Ledger
from scheduler_core.model import Id, Job, Placement, Running

Broken: TypeAlias = tuple[str, str]
"""The law's name, and what is wrong in a sentence."""


def taking_faults(ledger: Ledger, takings: Iterable[Taking], taken: set[Id]) -> Iterator[Broken]:
    """Every law about whom and how much may be taken that these break. `taken` are the victims of the units
    before.
    """
    seen = set(taken)
    for taking in takings:
        attempt = ledger.running.get(taking.attempt)
        if attempt is None or attempt.job != taking.job or attempt.departing:
            yield "taken_alive", f"Attempt {taking.attempt} does not run, or is leaving already."
            continue
        if taking.attempt in seen:
            yield "taken_once", f"Attempt {taking.attempt} would be taken from twice."
        seen.add(taking.attempt)
        if not attempt.preemptible:
            yield "not_preemptible", f"Attempt {taking.attempt} is not preemptible."
        yield from _gang_faults(attempt, taking)


def _gang_faults(attempt: Running, taking: Taking) -> Iterator[Broken]:
    """R4: whole gangs, or down to their minimum; a move has a new place for each replica."""
    has = {placement.replica for placement in attempt.placements}
    if taking.rung is Rung.SHRINK:
        least = attempt.gang.minimum if attempt.gang is not None else len(has)
        keeps = set(taking.keeps)
        if not keeps < has or len(keeps) < max(least, 1) or len(keeps) < len(taking.keeps):
            yield "whole_or_minimum", f"Attempt {attempt.id} would keep {len(keeps)} of {len(has)} replicas."
    elif taking.keeps:
        yield "whole_or_minimum", f"Attempt {attempt.id} would be ended and keep replicas."
    if (taking.rung is Rung.MOVE) != bool(taking.placements):
        yield "moves_whole", f"Attempt {attempt.id} would move to {len(taking.placements)} placements."


def resize_faults(ledger: Ledger, resize: Resize, taken: Collection[Id]) -> Iterator[Broken]:
    """Every law about whom and how far work may be resized, or moved by itself, that this breaks (E1, R8, F4, R4)."""
    attempt = ledger.running.get(resize.attempt)
    if attempt is None or attempt.job != resize.job or attempt.departing:
        yield "taken_alive", f"Attempt {resize.attempt} does not run, or is leaving already."
        return
    if resize.attempt in taken:
        yield "taken_once", f"Attempt {resize.attempt} would be taken from twice."
    if not attempt.preemptible:
        yield "not_preemptible", f"Attempt {resize.attempt} is not preemptible."
    size, gang = len(resize.placements), attempt.gang
    keeps_size = size == len(attempt.placements)
    within = gang is not None and gang.minimum <= size <= gang.maximum
    if not within or (keeps_size and not attempt.unwanted):
        yield "elastic", f"Attempt {resize.attempt} would have {size} replicas."
    elif keeps_size and any(place.node in attempt.unwanted for place in resize.placements):
        yield "elsewhere", f"Attempt {resize.attempt} would stay where it is held back."


def given_up(attempt: Running, taking: Taking) -> tuple[Placement, ...]:
    """What the taking frees once the victim has gone."""
    if taking.rung is not Rung.SHRINK:
        return attempt.placements
    return tuple(place for place in attempt.placements if place.replica not in taking.keeps)


def job_of(attempt: Running, size: int | None = None) -> Job | None:
    """The job of a live attempt as it would wait for just so many replicas, by default those that it has; None
    where nobody knows what it asked for.
    """
    if attempt.gang is None:
        return None
    size = len(attempt.placements) if size is None else size
    return Job(
        attempt.job,
        "",
        attempt.team,
        attempt.organization,
        attempt.user,
        replace(attempt.gang, minimum=size, maximum=size),
        priority=attempt.priority,
        submitted=attempt.submitted,
        pools=attempt.pools,
        preemptible=attempt.preemptible,
        set=attempt.set,
        attained=attempt.attained,
    )
