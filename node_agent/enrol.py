"""How a node becomes known: with a one-time token the server takes a credential that the agent has made, and keeps."""

from __future__ import annotations

import asyncio
import http.client
import os
import secrets
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import msgspec

from node_agent.protocol import CREDENTIAL_PREFIX

TIMEOUT_SECONDS = 15.0
MAX_ANSWER_BYTES = 64 * 1024


class EnrolRefusedError(Exception):
    """The server refused the token; the text is what it said."""


class EnrolUnreachableError(Exception):
    """The server could not be asked now; trying again may help."""


class Credential(msgspec.Struct, frozen=True):
    """Who this node is; without `node_id`, who it has asked to be."""

    server: str
    name: str
    node_id: str
    credential: str


def load(path: Path) -> Credential | None:
    """The stored credential, or None when there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credential)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _is_here(server: str) -> bool:
    return urllib.parse.urlsplit(server).hostname in ("127.0.0.1", "::1", "localhost")


def store(path: Path, credential: Credential) -> None:
    """Readable by the agent's own user only, whole or not at all."""
    beside = path.with_suffix(".new")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(msgspec.json.encode(credential))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


@dataclass(frozen=True)
class Enrolment:
    """Where and how one node gets its credential."""

    server: str
    name: str
    token: str | None
    path: Path

    def stored(self) -> Credential | None:
        """The credential kept from before, if it is for this server: one at the same address, or both on this machine,
        where a platform takes another port when its last one is in use."""
        credential = load(self.path)
        if credential is None:
            return None
        is_same = credential.server == self.server
        return credential if is_same or (_is_here(credential.server) and _is_here(self.server)) else None

    async def enrol(self) -> Credential:
        """A new credential, stored, also before the server is asked: whoever is stopped in between asks again with the
        same. Raises `EnrolRefusedError` or `EnrolUnreachableError`."""
        if self.token is None:
            raise EnrolRefusedError(
                "This node has no credential yet: give an enrolment token with --enrol-token or FLEXAI_ENROL_TOKEN."
            )
        asking = self._asking()
        status, body = await asyncio.to_thread(self._ask, asking.credential)
        return self._take(asking, status, body)

    def _asking(self) -> Credential:
        """What it asks with: what it asked with before, if it has no answer to that."""
        begun = load(self._asking_path)
        if begun is not None and (begun.server, begun.name) == (self.server, self.name):
            return begun
        made = Credential(self.server, self.name, "", CREDENTIAL_PREFIX + secrets.token_urlsafe(32))
        store(self._asking_path, made)
        return made

    @property
    def _asking_path(self) -> Path:
        return self.path.with_suffix(".asking")

    def _ask(self, credential: str) -> tuple[int, bytes]:
        """(status, body) of the server's answer. Raises `EnrolUnreachableError` when there is none."""
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked on the command line
            f"{self.server}/api/v1/agents/enrol",
            data=msgspec.json.encode({"token": self.token, "name": self.name, "credential": credential}),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            method="POST",
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                return answer.status, answer.read(MAX_ANSWER_BYTES)
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, answer.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise EnrolUnreachableError(f"{self.server} does not answer: {reason}") from error

    def _take(self, asking: Credential, status: int, body: bytes) -> Credential:
        if status >= 500 or status in (408, 425, 429):
            raise EnrolUnreachableError(f"{self.server} answered {status} to the enrolment.")
        if status >= 300:
            raise EnrolRefusedError(
                f"The server refused the enrolment token ({status}): {problem_detail(body)}"
            )
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except msgspec.MsgspecError as error:
            raise EnrolUnreachableError(
                f"{self.server} answered the enrolment with something else than a node."
            ) from error
        credential = msgspec.structs.replace(asking, node_id=answer.node_id)
        store(self.path, credential)
        self._asking_path.unlink(missing_ok=True)
        return credential


class _Answer(msgspec.Struct):
    node_id: str


class _Problem(msgspec.Struct):
    detail: str = ""
    title: str = ""


def problem_detail(body: bytes) -> str:
    """Why the server refused, in its words."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.MsgspecError:
        return "no reason was given"
    return (problem.detail or problem.title)[:300] or "no reason was given"
