"""The agent's process: one real node, or many simulated ones, each with a connection of its own."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node_agent import cdi, datadir
from node_agent.clocks import boot_id
from node_agent.delivery import Delivery
from node_agent.drivers.simulated import Shape, SimulatedDriver
from node_agent.enrol import Enrolment
from node_agent.link import Link
from node_agent.node import Node
from node_agent.runtimes.simulated import SimulatedExecutor

log = logging.getLogger(__name__)

SIMULATED_NICE = 5


@dataclass(frozen=True)
class Settings:
    """Everything that the command line says."""

    server: str
    data_dir: Path
    name: str
    enrol_token: str | None = None
    simulate: Shape | None = None
    supervisor_fd: int | None = None
    cpu_chips: bool = False
    topology: tuple[str, ...] = ()
    cdi_folders: tuple[str, ...] = cdi.FOLDERS


def run(settings: Settings) -> None:
    """Serve until SIGTERM, SIGINT, or the end of the supervisor. Shims live on (unless the supervisor has gone).

    Raises `DataDirError`, `ForkServerError` or `EnrolRefusedError` when it cannot begin.
    """
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    ends: list[Callable[[], None]] = []
    _exit_on_signals(settings.supervisor_fd, ends)
    data_dir = datadir.prepare(settings.data_dir)
    tasks = (
        await _simulated(settings, data_dir)
        if settings.simulate is not None
        else await _real(settings, data_dir, ends)
    )
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()


async def _real(
    settings: Settings, data_dir: Path, ends: list[Callable[[], None]]
) -> list[asyncio.Task[None]]:
    enrolment = _enrolment(settings, data_dir, settings.name, "credential.json")
    node = Node(
        data_dir,
        server=lambda: _delivery(enrolment),
        supervisor_fd=settings.supervisor_fd,
        cpu_chips=settings.cpu_chips,
        topology=list(settings.topology),
        cdi_folders=settings.cdi_folders,
    )
    ends.append(node.quit)
    link = Link(enrolment, node, boot_id=boot_id())
    await node.start(link.changed)
    log.info("Serving %d chips of %s.", len(node.inventory().chips), settings.name)
    work = (link.run(), node.make_rounds(), node.keep_outputs(), node.keep_images())
    return [asyncio.create_task(job) for job in work]


def _delivery(enrolment: Enrolment) -> Delivery | None:
    """Where outputs go, once the node is known there."""
    credential = enrolment.stored()
    return None if credential is None else Delivery(enrolment.server, credential.credential)


async def _simulated(settings: Settings, data_dir: Path) -> list[asyncio.Task[None]]:
    """A simulated node's replicas end with the agent: each start of it is a new boot. Where cores are scarce they step
    back: real nodes take nothing of the machine that the platform is on."""
    assert settings.simulate is not None
    os.nice(SIMULATED_NICE)
    await datadir.lock(data_dir)
    boot = str(uuid.uuid4())
    tasks = []
    for number in range(1, settings.simulate.nodes + 1):
        name = f"sim-{number:03d}"
        executor = SimulatedExecutor(SimulatedDriver(settings.simulate, number))
        link = Link(_enrolment(settings, data_dir, name, f"{name}.json"), executor, boot_id=boot)
        executor.start(link.changed)
        tasks.append(asyncio.create_task(link.run()))
    log.info("Simulating %d nodes of %d chips.", settings.simulate.nodes, settings.simulate.chips)
    return tasks


def _enrolment(settings: Settings, data_dir: Path, name: str, file: str) -> Enrolment:
    return Enrolment(server=settings.server, name=name, token=settings.enrol_token, path=data_dir / file)


def _exit_on_signals(supervisor_fd: int | None, ends: list[Callable[[], None]]) -> None:
    """At once: everything that matters is on disk already. `ends` are called when the supervisor has gone, with which
    the replicas end."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _exit, f"{number.name} received")
    if supervisor_fd is not None:
        loop.add_reader(supervisor_fd, _supervisor_moved, supervisor_fd, ends)


def _supervisor_moved(fd: int, ends: list[Callable[[], None]]) -> None:
    if not os.read(fd, 64):
        for end in ends:
            end()
        _exit("the supervisor has gone")


def _exit(why: str) -> None:
    log.info("Ending: %s.", why)
    logging.shutdown()
    os._exit(0)
