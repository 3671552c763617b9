"""`python -m flexai.scheduling.play_day CELL DAY`: one day of a cell is played, and its row is there.

The process gives way to everything else on the machine, ends with the worker that started it, and ends itself after
`MOST_TIME`: the row then says that it came to no end.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from datetime import date
from typing import Final

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flexai.config.settings")
django.setup()

from flexai.scheduling.playing import keep_saving  # noqa: E402 - models need the setup
from flexai.scheduling.savings import MOST_TIME  # noqa: E402

GIVES_WAY: Final = 15
"""Added to its niceness."""
_PR_SET_PDEATHSIG: Final = 1


def main(cell_id: int, day: date) -> None:
    """The day's row is there afterwards."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(GIVES_WAY)
    signal.alarm(int(MOST_TIME.total_seconds()))
    keep_saving(cell_id, day)


if __name__ == "__main__":
    main(int(sys.argv[1]), date.fromisoformat(sys.argv[2]))
