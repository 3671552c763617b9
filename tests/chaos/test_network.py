"""A real agent and a real server with a hostile network, another clock, or a namespace between them."""

from __future__ import annotations

import os
import random
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import pytest

from flexai.client import Client
from flexai.client.types import is_final
from tests.chaos.load import STEPS, Load, patiently
from tests.chaos.nodes import own_agent
from tests.chaos.suffering import SEED, suffer
from tests.e2e.test_taking_back import set_policy
from tests.support.platform import LivePlatform, new_data_dir, running_platform
from tests.support.proxy import Proxy, Weather, proxied
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]
FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
needs_faketime = pytest.mark.skipif(
    FAKETIME is None, reason="no libfaketime here: apt-get install libfaketime"
)
LEASE_SECONDS = 30
"""The shortest that a spec may ask for."""


@pytest.fixture(scope="module")
def live() -> Iterator[LivePlatform]:
    with running_platform("--no-agent") as platform:
        set_policy(platform, {"min_runtime": 0})
        yield platform


@pytest.fixture
def proxy(live: LivePlatform, request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """A proxy, with the only node's agent behind it."""
    name = re.sub("[^a-z]+", "-", request.node.name.removeprefix("test_")).strip("-")[-40:].strip("-")
    with proxied(int(live.url.rsplit(":", 1)[1]), SEED) as between:
        with own_agent(live, name, f"http://127.0.0.1:{between.port}"):
            yield between
        retire(live)


def retire(live: LivePlatform) -> None:
    """Nodes that are gone are asked for nothing more."""
    with live.client() as client:
        for node in client.nodes.list():
            if node["state"] == "ready":
                client.nodes.cordon(node["id"])


# --- frames and connections -----------------------------------------------------------------------


def test_a_bad_network_breaks_no_law(live: LivePlatform, proxy: Proxy) -> None:
    bad = Weather(delay_ms=(0, 80), drop_permille=20, double_permille=60, cut_permille=40)
    seen = suffer(live, weather(proxy, bad, flicker=True), seconds=25)
    assert {"delayed", "dropped", "doubled", "cut", "refused"} <= seen


@contextmanager
def weather(proxy: Proxy, bad: Weather, *, flicker: bool) -> Iterator[Counter[str]]:
    """Inside the block the weather is bad, and the line is now and then dead for a second or two; then it is good."""
    dice, calm = random.Random(SEED), threading.Event()

    def run() -> None:
        while not calm.wait(dice.uniform(3, 6)):
            bad.closed = True
            proxy.close_all()
            calm.wait(dice.uniform(0.5, 2))
            bad.closed = False

    proxy.weather = bad
    thread = threading.Thread(target=run)
    if flicker:
        thread.start()
    try:
        yield bad.seen
    finally:
        calm.set()
        if flicker:
            thread.join()
        proxy.weather = Weather()
        proxy.close_all()


@pytest.mark.parametrize("how", ["closed", "swallows"])
def test_an_agent_that_is_away_keeps_what_its_lease_allows_and_no_more(
    live: LivePlatform, proxy: Proxy, how: str
) -> None:
    """Half-open (`swallows`) is only noticed by silence."""
    with live.client() as client:
        load = Load.begin(client)
        try:
            short, long = leased(load, f"{LEASE_SECONDS}s"), leased(load, "10m")
            load.wait_begun(2, 60)
            away(proxy, how, 10)
            wait_for(
                lambda: status(client, short) == status(client, long) == "running", "both to be there", 60
            )
            assert (attempts(client, short), attempts(client, long)) == ([""], [""])
            away(proxy, how, LEASE_SECONDS + 25)
            for job in (short, long):
                wait_for(lambda job=job: is_final(status(client, job)), f"{job} to end", 120)  # type: ignore[misc]
            assert attempts(client, short) == ["node_lost", "succeeded"]
            assert attempts(client, long) == ["succeeded"]
            assert not (load.marks / "twice").exists()
            for job in (short, long):
                log = "".join(client.jobs.logs(job))
                assert log.endswith(f"step {STEPS * 20}\n"), log[-200:]
        finally:
            load.end()


def leased(load: Load, lease: str) -> str:
    """A job of some 80 seconds that goes on where it was."""
    return load.submit_patient(f"lease-{lease}", steps=STEPS * 20, lease=lease)


def away(proxy: Proxy, how: str, seconds: float) -> None:
    """The agent could not be reached for so long."""
    setattr(proxy.weather, how, True)
    if how == "closed":
        proxy.close_all()
    time.sleep(seconds)
    setattr(proxy.weather, how, False)


def status(client: Client, job: str) -> str:
    return str(patiently(lambda: client.jobs.get(job))["status"])


def attempts(client: Client, job: str) -> list[str]:
    """How each attempt ended; empty for one that lives."""
    return [attempt["outcome"] for attempt in client.jobs.get(job)["attempts"]]


# --- clocks ---------------------------------------------------------------------------------------


class FakeClock:
    """The wall clock of the processes that run with its environment; the others keep theirs."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.set(0)

    def environment(self, *, keep_monotonic: bool) -> dict[str, str]:
        """For a process whose clock is set while it runs the monotonic clock must be kept; Python's `time.sleep` fails
        then, which asyncio does not call."""
        kept = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"} if keep_monotonic else {}
        return {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self._file), **kept}

    def set(self, seconds: int) -> None:
        """So far off the machine's from now on."""
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{seconds:+d}s\n")
        beside.chmod(0o644)
        beside.replace(self._file)


@contextmanager
def wrong(clock: FakeClock) -> Iterator[Counter[str]]:
    """Inside the block the clock is set five minutes forward and back, again and again; it ends five minutes ahead."""
    seen, calm = Counter[str](), threading.Event()

    def run() -> None:
        while True:
            for seconds in (300, -300):
                clock.set(seconds)
                seen[f"clock {seconds:+d}"] += 1
                if calm.wait(4):
                    clock.set(300)
                    return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        calm.set()
        thread.join()


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    folder = new_data_dir()
    yield FakeClock(folder)
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@needs_faketime
def test_an_agent_whose_clock_is_set_breaks_no_law(live: LivePlatform, clock: FakeClock) -> None:
    with own_agent(live, "untimely", live.url, env=clock.environment(keep_monotonic=True)):
        seen = suffer(live, wrong(clock), seconds=15)
        assert {"clock +300", "clock -300"} <= seen
    retire(live)


@needs_faketime
@pytest.mark.parametrize("seconds", [300, -300])
def test_a_server_whose_clock_is_off_breaks_no_law(clock: FakeClock, seconds: int) -> None:
    """All processes of the server; `tests/faults` sets its clock while it runs."""
    clock.set(seconds)
    with running_platform("--no-agent", **clock.environment(keep_monotonic=False)) as server:
        set_policy(server, {"min_runtime": 0})
        with own_agent(server, "timely", server.url):
            suffer(server, nullcontext(Counter()), seconds=1)


# --- several machines -----------------------------------------------------------------------------


@pytest.mark.root
def test_agents_in_namespaces_of_their_own_lose_their_link() -> None:
    with ExitStack() as stack:
        links = [stack.enter_context(namespace(number)) for number in range(3)]
        addresses = ",".join(["127.0.0.1", *(here for _, here, _ in links)])
        live = stack.enter_context(
            running_platform("--no-agent", "--host", "0.0.0.0", FLEXAI_ALLOWED_HOSTS=addresses)
        )
        set_policy(live, {"min_runtime": 0})
        port = live.url.rsplit(":", 1)[1]
        for name, here, _ in links:
            inside = ("ip", "netns", "exec", name)
            stack.enter_context(own_agent(live, name, f"http://{here}:{port}", inside=inside))
        suffer(live, unplugging([device for _, _, device in links]), seconds=40)


@contextmanager
def namespace(number: int) -> Iterator[tuple[str, str, str]]:
    """A network namespace with one link to this machine: its name, our address on that link, our end of it."""
    name, device, net = (
        f"flexai-{os.getpid()}-{number}",
        f"fx{os.getpid() % 10000}n{number}",
        f"10.213.{number}",
    )
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "addr", "add", f"{net}.1/30", "dev", device)
        run("ip", "link", "set", device, "up")
        for command in (["addr", "add", f"{net}.2/30", "dev", "eth0"], ["link", "set", "eth0", "up"]):
            run("ip", "-n", name, *command)
        run("ip", "-n", name, "link", "set", "lo", "up")
        yield name, f"{net}.1", device
    finally:
        run("ip", "netns", "del", name)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stderr)


@contextmanager
def unplugging(devices: list[str]) -> Iterator[Counter[str]]:
    """Inside the block one link after the other is down for some seconds, without a word to anybody."""
    dice, calm, seen = random.Random(SEED), threading.Event(), Counter[str]()

    def work() -> None:
        while not calm.wait(dice.uniform(1, 3)):
            device = dice.choice(devices)
            run("ip", "link", "set", device, "down")
            calm.wait(dice.uniform(1, 12))
            run("ip", "link", "set", device, "up")
            seen["unplugged"] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield seen
    finally:
        calm.set()
        thread.join()
