"""Starts the replay of yesterday in a process of its own: it may take minutes, and the worker has other tasks."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from typing import Final

from flexai.cluster.models import Cell
from flexai.scheduling.models import Saving

AFTER_MIDNIGHT: Final = timedelta(hours=1)
"""A day is played once its last reports and its hours of telemetry are there."""
_children: list[subprocess.Popen[bytes]] = []


def start_due(now: datetime) -> bool:
    """Yesterday is being played for the first cell of which it was not; True if a process was started for it. While one
    runs no other is started."""
    _children[:] = [child for child in _children if child.poll() is None]
    day = (now - AFTER_MIDNIGHT).date() - timedelta(days=1)
    played = Saving.objects.filter(day=day).values("cell_id")
    cell = Cell.objects.exclude(pk__in=played).filter(created_at__date__lte=day).order_by("pk").first()
    if cell is None or _children:
        return False
    command = [sys.executable, "-m", "flexai.scheduling.play_day", str(cell.pk), day.isoformat()]
    _children.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
    return True
