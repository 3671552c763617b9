"""What agents report about replicas, taken by the batch: one transaction for everything that came together.

Promises: a report moves only a live attempt's replica on the reporting node (law 5); doubled, late and outdated reports
change nothing; reports about another node's replica are refused and recorded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from flexai.cluster.history import NodeHappened, write_node_history
from flexai.common import clock
from flexai.common.database import Cursor, Writes, as_rows, gathered, prepared_cursor
from flexai.common.errors import InvalidInput
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.ending import Ending, end_locked
from flexai.jobs.folding import Folded, ReplicaMove, fold
from flexai.jobs.guests import take_notes
from flexai.jobs.history import MAX_SENTENCE, Happened, write_history
from flexai.jobs.images import is_digest
from flexai.jobs.locking import LockedAttempt, LockedReplica, lock_attempts, lock_attempts_named
from flexai.jobs.pulling import take_pulls
from node_agent import protocol
from scheduler_core.lifecycle import AttemptState, Outcome, status_word

MAX_REPORTS = 500
"""Items of one message (the protocol's bound)."""
MAX_INT32 = 2**31 - 1
MAX_INT64 = 2**63 - 1
MAX_ENERGY_MJ = 10**15
"""Of one replica: what 100 kW are in a hundred days. So that no sum of a day leaves its column."""
_OUTCOMES = frozenset(outcome.value for outcome in Outcome)


@dataclass(slots=True)
class Taken:
    """What became of a batch."""

    moved: int = 0
    """Reports about live attempts of their own node."""
    ignored: int = 0
    """Reports of attempts that are unknown or over."""
    foreign: dict[int, list[str]] = field(default_factory=dict)
    """node → ids of attempts that it spoke about and that have no such replica there."""


def check_reports(items: Sequence[protocol.ReplicaReport]) -> None:
    """Raises InvalidInput when the message breaks the protocol: its numbers, its outcomes, its size."""
    if len(items) > MAX_REPORTS:
        raise InvalidInput(f"A message has {len(items)} reports; at most {MAX_REPORTS} are accepted.")
    for item in items:
        if item.state == "ended" and item.outcome not in _OUTCOMES:
            raise InvalidInput(f"Report of {item.attempt[:40]!r}: unknown outcome {item.outcome[:40]!r}.")
        numbers = (item.replica, item.memory_peak_mib, abs(item.exit_code or 0), item.use_permille or 0)
        if not all(0 <= number <= MAX_INT32 for number in numbers):
            raise InvalidInput(f"Report of {item.attempt[:40]!r}: a number is out of range.")
        if item.image and not is_digest(item.image):
            raise InvalidInput(f"Report of {item.attempt[:40]!r}: its image is no digest.")
        if not 0 <= (item.energy_mj or 0) <= MAX_ENERGY_MJ:
            raise InvalidInput(f"Report of {item.attempt[:40]!r}: nothing draws so much energy.")
        if not all(0 <= number <= MAX_INT64 for number in (item.at, item.log_size, item.cpu_time_ms)):
            raise InvalidInput(f"Report of {item.attempt[:40]!r}: a number is out of range.")


def take_reports(
    node_pk: int, items: Sequence[protocol.ReplicaReport], *, at: datetime | None = None
) -> Taken:
    """Everything that one node reports, committed. Raises InvalidInput when the message breaks the protocol."""
    check_reports(items)
    return take_reports_of({node_pk: items}, at=at or clock.now())


def take_reports_of(reports: Mapping[int, Sequence[protocol.ReplicaReport]], *, at: datetime) -> Taken:
    """What several nodes (primary keys) report, in one transaction. The items have passed `check_reports`."""
    taken = Taken()
    with transaction.atomic(), prepared_cursor() as cursor:
        names = {item.attempt for items in reports.values() for item in items}
        attempts = {attempt.attempt_id: attempt for attempt in lock_attempts_named(cursor, names)}
        moves: dict[str, list[ReplicaMove]] = defaultdict(list)
        notes: list[tuple[LockedAttempt, protocol.ReplicaReport]] = []
        pulls: list[tuple[LockedAttempt, protocol.ReplicaReport]] = []
        for node_pk, items in reports.items():
            for item in items:
                attempt = attempts.get(item.attempt)
                if attempt is None:
                    taken.ignored += 1
                elif not lives_on(attempt, item.replica, node_pk):
                    taken.foreign.setdefault(node_pk, []).append(item.attempt)
                elif item.note:
                    taken.moved += 1
                    (pulls if item.note == "pulling" else notes).append((attempt, item))
                else:
                    taken.moved += 1
                    moves[item.attempt].append(as_move(item, at))
        folded = [fold(attempts[name], items) for name, items in moves.items()]
        take_notes(cursor, notes, at)
        take_pulls(cursor, pulls, at)
        _write(cursor, folded, at=at, actor="agent")
        _record_foreign(cursor, taken.foreign, at)
    return taken


def end_replicas(
    ends: Mapping[int, Iterable[int]],
    *,
    outcome: Outcome,
    reason_code: str,
    sentence: str,
    actor: str,
    at: datetime,
) -> int:
    """The replicas (attempt → indices) have ended so, without their agents' word; returns how many ended now.

    Attempts end when all their replicas have; the other replicas of a gang are stopped first. For leases that are
    provably over, nodes that started anew, and nodes declared dead.
    """
    with transaction.atomic(), prepared_cursor() as cursor:
        folded = []
        for attempt in lock_attempts(cursor, ends):
            moves = [
                ReplicaMove(
                    index, "ended", at, outcome=outcome.value, reason_code=reason_code, sentence=sentence
                )
                for index in ends[attempt.pk]
            ]
            folded.append(fold(attempt, moves))
        _write(cursor, folded, at=at, actor=actor)
    return sum(len(fold.replicas) for fold in folded)


def lives_on(attempt: LockedAttempt, index: int, node_pk: int) -> bool:
    """Whether the node may speak of this replica."""
    return any(replica.index == index and replica.node_pk == node_pk for replica in attempt.replicas)


def as_move(item: protocol.ReplicaReport, now: datetime) -> ReplicaMove:
    """What the report says, within bounds; nothing happened later than `now`."""
    at = now
    if 0 < item.at < clock.to_ms(now):
        at = clock.from_ms(item.at)
    return ReplicaMove(
        index=item.replica,
        state=item.state,
        at=at,
        exit_code=item.exit_code,
        outcome=item.outcome,
        sentence=item.sentence.replace("\x00", "")[:MAX_SENTENCE],
        log_size=item.log_size,
        cpu_time_ms=item.cpu_time_ms,
        memory_peak_mib=item.memory_peak_mib,
        use_permille=None if item.use_permille is None else min(item.use_permille, 1000),
        energy_mj=item.energy_mj,
        image=item.image,
    )


_MOVE_REPLICAS = """
UPDATE jobs_replica r SET state = u.state, exit_code = u.exit_code, outcome = u.outcome, sentence = u.sentence,
    log_size = u.log_size, image = u.image
FROM json_to_recordset(%s::json) AS u(
    pk bigint, state text, exit_code int, outcome text, sentence text, log_size bigint, image text)
WHERE r.id = u.pk
"""

_MOVE_ATTEMPTS = """
UPDATE jobs_attempt a SET state = u.state, stop_outcome = u.stop_outcome, exit_code = u.exit_code,
    reason_code = u.reason_code, sentence = u.sentence, running_at = u.running_at, stopping_at = u.stopping_at,
    cpu_time_ms = u.cpu_time_ms, memory_peak_mib = u.memory_peak_mib, use_permille = u.use_permille,
    energy_mj = u.energy_mj, version = a.version + 1, changed = pg_current_xact_id()::text::bigint
FROM json_to_recordset(%s::json) AS u(
    pk bigint, state text, stop_outcome text, exit_code int, reason_code text, sentence text, running_at timestamptz,
    stopping_at timestamptz, cpu_time_ms bigint, memory_peak_mib int, use_permille int, energy_mj bigint)
WHERE a.id = u.pk
"""

_MOVE_JOBS = """
UPDATE jobs_job j SET status = u.status, sentence = u.sentence, reason_code = u.reason_code,
    started_at = u.started_at, version = u.version, changed = pg_current_xact_id()::text::bigint
FROM json_to_recordset(%s::json) AS u(
    id bigint, status text, sentence text, reason_code text, started_at timestamptz, version int)
WHERE j.id = u.id
"""


def _write(cursor: Cursor, folded: Sequence[Folded], *, at: datetime, actor: str) -> None:
    """Everything that moved, and the ends of those that are over."""
    changed = [one for one in folded if one.replicas]
    if not changed:
        return
    replicas: list[LockedReplica] = [replica for one in changed for replica in one.replicas]
    staying = [one for one in changed if one.over is None]
    with gathered(cursor) as later:
        later.execute(_MOVE_REPLICAS, [as_rows(replicas)], prepare=True)
        write_history(later, [row for one in changed for row in _told(one, actor, at)])
        if staying:
            _write_staying(later, staying)
    over = [(one.attempt, _ending(one)) for one in changed if one.over is not None]
    if over:
        end_locked(cursor, over, actor=actor, at=at)


def _write_staying(cursor: Writes, staying: Sequence[Folded]) -> None:
    cursor.execute(_MOVE_ATTEMPTS, [as_rows([_attempt_row(one.attempt) for one in staying])], prepare=True)
    moved = [one for one in staying if one.moves]
    if not moved:
        return
    cursor.execute(_MOVE_JOBS, [as_rows([_job_row(one) for one in moved])], prepare=True)
    publish_on_commit(hints=[_hint(one.attempt) for one in moved])
    peers = {
        replica.node_pk
        for one in moved
        if one.attempt.state is AttemptState.STOPPING
        for replica in one.attempt.replicas
        if replica.state != "ended"
    }
    if peers:
        publish_on_commit(nodes=peers)


def _attempt_row(attempt: LockedAttempt) -> dict[str, object]:
    return {
        "pk": attempt.pk,
        "state": attempt.state,
        "stop_outcome": attempt.stop_outcome,
        "exit_code": attempt.exit_code,
        "reason_code": attempt.reason_code,
        "sentence": attempt.sentence,
        "running_at": attempt.running_at,
        "stopping_at": attempt.stopping_at,
        "cpu_time_ms": attempt.cpu_time_ms,
        "memory_peak_mib": attempt.memory_peak_mib,
        "use_permille": attempt.use_permille,
        "energy_mj": attempt.energy_mj,
    }


def _job_row(one: Folded) -> dict[str, object]:
    last = one.moves[-1]
    return {
        "id": one.attempt.job_pk,
        "status": _word(one.attempt),
        "sentence": last.sentence,
        "reason_code": last.reason_code,
        "started_at": one.attempt.running_at,
        "version": one.attempt.job_version + 1,
    }


def _word(attempt: LockedAttempt) -> str:
    return status_word(attempt.job_state, attempt.state, attempt.contact_ok, attempt.cancel_requested)


def _hint(attempt: LockedAttempt) -> Hint:
    return Hint("job", attempt.job_id, attempt.job_version + 1, attempt.team_id, {"status": _word(attempt)})


def _ending(one: Folded) -> Ending:
    over = one.over
    if over is None:
        raise ValueError("the attempt is not over")
    return Ending(
        attempt_pk=one.attempt.pk,
        outcome=over.outcome,
        exit_code=over.exit_code,
        reason_code=over.reason_code,
        sentence=over.sentence,
        ended_at=over.at,
    )


def _told(one: Folded, actor: str, now: datetime) -> list[Happened]:
    attempt = one.attempt
    return [
        Happened(
            at=max(min(move.at, now), attempt.placed_at), kind=f"attempt.{move.to_state.value}",
            sentence=move.sentence, actor=actor, organization=attempt.organization_pk, job=attempt.job_pk,
            attempt=attempt.number, from_state=move.from_state, to_state=move.to_state,
            reason_code=move.reason_code,
        )
        for move in one.moves
    ]  # fmt: skip


FOREIGN_NAMED = 10
"""So many attempts are named in the record of a refusal."""


def _record_foreign(cursor: Cursor, foreign: Mapping[int, Sequence[str]], at: datetime) -> None:
    rows = [
        NodeHappened(
            at=at, kind="agent.refused", node=node_pk, actor="agent", reason_code="foreign",
            sentence=f"The agent reported on {len(names)} replicas that are not on its node; nothing was changed.",
            facts={"attempts": sorted(set(names))[:FOREIGN_NAMED]},
        )
        for node_pk, names in foreign.items()
    ]  # fmt: skip
    write_node_history(cursor, rows)
