"""A real node put together: data directory, limits, users, chips, fork server, executor; and its small daily rounds."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from node_agent import (
    accelerators,
    cdi,
    cgroups,
    containers,
    datadir,
    podman,
    progress,
    shim,
    visibility,
    yielding,
)
from node_agent.clocks import boot_id
from node_agent.collecting import Collector
from node_agent.delivery import Delivery
from node_agent.drivers import Driver, mps
from node_agent.drivers.amd import AmdDriver
from node_agent.drivers.ascend import AscendDriver
from node_agent.drivers.contained import found_in_time
from node_agent.drivers.cpu import CpuDriver
from node_agent.drivers.nvidia import NvidiaDriver
from node_agent.executor import ProcessExecutor
from node_agent.forking import Descriptors, ForkServer
from node_agent.host import memory_total_mib, process_name, processes_outside
from node_agent.images import Images
from node_agent.launching import Place
from node_agent.outbox import Track
from node_agent.podman import Podman
from node_agent.protocol import ChipInfo, Inventory, SecretsGiven, Telemetry, WantedReplica
from node_agent.pulling import Pulling
from node_agent.reconcile import Key, Phase, Stop
from node_agent.secrets import Secrets
from node_agent.telemetry import Sampler
from node_agent.users import Users

LOG_LOOK_SECONDS = 0.2
SWEEP_SECONDS = 2.0
TIDY_SECONDS = 600.0
INVENTORY_SECONDS = 5.0
"""Between looks at the chips: whether they are the same and well. It is asked on a thread."""
FAULT_SECONDS = 10.0
"""How long the replicas on a chip whose MPS has failed may take to end by themselves."""
JOB_KEPT_SECONDS = 24 * 3600
"""A job's directory (and its checkpoints) outlives its last replica here by so long."""
NO_ROOT_NOTE = (
    "The agent runs without root: all jobs of this node run as its own user and can read each other's files."
)

log = logging.getLogger(__name__)


class Node:
    """What `link` talks to on a real node."""

    def __init__(
        self,
        data_dir: Path,
        *,
        server: Callable[[], Delivery | None],
        supervisor_fd: int | None,
        cpu_chips: bool,
        topology: list[str],
        cdi_folders: Sequence[str] = cdi.FOLDERS,
    ) -> None:
        """Look at the machine; nothing runs yet. `server` says where outputs are sent to."""
        self._data_dir = data_dir
        self._collector = Collector(data_dir, server, self._copied)
        self._supervisor_fd = -1 if supervisor_fd is None else supervisor_fd
        self._topology = topology
        self._is_root = os.geteuid() == 0
        self._groups = cgroups.detect(datadir.own_name(data_dir))
        self._driver, driver_notes = _choose_driver(cpu_chips=cpu_chips, enforced=self._groups.cpu)
        self._mps, mps_notes = mps.found(data_dir, self._driver.chips)
        self._ill: dict[int, tuple[str, float]] = {}
        """Chips on which MPS has failed: why, and when that was seen."""
        self._is_told = False
        """Which chips the replicas of before hold, the server has said."""
        self._notes = (
            driver_notes + mps_notes + self._groups.notes + ([] if self._is_root else [NO_ROOT_NOTE])
        )
        self._runtime, why = _find_runtime(data_dir, self._groups)
        self._notes += [why] if why else []
        self._accelerators = accelerators.Accelerators(self._driver, cdi.Cdi(cdi_folders))
        self._not_given = self._accelerators.why_not()
        self._wanted: list[WantedReplica] = []
        self._secrets = Secrets(self._refuse)
        self._foreign = foreign_processes(self._driver, set())
        self._inventory = self._take_stock()
        self._sampler = Sampler(self._driver)

    async def start(self, on_change: Callable[[Track], None]) -> None:
        """Replicas of before go on and new ones can be started. Raises `DataDirError` or `ForkServerError`."""
        if self._is_root and (closed := visibility.closed_ancestor(str(self._data_dir))):
            log.info("%s is closed to job users; shims see past it by mounts of their own.", closed)
        lock = await datadir.lock(self._data_dir)
        self._lease = datadir.open_lease(self._data_dir)
        self._hints = datadir.open_hints(self._data_dir)
        descriptors = Descriptors(
            hints=self._hints, lease=self._lease, lock=lock, supervisor=self._supervisor_fd
        )
        fork_server = ForkServer(self._data_dir, descriptors, separate_users=self._is_root)
        place = Place(
            data_dir=str(self._data_dir),
            boot_id=boot_id(),
            driver=self._driver,
            groups=self._groups,
            users=Users(self._data_dir / "users.json") if self._is_root else None,
            mps=self._mps,
            runtime=self._runtime,
            accelerators=self._accelerators,
        )
        self._images = self._make_images()
        self._pulling = Pulling(self._images, on_change, self._refuse)
        self.executor = ProcessExecutor(
            place, fork_server, on_change, self._collector, self._pulling.image_of, self._secrets.take
        )
        self._collector.find()
        self.executor.find()
        self._collector.forget_others(local.track.key for local in self.executor.locals())
        self._yielding = yielding.Yielding(self.executor.stop, on_change)
        self._yielding.find(self.executor.locals())
        await self._look_at_mps()
        cgroups.remove_stale(self._groups.groups, self.executor.names())
        await fork_server.start(self.executor.fork_server_restarted)
        self._notes += fork_server.notes
        self._inventory = self._take_stock()
        asyncio.get_running_loop().add_reader(self._hints, self._take_hints)

    async def _look_at_mps(self) -> None:
        """The daemons answer; where one client's fault has ended the others' contexts, they have time to end by
        themselves and are then ended, so that the chip recovers. That counts against nobody."""
        if self._mps is None:
            return
        live = [local for local in self.executor.locals() if local.phase in (Phase.LIVE, Phase.STOPPING)]
        shared = mps.shared_chips([local.chips for local in live]) if self._is_told else None
        ill = await asyncio.to_thread(self._mps.look, self._driver.chips, shared)
        now = time.monotonic()
        self._ill = {index: (why, self._ill.get(index, ("", now))[1]) for index, why in ill.items()}
        late = {index for index, (_, since) in self._ill.items() if now - since > FAULT_SECONDS}
        for local in live:
            if local.phase is Phase.LIVE and late & local.chips.keys():
                self.executor.stop(Stop(local.track.key, "platform_stopped", None), mps.ENDED)

    def quit(self) -> None:
        """For a node whose replicas end with it: nothing else of it is left running."""
        if self._mps is not None:
            self._mps.quit()

    async def keep_outputs(self) -> None:
        """What jobs leave is copied and sent; until cancelled."""
        await self._collector.run()

    def _make_images(self) -> Images | None:
        if self._runtime is None:
            return None
        tool = Podman(self._runtime.podman, self._data_dir)
        return Images(tool, self._data_dir, self._take_up, self._images_in_use)

    def _images_in_use(self) -> set[str]:
        return self.executor.images()

    def _refuse(self, wanted: WantedReplica, outcome: str, sentence: str) -> None:
        self.executor.refuse(wanted, outcome, sentence)

    async def keep_images(self) -> None:
        """What nothing uses of containers and images goes; until cancelled."""
        while self._runtime is not None and self._images is not None:
            left = containers.left(self._data_dir, self.executor.names())
            await asyncio.to_thread(containers.remove, self._data_dir, self._runtime, left)
            # Not at once: who may not enrol ends then, and asyncio never ends what is just starting a process.
            await asyncio.sleep(TIDY_SECONDS)
            await self._images.tidy()

    def _copied(self) -> None:
        self.executor.let_go()

    async def make_rounds(self) -> None:
        """Follow logs, find what hints did not tell, look at the chips, remove old job directories; until
        cancelled."""
        next_sweep = next_tidy = next_words = next_owners = 0.0
        next_look = time.monotonic() + INVENTORY_SECONDS
        while True:
            now = time.monotonic()
            self.executor.look_for_log()
            await self.executor.clear_away()
            if now >= next_words:
                self.executor.look_for_progress()
                next_words = now + progress.LOOK_SECONDS
            if now >= next_owners:
                self._yielding.look(self.executor.locals())
                next_owners = now + yielding.LOOK_SECONDS
            if now >= next_sweep:
                self.executor.sweep()
                next_sweep = now + SWEEP_SECONDS
            if now >= next_look:
                await asyncio.to_thread(self._driver.look_again)
                self._not_given = await asyncio.to_thread(self._accelerators.why_not)
                await self._look_at_mps()
                ours = {local.shim_pid for local in self.executor.locals() if local.shim_pid}
                ours |= self._mps.roots() if self._mps else set()
                self._foreign = await asyncio.to_thread(foreign_processes, self._driver, ours)
                self._inventory = self._take_stock()
                next_look = now + INVENTORY_SECONDS
            if now >= next_tidy:
                await asyncio.to_thread(
                    remove_old_jobs, self._data_dir / datadir.JOBS, self.executor.jobs(), JOB_KEPT_SECONDS
                )
                next_tidy = now + TIDY_SECONDS
            await asyncio.sleep(LOG_LOOK_SECONDS)

    # --- conversation.Executor ---

    def apply(self, wanted: list[WantedReplica]) -> None:
        """See `conversation.Executor`."""
        self._is_told = True
        self._wanted = wanted
        self._take_up()

    def _take_up(self) -> None:
        """What is wanted, as far as its images and secrets are here."""
        ready = self._pulling.ready(self._wanted, self.executor.is_here)
        ready = self._secrets.ready(ready, self.executor.is_here)
        self.executor.apply(ready)
        self._yielding.know(ready, self.executor.locals())

    def lacking(self) -> list[Key]:
        """See `conversation.Executor`."""
        return self._secrets.lacking()

    def give(self, given: SecretsGiven) -> None:
        """See `conversation.Executor`."""
        self._secrets.give(given)
        self._take_up()

    def live(self) -> list[tuple[str, int]]:
        """See `conversation.Executor`."""
        return self.executor.live()

    def tracks(self) -> list[Track]:
        """See `conversation.Executor`."""
        return self.executor.tracks()

    def acknowledged(self, track: Track) -> None:
        """See `conversation.Executor`."""
        self.executor.acknowledged(track)

    def renewed(self, sent: int) -> None:
        """Every shim on the node sees it when it next looks; a lease never runs backwards."""
        if sent > shim.read_lease(self._lease):
            shim.write_lease(self._lease, sent)

    def inventory(self) -> Inventory:
        """What the machine has, and in plain words what is not enforced; as of the last look."""
        return self._inventory

    def _take_stock(self) -> Inventory:
        return Inventory(
            cpu_milli=len(os.sched_getaffinity(os.getpid())) * 1000,
            memory_mib=memory_total_mib(),
            chips=[
                _said_ill(_said_foreign(chip, self._foreign.get(chip.index)), self._ill.get(chip.index))
                for chip in self._driver.chips
            ],
            topology=self._topology,
            separate_users=self._is_root,
            images=self._runtime is not None and not self._not_given,
            notes=[
                *self._notes,
                *self._driver.notes,
                *(self._mps.notes() if self._mps else []),
                *self._said_of_images(),
            ],
        )

    def _said_of_images(self) -> list[str]:
        if self._runtime is None or not self._not_given:
            return []  # that there is no runtime is said already
        return [f"Jobs with an image do not run here: {self._not_given}"[:400]]

    def telemetry(self) -> Telemetry:
        """What it does now."""
        return self._sampler.sample(self.executor.locals(), self._foreign)

    def _take_hints(self) -> None:
        try:
            data = os.read(self._hints, 1 << 16)
        except BlockingIOError:
            return
        self.executor.hinted(data.decode("utf-8", "replace").split("\n"))


def remove_old_jobs(root: Path, in_use: set[str], kept_seconds: float) -> list[str]:
    """Remove the directories of jobs that ended here longer ago than that. Returns the names removed."""
    removed = []
    for entry in os.scandir(root):
        old = time.time() - entry.stat(follow_symlinks=False).st_mtime > kept_seconds
        if old and entry.name not in in_use:
            shutil.rmtree(entry.path, ignore_errors=True)
            removed.append(entry.name)
    return removed


def foreign_processes(driver: Driver, shims: set[int]) -> dict[int, list[int]]:
    """By chip, the processes that use it and are none of our replicas'; chips without any are left out."""
    found = {index: processes_outside(pids, shims) for index, pids in driver.processes().items()}
    return {index: pids for index, pids in found.items() if pids}


def _said_foreign(chip: ChipInfo, pids: list[int] | None) -> ChipInfo:
    """Nothing is placed on a chip that somebody else uses."""
    if not pids or not chip.healthy:
        return chip
    who = ", ".join(f"{process_name(pid)} (process {pid})" for pid in pids[:3])
    more = f" and {len(pids) - 3} more" if len(pids) > 3 else ""
    note = f"Used by {who}{more}, not by a job of this platform."
    return msgspec.structs.replace(chip, healthy=False, health_note=note[:200])


def _said_ill(chip: ChipInfo, ill: tuple[str, float] | None) -> ChipInfo:
    if ill is None or not chip.healthy:
        return chip
    return msgspec.structs.replace(chip, healthy=False, health_note=ill[0])


def _find_runtime(data_dir: Path, groups: cgroups.Detected) -> tuple[containers.Runtime | None, str]:
    """What runs images here, or None and why not."""
    runtime, why = containers.probe(data_dir, groups)
    if runtime is not None and (said := podman.why_not(runtime.podman, data_dir)):
        return None, f"Jobs with an image do not run here: {said}."[:400]
    return runtime, why


def _choose_driver(*, cpu_chips: bool, enforced: bool) -> tuple[Driver, list[str]]:
    """Accelerators if there are any; else, or when asked, the cores. With sentences about what was not chosen."""
    notes: list[str] = []
    makes: tuple[tuple[str, Callable[[], Driver]], ...] = (
        ("nvidia", NvidiaDriver), ("amd", AmdDriver), ("ascend", AscendDriver),
    )  # fmt: skip
    for name, make in makes:
        driver, said = found_in_time(make, name)
        notes += said
        if driver is not None and not cpu_chips:
            return driver, notes
    return CpuDriver(enforced=enforced), notes
