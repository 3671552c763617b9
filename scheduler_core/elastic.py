"""Who grows and who shrinks (E1): sizes for elastic jobs from what they have measured of their own speed.

The naive rule gives the next chip to the job whose throughput gains most. It starves whatever scales badly, never
stops moving chips about, and stops at the first chip that does not help although the next four would. Hence:

- *Fair share.* A job's worth is its weight times the square root of its speed-up: alpha-fairness (Mo and Walrand,
  2000) with alpha one half, between the largest total (0) and proportional shares (1).
- *Remaining work is unknown.* A job that has had little is likely to end soon, one that has had much is not
  (attained service: Tiresias, NSDI'19): the weight falls with the fourth root of its attained service.
- *A resize costs a restart.* Every size but the present one is worth only what is left of the time until the next
  resize when the restart is over. That time is unknown too; the best guess is the time since the last resize.
- *Steps.* Curves need not be concave: a job climbs the upper hull of its worth, corner by corner, and the job with
  the steepest next step goes first. On hulls this is optimal up to the last step (Fox, 1966).

Whole numbers throughout (Q1). Sizes are replicas on chips of one type; where they can be placed is the caller's
to say. Room is counted in any one unit: each replica of a job takes its `width` of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import isqrt
from typing import Final, NamedTuple

from scheduler_core.model import Id
from scheduler_core.policy import MINUTE

MICRO: Final = 1_000_000
"""A speed-up of one."""
FINE: Final = 10**9
"""A worth of one: so fine that a chip of little use still differs from one of none."""
SETTLED: Final = 2 * MINUTE
"""The time until the next resize is never taken to be shorter (ms)."""
NEWCOMER: Final = MINUTE
"""Everybody is taken to have had so many chip-milliseconds more: the first minute tells nothing yet."""
NODE_LINEAR: Final = 4
"""Up to so many replicas a job of which nothing is measured is taken to speed up in full."""


@dataclass(frozen=True, slots=True)
class ElasticJob:
    """What the rule knows of one job on one type of chip. Times in milliseconds."""

    id: Id
    minimum: int
    """Replicas without which it does not run."""
    maximum: int
    size: int
    """Replicas that it has now; 0 while it waits."""
    curve: tuple[int, ...] = ()
    """Goodput on 1, 2, … replicas, in any unit of its own; empty while nothing is measured."""
    width: int = 1
    """Room that each replica takes."""
    due: bool = False
    """It has its minimum before anybody has more."""
    weight: int = 1
    """Its part of its team's fair share, in proportion to the others."""
    attained: int = 0
    """Chip-milliseconds that it has had in all its attempts."""
    restart_cost: int = 0
    since_resize: int = 0
    """Since its size last changed, or since it was submitted."""


@dataclass(frozen=True, slots=True)
class Target:
    """How many replicas the job should have; 0 is none."""

    job: Id
    replicas: int


class _Corner(NamedTuple):
    """A size on a job's hull, and what it is worth."""

    replicas: int
    worth: int


class _Turn(NamedTuple):
    """A job's next step, as it stands in line: the steepest first."""

    slope: int
    """Worth gained by each unit of room, negative so that the least goes first."""
    attained: int
    id: Id
    corner: int
    """Where on its hull the step begins."""


def targets(
    jobs: Sequence[ElasticJob],
    free: int,
    resize_interval: int,
    fits: Callable[[Id, int], bool] = lambda job, replicas: True,
) -> tuple[Target, ...]:
    """The size of every job, in the order given, out of the room that the jobs hold and the `free` one.

    No job leaves `minimum..maximum` except for 0, and one that is `due` never gets 0; none that changed its size
    less than `resize_interval` ago (ms) changes it again; together they hold no more than there is. `fits` may
    refuse a size for which no place is found; the job stays below it. The answer does not depend on the order of
    the jobs: equal steps go to the job that has had less, then to the lower id.
    """
    kept = {job.id: job.size for job in jobs if job.size and job.since_resize < resize_interval}
    by_id = {job.id: job for job in jobs if job.id not in kept}
    sizes = {job.id: kept.get(job.id, job.minimum if job.due else 0) for job in jobs}
    left = free + sum((job.size - sizes[job.id]) * job.width for job in jobs)
    hulls = {id: _hull(job) for id, job in by_id.items()}
    line = [_turn(job, hulls[job.id], 0) for job in by_id.values() if len(hulls[job.id]) > 1]
    heapify(line)
    while line and left > 0:
        turn = heappop(line)
        job, hull = by_id[turn.id], hulls[turn.id]
        size = _most_that_fits(job, sizes[turn.id], hull[turn.corner + 1].replicas, left // job.width, fits)
        left -= (size - sizes[turn.id]) * job.width
        sizes[turn.id] = size
        if size == hull[turn.corner + 1].replicas and turn.corner + 2 < len(hull):
            heappush(line, _turn(job, hull, turn.corner + 1))
    return tuple(Target(job.id, sizes[job.id]) for job in jobs)


def _most_that_fits(job: ElasticJob, has: int, wants: int, more: int, fits: Callable[[Id, int], bool]) -> int:
    """The largest size of most worth, up to what the job wants and to so many `more` replicas, that fits; else
    what it has.
    """
    if wants - has <= more and fits(job.id, wants):
        return wants
    best, most = has, worth(job, has)
    for replicas in range(max(has + 1, job.minimum), min(wants, has + more + 1)):
        if (gained := worth(job, replicas)) > most and fits(job.id, replicas):
            best, most = replicas, gained
    return best


def _turn(job: ElasticJob, hull: Sequence[_Corner], corner: int) -> _Turn:
    """The step from this corner to the next, weighed by the job's share and its service so far."""
    here, there = hull[corner], hull[corner + 1]
    weight = job.weight * FINE**2 // isqrt(isqrt(FINE**4 * (job.attained + NEWCOMER) // NEWCOMER))
    slope = weight * (there.worth - here.worth) // ((there.replicas - here.replicas) * job.width)
    return _Turn(-slope, job.attained, job.id, corner)


def _hull(job: ElasticJob) -> list[_Corner]:
    """The corners of the upper hull of the job's worth over its sizes, from where it begins (0, or the minimum
    that is due) up to where worth ends to grow.
    """
    hull = [_Corner(job.minimum, worth(job, job.minimum)) if job.due else _Corner(0, 0)]
    for replicas in range(max(job.minimum, 1) + job.due, job.maximum + 1):
        corner = _Corner(replicas, worth(job, replicas))
        while len(hull) > 1 and _is_below(hull[-2], hull[-1], corner):
            hull.pop()
        hull.append(corner)
    rising = next((at for at in range(1, len(hull)) if hull[at].worth <= hull[at - 1].worth), len(hull))
    return hull[:rising]


def _is_below(left: _Corner, middle: _Corner, right: _Corner) -> bool:
    """Whether the middle lies on or under the line between the others."""
    rise, run = middle.worth - left.worth, middle.replicas - left.replicas
    return rise * (right.replicas - middle.replicas) <= (right.worth - middle.worth) * run


def worth(job: ElasticJob, replicas: int) -> int:
    """The square root of the job's speed-up on so many replicas, in parts of `FINE`, less the restart for it."""
    if replicas <= 0:
        return 0
    expected = max(job.since_resize, SETTLED, job.restart_cost)
    lasting = expected if replicas == job.size or not job.size else expected - job.restart_cost
    return isqrt(FINE**2 * speedup(job, replicas) * lasting // (MICRO * expected))


def speedup(job: ElasticJob, replicas: int) -> int:
    """Over one replica, in millionths: as measured, or as is assumed of everybody. Beyond what is measured nothing
    is gained.
    """
    if job.curve:
        at = min(replicas, len(job.curve))
        return MICRO * job.curve[at - 1] // max(job.curve[0], 1)
    return assumed_speedup(replicas)


def assumed_speedup(replicas: int) -> int:
    """Full gain up to `NODE_LINEAR` chips, for links within a node are fast, and the square root of the replicas
    beyond: what a job of unknown scaling loses across nodes. In millionths.
    """
    if replicas <= NODE_LINEAR:
        return MICRO * replicas
    return isqrt(MICRO**2 * NODE_LINEAR * replicas)
