"""Waiting for what others do, without taking from them the processor that they do it on."""

from __future__ import annotations

import time
from collections.abc import Callable

SHORTEST_SECONDS = 0.01
LONGEST_SECONDS = 0.25
SHARE = 8
"""What comes is seen later by at most this part of the time that it took, or by the shortest pause."""


def wait_for(what: Callable[[], object], said: str, seconds: float = 60) -> None:
    """`what()` was true. Fails, naming `said`, after `seconds`. To ask may cost a request: the longer it takes, the
    less often it is asked.
    """
    began = time.monotonic()
    while not what():
        waited = time.monotonic() - began
        if waited > seconds:
            raise AssertionError(f"waited {seconds:g} s in vain for {said}")
        time.sleep(min(max(SHORTEST_SECONDS, waited / SHARE), LONGEST_SECONDS))
