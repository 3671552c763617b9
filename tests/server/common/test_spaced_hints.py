"""Hints that come close together travel together; none is lost, and one that comes alone is not delayed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from flexai.common.events import Hint, Spaced

PATIENCE = 10


class Wire:
    """What was sent later, and when."""

    def __init__(self, every_seconds: float) -> None:
        self.messages: list[list[str]] = []
        self.at: list[float] = []
        self.sent = threading.Event()
        self.spaced = Spaced(self._send, every_seconds)

    def _send(self, hints: Sequence[Hint]) -> None:
        self.messages.append([hint.id for hint in hints])
        self.at.append(time.monotonic())
        self.sent.set()

    def due(self, *ids: str) -> list[str]:
        """Those that may go at once."""
        return [hint.id for hint in self.spaced.due([Hint("job", name) for name in ids])]


def test_a_hint_that_comes_alone_goes_at_once() -> None:
    wire = Wire(0.05)
    assert wire.due("a", "b") == ["a", "b"]
    time.sleep(0.1)
    assert wire.due("c") == ["c"]
    assert wire.messages == []


def test_those_that_follow_go_together_and_no_later_than_promised() -> None:
    wire = Wire(0.3)
    began = time.monotonic()
    assert wire.due("a") == ["a"]
    assert wire.due("b") == wire.due("c", "d") == []
    assert wire.messages == []
    assert wire.sent.wait(PATIENCE)
    assert wire.messages == [["b", "c", "d"]]
    assert wire.at[0] - began >= 0.29
    wire.sent.clear()
    assert wire.due("e") == [], "counted from what was sent last"
    assert wire.sent.wait(PATIENCE)
    assert wire.messages[1] == ["e"]


def test_nothing_is_lost_or_doubled_under_many_threads() -> None:
    wire = Wire(0.005)
    passed: list[str] = []

    def speak(number: int) -> None:
        for count in range(200):
            passed.extend(wire.due(f"{number}-{count}"))

    threads = [threading.Thread(target=speak, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deadline = time.monotonic() + PATIENCE
    while sum(map(len, wire.messages)) + len(passed) < 800 and time.monotonic() < deadline:
        time.sleep(0.01)
    told = [*passed, *(name for message in wire.messages for name in message)]
    assert sorted(told) == sorted(f"{number}-{count}" for number in range(4) for count in range(200))


def test_nothing_to_say_is_nothing_sent() -> None:
    wire = Wire(0.01)
    assert wire.due() == []
    assert wire.due("a") == ["a"]
