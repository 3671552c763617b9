"""Tells this user's command line how to reach the platform that runs here, so that it needs no login."""

from __future__ import annotations

import json
import os
from pathlib import Path

from flexai.embedded.home import Home, write_private


def announce(home: Home, url: str, token: str) -> None:
    """`client.json` in the data directory has address and token (0600); the user's configuration points to
    it.

    A configuration folder that cannot be written leaves the platform as it is; `flexai login` still works.
    """
    file = _client_file(home)
    write_private(file, json.dumps({"url": url, "token": token}) + "\n")
    pointer = _pointer()
    try:
        pointer.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = pointer.with_suffix(f".{os.getpid()}")
        unfinished.unlink(missing_ok=True)
        unfinished.symlink_to(file)
        unfinished.replace(pointer)
    except OSError:
        return


def withdraw(home: Home) -> None:
    """Nothing points to this platform afterwards; what points to another stays."""
    file, pointer = _client_file(home), _pointer()
    file.unlink(missing_ok=True)
    try:
        if pointer.readlink() == file:
            pointer.unlink()
    except OSError:
        return


def _client_file(home: Home) -> Path:
    return home.folder / "client.json"


def _pointer() -> Path:
    """Where `flexai.cli.session` looks."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "flexai" / "local.json"
