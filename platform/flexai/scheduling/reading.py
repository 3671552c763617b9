"""Reads a cell's rows for the engine. One statement reads everything, so it is of one instant.

The naive form is a SELECT per table in a REPEATABLE READ transaction: ten round trips, nine of them empty
most of the time. Sub-selects of one statement see one snapshot all the same, and each table comes as one JSON
text. A whole cell comes in parts, as rows of that statement: what one of them becomes in the engine is made while the
server reads the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import psycopg

from flexai.common.database import prepared_cursor
from flexai.scheduling.claims import WAITS
from flexai.scheduling.rows import (
    AttemptRow,
    ChipRow,
    JobRow,
    Mark,
    MixRow,
    NodeRow,
    PoolRow,
    PromiseRow,
    RemovalRow,
    ReservationRow,
    TeamRow,
)


@dataclass(frozen=True, slots=True)
class Read:
    """What one statement saw: everything that counts, or a part of it, or what changed."""

    xmin: int
    """Every transaction below this id had ended; the next read begins here (law 7)."""
    database_started: str
    policy: str
    """What is set of the cell's policy, as JSON (S4)."""
    pools: list[PoolRow]
    nodes: list[NodeRow]
    chips: list[ChipRow]
    teams: list[TeamRow] | None
    """All teams of the platform, or None when no team or quota changed."""
    waiting: list[JobRow]
    """Queued and not quarantined."""
    live: list[AttemptRow]
    promises: list[PromiseRow]
    reservations: list[ReservationRow]
    mix: MixRow | None
    """What the cell has been asked for lately, or None when that did not change."""
    not_waiting: list[Mark]
    """Changed jobs that are not among `waiting`."""
    ended: list[Mark]
    """Changed attempts that are not live."""
    removals: list[RemovalRow]
    """Rows that were deleted."""


def read_all(cell_id: int) -> Iterator[Read]:
    """Everything that counts now: all pools, nodes, chips and teams, waiting jobs, live attempts. It comes in parts
    of one instant, each table in one of them, pools in the first. The connection is taken until the last has come.
    """
    with prepared_cursor() as cursor:
        for row in psycopg.RawCursor(cursor.connection).stream(_EVERYTHING, [cell_id]):
            if row[0] is not None:
                yield _as_read(*row)


def read_since(cell_id: int, since: int) -> Read:
    """Every visible row that a transaction with an id of `since` or above wrote (law 7).

    Rows above the snapshot's xmin are read too, and read again by the next call: that is harmless, and
    nothing waits for a long transaction.
    """
    return _read(_CHANGES, [cell_id, since, WAITS])


def milliseconds(instant: str) -> str:
    """SQL for a timestamp as milliseconds since the epoch, rounded down as `clock.to_ms` does."""
    return f"floor(extract(epoch FROM {instant}) * 1000)::bigint"


def _read(statement: str, parameters: list[int | str]) -> Read:
    """Parameters are named as PostgreSQL does, $1 and $2: in a statement of this length others would be searched for
    anew each time."""
    with prepared_cursor() as cursor:
        row = psycopg.RawCursor(cursor.connection).execute(statement, parameters).fetchone()
    if row is None:
        raise RuntimeError("a SELECT without FROM answered no row")
    return _as_read(*row)


def _as_read(
    xmin: int,
    started: str,
    policy: str,
    pools: str | None,
    nodes: str | None,
    teams: str | None,
    promises: str | None,
    reservations: str | None,
    mix: str | None,
    live: str | None,
    waiting: str | None,
    chips: str | None,
    *changes: str | None,
) -> Read:
    not_waiting, ended, removals = changes or (None, None, None)
    return Read(
        xmin=xmin,
        database_started=started,
        policy=policy,
        pools=_POOLS.decode(pools) if pools else [],
        nodes=_NODES.decode(nodes) if nodes else [],
        chips=_CHIPS.decode(chips) if chips else [],
        teams=_TEAMS.decode(teams) if teams else None,
        waiting=_JOBS.decode(waiting) if waiting else [],
        live=_ATTEMPTS.decode(live) if live else [],
        promises=_PROMISES.decode(promises) if promises else [],
        reservations=_RESERVATIONS.decode(reservations) if reservations else [],
        mix=_MIX.decode(mix) if mix else None,
        not_waiting=_MARKS.decode(not_waiting) if not_waiting else [],
        ended=_MARKS.decode(ended) if ended else [],
        removals=_REMOVALS.decode(removals) if removals else [],
    )


_POOLS = msgspec.json.Decoder(list[PoolRow])
_NODES = msgspec.json.Decoder(list[NodeRow])
_CHIPS = msgspec.json.Decoder(list[ChipRow])
_TEAMS = msgspec.json.Decoder(list[TeamRow])
_JOBS = msgspec.json.Decoder(list[JobRow])
_ATTEMPTS = msgspec.json.Decoder(list[AttemptRow])
_PROMISES = msgspec.json.Decoder(list[PromiseRow])
_RESERVATIONS = msgspec.json.Decoder(list[ReservationRow])
_MIX = msgspec.json.Decoder(MixRow)
_MARKS = msgspec.json.Decoder(list[Mark])
_REMOVALS = msgspec.json.Decoder(list[RemovalRow])

_SINCE = "BETWEEN $2 AND 9223372036854775807"
"""At or above. Of a range with two ends the planner expects half a percent of the rows; of a comparison it
expects a third, and would read the whole table."""
_QUARANTINED = "EXISTS (SELECT 1 FROM scheduling_quarantine q WHERE q.job_id = {}.id)"


_KEEPS_STATE = "coalesce(j.effective_spec->>'checkpoint_path', '') <> ''"
_SPEEDS = "CASE WHEN j.speeds <> '{}' THEN j.speeds END"
_IMAGE = "coalesce(j.effective_spec->>'image', '')"
_ENDLESS = "j.type <> 'task'"
"""Services and workspaces end when somebody ends them (B1)."""


def _tables(changed: str, teams: str, waits: str) -> list[str]:
    """What both statements read: all that is small, then attempts, jobs and chips. `changed` narrows a table by its
    alias, `teams` all teams at once, and `waits` is the state of jobs that wait. Those at the end
    are large."""
    return f"""
(SELECT json_agg(json_build_array(p.id, p.changed, p.name, p.slice_step_milli) ORDER BY p.id)::text
   FROM cluster_pool p WHERE p.cell_id = $1 {changed.format("p")});
(SELECT json_agg(json_build_array(n.id, n.changed, n.name, n.pool_id, n.cpu_milli, n.memory_mib, n.state,
        n.reachable, n.topology, n.images) ORDER BY n.id)::text
   FROM cluster_node n WHERE n.cell_id = $1 {changed.format("n")});
(SELECT json_agg(json_build_array(t.id, t.changed, t.name, t.organization_id, t.parent_id,
        (SELECT json_agg(json_build_array(q.chip_type, q.guaranteed_milli, q.limit_milli, q.over_quota_weight)
                         ORDER BY q.chip_type)
           FROM tenancy_quota q WHERE q.team_id = t.id AND q.cell_id = $1),
        (SELECT json_agg(json_build_array(u.chip_type, u.service, {milliseconds("u.as_of")}) ORDER BY u.chip_type)
           FROM scheduling_pastuse u WHERE u.team_id = t.id AND u.cell_id = $1),
        (SELECT json_agg(json_build_array(l.chip_type, l.limit_milli) ORDER BY l.chip_type)
           FROM tenancy_usercap l WHERE l.team_id = t.id AND l.cell_id = $1),
        EXISTS (SELECT 1 FROM tenancy_budget b WHERE b.team_id = t.id AND b.hard AND b.is_spent)) ORDER BY t.id)::text
   FROM tenancy_team t {teams});
(SELECT json_agg(json_build_array(p.id, p.changed, p.attempts, p.placements) ORDER BY p.id)::text
   FROM scheduling_promise p WHERE p.cell_id = $1 {changed.format("p")});
(SELECT json_agg(json_build_array(v.id, v.changed, {milliseconds("v.at")}, v.placements) ORDER BY v.id)::text
   FROM scheduling_reservation v WHERE v.cell_id = $1 {changed.format("v")});
(SELECT json_build_array(m.changed, m.requests)::text
   FROM scheduling_mix m WHERE m.cell_id = $1 {changed.format("m")});
(SELECT json_agg(json_build_array(a.id, a.changed, a.job_id, j.team_id, a.organization_id, j.priority,
        j.preemptible, {milliseconds("coalesce(a.running_at, a.placed_at)")}, j.set_id,
        j.effective_spec->'min_runtime_ms', j.effective_spec->'max_duration_ms',
        j.effective_spec->'resources'->'isolation',
        (SELECT json_agg(json_build_array(r.index, r.node_id, r.cpu_milli, r.memory_mib,
                (SELECT json_agg(json_build_array(h.chip_id, h.milli, h.memory_mib) ORDER BY h.chip_id)
                   FROM jobs_allocation h WHERE h.replica_id = r.id AND h.active))
                ORDER BY r.index)
           FROM jobs_replica r WHERE r.attempt_id = a.id),
        j.user_id, {milliseconds("j.submitted_at")}, j.attained, j.times_taken, {_KEEPS_STATE}, {_ENDLESS},
        a.state = 'stopping', j.name, j.effective_spec->'resources', j.effective_spec->'alternatives',
        j.effective_spec->'replicas', j.effective_spec->'node_pools', {_SPEEDS}, j.restart_ms,
        {milliseconds("g.saved_at")}, u.attempt_id IS NOT NULL,
        j.effective_spec->>'lend', {milliseconds("o.offered_at")}, {milliseconds("o.busy_at")}, {_IMAGE},
        CASE WHEN w.leaves_at IS NOT NULL THEN w.nodes END)
        ORDER BY a.id)::text
   FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id
   LEFT JOIN jobs_attemptprogress g ON g.attempt_id = a.id
   LEFT JOIN jobs_guest u ON u.attempt_id = a.id LEFT JOIN jobs_offer o ON o.attempt_id = a.id
   LEFT JOIN jobs_straggler w ON w.attempt_id = a.id
  WHERE a.cell_id = $1 AND a.state <> 'ended' {changed.format("a")});
(SELECT json_agg(json_build_array(j.id, j.changed, j.name, j.team_id, j.organization_id, j.user_id,
        j.priority, j.preemptible, {milliseconds("j.submitted_at")}, {milliseconds("j.start_after")},
        j.version, j.set_id, s.cap, j.effective_spec->'min_runtime_ms', j.effective_spec->'max_duration_ms',
        j.effective_spec->'node_pools', j.effective_spec->'resources',
        j.effective_spec->'replicas', j.attained, j.times_taken, {_KEEPS_STATE}, {_ENDLESS},
        j.effective_spec->'alternatives', j.effective_spec->>'choose', {_SPEEDS}, j.restart_ms, {_IMAGE})
        ORDER BY j.id)::text
   FROM jobs_job j LEFT JOIN jobs_jobset s ON s.id = j.set_id
  WHERE j.cell_id = $1 AND j.state = {waits} {changed.format("j")} AND NOT {_QUARANTINED.format("j")});
(SELECT json_agg(json_build_array(c.id, c.changed, c.node_id, c.index, c.type, c.memory_mib, c.present,
        c.healthy AND c.cordoned_because = '', c.health, coalesce(t.speed, 1000), c.isolation, c.host_cpu_milli,
        c.used_milli > 0 OR c.guest_milli > 0) ORDER BY c.id)::text
   FROM cluster_chip c LEFT JOIN cluster_chiptype t ON t.name = c.type
  WHERE c.cell_id = $1 {changed.format("c")})""".split(";")  # noqa: S608 - constants alone


_LARGE = 3
"""How many tables at the end are parts by themselves."""
_INSTANT = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_postmaster_start_time()::text,
coalesce((SELECT y.values::text FROM scheduling_cellpolicy y WHERE y.cell_id = $1), '{}')"""
_MARKS_OF_CHANGES = f"""
(SELECT json_agg(json_build_array(j.id, j.changed))::text FROM jobs_job j
  WHERE j.cell_id = $1 AND j.changed {_SINCE}
    AND (j.state <> 'queued' OR {_QUARANTINED.format("j")})),
(SELECT json_agg(json_build_array(a.id, a.changed))::text FROM jobs_attempt a
  WHERE a.cell_id = $1 AND a.changed {_SINCE} AND a.state = 'ended'),
(SELECT json_agg(json_build_array(r.kind, r.row, r.changed))::text FROM scheduling_removal r
  WHERE r.changed {_SINCE})"""  # noqa: S608 - constants alone
_TEAMS_IF_ANY_CHANGED = f"""
  WHERE EXISTS (SELECT 1 FROM tenancy_team x WHERE x.changed {_SINCE})
     OR EXISTS (SELECT 1 FROM tenancy_quota x WHERE x.cell_id = $1 AND x.changed {_SINCE})
     OR EXISTS (SELECT 1 FROM scheduling_pastuse x WHERE x.cell_id = $1 AND x.changed {_SINCE})
     OR EXISTS (SELECT 1 FROM scheduling_removal x
                 WHERE x.changed {_SINCE} AND x.kind IN ('team', 'quota'))"""  # noqa: S608 - constants alone
_CHANGES = ",".join(
    [
        _INSTANT,
        *_tables(changed=f"AND {{}}.changed {_SINCE}", teams=_TEAMS_IF_ANY_CHANGED, waits="$3::text"),
        _MARKS_OF_CHANGES,
    ]
)


def _in_parts(tables: list[str]) -> str:
    """One statement that answers all that is small in its first row, then each large table in a row of its own, each as
    soon as it has been read: what the server has to send waits in a buffer of 8 KiB until that is full, so behind each
    part a row of that length pushes it out."""
    small = len(tables) - _LARGE
    held = [range(small), *([place] for place in range(small, len(tables)))]
    nothing = ["NULL::text"] * len(tables)
    pushes = ", ".join(["SELECT NULL::bigint", "repeat(' ', 8192)", "NULL::text", *nothing])
    parts = [
        ",".join([_INSTANT, *(tables[at] if at in part else nothing[at] for at in range(len(tables)))])
        for part in held
    ]
    return f" UNION ALL {pushes} UNION ALL ".join(parts)


_EVERYTHING = _in_parts(_tables(changed="", teams="", waits=f"'{WAITS}'"))
