"""A replica's log: written by its shim into one bounded file, read by the agent in pieces.

What a replica prints beyond its limit is dropped and the last line says how much. When the disk is full the shim waits
(the replica's own writes then block, as on any full disk) for at most `DISK_FULL_PATIENCE_MS`, then drops and says so.
"""

from __future__ import annotations

import errno
import os

from node_agent.clocks import boottime_ms

DISK_FULL_PATIENCE_MS = 30_000
LAST_LINE_BYTES = 256
"""Kept free of the limit for the line that says what was dropped."""
TAIL_BYTES = 512
"""Last bytes kept in memory, to name a command that was not found."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class LogFile:
    """The writer's side, held by the shim."""

    def __init__(self, path: str, *, limit: int) -> None:
        """The file is made with the first byte. `limit` is in bytes, the last line included."""
        self._path = path
        self._fd = -1
        self._room = max(0, limit - LAST_LINE_BYTES)
        self._limit = limit
        self._full_since: int | None = None
        self.size = 0
        self.dropped = 0
        self.lost_to_full_disk = 0
        self.tail = b""

    def append(self, data: bytes) -> bytes:
        """Write what fits. Returns what is to be offered again later: not empty only while the disk is full."""
        self.tail = data[-TAIL_BYTES:] if len(data) >= TAIL_BYTES else (self.tail + data)[-TAIL_BYTES:]
        if self.size >= self._room:
            self.dropped += len(data)
            return b""
        keep = data[: self._room - self.size]
        self.dropped += len(data) - len(keep)
        return self._write(keep)

    def retry(self, data: bytes) -> bytes:
        """Offer again what `append` could not write."""
        return self._write(data)

    def close(self, *, unwritten: bytes = b"") -> None:
        """Write the last line, if something was dropped. The file is complete afterwards."""
        self.lost_to_full_disk += len(unwritten)
        sentences = []
        if self.dropped:
            sentences.append(f"{self.dropped} bytes of log were dropped: the limit is {self._limit} bytes.")
        if self.lost_to_full_disk:
            sentences.append(f"{self.lost_to_full_disk} bytes of log were lost: the node's disk was full.")
        if sentences:
            self._write(f"\n[flexai] {' '.join(sentences)}\n".encode())
        if self._fd >= 0:
            os.close(self._fd)

    def _write(self, data: bytes) -> bytes:
        view = memoryview(data)
        while view:
            try:
                if self._fd < 0:
                    self._fd = os.open(
                        self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
                    )
                written = os.write(self._fd, view)
            except OSError as error:
                if error.errno not in _NO_SPACE:
                    raise
                return self._wait_or_drop(bytes(view))
            self.size += written
            self._full_since = None
            view = view[written:]
        return b""

    def _wait_or_drop(self, data: bytes) -> bytes:
        now = boottime_ms()
        if self._full_since is None:
            self._full_since = now
        if now - self._full_since < DISK_FULL_PATIENCE_MS:
            return data
        self.lost_to_full_disk += len(data)
        return b""


def read_piece(path: str, offset: int, limit: int) -> bytes:
    """At most `limit` bytes from `offset` on; empty at the end, or when nothing was ever written."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(fd, limit, offset)
    finally:
        os.close(fd)


def size_of(path: str) -> int:
    """Bytes written so far; 0 when there is no file."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
