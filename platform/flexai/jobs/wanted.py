"""What should live on each node: full state, read from the rows alone (law 3).

Two statements: a light one that says which replicas live there and which are to stop, and a wide one for those this
process has not described before. What a replica is to run never changes within a generation, so it is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import msgspec

from flexai.common.database import Cursor, prepared_cursor
from flexai.jobs.folding import OWN_DOING
from flexai.jobs.outputs_limits import job_limits
from node_agent.protocol import Wanted, WantedChip, WantedGuest, WantedOutputs, WantedReplica
from scheduler_core.lifecycle import AttemptState, Outcome

FIRST_PORT = 20_000
PORTS = 10_000
"""MASTER_PORT lies in 20000–29999, by attempt: two gangs on one node rarely meet, and both ends compute the same."""
KEPT = 8192
"""Descriptions kept in memory; the oldest used go first."""


_LIVE = """
SELECT r.node_id, r.id, r.generation, a.public_id, a.state, a.stop_outcome
FROM jobs_replica r JOIN jobs_attempt a ON a.id = r.attempt_id
WHERE r.node_id = ANY(%s) AND r.state <> 'ended' AND a.state <> 'ended'
ORDER BY r.id
"""

_DESCRIBED = """
SELECT r.id, r.generation, r.index, r.cpu_milli, r.memory_mib, a.id, a.public_id, a.number, a.lease_ms,
       j.public_id, j.name, j.index, j.effective_spec::text, o.public_id,
       (SELECT count(*) FROM jobs_replica p WHERE p.attempt_id = a.id),
       (SELECT n.address FROM jobs_replica p JOIN cluster_node n ON n.id = p.node_id
        WHERE p.attempt_id = a.id ORDER BY p.index LIMIT 1),
       (SELECT coalesce(json_agg(json_build_array(c.index, l.milli, l.memory_mib) ORDER BY c.index), '[]')
        FROM jobs_allocation l JOIN cluster_chip c ON c.id = l.chip_id WHERE l.replica_id = r.id AND l.active),
       g.rule::text,
       CASE WHEN g.attempt_id IS NOT NULL THEN (
           SELECT json_agg(json_build_array(o.public_id, p.index, held.milli) ORDER BY o.id, p.index)
           FROM jobs_attempt o JOIN jobs_replica p ON p.attempt_id = o.id AND p.node_id = r.node_id
           JOIN LATERAL (SELECT sum(h.milli)::int AS milli FROM jobs_allocation h
                         WHERE h.replica_id = p.id AND h.active AND h.kind = 'owned') held ON held.milli > 0
           WHERE o.id = ANY(g.lenders)) END
FROM jobs_replica r JOIN jobs_attempt a ON a.id = r.attempt_id JOIN jobs_job j ON j.id = a.job_id
JOIN tenancy_organization o ON o.id = j.organization_id LEFT JOIN jobs_guest g ON g.attempt_id = a.id
WHERE r.id = ANY(%s)
"""


def attempts_wanted_on(node_pks: Sequence[int]) -> dict[int, Wanted]:
    """The wanted state of each node, oldest replica first; `version` is 0 and is set by whoever sends it."""
    replicas: dict[int, list[WantedReplica]] = {pk: [] for pk in node_pks}
    if not replicas:
        return {}
    with prepared_cursor() as cursor:
        live = cursor.execute(_LIVE, [sorted(replicas)], prepare=True).fetchall()
        described = _describe(cursor, [(pk, generation, name) for _, pk, generation, name, _, _ in live])
    for node, pk, _, _, state, stop_outcome in live:
        replica = described.get(pk)
        if replica is not None:
            is_stopping = state == AttemptState.STOPPING
            replicas[node].append(as_stopping(replica, stop_outcome) if is_stopping else replica)
    return {node: Wanted(version=0, replicas=items) for node, items in replicas.items()}


def as_stopping(replica: WantedReplica, stop_outcome: str) -> WantedReplica:
    """The same replica, to be stopped. Peers of a replica that failed are cancelled; the attempt keeps the failure."""
    by_peer = stop_outcome in OWN_DOING
    outcome = Outcome.CANCELLED.value if by_peer or not stop_outcome else stop_outcome
    return msgspec.structs.replace(
        replica,
        desired="stop",
        stop_outcome=outcome,
        files={},
        env={},
        commands=[],
        outputs=None,
        secrets=[],
    )


def as_missing(replica: WantedReplica) -> WantedReplica:
    """The same replica, which the node had started and does not have: it is to be reported as `node_lost`."""
    if replica.desired == "stop":
        return replica
    return msgspec.structs.replace(as_stopping(replica, ""), stop_outcome=Outcome.NODE_LOST.value)


_kept: OrderedDict[tuple[str, int, int], WantedReplica] = OrderedDict()
_kept_lock = Lock()


def _describe(cursor: Cursor, wanted: Sequence[tuple[int, int, str]]) -> dict[int, WantedReplica]:
    found: dict[int, WantedReplica] = {}
    with _kept_lock:
        for pk, generation, attempt in wanted:
            replica = _kept.get((attempt, pk, generation))
            if replica is not None:
                found[pk] = replica
    missing = [pk for pk, _, _ in wanted if pk not in found]
    if not missing:
        return found
    fresh = {row[0]: (row[1], _replica(row)) for row in cursor.execute(_DESCRIBED, [missing], prepare=True)}
    with _kept_lock:
        for pk, (generation, replica) in fresh.items():
            _kept[replica.attempt, pk, generation] = replica
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return found | {pk: replica for pk, (_, replica) in fresh.items()}


def _replica(row: tuple[Any, ...]) -> WantedReplica:
    (_, generation, index, cpu_milli, memory_mib, attempt_pk, attempt, number, lease_ms, job, name, array_index, spec,
     organization, replicas, address, chips, rule, owners) = row  # fmt: skip
    spec = msgspec.json.decode(spec)
    environment = _environment(
        attempt_pk=attempt_pk, number=number, index=index, replicas=replicas, chips=len(chips),
        address=address, job=job, array_index=array_index,
    )  # fmt: skip
    return WantedReplica(
        attempt=attempt,
        replica=index,
        desired="run",
        job=job,
        number=number,
        organization=organization,
        name=name,
        commands=list(spec.get("commands") or []),
        image=spec.get("image") or "",
        shm_mib=spec.get("shm_mib") or 0,
        env={**(spec.get("env") or {}), **environment},
        files=dict(spec.get("files") or {}),
        working_dir=spec.get("working_dir") or "",
        chips=[WantedChip(index=chip, milli=milli, memory_mib=memory) for chip, milli, memory in chips],
        cpu_milli=cpu_milli,
        memory_mib=memory_mib,
        lease_ms=lease_ms,
        max_duration_ms=spec.get("max_duration_ms"),
        grace_ms=spec.get("grace_ms", 10_000),
        notice_signal=spec.get("checkpoint_signal") or "SIGTERM",
        checkpoint_dir=spec.get("checkpoint_path") or "",
        generation=generation,
        guest=None if rule is None else _guest(msgspec.json.decode(rule), owners or []),
        outputs=_outputs(spec) if index == 0 else None,
        secrets=list(spec.get("secrets") or ()),
    )


def _outputs(spec: Mapping[str, Any]) -> WantedOutputs | None:
    """In a gang the files of replica 0 are kept, as rank 0 is who writes them."""
    if not spec.get("outputs"):
        return None
    limits = job_limits()
    return WantedOutputs(patterns=list(spec["outputs"]), most_bytes=limits.bytes, most_files=limits.files)


def _guest(rule: Mapping[str, int], owners: Sequence[tuple[str, int, int]]) -> WantedGuest:
    return WantedGuest(
        owners=[(attempt, replica, milli) for attempt, replica, milli in owners],
        above=rule["above"],
        pause_after_ms=rule["pause_after"],
        stop_after_ms=rule["stop_after"],
        memory_floor_mib=rule["memory_floor"],
    )


def _environment(
    *, attempt_pk: int, number: int, index: int, replicas: int, chips: int, address: str, job: str,
    array_index: int | None,
) -> Mapping[str, str]:  # fmt: skip
    """The variables every replica gets; they win over the spec's own. One process per chip is the field's habit."""
    processes = max(1, chips)
    environment = {
        "MASTER_ADDR": address or "127.0.0.1",
        "MASTER_PORT": str(FIRST_PORT + attempt_pk % PORTS),
        "WORLD_SIZE": str(replicas * processes),
        "RANK": str(index * processes),
        "LOCAL_RANK": "0",
        "NODE_RANK": str(index),
        "NNODES": str(replicas),
        "NPROC_PER_NODE": str(processes),
        "FLEXAI_JOB_ID": job,
        "FLEXAI_ATTEMPT": str(number),
        "FLEXAI_REPLICA": str(index),
    }
    if array_index is not None:
        environment["FLEXAI_ARRAY_INDEX"] = str(array_index)
    return environment
