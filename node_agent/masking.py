"""Takes secrets out of what a replica prints, before it is written: whatever the pieces in which it comes.

A value is looked for line by line, as logs show lines, each in parts of at most `LONGEST_PART` bytes, so that little is
ever held back. Every byte that belongs to an occurrence is masked, also where occurrences overlap; a run of them is one
`MASK`. What a value was turned into (base64, one character a line) is not recognised, and what is shorter than
`SHORTEST_PART` is not looked for: it would mask half of every log.

Only modules cheap to fork are imported.
"""

from __future__ import annotations

from collections.abc import Iterable

MASK = b"***"
SHORTEST_PART = 8
"""Bytes."""
LONGEST_PART = 1024
"""Bytes: so much is held back at most, until it is known how it goes on."""
MOST_PARTS = 500
"""The longest of them: more would take longer for 64 KiB of output than the shim has before a lease runs out."""
HEAD = 4
"""Bytes by which the beginning of a part is looked for."""


class Mask:
    """What one replica prints, without the secrets in it."""

    __slots__ = ("_by_head", "_covered", "_held", "_is_open", "_longest", "_parts")

    def __init__(self, values: Iterable[str]) -> None:
        parts = {
            part for value in values for line in value.encode().splitlines() for part in _parts(line.strip())
        }
        self._parts = sorted(parts, key=lambda part: (-len(part), part))[:MOST_PARTS]
        self._longest = max(map(len, self._parts), default=0)
        self._by_head: dict[bytes, list[bytes]] = {}
        """Parts by what they begin with, in up to `HEAD` bytes."""
        for part in self._parts:
            for length in range(1, HEAD + 1):
                self._by_head.setdefault(part[:length], []).append(part)
        self._held = b""
        """Printed and not told yet: it may be the beginning of a part."""
        self._covered = 0
        """So many bytes of it belong to an occurrence in any case."""
        self._is_open = False
        """The last that was told is a mask, which goes on if what follows is masked too."""

    def take(self, data: bytes) -> bytes:
        """What can be told of it by now, and of what was held back."""
        if not self._parts:
            return data
        data = self._held + data
        until = self._begun(data)
        runs = self._runs(data)
        told = self._told(data, runs, until)
        self._held = data[until:]
        self._covered = max([end - until for begin, end in runs if begin <= until < end], default=0)
        return told

    def rest(self) -> bytes:
        """What was held back, now that nothing follows."""
        return self._told(self._held, self._runs(self._held), len(self._held))

    def _runs(self, data: bytes) -> list[tuple[int, int]]:
        """Where occurrences lie: in order, apart from each other."""
        found = [(0, self._covered)] if self._covered else []
        for part in self._parts:
            at = data.find(part)
            while at >= 0:
                _put(found, at, at + len(part))
                at = data.find(part, at + 1)
        runs: list[tuple[int, int]] = []
        for begin, end in sorted(found):
            _put(runs, begin, end)
        return runs

    def _told(self, data: bytes, runs: list[tuple[int, int]], until: int) -> bytes:
        """The data up to there, masked."""
        told: list[bytes] = []
        at = 0
        for begin, end in runs:
            if begin >= until:
                break
            if begin > at:
                told.append(data[at:begin])
                self._is_open = False
            if not self._is_open:
                told.append(MASK)
                self._is_open = True
            at = min(end, until)
        if at < until:
            told.append(data[at:until])
            self._is_open = False
        return b"".join(told)

    def _begun(self, data: bytes) -> int:
        """Where the longest end of it begins with which a part could begin."""
        for at in range(max(0, len(data) - self._longest + 1), len(data)):
            for part in self._by_head.get(data[at : at + HEAD], ()):
                if len(data) - at < len(part) and part.startswith(data[at:]):
                    return at
        return len(data)


def _put(runs: list[tuple[int, int]], begin: int, end: int) -> None:
    """One more, joined with the last where they touch."""
    if runs and runs[-1][0] <= begin <= runs[-1][1]:
        runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
    else:
        runs.append((begin, end))


def _parts(line: bytes) -> list[bytes]:
    """The line in parts of about the same length; nothing where it is too short."""
    if len(line) < SHORTEST_PART:
        return []
    count = -(-len(line) // LONGEST_PART)
    cuts = [len(line) * number // count for number in range(count + 1)]
    return [line[cuts[number] : cuts[number + 1]] for number in range(count)]
