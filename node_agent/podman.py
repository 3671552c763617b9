"""Asks `podman` to fetch, describe and remove images: the agent's own ones, apart from whatever else runs on the node.

What registries need (certificates, mirrors, credentials) is the node's to say, where podman looks for it:
`/etc/containers/registries.conf`, `REGISTRY_AUTH_FILE`. Podman gets the agent's own environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node_agent.containers import Image
from node_agent.datadir import own_name

FOLDER: Final = "images"
"""In the agent's data directory."""
ASK_SECONDS: Final = 60.0
"""For anything but fetching."""
LOOK_SECONDS: Final = 1.0
"""Between looks at the disk while an image is fetched."""
_REFERENCE: Final = re.compile(
    r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(:\d{1,5})?(/[a-z0-9._-]+)+(:[\w.-]{1,128})?(@sha\d+:[0-9a-f]{64,128})?"
)
_FINAL: Final = re.compile(
    r"manifest unknown|name unknown|not known to registry|repository does not exist|resource is denied|denied:|"
    r"unauthorized|authentication required|does not match|no image found in (image index|manifest list)|name invalid|"
    r"StatusCode: 40[134]|status:? 40[134]|404 \(?Not Found", re.IGNORECASE,
)  # fmt: skip
"""What a registry says when asking again would not help."""
_NOT_HERE: Final = re.compile(r"no such image|image not known|unable to find", re.IGNORECASE)
_NO_ROOM: Final = re.compile(r"no space left|disk quota exceeded", re.IGNORECASE)


class NoSuchImageError(Exception):
    """There is no such image for us, and asking again does not help; the text is a sentence for people."""


class UnreachableError(Exception):
    """It could not be fetched now; the text is a sentence for people."""


class NoRoomError(Exception):
    """There is no room for it on the node's disk."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An image that is here, as a list tells it."""

    id: str
    size: int


class Podman:
    """The images of one agent."""

    def __init__(self, program: str, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._program = program

    async def fetch(self, name: str, *, seconds: float, room: Callable[[], Awaitable[bool]]) -> None:
        """The image is here as its registry has it now. `room` is asked meanwhile whether there is room left.

        Raises `NoSuchImageError`, `UnreachableError` or `NoRoomError`.
        """
        process = await self._start("pull", "--quiet", f"docker://{reference(name)}")
        reading = asyncio.create_task(process.communicate())
        try:
            async with asyncio.timeout(seconds):
                while not (await asyncio.wait({reading}, timeout=LOOK_SECONDS))[0]:
                    if not await room():
                        raise NoRoomError
        except TimeoutError:
            raise UnreachableError(f"Image {name} was not here after {seconds:.0f} s.") from None
        finally:
            await _end(process, reading)
        if process.returncode:
            raise _judged(name, reading.result()[1])

    async def described(self, name: str) -> Image | None:
        """The image of this name or id that is here; None when there is none."""
        code, out, said = await self._ask("image", "inspect", "--format", "json", plain(name))
        if code and not _NOT_HERE.search(_last_line(said)):
            raise UnreachableError(f"podman says: {_last_line(said)}")
        return None if code else self._image(json.loads(out)[0])

    async def kept(self) -> list[Kept]:
        """Every image that is here."""
        code, out, said = await self._ask("images", "--all", "--no-trunc", "--format", "json")
        if code:
            raise UnreachableError(f"podman does not list its images: {_last_line(said)}.")
        sizes = {str(one["Id"]): int(one.get("Size") or 0) for one in json.loads(out or b"[]")}
        return [Kept(image, size) for image, size in sorted(sizes.items())]

    async def remove(self, image: str) -> bool:
        """The image is gone, under all its names. False when podman did not remove it."""
        code, _, _ = await self._ask("rmi", "--force", image)
        return code == 0

    def _image(self, told: dict[str, Any]) -> Image:
        data = told["GraphDriver"]["Data"]
        lower = str(data.get("LowerDir") or "")
        folders = [str(data["UpperDir"]), *(lower.split(":") if lower else ())]
        env = dict(item.partition("=")[::2] for item in (told.get("Config") or {}).get("Env") or ())
        return Image(
            id=str(told["Id"]),
            digest=str(told.get("Digest") or ""),
            size=int(told.get("Size") or 0),
            layers=":".join(_short(folder) for folder in folders),
            layers_dir=os.path.dirname(os.path.dirname(folders[0])),
            env=env,
        )

    async def _ask(self, *arguments: str) -> tuple[int, bytes, bytes]:
        process = await self._start(*arguments)
        reading = asyncio.create_task(process.communicate())
        try:
            async with asyncio.timeout(ASK_SECONDS):
                await asyncio.wait({reading})
        except TimeoutError:
            raise UnreachableError(f"podman has not answered for {ASK_SECONDS:.0f} s.") from None
        finally:
            await _end(process, reading)
        out, said = reading.result()
        return process.returncode or 0, out, said

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self._program, *_settled(self._data_dir), *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=_environment(self._data_dir), start_new_session=True,
        )  # fmt: skip


def why_not(program: str, data_dir: Path) -> str:
    """Empty when podman works here. The store is made then, so that `podman --root` finds it as it is."""
    try:
        asked = [program, *_settled(data_dir), "images", "--quiet"]
        done = subprocess.run(
            asked, env=_environment(data_dir), stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_SECONDS,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"podman could not be tried: {error}"
    return f"podman says: {_last_line(done.stderr)}" if done.returncode else ""


def _settled(data_dir: Path) -> list[str]:
    """Where podman keeps the agent's images; these folders are there afterwards. Raises `OSError`."""
    root, volatile = (
        data_dir / FOLDER,
        Path("/run") / own_name(data_dir),
    )  # at most 50 characters, says podman
    for folder in (root / "store", root / "tmp", volatile):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [
        "--root", str(root / "store"), "--runroot", str(volatile), "--tmpdir", str(volatile / "tmp"),
        "--storage-driver", "overlay", "--storage-opt", "overlay.skip_mount_home=true",
        "--events-backend", "none", "--log-level", "error",
    ]  # fmt: skip


def _environment(data_dir: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(data_dir / FOLDER / "tmp")}


def reference(name: str) -> str:
    """The name as registries are asked for it: a digest says all, so the tag beside it is left out. Raises
    `NoSuchImageError` for what is no full name of an image."""
    if not _REFERENCE.fullmatch(name):
        raise NoSuchImageError(f"{name[:100]!r} is no full name of an image.")
    return plain(name)


def plain(name: str) -> str:
    """The name without the tag that stands beside a digest."""
    before, at, digest = name.partition("@")
    folder, slash, last = before.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}{at}{digest}" if at else name


def _short(folder: str) -> str:
    """A layer by the short name that podman keeps for it: one mount takes a page of names, and images have many."""
    with open(f"{os.path.dirname(folder)}/link", encoding="ascii") as file:
        return f"l/{file.read().strip()}"


def _judged(name: str, said: bytes) -> Exception:
    line = _last_line(said)
    if _NO_ROOM.search(line):
        return NoRoomError()
    if _FINAL.search(line):
        return NoSuchImageError(f"Image {name} cannot be had: {line}"[:400])
    return UnreachableError(f"Image {name} could not be fetched: {line}"[:400])


def _last_line(said: bytes) -> str:
    """What podman complains of, without its own trimmings."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    line = lines[-1] if lines else "podman said nothing"
    return "".join(char if char.isprintable() else " " for char in line.removeprefix("Error: "))


async def _end(process: asyncio.subprocess.Process, reading: asyncio.Task[tuple[bytes, bytes]]) -> None:
    """Nothing of it runs any more, and what it said is read."""
    if not reading.done():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.wait({reading}, timeout=5)
        reading.cancel()
