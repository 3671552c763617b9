"""Logs of replicas: stored at least once by offset, read by offset.

Pieces of a replica touch and never overlap: what is there already is trimmed off, and a piece that would leave a hole
is not stored. At most `MAX_LOG_BYTES` a replica are kept; the agent stops at its own limit before that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import connection, transaction

from flexai.cluster.history import NodeHappened, write_node_history
from flexai.common import clock
from flexai.common.database import Cursor, as_rows, prepared_cursor
from flexai.common.errors import InvalidInput, NotFound
from flexai.common.events import Hint, publish_on_commit
from node_agent import protocol

MAX_LOG_BYTES = 65 * 1024 * 1024
"""Bytes kept of one replica; the agent's own limit of 64 MiB and its last line fit."""
MAX_READ_BYTES = 1024 * 1024
"""Bytes of one answer."""
MAX_ROW_BYTES = protocol.MAX_LOG_PIECE
"""Small pieces of one batch become one row up to this size, so that a read touches few rows."""
MAX_INT63 = 2**62


@dataclass(slots=True)
class LogsTaken:
    """What became of a batch."""

    stored_bytes: int = 0
    foreign: dict[int, list[str]] = field(default_factory=dict)
    """node → attempts that it spoke about and that have no such replica there."""
    gaps: dict[int, list[str]] = field(default_factory=dict)
    """node → attempts of which a piece lay beyond what is stored."""


@dataclass(frozen=True, slots=True)
class LogSlice:
    """Bytes of a replica's log from `offset` on."""

    attempt: int
    replica: int
    offset: int
    next_offset: int
    size: int
    """Bytes stored now."""
    ended: bool
    """True when nothing will be added: the replica has ended and all its log is here, or its attempt is over."""
    data: bytes
    replicas: list[dict[str, int]]
    """[{attempt, replica, size}] of the job, newest attempt first."""


def check_logs(items: Sequence[protocol.LogPiece]) -> None:
    """Raises InvalidInput when the message breaks the protocol: piece or message too large, offset out of range."""
    total = 0
    for item in items:
        total += len(item.data)
        if len(item.data) > protocol.MAX_LOG_PIECE:
            raise InvalidInput(
                f"A log piece has {len(item.data)} bytes; at most {protocol.MAX_LOG_PIECE} fit."
            )
        if not 0 <= item.offset <= MAX_INT63 or not 0 <= item.replica < 2**31:
            raise InvalidInput("A log piece has an offset or replica out of range.")
    if total > protocol.MAX_LOG_MESSAGE:
        raise InvalidInput(f"A message has {total} bytes of log; at most {protocol.MAX_LOG_MESSAGE} fit.")


def take_logs(node_pk: int, pieces: Sequence[protocol.LogPiece], *, at: datetime | None = None) -> LogsTaken:
    """Everything new in the pieces is committed. Raises InvalidInput when the message breaks the protocol."""
    check_logs(pieces)
    return take_logs_of({node_pk: pieces}, at=at or clock.now())


@dataclass(slots=True)
class LogTrack:
    """One replica while pieces are laid down."""

    pk: int
    attempt: str
    index: int
    node_pk: int
    stored: int
    number: int
    job: str
    team: str
    rows: list[tuple[int, bytearray]] = field(default_factory=list)

    def lay(self, offset: int, data: bytes) -> bool:
        """Add what is new; False when it would leave a hole."""
        end = self.stored
        if offset > end:
            return offset >= MAX_LOG_BYTES
        new = data[end - offset : max(end - offset, MAX_LOG_BYTES - offset)]
        if not new:
            return True
        if self.rows and len(self.rows[-1][1]) + len(new) <= MAX_ROW_BYTES:
            self.rows[-1][1].extend(new)
        else:
            self.rows.append((end, bytearray(new)))
        self.stored = end + len(new)
        return True


_LOCK = """
SELECT r.id, a.public_id, r.index, r.node_id, r.log_offset, a.number, j.public_id, t.public_id
FROM jobs_replica r JOIN jobs_attempt a ON a.id = r.attempt_id JOIN jobs_job j ON j.id = a.job_id
JOIN tenancy_team t ON t.id = j.team_id
WHERE a.public_id = ANY(%s) AND r.node_id = ANY(%s) ORDER BY r.id FOR NO KEY UPDATE OF r
"""
_INSERT = """
INSERT INTO jobs_logpiece (replica_id, "offset", data) SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::bytea[])
"""
_KNOWN = "SELECT public_id FROM jobs_attempt WHERE public_id = ANY(%s)"
_MOVE = """
UPDATE jobs_replica r SET log_offset = u.stored
FROM json_to_recordset(%s::json) AS u(id bigint, stored bigint) WHERE r.id = u.id
"""


def take_logs_of(pieces: Mapping[int, Sequence[protocol.LogPiece]], *, at: datetime) -> LogsTaken:
    """What several nodes (primary keys) send, in one transaction. The pieces have passed `check_logs`."""
    taken = LogsTaken()
    with transaction.atomic(), prepared_cursor() as cursor:
        names = {item.attempt for items in pieces.values() for item in items}
        rows = cursor.execute(_LOCK, [sorted(names), sorted(pieces)], prepare=True)
        tracks = {(row[3], row[1], row[2]): LogTrack(*row) for row in rows}
        for node_pk, items in pieces.items():
            for item in items:
                track = tracks.get((node_pk, item.attempt, item.replica))
                if track is None:
                    taken.foreign.setdefault(node_pk, []).append(item.attempt)
                elif not track.lay(item.offset, item.data):
                    taken.gaps.setdefault(node_pk, []).append(item.attempt)
        _leave_unknown_out(cursor, taken.foreign)
        grown = [track for track in tracks.values() if track.rows]
        _store(cursor, grown)
        _record(cursor, taken, at)
        taken.stored_bytes = sum(len(data) for track in grown for _, data in track.rows)
        if grown:
            publish_on_commit(hints=[_hint(track) for track in grown])
    return taken


def _leave_unknown_out(cursor: Cursor, foreign: dict[int, list[str]]) -> None:
    """Attempts that are gone (their job was removed) are nobody's: their pieces are dropped without a word."""
    if not foreign:
        return
    names = sorted({name for said in foreign.values() for name in said})
    known = {row[0] for row in cursor.execute(_KNOWN, [names])}
    for node_pk in list(foreign):
        foreign[node_pk] = [name for name in foreign[node_pk] if name in known]
        if not foreign[node_pk]:
            del foreign[node_pk]


def _store(cursor: Cursor, grown: Sequence[LogTrack]) -> None:
    if not grown:
        return
    rows = [(track.pk, offset, bytes(data)) for track in grown for offset, data in track.rows]
    cursor.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)], prepare=True)
    cursor.execute(
        _MOVE, [as_rows([{"id": track.pk, "stored": track.stored} for track in grown])], prepare=True
    )


def _hint(track: LogTrack) -> Hint:
    data = {"attempt": track.number, "replica": track.index, "size": track.stored}
    return Hint("logs", track.job, 0, track.team, data)


NAMED = 10
"""So many attempts are named in the record of a refusal."""


def _record(cursor: Cursor, taken: LogsTaken, at: datetime) -> None:
    said = {
        "foreign": "The agent sent logs of replicas that are not on its node; nothing was stored.",
        "log_gap": "The agent sent log pieces that leave a hole; they were not stored.",
    }
    write_node_history(
        cursor,
        [
            NodeHappened(
                at=at,
                kind="agent.refused",
                node=node_pk,
                actor="agent",
                reason_code=code,
                sentence=said[code],
                facts={"attempts": sorted(set(names))[:NAMED]},
            )
            for code, refused in (("foreign", taken.foreign), ("log_gap", taken.gaps))
            for node_pk, names in refused.items()
        ],
    )


# --- reading --------------------------------------------------------------------------------------------------------

_REPLICAS = """
SELECT a.number, r.index, r.log_offset, r.id, r.state, r.log_size, a.state
FROM jobs_replica r JOIN jobs_attempt a ON a.id = r.attempt_id
WHERE a.job_id = %s ORDER BY a.number DESC, r.index LIMIT 10000
"""
_PIECES = """
SELECT "offset", data FROM jobs_logpiece
WHERE replica_id = %s AND "offset" < %s AND "offset" >= coalesce(
    (SELECT max("offset") FROM jobs_logpiece WHERE replica_id = %s AND "offset" <= %s), 0)
ORDER BY "offset"
"""


def read_log(
    job_pk: int,
    *,
    attempt: int | None = None,
    replica: int = 0,
    offset: int = 0,
    limit_bytes: int = MAX_READ_BYTES,
    tail_bytes: int | None = None,
) -> LogSlice:
    """Stored bytes of one replica's log; without `attempt` of the newest. `tail_bytes` counts from the end instead.

    A job that never started gives an empty slice of attempt 0. Raises NotFound for an attempt or replica that is not.
    """
    with connection.cursor() as cursor:
        cursor.execute(_REPLICAS, [job_pk])
        rows = cursor.fetchall()
    replicas = [{"attempt": row[0], "replica": row[1], "size": row[2]} for row in rows]
    if not rows and attempt is None:
        return LogSlice(0, replica, 0, 0, 0, False, b"", [])
    number = rows[0][0] if attempt is None and rows else attempt
    row = next((row for row in rows if row[0] == number and row[1] == replica), None)
    if row is None:
        raise NotFound(f"This job has no replica {replica} in attempt {number}.")
    _, _, size, pk, state, log_size, attempt_state = row
    start = max(0, size - tail_bytes) if tail_bytes is not None else max(0, offset)
    limit = max(0, min(limit_bytes, MAX_READ_BYTES))
    data = _bytes_of(pk, start, min(limit, max(0, size - start)))
    is_complete = state == "ended" and (log_size is None or size >= log_size)
    ended = is_complete or attempt_state == "ended"
    return LogSlice(int(number or 0), replica, start, start + len(data), size, ended, data, replicas)


def _bytes_of(replica_pk: int, start: int, length: int) -> bytes:
    if not length:
        return b""
    with prepared_cursor() as cursor:
        rows = cursor.execute(
            _PIECES, [replica_pk, start + length, replica_pk, start], binary=True
        ).fetchall()
    whole = b"".join(bytes(data) for _, data in rows)
    skip = start - rows[0][0] if rows else 0
    return whole[skip : skip + length]
