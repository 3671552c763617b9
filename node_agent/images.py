"""The images of a node: fetched when a replica wants one, known for a while, kept while there is room.

A name with a digest means one content for ever, and `localhost/…` what an operator has put here: neither is asked for
again once it is here. Any other name is looked up anew, so that a tag that has moved is followed; many replicas
at once share one look. What a registry refuses is refused at once; one that cannot be reached is asked again for some
minutes, and what is here under that name runs meanwhile. Everything is bounded: how long an image may take, how large
it may be, and what all of them take of the disk.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

from node_agent import podman
from node_agent.containers import Image
from node_agent.podman import NoRoomError, NoSuchImageError, Podman, UnreachableError

FRESH_SECONDS: Final = 30.0
"""So long what a name means is not looked up again; a refusal too."""
FETCH_SECONDS: Final = 1_800.0
AT_ONCE: Final = 2
"""Images fetched at the same time."""
PAUSES_SECONDS: Final = (5.0, 15.0, 45.0, 90.0, 120.0)
"""Between tries of a registry that cannot be reached; after the last one the replica's start has failed."""
MOST_IMAGE: Final = 64 << 30
"""Bytes of one image, unpacked."""
MOST_KEPT: Final = 200 << 30
"""Bytes of all images together, or half of the disk where that is less; those that run are not counted out."""
KEPT_FREE: Final = 2 << 30
"""Bytes of the disk that images leave alone."""
MOST_KNOWN: Final = 1_000

log = logging.getLogger(__name__)


class Failed:
    """Why there is no image; `is_final`: nothing but another name would help."""

    __slots__ = ("is_final", "sentence")

    def __init__(self, sentence: str, *, is_final: bool) -> None:
        self.sentence = sentence
        self.is_final = is_final


class _Name:
    """What one name means."""

    __slots__ = ("found", "looked_at", "said", "task")

    def __init__(self) -> None:
        self.found: Image | Failed | None = None
        self.looked_at = 0.0
        self.task: asyncio.Task[None] | None = None
        self.said = ""


class Images:
    """What the node has, and what it is fetching."""

    def __init__(
        self, tool: Podman, data_dir: Path, on_change: Callable[[], None], in_use: Callable[[], Collection[str]], *,
        pauses: Sequence[float] = PAUSES_SECONDS, most_kept: int = MOST_KEPT, fresh: float = FRESH_SECONDS,
    ) -> None:  # fmt: skip
        """`on_change` is called when a name is known, or there is something new to say of it; `in_use` says which
        images replicas run in."""
        self._tool = tool
        self._folder = data_dir / podman.FOLDER
        self._on_change = on_change
        self._in_use = in_use
        self._pauses = pauses
        self._most_kept = most_kept
        self._fresh = fresh
        self._names: dict[str, _Name] = {}
        self._used_at: dict[str, float] = {}
        """When each image was last asked for."""
        self._going: set[str] = set()
        """Being removed."""
        self._places = asyncio.Semaphore(AT_ONCE)

    def find(self, name: str) -> Image | Failed | None:
        """What the name means now; None while it is being looked up, which begins here."""
        known = self._names.setdefault(name, _Name())
        if known.found is not None and (
            time.monotonic() - known.looked_at < self._fresh or _is_lasting(known, name)
        ):
            if isinstance(known.found, Image):
                self._used_at[known.found.id] = time.time()
            return known.found
        if known.task is None:
            known.found = None
            known.said = f"Fetching image {name}."
            known.task = asyncio.get_running_loop().create_task(self._look_up(name, known))
            self._forget_old_names()
        return None

    def said(self, name: str) -> str:
        """What is to be told of a name that is being looked up."""
        return self._names[name].said if name in self._names else ""

    def known(self, name: str) -> Image | None:
        """What `find` has just found."""
        found = self._names[name].found if name in self._names else None
        return found if isinstance(found, Image) else None

    async def tidy(self) -> None:
        """Images that nobody uses go, the longest unused first, until the rest is within bounds."""
        if not self._folder.is_dir():
            return
        try:
            await self._make_room()
        except (OSError, ValueError, UnreachableError):
            log.exception("Images could not be tidied.")

    # -- looking up ----------------------------------------------------------------------------------------------------

    async def _look_up(self, name: str, known: _Name) -> None:
        try:
            async with self._places:
                known.found = await self._found(name, known)
        except NoSuchImageError as error:
            known.found = Failed(str(error), is_final=True)
        except (OSError, ValueError, KeyError, UnreachableError) as error:
            log.exception("Image %s could not be looked up.", name)
            known.found = Failed(f"Image {name} could not be looked up: {error}."[:400], is_final=False)
        known.looked_at = time.monotonic()
        known.task = None
        self._on_change()

    async def _found(self, name: str, known: _Name) -> Image | Failed:
        lasting = "@" in name or name.startswith("localhost/")
        here = await self._here(name)
        if here is not None and lasting:
            return here
        if name.startswith("localhost/"):
            return Failed(
                f"Image {name} is not on this node; only its operator can put it here.", is_final=True
            )
        self._tell(known, known.said)
        for pause in (*self._pauses, None):
            await self._make_room()
            try:
                await self._tool.fetch(name, seconds=FETCH_SECONDS, room=self._has_room)
                break
            except NoSuchImageError as error:
                return Failed(str(error), is_final=True)
            except NoRoomError:
                failed = Failed(f"There is no room for image {name} on the node's disk.", is_final=False)
            except UnreachableError as error:
                failed = Failed(str(error), is_final=False)
                if here is not None:
                    log.warning("%s What is here under that name is run.", failed.sentence)
                    return here
            log.warning("%s", failed.sentence)
            if pause is None:
                return failed
            self._tell(known, f"{failed.sentence.rstrip('.')}; tried again in {pause:g} s.")
            await asyncio.sleep(pause)
        fetched = await self._here(name)
        if fetched is None:
            return Failed(f"Image {name} was fetched and is not here.", is_final=False)
        if fetched.size > MOST_IMAGE:
            await self._tool.remove(fetched.id)
            size = f"{fetched.size >> 30} GiB; a node takes at most {MOST_IMAGE >> 30} GiB"
            return Failed(f"Image {name} has {size}.", is_final=True)
        return fetched

    async def _here(self, name: str) -> Image | None:
        found = await self._tool.described(podman.reference(name))
        return None if found is None or found.id in self._going else found

    def _tell(self, known: _Name, sentence: str) -> None:
        known.said = sentence
        self._on_change()

    def _forget_old_names(self) -> None:
        if len(self._names) > MOST_KNOWN:
            idle = [name for name, known in self._names.items() if known.task is None]
            for name in sorted(idle, key=lambda one: self._names[one].looked_at)[: MOST_KNOWN // 2]:
                del self._names[name]

    # -- room ----------------------------------------------------------------------------------------------------------

    async def _has_room(self) -> bool:
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize > KEPT_FREE

    async def _make_room(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        disk = os.statvfs(self._folder)
        most = min(self._most_kept, disk.f_blocks * disk.f_frsize // 2)
        kept = await self._tool.kept()
        over = sum(image.size for image in kept) - most
        over = max(over, 2 * KEPT_FREE - disk.f_bavail * disk.f_frsize)
        for image in sorted(kept, key=lambda one: (self._used_at.get(one.id, 0.0), one.id)):
            if over <= 0:
                return
            if image.id in self._in_use() or self._is_asked_for(image.id):
                continue
            await self._remove(image.id)
            over -= image.size

    def _is_asked_for(self, image: str) -> bool:
        return time.time() - self._used_at.get(image, 0.0) < self._fresh

    async def _remove(self, image: str) -> None:
        """From here on no name means it."""
        self._going.add(image)
        for known in self._names.values():
            if isinstance(known.found, Image) and known.found.id == image:
                known.found = None
        try:
            if await self._tool.remove(image):
                log.info("Image %s, which nothing used, was removed.", image[:12])
        finally:
            self._going.discard(image)


def _is_lasting(known: _Name, name: str) -> bool:
    return isinstance(known.found, Image) and ("@" in name or name.startswith("localhost/"))
