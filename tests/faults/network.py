"""A world with a clock of its own, and a network in it that delays, drops, doubles, cuts and swallows frames.

Nothing here knows what the frames say. Instants are milliseconds; everything that happens is an entry of one heap, so
the same seed gives the same history.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class End(Protocol):
    """What holds one end of a connection."""

    def receive(self, line: Line, frame: bytes) -> None:
        """A frame has come."""

    def closed(self, line: Line) -> None:
        """The connection is over, and this end has noticed."""


class World:
    """Time, chance, and what sometimes happened."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.now = 0
        self.seen: Counter[str] = Counter()
        self._agenda: list[tuple[int, int, Callable[..., None], tuple[object, ...]]] = []
        self._serial = itertools.count()

    def after(self, delay: int, call: Callable[..., None], *arguments: object) -> None:
        """The call is made so many milliseconds from now."""
        heapq.heappush(self._agenda, (self.now + max(0, delay), next(self._serial), call, arguments))

    def run(self, until: int) -> None:
        """Everything up to this instant has happened."""
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, call, arguments = heapq.heappop(self._agenda)
            call(*arguments)
        self.now = until

    def chance(self, percent: float) -> bool:
        return self.random.random() * 100 < percent


@dataclass
class Network:
    """How bad it is at present; percent of frames, and the slowest delay in milliseconds."""

    world: World
    drops: float = 0.0
    doubles: float = 0.0
    slowest: int = 50
    lines: list[Line] = field(default_factory=list)

    def connect(self, agent: End, server: End) -> Line:
        line = Line(self, agent, server)
        self.lines = [other for other in self.lines if not other.is_over]
        self.lines.append(line)
        return line

    def calm(self) -> None:
        """From now on it only delays; what is swallowed stays swallowed."""
        self.drops = self.doubles = 0.0
        self.slowest = 50


class Line:
    """One connection. Frames of one direction keep their order; either end notices its close by itself, or never."""

    def __init__(self, network: Network, agent: End, server: End) -> None:
        self._network, self._world = network, network.world
        self._ends: dict[bool, End] = {True: agent, False: server}
        self._open = {True: True, False: True}
        self._arrives = {True: 0, False: 0}
        self.is_half_open = False
        """Frames go nowhere and nobody is told."""

    @property
    def is_over(self) -> bool:
        return not any(self._open.values())

    def to_server(self, frame: bytes) -> None:
        self._carry(frame, to_agent=False)

    def to_agent(self, frame: bytes) -> None:
        self._carry(frame, to_agent=True)

    def cut(self) -> None:
        """Both ends notice, each in its own time."""
        for to_agent in (True, False):
            self._world.after(self._delay(), self._notice, to_agent)

    def hang_up(self, *, by_agent: bool) -> None:
        """One end closes at once; the other notices later, unless the line swallows that too."""
        self._open[by_agent] = False
        if not self.is_half_open:
            self._world.after(self._delay(), self._notice, not by_agent)

    def _carry(self, frame: bytes, *, to_agent: bool) -> None:
        if self.is_half_open or not self._open[not to_agent]:
            return
        if self._world.chance(self._network.drops):
            self._world.seen["a frame is dropped"] += 1
            return
        for _ in range(1 + self._world.chance(self._network.doubles)):
            at = max(self._arrives[to_agent], self._world.now + self._delay())
            self._arrives[to_agent] = at
            self._world.after(at - self._world.now, self._deliver, to_agent, frame)

    def _deliver(self, to_agent: bool, frame: bytes) -> None:
        if self._open[to_agent] and not self.is_half_open:
            self._ends[to_agent].receive(self, frame)

    def _notice(self, to_agent: bool) -> None:
        if self._open[to_agent]:
            self._open[to_agent] = False
            self._ends[to_agent].closed(self)

    def _delay(self) -> int:
        return self._world.random.randint(0, self._network.slowest)
