"""Locks what units touch and claims it: jobs, attempts, replicas, nodes, chips, team use, in that order (law
8).

A unit holds when its job still waits in the version that was decided on, its nodes are ready, its chips are
there and healthy, and nothing rises above capacity or limit. Every update carries its condition; whoever
counts fewer rows than it asked for takes everything back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from flexai.common.database import Cursor, Send, as_columns, as_numbers, as_rows, as_texts, at_once
from flexai.common.ids import new_ids
from scheduler_core.decision import Unit
from scheduler_core.slices import charge, host_cpu_claim

NAMED_NODES = 4
"""A sentence names so many nodes, then says how many more."""
WAITS = "queued"
"""Given as a parameter where a job's row is known by its key. A plan that reads the word in the statement may take the
index of all that wait, which is the shortest way by statistics of an hour when nobody did: a burst of thousands was
then read for each of its parts, or for each of its jobs."""


class DoesNotHold(Exception):  # noqa: N818 - it says what is true of the units
    """Some of these units no longer hold; the caller rolls back."""


class LockedJob(NamedTuple):
    public_id: str
    organization: int
    team: int
    team_public_id: str
    version: int
    attempts: int
    """How many it has had."""


class LockedNode(NamedTuple):
    public_id: str
    name: str


class LockedChip(NamedTuple):
    node: int
    index_in_node: int
    type: str
    host_cpu: int
    memory: int


class Numbers(NamedTuple):
    """Primary keys of an attempt to come and of its replicas. Known beforehand, so that no statement has to join what
    it inserts: a plan made for one start would do that by comparing each with each."""

    attempt: int
    replicas: list[int]


@dataclass(frozen=True, slots=True)
class Locked:
    """The rows that units touch, locked until the transaction ends; only those that can take new work."""

    jobs: dict[int, LockedJob]
    nodes: dict[int, LockedNode]
    chips: dict[int, LockedChip]
    payers: dict[int, tuple[int, ...]]
    """Of each team: itself and every team above it."""
    numbers: dict[int, Numbers]
    """Of each job that is to start."""

    def holds(self, unit: Unit) -> bool:
        """Whether job, nodes and chips are still what the decision saw. Capacity and limits are `claim`'s to
        say."""
        start = unit.start
        job = self.jobs.get(start.job)
        if job is None or job.version != start.version:
            return False
        for place in start.placements:
            if place.node not in self.nodes:
                return False
            for share in place.chips:
                chip = self.chips.get(share.chip)
                if chip is None or chip.node != place.node:
                    return False
        return True


class Placed(NamedTuple):
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
    """Every row that `claim` will change is locked, in the common order, but for team use; rows that cannot take work
    are left out. Every counter of team use that it needs is there."""
    places = [place for unit in units for place in unit.start.placements]
    wanted: dict[str, Any] = {
        "cell": cell_id,
        "waits": WAITS,
        "jobs": as_numbers(sorted({unit.start.job for unit in units})),
        "nodes": as_numbers(sorted({place.node for place in places})),
        "chips": as_numbers(sorted({share.chip for place in places for share in place.chips})),
        "attempts": len(units),
        "replicas": len(places),
    }
    with at_once(cursor) as send:
        jobs = send(_LOCK_JOBS, wanted)
        nodes = send(_LOCK_NODES, wanted)
        chips = send(_LOCK_CHIPS, wanted)
        payers = send(_PAYERS, wanted)
        uses = send(_USES, wanted)
        numbers = send(_NUMBERS, wanted)
    locked = Locked(
        jobs={row[0]: LockedJob._make(row[1:]) for row in jobs},
        nodes={row[0]: LockedNode._make(row[1:]) for row in nodes},
        chips={row[0]: LockedChip._make(row[1:]) for row in chips},
        payers={base: tuple(line) for base, line in payers},
        numbers=_numbered(units, numbers.fetchone()),
    )
    missing = _uses_of(units, locked) - set(uses)
    if missing:
        rows = [{"team": team, "type": kind} for team, kind in sorted(missing)]
        cursor.execute(_MAKE_USE, {"needed": as_rows(rows), "cell": cell_id})
    return locked


def lock_use(cursor: Cursor, cell_id: int, units: Sequence[Unit]) -> None:
    """The counters of team use that these units need are locked too. Without this `claim` locks them, as the last thing
    that it does: everybody who starts something for a team waits there for whoever was before."""
    chips = {share.chip for unit in units for place in unit.start.placements for share in place.chips}
    wanted = {
        "cell": cell_id,
        "jobs": as_numbers(sorted({unit.start.job for unit in units})),
        "chips": as_numbers(sorted(chips)),
    }
    cursor.execute(_USES + _LOCKED, wanted)


Along: TypeAlias = Callable[[Send, Sequence[Placed]], None]
"""Sends what is to be written in the same round trip, told what is placed."""


def claim(
    cursor: Cursor,
    cell_id: int,
    units: Sequence[Unit],
    locked: Locked,
    now: datetime,
    along: Along | None = None,
) -> list[Placed]:
    """All these units are attempts with replicas and allocations, and every counter has moved, team use last.

    Raises `DoesNotHold`, or an IntegrityError, when they do not hold together; then the caller rolls back.
    """
    placed = [_placed(unit, locked) for unit in units]
    claims = _claims(placed, locked)
    with at_once(cursor) as send:
        jobs = send(_CLAIM, {"now": now, "waits": WAITS, **claims.columns()})
        done = [(what, rows, send(statement, rows_as)) for what, rows, statement, rows_as in claims.taken()]
        if along is not None:
            along(send, placed)
        if claims.use:
            done.append(("team limits", len(claims.use), send(_TAKE_USE, claims.used(cell_id))))
    row = jobs.fetchone()
    _expect("jobs", len(units), row[0] if row else 0)
    for what, rows, answer in done:
        _expect(what, rows, answer.rowcount)
    return placed


@dataclass(slots=True)
class _Claims:
    """What units come to: rows of new attempts, replicas and allocations, and sums by node, chip and payer."""

    starts: list[Placed]
    """By job, as rows are locked."""
    attempts: list[int] = field(default_factory=list)
    replicas: list[tuple[int, ...]] = field(default_factory=list)
    shares: list[tuple[int, ...]] = field(default_factory=list)
    cpu: Counter[int] = field(default_factory=Counter)
    memory: Counter[int] = field(default_factory=Counter)
    milli: Counter[int] = field(default_factory=Counter)
    chip_memory: Counter[int] = field(default_factory=Counter)
    use: Counter[tuple[int, str]] = field(default_factory=Counter)
    """(team, chip type) → milli-chips, of everybody who pays."""

    def columns(self) -> dict[str, str]:
        """The rows as `_CLAIM` reads them."""
        starts = self.starts
        return {
            "jobs": as_numbers([one.unit.start.job for one in starts]),
            "versions": as_numbers([one.unit.start.version for one in starts]),
            "attempts": as_numbers(self.attempts),
            "names": as_texts(new_ids("att", len(starts))),
            "sentences": as_texts([one.sentence for one in starts]),
            **as_columns(self.replicas, "r_id r_attempt r_index r_node r_cpu r_memory"),
            **as_columns(self.shares, "s_attempt s_replica s_chip s_milli s_memory s_charge s_cpu"),
        }

    def taken(self) -> Iterator[tuple[str, int, str, dict[str, Any]]]:
        """How the counters of nodes and chips move: of what, how many rows, by which statement, with what."""
        nodes = [(node, self.cpu[node], self.memory[node]) for node in sorted(self.cpu)]
        yield "nodes", len(nodes), _TAKE_NODES, dict(as_columns(nodes, "node cpu memory"))
        if self.milli:
            chips = [(chip, self.milli[chip], self.chip_memory[chip]) for chip in sorted(self.milli)]
            yield "chips", len(chips), _TAKE_CHIPS, dict(as_columns(chips, "chip milli memory"))

    def used(self, cell_id: int) -> dict[str, Any]:
        """How the counters of team use move, as `_TAKE_USE` reads it."""
        uses = [{"team": team, "type": kind, "milli": milli} for (team, kind), milli in self.use.items()]
        return {"taken": as_rows(uses), "cell": cell_id}


def _claims(placed: Sequence[Placed], locked: Locked) -> _Claims:
    claims = _Claims(sorted(placed, key=attrgetter("unit.start.job")))
    charged = Counter[tuple[int, str]]()
    for one in claims.starts:
        job = one.unit.start.job
        team, (attempt, replicas) = locked.jobs[job].team, locked.numbers[job]
        claims.attempts.append(attempt)
        for replica, place in zip(replicas, one.unit.start.placements, strict=True):
            cpu = place.cpu
            claims.replicas.append((replica, attempt, place.replica, place.node, cpu, place.memory))
            for share in place.chips:
                chip = locked.chips[share.chip]
                claimed = host_cpu_claim(share.milli, chip.host_cpu)
                cost = charge(share.milli, share.memory, chip.memory)
                claims.shares.append((attempt, replica, share.chip, share.milli, share.memory, cost, claimed))
                cpu += claimed
                claims.milli[share.chip] += share.milli
                claims.chip_memory[share.chip] += share.memory
                charged[team, chip.type] += cost
            claims.cpu[place.node] += cpu
            claims.memory[place.node] += place.memory
    for (team, kind), cost in charged.items():
        for payer in locked.payers[team]:
            claims.use[payer, kind] += cost
    return claims


def _numbered(units: Sequence[Unit], row: tuple[Any, ...] | None) -> dict[int, Numbers]:
    if row is None:
        raise RuntimeError("no numbers were given")
    attempts, replicas = row
    given = iter(replicas)
    return {
        unit.start.job: Numbers(attempt, list(islice(given, len(unit.start.placements))))
        for unit, attempt in zip(units, attempts, strict=True)
    }


def _uses_of(units: Sequence[Unit], locked: Locked) -> set[tuple[int, str]]:
    """The counters, by team and chip type, of every team that pays for those of these units that hold."""
    return {
        (payer, locked.chips[share.chip].type)
        for unit in units
        if locked.holds(unit)
        for place in unit.start.placements
        for share in place.chips
        for payer in locked.payers[locked.jobs[unit.start.job].team]
    }


def _placed(unit: Unit, locked: Locked) -> Placed:
    """The unit as it will be: its job is locked, so nobody counts its attempts on meanwhile."""
    public_id, organization, _, team_public_id, version, attempts = locked.jobs[unit.start.job]
    sentence = _sentence(unit, locked)
    return Placed(unit, attempts + 1, public_id, version + 1, team_public_id, organization, sentence)


def _sentence(unit: Unit, locked: Locked) -> str:
    places = unit.start.placements
    if len(places) == 1:
        chips = sorted([locked.chips[share.chip].index_in_node for share in places[0].chips])
        which = f", chip{'s' if len(chips) > 1 else ''} {', '.join(map(str, chips))}" if chips else ""
        return f"Placed on {locked.nodes[places[0].node].name}{which}."
    names = list(dict.fromkeys(locked.nodes[place.node].name for place in places))
    more = f" and {len(names) - NAMED_NODES} more" if len(names) > NAMED_NODES else ""
    return f"Placed as {len(places)} replicas on {', '.join(names[:NAMED_NODES])}{more}."


def _expect(what: str, wanted: int, found: int) -> None:
    if found != wanted:
        raise DoesNotHold(f"{what}: {found} of {wanted} hold")


_LOCK_JOBS = """
SELECT j.id, j.public_id, j.organization_id, j.team_id, t.public_id, j.version, j.attempts_count
  FROM jobs_job j JOIN tenancy_team t ON t.id = j.team_id
 WHERE j.id = ANY(%(jobs)s::bigint[]) AND j.cell_id = %(cell)s AND j.state = %(waits)s
 ORDER BY j.id FOR NO KEY UPDATE OF j"""

_LOCK_NODES = """
SELECT id, public_id, name FROM cluster_node
 WHERE id = ANY(%(nodes)s::bigint[]) AND cell_id = %(cell)s AND state = 'ready' AND reachable
 ORDER BY id FOR NO KEY UPDATE"""

_LOCK_CHIPS = """
SELECT id, node_id, index, type, host_cpu_milli, memory_mib FROM cluster_chip
 WHERE id = ANY(%(chips)s::bigint[]) AND cell_id = %(cell)s AND present AND healthy
 ORDER BY id FOR NO KEY UPDATE"""

_PAYERS = """
WITH RECURSIVE line (base, team) AS (
    SELECT id, id FROM tenancy_team WHERE id IN (SELECT team_id FROM jobs_job WHERE id = ANY(%(jobs)s::bigint[]))
    UNION
    SELECT line.base, t.parent_id FROM line JOIN tenancy_team t ON t.id = line.team
     WHERE t.parent_id IS NOT NULL)
SELECT base, array_agg(team ORDER BY team) FROM line GROUP BY base"""

_USES = """
WITH RECURSIVE line (team) AS (
    SELECT team_id FROM jobs_job WHERE id = ANY(%(jobs)s::bigint[])
    UNION
    SELECT t.parent_id FROM line JOIN tenancy_team t ON t.id = line.team WHERE t.parent_id IS NOT NULL)
SELECT u.team_id, u.chip_type FROM tenancy_teamuse u
 WHERE u.cell_id = %(cell)s AND u.team_id IN (SELECT team FROM line)
   AND u.chip_type IN (SELECT type FROM cluster_chip WHERE id = ANY(%(chips)s::bigint[]))"""
_LOCKED = """
 ORDER BY u.id FOR NO KEY UPDATE OF u"""

_MAKE_USE = """
INSERT INTO tenancy_teamuse (cell_id, team_id, chip_type, used_milli)
SELECT %(cell)s, n.team, n.type, 0 FROM json_to_recordset(%(needed)s::json) AS n (team bigint, type text)
    ON CONFLICT (cell_id, team_id, chip_type) DO NOTHING"""

_NUMBERS = """
SELECT ARRAY(SELECT nextval('jobs_attempt_id_seq') FROM generate_series(1, %(attempts)s)),
       ARRAY(SELECT nextval('jobs_replica_id_seq') FROM generate_series(1, %(replicas)s))"""

_CLAIM = """
WITH job AS (
    UPDATE jobs_job j
       SET state = 'active', status = 'starting', reason_code = 'placed', sentence = s.sentence,
           attempts_count = j.attempts_count + 1, version = j.version + 1, changed = pg_current_xact_id()::text::bigint,
           ended_at = NULL, exit_code = NULL, outcome = ''
      FROM unnest(%(jobs)s::bigint[], %(versions)s::int[], %(attempts)s::bigint[], %(names)s::text[],
                  %(sentences)s::text[]) AS s (job, version, attempt, name, sentence)
     WHERE j.id = s.job AND j.state = %(waits)s AND j.version = s.version
 RETURNING j.id, j.organization_id, j.cell_id, j.attempts_count, j.version, s.attempt, s.name, s.sentence,
           (j.effective_spec->>'lease_ms')::bigint AS lease_ms),
attempt AS (
    INSERT INTO jobs_attempt (id, public_id, organization_id, cell_id, job_id, number, state, outcome, contact_ok,
           stop_outcome, lease_ms, reason_code, sentence, placed_at, cpu_time_ms, memory_peak_mib, version,
           changed)
    SELECT attempt, name, organization_id, cell_id, id, attempts_count, 'placed', '', true,
           '', lease_ms, 'placed', sentence, %(now)s, 0, 0, 0, pg_current_xact_id()::text::bigint
      FROM job),
replica AS (
    INSERT INTO jobs_replica (id, attempt_id, index, node_id, state, generation, cpu_milli, memory_mib, outcome,
           sentence, log_offset)
    SELECT r.id, r.attempt, r.index, r.node, 'placed', 1, r.cpu, r.memory, '', '', 0
      FROM unnest(%(r_id)s::bigint[], %(r_attempt)s::bigint[], %(r_index)s::int[], %(r_node)s::bigint[],
                  %(r_cpu)s::int[], %(r_memory)s::int[]) AS r (id, attempt, index, node, cpu, memory)),
promise AS (DELETE FROM scheduling_promise p USING job WHERE p.id = job.id),
reservation AS (DELETE FROM scheduling_reservation v USING job WHERE v.id = job.id),
allocation AS (
    INSERT INTO jobs_allocation (attempt_id, replica_id, chip_id, kind, milli, memory_mib, charge_milli, cpu_milli,
           active)
    SELECT s.attempt, s.replica, s.chip, 'owned', s.milli, s.memory, s.charge, s.cpu, true
      FROM unnest(%(s_attempt)s::bigint[], %(s_replica)s::bigint[], %(s_chip)s::bigint[], %(s_milli)s::int[],
                  %(s_memory)s::int[], %(s_charge)s::int[], %(s_cpu)s::int[])
           AS s (attempt, replica, chip, milli, memory, charge, cpu))
SELECT count(*) FROM job"""

_TAKE_NODES = """
UPDATE cluster_node n
   SET used_cpu_milli = n.used_cpu_milli + t.cpu, used_memory_mib = n.used_memory_mib + t.memory,
       wanted_version = n.wanted_version + 1
  FROM unnest(%(node)s::bigint[], %(cpu)s::bigint[], %(memory)s::bigint[]) AS t (node, cpu, memory)
 WHERE n.id = t.node AND n.state = 'ready' AND n.reachable
   AND (t.cpu = 0 OR n.used_cpu_milli + t.cpu <= n.cpu_milli)
   AND (t.memory = 0 OR n.used_memory_mib + t.memory <= n.memory_mib)"""

_TAKE_CHIPS = """
UPDATE cluster_chip c
   SET used_milli = c.used_milli + t.milli, used_memory_mib = c.used_memory_mib + t.memory
  FROM unnest(%(chip)s::bigint[], %(milli)s::bigint[], %(memory)s::bigint[]) AS t (chip, milli, memory)
 WHERE c.id = t.chip AND c.present AND c.healthy
   AND (t.milli = 0 OR c.used_milli + t.milli <= 1000)
   AND (t.memory = 0 OR c.used_memory_mib + c.guest_memory_mib + t.memory <= c.memory_mib)"""

_TAKE_USE = """
WITH taken AS (
    SELECT u.id, t.milli FROM json_to_recordset(%(taken)s::json) AS t (team bigint, type text, milli bigint)
      JOIN tenancy_teamuse u ON u.cell_id = %(cell)s AND u.team_id = t.team AND u.chip_type = t.type
     ORDER BY u.id FOR NO KEY UPDATE OF u)
UPDATE tenancy_teamuse u SET used_milli = u.used_milli + taken.milli
  FROM taken
 WHERE u.id = taken.id
   AND NOT EXISTS (
       SELECT 1 FROM tenancy_quota q
        WHERE q.team_id = u.team_id AND q.cell_id = u.cell_id AND q.chip_type = u.chip_type
          AND u.used_milli + taken.milli > q.limit_milli)"""
