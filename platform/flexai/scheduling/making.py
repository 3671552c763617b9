"""Makes the engine's machine code: `python -m flexai.scheduling.making`, by a scheduler alone.

It ends when its standard input does, that is with whoever started it, however that ended.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading


def _end_with_starter() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_starter, daemon=True).start()
    runpy.run_module("scheduler_core.ahead", run_name="__main__")
