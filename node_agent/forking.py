"""The agent's end of the fork server: starts it, hands it launches, starts it again should it ever die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from node_agent.forkserver import LENGTH

RESTART_SECONDS = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
"""Before the first, second … restart in a row; the last one repeats."""
STEADY_SECONDS = 60.0
"""One that lived so long starts the row anew."""
READY_SECONDS = 20.0
_BOOTSTRAP = "import sys; sys.path.insert(0, {root!r}); from node_agent.forkserver import main; main()"

log = logging.getLogger(__name__)


class ForkServerError(Exception):
    """It did not come up; the text says why."""


@dataclass(frozen=True)
class Descriptors:
    """What every shim inherits; -1: there is none."""

    hints: int
    lease: int
    lock: int
    supervisor: int


class ForkServer:
    """One preloaded process that forks a shim per launch."""

    def __init__(self, data_dir: Path, descriptors: Descriptors, *, separate_users: bool) -> None:
        self._data_dir = data_dir
        self._descriptors = descriptors
        self._separate_users = separate_users
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._watch: asyncio.Task[None] | None = None
        self.notes: list[str] = []

    async def start(self, on_restart: Callable[[], None]) -> None:
        """Up and ready afterwards. `on_restart` is called after each later restart. Raises `ForkServerError`."""
        reader = await self._spawn()
        self._watch = asyncio.create_task(self._restart_for_ever(reader, on_restart))

    def send(self, launch: bytes) -> None:
        """Hand over one encoded launch. Lost if the fork server is just down: `on_restart` is the time to repeat."""
        if self._writer is not None:
            self._writer.write(LENGTH.pack(len(launch)) + launch)

    @property
    def pid(self) -> int:
        """Its process id; 0 while it is down."""
        return self._process.pid if self._process else 0

    def close(self) -> None:
        """Let it go; shims live on."""
        if self._watch is not None:
            self._watch.cancel()
        if self._writer is not None:
            self._writer.close()

    async def _spawn(self) -> asyncio.StreamReader:
        ours, theirs = socket.socketpair()
        fds = [fd for fd in vars(self._descriptors).values() if fd >= 0]
        root = str(Path(__file__).resolve().parent.parent)
        with self._errors() as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOTSTRAP.format(root=root), self._settings()],
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                stderr=errors,
                env={"LANG": "C.UTF-8"},
                pass_fds=fds,
                start_new_session=True,
            )
        theirs.close()
        self.notes = await self._ready(self._process)
        reader, self._writer = await asyncio.open_connection(sock=ours)
        return reader

    def _errors(self) -> IO[bytes]:
        """Where a shim that breaks says why."""
        try:
            return open(self._data_dir / "shims.log", "wb")
        except OSError:  # a full disk is no reason not to begin
            return open(os.devnull, "wb")

    async def _ready(self, process: subprocess.Popen[bytes]) -> list[str]:
        assert process.stdout is not None
        loop = asyncio.get_running_loop()
        try:
            line = await asyncio.wait_for(
                loop.run_in_executor(None, process.stdout.readline), timeout=READY_SECONDS
            )
        except TimeoutError:
            line = b""
        process.stdout.close()
        if not line:
            reason = (self._data_dir / "shims.log").read_text(errors="replace").strip().rpartition("\n")[2]
            raise ForkServerError(f"The fork server did not start: {reason or 'no answer'}")
        return [str(note) for note in json.loads(line)["notes"]]

    async def _restart_for_ever(self, reader: asyncio.StreamReader, on_restart: Callable[[], None]) -> None:
        row, clock = 0, asyncio.get_running_loop().time
        while True:
            began = clock()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            code = self._process.wait() if self._process else None
            row = 0 if clock() - began > STEADY_SECONDS else row
            pause = RESTART_SECONDS[min(row, len(RESTART_SECONDS) - 1)]
            row += 1
            log.error("The fork server ended (exit code %s); starting another in %g s.", code, pause)
            await asyncio.sleep(pause)
            try:
                reader = await self._spawn()
            except (ForkServerError, OSError) as error:
                log.error("%s", error)
                reader = asyncio.StreamReader()
                reader.feed_eof()
            else:
                on_restart()

    def _settings(self) -> str:
        return json.dumps(
            {
                **vars(self._descriptors),
                "data_dir": str(self._data_dir),
                "separate_users": self._separate_users,
                "needed": [
                    str(self._data_dir),
                    sys.prefix,
                    sys.base_prefix,
                    os.path.dirname(os.path.realpath(sys.executable)),
                ],
            }
        )
