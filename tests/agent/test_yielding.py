"""T3: guests make way by themselves. The rule first, then real processes: an owner that sleeps and comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.protocol import WantedGuest, WantedReplica
from node_agent.yielding import Seen, Way, back_since, decide, keep_rule, read_rule
from tests.agent.support.agents import Agent, a_replica
from tests.agent.support.server import FakeServer

RULE = WantedGuest(
    owners=[("own", 0, 1000)], above=100, pause_after_ms=1000, stop_after_ms=30_000, memory_floor_mib=64
)


@pytest.mark.parametrize(
    ("back_for", "free", "way"),
    [
        (None, 64, Way.RUNS),
        (0, 64, Way.RUNS),
        (999, 64, Way.RUNS),
        (1000, 64, Way.HALTED),
        (29_999, 64, Way.HALTED),
        (30_000, 64, Way.STOPS),
        (None, 63, Way.STOPS),
    ],
)
def test_the_rule_pauses_then_stops_and_keeps_memory_free(back_for: int | None, free: int, way: Way) -> None:
    seen = Seen(100_000, 500, free, None if back_for is None else 100_000 - back_for)
    assert decide(RULE, seen) is way


def test_a_return_is_counted_from_the_look_before_and_ends_with_the_first_look_below() -> None:
    assert back_since(None, 99, RULE, 500) is None
    assert back_since(None, 100, RULE, 500) == 500
    assert back_since(500, 100, RULE, 1000) == 500
    assert back_since(500, 99, RULE, 1000) is None
    assert back_since(None, None, RULE, 500) == 500, "what cannot be measured counts as back"


def test_a_rule_on_disk_is_the_rule_and_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    base = str(tmp_path / "replica")
    assert read_rule(base) is None
    keep_rule(base, RULE)
    assert read_rule(base) == RULE
    (tmp_path / "replica.guest").write_text("{")
    assert read_rule(base) is None


SLEEPS_OR_SPINS = """
while :; do
  if [ -e busy ]; then i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; else sleep 0.1; fi
done"""
WORKS = "echo $$ > pid; (while :; do :; done) & while :; do :; done"


class Pair:
    """An owner and a guest on one core of a real node."""

    def __init__(self, server: FakeServer, agent: Agent, *, stop_after_ms: int = 30_000) -> None:
        self.server, self.agent = server, agent
        self.owner = a_replica("own", SLEEPS_OR_SPINS, chips=[(0, 1000)], grace_ms=200)
        self.guest: WantedReplica = a_replica(
            "guest",
            WORKS,
            chips=[(0, 1000)],
            grace_ms=200,
            guest=WantedGuest(
                owners=[("own", 0, 1000)], above=100, pause_after_ms=1000, stop_after_ms=stop_after_ms
            ),
        )

    async def start(self) -> None:
        await self.server.want(self.owner, self.guest)
        await self.server.until(lambda: "running" in self.server.states("guest"), what="a running guest")
        await self.server.until(lambda: self.pid() and self.works(), what="a guest that works")

    def owner_is(self, *, busy: bool) -> float:
        """The owner comes back, or goes; when."""
        flag = self.agent.data_dir / "jobs" / "job-own" / "busy"
        flag.touch() if busy else flag.unlink()
        return time.monotonic()

    def pid(self) -> int:
        try:
            return int((self.agent.data_dir / "jobs" / "job-guest" / "pid").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def works(self) -> bool:
        """Whether the guest's processes may run."""
        try:
            stat = Path(f"/proc/{self.pid()}/stat").read_text()
        except FileNotFoundError:
            return False
        return stat.rpartition(")")[2].split()[0] != "T"

    async def until(self, condition: Callable[[], bool], *, since: float, what: str) -> float:
        """How long it took."""
        await self.server.until(condition, what=what)
        return time.monotonic() - since

    def notes(self) -> list[str]:
        return [report.note for report in self.server.node.reports if report.note]


def seconds_in(sentence: str, before: str) -> float:
    """The seconds that the sentence names after these words, with which it begins."""
    assert sentence.startswith(before)
    return float(sentence.removeprefix(before).split(" s")[0])


@pytest.mark.asyncio(loop_scope="module")
async def test_a_guest_is_halted_while_its_owner_is_back_and_stopped_when_it_stays(
    node: tuple[FakeServer, Agent],
) -> None:
    server, agent = node
    pair = Pair(server, agent, stop_after_ms=6000)
    await pair.start()
    took = await pair.until(lambda: not pair.works(), since=pair.owner_is(busy=True), what="a halted guest")
    print(f"guest off {took:.1f} s after the owner's return")
    await server.until(lambda: pair.notes() == ["paused"], what="a report of it")
    said = next(report.sentence for report in server.node.reports if report.note)
    assert seconds_in(said, "Halted by its node: the owner of its chips is back for ") >= 1
    await pair.until(pair.works, since=pair.owner_is(busy=False), what="a guest that goes on")
    await server.until(lambda: pair.notes() == ["paused", "resumed"], what="a report of it")
    pair.owner_is(busy=True)
    end = await server.ended("guest")
    assert end.outcome == "preempted"
    assert (
        seconds_in(end.sentence, "Stopped by its node to make way: the owner of its chips is back for ") >= 6
    )
    assert server.states("own") == ["starting", "running"], "the owner lost nothing"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_guest_makes_way_without_contact_and_under_the_agent_that_follows(
    server: FakeServer, make_agent: Callable[..., Agent]
) -> None:
    agent = make_agent()
    agent.start()
    await server.connected()
    pair = Pair(server, agent)
    await pair.start()
    await server.stop()
    await pair.until(lambda: not pair.works(), since=pair.owner_is(busy=True), what="a halted guest")
    agent.kill()
    agent.start()
    await pair.until(pair.works, since=pair.owner_is(busy=False), what="a guest that goes on")
    await pair.until(lambda: not pair.works(), since=pair.owner_is(busy=True), what="a halted guest")
    await server.start()
    await server.connected()
    await server.until(lambda: "paused" in pair.notes(), what="a report of what happened meanwhile")
