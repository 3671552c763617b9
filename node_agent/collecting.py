"""Keeps the outputs of jobs that end here: copies them, then sends them, however often either is cut off.

    outputs/NAME.json     what is asked for, from before the replica starts until its files are sent
    outputs/NAME/         the copies, numbered, and `list.json` once they are all there

The copy is made at once, so that the job's next attempt here (which writes into the same folder) waits for nothing but
that. Sending takes its time: the copies outlive agent, connection and job, and are sent from where the server says.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from node_agent import spool
from node_agent.delivery import Delivery, DeliveryRefusedError, deliver
from node_agent.outputs import collect
from node_agent.protocol import WantedOutputs
from node_agent.protocol_outputs import OUTPUTS_AFTER, OutputFile, OutputsOffered
from node_agent.reconcile import Key

OUTPUTS: Final = "outputs"
"""Folder of the data directory, the agent's alone."""
KEPT_SECONDS: Final = 24 * 3600
"""How long the server is tried."""
LEAST_PAUSE_SECONDS: Final = 0.5
MOST_PAUSE_SECONDS: Final = 30.0
_LIST: Final = "list.json"

log = logging.getLogger(__name__)


class Asked(msgspec.Struct):
    """What is to be kept of one replica."""

    attempt: str
    job: str
    job_dir: str
    folder: str
    """Working directory below it; empty: that itself."""
    wanted: WantedOutputs
    uid: int | None
    due: bool = False
    """The replica has ended, and its files are to be kept."""


class Collector:
    """The outputs of one node."""

    def __init__(
        self, data_dir: Path, server: Callable[[], Delivery | None], on_copied: Callable[[], None]
    ) -> None:
        """`server` says where to send to, None while that is not known; `on_copied` is called when a job's folder
        is free again."""
        self._folder = data_dir / OUTPUTS
        self._server = server
        self._on_copied = on_copied
        self._asked: dict[str, Asked] = {}
        self._to_copy = asyncio.Event()
        self._to_send = asyncio.Event()
        self._copying: dict[str, Asked] = {}
        self._sending: dict[str, None] = {}

    def find(self) -> None:
        """What an earlier agent left is taken up."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for path in self._folder.glob("*.json"):
            name = path.name.removesuffix(".json")
            asked = _read(path)
            if asked is None:
                self._remove(name)
            elif not asked.due:
                self._asked[name] = asked
            elif (self._folder / name / _LIST).exists():
                self._send_later(name)
            else:
                self._copy_later(name, asked)

    def forget_others(self, keys: Iterable[Key]) -> None:
        """Replicas that are none of these will never end here: nothing is kept of them."""
        known = {spool.file_name(*key) for key in keys}
        for name in [name for name, asked in self._asked.items() if not asked.due and name not in known]:
            del self._asked[name]
            self._remove(name)

    def expect(self, key: Key, asked: Asked) -> None:
        """The replica is about to start; at its end these files are to be kept."""
        name = spool.file_name(*key)
        self._asked[name] = asked
        self._keep(name, asked)

    def ended(self, key: Key, outcome: str) -> None:
        """The replica has ended so: its files are copied before anything of the job starts here again."""
        name = spool.file_name(*key)
        asked = self._asked.get(name)
        if asked is None or asked.due:
            return
        if outcome in OUTPUTS_AFTER:
            asked.due = True
            self._keep(name, asked)
            self._copy_later(name, asked)
        else:
            del self._asked[name]
            self._remove(name)

    def is_copying(self, job: str) -> bool:
        """Whether the job's folder is being copied from."""
        return any(asked.job == job for asked in self._copying.values())

    async def run(self) -> None:
        """Copy and send whatever comes, until cancelled."""
        await asyncio.gather(self._copy_all(), self._send_all())

    # --- copies ----------------------------------------------------------------------------------------------------

    def _copy_later(self, name: str, asked: Asked) -> None:
        self._copying[name] = asked
        self._to_copy.set()

    async def _copy_all(self) -> None:
        while True:
            await self._to_copy.wait()
            self._to_copy.clear()
            while self._copying:
                name, asked = next(iter(self._copying.items()))
                await self._copy(name, asked)
                self._asked.pop(name, None)
                del self._copying[name]
                self._on_copied()

    async def _copy(self, name: str, asked: Asked) -> None:
        try:
            await asyncio.to_thread(copy, asked, self._folder / name)
        except Exception:  # whatever a job's folder holds, the next job's outputs are kept
            log.exception("The outputs of %s were not kept.", name)
            self._remove(name)
        else:
            self._send_later(name)

    # --- sending ---------------------------------------------------------------------------------------------------

    def _send_later(self, name: str) -> None:
        self._sending[name] = None
        self._to_send.set()

    async def _send_all(self) -> None:
        pause = LEAST_PAUSE_SECONDS
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            while self._sending:
                name = next(iter(self._sending))
                is_over = await self._send(name)
                del self._sending[name]
                if is_over:
                    self._remove(name)
                    pause = LEAST_PAUSE_SECONDS
                else:
                    self._sending[name] = (
                        None  # behind the others: what fails with one may go well with the next
                    )
                    await asyncio.sleep(pause)
                    pause = min(MOST_PAUSE_SECONDS, pause * 2)

    async def _send(self, name: str) -> bool:
        """True when nothing more is to be sent of it."""
        try:
            return await asyncio.to_thread(self._deliver, name)
        except DeliveryRefusedError as error:
            log.error("The server does not take the outputs of %s: %s", name, error)
        except OSError as error:
            log.warning("The outputs of %s are not sent yet: %s", name, error)
            return False
        except Exception:  # a fault with one is no fault with the others
            log.exception("The outputs of %s are not sent.", name)
        return True

    def _deliver(self, name: str) -> bool:
        folder = self._folder / name
        if not (folder / _LIST).exists():
            raise DeliveryRefusedError("the copies are gone")
        if time.time() - (folder / _LIST).stat().st_mtime > KEPT_SECONDS:
            raise DeliveryRefusedError("it could not be reached for a day")
        server = self._server()
        if server is None:
            return False
        deliver(server, name.rsplit(".", 2)[0], folder, read_list(folder))
        return True

    # --- files -----------------------------------------------------------------------------------------------------

    def _keep(self, name: str, asked: Asked) -> None:
        """On disk too, where there is room: an agent that follows this one goes on with it."""
        path = self._folder / f"{name}.json"
        beside = path.with_suffix(".new")
        try:
            beside.write_bytes(msgspec.json.encode(asked))
            beside.replace(path)
        except OSError as error:
            log.error("The wish for the outputs of %s is kept in memory only: %s", name, error)

    def _remove(self, name: str) -> None:
        shutil.rmtree(self._folder / name, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            (self._folder / f"{name}.json").unlink()


def copy(asked: Asked, folder: Path) -> None:
    """The copies and their list are in the folder. Raises `OSError`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    made = collect(asked.job_dir, asked.folder, asked.wanted, str(folder), uid=asked.uid)
    files = [OutputFile(kept.path, kept.size) for kept in made.files]
    beside = folder / f"{_LIST}.new"
    beside.write_bytes(msgspec.json.encode(OutputsOffered(files=files, said=made.said)))
    beside.replace(folder / _LIST)


def read_list(folder: Path) -> OutputsOffered:
    """What lies in the folder. Raises `OSError`."""
    return msgspec.json.decode((folder / _LIST).read_bytes(), type=OutputsOffered)


def _read(path: Path) -> Asked | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Asked)
    except (OSError, msgspec.MsgspecError):
        return None
