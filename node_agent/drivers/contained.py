"""A driver whose vendor's library may hang: it is asked on a thread of its own, and nobody waits for it.

A library that never comes back costs that thread and the chips' readings, and nothing else: the agent goes on, says
so of every chip, and takes the answers as they come when the library recovers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from node_agent.drivers import Driver
from node_agent.protocol import UNHEALTHY, ChipInfo, ChipSample

log = logging.getLogger(__name__)

START_SECONDS = 15.0
"""How long a driver may take to find its chips when the agent starts."""
HANG_SECONDS = 15.0
"""Without an answer for so long its chips are not healthy."""
SAMPLE_SECONDS = 1.0
LOOK_SECONDS = 5.0
BREAK_SECONDS = 5.0
"""Between tries of a driver that fails."""


class Contained:
    """A driver that answers at once with what was last read."""

    def __init__(self, driver: Driver) -> None:
        """The driver has found its chips; from now on only the thread asks it."""
        self._driver = driver
        self._chips = list(driver.chips)
        self._notes = list(driver.notes)
        self._samples: list[ChipSample] = []
        self._processes: Mapping[int, Sequence[int]] = {}
        self._answered = time.monotonic()
        threading.Thread(target=self._ask_for_ever, name=f"driver-{driver.name}", daemon=True).start()

    @property
    def name(self) -> str:
        """The vendor's word."""
        return self._driver.name

    @property
    def chips(self) -> Sequence[ChipInfo]:
        """As last read; none of them healthy while the driver hangs."""
        if not self._hangs():
            return self._chips
        note = f"The {self.name} driver has not answered for more than {HANG_SECONDS:.0f} s."
        return [msgspec.structs.replace(chip, healthy=False, health_note=note) for chip in self._chips]

    @property
    def notes(self) -> Sequence[str]:
        """As last read."""
        return self._notes

    def look_again(self) -> None:
        """The thread looks by itself."""

    def sample(self, memory_mib: Mapping[int, int]) -> list[ChipSample]:
        """As last read; all unhealthy while the driver hangs."""
        if not self._hangs():
            return list(self._samples)
        return [
            ChipSample(index=chip.index, use_permille=0, memory_mib=0, flags=UNHEALTHY)
            for chip in self._chips
        ]

    def processes(self) -> Mapping[int, Sequence[int]]:
        """As last read."""
        return self._processes

    def environment(self, indexes: Sequence[int]) -> dict[str, str]:
        """Of the driver; it asks no library."""
        return self._driver.environment(indexes)

    def nodes(self, index: int) -> Sequence[str]:
        """Of the driver; it asks no library."""
        return self._driver.nodes(index)

    def cores(self, indexes: Sequence[int]) -> list[int]:
        """Of the driver; it asks no library."""
        return self._driver.cores(indexes)

    def _hangs(self) -> bool:
        return time.monotonic() - self._answered > HANG_SECONDS

    def _ask_for_ever(self) -> None:
        next_look = 0.0
        while True:
            try:
                if time.monotonic() >= next_look:
                    self._driver.look_again()
                    self._chips, self._notes = list(self._driver.chips), list(self._driver.notes)
                    self._processes = self._driver.processes()
                    next_look = time.monotonic() + LOOK_SECONDS
                self._samples = self._driver.sample({})
                self._answered = time.monotonic()
            except Exception:
                log.exception("The %s driver failed; it is asked again in %d s.", self.name, BREAK_SECONDS)
                time.sleep(BREAK_SECONDS)
            time.sleep(SAMPLE_SECONDS)


def found_in_time(make: Callable[[], Driver], name: str) -> tuple[Driver | None, list[str]]:
    """The driver if it has chips, contained; else None. With its sentences about what was not found."""
    found: list[Driver] = []
    failed: list[str] = []

    def find() -> None:
        try:
            found.append(make())
        except Exception as error:
            log.exception("The %s driver failed.", name)
            failed.append(f"The {name} driver failed and its chips are left out: {error}."[:300])

    thread = threading.Thread(target=find, name=f"find-{name}", daemon=True)
    thread.start()
    thread.join(START_SECONDS)
    if not found:
        hangs = f"The {name} driver did not answer within {START_SECONDS:.0f} s; its chips are left out."
        return None, failed or [hangs]
    driver = found[0]
    return (Contained(driver), []) if driver.chips else (None, list(driver.notes))
