"""The engine's machine code is made ahead, in a process of its own: no cycle waits for the compiler.

After an upgrade none of it is there, and making it takes half a minute or more. Until it is made, cells that want it
are decided by the plain loops, which find the same; the largest wait, for their plain loops would take longer.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Final

from scheduler_core.compiled import LONG

log = logging.getLogger(__name__)

SOON_NODES: Final = LONG // 2
"""A cell of so many nodes may soon want machine code."""
PLAIN_NODES: Final = 1024
"""Up to so many nodes plain loops decide meanwhile, in seconds a cycle at worst."""
MAKING_SECONDS: Final = 600
"""Longer than making it takes anywhere: then the loop goes on without, and makes it itself."""
PROGRAM: Final = ("nice", "-n", "10", sys.executable, "-m", "scheduler_core.ahead")

_making: list[subprocess.Popen[bytes]] = []


def machine_from(nodes: int) -> int:
    """From how many nodes on a cell that has so many now is decided by machine code. Begins to make it where that is
    near, and has not been done by this process."""
    if nodes < SOON_NODES:
        return LONG
    if not _making:
        _making.append(subprocess.Popen(PROGRAM))
    if nodes > PLAIN_NODES:
        _wait()
    return LONG if is_there() else PLAIN_NODES + 1


def is_there() -> bool:
    """Whether it has been made; or could not be, and cycles will have to."""
    return bool(_making) and _making[0].poll() is not None


def _wait() -> None:
    try:
        _making[0].wait(MAKING_SECONDS)
    except subprocess.TimeoutExpired:
        log.error("the engine's machine code is not made after %s seconds", MAKING_SECONDS)
