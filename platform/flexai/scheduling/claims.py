"""Locks what units touch and claims it: jobs, attempts, replicas, nodes, chips, team use, in that order (law
8).

A unit holds when its job still waits in the version that was decided on, its nodes are ready, its chips are
there and healthy, and nothing rises above capacity or limit. Every update carries its condition; whoever
counts fewer rows than it asked for takes everything back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flexai.common.database import Cursor, as_rows
from flexai.common.ids import new_id
from scheduler_core.decision import Unit
from scheduler_core.model import Placement
from scheduler_core.slices import charge, host_cpu_claim

NAMED_NODES = 4
"""A sentence names so many nodes, then says how many more."""


class DoesNotHold(Exception):  # noqa: N818 - it says what is true of the units
    """Some of these units no longer hold; the caller rolls back."""


@dataclass(frozen=True, slots=True)
class LockedJob:
    public_id: str
    organization: int
    team: int
    team_public_id: str
    version: int


@dataclass(frozen=True, slots=True)
class LockedNode:
    public_id: str
    name: str


@dataclass(frozen=True, slots=True)
class LockedChip:
    node: int
    index: int
    type: str
    host_cpu: int
    memory: int


@dataclass(frozen=True, slots=True)
class Locked:
    """The rows that units touch, locked until the transaction ends; only those that can take new work."""

    jobs: dict[int, LockedJob]
    nodes: dict[int, LockedNode]
    chips: dict[int, LockedChip]
    payers: dict[int, tuple[int, ...]]
    """Of each team: itself and every team above it."""

    def holds(self, unit: Unit) -> bool:
        """Whether job, nodes and chips are still what the decision saw. Capacity and limits are `claim`'s to
        say."""
        job = self.jobs.get(unit.start.job)
        return (
            job is not None
            and job.version == unit.start.version
            and all(map(self._stands, unit.start.placements))
        )

    def _stands(self, place: Placement) -> bool:
        if place.node not in self.nodes:
            return False
        chips = [self.chips.get(share.chip) for share in place.chips]
        return all(chip is not None and chip.node == place.node for chip in chips)


@dataclass(frozen=True, slots=True)
class Placed:
    """A unit that is an attempt now."""

    unit: Unit
    attempt: int
    """Number of the attempt."""
    job_public_id: str
    job_version: int
    team_public_id: str
    organization: int
    sentence: str


def lock(cursor: Cursor, cell_id: int, units: Sequence[Unit]) -> Locked:
    """Every row that `claim` will change is locked, in the common order; rows that cannot take work are left
    out."""
    places = [place for unit in units for place in unit.start.placements]
    cell = {"cell": cell_id}
    jobs = cursor.execute(_LOCK_JOBS, {"ids": _array({unit.start.job for unit in units}), **cell}).fetchall()
    nodes = cursor.execute(_LOCK_NODES, {"ids": _array({place.node for place in places}), **cell}).fetchall()
    chips: list[tuple[Any, ...]] = []
    wanted_chips = {share.chip for place in places for share in place.chips}
    if wanted_chips:
        chips = cursor.execute(_LOCK_CHIPS, {"ids": _array(wanted_chips), **cell}).fetchall()
    locked = Locked(
        jobs={row[0]: LockedJob(*row[1:]) for row in jobs},
        nodes={row[0]: LockedNode(*row[1:]) for row in nodes},
        chips={row[0]: LockedChip(*row[1:]) for row in chips},
        payers={},
    )
    if chips:
        _lock_use(cursor, cell_id, [unit for unit in units if locked.holds(unit)], locked)
    return locked


def claim(cursor: Cursor, cell_id: int, units: Sequence[Unit], locked: Locked, now: datetime) -> list[Placed]:
    """All these units are attempts with replicas and allocations, and every counter has moved.

    Raises `DoesNotHold`, or an IntegrityError, when they do not hold together; then the caller rolls back.
    """
    sentences = [_sentence(unit, locked) for unit in units]
    rows = _numbered(cursor, units)
    claimed = cursor.execute(
        _CLAIM,
        {
            "now": now,
            "starts": as_rows(
                [
                    {
                        "job": u.start.job,
                        "version": u.start.version,
                        "attempt": rows.attempts[u.start.job],
                        "name": new_id("att"),
                        "sentence": sentence,
                    }
                    for u, sentence in zip(units, sentences, strict=True)
                ]
            ),
            "replicas": as_rows(list(_replicas(units, rows))),
            "shares": as_rows(list(_shares(units, locked.chips, rows))),
        },
    ).fetchall()
    _expect("jobs", len(units), len(claimed))
    _take(cursor, cell_id, units, locked)
    numbers = {job: (number, version) for job, number, version in claimed}
    return [
        _placed(unit, locked, sentence, *numbers[unit.start.job])
        for unit, sentence in zip(units, sentences, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Numbered:
    """Primary keys of the rows to come. Known beforehand, so that no statement has to join what it inserts: a plan
    made for one start would do that by comparing each with each."""

    attempts: dict[int, int]
    """Job → attempt."""
    replicas: dict[tuple[int, int], int]
    """(job, index) → replica."""


def _numbered(cursor: Cursor, units: Sequence[Unit]) -> _Numbered:
    jobs = sorted(unit.start.job for unit in units)
    places = sorted((unit.start.job, place.replica) for unit in units for place in unit.start.placements)
    row = cursor.execute(_NUMBERS, {"attempts": len(jobs), "replicas": len(places)}).fetchone()
    if row is None:
        raise RuntimeError("no numbers were given")
    return _Numbered(dict(zip(jobs, row[0], strict=True)), dict(zip(places, row[1], strict=True)))


def _take(cursor: Cursor, cell_id: int, units: Sequence[Unit], locked: Locked) -> None:
    """Move the counters of nodes, chips and team use under their conditions."""
    cpu, memory = Counter[int](), Counter[int]()
    milli, chip_memory = Counter[int](), Counter[int]()
    use = Counter[tuple[int, str]]()
    for unit in units:
        payers = locked.payers.get(locked.jobs[unit.start.job].team, ())
        for place in unit.start.placements:
            cpu[place.node] += place.cpu
            memory[place.node] += place.memory
            for share in place.chips:
                chip = locked.chips[share.chip]
                cpu[place.node] += host_cpu_claim(share.milli, chip.host_cpu)
                milli[share.chip] += share.milli
                chip_memory[share.chip] += share.memory
                for team in payers:
                    use[team, chip.type] += charge(share.milli, share.memory, chip.memory)
    taken: list[dict[str, Any]]
    taken = [{"node": node, "cpu": cpu[node], "memory": memory[node]} for node in sorted(cpu)]
    _expect("nodes", len(taken), cursor.execute(_TAKE_NODES, {"taken": as_rows(taken)}).rowcount)
    if milli:
        taken = [{"chip": chip, "milli": milli[chip], "memory": chip_memory[chip]} for chip in sorted(milli)]
        _expect("chips", len(taken), cursor.execute(_TAKE_CHIPS, {"taken": as_rows(taken)}).rowcount)
    if use:
        taken = [{"team": team, "type": kind, "milli": use[team, kind]} for team, kind in sorted(use)]
        done = cursor.execute(_TAKE_USE, {"taken": as_rows(taken), "cell": cell_id}).rowcount
        _expect("team limits", len(taken), done)


def _lock_use(cursor: Cursor, cell_id: int, units: Sequence[Unit], locked: Locked) -> None:
    """The counters of every team that pays for these units exist and are locked; fills `locked.payers`."""
    types: dict[int, set[str]] = {}
    for unit in units:
        kinds = {locked.chips[share.chip].type for place in unit.start.placements for share in place.chips}
        types.setdefault(locked.jobs[unit.start.job].team, set()).update(kinds)
    for base, *line in cursor.execute(_PAYERS, {"teams": _array(types)}):
        locked.payers[base] = tuple(line[0])
    needed = sorted(
        {(team, kind) for base, kinds in types.items() for team in locked.payers[base] for kind in kinds}
    )
    parameters: dict[str, Any] = {
        "needed": as_rows([{"team": team, "type": kind} for team, kind in needed]),
        "cell": cell_id,
    }
    if len(cursor.execute(_LOCK_USE, parameters).fetchall()) < len(needed):
        cursor.execute(_MAKE_USE, parameters)
        cursor.execute(_LOCK_USE, parameters)


def _placed(unit: Unit, locked: Locked, sentence: str, number: int, version: int) -> Placed:
    job = locked.jobs[unit.start.job]
    return Placed(
        unit=unit,
        attempt=number,
        job_public_id=job.public_id,
        job_version=version,
        team_public_id=job.team_public_id,
        organization=job.organization,
        sentence=sentence,
    )


def _sentence(unit: Unit, locked: Locked) -> str:
    places = unit.start.placements
    if len(places) == 1:
        chips = sorted(locked.chips[share.chip].index for share in places[0].chips)
        which = f", chip{'s' if len(chips) > 1 else ''} {', '.join(map(str, chips))}" if chips else ""
        return f"Placed on {locked.nodes[places[0].node].name}{which}."
    names = list(dict.fromkeys(locked.nodes[place.node].name for place in places))
    more = f" and {len(names) - NAMED_NODES} more" if len(names) > NAMED_NODES else ""
    return f"Placed as {len(places)} replicas on {', '.join(names[:NAMED_NODES])}{more}."


def _replicas(units: Sequence[Unit], rows: _Numbered) -> Iterator[dict[str, int]]:
    for unit in units:
        for place in unit.start.placements:
            yield {
                "id": rows.replicas[unit.start.job, place.replica],
                "attempt": rows.attempts[unit.start.job],
                "index": place.replica,
                "node": place.node,
                "cpu": place.cpu,
                "memory": place.memory,
            }


def _shares(units: Sequence[Unit], chips: dict[int, LockedChip], rows: _Numbered) -> Iterator[dict[str, int]]:
    for unit in units:
        for place in unit.start.placements:
            for share in place.chips:
                chip = chips[share.chip]
                yield {
                    "attempt": rows.attempts[unit.start.job],
                    "replica": rows.replicas[unit.start.job, place.replica],
                    "chip": share.chip,
                    "milli": share.milli,
                    "memory": share.memory,
                    "charge": charge(share.milli, share.memory, chip.memory),
                    "cpu": host_cpu_claim(share.milli, chip.host_cpu),
                }


def _expect(what: str, wanted: int, found: int) -> None:
    if found != wanted:
        raise DoesNotHold(f"{what}: {found} of {wanted} hold")


def _array(ids: Any) -> str:
    return "{" + ",".join(map(str, sorted(ids))) + "}"


_LOCK_JOBS = """
SELECT j.id, j.public_id, j.organization_id, j.team_id, t.public_id, j.version
  FROM jobs_job j JOIN tenancy_team t ON t.id = j.team_id
 WHERE j.id = ANY(%(ids)s::bigint[]) AND j.cell_id = %(cell)s AND j.state = 'queued'
 ORDER BY j.id FOR NO KEY UPDATE OF j"""

_LOCK_NODES = """
SELECT id, public_id, name FROM cluster_node
 WHERE id = ANY(%(ids)s::bigint[]) AND cell_id = %(cell)s AND state = 'ready' AND reachable
 ORDER BY id FOR NO KEY UPDATE"""

_LOCK_CHIPS = """
SELECT id, node_id, index, type, host_cpu_milli, memory_mib FROM cluster_chip
 WHERE id = ANY(%(ids)s::bigint[]) AND cell_id = %(cell)s AND present AND healthy
 ORDER BY id FOR NO KEY UPDATE"""

_PAYERS = """
WITH RECURSIVE line (base, team) AS (
    SELECT id, id FROM tenancy_team WHERE id = ANY(%(teams)s::bigint[])
    UNION
    SELECT line.base, t.parent_id FROM line JOIN tenancy_team t ON t.id = line.team
     WHERE t.parent_id IS NOT NULL)
SELECT base, array_agg(team ORDER BY team) FROM line GROUP BY base"""

_LOCK_USE = """
SELECT u.id FROM tenancy_teamuse u
  JOIN json_to_recordset(%(needed)s::json) AS n (team bigint, type text)
    ON n.team = u.team_id AND n.type = u.chip_type
 WHERE u.cell_id = %(cell)s ORDER BY u.id FOR NO KEY UPDATE OF u"""

_MAKE_USE = """
INSERT INTO tenancy_teamuse (cell_id, team_id, chip_type, used_milli)
SELECT %(cell)s, n.team, n.type, 0 FROM json_to_recordset(%(needed)s::json) AS n (team bigint, type text)
    ON CONFLICT (cell_id, team_id, chip_type) DO NOTHING"""

_NUMBERS = """
SELECT ARRAY(SELECT nextval('jobs_attempt_id_seq') FROM generate_series(1, %(attempts)s)),
       ARRAY(SELECT nextval('jobs_replica_id_seq') FROM generate_series(1, %(replicas)s))"""

_CLAIM = """
WITH start AS (
    SELECT * FROM json_to_recordset(%(starts)s::json)
           AS s (job bigint, version int, attempt bigint, name text, sentence text)),
job AS (
    UPDATE jobs_job j
       SET state = 'active', status = 'starting', reason_code = 'placed', sentence = s.sentence,
           attempts_count = j.attempts_count + 1, version = j.version + 1,
           ended_at = NULL, exit_code = NULL, outcome = ''
      FROM start s
     WHERE j.id = s.job AND j.state = 'queued' AND j.version = s.version
 RETURNING j.id, j.organization_id, j.cell_id, j.attempts_count, j.version, s.attempt, s.name, s.sentence,
           (j.effective_spec->>'lease_ms')::bigint AS lease_ms),
attempt AS (
    INSERT INTO jobs_attempt (id, public_id, organization_id, cell_id, job_id, number, state, outcome, contact_ok,
           stop_outcome, lease_ms, reason_code, sentence, placed_at, cpu_time_ms, memory_peak_mib, version,
           changed)
    SELECT attempt, name, organization_id, cell_id, id, attempts_count, 'placed', '', true,
           '', lease_ms, 'placed', sentence, %(now)s, 0, 0, 0, 0
      FROM job),
replica AS (
    INSERT INTO jobs_replica (id, attempt_id, index, node_id, state, generation, cpu_milli, memory_mib, outcome,
           sentence, log_offset)
    SELECT r.id, r.attempt, r.index, r.node, 'placed', 1, r.cpu, r.memory, '', '', 0
      FROM json_to_recordset(%(replicas)s::json)
           AS r (id bigint, attempt bigint, index int, node bigint, cpu bigint, memory bigint)),
promise AS (DELETE FROM scheduling_promise p USING job WHERE p.id = job.id),
reservation AS (DELETE FROM scheduling_reservation v USING job WHERE v.id = job.id),
allocation AS (
    INSERT INTO jobs_allocation (attempt_id, replica_id, chip_id, kind, milli, memory_mib, charge_milli, cpu_milli,
           active)
    SELECT s.attempt, s.replica, s.chip, 'owned', s.milli, s.memory, s.charge, s.cpu, true
      FROM json_to_recordset(%(shares)s::json) AS s
           (attempt bigint, replica bigint, chip bigint, milli bigint, memory bigint, charge bigint, cpu bigint))
SELECT id, attempts_count, version FROM job"""

_TAKE_NODES = """
UPDATE cluster_node n
   SET used_cpu_milli = n.used_cpu_milli + t.cpu, used_memory_mib = n.used_memory_mib + t.memory,
       wanted_version = n.wanted_version + 1
  FROM json_to_recordset(%(taken)s::json) AS t (node bigint, cpu bigint, memory bigint)
 WHERE n.id = t.node AND n.state = 'ready' AND n.reachable
   AND (t.cpu = 0 OR n.used_cpu_milli + t.cpu <= n.cpu_milli)
   AND (t.memory = 0 OR n.used_memory_mib + t.memory <= n.memory_mib)"""

_TAKE_CHIPS = """
UPDATE cluster_chip c
   SET used_milli = c.used_milli + t.milli, used_memory_mib = c.used_memory_mib + t.memory
  FROM json_to_recordset(%(taken)s::json) AS t (chip bigint, milli bigint, memory bigint)
 WHERE c.id = t.chip AND c.present AND c.healthy
   AND (t.milli = 0 OR c.used_milli + t.milli <= 1000)
   AND (t.memory = 0 OR c.used_memory_mib + c.guest_memory_mib + t.memory <= c.memory_mib)"""

_TAKE_USE = """
UPDATE tenancy_teamuse u SET used_milli = u.used_milli + t.milli
  FROM json_to_recordset(%(taken)s::json) AS t (team bigint, type text, milli bigint)
 WHERE u.cell_id = %(cell)s AND u.team_id = t.team AND u.chip_type = t.type
   AND NOT EXISTS (
       SELECT 1 FROM tenancy_quota q
        WHERE q.team_id = u.team_id AND q.cell_id = u.cell_id AND q.chip_type = u.chip_type
          AND u.used_milli + t.milli > q.limit_milli)"""
