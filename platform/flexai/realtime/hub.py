"""The one place in a web process where hints arrive and agents and browsers are known.

One pub/sub connection to Valkey for the whole process, whatever the number of sockets (ADR 0003). A hint may be lost:
agents are looked after again at every heartbeat, browsers are told of a gap after every reconnect.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import redis
import redis.asyncio
from django.conf import settings
from prometheus_client import Counter, Gauge
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flexai.cluster.history import note_refusal
from flexai.cluster.models import Node
from flexai.cluster.services import Comer, nodes_for_credentials
from flexai.common import clock
from flexai.common.events import AGENTS_CHANNEL, HINTS_CHANNEL
from flexai.jobs.contact import Arrival, arrive_together
from flexai.jobs.wanted import attempts_wanted_on
from flexai.realtime.board import CHIPS_CHANNEL, WATCHED_KEY, WATCHED_SECONDS, Board
from flexai.realtime.connection import (
    CLOSE_REPLACED,
    CLOSE_RESTART,
    CLOSE_SILENT,
    AgentConnection,
)
from flexai.realtime.intake import AWAY, Intake
from flexai.realtime.partings import Partings
from flexai.realtime.renewals import Renewals
from flexai.realtime.threads import Threads
from flexai.realtime.together import Together

log = logging.getLogger(__name__)

CONNECTIONS_CHANNEL = "flexai:connections"
"""{"nodes": [pk], "hub": id}: nodes that have come to that process; the others close what they have of them."""
SILENT_SECONDS = 30
"""An agent that sends nothing for so long, not even telemetry, is disconnected."""
COMING = 200
"""Agents that are let in together: a transaction of some hundredths of a second."""
REFUSALS_NOTED_EVERY_SECONDS = 10
FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 1.0
QUIET_SECONDS = 15
"""Valkey is asked for a sign of life after so long without a hint; a second such silence ends the connection."""


AGENTS = Gauge("flexai_web_agents", "Agents connected to this web process.")
BROWSERS = Gauge(
    "flexai_web_browsers", "Browsers, and requests that wait for a change, served by this web process."
)
LAG = Gauge(
    "flexai_web_loop_lag_seconds", "By how much this web process's event loop was late in the last second."
)
FRAMES = Counter("flexai_web_telemetry_frames", "Telemetry frames that this web process received.")
DROPPED = Counter("flexai_web_telemetry_dropped", "Of these, frames that could not be counted in.")


class Browser(Protocol):
    """What the hub needs of a browser's connection."""

    def deliver(self, topic: str, message: Mapping[str, Any]) -> None:
        """The message is on its way, or replaces one that says the same of the same object."""

    def tell_gap(self) -> None:
        """Messages may have been lost."""

    def close_if_stuck(self) -> None:
        """Ends the connection when it has not read for too long."""


class _Waiter:
    """Who waits for hints of some kinds about one job, without a connection of its own."""

    def __init__(self, kinds: frozenset[str]) -> None:
        self.kinds = kinds
        self.news = asyncio.Event()

    def deliver(self, topic: str, message: Mapping[str, Any]) -> None:
        if message["kind"] in self.kinds:
            self.news.set()

    def tell_gap(self) -> None:
        self.news.set()

    def close_if_stuck(self) -> None:
        return


class Hub:
    """Started and stopped with the process; everything but the threads lives on its event loop."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(8)
        """Of this process, so that it knows its own announcements."""
        self.threads = Threads()
        self.board = Board()
        self.intake = Intake(self.threads)
        self.renewals = Renewals(self.threads, self.wake)
        self.credentials: Together[str, Node] = Together(self.threads, nodes_for_credentials, most=COMING)
        self.arrivals: Together[Comer, Arrival] = Together(self.threads, arrive_together, most=COMING)
        self.agents: dict[int, AgentConnection] = {}
        self.browsers: dict[Browser, set[str]] = {}
        self._watchers: dict[str, set[Browser]] = {}
        self._partings = Partings(self.threads, self.agents.__contains__)
        self._come: list[int] = []
        self._telling: asyncio.Task[None] | None = None
        self._woken: set[int] = set()
        self._waking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._refusals: dict[int, tuple[float, int]] = {}
        self._told_received = self._told_dropped = 0
        self._redis: redis.asyncio.Redis | None = None
        self._retry_seconds = FIRST_RETRY_SECONDS / 2
        self._is_stopping = False

    async def start(self) -> None:
        """The hub listens. Valkey need not be there yet."""
        waits = redis.asyncio.BlockingConnectionPool.from_url(
            settings.REDIS_URL, max_connections=8, socket_connect_timeout=2
        )
        self._redis = redis.asyncio.Redis.from_pool(waits)
        self._spawn(self._listen())
        self._spawn(self._tick())
        self._spawn(self._show_telemetry())
        self._spawn(self._count_telemetry())

    async def stop(self) -> None:
        """Agents are told to come back, what they sent is committed, threads and connections are closed."""
        self._is_stopping = True
        for connection in list(self.agents.values()):
            connection.close(CLOSE_RESTART, "the server restarts")
        await self.intake.finish()
        self._partings.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for last in (partial(self.board.show, self.board.take()), self.board.close):
            try:
                await self.threads.run(last)
            except (*AWAY, redis.RedisError) as error:
                log.warning("telemetry of the last minute is lost: %s", error)
        if self._redis is not None:
            await self._redis.aclose()
        await asyncio.get_running_loop().run_in_executor(None, self.threads.close)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- agents

    def join(self, connection: AgentConnection) -> None:
        """The connection is its node's; an earlier one is closed. Its wanted state follows."""
        before = self.agents.get(connection.node_pk)
        self.agents[connection.node_pk] = connection
        if before is not None:
            before.close(CLOSE_REPLACED, "the node connected anew")
        self._come.append(connection.node_pk)
        if self._telling is None or self._telling.done():
            self._telling = self._spawn(self._tell_others())
        self.wake([connection.node_pk])

    def leave(self, connection: AgentConnection) -> None:
        """The connection is over. Unless the node comes back in time, it is unreachable."""
        if self.agents.get(connection.node_pk) is not connection or self._is_stopping:
            return
        del self.agents[connection.node_pk]
        self._partings.put(connection.node_pk)

    def wake(self, node_pks: Iterable[int]) -> None:
        """The nodes connected here are sent their wanted state as it is now, if it differs from the last one sent.

        One query at a time for all nodes together: whoever is woken while it runs is in the next.
        """
        self._woken.update(pk for pk in node_pks if pk in self.agents)
        if self._woken and (self._waking is None or self._waking.done()):
            self._waking = asyncio.get_running_loop().create_task(self._serve_wanted())

    def note_refusal(self, node_pk: int, code: str, sentence: str) -> None:
        """The node's history says so, at most every ten seconds, with how often."""
        now = asyncio.get_running_loop().time()
        last, count = self._refusals.get(node_pk, (-1e9, 0))
        if now - last < REFUSALS_NOTED_EVERY_SECONDS:
            self._refusals[node_pk] = (last, count + 1)
            return
        self._refusals[node_pk] = (now, 0)
        self._spawn(self._note(node_pk, code, sentence, count + 1))

    async def _note(self, node_pk: int, code: str, sentence: str, count: int) -> None:
        try:
            await self.threads.run(note_refusal, node_pk, code, sentence, count, clock.now())
        except AWAY as error:
            log.warning("refusal of node %s not recorded: %s: %s", node_pk, sentence, error)

    async def _serve_wanted(self) -> None:
        while self._woken:
            nodes, self._woken = self._woken & self.agents.keys(), set()
            if not nodes:
                continue
            try:
                wanted = await self.threads.run(attempts_wanted_on, sorted(nodes))
            except AWAY as error:
                log.warning(
                    "wanted state of %d nodes not read; the next heartbeat asks again: %s", len(nodes), error
                )
                return
            for node_pk, state in wanted.items():
                connection = self.agents.get(node_pk)
                if connection is not None:
                    connection.post_wanted(state)

    async def _tell_others(self) -> None:
        """Of all that have come until now in one message; who comes meanwhile is in the next."""
        while self._come:
            come, self._come = self._come, []
            try:
                if self._redis is not None:
                    message = json.dumps({"nodes": come, "hub": self.id})
                    await self._redis.publish(CONNECTIONS_CHANNEL, message)
            except (redis.RedisError, OSError) as error:
                log.warning("other web processes were not told of %d nodes: %s", len(come), error)

    # --- browsers

    def watch(self, browser: Browser, topic: str) -> None:
        """The browser hears of the topic."""
        self.browsers.setdefault(browser, set()).add(topic)
        self._watchers.setdefault(topic, set()).add(browser)

    def unwatch(self, browser: Browser, topic: str) -> None:
        """The browser hears of the topic no more."""
        self.browsers.get(browser, set()).discard(topic)
        watchers = self._watchers.get(topic)
        if watchers is not None:
            watchers.discard(browser)
            if not watchers:
                del self._watchers[topic]

    def forget(self, browser: Browser) -> None:
        """The browser is gone."""
        for topic in list(self.browsers.get(browser, ())):
            self.unwatch(browser, topic)
        self.browsers.pop(browser, None)

    @contextmanager
    def news(self, topic: str, kinds: frozenset[str]) -> Iterator[asyncio.Event]:
        """An event that is set, inside the block, whenever a hint of one of these kinds comes about the topic, or may
        have been lost."""
        waiter = _Waiter(kinds)
        self.watch(waiter, topic)
        try:
            yield waiter.news
        finally:
            self.forget(waiter)

    def _fan_out(self, hint: Mapping[str, Any]) -> None:
        for topic in topics_of(hint):
            for browser in list(self._watchers.get(topic, ())):
                browser.deliver(topic, hint)

    # --- Valkey

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except (redis.RedisError, OSError) as error:
                self._retry_seconds = min(self._retry_seconds * 2, LONGEST_RETRY_SECONDS)
                log.warning("hints are not heard, trying again in %.1f s: %s", self._retry_seconds, error)
            await asyncio.sleep(self._retry_seconds)

    async def _listen_once(self) -> None:
        """Listen until the connection breaks. What was missed is made up for first."""
        seen = Retry(NoBackoff(), 0)  # a connection that came back by itself would hide a gap
        client = redis.asyncio.from_url(settings.REDIS_URL, socket_connect_timeout=2, retry=seen)
        async with client, client.pubsub() as channel:
            await channel.subscribe(HINTS_CHANNEL, AGENTS_CHANNEL, CONNECTIONS_CHANNEL, CHIPS_CHANNEL)
            self._retry_seconds = FIRST_RETRY_SECONDS / 2
            self.wake(list(self.agents))
            for browser in list(self.browsers):
                browser.tell_gap()
            await self._follow(channel)

    async def _follow(self, channel: redis.asyncio.client.PubSub) -> None:
        """Handle what comes. Raises redis errors, and ConnectionError when nothing comes even if asked for."""
        handlers: dict[bytes, Callable[[bytes], None]] = {
            HINTS_CHANNEL.encode(): self._on_hints,
            AGENTS_CHANNEL.encode(): self._on_agents,
            CONNECTIONS_CHANNEL.encode(): self._on_connection,
            CHIPS_CHANNEL.encode(): self._on_chips,
        }
        is_asked = False
        while True:
            message = await channel.get_message(timeout=QUIET_SECONDS)
            if message is None:
                if is_asked:
                    raise redis.ConnectionError(f"nothing heard for {2 * QUIET_SECONDS} s")
                await channel.ping()
            elif message["type"] == "message":
                self._handle(handlers[message["channel"]], message["data"])
            is_asked = message is None

    def _handle(self, handler: Callable[[bytes], None], data: bytes) -> None:
        try:
            handler(data)
        except (ValueError, KeyError, TypeError) as error:
            log.warning("a hint was not understood: %s", error)

    def _on_hints(self, data: bytes) -> None:
        if self._watchers:
            for hint in json.loads(data):
                self._fan_out(hint)

    def _on_agents(self, data: bytes) -> None:
        self.wake(json.loads(data))

    def _on_connection(self, data: bytes) -> None:
        """Nodes have come to another process. What this one announced itself may arrive late, when a node has
        already come anew: `join` has dealt with that."""
        said = json.loads(data)
        if said["hub"] == self.id:
            return
        for node_pk in said["nodes"]:
            ours = self.agents.get(node_pk)
            if ours is not None:
                ours.close(CLOSE_REPLACED, "the node connected to another process")

    def _on_chips(self, data: bytes) -> None:
        watchers = self._watchers.get("cluster")
        if watchers:
            message = {"kind": "chips", "id": "", "version": 0, "data": json.loads(data)}
            for browser in list(watchers):
                browser.deliver("cluster", message)

    # --- every second

    async def _tick(self) -> None:
        while True:
            began = asyncio.get_running_loop().time()
            await asyncio.sleep(1)
            LAG.set(asyncio.get_running_loop().time() - began - 1)
            AGENTS.set(len(self.agents))
            BROWSERS.set(len(self.browsers))
            FRAMES.inc(self.board.received - self._told_received)
            DROPPED.inc(self.board.dropped - self._told_dropped)
            self._told_received, self._told_dropped = self.board.received, self.board.dropped
            now = asyncio.get_running_loop().time()
            deaf = max(0.0, now - began - 1)  # what this process did not listen to, nobody failed to say
            for connection in list(self.agents.values()):
                connection.frames_this_second = 0
                connection.heard_at += deaf
                if now - connection.heard_at > SILENT_SECONDS:
                    connection.close(CLOSE_SILENT, f"nothing heard for {SILENT_SECONDS} s")
                    self.leave(connection)
            for browser in list(self.browsers):
                browser.close_if_stuck()

    async def _show_telemetry(self) -> None:
        """Apart from the rest: a broker that answers slowly holds up nothing else, and counting holds up no showing."""
        async for _ in _seconds():
            try:
                if self._watchers.get("cluster") and self._redis is not None:
                    await self._redis.set(WATCHED_KEY, 1, ex=WATCHED_SECONDS)
                await self.threads.run(self.board.show, self.board.take())
            except (*AWAY, redis.RedisError, OSError) as error:
                log.warning("telemetry of this second is not shown: %s", error)
            except Exception:
                log.exception("telemetry of this second is not shown")

    async def _count_telemetry(self) -> None:
        async for _ in _seconds():
            try:
                if self.board.is_behind:
                    await self.threads.run(self.board.count)
            except (*AWAY, redis.RedisError, OSError) as error:
                log.warning("telemetry of this second is not counted yet: %s", error)
            except Exception:
                log.exception("telemetry of this second is lost")


async def _seconds() -> AsyncIterator[None]:
    """Once a second, however long what is done takes; at once where that was longer."""
    time = asyncio.get_running_loop().time
    due = time()
    while True:
        due = max(due + 1, time())
        await asyncio.sleep(due - time())
        yield


def topics_of(hint: Mapping[str, Any]) -> list[str]:
    """Who is to hear of it. `logs` is for those who look at the job; `node` is for everybody signed in."""
    kind, team, name = hint["kind"], hint.get("team", ""), hint["id"]
    if kind == "logs":
        return [f"job:{name}"]
    if kind in ("job", "verdict"):
        return [f"team:{team}:jobs", f"job:{name}"]
    if kind == "team":
        return [f"team:{team or name}:jobs"]
    return ["cluster"]
