"""Drivers: which chips a node has, what they are doing, and what a job needs to see only its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from node_agent.protocol import ChipInfo, ChipSample


class Driver(Protocol):
    """One vendor's chips on this node. Indexes are those of `chips`, from 0, without gaps."""

    @property
    def name(self) -> str:
        """The vendor's word."""

    @property
    def chips(self) -> Sequence[ChipInfo]:
        """All of them, in the order of their indexes."""

    @property
    def notes(self) -> Sequence[str]:
        """Plain sentences for people about chips that are not offered."""

    def look_again(self) -> None:
        """`chips` and `notes` say what is there now. Called on a thread, never twice at once.

        A chip keeps its index as long as the agent lives: one that is gone stays, not healthy; a new one comes last.
        """

    def sample(self, memory_mib: Mapping[int, int]) -> list[ChipSample]:
        """All chips now, but for those of which no use can be told. `memory_mib`: what our own replicas use per chip,
        for drivers that cannot measure it."""

    def processes(self) -> Mapping[int, Sequence[int]]:
        """Ids of the processes that use each chip, by index; chips that cannot tell are left out."""

    def environment(self, indexes: Sequence[int]) -> dict[str, str]:
        """Variables that make exactly these chips visible to a job (none of them, when it holds none)."""

    def nodes(self, index: int) -> Sequence[str]:
        """Paths of the device nodes that are this chip's alone, first the one that it computes by. Empty where it has
        none (cores, an instance), or they are not known. It asks no library."""

    def cores(self, indexes: Sequence[int]) -> list[int]:
        """Cores of the node that a replica holding these chips is pinned to; empty: not pinned."""
