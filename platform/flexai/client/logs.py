"""Reading a job's log as it grows, by byte offsets: a lost connection loses and repeats nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from flexai.client.errors import NotFound
from flexai.client.transport import Transport
from flexai.client.types import Job, LogSlice, is_final

LIMIT_BYTES = 1_048_576
"""The most that the API gives at once."""
SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
"""Between two questions to a server that does not wait."""
WAIT_SECONDS = 30
"""So long one question waits for more."""
OUTAGE_SECONDS = 120.0
"""How long a follower waits for a server that is away."""
LATE_SECONDS = 10.0
"""How long to wait for the rest of the log of an ended job: its node may be out of contact for good."""


@dataclass(frozen=True, slots=True)
class LogPiece:
    """Text of one replica; `next_offset` is where to resume, in bytes."""

    attempt: int
    replica: int
    offset: int
    next_offset: int
    text: str


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which log, and from where; `attempt` None is the last one, and with follow each later one too."""

    job_id: str
    attempt: int | None = None
    replica: int = 0
    offset: int = 0
    tail_bytes: int | None = None


def read(transport: Transport, query: LogQuery) -> Iterator[LogPiece]:
    """What is there now, to its end."""
    here = _fetch(transport, query, query.attempt, query.offset, query.tail_bytes)
    while True:
        if here["text"]:
            yield _piece(here)
        if here["next_offset"] >= here["size"] or here["next_offset"] <= here["offset"]:
            return
        here = _fetch(transport, query, here["attempt"], here["next_offset"], None)


def slice_of(transport: Transport, query: LogQuery) -> LogSlice:
    """The first stretch."""
    return _fetch(transport, query, query.attempt, query.offset, query.tail_bytes)


def follow(transport: Transport, query: LogQuery) -> Iterator[LogPiece]:
    """What is there and what comes, until the job (or the asked attempt) ended and its log is complete."""
    follower = _Follower(transport, query)
    pause = SHORTEST_PAUSE_SECONDS
    while True:
        began = time.monotonic()
        here = follower.read()
        if here["text"]:
            yield _piece(here)
            pause = SHORTEST_PAUSE_SECONDS
            if here["next_offset"] < here["size"]:
                continue
        if follower.is_over(here):
            return
        early = pause - (time.monotonic() - began)
        if early > 0:
            transport.sleep(early)
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


class _Follower:
    """Where the reader is: an attempt, an offset, which version of the job it has seen, and since when the rest of a
    finished log is overdue."""

    def __init__(self, transport: Transport, query: LogQuery) -> None:
        self._transport, self._query = transport, query
        self._attempt, self._offset, self._tail = query.attempt, query.offset, query.tail_bytes
        self._version: int | None = None
        self._late_since: float | None = None

    def read(self) -> LogSlice:
        """The next stretch, empty where there is none for a while or the job has changed; what was read is behind the
        reader afterwards."""
        wait = None if self._version is None else 1 if self._late_since else WAIT_SECONDS
        here = _fetch(
            self._transport, self._query, self._attempt, self._offset, self._tail, self._version, wait
        )
        if here["attempt"]:
            self._attempt, self._offset, self._tail = here["attempt"], here["next_offset"], None
        if here["text"]:
            self._late_since = None
        return here

    def is_over(self, here: LogSlice) -> bool:
        """True when nothing more can come. Moves on to the next attempt when there is one to read."""
        complete = here["ended"] and here["next_offset"] >= here["size"]
        only_this = self._query.attempt is not None
        if complete and only_this:
            return True
        if here["text"] and not here["ended"] and self._version is not None:
            return False
        job: Job = self._transport.get(f"/jobs/{self._query.job_id}", patience=OUTAGE_SECONDS)
        self._version = job["version"]
        if self._attempt is None:
            self._attempt = job["attempt"] or None
            return self._attempt is None and is_final(job["status"])
        later = job["attempt"] > self._attempt
        if not complete and not ((later or is_final(job["status"])) and self._is_overdue()):
            return False
        if later and not only_this:
            self._attempt, self._offset, self._late_since = self._attempt + 1, 0, None
            return False
        return only_this or is_final(job["status"])

    def _is_overdue(self) -> bool:
        self._late_since = self._late_since or time.monotonic()
        return time.monotonic() - self._late_since > LATE_SECONDS


def _fetch(
    transport: Transport,
    query: LogQuery,
    attempt: int | None,
    offset: int,
    tail_bytes: int | None,
    version: int | None = None,
    wait: int | None = None,
) -> LogSlice:
    """With the version of the job, `wait` seconds later at most. Raises NotFound for what was asked for by name."""
    asked = {
        "attempt": attempt,
        "replica": query.replica,
        "offset": None if tail_bytes else offset,
        "limit_bytes": LIMIT_BYTES,
        "tail_bytes": tail_bytes,
    }
    path = f"/jobs/{query.job_id}/logs"
    try:
        if version is None or wait is None:
            found: LogSlice | None = transport.get(path, patience=OUTAGE_SECONDS, **asked)
        else:
            found = transport.get_changed(path, version, wait_seconds=wait, patience=OUTAGE_SECONDS, **asked)
    except NotFound:
        if attempt is None or query.attempt is not None:
            raise
        found = None
    return found or _nothing(attempt or 0, query.replica, offset)


def _nothing(attempt: int, replica: int, offset: int) -> LogSlice:
    """Where there is no more, or the job already counts an attempt whose replicas are not there yet."""
    return {
        "attempt": attempt,
        "replica": replica,
        "offset": offset,
        "next_offset": offset,
        "size": offset,
        "ended": False,
        "text": "",
        "replicas": [],
    }


def _piece(here: LogSlice) -> LogPiece:
    return LogPiece(here["attempt"], here["replica"], here["offset"], here["next_offset"], here["text"])
