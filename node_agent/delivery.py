"""Sends the copies of one attempt's outputs to the server, piece by piece, each from where the server says it is.

By HTTP beside the socket: one request after the other is back-pressure enough, and a piece in memory at a time. What
was cut off goes on at the last whole piece. Runs on a thread.
"""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from node_agent.enrol import problem_detail
from node_agent.protocol_outputs import (
    OUTPUT_PIECE,
    OutputsEnded,
    OutputsOffered,
    OutputsTaken,
)

TIMEOUT_SECONDS: Final = 60.0
"""For one piece: it may go to an object store behind the server."""
MAX_ANSWER_BYTES: Final = 1024 * 1024
_FULL: Final = 507

T = TypeVar("T")


class DeliveryRefusedError(Exception):
    """The server will never take these files; the text says why."""


class _StoreFullError(Exception):
    """The server has no room; the text says it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where to, and who sends."""

    server: str
    credential: str


def deliver(to: Delivery, attempt: str, folder: Path, offered: OutputsOffered) -> None:
    """The server has all of it, or all that it takes. Raises `DeliveryRefusedError`, and `OSError` for whatever may
    pass: doing it again later goes on where this ended."""
    talk = _Talk(to, f"/api/v1/agents/outputs/{attempt}")
    try:
        taken = talk.ask("POST", "", msgspec.json.encode(offered))
        if taken.complete:
            return
        said = []
        try:
            for number, (file, stored) in enumerate(zip(offered.files, taken.stored, strict=True)):
                if stored is not None:
                    _send_file(talk, number, folder / str(number), stored, file.size)
        except _StoreFullError as error:
            said.append(str(error))
        talk.ask("POST", "/end", msgspec.json.encode(OutputsEnded(said=said)))
    except http.client.HTTPException as error:
        raise ConnectionError(f"the answer makes no sense: {error!r}") from error
    finally:
        talk.close()


def _send_file(talk: _Talk, number: int, path: Path, stored: int, size: int) -> None:
    with path.open("rb", buffering=0) as file:
        while stored < size:
            file.seek(stored)
            piece = file.read(min(OUTPUT_PIECE, size - stored))
            taken = talk.ask("PUT", f"/{number}?offset={stored}", piece)
            now = taken.stored[0] if taken.stored else None
            if now is None or now <= stored or taken.complete:
                return
            stored = now


class _Talk:
    """One connection, used for all requests of a delivery."""

    def __init__(self, to: Delivery, path: str) -> None:
        parts = urlsplit(to.server)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
        self._path = parts.path.rstrip("/") + path
        self._headers = {"Authorization": f"Bearer {to.credential}", "Accept": "application/json"}

    def ask(self, method: str, path: str, body: bytes) -> OutputsTaken:
        """The answer. Raises `DeliveryRefusedError`, `_StoreFullError`, or `OSError` for what may pass."""
        kind = "application/octet-stream" if method == "PUT" else "application/json"
        self._connection.request(method, self._path + path, body, {**self._headers, "Content-Type": kind})
        with self._connection.getresponse() as answer:
            told = answer.read(MAX_ANSWER_BYTES)
            status = answer.status
        if status == _FULL:
            raise _StoreFullError(problem_detail(told))
        if status >= 500 or status in (401, 403, 408, 425, 429):
            raise ConnectionError(f"{status}: {problem_detail(told)}")
        if status >= 300:
            raise DeliveryRefusedError(f"{status}: {problem_detail(told)}")
        try:
            return msgspec.json.decode(told, type=OutputsTaken)
        except msgspec.MsgspecError as error:
            raise ConnectionError("the server answered with something else") from error

    def close(self) -> None:
        """The connection is closed afterwards."""
        self._connection.close()
