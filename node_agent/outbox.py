"""What the server has not acknowledged yet, as frames, in order, within bounds.

Nothing is stored here but positions: moves and log bytes are read from where they are kept (the spool on disk)
when they are sent. A new connection starts again from the last acknowledged position; the server drops what it
has (logs by offset, moves by attempt and state)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias

from node_agent.protocol import (
    MAX_LOG_MESSAGE,
    MAX_LOG_PIECE,
    LogPiece,
    Logs,
    ReplicaProgress,
    ReplicaReport,
    Reports,
    encode,
)
from node_agent.reconcile import Key

REPORTS_PER_MESSAGE = 500
UNACKNOWLEDGED_LOG_BYTES = 8 * 1024 * 1024
"""Log reading pauses beyond this, so that a slow server costs the node no memory."""
UNACKNOWLEDGED_MESSAGES = 64


class Source(Protocol):
    """Where a replica's log comes from."""

    def read_log(self, offset: int, limit: int) -> bytes:
        """At most `limit` bytes; empty at the end."""


class Track:
    """How much of one replica has been sent and acknowledged."""

    __slots__ = (
        "ended",
        "key",
        "log_acked",
        "log_sent",
        "moves",
        "moves_acked",
        "moves_sent",
        "progress",
        "progress_acked",
        "progress_sent",
        "source",
    )

    def __init__(self, key: Key, source: Source) -> None:
        self.key = key
        self.source = source
        self.moves: list[ReplicaReport] = []
        self.moves_sent = 0
        self.moves_acked = 0
        self.log_sent = 0
        self.log_acked = 0
        self.progress: ReplicaProgress | None = None
        """What it has said of itself, the newest."""
        self.progress_sent: ReplicaProgress | None = None
        self.progress_acked: ReplicaProgress | None = None
        self.ended = False
        """The last move is there: neither moves nor log grow any more."""

    def add(self, move: ReplicaReport) -> None:
        """One more move, the newest."""
        self.moves.append(move)
        if move.state == "ended":
            self.ended = True

    @property
    def is_acknowledged(self) -> bool:
        """True when the server has all of it, for ever."""
        return self.ended and self.moves_acked == len(self.moves)


Sent: TypeAlias = tuple[Track, int, int, ReplicaProgress | None]
"""A track, and up to where its moves, its log and its progress are in a message."""


class Outbox:
    """The tracks of one node that have something to say."""

    def __init__(self, on_acknowledged: Callable[[Track], None]) -> None:
        """`on_acknowledged` is called once for each replica of which the server has all."""
        self._on_acknowledged = on_acknowledged
        self._waiting: dict[Key, Track] = {}
        self._unacknowledged: deque[tuple[int, int, list[Sent]]] = deque()
        self._unacknowledged_bytes = 0
        self._seq = 0

    def touch(self, track: Track) -> None:
        """The track may have more to send."""
        self._waiting[track.key] = track

    def has_something(self) -> bool:
        """True when `frames` may give something now."""
        return bool(self._waiting) and not self._is_full()

    def restart(self, tracks: list[Track]) -> None:
        """A new connection: whatever is not acknowledged is to be sent again, numbered from 1."""
        self._seq = 0
        self._unacknowledged.clear()
        self._unacknowledged_bytes = 0
        self._waiting.clear()
        for track in tracks:
            track.moves_sent = track.moves_acked
            track.log_sent = track.log_acked
            track.progress_sent = track.progress_acked
            self._waiting[track.key] = track

    def frames(self) -> list[bytes]:
        """The next frames to send: at most one of logs, then one of moves. Empty when there is nothing or no room."""
        return self._logs_then_reports() if self.has_something() else []

    def acknowledge(self, seq: int) -> None:
        """The server has everything up to and including `seq`."""
        while self._unacknowledged and self._unacknowledged[0][0] <= seq:
            _, size, contents = self._unacknowledged.popleft()
            self._unacknowledged_bytes -= size
            for track, moves, log, progress in contents:
                was_acknowledged = track.is_acknowledged
                track.moves_acked = max(track.moves_acked, moves)
                track.log_acked = max(track.log_acked, log)
                track.progress_acked = progress or track.progress_acked
                if track.is_acknowledged and not was_acknowledged:
                    self._on_acknowledged(track)

    def _is_full(self) -> bool:
        return (
            self._unacknowledged_bytes >= UNACKNOWLEDGED_LOG_BYTES
            or len(self._unacknowledged) >= UNACKNOWLEDGED_MESSAGES
        )

    def _logs_then_reports(self) -> list[bytes]:
        """One message of each at most. A replica's end is held back until its log has been sent."""
        pieces: list[LogPiece] = []
        piece_contents: list[Sent] = []
        reports: list[ReplicaReport] = []
        progress: list[ReplicaProgress] = []
        report_contents: list[Sent] = []
        room = MAX_LOG_MESSAGE
        for key, track in list(self._waiting.items()):
            coming = len(track.moves) - track.moves_sent
            if len(reports) + coming > REPORTS_PER_MESSAGE or len(progress) >= REPORTS_PER_MESSAGE:
                break
            is_complete, room = _take_log(track, room, pieces, piece_contents)
            until = len(track.moves) - (track.ended and not is_complete)
            if until > track.moves_sent:
                reports += track.moves[track.moves_sent : until]
                track.moves_sent = until
                report_contents.append((track, until, 0, None))
            if track.progress is not None and track.progress is not track.progress_sent:
                progress.append(track.progress)
                track.progress_sent = track.progress
                report_contents.append((track, 0, 0, track.progress))
            if is_complete:
                del self._waiting[key]
            if room <= 0:
                break
        frames = []
        if pieces:
            size = sum(len(piece.data) for piece in pieces)
            frames.append(encode(Logs(seq=self._number(size, piece_contents), items=pieces)))
        if reports or progress:
            seq = self._number(0, report_contents)
            frames.append(encode(Reports(seq=seq, items=reports, progress=progress)))
        return frames

    def _number(self, size: int, contents: list[Sent]) -> int:
        self._seq += 1
        self._unacknowledged.append((self._seq, size, contents))
        self._unacknowledged_bytes += size
        return self._seq


def _take_log(track: Track, room: int, pieces: list[LogPiece], contents: list[Sent]) -> tuple[bool, int]:
    """Add what fits. Returns whether the log is sent to its present end, and the room left in bytes."""
    while room > 0:
        limit = min(MAX_LOG_PIECE, room)
        data = track.source.read_log(track.log_sent, limit)
        if data:
            attempt, replica, _ = track.key
            pieces.append(LogPiece(attempt=attempt, replica=replica, offset=track.log_sent, data=data))
            track.log_sent += len(data)
            room -= len(data)
            contents.append((track, 0, track.log_sent, None))
        if len(data) < limit:
            return True, room
    return False, room
