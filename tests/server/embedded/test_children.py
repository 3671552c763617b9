"""When a process of the platform that ended is started again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from flexai.embedded import children
from flexai.embedded.children import BACK_OFF_SECONDS, STEADY_SECONDS, Child, Program


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(children, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def a_life(child: Child, clock: Clock, seconds: float) -> float:
    """It is started, lives so long and ends; after how long it is started again."""
    child.start().wait(60)
    clock.now += seconds
    return child.plan_restart()


def test_who_fails_at_once_waits_longer_each_time_and_who_lived_is_back_at_once(
    tmp_path: Path, clock: Clock
) -> None:
    child = Child(Program("it", ("true",), tmp_path / "log"))
    assert [a_life(child, clock, 0.1) for _ in BACK_OFF_SECONDS] == list(BACK_OFF_SECONDS)
    assert a_life(child, clock, STEADY_SECONDS) == BACK_OFF_SECONDS[-1]
    assert a_life(child, clock, STEADY_SECONDS + 0.1) == BACK_OFF_SECONDS[0]
    assert [a_life(child, clock, 20) for _ in range(5)] == [BACK_OFF_SECONDS[0]] * 5
    assert a_life(child, clock, 0.1) == BACK_OFF_SECONDS[1]
