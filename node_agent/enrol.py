"""How a node becomes known: a one-time token is exchanged for a credential of its own, which is kept."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec

TIMEOUT_SECONDS = 15.0


class EnrolRefusedError(Exception):
    """The server refused the token; the text is what it said."""


class EnrolUnreachableError(Exception):
    """The server could not be asked now; trying again may help."""


class Credential(msgspec.Struct, frozen=True):
    """Who this node is."""

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
        """The credential kept from before, if it is for this server."""
        credential = load(self.path)
        return credential if credential is not None and credential.server == self.server else None

    async def enrol(self) -> Credential:
        """A new credential, stored. Raises `EnrolRefusedError` or `EnrolUnreachableError`."""
        if self.token is None:
            raise EnrolRefusedError(
                "This node has no credential yet: give an enrolment token with --enrol-token or FLEXAI_ENROL_TOKEN."
            )
        url = f"{self.server}/api/v1/agents/enrol"
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
                answer = await client.post(url, json={"token": self.token, "name": self.name})
        except httpx.HTTPError as error:
            raise EnrolUnreachableError(
                f"{self.server} does not answer: {error or type(error).__name__}"
            ) from error
        return self._take(answer)

    def _take(self, answer: httpx.Response) -> Credential:
        if answer.status_code >= 500 or answer.status_code in (408, 425, 429):
            raise EnrolUnreachableError(f"{self.server} answered {answer.status_code} to the enrolment.")
        if answer.status_code >= 300:
            raise EnrolRefusedError(
                f"The server refused the enrolment token ({answer.status_code}): {_detail(answer)}"
            )
        try:
            body = answer.json()
            credential = Credential(
                server=self.server,
                name=self.name,
                node_id=str(body["node_id"]),
                credential=str(body["credential"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise EnrolUnreachableError(
                f"{self.server} answered the enrolment with something else than a credential."
            ) from error
        store(self.path, credential)
        return credential


def _detail(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except json.JSONDecodeError:
        return answer.reason_phrase
    text = body.get("detail") or body.get("title") if isinstance(body, dict) else ""
    return str(text)[:300] or answer.reason_phrase
