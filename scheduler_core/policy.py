"""The one policy (S4) and its named numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """How a cell decides. Everything has a default; nothing here is read from a clock or a file."""

    seed: int = 0
    """Keys the counter-based generator (Q1)."""
    max_starts: int = 1000
    """Bound of one cycle: at most so many starts; the next cycle goes on (R6)."""
