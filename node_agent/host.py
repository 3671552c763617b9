"""What the host is and does, from /proc."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True, slots=True)
class CoreTimes:
    """Clock ticks of one core (or of all) since the boot."""

    busy: int
    total: int

    def use_permille_since(self, before: CoreTimes | None) -> int:
        """Share of the time in between that was spent working, 0–1000."""
        if before is None or self.total <= before.total:
            return 0
        return max(0, min(1000, (self.busy - before.busy) * 1000 // (self.total - before.total)))


ALL_CORES = -1


def read_core_times() -> dict[int, CoreTimes]:
    """Per core number, and under `ALL_CORES` of all together. Waiting for a disk and stolen time are not work."""
    times = {}
    with open("/proc/stat", "rb", buffering=0) as file:
        for line in file.read().split(b"\n"):
            if not line.startswith(b"cpu"):
                break
            fields = line.split()
            user, nice, system, idle, iowait, irq, softirq, steal = (int(field) for field in fields[1:9])
            busy = user + nice + system + irq + softirq
            core = int(fields[0][3:]) if len(fields[0]) > 3 else ALL_CORES
            times[core] = CoreTimes(busy=busy, total=busy + idle + iowait + steal)
    return times


def memory_total_mib() -> int:
    """Memory of the host."""
    return _meminfo_kib()[0] >> 10


def memory_used_mib() -> int:
    """Memory of the host that is neither free nor reclaimable."""
    total, available = _meminfo_kib()
    return (total - available) >> 10


def memory_available_mib() -> int:
    """Memory of the host that is free, or can be had by giving up caches."""
    return _meminfo_kib()[1] >> 10


@dataclass(frozen=True, slots=True)
class TreeUse:
    """One process with all its descendants, the process itself left out."""

    cpu_ms: int
    """Since they started; descendants that ended are counted with their parents."""
    memory_mib: int
    """Resident memory; pages shared between processes count in each."""
    wait_ms: int | None = None
    """Time that its processes waited for disks since they started; None where the kernel does not account for it."""
    waits: bool = False
    """Something of it waits for a disk or a network file system now."""


def counts_waiting() -> bool:
    """Whether the kernel accounts for the time that processes wait for disks (`kernel.task_delayacct`)."""
    try:
        with open("/proc/sys/kernel/task_delayacct", "rb", buffering=0) as file:
            return file.read(8).strip() == b"1"
    except OSError:
        return False


def process_trees(roots: list[int]) -> dict[int, TreeUse]:
    """What is below each root, in one pass over /proc. A root that is gone is left out."""
    parent_of: dict[int, int] = {}
    own: dict[int, tuple[int, int, int, int, bool]] = {}
    counts = counts_waiting()
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _stat_fields(name)
            if fields is not None:
                pid = int(name)
                parent_of[pid] = int(fields[1])
                own[pid] = (
                    int(fields[11]) + int(fields[12]),
                    int(fields[13]) + int(fields[14]),
                    int(fields[21]),
                    int(fields[39]) if counts else 0,
                    fields[0] == b"D",
                )
    wanted = set(roots)
    ticks = {root: own[root][1] for root in roots if root in own}
    pages, waited = dict.fromkeys(ticks, 0), dict.fromkeys(ticks, 0)
    waiting = set()
    for pid, (self_ticks, children_ticks, resident, wait_ticks, waits) in own.items():
        root = _root_of(pid, parent_of, wanted)
        if root is not None and root in ticks:
            ticks[root] += self_ticks + children_ticks
            pages[root] += resident
            waited[root] += wait_ticks
            if waits:
                waiting.add(root)
    return {
        root: TreeUse(
            cpu_ms=ticks[root] * 1000 // _TICKS_PER_SECOND,
            memory_mib=pages[root] * _PAGE_KIB >> 10,
            wait_ms=waited[root] * 1000 // _TICKS_PER_SECOND if counts else None,
            waits=root in waiting,
        )
        for root in ticks
    }


def processes_outside(pids: Iterable[int], roots: Collection[int]) -> list[int]:
    """Those of the processes that are there and neither are nor descend from one of these."""
    outside = []
    for pid in pids:
        current: int | None = pid
        while current is not None and current > 1 and current not in roots:
            current = _parent_of(current)
        if current is None or current in roots:
            continue
        outside.append(pid)
    return outside


def process_name(pid: int) -> str:
    """What the kernel calls it; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/comm", "rb", buffering=0) as file:
            return file.read(64).decode("utf-8", "replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _parent_of(pid: int) -> int | None:
    fields = _stat_fields(str(pid))
    return None if fields is None else int(fields[1])


def _root_of(pid: int, parent_of: dict[int, int], roots: set[int]) -> int | None:
    """The root strictly above the process."""
    current = parent_of.get(pid, 0)
    while current > 1:
        if current in roots:
            return current
        current = parent_of.get(current, 0)
    return None


def _stat_fields(name: str) -> list[bytes] | None:
    """Fields of /proc/PID/stat from the state on (field 3 is number 0); None when the process is gone."""
    try:
        with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
            return file.read(4096).rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _meminfo_kib() -> tuple[int, int]:
    total = available = 0
    with open("/proc/meminfo", "rb", buffering=0) as file:
        for line in file.read().split(b"\n"):
            if line.startswith(b"MemTotal:"):
                total = int(line.split()[1])
            elif line.startswith(b"MemAvailable:"):
                available = int(line.split()[1])
                break
    return total, available
