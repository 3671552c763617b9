"""`python -m flexai.scheduling CELL`: the scheduling loop of one cell, by its primary key."""

from __future__ import annotations

import os
import sys

import django

if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        sys.exit("Name the cell to schedule by its number: python -m flexai.scheduling 1")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flexai.config.settings")
    django.setup()
    from flexai.scheduling.loop import main

    main(int(sys.argv[1]))
