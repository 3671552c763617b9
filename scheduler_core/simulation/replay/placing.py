"""Where a gang goes on a simulated cluster: best fit, or the least new fragmentation (FGD)."""

from __future__ import annotations

from scheduler_core.compiled import compiled
from scheduler_core.simulation.replay.state import CHIPS, State
from scheduler_core.simulation.workload import Whole

BEST_FIT, FGD = 0, 1


@compiled
def replicas_that_fit(free: Whole, state: State, job: int, node: int) -> int:
    """How many replicas of the job these free resources of the node would take."""
    if not state.node[node].up or not state.node[node].types & state.job[job].types:
        return 0
    most = state.job[job].replicas
    for resource in range(3):
        need = state.need[job, resource]
        if need > 0:
            most = min(most, free[node, resource] // need)
    return int(max(most, 0))


@compiled
def find_place(
    free: Whole, state: State, job: int, packing: int, mix: Whole, nodes: Whole, replicas: Whole
) -> int:
    """The nodes of a place for the whole gang in `nodes` and `replicas`; how many nodes, 0 where it has none.

    One node at a time, the one with the least score that takes at least one replica, as many as it takes.
    `mix` counts by chips a replica the requests seen so far (only FGD looks at it).
    """
    missing, used = state.job[job].replicas, 0
    while missing > 0 and used < len(nodes):
        best, best_score = -1, 2**62
        for node in range(len(free)):
            if taken_already(nodes, used, node) or replicas_that_fit(free, state, job, node) == 0:
                continue
            score = _score(free[node, CHIPS], state.need[job, CHIPS], packing, mix)
            if score < best_score:
                best, best_score = node, score
        if best < 0:
            return 0
        nodes[used] = best
        replicas[used] = min(missing, replicas_that_fit(free, state, job, best))
        missing -= replicas[used]
        used += 1
    return used if missing == 0 else 0


@compiled
def taken_already(nodes: Whole, used: int, node: int) -> bool:
    """Whether the node is among the first `used` of `nodes`."""
    found = False
    for at in range(used):
        found = found or nodes[at] == node
    return found


@compiled
def _score(free: int, need: int, packing: int, mix: Whole) -> int:
    """Best fit: chips left. FGD: by how much the node's expected fragment grows, then chips left (Weng et
    al., ATC'23, for whole chips: free chips that a request drawn from the mix could not use).
    """
    left = free - need
    if packing == BEST_FIT:
        return left
    return (_fragment(left, mix) - _fragment(free, mix)) * 1024 + left


@compiled
def _fragment(free: int, mix: Whole) -> int:
    larger = 0
    for width in range(free + 1, len(mix)):
        larger += mix[width]
    return free * larger
