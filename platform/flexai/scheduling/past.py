"""What a cell was asked for in a stretch of time, and what became of it: the history that `flexai simulate` reads (X4).

A job counts from the instant at which it waited for chips, and for as long as it really ran: what an attempt did after
its last checkpoint and lost, because it was interrupted, was waiting. What lies outside the stretch is cut off; who was
there before it comes at its beginning, those that ran first. Jobs without chips hold none and are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from flexai.common import clock
from flexai.common.database import Cursor, prepared_cursor
from flexai.common.errors import InvalidInput
from scheduler_core.lifecycle import INTERRUPTIONS
from scheduler_core.model import WHOLE_CHIP

VERSION: Final = 1
"""Of the format (`docs/simulation.md`)."""
MOST_JOBS: Final = 50_000
LONGEST: Final = timedelta(days=31)
MOST_CHIPS: Final = 64
"""Of one node of the format; a node with more is told as several."""


@dataclass(frozen=True, slots=True)
class PastJob:
    """One job that ran on chips."""

    line: dict[str, Any]
    """As the format has it."""
    waited_ms: int
    """Of the time until its last end within the stretch, what it did not run."""
    ended_ms: int
    """That end, in milliseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Past:
    """What became of a cell in a stretch of time."""

    header: dict[str, Any]
    jobs: tuple[PastJob, ...]
    """In the order in which they come."""
    held_chip_ms: int
    """Chip-milliseconds that jobs really had; what was lent was its owner's."""

    def lines(self) -> Iterator[bytes]:
        """The file, line by line."""
        for row in (self.header, *(job.line for job in self.jobs)):
            yield msgspec.json.encode(row) + b"\n"


def past_of(cell_id: int, since: datetime, until: datetime, *, organization: int | None = None) -> Past:
    """What became of the cell, or of one organization's jobs in it (primary key). Raises InvalidInput for a stretch
    that is empty or longer than `LONGEST`, or in which more than `MOST_JOBS` ran."""
    if not timedelta(0) < until - since <= LONGEST:
        raise InvalidInput(f"A history covers more than nothing and at most {LONGEST.days} days.")
    asked = {"cell": cell_id, "since": since, "until": until, "organization": organization}
    with prepared_cursor() as cursor:
        attempts = _attempts(cursor, asked)
        if len(attempts) > MOST_JOBS:
            raise InvalidInput(f"More than {MOST_JOBS} jobs ran in that time; ask for a shorter one.")
        rows = cursor.execute(_JOBS, {"jobs": list(attempts), "since": since}).fetchall()
        header = _header(cursor, asked)
    made = [_Job(row, attempts[row[0]], since, until, with_slug=organization is None) for row in rows]
    jobs = sorted((job for job in made if job.run_ms > 0), key=_Job.order)
    held = sum(job.held_chip_ms for job in made)
    return Past(header, tuple(job.told() for job in jobs), held)


@dataclass(frozen=True, slots=True)
class _Attempt:
    outcome: str
    placed_at: datetime
    running_at: datetime | None
    ended_at: datetime | None
    saved_at: datetime | None
    replicas: int
    milli: int
    owned: int


class _Job:
    """One job with the attempts that it had in the stretch, in order."""

    def __init__(
        self,
        row: Sequence[Any],
        attempts: Sequence[_Attempt],
        since: datetime,
        until: datetime,
        *,
        with_slug: bool,
    ) -> None:
        self.pk, slug, team, queued_at, resources, others = row
        self.asked = [msgspec.json.decode(resources), *(msgspec.json.decode(others or b"[]"))]
        self.team = f"{slug}/{team}" if with_slug else team
        self.attempts = attempts
        first = attempts[0].placed_at
        self.ran_before = first < since
        self.came = min(max(queued_at or first, since), max(first, since))
        ends = [min(one.ended_at or until, until) for one in attempts]
        self.ended = max(ends)
        last = attempts[-1]
        self.replicas = last.replicas
        self.milli = max(1, last.milli)
        chip_ms = sum(_useful_ms(one, since, until) * one.milli for one in attempts)
        self.run_ms = chip_ms // self.milli
        spans = [_ms(end - max(one.placed_at, since)) for one, end in zip(attempts, ends, strict=True)]
        self.held_chip_ms = (
            sum(max(0, span) * one.owned for one, span in zip(attempts, spans, strict=True)) // 1000
        )

    def order(self) -> tuple[datetime, bool, int]:
        """Who ran before the stretch comes first of those that come at its beginning."""
        return self.came, not self.ran_before, self.pk

    def told(self) -> PastJob:
        each = max(1, self.milli // self.replicas)
        named = [kind for one in self.asked for kind in one["chip_types"]]
        anything = any(not one["chip_types"] for one in self.asked)
        chips = {"milli_chips": each} if each < WHOLE_CHIP else {"chips": -(-each // WHOLE_CHIP)}
        optional = {
            "replicas": self.replicas if self.replicas > 1 else 0,
            "chip_types": [] if anything else sorted(set(named)),
            "cpu_millicores": self.asked[0]["cpu_milli"],
            "memory_mib": self.asked[0]["memory_mib"],
        }
        line = {"team": self.team, "submitted_ms": clock.to_ms(self.came), "run_ms": self.run_ms, **chips}
        line |= {key: value for key, value in optional.items() if value}
        waited = max(0, _ms(self.ended - self.came) - self.run_ms)
        return PastJob(line, waited, clock.to_ms(self.ended))


def _useful_ms(attempt: _Attempt, since: datetime, until: datetime) -> int:
    """How long the attempt did what it did not have to do again."""
    began = attempt.running_at or attempt.placed_at
    end = attempt.ended_at or until
    if attempt.ended_at is not None and attempt.outcome in INTERRUPTIONS:
        end = min(end, max(attempt.saved_at or began, began))
    return max(0, _ms(min(end, until) - max(began, since)))


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _attempts(cursor: Cursor, asked: Mapping[str, Any]) -> dict[int, list[_Attempt]]:
    found: dict[int, list[_Attempt]] = {}
    for job, *row in cursor.execute(_ATTEMPTS, {**asked, "limit": MOST_JOBS + 1}):
        found.setdefault(job, []).append(_Attempt(*row))
    return found


def _header(cursor: Cursor, asked: Mapping[str, Any]) -> dict[str, Any]:
    since, until = asked["since"], asked["until"]
    about = (
        f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC, on the nodes and with the quotas of now. "
        "Jobs without chips are left out; what lies outside is cut off."
    )
    groups: Counter[tuple[int, str, int | None, int | None]] = Counter()
    for chips, kind, cpu, memory in cursor.execute(_NODES, asked):
        for part in _parts(chips):
            shares = [None if whole is None else whole * part // chips for whole in (cpu, memory)]
            groups[part, kind, shares[0], shares[1]] += 1
    return {
        "flexai_history": VERSION,
        "name": f"{cursor.execute(_NAME, asked).fetchall()[0][0]}, {since:%Y-%m-%d}",
        "about": about,
        "nodes": [_group(key, count) for key, count in sorted(groups.items(), key=str)],
        "quotas": list(_quotas(cursor.execute(_QUOTAS, asked), with_slug=asked["organization"] is None)),
    }


def _parts(chips: int) -> Iterator[int]:
    while chips > 0:
        yield min(chips, MOST_CHIPS)
        chips -= MOST_CHIPS


def _group(key: tuple[int, str, int | None, int | None], count: int) -> dict[str, Any]:
    chips, kind, cpu, memory = key
    limits = {"cpu_millicores": cpu, "memory_mib": memory}
    group = {"count": count, "chips": chips, "chip_type": kind}
    return group | {name: value for name, value in limits.items() if value is not None}


def _quotas(rows: Iterable[Sequence[Any]], *, with_slug: bool) -> Iterator[dict[str, Any]]:
    for slug, team, kind, guaranteed, limit in rows:
        told = {
            "team": f"{slug}/{team}" if with_slug else team, "chip_type": kind,
            "guaranteed_chips": guaranteed // WHOLE_CHIP,
        }  # fmt: skip
        if limit is not None:
            told["limit_chips"] = max(told["guaranteed_chips"], limit // WHOLE_CHIP)
        if told["guaranteed_chips"] or limit is not None:
            yield told


_ATTEMPTS = """
WITH there AS (
    SELECT a.id, a.job_id, a.number, a.outcome, a.placed_at, a.running_at, a.ended_at
    FROM jobs_attempt a
    WHERE a.cell_id = %(cell)s AND a.placed_at < %(until)s AND (a.ended_at IS NULL OR a.ended_at > %(since)s)
      AND (%(organization)s::bigint IS NULL OR a.organization_id = %(organization)s)
      AND EXISTS (SELECT 1 FROM jobs_allocation l WHERE l.attempt_id = a.id)
), of_jobs AS (
    SELECT DISTINCT job_id FROM there ORDER BY job_id LIMIT %(limit)s
)
SELECT t.job_id, t.outcome, t.placed_at, t.running_at, t.ended_at,
    CASE WHEN coalesce(j.effective_spec->>'checkpoint_path', '') <> '' THEN p.saved_at END,
    h.replicas, h.milli, h.owned
FROM there t JOIN of_jobs USING (job_id) JOIN jobs_job j ON j.id = t.job_id
JOIN LATERAL (
    SELECT count(DISTINCT l.replica_id)::int AS replicas, sum(l.milli)::bigint AS milli,
        coalesce(sum(l.milli) FILTER (WHERE l.kind = 'owned'), 0)::bigint AS owned
    FROM jobs_allocation l WHERE l.attempt_id = t.id) h ON true
LEFT JOIN jobs_attemptprogress p ON p.attempt_id = t.id
ORDER BY t.job_id, t.number
"""
_JOBS = """
SELECT j.id, o.slug, t.name, (
        SELECT max(e.at) FROM jobs_event e
        WHERE e.job_id = j.id AND e.to_state = 'queued'
          AND e.kind IN ('job.submitted', 'job.released', 'job.resumed', 'job.requeued')
          AND e.at <= (SELECT min(a.placed_at) FROM jobs_attempt a
                        WHERE a.job_id = j.id AND (a.ended_at IS NULL OR a.ended_at > %(since)s))),
    (j.effective_spec->'resources')::text, (j.effective_spec->'alternatives')::text
FROM jobs_job j JOIN tenancy_team t ON t.id = j.team_id JOIN tenancy_organization o ON o.id = j.organization_id
WHERE j.id = ANY(%(jobs)s)
"""
_NODES = """
SELECT c.chips::int, c.type, CASE WHEN c.claims = 0 THEN n.cpu_milli * c.chips / a.chips END,
    n.memory_mib * c.chips / a.chips
FROM cluster_node n
JOIN (SELECT node_id, type, count(*) AS chips, sum(host_cpu_milli) AS claims FROM cluster_chip
       WHERE present AND NOT EXISTS (SELECT 1 FROM cluster_chip i WHERE i.parent_id = cluster_chip.id AND i.present)
       GROUP BY node_id, type) c ON c.node_id = n.id
JOIN (SELECT node_id, count(*) AS chips FROM cluster_chip
       WHERE present AND NOT EXISTS (SELECT 1 FROM cluster_chip i WHERE i.parent_id = cluster_chip.id AND i.present)
       GROUP BY node_id) a ON a.node_id = n.id
WHERE n.cell_id = %(cell)s AND n.state <> 'dead' AND n.cpu_milli > 0
ORDER BY n.id, c.type
"""
_NAME = "SELECT name FROM cluster_cell WHERE id = %(cell)s"
_QUOTAS = """
SELECT o.slug, t.name, q.chip_type, q.guaranteed_milli, q.limit_milli
FROM tenancy_quota q JOIN tenancy_team t ON t.id = q.team_id JOIN tenancy_organization o ON o.id = t.organization_id
WHERE q.cell_id = %(cell)s AND (%(organization)s::bigint IS NULL OR t.organization_id = %(organization)s)
ORDER BY o.slug, t.name, q.chip_type
"""
