"""Telemetry of the agents of this process: kept as it comes, shown and counted once a second, off the event loop.

The latest frame of each node goes to Valkey; while somebody looks, one message a second tells the browsers of all
processes; what a window says goes to Valkey too (T1), what a minute says to PostgreSQL, from every frame that came;
one process adds the cluster's point to the last hour every ten seconds.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from django.db import transaction

from flexai.cluster import telemetry
from flexai.cluster.frames import Ended, Records, Tally, Whole, columns
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
"""Frames that wait to be counted: 40 s of 10,000 nodes. Beyond it those that come are dropped, counted and said."""
MAX_UNWRITTEN = 10
"""Minutes that wait for the database; beyond it the oldest is lost, and said."""
_INDEX_BITS = 10
_LAST_INDEX = (1 << _INDEX_BITS) - 1
_NODE_BYTES = 8
Nothing = TypeVar("Nothing")


class Origin(NamedTuple):
    """Of whom a frame is."""

    node_pk: int
    node_id: str
    cell_pk: int


Received: TypeAlias = tuple[Origin, bytes]


class Came(NamedTuple):
    """The frames that came until one instant, oldest first."""

    at_ms: int
    frames: Sequence[Received]


class Board:
    """`put` and `take` are called on the event loop, the others on threads.

    What comes is shown first and counted after: a minute's end is much to count, and the newest values do not wait
    for it.
    """

    def __init__(self) -> None:
        self.received = 0
        """Frames so far."""
        self.dropped = 0
        """Frames of these that were not counted in, because nothing could be written for too long."""
        self._waiting: list[Received] = []
        self._uncounted: deque[Came] = deque()
        self._behind = 0
        """Frames that were taken and are not counted."""
        self._window_since = 0
        self._minute = 0
        self._hosts = Tally(sums=2)
        self._chips = Tally(sums=8)
        self._replicas = Tally(sums=3, peaks=1, keys="S24")
        self._one_at_a_time = threading.Lock()
        self._unwritten: list[tuple[int, list[NodeRow], list[ReplicaRow]]] = []

    def put(self, origin: Origin, frame: bytes) -> None:
        """The frame is the node's latest; it has passed `protocol.check_telemetry`."""
        self.received += 1
        if len(self._waiting) + self._behind >= MAX_WAITING:
            self.dropped += 1
            return
        self._waiting.append((origin, frame))

    def take(self) -> Came:
        """What came since the last time; it is to be shown, and is counted next."""
        came, self._waiting = Came(clock.to_ms(clock.now()), self._waiting), []
        if came.frames:
            self._uncounted.append(came)
        self._behind = sum(len(one.frames) for one in tuple(self._uncounted))
        return came

    @property
    def is_behind(self) -> bool:
        """Whether there is something to count or to write."""
        return bool(self._uncounted or self._unwritten)

    def show(self, came: Came) -> None:
        """These frames are where their readers look. Raises redis errors."""
        if not came.frames:
            return
        latest = dict(came.frames)
        telemetry.keep_frames({origin.node_pk: frame for origin, frame in latest.items()}, at_ms=came.at_ms)
        if valkey().exists(WATCHED_KEY):
            _tell_browsers(latest, came.at_ms)

    def count(self) -> None:
        """Everything taken so far is in its window and its minute, and those that are over are where their readers
        look. Raises redis and database errors; what a minute says is then written by a later count."""
        with self._one_at_a_time:
            try:
                while self._uncounted:
                    self._count(self._uncounted.popleft())
            finally:
                self._write_minutes()

    def close(self) -> None:
        """Everything taken is counted and written, the minute that has begun too. Raises as `count` does."""
        try:
            self.count()
        finally:
            with self._one_at_a_time:
                for tally in (self._hosts, self._chips, self._replicas):
                    tally.end_window()
                self._end_minute(self._minute)
                self._write_minutes()

    def _count(self, came: Came) -> None:
        windows = self._end_spans(came.at_ms)
        for one_each in _rounds(came.frames):
            self._add(one_each)
        if windows:
            telemetry.keep_windows(windows)
        for cell_pk in {origin.cell_pk for origin, _ in came.frames}:
            if telemetry.claim_step(cell_pk, came.at_ms):
                point = telemetry.Point(came.at_ms, allocated_milli(cell_pk), mean_use(cell_pk) or 0)
                telemetry.add_point(cell_pk, point)

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

    def _add(self, frames: Sequence[Received]) -> None:
        """One frame of each node."""
        read = columns([frame for _, frame in frames])
        nodes = np.array([origin.node_pk for origin, _ in frames], np.int64)
        heads, chips, replicas = read.heads, read.chips, read.replicas
        self._hosts.add(nodes, [np.minimum(heads["cpu"], 1000), heads["memory"]])
        self._chips.add(
            (nodes[read.chip_frame] << _INDEX_BITS) | chips["index"],
            [
                np.minimum(chips["use"], 1000), np.minimum(chips["memory_use"], 1000), chips["memory"],
                chips["temperature"], chips["power"], (chips["flags"] & HOT) > 0, (chips["flags"] & SLOWED) > 0,
                chips["clock"],
            ],
        )  # fmt: skip
        keys = np.empty(len(replicas), [("node", ">i8"), ("key", "V16")])
        keys["node"], keys["key"] = nodes[read.replica_frame], replicas["key"]
        self._replicas.add(
            keys.view("S24"),
            [
                replicas["cpu"],
                replicas["memory"],
                np.minimum(replicas["wait"], 1000),
                replicas["memory_peak"],
            ],
        )


def _tell_browsers(latest: Mapping[Origin, bytes], at_ms: int) -> None:
    read = columns(list(latest.values()))
    use, indexes = np.minimum(read.chips["use"], 1000).tolist(), read.chips["index"].tolist()
    told, first = {}, 0
    for origin, count in zip(latest, read.heads["chips"].tolist(), strict=True):
        span = slice(first, first + count)
        told[origin.node_id] = _by_index(indexes[span], use[span], None)
        first += count
    valkey().publish(CHIPS_CHANNEL, json.dumps({"at": at_ms, "use": told}, separators=(",", ":")))


def _rounds(frames: Sequence[Received]) -> list[Sequence[Received]]:
    """The frames in their order, in groups in which no node has two."""
    if len({origin.node_pk for origin, _ in frames}) == len(frames):
        return [frames]
    rounds: list[list[Received]] = []
    seen: dict[int, int] = {}
    for one in frames:
        node_pk = one[0].node_pk
        turn = seen.get(node_pk, 0)
        seen[node_pk] = turn + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(one)
    return list(rounds)


def _by_index(indexes: Sequence[int], values: Sequence[int], nothing: Nothing) -> list[int | Nothing]:
    told: list[int | Nothing] = [nothing] * (max(indexes, default=-1) + 1)
    for index, value in zip(indexes, values, strict=True):
        told[index] = value
    return told


def _windows(
    since: int, until: int, hosts: Ended, chips: Ended, replicas: Ended
) -> dict[int, telemetry.Window]:
    keys, rows = chips
    of_chips = []
    for column, times in _TOLD:
        there = (rows[:, column] != 0) | (column == _USE)
        means = rows[there, column] * times // rows[there, _SAMPLES]
        of_chips.append(dict(_by_node(keys[there], means)))
    told = [[values.get(node, {}) for values in of_chips] for node in hosts[0].tolist()]
    windows = {
        node: telemetry.Window(since, until, use, {}, {}, {}, *others)
        for node, (use, *others) in zip(hosts[0].tolist(), told, strict=True)
    }
    for (node, name), (samples, cpu, _, wait, peak) in zip(
        _named(replicas[0]), replicas[1].tolist(), strict=True
    ):
        window, text = windows[node], name.hex()
        window.replicas[text], window.waits[text], window.peaks[text] = cpu // samples, wait // samples, peak
    return windows


_SAMPLES, _USE = 0, 1
_TOLD = ((_USE, 1), (6, 1000), (7, 1000), (8, 1), (4, 1))
"""What a window says of chips, in its order: the column, and times what. All but use only where there is any."""


def _by_node(keys: Whole, values: Whole) -> Iterator[tuple[int, dict[int, int]]]:
    """Of each node, its values by the chip's index. The keys are in order."""
    by, what = (keys & _LAST_INDEX).tolist(), values.tolist()
    for node, span in _spans(keys):
        yield node, dict(zip(by[span], what[span], strict=True))


def _spans(keys: Whole) -> Iterator[tuple[int, slice]]:
    """Of each node, where its chips are. The keys are in order."""
    nodes = keys >> _INDEX_BITS
    firsts = np.flatnonzero(np.diff(nodes, prepend=-1))
    ends = [*firsts[1:].tolist(), len(keys)]
    return zip(nodes[firsts].tolist(), map(slice, firsts.tolist(), ends), strict=False)


def _node_rows(hosts: Ended, chips: Ended) -> list[NodeRow]:
    keys, rows = chips
    indexes, means = (keys & _LAST_INDEX).tolist(), (rows[:, 1:6] // rows[:, :1]).T.tolist()
    arrays = {
        node: [_by_index(indexes[span], of_all[span], 0) for of_all in means] for node, span in _spans(keys)
    }
    none: list[list[int]] = [[]] * len(means)
    return [
        (node, samples, cpu // samples, memory // samples, *arrays.get(node, none))
        for node, (samples, cpu, memory) in zip(hosts[0].tolist(), hosts[1].tolist(), strict=True)
    ]


def _replica_rows(replicas: Ended) -> list[ReplicaRow]:
    return [
        ReplicaRow(node, name, *values)
        for (node, name), values in zip(_named(replicas[0]), replicas[1].tolist(), strict=True)
    ]


def _named(keys: Records) -> Iterator[tuple[int, bytes]]:
    """Of each key of a replica, its node and the replica's own key."""
    for key in keys.view("V24").tolist():
        yield int.from_bytes(key[:_NODE_BYTES]), key[_NODE_BYTES:]
