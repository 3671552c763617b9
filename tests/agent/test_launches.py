"""Launches that come to nothing: tried again with growing pauses, said each time, and given up in the end."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from node_agent import executor, spool
from node_agent.cgroups import Detected
from node_agent.collecting import Collector
from node_agent.drivers.cpu import CpuDriver
from node_agent.executor import ProcessExecutor
from node_agent.forking import ForkServer
from node_agent.launch import decode
from node_agent.launching import Place
from node_agent.outbox import Track
from node_agent.reconcile import Key, Phase
from tests.agent.support.agents import a_replica

KEY = ("a", 0, 1)
PATIENCE = executor.LAUNCH_PATIENCE_SECONDS


class DeafForkServer:
    """Takes launches and starts nothing."""

    def __init__(self) -> None:
        self.launches: list[bytes] = []

    def send(self, launch: bytes) -> None:
        self.launches.append(launch)


class BusyCollector:
    """Copies from the folders of these jobs."""

    def __init__(self) -> None:
        self.copying: set[str] = set()

    def is_copying(self, job: str) -> bool:
        return job in self.copying

    def ended(self, key: Key, outcome: str) -> None:
        """Nothing is kept."""


class Case:
    """One replica that was handed over, and a clock that the test moves."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        (folder / spool.REPLICAS).mkdir()
        self.now = 0.0
        patch.setattr(executor, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.server = DeafForkServer()
        self.collector = BusyCollector()
        self.changed: list[Track] = []
        groups = Detected(groups={}, notes=[])
        self.place = Place(str(folder), "boot", CpuDriver(enforced=False), groups, users=None)
        self.executor = self.another()
        self.executor.apply([a_replica("a")])
        self.base = f"{folder}/{spool.REPLICAS}/{spool.file_name(*KEY)}"

    def another(self) -> ProcessExecutor:
        server, collector = cast(ForkServer, self.server), cast(Collector, self.collector)
        return ProcessExecutor(
            self.place, server, self.changed.append, collector, lambda _: None, lambda _: {}
        )

    def wait(self, seconds: float) -> None:
        self.now += seconds + 0.1
        self.executor.sweep()


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(tmp_path, monkeypatch)


def test_a_launch_without_a_trace_is_repeated_with_growing_pauses_and_given_up(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for number, seconds in enumerate(PATIENCE, 1):
        case.wait(seconds / 2)
        assert len(case.server.launches) == number
        case.wait(seconds / 2)
    assert len(case.server.launches) == len(PATIENCE)
    assert len(caplog.records) == len(PATIENCE)
    end = case.changed[-1].moves[-1]
    assert (end.state, end.outcome) == ("ended", "start_failed")
    assert end.sentence.startswith(f"The node could not start it: {len(PATIENCE)} launches left no trace")
    case.wait(1000)
    assert len(case.server.launches) == len(PATIENCE)


def test_a_shim_that_comes_too_late_finds_its_place_taken_and_a_new_agent_the_end(case: Case) -> None:
    for seconds in PATIENCE:
        case.wait(seconds)
    with pytest.raises(spool.AlreadyStartedError):
        spool.StateFile(case.base)
    found = case.another()
    found.find()
    (local,) = found.locals()
    assert local.phase is Phase.ENDED
    assert local.track.moves[-1].outcome == "start_failed"


def test_a_shim_that_comes_in_the_last_moment_is_followed(case: Case) -> None:
    for seconds in PATIENCE[:-1]:
        case.wait(seconds)
    shim = spool.StateFile(case.base)
    case.wait(PATIENCE[-1])
    shim.append({"state": "starting", "at": 1, "boot": "boot", "job": "job-a", "pid": 1})
    case.wait(1)
    assert [move.state for move in case.changed[-1].moves] == ["starting"]
    shim.close()


def test_a_launch_waits_while_the_jobs_outputs_are_copied_and_is_not_taken_for_lost(case: Case) -> None:
    case.collector.copying = {"job-b"}
    case.executor.apply([a_replica("a"), a_replica("b")])
    before = len(case.server.launches)
    for seconds in PATIENCE:
        case.now += seconds
    case.executor.sweep()
    case.executor.fork_server_restarted()
    held = [launch for launch in case.server.launches[before:] if decode(launch).job == "job-b"]
    assert not held
    case.collector.copying = set()
    case.executor.let_go()
    assert decode(case.server.launches[-1]).job == "job-b"
    case.executor.let_go()
    assert sum(decode(launch).job == "job-b" for launch in case.server.launches) == 1
