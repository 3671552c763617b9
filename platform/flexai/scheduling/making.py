"""Makes the engine's machine code: `python -m flexai.scheduling.making`, by a scheduler alone.

It ends when its standard input does, that is with whoever started it, however that ended.
"""

from __future__ import annotations

import os
import runpy
import threading


def end_with_starter() -> None:
    """From now on. Read past Python's own buffers: whoever waits in one when the process ends brings it down."""
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    while os.read(0, 4096):
        continue
    os._exit(1)


if __name__ == "__main__":
    end_with_starter()
    runpy.run_module("scheduler_core.ahead", run_name="__main__")
