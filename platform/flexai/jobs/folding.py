"""What reports make of an attempt: replicas only move forward, the attempt follows its replicas. Pure.

Everything is idempotent: a doubled, late or out-of-order report changes nothing, because a replica never moves back
and an ended one never moves again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from flexai.jobs.locking import LockedAttempt, LockedReplica
from scheduler_core.lifecycle import FAILURES, AttemptEvent, AttemptState, Outcome, move_attempt

RANK = {"placed": 0, "starting": 1, "running": 2, "stopping": 3, "ended": 4}
"""Order of a replica's states."""
RAN = frozenset({Outcome.SUCCEEDED, Outcome.EXIT, Outcome.OOM, Outcome.TIMED_OUT})
"""Outcomes that only a replica which ran can have."""
OWN_DOING = FAILURES | {Outcome.NODE_LOST}
"""As `stop_outcome` these say that the attempt stops because one of its replicas ended so; its peers are cancelled."""


@dataclass(frozen=True, slots=True)
class ReplicaMove:
    """One observed move of one replica of a locked attempt."""

    index: int
    state: str
    at: datetime
    exit_code: int | None = None
    outcome: str = ""
    reason_code: str = ""
    """Empty: the outcome is the code."""
    sentence: str = ""
    log_size: int | None = None
    """None: nobody knows. A replica given up for lost may have written what its node still sends."""
    cpu_time_ms: int = 0
    memory_peak_mib: int = 0
    use_permille: int | None = None
    energy_mj: int | None = None
    image: str = ""


@dataclass(frozen=True, slots=True)
class AttemptMove:
    """One move of an attempt, for its history."""

    from_state: AttemptState
    to_state: AttemptState
    at: datetime
    reason_code: str
    sentence: str


@dataclass(slots=True)
class Folded:
    """An attempt after its reports."""

    attempt: LockedAttempt
    moves: list[AttemptMove] = field(default_factory=list)
    replicas: list[LockedReplica] = field(default_factory=list)
    """Those that moved."""
    over: Over | None = None
    """Set when every replica has ended: the attempt is to be ended so."""


@dataclass(frozen=True, slots=True)
class Over:
    """How an attempt ended."""

    outcome: Outcome
    exit_code: int | None
    reason_code: str
    sentence: str
    at: datetime


def fold(attempt: LockedAttempt, moves: Iterable[ReplicaMove]) -> Folded:
    """The attempt, changed in place, with every move that took place; `over` when it is to end."""
    folded = Folded(attempt)
    by_index = {replica.index: replica for replica in attempt.replicas}
    for move in moves:
        replica = by_index.get(move.index)
        if replica is None or RANK[move.state] <= RANK[replica.state]:
            continue
        if replica not in folded.replicas:
            folded.replicas.append(replica)
        replica.state, replica.image = move.state, move.image or replica.image
        if move.state == "ended":
            _note_end(attempt, replica, move)
        _follow(folded, replica, move)
    return folded


def _note_end(attempt: LockedAttempt, replica: LockedReplica, move: ReplicaMove) -> None:
    unasked = move.outcome == Outcome.CANCELLED and attempt.state is not AttemptState.STOPPING
    lost = unasked and not attempt.cancel_requested
    replica.outcome = Outcome.PLATFORM_STOPPED.value if lost else move.outcome
    replica.exit_code, replica.sentence, replica.log_size = move.exit_code, move.sentence, move.log_size
    ended_before = sum(1 for peer in attempt.replicas if peer.state == "ended") - 1
    attempt.cpu_time_ms += move.cpu_time_ms
    attempt.memory_peak_mib = max(attempt.memory_peak_mib, move.memory_peak_mib)
    if move.use_permille is not None:
        before = (attempt.use_permille or 0) * ended_before
        attempt.use_permille = (before + move.use_permille) // (ended_before + 1)
    attempt.energy_mj = _energy(attempt.energy_mj, move.energy_mj, is_first=not ended_before)


def _energy(before: int | None, added: int | None, *, is_first: bool) -> int | None:
    """Of an attempt it is known when it is known of every replica."""
    if is_first:
        return added
    return None if before is None or added is None else before + added


def _follow(folded: Folded, replica: LockedReplica, move: ReplicaMove) -> None:
    """Move the attempt as its replicas now stand."""
    attempt = folded.attempt
    if attempt.state is AttemptState.PLACED and _began(move):
        _move(folded, AttemptEvent.START, move.at, "started", f"Taken up by {replica.node_name}.")
    if attempt.state in (AttemptState.PLACED, AttemptState.STARTING) and _all_run(attempt):
        attempt.running_at = max(move.at, attempt.placed_at)
        _move(folded, AttemptEvent.RUN, move.at, "running", f"Running on {_places(attempt)}.")
    if all(peer.state == "ended" for peer in attempt.replicas):
        folded.over = _over(attempt, replica, move)
    elif move.state == "ended" and replica.outcome != Outcome.SUCCEEDED:
        _stop_peers(folded, replica, move)


def _began(move: ReplicaMove) -> bool:
    return move.state in ("starting", "running") or (move.state == "ended" and move.outcome in RAN)


def _all_run(attempt: LockedAttempt) -> bool:
    return all(
        replica.state == "running" or (replica.state == "ended" and replica.outcome in RAN)
        for replica in attempt.replicas
    )


def _stop_peers(folded: Folded, replica: LockedReplica, move: ReplicaMove) -> None:
    attempt = folded.attempt
    if attempt.state is AttemptState.STOPPING:
        return
    attempt.stop_outcome, attempt.exit_code = replica.outcome, replica.exit_code
    attempt.stopping_at = move.at
    attempt.reason_code = move.reason_code or replica.outcome
    attempt.sentence = _of_replica(attempt, replica)
    sentence = f"{attempt.sentence} The other replicas are stopped."
    _move(folded, AttemptEvent.STOP, move.at, "replica_ended", sentence)


def _over(attempt: LockedAttempt, last: LockedReplica, move: ReplicaMove) -> Over:
    failed = [replica for replica in attempt.replicas if replica.outcome != Outcome.SUCCEEDED]
    if not failed:
        return Over(Outcome.SUCCEEDED, 0, Outcome.SUCCEEDED.value, "", move.at)
    if attempt.state is AttemptState.STOPPING and attempt.stop_outcome:
        wanted = Outcome(attempt.stop_outcome)
        if wanted in OWN_DOING:
            return Over(wanted, attempt.exit_code, attempt.reason_code, attempt.sentence, move.at)
        if any(replica.outcome in (wanted, Outcome.CANCELLED) for replica in failed):
            return Over(wanted, failed[0].exit_code, wanted.value, attempt.sentence, move.at)
    first = last if last in failed else failed[0]
    code = move.reason_code or first.outcome
    return Over(Outcome(first.outcome), first.exit_code, code, _of_replica(attempt, first), move.at)


def _of_replica(attempt: LockedAttempt, replica: LockedReplica) -> str:
    """The replica's own sentence, with which replica it was where there are several."""
    told = replica.sentence
    if len(attempt.replicas) == 1:
        return told
    if not told:
        code = "" if replica.exit_code is None else f" with code {replica.exit_code}"
        told = f"ended as {replica.outcome}{code}."
        return f"Replica {replica.index} on {replica.node_name} {told}"
    return f"Replica {replica.index} on {replica.node_name}: {told}"


def _places(attempt: LockedAttempt) -> str:
    names = sorted({replica.node_name for replica in attempt.replicas})
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more nodes"


def _move(folded: Folded, event: AttemptEvent, at: datetime, reason_code: str, sentence: str) -> None:
    attempt = folded.attempt
    story = (f"{move.at.isoformat()} {move.from_state} → {move.to_state}" for move in folded.moves)
    after = move_attempt(attempt.state, event, story=story)
    folded.moves.append(AttemptMove(attempt.state, after, at, reason_code, sentence))
    attempt.state = after
