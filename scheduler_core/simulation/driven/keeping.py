"""Runs of hours that are cut go on from where they were last kept."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

KEEP_HELP: Final = (
    "the engine's run is kept there every few minutes, and goes on from there if the command was cut"
)
EVERY: Final = 5000
"""Rounds between two times that a run is kept: minutes on a busy cell, and keeping a whole trace takes seconds."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """One run in one file, which is gone once the run has ended. It is read as code is: do not take it from others."""

    path: Path
    title: str
    """What is run; a file of something else is refused."""
    every: int = EVERY

    def found(self) -> Any:
        """What was kept last; None at the beginning. Raises ValueError for the file of another run."""
        try:
            kept = self.path.read_bytes()
        except FileNotFoundError:
            return None
        title, state = pickle.loads(kept)  # noqa: S301 - the caller's own file, as the docstring says
        if title != self.title:
            raise ValueError(f"{self.path} keeps the run {title!r}, not {self.title!r}: name another file")
        return state

    def keep(self, state: object) -> None:
        """The run goes on from here if it is cut; the file before is whole until this one is."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        written = self.path.with_name(f"{self.path.name}.new")
        written.write_bytes(pickle.dumps((self.title, state)))
        written.replace(self.path)

    def end(self) -> None:
        """The run has ended."""
        self.path.unlink(missing_ok=True)
