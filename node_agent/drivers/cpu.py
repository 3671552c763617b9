"""The `cpu` driver: each core that the agent may use is a chip. Whole chips pin; slices are held by cgroup quota."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from node_agent.host import CoreTimes, memory_total_mib, read_core_times
from node_agent.protocol import ChipInfo, ChipSample

HOST_CPU_MILLI = 1000
"""A core *is* the chip, so no core is counted twice (Q6)."""


class CpuDriver:
    """The node's cores as chips."""

    name = "cpu"

    def __init__(self, *, enforced: bool) -> None:
        """`enforced`: CPU quotas can be set here, so a slice is really held to its share."""
        self._cores: list[int] = []
        self._before: dict[int, CoreTimes] = read_core_times()
        self._isolation = (
            ["exclusive", "enforced", "cooperative"] if enforced else ["exclusive", "cooperative"]
        )
        self._memory_mib = memory_total_mib() // len(os.sched_getaffinity(0))
        self.notes: list[str] = []
        self.chips: list[ChipInfo] = []
        self.look_again()

    def look_again(self) -> None:
        """A core that the agent may not use any more, or that is switched off, is not healthy."""
        usable = os.sched_getaffinity(os.getpid()) & read_core_times().keys()  # not only of this thread
        self._cores += sorted(usable - set(self._cores))
        self.chips = [self._chip(index, core, core in usable) for index, core in enumerate(self._cores)]

    def _chip(self, index: int, core: int, usable: bool) -> ChipInfo:
        return ChipInfo(
            index=index,
            type="cpu",
            memory_mib=self._memory_mib,
            uuid=f"core-{core}",
            driver="cpu",
            healthy=usable,
            health_note="" if usable else f"Core {core} is switched off, or the agent may not use it.",
            isolation=self._isolation,
            host_cpu_milli=HOST_CPU_MILLI,
        )

    def sample(self, memory_mib: Mapping[int, int]) -> list[ChipSample]:
        """Use since the last call, from /proc/stat; memory is that of our own replicas on the core."""
        now = read_core_times()
        samples = []
        for index, core in enumerate(self._cores):
            use = now[core].use_permille_since(self._before.get(core)) if core in now else 0
            samples.append(ChipSample(index=index, use_permille=use, memory_mib=memory_mib.get(index, 0)))
        self._before = now
        return samples

    def processes(self) -> Mapping[int, Sequence[int]]:
        """The whole host may use its cores: none is told."""
        return {}

    def environment(self, indexes: Sequence[int]) -> dict[str, str]:
        """`FLEXAI_CPUS`: the cores held, comma-separated; empty without chips."""
        return {"FLEXAI_CPUS": ",".join(str(core) for core in self.cores(indexes))}

    def nodes(self, index: int) -> Sequence[str]:
        """A core has none."""
        return ()

    def cores(self, indexes: Sequence[int]) -> list[int]:
        """The cores of these chips."""
        return [self._cores[index] for index in indexes]
