"""Real processes, real jobs, and `kill -9` at random moments: what was promised holds while it happens and at the end.

    FLEXAI_CHAOS_SEED=17 .venv/bin/python -m pytest tests/chaos        the same moments again
    .venv/bin/python -m pytest tests/chaos -m long                     ten minutes of it

Laws: no job is lost, none lives twice, no chip is over-committed, every log is whole, the sum of the allocations is the
ledger. Beat is a thread of the embedded worker and dies with it.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.chaos.suffering import SEED, suffer
from tests.e2e.test_taking_back import set_policy
from tests.support.platform import LivePlatform, is_alive, running_platform
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
VICTIMS = ("postgres", "valkey", "forkserver", "web", "scheduler", "worker", "agent")


@pytest.fixture(scope="module")
def live() -> Iterator[LivePlatform]:
    with running_platform() as platform:
        set_policy(platform, {"min_runtime": 0})
        yield platform


def test_killing_at_random_moments_breaks_no_law(live: LivePlatform) -> None:
    suffer(live, killing(live, (0.3, 2.5)), seconds=10)


@pytest.mark.long
def test_ten_minutes_of_killing_break_no_law(live: LivePlatform) -> None:
    seen = suffer(live, killing(live, (2, 30)), seconds=600, every_round_seconds=40)
    assert {"attempt.lent", "attempt.ended", "job.queued", *VICTIMS} <= seen


@contextmanager
def killing(live: LivePlatform, pauses: tuple[float, float]) -> Iterator[Counter[str]]:
    """Inside the block processes get SIGKILL at random moments, now and then several at once; all are back after it."""
    dice, calm, killed = random.Random(SEED), threading.Event(), Counter[str]()

    def run() -> None:
        while not calm.wait(dice.uniform(*pauses)):
            for name in dice.sample(VICTIMS, dice.choice([1, 1, 1, 2, len(VICTIMS)])):
                pid = live.children.get(name)
                if pid is not None and is_alive(pid):  # else the supervisor has not started it again yet
                    os.kill(pid, signal.SIGKILL)
                    killed[name] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield killed
    finally:
        calm.set()
        thread.join()
    wait_for(lambda: all(is_alive(live.children.get(name, 0)) for name in VICTIMS), "all to be back", 90)
