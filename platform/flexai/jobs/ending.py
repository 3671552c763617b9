"""How attempts end: the only code that frees what an attempt held and moves its job on (law 5).

One transaction per batch, a fixed number of statements however many attempts end. What an attempt holds is read from
its rows: host CPU and memory of its replicas, its active allocations, and the team use of each chip type.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from flexai.common.database import Cursor, Writes, as_rows, gathered, prepared_cursor
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.dependencies import settle_dependents_on_commit
from flexai.jobs.history import MAX_SENTENCE, Happened, write_history
from flexai.jobs.ledger import write_lines
from flexai.jobs.locking import LockedAttempt, lock_attempts
from flexai.jobs.sizing import grow_back
from scheduler_core.lifecycle import (
    FINAL_JOB_STATES,
    GROWN,
    AttemptEvent,
    AttemptState,
    JobEvent,
    JobState,
    Next,
    Outcome,
    Retry,
    after_attempt,
    move_attempt,
    move_job,
    status_word,
)

TAKEN_FOR_OTHERS = frozenset({Outcome.PREEMPTED, Outcome.RESIZED, Outcome.MOVED})
"""What an attempt that ended so had since its last checkpoint was lost for others: no past use of its team (R3)."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How one attempt ended."""

    attempt_pk: int
    outcome: Outcome
    exit_code: int | None = None
    reason_code: str = ""
    """Empty: the outcome is the code."""
    sentence: str = ""
    """For people; empty: the lifecycle's own words."""
    cpu_time_ms: int | None = None
    """None: what its replicas reported so far."""
    memory_peak_mib: int | None = None
    use_permille: int | None = None
    ended_at: datetime | None = None
    """When, by what the node said; None: `at`."""


def end_attempts(endings: Sequence[Ending], *, actor: str, at: datetime) -> int:
    """Each live attempt named is ended, its replicas too, and all it held is free; its job has moved on.

    Attempts that have ended before are left alone. Returns how many ended now. The caller has reason to know that
    nothing of the attempt runs any more: the agent said so, or the lease is provably over.
    """
    by_pk = {ending.attempt_pk: ending for ending in endings}
    with transaction.atomic(), prepared_cursor() as cursor:
        attempts = lock_attempts(cursor, by_pk)
        if attempts:
            pks = [attempt.pk for attempt in attempts]
            for attempt in attempts:
                if any(replica.state != "ended" for replica in attempt.replicas):
                    attempt.energy_mj = None
            cursor.execute(_END_REPLICAS, [as_rows([_replica_row(by_pk[pk]) for pk in pks])], prepare=True)
            end_locked(cursor, [(attempt, by_pk[attempt.pk]) for attempt in attempts], actor=actor, at=at)
    return len(attempts)


def end_locked(
    cursor: Cursor, endings: Sequence[tuple[LockedAttempt, Ending]], *, actor: str, at: datetime
) -> None:
    """The same for attempts that the caller holds under lock and whose replicas it has marked as ended."""
    attempts = [attempt for attempt, _ in endings]
    ended = {
        attempt.pk: max(min(ending.ended_at or at, at), attempt.placed_at) for attempt, ending in endings
    }
    held_ms = {attempt.pk: (ended[attempt.pk] - attempt.placed_at) // _MILLISECOND for attempt in attempts}
    lost_ms = {
        attempt.pk: _lost_ms(attempt, ended[attempt.pk])
        for attempt, ending in endings
        if ending.outcome in TAKEN_FOR_OTHERS
    }
    held = _held(cursor, attempts, {pk: held - lost_ms.get(pk, 0) for pk, held in held_ms.items()})
    nexts = [next_of(attempt, ending, at) for attempt, ending in endings]
    history: list[Happened] = []
    hints: list[Hint] = []
    attempt_rows: list[dict[str, object]] = []
    job_rows: list[dict[str, object]] = []
    for (attempt, ending), after in zip(endings, nexts, strict=True):
        ended_at = ended[attempt.pk]
        sentence = (ending.sentence or after.sentence)[:MAX_SENTENCE]
        attempt_rows.append(_attempt_row(attempt, ending, sentence, ended_at))
        job_rows.append(
            _job_row(attempt, ending, after, ended_at, held.charges[attempt.pk] * held_ms[attempt.pk] // 1000)
        )
        history += _told(attempt, ending, after, sentence, actor, ended_at)
        hints.append(_hint(attempt, after))
    grown = [a.job_pk for a, after in zip(attempts, nexts, strict=True) if after.reason_code == GROWN]
    with gathered(cursor) as later:
        _free(later, held)
        later.execute(_END_ATTEMPTS, [as_rows(attempt_rows)], prepare=True)
        write_lines(later, [attempt.pk for attempt in attempts])
        later.execute(_MOVE_JOBS, [as_rows(job_rows)], prepare=True)
        if grown:
            grow_back(later, grown)
        write_history(later, history)
    publish_on_commit(hints=hints)
    final = [a.job_pk for a, after in zip(attempts, nexts, strict=True) if after.state in FINAL_JOB_STATES]
    if final:
        settle_dependents_on_commit(final)
    for cell in {attempt.cell_pk for attempt in attempts}:
        publish_on_commit(cell=cell)


_END_REPLICAS = """
UPDATE jobs_replica r SET state = 'ended', outcome = u.outcome, sentence = u.sentence
FROM json_to_recordset(%s::json) AS u(attempt bigint, outcome text, sentence text)
WHERE r.attempt_id = u.attempt AND r.state <> 'ended'
"""

_END_ATTEMPTS = """
UPDATE jobs_attempt a SET state = 'ended', outcome = u.outcome, exit_code = u.exit_code, reason_code = u.reason_code,
    sentence = u.sentence, running_at = u.running_at, stopping_at = u.stopping_at, ended_at = u.ended_at,
    cpu_time_ms = u.cpu_time_ms, memory_peak_mib = u.memory_peak_mib, use_permille = u.use_permille,
    energy_mj = u.energy_mj, contact_ok = true, version = a.version + 1,
    changed = pg_current_xact_id()::text::bigint
FROM json_to_recordset(%s::json) AS u(
    id bigint, outcome text, exit_code int, reason_code text, sentence text, running_at timestamptz,
    stopping_at timestamptz, ended_at timestamptz, cpu_time_ms bigint, memory_peak_mib int, use_permille int,
    energy_mj bigint)
WHERE a.id = u.id
"""

_MOVE_JOBS = """
UPDATE jobs_job j SET state = u.state, status = u.state, reason_code = u.reason_code, sentence = u.sentence,
    exit_code = u.exit_code, outcome = u.outcome, failures = u.failures, ended_at = u.ended_at,
    started_at = coalesce(u.started_at, j.started_at), version = u.version,
    changed = pg_current_xact_id()::text::bigint,
    attained = j.attained + u.service, times_taken = j.times_taken + CASE
        WHEN u.taken = 0 OR EXISTS (SELECT 1 FROM jobs_attempt a JOIN jobs_guest g ON g.attempt_id = a.id
                                     WHERE a.job_id = j.id AND a.number = j.attempts_count) THEN 0 ELSE 1 END
FROM json_to_recordset(%s::json) AS u(
    id bigint, state text, reason_code text, sentence text, exit_code int, outcome text, failures int,
    ended_at timestamptz, started_at timestamptz, version int, service bigint, taken int)
WHERE j.id = u.id
"""


def _replica_row(ending: Ending) -> dict[str, object]:
    return {
        "attempt": ending.attempt_pk,
        "outcome": ending.outcome.value,
        "sentence": ending.sentence[:MAX_SENTENCE],
    }


def next_of(attempt: LockedAttempt, ending: Ending, now: datetime) -> Next:
    """What becomes now of the job of an attempt that ended so. Raises IllegalMove where it cannot end or move on."""
    move_attempt(attempt.state, AttemptEvent.END)
    after = after_attempt(
        ending.outcome,
        exit_code=ending.exit_code,
        failures=attempt.failures,
        retry=_retry(attempt.retry),
        cancel_requested=attempt.cancel_requested,
        past_deadline=attempt.is_past_deadline(now),
        was_sized_down=attempt.was_sized_down,
    )
    move_job(attempt.job_state, _JOB_EVENT[after.state])
    return after


_JOB_EVENT: Mapping[JobState, JobEvent] = {
    JobState.QUEUED: JobEvent.REQUEUE,
    JobState.SUCCEEDED: JobEvent.SUCCEED,
    JobState.FAILED: JobEvent.FAIL,
    JobState.CANCELLED: JobEvent.CANCEL,
    JobState.TIMED_OUT: JobEvent.TIME_OUT,
}


def _lost_ms(attempt: LockedAttempt, ended_at: datetime) -> int:
    """For how long it had its chips in vain: since its last observed checkpoint, without one since its start (R3)."""
    saved_at = min(max(attempt.saved_at or attempt.placed_at, attempt.placed_at), ended_at)
    return (ended_at - saved_at) // _MILLISECOND


def _retry(given: Mapping[str, Any]) -> Retry:
    if not given.get("limit"):
        return Retry()
    on = frozenset(Outcome(word) for word in given.get("on", ()))
    return Retry(int(given["limit"]), on, frozenset(given.get("exit_codes", ())))


def _attempt_row(
    attempt: LockedAttempt, ending: Ending, sentence: str, ended_at: datetime
) -> dict[str, object]:
    use, peak, cpu = ending.use_permille, ending.memory_peak_mib, ending.cpu_time_ms
    return {
        "id": attempt.pk,
        "outcome": ending.outcome.value,
        "exit_code": ending.exit_code,
        "reason_code": ending.reason_code or ending.outcome.value,
        "sentence": sentence,
        "running_at": attempt.running_at,
        "stopping_at": attempt.stopping_at,
        "ended_at": ended_at,
        "cpu_time_ms": attempt.cpu_time_ms if cpu is None else cpu,
        "memory_peak_mib": attempt.memory_peak_mib if peak is None else peak,
        "use_permille": attempt.use_permille if use is None else use,
        "energy_mj": attempt.energy_mj,
    }


def _job_row(
    attempt: LockedAttempt, ending: Ending, after: Next, ended_at: datetime, service: int
) -> dict[str, object]:
    """`service` is what the attempt had, in chip-milliseconds."""
    is_final = after.state in FINAL_JOB_STATES
    return {
        "id": attempt.job_pk,
        "state": status_word(after.state, None, True, False),
        "reason_code": after.reason_code,
        "sentence": _job_sentence(ending, after),
        "exit_code": ending.exit_code,
        "outcome": ending.outcome.value,
        "failures": attempt.failures + after.counts_as_failure,
        "ended_at": ended_at if is_final else None,
        "started_at": attempt.running_at,
        "version": attempt.job_version + 1,
        "service": service,
        "taken": int(ending.outcome is Outcome.PREEMPTED),
    }


_MILLISECOND = timedelta(milliseconds=1)


def _job_sentence(ending: Ending, after: Next) -> str:
    """What the attempt said comes first, then what follows from it."""
    if not ending.sentence or after.state in (JobState.SUCCEEDED, JobState.CANCELLED):
        return after.sentence
    return f"{ending.sentence} {after.sentence}"[:MAX_SENTENCE]


def _told(
    attempt: LockedAttempt, ending: Ending, after: Next, sentence: str, actor: str, at: datetime
) -> list[Happened]:
    facts: dict[str, object] = {"outcome": ending.outcome.value}
    if ending.exit_code is not None:
        facts["exit_code"] = ending.exit_code
    ended = Happened(
        at=at, kind="attempt.ended", sentence=sentence, actor=actor, organization=attempt.organization_pk,
        job=attempt.job_pk, attempt=attempt.number, from_state=attempt.state, to_state=AttemptState.ENDED,
        reason_code=ending.reason_code or ending.outcome.value, facts=facts,
    )  # fmt: skip
    moved = Happened(
        at=at, kind=f"job.{after.state.value}", sentence=after.sentence, actor="platform",
        organization=attempt.organization_pk, job=attempt.job_pk, attempt=attempt.number,
        from_state=attempt.job_state, to_state=after.state, reason_code=after.reason_code,
    )  # fmt: skip
    return [ended, moved]


def _hint(attempt: LockedAttempt, after: Next) -> Hint:
    return Hint(
        "job", attempt.job_id, attempt.job_version + 1, attempt.team_id, {"status": after.state.value}
    )


# --- what an attempt held ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Held:
    """Sums over the attempts that end together."""

    cpu: Counter[int]
    memory: Counter[int]
    chips: dict[int, list[int]]
    """chip → [owned milli, owned MiB, guest milli, guest MiB]"""
    teams: Counter[tuple[int, int, str]]
    """(cell, team, chip type) → milli; guests use no quota (T3)."""
    charges: Counter[int]
    """attempt → milli, all types together"""
    service: Counter[tuple[int, int, str]]
    """(cell, team, chip type) → milli-chips × ms"""


def _free(cursor: Writes, held: _Held) -> None:
    """What the attempts held is free, and is past use of their teams."""
    nodes = [
        {"id": node, "cpu": held.cpu[node], "memory": held.memory[node]}
        for node in sorted(held.cpu | held.memory)
    ]
    if nodes:
        cursor.execute(_FREE_NODES, [as_rows(nodes)], prepare=True)
    if held.chips:
        rows = [
            {"id": chip, "milli": owned, "memory": memory, "guest": guest, "guest_memory": guest_memory}
            for chip, (owned, memory, guest, guest_memory) in sorted(held.chips.items())
        ]
        cursor.execute(_FREE_CHIPS, [as_rows(rows)], prepare=True)
    if held.teams:
        uses = [
            {
                "cell": cell,
                "team": team,
                "type": chip_type,
                "milli": milli,
                "service": held.service[cell, team, chip_type] // 1000,
            }
            for (cell, team, chip_type), milli in sorted(held.teams.items())
        ]
        cursor.execute(_FREE_TEAMS, [as_rows(uses)], prepare=True)


_TAKE_BACK = """
UPDATE jobs_allocation l SET active = false FROM cluster_chip c
WHERE l.attempt_id = ANY(%s) AND l.active AND c.id = l.chip_id
RETURNING l.attempt_id, l.chip_id, c.node_id, c.type, l.kind, l.milli, l.memory_mib, l.charge_milli, l.cpu_milli
"""

_FREE_NODES = """
WITH freed AS (
    SELECT n.id, u.cpu, u.memory FROM json_to_recordset(%s::json) AS u(id bigint, cpu bigint, memory bigint)
    JOIN cluster_node n ON n.id = u.id ORDER BY n.id FOR NO KEY UPDATE OF n)
UPDATE cluster_node n
SET used_cpu_milli = n.used_cpu_milli - freed.cpu, used_memory_mib = n.used_memory_mib - freed.memory,
    cpu_ceiling_milli = greatest(n.cpu_milli, n.used_cpu_milli - freed.cpu),
    memory_ceiling_mib = greatest(n.memory_mib, n.used_memory_mib - freed.memory)
FROM freed WHERE n.id = freed.id
"""

_FREE_CHIPS = """
WITH freed AS (
    SELECT c.id, u.milli, u.memory, u.guest, u.guest_memory
    FROM json_to_recordset(%s::json) AS u(id bigint, milli int, memory int, guest int, guest_memory int)
    JOIN cluster_chip c ON c.id = u.id ORDER BY c.id FOR NO KEY UPDATE OF c)
UPDATE cluster_chip c
SET used_milli = c.used_milli - freed.milli, used_memory_mib = c.used_memory_mib - freed.memory,
    guest_milli = c.guest_milli - freed.guest, guest_memory_mib = c.guest_memory_mib - freed.guest_memory,
    memory_ceiling_mib = greatest(
        c.memory_mib, c.used_memory_mib - freed.memory + c.guest_memory_mib - freed.guest_memory)
FROM freed WHERE c.id = freed.id
"""

_FREE_TEAMS = """
WITH RECURSIVE given AS (
    SELECT * FROM json_to_recordset(%s::json) AS u(
        cell bigint, team bigint, type text, milli bigint, service bigint)),
line AS (
    SELECT DISTINCT team AS leaf, team AS id FROM given
    UNION SELECT line.leaf, t.parent_id FROM line JOIN tenancy_team t ON t.id = line.id WHERE t.parent_id IS NOT NULL),
total AS (
    SELECT given.cell, line.id AS team, given.type, sum(given.milli) AS milli, sum(given.service) AS service
    FROM line JOIN given ON given.team = line.leaf GROUP BY 1, 2, 3),
freed AS (
    SELECT u.id, total.milli, total.service FROM total
    JOIN tenancy_teamuse u ON u.cell_id = total.cell AND u.team_id = total.team AND u.chip_type = total.type
    ORDER BY u.id FOR NO KEY UPDATE OF u)
UPDATE tenancy_teamuse u SET used_milli = u.used_milli - freed.milli, accrued = u.accrued + freed.service
FROM freed WHERE u.id = freed.id
"""


def _held(cursor: Cursor, attempts: Sequence[LockedAttempt], held_ms: Mapping[int, int]) -> _Held:
    """What the attempts held, which is not theirs any more; `held_ms` says how long they had it."""
    chips: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    held = _Held(Counter(), Counter(), chips, Counter(), Counter(), Counter())
    by_pk = {attempt.pk: attempt for attempt in attempts}
    for attempt in attempts:
        for replica in attempt.replicas:
            held.cpu[replica.node_pk] += replica.cpu_milli
            held.memory[replica.node_pk] += replica.memory_mib
    for row in cursor.execute(_TAKE_BACK, [list(by_pk)], prepare=True):
        attempt_pk, chip, node, chip_type, kind, milli, memory, charge, cpu = row
        sums = held.chips[chip]
        if kind == "guest":
            sums[2] += milli
            sums[3] += memory
            continue
        sums[0] += milli
        sums[1] += memory
        held.cpu[node] += cpu
        attempt = by_pk[attempt_pk]
        held.teams[attempt.cell_pk, attempt.team_pk, chip_type] += charge
        held.charges[attempt_pk] += charge
        held.service[attempt.cell_pk, attempt.team_pk, chip_type] += charge * held_ms[attempt_pk]
    return held
