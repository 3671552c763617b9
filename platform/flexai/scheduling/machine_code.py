"""The engine's machine code is made ahead, in a process of its own: no cycle waits for the compiler.

After an upgrade none of it is there, and making it takes half a minute or more. Until it is made, cells that want it
are decided by the plain loops, which find the same, and value no nodes; the largest wait, for their plain loops would
take longer. Where it cannot be kept, no other process could have it: only large cells make it for themselves then.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Final

from scheduler_core.compiled import LONG
from scheduler_core.effort import FEW_NODES

log = logging.getLogger(__name__)

PLAIN_NODES: Final = 1024
"""Up to so many nodes plain loops decide meanwhile, in seconds a cycle at worst."""
MAKING_SECONDS: Final = 600
"""Longer than making it takes anywhere: then the loop goes on without, and makes it itself."""
PROGRAM: Final = ("nice", "-n", "10", sys.executable, "-m", "flexai.scheduling.making")

_making: list[subprocess.Popen[bytes]] = []


def machine_from(nodes: int) -> int:
    """From how many nodes on a cell that has so many now is decided by machine code. Begins to make it where that is
    so, and has not been done by this process."""
    if nodes < FEW_NODES:
        return LONG
    if not _making:
        _making.append(subprocess.Popen(PROGRAM, stdin=subprocess.PIPE))
    if nodes > PLAIN_NODES:
        _wait()
    may_use_it = is_over() if nodes >= LONG else is_there()
    return FEW_NODES if may_use_it else PLAIN_NODES + 1


def is_there() -> bool:
    """Whether it has been made and is kept."""
    return is_over() and _making[0].returncode == 0


def is_over() -> bool:
    """Whether it has been made; or could not be, and cycles of large cells will have to."""
    return bool(_making) and _making[0].poll() is not None


def _wait() -> None:
    try:
        _making[0].wait(MAKING_SECONDS)
    except subprocess.TimeoutExpired:
        log.error("the engine's machine code is not made after %s seconds", MAKING_SECONDS)
