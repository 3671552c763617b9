"""The engine's rule for elastic jobs (E1) on the published cluster.

A job reports what it has learned of its own speed: its goodput at its best batch on 1, 2, … chips. As in Pollux it
may grow to twice what it has tried (and to a node), so that its model is never asked for far more than it has
seen. The rule names sizes; here they are given places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scheduler_core.elastic import MICRO, ElasticJob, targets
from scheduler_core.simulation.pollux.cluster import CHIPS_A_NODE, NODES, Allocation, Allocations
from scheduler_core.simulation.pollux.job import RESTART_SECONDS, TrainingJob

INTERVAL_SECONDS = 60
"""A job keeps its size at least so long: one round."""
MOST_POINTS = 10**12
"""Of a curve relative to its first point: a job that promises more is wrong about itself."""


class Flexai:
    """Sizes by `scheduler_core.elastic`, places on as few nodes as can be."""

    def __init__(self, *, fixed_batch: bool = False) -> None:
        self.fixed_batch = fixed_batch
        self._resized: dict[str, int] = {}

    def allocate(self, now: int, jobs: Sequence[TrainingJob], held: Mapping[str, Allocation]) -> Allocations:
        """Sizes first, then places; who keeps the size keeps the place."""
        names = [job.submission.name for job in jobs]
        rows = [
            _row(at, job, len(held.get(names[at], ())), now - self._resized.get(names[at], job.submission.at))
            for at, job in enumerate(jobs)
        ]
        taken = sum(row.size for row in rows)
        free = NODES * CHIPS_A_NODE - taken
        sizes = {names[target.job]: target.chips for target in targets(rows, free, INTERVAL_SECONDS * 1000)}
        given = place(sizes, held)
        for name in names:
            if given.get(name, ()) != held.get(name, ()):
                self._resized[name] = now
        return given


def _row(id: int, job: TrainingJob, size: int, since_resize: int) -> ElasticJob:
    curve = _curve(job)
    return ElasticJob(
        id,
        minimum=1,
        maximum=max(len(curve), 1) if curve else min(CHIPS_A_NODE, job.most_chips),
        size=size,
        curve=curve,
        attained=job.chip_seconds * 1000,
        restart_cost=RESTART_SECONDS * 1000,
        since_resize=since_resize * 1000,
    )


def _curve(job: TrainingJob) -> tuple[int, ...]:
    """Goodput within a node as far as one goes, across nodes beyond; nothing before the job has run."""
    if not job.most_chips_tried:
        return ()
    most = min(job.most_chips, max(CHIPS_A_NODE, 2 * job.most_chips_tried))
    within = job.goodputs(min(most, CHIPS_A_NODE), across_nodes=False)
    across = job.goodputs(most, across_nodes=True) if most > CHIPS_A_NODE else []
    points = within + across[CHIPS_A_NODE:]
    one = points[0] or max(points)
    return tuple(min(round(MICRO * point / one), MOST_POINTS) for point in points)


def place(sizes: Mapping[str, int], held: Mapping[str, Allocation]) -> Allocations:
    """Who keeps the size keeps the place. Small jobs come first and go where they leave least open on one node;
    large ones, and small ones that no node can take whole, share what is left, from the emptiest node on.
    """
    given = {name: held[name] for name, size in sizes.items() if size and size == len(held.get(name, ()))}
    free = [CHIPS_A_NODE] * NODES
    for chips in given.values():
        for node in chips:
            free[node] -= 1
    moving = [name for name, size in sizes.items() if size and name not in given]
    moving.sort(key=lambda name: (sizes[name] > CHIPS_A_NODE, -sizes[name]))
    scattered = []
    for name in moving:
        tight = [node for node in range(NODES) if free[node] >= sizes[name]]
        if not tight:
            scattered.append(name)
            continue
        node = min(tight, key=lambda node: (free[node], node not in held.get(name, ()), node))
        given[name] = (node,) * sizes[name]
        free[node] -= sizes[name]
    for name in scattered:
        given[name] = _scattered(sizes[name], free, held.get(name, ()))
    return given


def _scattered(size: int, free: list[int], before: Allocation) -> Allocation:
    """So many chips from the emptiest nodes, those it is on before others."""
    chips: list[int] = []
    while len(chips) < size:
        node = max(range(NODES), key=lambda node: (free[node], node in before, -node))
        taken = min(free[node], size - len(chips))
        chips += [node] * taken
        free[node] -= taken
    return tuple(sorted(chips))
