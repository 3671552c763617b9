"""Parts of an NVIDIA chip through MPS: a control daemon of the agent's own for each chip, and what a job is told.

What it is good for: the programs of several replicas compute on one chip at once, and the CUDA runtime keeps each to
the part of the chip's processors and to the memory that its environment names, without the program knowing. What it is
**not**: a limit that nobody gets round. A program may drop the variables, or not connect to the daemon at all; and the
limits are of each process, not of the replica. The daemon is told the largest part that lives on the chip as a second
line, but that is all. So a chip's parts stay `cooperative` (Q4), with MPS and without.

A fault of one client ends the contexts of all clients of the chip, and its server takes no new ones until they have
gone: the chip then takes no new work, and those who have not ended by themselves are ended, so that it recovers.

Written against NVIDIA's published interface (Multi-Process Service, releases 550 to 580) and tested against a stand-in
of `nvidia-cuda-mps-control`; **not run on hardware yet**.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from node_agent.host import process_name
from node_agent.protocol import ChipInfo

PROGRAM = "nvidia-cuda-mps-control"
ANSWER_SECONDS = 5.0
"""A control daemon that takes longer to answer counts as hung."""
MOST_AT_ONCE = 16
"""Daemons that are looked at together: one that hangs holds up no other."""
START_SECONDS = 5.0
LAUNCH_SECONDS = 30.0
"""A replica that was launched so short ago may not have connected yet."""
_COMM = 15
"""Characters of a process's name that the kernel keeps."""
MOST_PATH = 107 - len("/control_privileged")
"""Characters of a folder in which the daemon's sockets have room for their names."""
FAULT = "A program on it failed and ended the contexts of all programs on it; it takes work again once they have gone."
ENDED = "Ended by its node: a program beside it on the chip failed and took its context with it."
LOST = "Its MPS control daemon was lost; it takes work again once the programs that were connected have gone."

log = logging.getLogger(__name__)


class Mps:
    """The control daemons of this node. `look` is called on one thread, `environment` anywhere."""

    def __init__(self, folder: Path, program: str) -> None:
        """`folder` is the agent's own; below it each chip has one."""
        self._folder = folder
        self._program = program
        self._daemons: dict[str, _Daemon] = {}

    def environment(self, chip: ChipInfo, milli: int, memory_mib: int) -> dict[str, str]:
        """Variables of a replica that holds so much of the chip. Empty for a whole chip, and for an instance."""
        if milli >= 1000 or chip.parent:
            return {}
        percentage = max(1, -(-milli // 10))
        daemon = self._of(chip)
        daemon.launched_at = time.monotonic()
        daemon.most_percentage = max(daemon.most_percentage, percentage)
        daemon.most_mib = max(daemon.most_mib, memory_mib or chip.memory_mib)
        told = {
            "CUDA_MPS_PIPE_DIRECTORY": str(daemon.pipes),
            "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(percentage),
        }
        if memory_mib:
            told["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"0={memory_mib}M"
        return told

    def look(self, chips: Collection[ChipInfo], shared: Collection[int] | None) -> dict[int, str]:
        """Every whole chip has a daemon that answers; chips by index that may take no work, and why.

        `shared`: indexes of chips of which replicas that live hold parts; None while that is not known.
        """
        looked_at = [  # not: an instance, a chip that is divided, or one that does not answer
            chip for chip in chips if not chip.parent and (chip.healthy or chip.index in (shared or ()))
        ]
        with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
            whys = list(
                pool.map(
                    lambda chip: self._of(chip).look(None if shared is None else chip.index in shared),
                    looked_at,
                )
            )
        return {chip.index: why for chip, why in zip(looked_at, whys, strict=True) if why}

    def roots(self) -> set[int]:
        """Ids of the daemons: what descends from them is not foreign."""
        return {pid for daemon in self._daemons.values() if (pid := daemon.pid())}

    def notes(self) -> list[str]:
        """A sentence for each chip whose daemon does not answer."""
        return [
            f"The MPS control daemon of chip {daemon.name} does not start: programs that share the chip are told their "
            f"part of it only. Its log lies in {daemon.logs}."
            for daemon in self._daemons.values()
            if not daemon.answers
        ]

    def quit(self) -> None:
        """No daemon is left. For an agent whose replicas end with it."""
        for daemon in self._daemons.values():
            daemon.quit()

    def _of(self, chip: ChipInfo) -> _Daemon:
        if chip.uuid not in self._daemons:
            self._daemons[chip.uuid] = _Daemon(self._folder / str(chip.index), chip.uuid, self._program)
        return self._daemons[chip.uuid]


class _Daemon:
    """The control daemon of one chip; it outlives the agent, as the replicas do."""

    def __init__(self, folder: Path, uuid: str, program: str) -> None:
        self.name = folder.name
        self.pipes = folder / "pipe"
        self.logs = folder / "log"
        self.answers = True
        self.most_percentage = 0
        """Of the parts that live on the chip, as far as this agent has launched them; and MiB:"""
        self.most_mib = 0
        self.launched_at = -LAUNCH_SECONDS
        self._held_to = (0, 0)
        self._uuid = uuid
        self._program = program
        self._child: subprocess.Popen[bytes] | None = None
        self._why = ""

    def look(self, is_shared: bool | None) -> str:
        """It answers, or was started anew; why the chip may take no work, empty where it may."""
        if is_shared is False:
            is_shared = time.monotonic() - self.launched_at < LAUNCH_SECONDS
        servers = self._servers()
        if servers is None:
            if is_shared:
                self._why = LOST
            self._start()
            servers = self._servers()
        self.answers, servers = servers is not None, servers or []
        if any(self._ask(f"get_server_status {server}") == "FAULT" for server in servers):
            self._why = FAULT
        if is_shared is False:
            self._clear(servers)
        elif (self.most_percentage, self.most_mib) != self._held_to:
            self._hold(servers)
        return self._why

    def pid(self) -> int:
        """Of the daemon, by its own file; 0 where there is none."""
        try:
            return int((self.pipes / f"{PROGRAM}.pid").read_text())
        except (OSError, ValueError):
            return 0

    def quit(self) -> None:
        """It has ended, or was told to."""
        self._ask("quit -t 1")

    def _servers(self) -> list[int] | None:
        """Ids of the server processes; None when the daemon does not answer."""
        said = self._ask("get_server_list")
        return None if said is None else [int(word) for word in said.split() if word.isdigit()]

    def _clear(self, servers: Collection[int]) -> None:
        """Nobody holds a part of the chip: whoever gets the whole finds nothing of ours on it."""
        for server in servers:
            self._ask(f"shutdown_server {server} -f")
        self._why, self.most_percentage, self.most_mib = "", 0, 0

    def _hold(self, servers: Collection[int]) -> None:
        """No client is given more than the largest part, whatever its environment says: those to come of servers that
        run, and of servers to come."""
        percentage, mib = self.most_percentage, self.most_mib
        commands = [
            f"set_default_active_thread_percentage {percentage}",
            f"set_default_device_pinned_mem_limit 0 {mib}M",
        ]
        for server in servers:
            commands.append(f"set_active_thread_percentage {server} {percentage}")
            commands.append(f"set_device_pinned_mem_limit {server} 0 {mib}M")
        if all(self._ask(command) is not None for command in commands):
            self._held_to = percentage, mib

    def _start(self) -> None:
        """A fresh one answers, or the log says that none does."""
        self._end_silent_one()
        self._held_to = (0, 0)
        for folder in (self.pipes, self.logs):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (self.pipes.parent.parent, self.pipes.parent, self.pipes, self.logs):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        self._child = subprocess.Popen(
            [self._program, "-f"],
            env=self._environment() | {"CUDA_VISIBLE_DEVICES": self._uuid},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while self._servers() is None:
            if self._child.poll() is not None or time.monotonic() > deadline:
                log.error("The MPS control daemon of %s does not start; see %s.", self._uuid, self.logs)
                return
            time.sleep(0.05)

    def _end_silent_one(self) -> None:
        """The one before, of this agent or an earlier one, is gone, and what descends from it with it."""
        pid = self.pid()
        if pid and process_name(pid) == PROGRAM[:_COMM]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def _ask(self, command: str) -> str | None:
        """What the daemon answers; None when it does not."""
        try:
            asked = subprocess.run(
                [self._program],
                check=False,
                input=command + "\n",
                env=self._environment(),
                capture_output=True,
                text=True,
                timeout=ANSWER_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("The MPS control daemon of %s does not answer %r: %s", self._uuid, command, error)
            return None
        return asked.stdout.strip() if asked.returncode == 0 else None

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "CUDA_MPS_PIPE_DIRECTORY": str(self.pipes),
            "CUDA_MPS_LOG_DIRECTORY": str(self.logs),
        }


def found(data_dir: Path, chips: Collection[ChipInfo]) -> tuple[Mps | None, list[str]]:
    """MPS for these chips, where they are NVIDIA's and its program is there; with a sentence where it is not."""
    if not any(chip.driver == "nvidia" and not chip.parent for chip in chips):
        return None, []
    program, folder = shutil.which(PROGRAM), data_dir / "mps"
    if program is None:
        return None, [
            f"{PROGRAM} is not installed: programs that share a chip are told their part of it only."
        ]
    if len(str(folder / "00" / "pipe")) > MOST_PATH:
        return None, [f"The data directory's path is too long for MPS ({MOST_PATH} characters at most)."]
    return Mps(folder, program), []


def shared_chips(held: Collection[Mapping[int, int]]) -> set[int]:
    """Indexes of chips of which some replica holds a part; `held`: milli by index, of each replica that lives."""
    return {index for chips in held for index, milli in chips.items() if milli < 1000}
