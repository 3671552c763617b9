"""Where the fake server takes outputs: kept in memory, cut off or refused where a test asks for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from node_agent.protocol_outputs import (
    OUTPUT_PIECE,
    OutputsEnded,
    OutputsOffered,
    OutputsTaken,
)


@dataclass
class Brought:
    """What came of one attempt."""

    offered: OutputsOffered
    contents: list[bytearray]
    complete: bool = False
    said: list[str] = field(default_factory=list)
    offers: int = 1

    @property
    def files(self) -> dict[str, bytes]:
        names = [file.path for file in self.offered.files]
        return dict(zip(names, map(bytes, self.contents), strict=True))


class Desk:
    """Answers what agents bring."""

    def __init__(self) -> None:
        self.brought: dict[str, Brought] = {}
        self.refuses: list[int] = []
        """Statuses that the next pieces are answered with, instead of being taken."""
        self.closed: dict[str, int] = {}
        """Attempts whose offers are answered with this status."""
        self.is_open = True
        """False: everything is answered with 503."""
        self.turned_away: list[str] = []
        self.pieces = 0

    def answer(self, method: str, path: str, query: str, body: bytes) -> tuple[int, bytes]:
        """Status and body for a request below /api/v1/agents/outputs/."""
        if not self.is_open:
            return 503, b'{"detail": "closed"}'
        attempt, _, rest = path.partition("/")
        if attempt in self.closed:
            self.turned_away.append(attempt)
            return self.closed[attempt], b'{"detail": "Not this one."}'
        if method == "POST" and not rest:
            return 200, msgspec.json.encode(self._offer(attempt, body))
        brought = self.brought[attempt]
        if rest == "end":
            brought.said = msgspec.json.decode(body, type=OutputsEnded).said
            brought.complete = True
            return 200, msgspec.json.encode(OutputsTaken(True))
        self.pieces += 1
        if self.refuses and (status := self.refuses.pop(0)):
            return status, b'{"detail": "There is no room."}'
        content, offset = brought.contents[int(rest)], int(query.partition("=")[2])
        assert offset == len(content), "the agent goes on where the server says"
        assert len(body) <= OUTPUT_PIECE
        content += body
        return 200, msgspec.json.encode(OutputsTaken(False, [len(content)]))

    def _offer(self, attempt: str, body: bytes) -> OutputsTaken:
        offered = msgspec.json.decode(body, type=OutputsOffered)
        known = self.brought.get(attempt)
        if known is None:
            known = self.brought[attempt] = Brought(offered, [bytearray() for _ in offered.files])
        else:
            assert known.offered == offered
            known.offers += 1
        return OutputsTaken(known.complete, [len(content) for content in known.contents])
