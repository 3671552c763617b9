"""Limits by control groups, version 1 or 2, where the agent may make them.

The agent finds out once what it may do (`detect`); each shim makes one group per controller for its replica,
enters it for the moment of starting the command, so that the command is born inside, and leaves it again."""

from __future__ import annotations

import os
import signal
import time

PERIOD_US = 100_000
"""Length of a CPU quota period, the kernel's default."""
LEAST_QUOTA_US = 1_000
"""The kernel refuses less."""

_REMOVE_TRIES = 20
_LEAF = "flexai-agent"
"""Where the agent itself goes when version 2 wants its group free of processes."""


class Limits:
    """What one replica may use; 0 means no limit."""

    __slots__ = ("cpu_quota_milli", "cpu_shares", "memory_mib")

    def __init__(self, *, cpu_quota_milli: int = 0, cpu_shares: int = 0, memory_mib: int = 0) -> None:
        self.cpu_quota_milli = cpu_quota_milli
        self.cpu_shares = cpu_shares
        self.memory_mib = memory_mib


class Detected:
    """What is permitted here. `groups` maps `cpu1 memory1 cpu2 memory2` to a parent directory."""

    def __init__(self, groups: dict[str, str], notes: list[str]) -> None:
        self.groups = groups
        self.notes = notes

    @property
    def cpu(self) -> bool:
        """True when a CPU quota can be enforced."""
        return "cpu1" in self.groups or "cpu2" in self.groups

    @property
    def memory(self) -> bool:
        """True when a memory limit can be enforced."""
        return "memory1" in self.groups or "memory2" in self.groups


def detect(name: str, *, mountinfo: str = "/proc/self/mountinfo", own: str = "/proc/self/cgroup") -> Detected:
    """Make the parent groups called `name` under the agent's own groups, where permitted, and say what is not."""
    own_paths = _own_paths(own)
    groups: dict[str, str] = {}
    for mount_point, kind, controllers in _mounts(mountinfo):
        if kind == "cgroup":
            for controller in ("cpu", "memory"):
                if controller in controllers:
                    parent = _make_parent(mount_point, own_paths.get(controller, "/"), name)
                    if parent:
                        groups[f"{controller}1"] = parent
        else:
            groups.update(_detect_v2(mount_point, own_paths.get("", "/"), name))
    detected = Detected(groups, [])
    if not detected.cpu:
        detected.notes.append(
            "CPU slices are scheduled but not enforced: the agent may not make CPU cgroups here."
        )
    if not detected.memory:
        detected.notes.append("Memory limits are not enforced: the agent may not make memory cgroups here.")
    return detected


class Group:
    """The groups of one replica, one per controller in use."""

    def __init__(self, parents: dict[str, str], name: str) -> None:
        """Make nothing yet."""
        self._paths = {kind: f"{parent}/{name}" for kind, parent in parents.items()}
        self._paths_made: dict[str, str] = {}

    def make(self, limits: Limits) -> None:
        """Make the groups that these limits need. Raises `OSError`."""
        if limits.cpu_quota_milli or limits.cpu_shares:
            if "cpu1" in self._paths:
                path = self._make("cpu1")
                if limits.cpu_quota_milli:
                    _write(f"{path}/cpu.cfs_quota_us", str(_quota_us(limits.cpu_quota_milli)))
                else:
                    _write(f"{path}/cpu.shares", str(max(2, limits.cpu_shares * 1024 // 1000)))
            elif "cpu2" in self._paths:
                path = self._make("cpu2")
                if limits.cpu_quota_milli:
                    _write(f"{path}/cpu.max", f"{_quota_us(limits.cpu_quota_milli)} {PERIOD_US}")
                else:
                    _write(f"{path}/cpu.weight", str(min(10_000, max(1, limits.cpu_shares // 10))))
        if limits.memory_mib:
            self._limit_memory(limits.memory_mib << 20)

    def enter(self) -> None:
        """Move the calling process in; what it starts is born inside."""
        for path in set(self._paths_made.values()):
            _write(f"{path}/cgroup.procs", "0")

    def take_in(self, pids: list[int]) -> None:
        """Move these processes in; those that have ended meanwhile are left out."""
        for path in set(self._paths_made.values()):
            for pid in pids:
                try:
                    _write(f"{path}/cgroup.procs", str(pid))
                except ProcessLookupError:
                    continue

    def leave(self, parents: dict[str, str]) -> None:
        """Move the calling process out again, to where the agent lives."""
        for kind in self._paths_made:
            _write(f"{_home(os.path.dirname(parents[kind]))}/cgroup.procs", "0")

    def kill(self) -> None:
        """Send SIGKILL to every process inside, once."""
        for path in set(self._paths_made.values()):
            if os.path.exists(f"{path}/cgroup.kill"):
                _write(f"{path}/cgroup.kill", "1")
                continue
            for pid in pids_in(path):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def out_of_memory_kills(self) -> int:
        """How often the kernel ended a process of the replica for want of memory."""
        for kind, name in (("memory1", "memory.oom_control"), ("memory2", "memory.events")):
            if kind in self._paths_made:
                for line in _read(f"{self._paths_made[kind]}/{name}").splitlines():
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        return 0

    def memory_peak_mib(self) -> int:
        """Highest memory use so far, page cache included; 0 when it is not measured."""
        for kind, name in (("memory1", "memory.max_usage_in_bytes"), ("memory2", "memory.peak")):
            if kind in self._paths_made:
                text = _read(f"{self._paths_made[kind]}/{name}").strip()
                return int(text) >> 20 if text.isdigit() else 0
        return 0

    def paths(self) -> list[str]:
        """Directories of the groups that exist."""
        return sorted(set(self._paths_made.values()))

    def remove(self) -> None:
        """Remove the groups; one that is still busy is left for the next agent's `remove_stale`."""
        for path in self.paths():
            remove_group(path)

    def _make(self, kind: str) -> str:
        path = self._paths[kind]
        os.makedirs(path, exist_ok=True)
        self._paths_made[kind] = path
        return path

    def _limit_memory(self, limit_bytes: int) -> None:
        if "memory1" in self._paths:
            path = self._make("memory1")
            _write(f"{path}/memory.limit_in_bytes", str(limit_bytes))
            if os.path.exists(f"{path}/memory.memsw.limit_in_bytes"):
                _write(f"{path}/memory.memsw.limit_in_bytes", str(limit_bytes))
        elif "memory2" in self._paths:
            path = self._make("memory2")
            _write(f"{path}/memory.max", str(limit_bytes))
            if os.path.exists(f"{path}/memory.swap.max"):
                _write(f"{path}/memory.swap.max", "0")
            _write(f"{path}/memory.oom.group", "1")


def below_mount(groups: dict[str, str], *, mountinfo: str = "/proc/self/mountinfo") -> str:
    """Where, below its file system, the parent group lies in which memory is limited, else any; empty without groups.

    A container runtime is told one path for all controllers.
    """
    chosen = next((groups[kind] for kind in ("memory1", "memory2", "cpu2", "cpu1") if kind in groups), "")
    points = [point for point, _, _ in _mounts(mountinfo) if chosen.startswith(f"{point}/")]
    return chosen.removeprefix(max(points, key=len)) if points else ""


def pids_in(path: str) -> list[int]:
    """Processes in the group; empty when it is gone."""
    try:
        return [int(line) for line in _read(f"{path}/cgroup.procs").split()]
    except FileNotFoundError:
        return []


def remove_group(path: str) -> bool:
    """Remove one empty group; False when processes are still in it."""
    for _ in range(_REMOVE_TRIES):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return True
        except OSError:
            time.sleep(0.001)
        else:
            return True
    return False


def remove_stale(groups: dict[str, str], live: set[str]) -> None:
    """Remove the empty groups of replicas that are no longer on the node."""
    for parent in set(groups.values()):
        try:
            names = [entry.name for entry in os.scandir(parent) if entry.is_dir()]
        except FileNotFoundError:
            continue
        for name in names:
            if name not in live and not pids_in(f"{parent}/{name}"):
                remove_group(f"{parent}/{name}")


def _quota_us(milli: int) -> int:
    return max(LEAST_QUOTA_US, milli * PERIOD_US // 1000)


def _own_paths(path: str) -> dict[str, str]:
    """Controller → path of the calling process's group; the empty name is version 2."""
    paths: dict[str, str] = {}
    for line in _read(path).splitlines():
        number, controllers, group = line.split(":", 2)
        for controller in controllers.split(","):
            paths["" if number == "0" else controller] = group
    return paths


def _mounts(path: str) -> list[tuple[str, str, list[str]]]:
    """(mount point, `cgroup` or `cgroup2`, controllers) of each control group file system."""
    mounts = []
    for line in _read(path).splitlines():
        left, _, right = line.partition(" - ")
        fields = right.split()
        if fields and fields[0] in ("cgroup", "cgroup2"):
            mounts.append((left.split()[4], fields[0], fields[2].split(",") if len(fields) > 2 else []))
    return mounts


def _make_parent(mount_point: str, own: str, name: str) -> str | None:
    base = mount_point + own.removesuffix(f"/{_LEAF}").rstrip("/")
    if not os.path.isdir(base):  # inside a container the path is the host's, the mount is already ours
        base = mount_point
    path = f"{base}/{name}"
    try:
        os.makedirs(path, exist_ok=True)
        probe = f"{path}/probe-{os.getpid()}"
        os.mkdir(probe)
        os.rmdir(probe)
    except OSError:
        return None
    _weigh(path)
    return path


def _weigh(path: str) -> None:
    """All replicas together weigh as much as one busy process per core, not as one process."""
    cores = os.cpu_count() or 1
    for name, weight in (("cpu.shares", 1024 * cores), ("cpu.weight", min(10_000, 100 * cores))):
        if os.path.exists(f"{path}/{name}"):
            _write(f"{path}/{name}", str(weight))


def _detect_v2(mount_point: str, own: str, name: str) -> dict[str, str]:
    parent = _make_parent(mount_point, own, name)
    if parent is None:
        return {}
    base = os.path.dirname(parent)
    available = _read(f"{base}/cgroup.controllers").split()
    groups: dict[str, str] = {}
    for controller in ("cpu", "memory"):
        if controller in available and _delegate(base, parent, controller):
            groups[f"{controller}2"] = parent
    _weigh(parent)
    if not groups:
        remove_group(parent)
    return groups


def _delegate(base: str, parent: str, controller: str) -> bool:
    """Hand the controller down to the groups of replicas. The agent steps aside into a leaf where it must."""
    for _ in range(2):
        try:
            _write(f"{base}/cgroup.subtree_control", f"+{controller}")
            _write(f"{parent}/cgroup.subtree_control", f"+{controller}")
        except OSError:
            if not _step_aside(base):
                return False
        else:
            return True
    return False


def _step_aside(base: str) -> bool:
    """Version 2 forbids processes beside sub-groups: move the agent itself, if it is alone there, into a leaf."""
    leaf = f"{base}/{_LEAF}"
    try:
        if [pid for pid in pids_in(base) if pid != os.getpid()]:
            return False
        os.makedirs(leaf, exist_ok=True)
        _write(f"{leaf}/cgroup.procs", str(os.getpid()))
    except OSError:
        return False
    return True


def _home(base: str) -> str:
    leaf = f"{base}/{_LEAF}"
    return leaf if os.path.isdir(leaf) else base


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
