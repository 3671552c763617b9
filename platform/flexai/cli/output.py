"""How things are said: JSON and tables on stdout, prose on stderr; quantities and words as on the page."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

from rich.console import Console
from rich.text import Text

from flexai.client.types import JobChips

PIPED_WIDTH = 160
"""Columns of a table that goes to a file or a pipe, unless COLUMNS says another."""
NOTHING = "—"

_LOOKS: Mapping[str, tuple[str, str]] = {
    "held": ("‖", "suspended"),
    "queued": ("○", "queued"),
    "starting": ("◐", "running"),
    "running": ("●", "running"),
    "stopping": ("◑", "preempted"),
    "cancelling": ("◑", "cancelled"),
    "suspended": ("◇", "suspended"),
    "succeeded": ("✓", "succeeded"),
    "failed": ("✗", "failed"),
    "cancelled": ("–", "cancelled"),
    "timed_out": ("✗", "failed"),
    "unreachable": ("?", "preempted"),
    "ready": ("●", "succeeded"),
    "cordoned": ("‖", "suspended"),
    "draining": ("◑", "preempted"),
    "dead": ("✗", "failed"),
    "idle": ("○", "cancelled"),
    "offline": ("✗", "failed"),
}
"""Status word: icon and family of colour, the same for jobs, nodes and chips."""
_DARK: Mapping[str, str] = {
    "running": "#8ab4ff",
    "queued": "#f2c14e",
    "suspended": "#c4aef2",
    "succeeded": "#54d6a5",
    "failed": "#ff9a94",
    "preempted": "#ffab70",
    "cancelled": "#a3acba",
}
_LIGHT: Mapping[str, str] = {
    "running": "#1f5fc4",
    "queued": "#8a6100",
    "suspended": "#6b4fa3",
    "succeeded": "#00734f",
    "failed": "#c0262d",
    "preempted": "#b04a00",
    "cancelled": "#5b6472",
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_STEERING = re.compile(
    r"\x1b\[[0-9;?]*[A-Za-ln-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b(?!\[[0-9;]*m)"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]"
)
"""All that steers a terminal but colours, ends of lines, tabs and going back to the line's begin."""


@cache
def out() -> Console:
    """Where tables go."""
    narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, width=None if narrow else PIPED_WIDTH)


@cache
def err() -> Console:
    """Where prose goes."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def emit_json(value: object) -> None:
    """One JSON value and a newline on stdout: indented for a person, one line for a program."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")
    sys.stdout.flush()


def say(sentence: str, style: str = "") -> None:
    """A sentence on stderr."""
    err().print(Text(sentence, style=style))


def complain(sentence: str, hint: str = "") -> None:
    """An error on stderr, with what would help."""
    text = Text.assemble(("Error: ", f"bold {hue('failed')}"), sentence)
    if hint:
        text.append(f"\n{hint}", style="dim")
    err().print(text)


def printable(text: object) -> str:
    """Somebody's text without control characters: it cannot move the cursor or recolour the screen."""
    return _CONTROL.sub("�", str(text))


def write_log(text: str) -> None:
    """What a job logged: as it is into a file or a pipe; a terminal is coloured by it, and steered by nothing else."""
    sys.stdout.write(_STEERING.sub("", text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def hue(name: str) -> str:
    """The colour of a status family, for the terminal's background."""
    background = os.environ.get("COLORFGBG", "").rsplit(";", 1)[-1]
    return (_LIGHT if background in {"7", "15"} else _DARK)[name]


def status_text(status: str, *, word: str | None = None) -> Text:
    """Icon and word, in the colour of the status."""
    icon, family = _LOOKS.get(status, ("·", "cancelled"))
    return Text(f"{icon} {printable(word or status)}", style=hue(family))


def duration(milliseconds: int | None) -> str:
    """By its two largest units: `840ms`, `3.2s`, `12m 05s`, `3h 12m`, `2d 4h`."""
    if milliseconds is None:
        return NOTHING
    if milliseconds < 1000:
        return f"{max(0, milliseconds)}ms"
    seconds, rest = divmod(milliseconds, 1000)
    if seconds < 10:
        return f"{seconds}.{rest // 100}s"
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m {seconds % 60:02}s"
    if seconds < 86400:
        return f"{seconds // 3600}h {seconds % 3600 // 60:02}m"
    return f"{seconds // 86400}d {seconds % 86400 // 3600}h"


def since(instant: str | None) -> int | None:
    """Milliseconds from this ISO instant until now; None stays None."""
    if not instant:
        return None
    return int((datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds() * 1000)


def ago(instant: str | None) -> str:
    """`3m 10s ago`."""
    passed = since(instant)
    return NOTHING if passed is None else f"{duration(passed)} ago"


def milli(value: int | None) -> str:
    """Thousandths as a number: 1500 is `1.5`."""
    return NOTHING if value is None else f"{(Decimal(value) / 1000).normalize():f}"


def memory(mib: int | None) -> str:
    """In the largest fitting unit: 81920 is `80 GiB`."""
    if mib is None:
        return NOTHING
    return f"{gib(mib)} GiB" if mib >= 1024 else f"{mib} MiB"


def gib(mib: int) -> str:
    """MiB as a number of GiB with one decimal: 8090 is `7.9`."""
    return f"{(Decimal(mib) / 1024).quantize(Decimal('0.1')).normalize():f}"


def size(number: int) -> str:
    """Bytes in the largest fitting unit: `1.5 MiB`."""
    for unit, one in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= one:
            return f"{(Decimal(number) / one).quantize(Decimal('0.1')).normalize():f} {unit}"
    return f"{number} B"


def percent(permille: int | None) -> str:
    """Permille as a percentage: 493 is `49 %`."""
    return NOTHING if permille is None else f"{permille // 10} %"


def bar(permille: int | None, width: int = 10) -> Text:
    """A bar of this many columns; nothing measured is a dotted line, not an empty bar."""
    if permille is None:
        return Text("·" * width, style="dim")
    full = min(width, (permille * width + 999) // 1000)
    return Text.assemble(("━" * full, hue("running")), ("━" * (width - full), "dim"))


def chips(asked: JobChips) -> str:
    """`8 H100`, `0.5 cpu`, `2 × 4 H100`; a dash for a job without chips."""
    if not asked["total_milli"]:
        return NOTHING
    each = f"{milli(asked['milli_per_replica'])} {printable(asked['type'] or 'chip')}"
    return f"{asked['replicas']} × {each}" if asked["replicas"] > 1 else each
