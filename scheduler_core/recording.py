"""Cycles as one compact file, from which they can be decided again bit for bit (X3).

A recording begins with a keyframe (policy and snapshot) and goes on with cycles: what the feed said before
each, its instant, and what was decided. Values only; reading and writing files is the caller's.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import msgspec

from scheduler_core.decision import Decision
from scheduler_core.engine import Scheduler
from scheduler_core.model import (
    Chip,
    FeedEvent,
    Id,
    Job,
    Node,
    Pool,
    Promise,
    Remove,
    Reservation,
    Row,
    Running,
    Seen,
    Snapshot,
    Team,
    Upsert,
    Window,
)
from scheduler_core.policy import Policy

MAGIC: Final = b"flexai-recording 1\n"
MAX_BYTES: Final = 1 << 30
"""A recording larger than this when unpacked is refused."""

KINDS: Final[dict[str, type[Row]]] = {
    kind.__name__: kind for kind in (Pool, Node, Chip, Team, Job, Running, Promise, Reservation, Window, Seen)
}
_FIELDS: Final[dict[type[Row], str]] = {
    Pool: "pools",
    Node: "nodes",
    Chip: "chips",
    Team: "teams",
    Job: "jobs",
    Running: "running",
    Promise: "promises",
    Reservation: "reservations",
    Window: "windows",
    Seen: "seen",
}
"""Where the snapshot keeps the rows of each kind."""

Digest: TypeAlias = bytes
"""16 bytes that stand for a decision in canonical form: equal decisions, and only they, have equal digests."""


class BadRecording(ValueError):  # noqa: N818 - it says what is true of the bytes
    """These bytes are no recording, or one that was cut or changed; the message says where."""


@dataclass(frozen=True, slots=True)
class RecordedCycle:
    """One decision, what the feed had said since the one before, and what was decided."""

    now: int
    events: tuple[FeedEvent, ...]
    digest: Digest


@dataclass(frozen=True, slots=True)
class Recording:
    """A keyframe and the cycles from it on."""

    policy: Policy
    snapshot: Snapshot
    cycles: tuple[RecordedCycle, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """A cycle decided again."""

    now: int
    decision: Decision
    same: bool
    """Whether it is what was decided at the time, bit for bit."""
    snapshot: Snapshot
    """The cell as the cycle saw it."""


def digest(decision: Decision) -> Digest:
    """Of the decision in canonical form: units in order, verdicts with code, facts and sentence."""
    verdicts = [
        (verdict.jobs, [(reason.code, reason.facts(), reason.sentence()) for reason in verdict.reasons])
        for verdict in decision.verdicts
    ]
    return blake2b(_encode((replace(decision, verdicts=()), verdicts)), digest_size=16).digest()


def record(snapshot: Snapshot, policy: Policy, decision: Decision) -> bytes:
    """A recording of this one cycle."""
    return dump(Recording(policy, snapshot, (RecordedCycle(snapshot.now, (), digest(decision)),)))


def dump(recording: Recording) -> bytes:
    """The recording as bytes: the same recording gives the same bytes everywhere."""
    cycles = [
        (cycle.now, [_told(event) for event in cycle.events], cycle.digest) for cycle in recording.cycles
    ]
    return MAGIC + zlib.compress(_encode((recording.policy, recording.snapshot, cycles)), 6)


def load(packed: bytes) -> Recording:
    """The recording that `dump` packed. Raises BadRecording."""
    if not packed.startswith(MAGIC):
        raise BadRecording("This is not a recording of Flexai cycles, or one of another version.")
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(packed[len(MAGIC) :], MAX_BYTES)
        if not unpacker.eof:
            raise BadRecording(f"The recording is cut short, or larger than {MAX_BYTES} bytes unpacked.")
        policy, snapshot, cycles = _RECORDING.decode(plain)
        read = tuple(RecordedCycle(now, tuple(map(_heard, events)), found) for now, events, found in cycles)
    except (zlib.error, msgspec.MsgspecError, KeyError, ValueError) as error:
        if isinstance(error, BadRecording):
            raise
        raise BadRecording(f"The recording cannot be read: {error}") from error
    return Recording(policy, snapshot, read)


def replay(recording: Recording) -> Iterator[Replayed]:
    """Every cycle decided again, from the keyframe on, in order."""
    scheduler = Scheduler(recording.snapshot, recording.policy)
    rows = {(type(row), row.id): row for row in _rows(recording.snapshot)}
    for cycle in recording.cycles:
        scheduler.apply(cycle.events)
        for event in cycle.events:
            if isinstance(event, Upsert):
                rows[type(event.row), event.row.id] = event.row
            else:
                rows.pop((event.kind, event.id), None)
        decision = scheduler.decide(cycle.now)
        yield Replayed(
            cycle.now, decision, digest(decision) == cycle.digest, _snapshot(cycle.now, rows.values())
        )


def _rows(snapshot: Snapshot) -> Iterator[Row]:
    for field in _FIELDS.values():
        yield from getattr(snapshot, field)


def _snapshot(now: int, rows: Iterable[Row]) -> Snapshot:
    sorted_out: dict[str, list[Row]] = {field: [] for field in _FIELDS.values()}
    for row in rows:
        sorted_out[_FIELDS[type(row)]].append(row)
    parts: dict[str, Any] = {field: tuple(found) for field, found in sorted_out.items()}
    return Snapshot(now, **parts)


def _told(event: FeedEvent) -> Sequence[object]:
    if isinstance(event, Upsert):
        return (type(event.row).__name__, event.row)
    return (event.kind.__name__, event.id)


def _heard(told: tuple[str, Any]) -> FeedEvent:
    name, what = told
    if name not in KINDS:
        raise BadRecording(
            f"The recording speaks of rows of the kind {name!r}, which this version does not know."
        )
    if isinstance(what, int):
        return Remove(KINDS[name], Id(what))
    return Upsert(msgspec.convert(what, KINDS[name], strict=False))


def _encode(value: object) -> bytes:
    """Sets and mappings in one order, so that the bytes do not depend on the hash seed."""
    return msgspec.msgpack.encode(value, order="deterministic")


_RECORDING = msgspec.msgpack.Decoder(tuple[Policy, Snapshot, list[tuple[int, list[tuple[str, Any]], bytes]]])
