"""Telemetry of the agents of this process: kept as it comes, written once a second, off the event loop.

The latest frame of each node goes to Valkey; while somebody looks, one message a second tells the browsers of all
processes; what a window says goes to Valkey too (T1), what a minute says to PostgreSQL, from every frame that came;
one process adds the cluster's point to the last hour every ten seconds.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from django.db import transaction

from flexai.cluster import telemetry
from flexai.cluster.frames import Columns, Ended, Tally, Whole, columns
from flexai.cluster.queries import allocated_milli, mean_use
from flexai.cluster.rollups import NodeRow, write_node_minutes
from flexai.common import clock
from flexai.common.broker import valkey
from flexai.common.database import prepared_cursor
from flexai.jobs.usage import ReplicaRow, write_attempt_minutes
from node_agent.protocol import HOT, SLOWED

log = logging.getLogger(__name__)

CHIPS_CHANNEL = "flexai:chips"
"""One message a second and web process: {"at": ms, "use": {node id: [permille by chip index, or null]}}."""
WATCHED_KEY = "flexai:chips:watched"
"""Exists while a browser of any process looks at the cluster."""
WATCHED_SECONDS = 5
MINUTE_MS = 60_000
MAX_WAITING = 400_000
"""Frames that wait for a flush: 40 s of 10,000 nodes. Beyond it those that come are dropped, counted and said."""
MAX_UNWRITTEN = 10
"""Minutes that wait for the database; beyond it the oldest is lost, and said."""
_INDEX_BITS = 10
_LAST_INDEX = (1 << _INDEX_BITS) - 1
_NODE_BYTES = 8


class Received(NamedTuple):
    """One frame of a node."""

    node_pk: int
    node_id: str
    cell_pk: int
    frame: bytes


class Board:
    """`put` is called on the event loop, `flush` and `close` on threads."""

    def __init__(self) -> None:
        self.received = 0
        """Frames so far."""
        self.dropped = 0
        """Frames of these that were not counted in, because nothing could be written for too long."""
        self._waiting: list[Received] = []
        self._window_since = 0
        self._minute = 0
        self._hosts = Tally(sums=2)
        self._chips = Tally(sums=8)
        self._replicas = Tally(sums=3, peaks=1)
        self._one_at_a_time = threading.Lock()
        self._unwritten: list[tuple[int, list[NodeRow], list[ReplicaRow]]] = []

    def put(self, received: Received) -> None:
        """The frame is the node's latest; it has passed `protocol.check_telemetry`."""
        self.received += 1
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        self._waiting.append(received)

    def has_something(self) -> bool:
        """True when frames came since the last flush."""
        return bool(self._waiting)

    def flush(self) -> None:
        """Everything received since the last flush is where its readers look. Raises redis and database errors; what
        a minute says is then written by a later flush."""
        with self._one_at_a_time:
            self._flush()

    def close(self) -> None:
        """Everything received is written, the minute that has begun too. Raises as `flush` does."""
        with self._one_at_a_time:
            if self._waiting:
                self._flush()
            for tally in (self._hosts, self._chips, self._replicas):
                tally.end_window()
            self._end_minute(self._minute)
            self._write_minutes()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        at_ms = clock.to_ms(clock.now())
        windows = self._end_spans(at_ms)
        for one_each in _rounds(waiting):
            self._add(one_each, columns([one.frame for one in one_each]))
        latest = {one.node_pk: one for one in waiting}
        telemetry.keep_frames({pk: one.frame for pk, one in latest.items()}, at_ms=at_ms)
        if windows:
            telemetry.keep_windows(windows)
        if valkey().exists(WATCHED_KEY):
            _tell_browsers(list(latest.values()), at_ms)
        for cell_pk in {one.cell_pk for one in latest.values()}:
            if telemetry.claim_step(cell_pk, at_ms):
                point = telemetry.Point(at_ms, allocated_milli(cell_pk), mean_use(cell_pk) or 0)
                telemetry.add_point(cell_pk, point)
        self._write_minutes()

    def _end_spans(self, at_ms: int) -> dict[int, telemetry.Window]:
        """The window that is over, if one is. Windows and minutes begin at round instants: a minute is six windows."""
        since = at_ms - at_ms % telemetry.WINDOW_MS
        if since == self._window_since:
            return {}
        began, self._window_since = self._window_since, since
        ended = [tally.end_window() for tally in (self._hosts, self._chips, self._replicas)]
        minute = at_ms // MINUTE_MS
        if minute != self._minute:
            before, self._minute = self._minute, minute
            self._end_minute(before)
        return _windows(began, began + telemetry.WINDOW_MS, *ended)

    def _end_minute(self, minute: int) -> None:
        nodes = _node_rows(self._hosts.end_minute(), self._chips.end_minute())
        replicas = _replica_rows(self._replicas.end_minute())
        if nodes:
            self._unwritten.append((minute, nodes, replicas))
        if len(self._unwritten) > MAX_UNWRITTEN:
            log.warning(
                "telemetry of a whole minute is lost: the database is away for %d minutes", MAX_UNWRITTEN
            )
            del self._unwritten[0]

    def _write_minutes(self) -> None:
        while self._unwritten:
            minute, nodes, replicas = self._unwritten[0]
            at = clock.from_ms(minute * MINUTE_MS)
            with transaction.atomic(), prepared_cursor() as cursor:
                write_node_minutes(cursor, at, nodes)
                write_attempt_minutes(cursor, at, replicas)
            del self._unwritten[0]

    def _add(self, frames: Sequence[Received], read: Columns) -> None:
        """One frame of each node."""
        nodes = np.array([one.node_pk for one in frames], np.int64)
        heads, chips, replicas = read.heads, read.chips, read.replicas
        self._hosts.add(nodes.tolist(), [np.minimum(heads["cpu"], 1000), heads["memory"]])
        self._chips.add(
            ((nodes[read.chip_frame] << _INDEX_BITS) | chips["index"]).tolist(),
            [
                np.minimum(chips["use"], 1000), np.minimum(chips["memory_use"], 1000), chips["memory"],
                chips["temperature"], chips["power"], (chips["flags"] & HOT) > 0, (chips["flags"] & SLOWED) > 0,
                chips["clock"],
            ],
        )  # fmt: skip
        keys = np.empty(len(replicas), [("node", "<i8"), ("key", "V16")])
        keys["node"], keys["key"] = nodes[read.replica_frame], replicas["key"]
        self._replicas.add(
            keys.view("V24").tolist(),
            [
                replicas["cpu"],
                replicas["memory"],
                np.minimum(replicas["wait"], 1000),
                replicas["memory_peak"],
            ],
        )


def _tell_browsers(frames: Sequence[Received], at_ms: int) -> None:
    read = columns([one.frame for one in frames])
    use, indexes = np.minimum(read.chips["use"], 1000).tolist(), read.chips["index"].tolist()
    told, first = {}, 0
    for one, count in zip(frames, read.heads["chips"].tolist(), strict=True):
        span = slice(first, first + count)
        told[one.node_id] = _by_index(indexes[span], use[span])
        first += count
    valkey().publish(CHIPS_CHANNEL, json.dumps({"at": at_ms, "use": told}, separators=(",", ":")))


def _rounds(waiting: Sequence[Received]) -> list[list[Received]]:
    """The frames in their order, in groups in which no node has two."""
    rounds: list[list[Received]] = []
    seen: dict[int, int] = {}
    for one in waiting:
        turn = seen.get(one.node_pk, 0)
        seen[one.node_pk] = turn + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(one)
    return rounds


def _by_index(indexes: Sequence[int], values: Sequence[int]) -> list[int | None]:
    told: list[int | None] = [None] * (max(indexes, default=-1) + 1)
    for index, value in zip(indexes, values, strict=True):
        told[index] = value
    return told


def _windows(
    since: int, until: int, hosts: Ended, chips: Ended, replicas: Ended
) -> dict[int, telemetry.Window]:
    windows = {node: telemetry.Window(since, until, *({} for _ in range(8))) for node in hosts[0]}
    keys = np.array(chips[0], np.int64)
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], chips[1][order]
    for name, column, times in _TOLD:
        there = (rows[:, column] != 0) | (name == "chips")
        means = rows[there, column] * times // rows[there, _SAMPLES]
        for node, told in _by_node(keys[there], means):
            getattr(windows[node], name).update(told)
    for key, (samples, cpu, _, wait, peak) in zip(replicas[0], replicas[1].tolist(), strict=True):
        window, name = windows[_node_of(key)], key[_NODE_BYTES:].hex()
        window.replicas[name], window.waits[name], window.peaks[name] = cpu // samples, wait // samples, peak
    return windows


_SAMPLES = 0
_TOLD = (("chips", 1, 1), ("temperatures", 4, 1), ("hot", 6, 1000), ("slowed", 7, 1000), ("clocks", 8, 1))
"""What a window says of chips: its field, its column, and times what. All but use only where there is any."""


def _by_node(keys: Whole, values: Whole) -> Iterator[tuple[int, dict[int, int]]]:
    """Of each node, its values by the chip's index. The keys are in order."""
    nodes = keys >> _INDEX_BITS
    firsts = np.flatnonzero(np.diff(nodes, prepend=-1)).tolist()
    of, by, what = nodes.tolist(), (keys & _LAST_INDEX).tolist(), values.tolist()
    for first, end in zip(firsts, [*firsts[1:], len(of)], strict=False):
        yield of[first], dict(zip(by[first:end], what[first:end], strict=True))


def _node_rows(hosts: Ended, chips: Ended) -> list[NodeRow]:
    of_nodes: dict[int, list[tuple[int, list[int]]]] = {}
    for key, (samples, *sums) in zip(chips[0], chips[1].tolist(), strict=True):
        means = [total // samples for total in sums]
        of_nodes.setdefault(key >> _INDEX_BITS, []).append((key & _LAST_INDEX, means))
    rows: list[NodeRow] = []
    for node, (samples, cpu, memory) in zip(hosts[0], hosts[1].tolist(), strict=True):
        found = of_nodes.get(node, [])
        last = max((index for index, _ in found), default=-1)
        arrays = [[0] * (last + 1) for _ in range(5)]
        for index, means in found:
            for array, mean in zip(arrays, means, strict=False):
                array[index] = mean
        rows.append((node, samples, cpu // samples, memory // samples, *arrays))
    return rows


def _replica_rows(replicas: Ended) -> list[ReplicaRow]:
    return [
        ReplicaRow(_node_of(key), key[_NODE_BYTES:], *values)
        for key, values in zip(replicas[0], replicas[1].tolist(), strict=True)
    ]


def _node_of(key: bytes) -> int:
    return int.from_bytes(key[:_NODE_BYTES], "little", signed=True)
