"""The scheduling loop of the embedded platform's cell, in a process of its own: no cycle waits for the worker's tasks.

`python -m flexai.embedded.scheduler GATE CELL`.
"""

from __future__ import annotations

import os
import sys

import django


def main(gate: int, cell: int) -> None:
    """Loads everything, waits until the gate's other end is closed (the schema is current), works until SIGTERM."""
    django.setup()
    from flexai.scheduling import loop  # models can be read only now

    os.read(gate, 1)
    loop.main(cell)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
