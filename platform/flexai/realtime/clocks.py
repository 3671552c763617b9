"""The wall clock of a node, as far as it is off ours: what the node says happened is put where it was by our clock."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from node_agent import protocol

NOTICED_MS = 2_000
"""A node's clock is corrected from so much on; less is as likely the way of the message as the clock."""


def ahead_ms(said_ms: int, now_ms: int) -> int:
    """By how much the node's clock is ahead of ours (less than 0: behind); 0 within what the way of a message takes.
    `said_ms` is 0 for an agent that does not tell."""
    ahead = said_ms - now_ms
    return ahead if said_ms and abs(ahead) >= NOTICED_MS else 0


def moves_by_ours(items: Sequence[protocol.ReplicaReport], ahead: int) -> list[protocol.ReplicaReport]:
    """The moves at the instants of our clock."""
    return [msgspec.structs.replace(item, at=max(item.at - ahead, 1)) if item.at else item for item in items]


def words_by_ours(items: Sequence[protocol.ReplicaProgress], ahead: int) -> list[protocol.ReplicaProgress]:
    """The words at the instants of our clock."""
    return [
        msgspec.structs.replace(
            item,
            at=max(item.at - ahead, 1) if item.at else 0,
            saved_at=None if item.saved_at is None else max(item.saved_at - ahead, 1),
        )
        for item in items
    ]
