"""Telemetry of the agents of this process: kept as it comes, written once a second, off the event loop.

The latest frame of each node goes to Valkey; one message a second tells the browsers of all processes; sums over a
minute go to PostgreSQL; one process adds the cluster's point to the last hour every ten seconds.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from flexai.cluster import telemetry
from flexai.cluster.queries import allocated_milli, mean_use
from flexai.common import clock
from flexai.common.broker import valkey
from flexai.common.database import as_rows, prepared_cursor
from node_agent.protocol import Telemetry, unpack_telemetry

log = logging.getLogger(__name__)

CHIPS_CHANNEL = "flexai:chips"
"""One message a second and web process: {"at": ms, "use": {node id: [permille by chip index, or null]}}."""
MINUTE_MS = 60_000
MAX_INDEX = 1023


@dataclass(frozen=True, slots=True)
class Received:
    """The latest frame of a node."""

    node_id: str
    cell_pk: int
    frame: bytes


@dataclass(slots=True)
class _Sums:
    """One node over one minute."""

    samples: int = 0
    cpu: int = 0
    memory: int = 0
    use: dict[int, int] = field(default_factory=dict)
    chip_memory: dict[int, int] = field(default_factory=dict)

    def add(self, sample: Telemetry) -> None:
        self.samples += 1
        self.cpu += min(sample.host_cpu_permille, 1000)
        self.memory += sample.host_memory_mib
        for chip in sample.chips:
            self.use[chip.index] = self.use.get(chip.index, 0) + min(chip.use_permille, 1000)
            self.chip_memory[chip.index] = self.chip_memory.get(chip.index, 0) + chip.memory_mib


@dataclass(slots=True)
class _Window:
    """One node over one window of `telemetry.WINDOW_MS`."""

    since: int
    samples: int = 0
    chips: dict[int, int] = field(default_factory=dict)
    replicas: dict[str, int] = field(default_factory=dict)

    def add(self, sample: Telemetry) -> None:
        self.samples += 1
        for chip in sample.chips:
            self.chips[chip.index] = self.chips.get(chip.index, 0) + min(chip.use_permille, 1000)
        for replica in sample.replicas:
            key = replica.key.hex()
            self.replicas[key] = self.replicas.get(key, 0) + replica.cpu_permille

    def whole(self, until: int) -> telemetry.Window:
        chips = {index: total // self.samples for index, total in self.chips.items()}
        replicas = {key: total // self.samples for key, total in self.replicas.items()}
        return telemetry.Window(self.since, until, chips, replicas)


class Board:
    """`put` is called on the event loop; `flush` on a thread, never twice at once."""

    def __init__(self) -> None:
        self._fresh: dict[int, Received] = {}
        self._minute = 0
        self._sums: dict[int, _Sums] = {}
        self._windows: dict[int, _Window] = {}

    def put(self, node_pk: int, received: Received) -> None:
        """The frame is the node's latest; it has passed `check_frame`."""
        self._fresh[node_pk] = received

    def has_something(self) -> bool:
        """True when frames came since the last flush."""
        return bool(self._fresh)

    def flush(self) -> None:
        """Everything received since the last flush is where its readers look. Raises redis and database errors."""
        fresh, self._fresh = self._fresh, {}
        at_ms = clock.to_ms(clock.now())
        samples = {pk: unpack_telemetry(received.frame) for pk, received in fresh.items()}
        self._add_up(samples, at_ms)
        self._add_to_windows(samples, at_ms)
        telemetry.keep_frames({pk: received.frame for pk, received in fresh.items()}, at_ms=at_ms)
        use = {fresh[pk].node_id: _by_index(sample) for pk, sample in samples.items()}
        valkey().publish(CHIPS_CHANNEL, json.dumps({"at": at_ms, "use": use}, separators=(",", ":")))
        for cell_pk in {received.cell_pk for received in fresh.values()}:
            if telemetry.claim_step(cell_pk, at_ms):
                point = telemetry.Point(at_ms, allocated_milli(cell_pk), mean_use(cell_pk) or 0)
                telemetry.add_point(cell_pk, point)

    def _add_to_windows(self, samples: Mapping[int, Telemetry], at_ms: int) -> None:
        """A window that is over is told; of a node that was silent meanwhile it covers that time too."""
        whole = {
            pk: window.whole(at_ms)
            for pk, window in self._windows.items()
            if at_ms - window.since >= telemetry.WINDOW_MS and window.samples
        }
        for pk in whole:
            del self._windows[pk]
        for pk, sample in samples.items():
            self._windows.setdefault(pk, _Window(since=at_ms)).add(sample)
        if whole:
            telemetry.keep_windows(whole)

    def _add_up(self, samples: Mapping[int, Telemetry], at_ms: int) -> None:
        minute = at_ms // MINUTE_MS
        if minute != self._minute:
            done, self._sums = self._sums, {}
            before, self._minute = self._minute, minute
            if done:
                _write_minute(clock.from_ms(before * MINUTE_MS), done)
        for pk, sample in samples.items():
            self._sums.setdefault(pk, _Sums()).add(sample)


def check_frame(frame: bytes) -> None:
    """Raises ValueError naming what is wrong with a telemetry frame."""
    sample = unpack_telemetry(frame)
    if any(chip.index > MAX_INDEX for chip in sample.chips):
        raise ValueError(f"telemetry frame names a chip beyond index {MAX_INDEX}")


def _by_index(sample: Telemetry) -> list[int | None]:
    use: list[int | None] = [None] * (max((chip.index for chip in sample.chips), default=-1) + 1)
    for chip in sample.chips:
        use[chip.index] = min(chip.use_permille, 1000)
    return use


_MINUTE = """
INSERT INTO cluster_nodeminute (node_id, minute, host_cpu_permille, host_memory_mib, use_permille, memory_mib)
SELECT u.node, %s, u.cpu, u.memory, ARRAY(SELECT json_array_elements_text(u.use)::int),
       ARRAY(SELECT json_array_elements_text(u.chip_memory)::int)
FROM json_to_recordset(%s::json) AS u(node bigint, cpu int, memory int, use json, chip_memory json)
JOIN cluster_node n ON n.id = u.node
ON CONFLICT (node_id, minute) DO NOTHING
"""


def _write_minute(minute: datetime, sums: Mapping[int, _Sums]) -> None:
    rows = [
        {
            "node": pk,
            "cpu": one.cpu // one.samples,
            "memory": one.memory // one.samples,
            "use": _means(one.use, one.samples),
            "chip_memory": _means(one.chip_memory, one.samples),
        }
        for pk, one in sums.items()
    ]
    with prepared_cursor() as cursor:
        cursor.execute(_MINUTE, [minute, as_rows(rows)])


def _means(sums: Mapping[int, int], samples: int) -> list[int]:
    return [sums.get(index, 0) // samples for index in range(max(sums, default=-1) + 1)]
