"""What a spec says about who holds it back (`stragglers`, T6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flexai.jobs import quantities
from flexai.jobs.spec_reader import Reader
from scheduler_core.stragglers import BELOW, MOVES, WINDOW, Action, Sign

LEAST_WINDOW_MS: Final = 60_000
"""Six looks of ten seconds."""
MOST_WINDOW_MS: Final = 86_400_000
MOST_MOVES: Final = 100
ACTIONS: Final = tuple(action.value for action in Action)
SIGNS: Final = tuple(sign.value for sign in Sign)


def read_stragglers(reader: Reader) -> dict[str, Any] | None:
    """What may be done, said by a word, or with `below`, `window` and `moves`; None: its user is told, nothing else."""
    given = reader.raw.get("stragglers")
    if given is None:
        return None
    if isinstance(given, Mapping):
        inner = reader.inside("stragglers")
        action = inner.choice("action", ACTIONS, Action.NOTIFY.value)
    else:
        inner = Reader({}, "stragglers", reader)
        action = reader.choice("stragglers", ACTIONS, Action.NOTIFY.value)
    return {
        "action": action,
        "below_permille": inner.read("below", quantities.permille) or BELOW,
        "window_ms": inner.duration("window", WINDOW, least=LEAST_WINDOW_MS, most=MOST_WINDOW_MS),
        "moves": inner.whole("moves", MOVES, 0, MOST_MOVES),
    }
