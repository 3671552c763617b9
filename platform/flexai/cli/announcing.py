"""What operators announce, said once on this machine."""

from __future__ import annotations

import json

from rich.text import Text

from flexai.cli import output, session
from flexai.client import Client, FlexaiError, NotFound
from flexai.client.types import Announcement

MOST_KEPT = 200
"""Ids of what was said."""
_HUES = {"info": "running", "warning": "queued", "urgent": "failed"}


def announce(client: Client) -> None:
    """What was not said here before is on stderr, the oldest first. What cannot be read or kept is no failure of the
    command that asks."""
    try:
        found = client.announcements()
    except NotFound:
        return  # a server from before there were any
    except FlexaiError as error:
        output.say(f"Announcements: {error}", "dim")
        return
    told = _told()
    new = [one for one in reversed(found) if one["id"] not in told]
    for one in new:
        output.err().print(_said(one))
    if new:
        _keep([*told, *(one["id"] for one in new)])


def _said(one: Announcement) -> Text:
    word = "Announcement" if one["level"] == "info" else one["level"].capitalize()
    style = f"bold {output.hue(_HUES.get(one['level'], 'running'))}"
    return Text.assemble((f"{output.printable(word)}: ", style), output.printable(one["text"]))


def _told() -> list[str]:
    try:
        kept = json.loads(session.told_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []  # none yet, or not readable: they are said again
    return [str(one) for one in kept] if isinstance(kept, list) else []


def _keep(ids: list[str]) -> None:
    path = session.told_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(json.dumps(ids[-MOST_KEPT:]), encoding="utf-8")
    except OSError as error:
        output.say(f"Announcements will be said again: cannot write {path}: {error.strerror}.", "dim")
