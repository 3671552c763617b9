"""What a replica says of itself in `$FLEXAI_PROGRESS_FILE`: one JSON object a line, appended or written anew.

    {"step": 1200, "throughput": 350.5, "loss": 0.41, "checkpoint": "saved"}

Every key may be missing; later lines add to earlier ones. Nothing is believed that makes no sense: a value that is
refused is named in `problem`, and the others count. Only so much is read at once, from plain files alone and never
through a link: the file is the job's, the agent may be root.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from node_agent.clocks import wall_ms
from node_agent.protocol import MAX_PROBLEM, MAX_STEP, MAX_THROUGHPUT_MILLI, ReplicaProgress
from node_agent.reconcile import Key

LOOK_SECONDS: Final = 1.0
"""Between two looks at a file: what a replica says more often is summed up."""
MOST_BYTES: Final = 64 * 1024
"""Read in one look; of a file that grew by more only the end is read."""
MOST_LINE: Final = 4 * 1024
KEPT_BYTES: Final = 64
"""Of what was read, to know it again."""
MOST_LOSS: Final = 1e15
AHEAD_MS: Final = 5_000
"""A checkpoint is at most so far in the future: clocks of one machine differ by less."""


def progress_name(key: Key) -> str:
    """Name of the replica's progress file in its job's directory."""
    attempt, replica, generation = key
    return f".flexai-progress-{attempt}-{replica}-{generation}"


@dataclass(frozen=True, slots=True)
class Said:
    """All that the replica has said so far."""

    step: int | None = None
    throughput_milli: int | None = None
    loss: float | None = None
    saving: bool = False
    saved_step: int | None = None
    saved_at: int | None = None
    """Wall-clock ms."""
    problem: str = ""
    """What of the latest lines was refused, for people; empty when nothing was."""

    def report(self, key: Key, at: int) -> ReplicaProgress:
        """As the server is told, seen at this instant (wall-clock ms)."""
        attempt, replica, generation = key
        return ReplicaProgress(
            attempt=attempt, replica=replica, generation=generation, at=at, step=self.step,
            throughput_milli=self.throughput_milli, loss=self.loss, saving=self.saving, saved_step=self.saved_step,
            saved_at=self.saved_at, problem=self.problem,
        )  # fmt: skip


class ProgressFile:
    """One replica's file, read as it grows or is written anew."""

    __slots__ = ("_end", "_inode", "_mtime", "_read_until", "path", "said")

    def __init__(self, path: str) -> None:
        self.path = path
        self.said = Said()
        self._inode = self._mtime = self._read_until = 0
        self._end = b""
        """The last bytes before `_read_until`: where they are others, the file was written anew."""

    @property
    def was_there(self) -> bool:
        """Whether there ever was such a file."""
        return self._inode != 0

    def look(self) -> bool:
        """Read what is new. True when the replica has said something else than before."""
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        if (found.st_ino, found.st_mtime_ns, found.st_size) == (self._inode, self._mtime, self._read_until):
            return False
        before = self.said
        try:
            self._read()
        except _RefusedError as error:
            self.said = replace(before, problem=str(error))
        except OSError as error:
            self.said = replace(before, problem=f"The progress file could not be read: {error.strerror}.")
        return self.said != before

    def _read(self) -> None:
        fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise _RefusedError("The progress file is not a plain file of its own.")
            begin = self._read_until if self._has_grown(fd, found) else 0
            skipped = max(0, found.st_size - begin - MOST_BYTES)
            data = os.pread(fd, MOST_BYTES, begin + skipped)
        finally:
            os.close(fd)
        *lines, rest = data.split(b"\n")
        if rest.rstrip().endswith(b"}"):
            lines, rest = [*lines, rest], b""  # the last line of a file often lacks its end
        told = len(data) - len(rest)
        self._inode, self._mtime, self._read_until = found.st_ino, found.st_mtime_ns, begin + skipped + told
        self._end = data[:told][-KEPT_BYTES:]
        problem = ""
        if skipped:
            problem = f"More than {MOST_BYTES // 1024} KiB in one second: {skipped} bytes were left out."
            lines = lines[1:]
        written = min(wall_ms(), found.st_mtime_ns // 1_000_000)
        self.said = take_lines(self.said, lines, at=written, problem=problem)

    def _has_grown(self, fd: int, found: os.stat_result) -> bool:
        """Whether what was read is still there, and more came behind it."""
        if found.st_ino != self._inode or found.st_size <= self._read_until:
            return False
        return os.pread(fd, len(self._end), self._read_until - len(self._end)) == self._end


class _RefusedError(Exception):
    """A value, or the whole file, is not taken; the text is a sentence for people."""


def take_lines(before: Said, lines: list[bytes], *, at: int, problem: str = "") -> Said:
    """What is known after these lines, written at `at` (wall-clock ms) or before. The last problem is kept."""
    said = replace(before, problem=problem)
    for line in lines:
        if line.strip():
            said = _take_line(said, line, at)
    return said


def _take_line(said: Said, line: bytes, at: int) -> Said:
    try:
        found = _parse(line)
    except _RefusedError as error:
        return replace(said, problem=str(error)[:MAX_PROBLEM])
    for name, value in found.items():
        take = _TAKEN.get(name)
        if take is None or value is None:
            continue
        try:
            said = take(said, value, at, found)
        except _RefusedError as error:
            said = replace(said, problem=str(error)[:MAX_PROBLEM])
    return said


def _parse(line: bytes) -> dict[str, object]:
    """Never quotes the line: the file may be another than it seems."""
    if len(line) > MOST_LINE:
        raise _RefusedError(f"A line of {len(line)} bytes was refused; at most {MOST_LINE} are read.")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _RefusedError(f'A line of {len(line)} bytes is not a JSON object such as {{"step": 100}}.')
    return found


def _take_step(said: Said, value: object, _at: int, _line: dict[str, object]) -> Said:
    return replace(said, step=_step(value, "step"))


def _take_throughput(said: Said, value: object, _at: int, _line: dict[str, object]) -> Said:
    number = _number(value, "throughput")
    if not 0 <= number * 1000 <= MAX_THROUGHPUT_MILLI:
        raise _RefusedError(
            f"throughput {number:g} was refused: it is 0 to {MAX_THROUGHPUT_MILLI // 1000:g}."
        )
    return replace(said, throughput_milli=round(number * 1000))


def _take_loss(said: Said, value: object, _at: int, _line: dict[str, object]) -> Said:
    number = _number(value, "loss")
    if abs(number) > MOST_LOSS:
        raise _RefusedError(f"loss {number:g} was refused: it is at most {MOST_LOSS:g}.")
    return replace(said, loss=number)


def _take_checkpoint(said: Said, value: object, at: int, line: dict[str, object]) -> Said:
    if value == "saving":
        return replace(said, saving=True)
    if value not in ("saved", True):
        raise _RefusedError("checkpoint was refused: it is saving or saved.")
    step = line.get("checkpoint_step", line.get("step"))
    saved_step = None if step is None else _step(step, "checkpoint_step")
    given = line.get("checkpoint_at")
    if given is not None:
        at_ms = _number(given, "checkpoint_at") * 1000
        if not 0 <= at_ms <= at + AHEAD_MS:
            raise _RefusedError("checkpoint_at was refused: it is a time in the future, or none.")
        at = min(at, int(at_ms))
    return replace(said, saving=False, saved_step=saved_step, saved_at=at)


_TAKEN: Final[dict[str, Callable[[Said, object, int, dict[str, object]], Said]]] = {
    "step": _take_step,
    "throughput": _take_throughput,
    "loss": _take_loss,
    "checkpoint": _take_checkpoint,
}
"""Other keys mean nothing here, and do no harm."""


def _step(value: object, name: str) -> int:
    number = _number(value, name)
    if number != int(number) or not 0 <= number <= MAX_STEP:
        raise _RefusedError(f"{name} {number:g} was refused: it is a whole number from 0 to {MAX_STEP:.0e}.")
    return int(number)


def _number(value: object, name: str) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _RefusedError(f"{name} was refused: it is not a number.")
    if isinstance(value, int):
        return value if abs(value) <= MAX_STEP else float(MAX_STEP) * 2 * (1 if value > 0 else -1)
    if not math.isfinite(value):
        raise _RefusedError(f"{name} was refused: it is not a finite number.")
    return value
