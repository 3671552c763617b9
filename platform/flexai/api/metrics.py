"""What Prometheus reads: the cluster as PostgreSQL and Valkey know it, and this web process's own counters.

Numbers of the cluster are the same whichever web process answers; those that begin with `flexai_web_` are of the one
that does. One scrape reads each table once; an answer is kept for `KEPT_SECONDS`, so that scrapers cost no more by
being many.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django.db import connection
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily

from flexai.cluster.models import Cell, Node
from flexai.cluster.telemetry import latest
from flexai.common import clock
from node_agent.protocol import ChipSample, Telemetry

KEPT_SECONDS: Final = 5.0
MAX_CHIPS: Final = 20_000
"""Chips that have series of their own; of a larger cluster the others are only counted by type."""
_MIB = 1 << 20


class Exposition:
    """The text of the last scrape, and when it was made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._text = b""
        self._made_at = -KEPT_SECONDS

    def text(self) -> bytes:
        """Everything there is to read, at most `KEPT_SECONDS` old. Raises database errors."""
        with self._lock:
            if time.monotonic() - self._made_at >= KEPT_SECONDS:
                cluster = CollectorRegistry()
                cluster.register(_Cluster())
                self._text = bytes(generate_latest(cluster)) + bytes(generate_latest(REGISTRY))
                self._made_at = time.monotonic()
            return self._text


class _Cluster:
    """A collector in Prometheus' sense."""

    def describe(self) -> Sequence[Any]:
        """Nothing ahead of the reading."""
        return ()

    def collect(self) -> Iterator[Any]:
        """Every family, read now."""
        nodes = list(Node.objects.filter(state__in=("ready", "cordoned", "draining")).order_by("pk"))
        samples = latest([node.pk for node in nodes])
        yield from _nodes(nodes, samples)
        yield from _chips({node.pk: node.name for node in nodes}, samples)
        yield from _jobs()
        yield from _scheduler()


def _nodes(nodes: Sequence[Node], samples: Mapping[int, Telemetry]) -> Iterator[Any]:
    up = _family("node_up", "1 while the node's agent is in contact.", "node", "state")
    cpu = _family("node_cpu_use_ratio", "Host CPU in use.", "node")
    memory = _family("node_memory_used_bytes", "Host memory in use.", "node")
    for node in nodes:
        up.add_metric([node.name, node.state], float(node.reachable))
        sample = samples.get(node.pk)
        if sample is not None:
            cpu.add_metric([node.name], min(sample.host_cpu_permille, 1000) / 1000)
            memory.add_metric([node.name], sample.host_memory_mib * _MIB)
    yield from (up, cpu, memory)


def _chips(names: Mapping[int, str], samples: Mapping[int, Telemetry]) -> Iterator[Any]:
    labels = ("node", "chip", "type")
    use = _family("chip_use_ratio", "Use of the chip.", *labels)
    bandwidth = _family("chip_memory_use_ratio", "Time in which its memory was read or written.", *labels)
    memory = _family("chip_memory_used_bytes", "Chip memory in use.", *labels)
    degrees = _family("chip_temperature_celsius", "Temperature.", *labels)
    watts = _family("chip_power_watts", "Power.", *labels)
    health = _family("chip_health", "0 (takes no new work) to 100.", *labels)
    allocated = _family("chip_allocated_ratio", "Share of the chip that jobs hold.", *labels)
    count = _family("chips", "Chips by type and state.", "type", "state")
    counted: dict[tuple[str, str], int] = {}
    by_index = {pk: {chip.index: chip for chip in sample.chips} for pk, sample in samples.items()}
    for number, row in enumerate(_rows(_CHIPS)):
        node, index, kind, is_present, is_healthy, is_drained, score, milli, is_reachable = row
        state = _state(is_present and is_reachable and is_healthy, is_drained, milli)
        counted[kind, state] = counted.get((kind, state), 0) + 1
        if number >= MAX_CHIPS or node not in names:
            continue
        values = [names[node], str(index), kind]
        health.add_metric(values, score)
        allocated.add_metric(values, milli / 1000)
        sample = by_index.get(node, {}).get(index)
        if sample is not None:
            _add_sample(sample, values, use, bandwidth, memory, degrees, watts)
    for (kind, state), chips in sorted(counted.items()):
        count.add_metric([kind, state], chips)
    yield from (use, bandwidth, memory, degrees, watts, health, allocated, count)


def _add_sample(
    sample: ChipSample, labels: Sequence[str], use: Any, bandwidth: Any, memory: Any, degrees: Any, watts: Any
) -> None:
    use.add_metric(labels, min(sample.use_permille, 1000) / 1000)
    bandwidth.add_metric(labels, min(sample.memory_use_permille, 1000) / 1000)
    memory.add_metric(labels, sample.memory_mib * _MIB)
    if sample.temperature_c:
        degrees.add_metric(labels, sample.temperature_c)
    if sample.power_mw:
        watts.add_metric(labels, sample.power_mw / 1000)


def _state(is_usable: bool, is_drained: bool, used_milli: int) -> str:
    if is_drained:
        return "drained"
    if not is_usable:
        return "offline"
    return "busy" if used_milli else "idle"


def _jobs() -> Iterator[Any]:
    count = _family(
        "jobs", "Jobs that wait, are held or run, by the word their page shows.", "cell", "status"
    )
    for cell, status, jobs in _rows(_JOBS):
        count.add_metric([cell, status], jobs)
    waits = _family("oldest_waiting_job_seconds", "How long the job that waits longest has waited.", "cell")
    for cell, since in _rows(_OLDEST):
        waits.add_metric([cell], max(0.0, (clock.now() - since).total_seconds()))
    slow = _family("straggling_jobs", "Running jobs that are held back, and were told so.", "cell", "sign")
    for cell, sign, jobs in _rows(_STRAGGLERS):
        slow.add_metric([cell, sign], jobs)
    yield from (count, waits, slow)


def _scheduler() -> Iterator[Any]:
    seconds = _family("scheduler_cycle_seconds", "Parts of the last cycle.", "cell", "part")
    waiting = _family("scheduler_waiting", "Jobs that the last cycle had to decide about.", "cell")
    at = _family("scheduler_last_cycle_timestamp_seconds", "When the last cycle began.", "cell")
    failed = _family("scheduler_failed", "1 when the last cycle failed, or set records aside.", "cell")
    for cell in Cell.objects.order_by("pk"):
        cycle = cell.cycles.order_by("-id").first()
        if cycle is None:
            continue
        for part in ("read", "decide", "apply"):
            seconds.add_metric([cell.name, part], getattr(cycle, f"{part}_ms") / 1000)
        waiting.add_metric([cell.name], cycle.waiting)
        at.add_metric([cell.name], cycle.started_at.timestamp())
        failed.add_metric([cell.name], float(bool(cycle.error)))
    yield from (seconds, waiting, at, failed)


def _family(name: str, what: str, *labels: str) -> Any:
    return GaugeMetricFamily(f"flexai_{name}", what, labels=labels)


def _rows(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


_CHIPS = """
SELECT c.node_id, c.index, c.type, c.present, c.healthy, c.drained_at IS NOT NULL, c.health, c.used_milli, n.reachable
FROM cluster_chip c JOIN cluster_node n ON n.id = c.node_id
WHERE (c.present OR c.used_milli > 0)
  AND NOT EXISTS (SELECT FROM cluster_chip i WHERE i.parent_id = c.id AND i.present)
ORDER BY c.id
"""
_JOBS = """
SELECT l.name, j.status, count(*) FROM cluster_cell l JOIN (
    SELECT cell_id, status FROM jobs_job WHERE state = 'queued'
    UNION ALL SELECT cell_id, status FROM jobs_job WHERE state = 'held'
    UNION ALL SELECT b.cell_id, b.status FROM jobs_attempt a JOIN jobs_job b ON b.id = a.job_id WHERE a.state <> 'ended'
) j ON j.cell_id = l.id GROUP BY l.name, j.status ORDER BY l.name, j.status
"""
"""Each part by an index of its own: how many jobs have ended does not matter."""
_STRAGGLERS = """
SELECT l.name, w.sign, count(*)::int FROM jobs_straggler w JOIN jobs_attempt a ON a.id = w.attempt_id
JOIN cluster_cell l ON l.id = w.cell_id
WHERE w.since IS NOT NULL AND w.told_at IS NOT NULL AND a.state IN ('running', 'checkpointing')
GROUP BY l.name, w.sign ORDER BY l.name, w.sign
"""
_OLDEST = """
SELECT l.name, min(j.submitted_at) FROM jobs_job j JOIN cluster_cell l ON l.id = j.cell_id
WHERE j.state = 'queued' GROUP BY l.name ORDER BY l.name
"""
