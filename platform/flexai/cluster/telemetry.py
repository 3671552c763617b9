"""Live telemetry in Valkey: the latest frame of each node, and the cluster's last hour. Latest values, never truth.

A frame is kept as it came, behind the server's instant of arrival, so that a reader can tell live from stale.
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import msgspec
import redis

from flexai.common import clock
from flexai.common.broker import set_fields, valkey
from node_agent.protocol import ReplicaSample, Telemetry, unpack_telemetry

log = logging.getLogger(__name__)

FRAMES_KEY = "flexai:telemetry"
"""Hash: node primary key → arrival (ms, 8 bytes) and frame."""
SERIES_STEP_MS = 10_000
SERIES_POINTS = 360
"""One hour."""
STALE_MS = 10_000
"""A frame older than this says nothing about now."""
_ARRIVAL = struct.Struct("<q")
WINDOWS_KEY = "flexai:demand"
"""Hash: node primary key → JSON of the node's last whole `Window`."""
WINDOW_MS = 10_000
"""Over so long use is averaged before anything is decided by it (T1): one sample of a second tells little of work that
reads and computes by turns."""


@dataclass(frozen=True, slots=True)
class Point:
    """The cluster at one instant."""

    at: int
    allocated_milli: int
    use_permille: int


@dataclass(slots=True)
class Series:
    """The last hour, oldest first."""

    at: list[int] = field(default_factory=list)
    allocated: list[int] = field(default_factory=list)
    use: list[int] = field(default_factory=list)


class Window(msgspec.Struct, frozen=True):
    """What a node's chips and replicas used, on average over one window (T1)."""

    since: int
    until: int
    """Milliseconds since the epoch, by the server's clock."""
    chips: dict[int, int]
    """Permille by chip index."""
    replicas: dict[str, int]
    """CPU permille of one core, by the replica's key in hex."""
    waits: dict[str, int] = {}
    """Permille of the time in which the replica waited for input."""
    peaks: dict[str, int] = {}
    """The most memory that the replica has held so far, in MiB."""
    hot: dict[int, int] = {}
    """Permille of the window in which heat slowed a chip, by index; only of those that it did."""
    slowed: dict[int, int] = {}
    """The same, where the hardware slowed it for another reason than its power limit."""
    clocks: dict[int, int] = {}
    """Permille of the highest clock, of chips that tell."""
    temperatures: dict[int, int] = {}
    """°C, of chips that tell."""


def keep_windows(windows: Mapping[int, Window]) -> None:
    """The windows are the last whole ones of their nodes. Raises redis errors."""
    set_fields(WINDOWS_KEY, {node: msgspec.json.encode(window) for node, window in windows.items()})


def last_windows(node_pks: Sequence[int]) -> dict[int, Window]:
    """The last whole window of each node, by primary key. Raises redis errors."""
    if not node_pks:
        return {}
    raw = cast("list[bytes | None]", valkey().hmget(WINDOWS_KEY, [str(pk) for pk in node_pks]))
    return {pk: _WINDOW.decode(value) for pk, value in zip(node_pks, raw, strict=True) if value is not None}


_WINDOW = msgspec.json.Decoder(Window)


def keep_frames(frames: Mapping[int, bytes], *, at_ms: int) -> None:
    """The frames are the latest of their nodes. Raises redis errors."""
    set_fields(FRAMES_KEY, frames, prefix=_ARRIVAL.pack(at_ms))


def forget_frames(node_pks: Iterable[int]) -> None:
    """The nodes have no latest frame. Raises redis errors."""
    names = [str(pk) for pk in node_pks]
    if names:
        valkey().hdel(FRAMES_KEY, *names)
        valkey().hdel(WINDOWS_KEY, *names)


def latest(node_pks: Sequence[int]) -> dict[int, Telemetry]:
    """The latest sample of each node that sent one within `STALE_MS`. Empty when the broker is not reached."""
    return {pk: unpack_telemetry(frame) for pk, frame in latest_frames(node_pks).items()}


def latest_frames(node_pks: Sequence[int]) -> dict[int, bytes]:
    """The same, as they came."""
    if not node_pks:
        return {}
    try:
        raw = cast("list[bytes | None]", valkey().hmget(FRAMES_KEY, [str(pk) for pk in node_pks]))
    except redis.RedisError as error:
        log.warning("broker not reached, no live values: %s", error)
        return {}
    oldest = clock.to_ms(clock.now()) - STALE_MS
    return {
        pk: value[_ARRIVAL.size :]
        for pk, value in zip(node_pks, raw, strict=True)
        if value is not None and _ARRIVAL.unpack_from(value)[0] >= oldest
    }


def replica_samples(sample: Telemetry | None) -> dict[bytes, ReplicaSample]:
    """The replicas of one sample by key."""
    return {} if sample is None else {replica.key: replica for replica in sample.replicas}


def add_point(cell_pk: int, point: Point) -> None:
    """The point is the newest of the cell's last hour. Raises redis errors."""
    key = _series_key(cell_pk)
    with valkey().pipeline(transaction=False) as pipe:
        pipe.rpush(key, json.dumps([point.at, point.allocated_milli, point.use_permille]))
        pipe.ltrim(key, -SERIES_POINTS, -1)
        pipe.expire(key, SERIES_POINTS * SERIES_STEP_MS // 1000)
        pipe.execute()


def claim_step(cell_pk: int, at_ms: int) -> bool:
    """True for the one process that is to add this step's point. Raises redis errors."""
    step = at_ms // SERIES_STEP_MS
    return bool(valkey().set(f"{_series_key(cell_pk)}:{step}", 1, nx=True, px=2 * SERIES_STEP_MS))


def cluster_series(cell_pk: int) -> Series:
    """The cell's last hour. Empty when the broker is not reached."""
    series = Series()
    try:
        raw = valkey().lrange(_series_key(cell_pk), 0, -1)
    except redis.RedisError as error:
        log.warning("broker not reached, no series: %s", error)
        return series
    for item in raw:
        at, allocated, use = json.loads(item)
        series.at.append(at)
        series.allocated.append(allocated)
        series.use.append(use)
    return series


def _series_key(cell_pk: int) -> str:
    return f"flexai:series:{cell_pk}"
