"""A fork server's processes are the supervisor's own children, whatever becomes of the fork server."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from flexai.embedded.forking import Forked, ForkServer, adopt_orphans, bury_strangers
from tests.support.platform import is_alive
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[3]
WITHOUT_LOADING = (
    "import sys; from flexai.embedded import forkserver; forkserver._load = lambda: None; "
    "forkserver.main(int(sys.argv[1]))"
)
"""What is forked here needs no more, and loading it all takes seconds."""
_PR_SET_CHILD_SUBREAPER = 36


def tell(arguments: Sequence[str]) -> None:
    """Runs in a forked process: writes what was given to the descriptor, and who it is to the log."""
    descriptor, *words = arguments
    os.write(int(descriptor), " ".join(words).encode())
    print(os.getppid(), os.getpgrp() == os.getpid(), random.random())
    sys.exit(len(words))


def stay(arguments: Sequence[str]) -> None:
    """Runs in a forked process until it is ended."""
    while True:
        time.sleep(60)


class Office:
    """Where processes are asked for that run a function of this module, and where the fork server is started."""

    def __init__(self, log: Path) -> None:
        self.requests = ForkServer()
        self._log = log
        self._made: list[Forked] = []
        self._servers: list[subprocess.Popen[bytes]] = []

    def ask(
        self, entry: Callable[[Sequence[str]], None], *words: str, descriptors: Sequence[int] = ()
    ) -> Forked:
        name = f"{__name__}:{entry.__name__}"
        with self._log.open("ab") as log:
            made = self.requests.fork("it", name, words, log=log.fileno(), descriptors=descriptors)
        self._made.append(made)
        return made

    def open(self) -> subprocess.Popen[bytes]:
        line = self.requests.line
        path = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])
        command = [sys.executable, "-c", WITHOUT_LOADING, str(line)]
        self._servers.append(
            subprocess.Popen(command, pass_fds=[line], env=os.environ | {"PYTHONPATH": path})
        )
        return self._servers[-1]

    def close(self) -> None:
        for process in (*self._made, *self._servers):
            process.send_signal(signal.SIGKILL)
            process.wait(30)
        self.requests.close()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    adopt_orphans()
    office = Office(tmp_path / "log")
    yield office
    office.close()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def begun(process: Forked) -> bool:
    """Whether it runs."""
    return process.poll() is None and process.pid is not None


def test_it_is_a_child_of_whoever_asked_with_its_own_group_log_and_descriptors(
    office: Office, tmp_path: Path
) -> None:
    office.open()
    for _ in range(2):
        readable, writable = os.pipe()
        process = office.ask(tell, "two", "words", descriptors=[writable])
        os.close(writable)
        assert process.wait(60) == 2
        assert os.read(readable, 100) == b"two words"
        os.close(readable)
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert [line[:2] for line in lines] == [[str(os.getpid()), "True"]] * 2
    assert lines[0][2] != lines[1][2], "each has randomness of its own"


def test_it_shows_what_it_is(office: Office) -> None:
    office.open()
    process = office.ask(stay, "and wait")
    wait_for(lambda: begun(process), "the process", 60)
    shown = Path(f"/proc/{process.pid}")
    assert (shown / "comm").read_text() == "it\n"
    assert (shown / "cmdline").read_bytes().rstrip(b"\0").decode() == f"{__name__}:stay and wait"


def test_the_end_of_the_fork_server_is_none_of_its_processes_business(office: Office) -> None:
    first = office.open()
    before = office.ask(stay)
    wait_for(lambda: begun(before), "the process", 60)
    first.kill()
    first.wait(30)
    meanwhile = office.ask(stay)
    assert (meanwhile.poll(), meanwhile.pid) == (None, None)
    office.open()
    wait_for(lambda: begun(meanwhile), "who was asked for meanwhile", 60)
    assert before.poll() is None
    before.send_signal(signal.SIGTERM)
    assert before.wait(30) == -signal.SIGTERM
    assert meanwhile.poll() is None


def test_who_was_taken_back_before_it_began_does_not_begin(office: Office, tmp_path: Path) -> None:
    readable, writable = os.pipe()
    process = office.ask(tell, "never", descriptors=[writable])
    os.close(writable)
    process.send_signal(signal.SIGTERM)
    assert process.wait(0) == -signal.SIGTERM
    office.open()
    after = office.ask(stay)
    wait_for(lambda: begun(after), "the next one", 60)
    wait_for(lambda: os.read(readable, 100) == b"", "its end, unheard")
    os.close(readable)


def test_whose_fork_server_dies_with_the_request_in_its_hands_ends_by_a_signal(office: Office) -> None:
    process = office.ask(stay)
    line = socket.socket(fileno=os.dup(office.requests.line))
    _, descriptors, _, _ = socket.recv_fds(line, 4096, 8)
    line.close()
    assert process.poll() is None
    for descriptor in descriptors:
        os.close(descriptor)
    assert process.wait(30) == -signal.SIGKILL


def test_orphans_that_end_are_buried_and_our_own_dead_are_left_to_whoever_asks(office: Office) -> None:
    ours = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
    told = subprocess.run(["sh", "-c", "sleep 0.2 & echo $!"], capture_output=True, text=True, check=True)
    stranger = int(told.stdout)
    wait_for(lambda: not is_alive(stranger) and not is_alive(ours.pid), "both to end")
    bury_strangers({ours.pid})
    assert ours.wait(30) == 7
    bury_strangers(set())
    assert not Path(f"/proc/{stranger}").exists()
