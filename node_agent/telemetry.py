"""What the node is doing now: one sample a second of the host, its chips and its replicas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from node_agent.clocks import boottime_ms, wall_ms
from node_agent.drivers import Driver
from node_agent.host import ALL_CORES, TreeUse, memory_used_mib, process_trees, read_core_times
from node_agent.local import Local
from node_agent.protocol import FOREIGN, ReplicaSample, Telemetry, replica_key
from node_agent.reconcile import Key, Phase

MAX_REPLICAS = 1_000
"""Replicas in one frame: with 256 chips it stays inside the largest frame. Those beyond are left out, newest first."""


def note_power(live: Sequence[Local], power_mw: Mapping[int, int]) -> None:
    """Each replica's share of what its chips draw, by milli. Where owner and guest hold more than the whole chip
    together, they share it: no more is counted than is drawn."""
    held: Counter[int] = Counter()
    for local in live:
        held.update(local.chips)
    for local in live:
        told = [
            (power_mw.get(index, 0), milli, max(1000, held[index])) for index, milli in local.chips.items()
        ]
        if told and all(power for power, _, _ in told):
            local.power_sum += sum(power * milli // whole for power, milli, whole in told)
            local.power_samples += 1


class Sampler:
    """Remembers the last sample, so that the next one can tell the use in between."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._host = read_core_times()[ALL_CORES]
        self._at = boottime_ms()
        self._cpu_ms: dict[Key, int] = {}
        self._peaks: dict[Key, int] = {}
        self._wait_ms: dict[Key, int] = {}

    def sample(self, replicas: Iterable[Local], foreign: Collection[int] = ()) -> Telemetry:
        """Host, chips and live replicas since the last call. `foreign`: chips that somebody else uses."""
        now = boottime_ms()
        elapsed_ms = max(1, now - self._at)
        self._at = now
        live = [
            local for local in replicas if local.shim_pid and local.phase in (Phase.LIVE, Phase.STOPPING)
        ][:MAX_REPLICAS]
        memory_of_chip: dict[int, int] = {}
        samples = self._sample_replicas(live, elapsed_ms, memory_of_chip)
        chips = self._driver.sample(memory_of_chip)
        use = {chip.index: chip.use_permille for chip in chips}
        for local in live:
            told = [use[index] for index in local.chips if index in use]
            if self._driver.name != "cpu" and told:
                local.use_sum += sum(told) // len(told)
                local.use_samples += 1
        note_power(live, {chip.index: chip.power_mw for chip in chips})
        host = read_core_times()[ALL_CORES]
        host_use = host.use_permille_since(self._host)
        self._host = host
        return Telemetry(
            at=wall_ms(),
            host_cpu_permille=host_use,
            host_memory_mib=memory_used_mib(),
            chips=[
                msgspec.structs.replace(chip, flags=chip.flags | FOREIGN) if chip.index in foreign else chip
                for chip in chips
            ],
            replicas=samples,
        )

    def _sample_replicas(
        self, live: list[Local], elapsed_ms: int, memory_of_chip: dict[int, int]
    ) -> list[ReplicaSample]:
        trees = process_trees([local.shim_pid for local in live]) if live else {}
        samples = []
        cpu_ms: dict[Key, int] = {}
        peaks: dict[Key, int] = {}
        wait_ms: dict[Key, int] = {}
        for local in live:
            use = trees.get(local.shim_pid)
            if use is None:
                continue
            key = local.track.key
            cpu_ms[key] = use.cpu_ms
            peaks[key] = max(self._peaks.get(key, 0), use.memory_mib)
            wait_ms[key] = use.wait_ms or 0
            busy_ms = max(0, use.cpu_ms - self._cpu_ms.get(key, use.cpu_ms))
            for index in local.chips:
                share = use.memory_mib // len(local.chips)
                memory_of_chip[index] = memory_of_chip.get(index, 0) + share
            samples.append(
                ReplicaSample(
                    key=replica_key(key[0], key[1]),
                    cpu_permille=busy_ms * 1000 // elapsed_ms,
                    memory_mib=use.memory_mib,
                    memory_peak_mib=peaks[key],
                    wait_permille=_waiting(use, self._wait_ms.get(key), elapsed_ms),
                )
            )
        self._cpu_ms, self._peaks, self._wait_ms = cpu_ms, peaks, wait_ms
        return samples


def _waiting(use: TreeUse, before_ms: int | None, elapsed_ms: int) -> int:
    """Permille of the time since the last sample in which something waited. Where the kernel does not count it, the one
    instant of the sample stands for all of it; over a window of many samples that is a fair estimate."""
    if use.wait_ms is None:
        return 1000 if use.waits else 0
    waited = use.wait_ms - (use.wait_ms if before_ms is None else before_ms)
    return max(0, min(1000, waited * 1000 // elapsed_ms))
