"""A platform in trouble: work comes while things go wrong, then it is calm, and no law was broken at any time."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg

from tests.chaos.laws import ALWAYS, IN_THE_END, Rows
from tests.chaos.load import Load, check_lives, outcomes
from tests.support.platform import LivePlatform

SEED = int(os.environ.get("FLEXAI_CHAOS_SEED") or random.randrange(1_000_000))
BEGIN_SECONDS = 90
SETTLE_SECONDS = 300
"""So long may it take, once nothing goes wrong any more, until every job has ended."""
LAST_WORDS_SECONDS = 60
"""And so long until every log is whole."""


def suffer(
    live: LivePlatform,
    trouble: AbstractContextManager[Counter[str]],
    *,
    seconds: float,
    every_round_seconds: float = 3600,
) -> set[str]:
    """Things went wrong for so long while work came, and every law holds. What happened: kinds of events, and of
    trouble."""
    print(f"\nFLEXAI_CHAOS_SEED={SEED}")
    rows, seen = Rows(live.data_dir), Counter[str]()
    with live.client() as client:
        load = Load.begin(client)
        before = len(rows.names())
        try:
            load.submit_holders()
            load.wait_begun(2, BEGIN_SECONDS)
            with watched(rows) as broken, trouble as seen:
                deadline = time.monotonic() + seconds
                load.submit_rest()
                while (left := deadline - time.monotonic()) > 0 and not broken:
                    time.sleep(min(every_round_seconds, left))
                    if left > every_round_seconds:
                        load.submit_holders()
                        load.submit_rest()
            assert not broken, broken
            load.wait_ended(SETTLE_SECONDS)
            wait_until_all_hold(rows)
            names = [job.name for job in load.jobs]
            assert sorted(rows.names()[before:]) == sorted(names), "lost, or made twice"
            check_lives(load)
            print(f"{len(load.jobs)} jobs; {dict(seen)}; attempts {outcomes(load)}")
            return rows.kinds() | set(seen)
        except AssertionError:
            print(f"{dict(seen)}; the supervisor said:\n{live.output[-3000:]}")
            raise
        finally:
            load.end()


def wait_until_all_hold(rows: Rows) -> None:
    """Every law holds. Fails with those that do not when it has taken too long."""
    deadline = time.monotonic() + LAST_WORDS_SECONDS
    while broken := rows.broken(ALWAYS | IN_THE_END):
        assert time.monotonic() < deadline, broken
        time.sleep(0.2)


@contextmanager
def watched(rows: Rows) -> Iterator[list[str]]:
    """What breaks a law that holds always, looked for all the time inside the block."""
    broken: list[str] = []
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.5) and not broken:
            try:
                broken.extend(rows.broken(ALWAYS))
            except psycopg.OperationalError:
                continue  # PostgreSQL is just down

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield broken
    finally:
        over.set()
        thread.join()
