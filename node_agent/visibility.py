"""Makes what jobs need reachable for other users, when it lies below a directory that only root may enter.

A platform installed below `/root` (mode 0700) runs jobs as users who may not pass `/root`. Instead of weakening
that directory, the fork server gets mounts of its own: there, the closed directory is an empty one that holds
nothing but the needed directories. Done once; every shim inherits it; the rest of the machine sees no
difference."""

from __future__ import annotations

import os

from node_agent import kernel


def closed_ancestor(path: str) -> str | None:
    """The topmost directory above (or at) `path` that other users may not pass; None when there is none."""
    current = "/"
    for part in os.path.realpath(path).split("/")[1:]:
        current = os.path.join(current, part)
        if not os.path.isdir(current):
            return None
        if not os.stat(current).st_mode & 0o001:
            return current
    return None


def open_up(needed: list[str]) -> None:
    """From here on this process and its children reach `needed` through every closed directory above it.

    Raises `OSError` when the machine does not permit mounts; nothing has changed for others in any case.
    """
    closed: dict[str, list[str]] = {}
    for path in needed:
        ancestor = closed_ancestor(path)
        if ancestor is not None:
            closed.setdefault(ancestor, []).append(os.path.realpath(path))
    if not closed:
        return
    kernel.private_mounts()
    for ancestor, paths in closed.items():
        _hide_all_but(ancestor, _outermost(paths))


def _hide_all_but(ancestor: str, paths: list[str]) -> None:
    handles = [(path, os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) for path in paths]
    kernel.mount("none", ancestor, "tmpfs", 0, "mode=0711,size=1m")
    for path, handle in handles:
        os.makedirs(path, mode=0o755, exist_ok=True)
        kernel.mount(f"/proc/self/fd/{handle}", path, None, kernel.MS_BIND | kernel.MS_REC)
        os.close(handle)


def _outermost(paths: list[str]) -> list[str]:
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(path == other or path.startswith(other + "/") for other in kept):
            kept.append(path)
    return kept
