"""What is said on one connection, without the connection: no socket, no clock, no waiting.

Hello → Welcome → Wanted; then reports and logs are acknowledged, wanted states carried out, leases renewed. Whoever
holds the socket (`link`, or a simulation) hands in what comes, sends what is answered, and asks for a heartbeat when
one is due. Instants are milliseconds of the boot-time clock, but for `wall`, the node's wall clock.
"""

from __future__ import annotations

import logging
from typing import Protocol

from node_agent.outbox import Outbox, Track
from node_agent.protocol import (
    HEARTBEAT_SECONDS,
    MAX_ASKED,
    VERSION,
    Ack,
    Heartbeat,
    Hello,
    Inventory,
    InventoryChanged,
    Refused,
    Renewed,
    SecretsAsked,
    SecretsGiven,
    ServerMessage,
    Telemetry,
    Wanted,
    WantedReplica,
    Welcome,
    encode,
)
from node_agent.reconcile import Key

MISSED_HEARTBEATS = 3
"""So many without an answer, and the connection is taken for dead, whether the server ever said Welcome or not."""
ASKED_AGAIN_MS = 5_000
"""After so long without an answer secrets are asked for once more: the server answers what it can, and nothing else."""

_CREDENTIAL_CODES = ("credential", "revoked", "unauthorized", "forbidden")
"""Codes of `Refused` that no quick retry can mend."""
_AGENT_VERSION = "0.1.0"

log = logging.getLogger(__name__)


class Executor(Protocol):
    """What carries out wanted states: real processes, or simulated ones."""

    def apply(self, wanted: list[WantedReplica]) -> None:
        """Make it so."""

    def live(self) -> list[tuple[str, int]]:
        """(attempt, replica) of everything that has not ended."""

    def tracks(self) -> list[Track]:
        """What the server may not have yet."""

    def acknowledged(self, track: Track) -> None:
        """The server has all of this replica."""

    def lacking(self) -> list[Key]:
        """Replicas that start once their secrets are here."""

    def give(self, given: SecretsGiven) -> None:
        """Here they are."""

    def renewed(self, sent: int) -> None:
        """Leases run from this boot-time instant."""

    def inventory(self) -> Inventory:
        """What the node has; the same object as long as nothing changes, where that is easy."""

    def telemetry(self) -> Telemetry:
        """What it does now."""


class RefusedError(Exception):
    """The server does not accept this node's credential."""


class TurnedAwayError(Exception):
    """The server will not go on with this connection, for a reason that may pass."""


class Conversation:
    """One connection from its first word to its last."""

    def __init__(self, executor: Executor, outbox: Outbox, *, boot_id: str, name: str, now: int) -> None:
        self.heartbeat_seconds: float = HEARTBEAT_SECONDS
        self.welcomed = False
        """From then on reports, logs, heartbeats and telemetry may be sent."""
        self._executor = executor
        self._outbox = outbox
        self._boot_id = boot_id
        self._name = name
        self._last_answer = now
        self._wanted_version = -1
        self._unapplied: Wanted | None = None
        """A wanted state that waits for the first renewal: without one no lease could be honoured."""
        self._renewed = False
        self._told = executor.inventory()
        """The inventory that the server has."""
        self._asked: dict[Key, int] = {}
        """When secrets were asked for on this connection."""

    def opening(self, now: int, wall: int) -> list[bytes]:
        """The first frames: who this is and what lives here, and a first request for a renewal."""
        hello = Hello(
            version=VERSION,
            boot_id=self._boot_id,
            agent_version=_AGENT_VERSION,
            inventory=self._told,
            live=self._executor.live(),
        )
        return [encode(hello), self._beat(now, wall)]

    def take(self, message: ServerMessage, now: int) -> None:
        """The message has had its effect. Raises `RefusedError` or `TurnedAwayError`: the connection is to end."""
        if isinstance(message, Ack):
            self._outbox.acknowledge(message.seq)
        elif isinstance(message, Wanted):
            self._take_wanted(message)
        elif isinstance(message, SecretsGiven):
            self._executor.give(message)
        elif isinstance(message, Renewed):
            self._take_renewal(message.sent, now)
        elif isinstance(message, Welcome):
            self.heartbeat_seconds = max(1, message.heartbeat_seconds)
            if not self.welcomed:
                self._outbox.restart(self._executor.tracks())
            self.welcomed = True
        elif isinstance(message, Refused):
            sentence = f"{message.message[:300]} ({message.code[:50]})"
            raise RefusedError(sentence) if message.code in _CREDENTIAL_CODES else TurnedAwayError(sentence)

    def heartbeat(self, now: int, wall: int) -> bytes | None:
        """What is due every `heartbeat_seconds`; nothing before the Welcome. Raises TimeoutError when the server
        has been silent for `MISSED_HEARTBEATS` of them."""
        silent_ms = now - self._last_answer
        if silent_ms > MISSED_HEARTBEATS * self.heartbeat_seconds * 1000:
            raise TimeoutError(f"the server has not answered for {silent_ms // 1000} s")
        return self._beat(now, wall) if self.welcomed else None

    def question(self, now: int) -> bytes | None:
        """Which secrets are needed now, and were not asked for just before; more may be left to ask for."""
        if not self.welcomed:
            return None
        lacking = self._executor.lacking()
        asked = {key: self._asked[key] for key in lacking if key in self._asked}
        due = [key for key in lacking if key not in asked or now - asked[key] >= ASKED_AGAIN_MS][:MAX_ASKED]
        self._asked = asked | dict.fromkeys(due, now)
        return encode(SecretsAsked(replicas=due)) if due else None

    def news_of_inventory(self) -> bytes | None:
        """What is to be said when the chips, or their health, have changed; it then counts as said."""
        now = self._executor.inventory()
        before, self._told = self._told, now
        if now is before or now == before:
            return None
        log.warning("%s: the chips, or their health, have changed.", self._name)
        return encode(InventoryChanged(inventory=now))

    def _beat(self, now: int, wall: int) -> bytes:
        return encode(Heartbeat(sent=now, wanted_version=max(0, self._wanted_version), wall=wall))

    def _take_wanted(self, wanted: Wanted) -> None:
        if wanted.version < self._wanted_version:
            return
        self._wanted_version = wanted.version
        if self._renewed:
            self._executor.apply(wanted.replicas)
        else:
            self._unapplied = wanted

    def _take_renewal(self, sent: int, now: int) -> None:
        if not 0 < sent <= now:
            log.error("%s: ignored a renewal from an instant that is not in the past.", self._name)
            return
        self._last_answer = now
        self._renewed = True
        self._executor.renewed(sent)
        if self._unapplied is not None:
            waiting, self._unapplied = self._unapplied, None
            self._executor.apply(waiting.replicas)
