"""Outputs of jobs: what there is, and bringing it here. Nothing is written outside the folder that the caller names."""

from __future__ import annotations

import os
import time
from pathlib import Path, PurePosixPath
from typing import Any, cast

import httpx

from flexai.client.errors import NotReached, UnexpectedAnswer, WaitTimeout
from flexai.client.transport import Transport
from flexai.client.types import Outputs

PATIENCE_SECONDS = 600.0
"""How long a download waits by itself for what the node still sends."""
TRIES = 8
"""How often in a row one file may be cut off before a byte of it came."""
LONGEST_PAUSE_SECONDS = 2.0


def read(transport: Transport, job_id: str, attempt: int | None, patience: float) -> Outputs:
    """What there is; while more is awaited, at most `patience` seconds later. Raises WaitTimeout."""
    deadline = time.monotonic() + patience
    pause = 0.1
    while True:
        found = cast("Outputs", transport.get(f"/jobs/{job_id}/outputs", attempt=attempt))
        left = deadline - time.monotonic()
        if found["state"] != "awaited" or patience <= 0:
            return found
        if left <= 0:
            raise WaitTimeout(
                f"The outputs of {job_id} are not all there after {patience:g} s: {found['sentence']}"
            )
        transport.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


def download(transport: Transport, job_id: str, found: Outputs, folder: Path) -> list[Path]:
    """Every file stands below the folder, whole, under the path it has in the list; files there are replaced. A file
    that is cut off goes on where it was. Raises UnexpectedAnswer for a path that would lead out of the folder, and
    NotReached."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = [_target(folder, file["path"]) for file in found["files"]]
    for file, target in zip(found["files"], targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        query: dict[str, object] = {"path": file["path"], "attempt": found["attempt"]}
        _fetch(transport, f"/jobs/{job_id}/outputs/file", query, target, file["size"])
    return targets


def _target(folder: Path, path: str) -> Path:
    """Where it goes: below the folder, whatever links lie there already."""
    parts = PurePosixPath(path).parts
    plain = path.isprintable() and "\\" not in path and not Path(path).drive
    if not parts or not plain or path.startswith("/") or ".." in parts:
        raise UnexpectedAnswer(f"The server names a file {path[:200]!r}, which is no path below a folder.")
    target = folder.joinpath(*parts)
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise UnexpectedAnswer(f"{target} leads out of {folder}: there is a link in its way.")
    return target


def _fetch(transport: Transport, address: str, query: dict[str, object], target: Path, size: int) -> None:
    beside = target.with_name(f".{target.name[:200]}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            failures = 0
            while (have := file.tell()) < size:
                try:
                    _take(transport, address, query, file, size)
                except httpx.TransportError as error:
                    failures = 0 if file.tell() > have else failures + 1
                    if failures >= TRIES:
                        raise NotReached(
                            f"{target.name} was cut off: {error or type(error).__name__}."
                        ) from error
                    transport.sleep(min(LONGEST_PAUSE_SECONDS, 0.1 * 2**failures))
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _take(transport: Transport, address: str, query: dict[str, object], file: Any, size: int) -> None:
    """What is missing is added, as far as the connection carries."""
    have = file.tell()
    headers = {"Range": f"bytes={have}-"} if have else {}
    with transport.stream(address, query=query, headers=headers) as (status, pieces):
        if have and status != 206:
            raise UnexpectedAnswer("The server does not send the rest of a file.")
        for piece in pieces:
            if file.tell() + len(piece) > size:
                raise UnexpectedAnswer("The server sends more of a file than it has.")
            file.write(piece)
    if file.tell() == have:
        raise httpx.RemoteProtocolError("nothing came")
