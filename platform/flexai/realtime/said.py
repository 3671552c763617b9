"""What one connection of an agent was told and has said: the server's side of the conversation, without the socket.

A websocket neither loses nor doubles a frame. What stands between two machines sometimes does (a proxy, a half-dead
load balancer), so nothing here relies on it: a message that is missing ends the connection, one that comes twice
changes nothing, and a wanted state that did not arrive is sent again.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from flexai.jobs.wanted import as_missing
from node_agent.protocol import Wanted, WantedReplica


class Order(Enum):
    """How a numbered message (reports, logs) follows the one before it."""

    NEXT = "next"
    DOUBLED = "doubled"
    GAP = "gap"
    """Something before it is missing: acknowledging it would acknowledge that too."""


class Said:
    """The memory of one connection."""

    def __init__(self) -> None:
        self.missing: frozenset[tuple[str, int]] = frozenset()
        """Replicas to be stopped because the node does not have them (see `jobs.contact.Arrival`)."""
        self._last_seq = 0
        self._version = 0
        self._version_at_heartbeat = 0
        self._told: list[WantedReplica] | None = None

    def order_of(self, seq: int) -> Order:
        """Where the message belongs; after the next one comes the one after it. A connection begins with 1."""
        if seq <= self._last_seq:
            return Order.DOUBLED
        if seq > self._last_seq + 1:
            return Order.GAP
        self._last_seq = seq
        return Order.NEXT

    def wanted(self, replicas: Sequence[WantedReplica]) -> Wanted | None:
        """The wanted state to send; None when the agent was sent the same before."""
        told = [as_missing(one) if (one.attempt, one.replica) in self.missing else one for one in replicas]
        if told == self._told:
            return None
        self._told = told
        self._version += 1
        return Wanted(version=self._version, replicas=told)

    def heartbeat(self, wanted_version: int) -> None:
        """The agent has this version. What was sent before its last heartbeat and has not arrived is sent again."""
        if wanted_version < self._version_at_heartbeat:
            self._told = None
        self._version_at_heartbeat = self._version
