"""Containers of replicas: what the OCI runtime is told of each, and whether this node can run any.

A container is one more command under a replica's shim (`runtimes.container`): the shim stays the parent of its first
process, so that log, exit code, signals, limits and leases are those of any replica. Inside there is the image, read
only; the job's own directory, at the path that it has outside; a /tmp and /dev/shm of its own; its chips. The user is
the organization's, without any capability and without a way to gain one. The network is the node's: the replicas of a
gang find each other at its address, as processes do.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node_agent.accelerators import Edits
from node_agent.cgroups import Detected, below_mount
from node_agent.runtimes import container

FOLDER: Final = "containers"
"""In the agent's data directory: a folder for each container, the runtime's own state, and where images are mounted."""
RUNTIMES: Final = ("runc", "crun")
INITS: Final = ("catatonit", "tini-static", "dumb-init")
"""Small static programs that are a container's first process: they reap, and pass the exit code on."""
INIT: Final = "/dev/.flexai-init"
"""Where the first process lies inside: /dev is there in every container, and never the image's."""
SECCOMP: Final = ("/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json")
WITHHELD: Final = frozenset({
    "clone", "clone3", "fsconfig", "fsmount", "fsopen", "fspick", "keyctl", "mount", "mount_setattr", "move_mount",
    "open_tree", "pivot_root", "reboot", "setns", "syslog", "umount", "umount2", "unshare",
})  # fmt: skip
"""System calls that the profile leaves to containers within containers: namespaces of users open much of the kernel."""
_NEW_NAMESPACES: Final = 0x7E02_0000
"""Flags of `clone` that make any."""
MOST_PIDS: Final = 16_384
"""Processes and threads of one replica."""
PROBE_SECONDS: Final = 20.0

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHELL = 'if [ -x /bin/bash ]; then exec /bin/bash -e "$@"; else exec /bin/sh -e "$@"; fi'
_OF_ITS_OWN = ("/tmp", "/var/tmp")  # noqa: S108 - inside; nobody else has them
_SHARED_MEMORY = "/dev/shm"  # noqa: S108
_FROM_THE_NODE = ("/etc/hosts", "/etc/resolv.conf")
_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware", "/sys/fs/selinux",
)  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True)
class Runtime:
    """What this node runs containers with; the probe has seen it work."""

    program: str
    init: str
    podman: str
    """Fetches and keeps images; it runs none."""
    seccomp: Mapping[str, Any]
    """As the runtime is told it."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is here."""

    id: str
    """Of its configuration: what `podman` knows it by."""
    digest: str
    """Of its manifest: what was really run, whatever tag it was asked for by."""
    size: int
    """Bytes, unpacked."""
    layers: str
    """Its layers as overlayfs is told them, relative to `layers_dir`."""
    layers_dir: str
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Inside:
    """What a replica's container is to be like."""

    uid: int
    job_dir: str
    working_dir: str
    env: Mapping[str, str]
    memory_mib: int
    """Also the most that its /tmp may hold; 0: half of the node's."""
    shm_mib: int
    """The most that its /dev/shm may hold; 0: the same, which is what data loaders want: they pass batches through it,
    the 64 MiB that others give are soon full, and what lies in it counts as the job's memory in any case."""
    cgroup: str
    """Of the container, below each control group file system."""
    script_is_long: bool
    """It comes by descriptor 3."""
    script: str
    edits: Edits
    """What its chips need."""
    has_secrets: bool = False
    """They come by the next descriptor."""
    mps_pipes: str = ""
    """Where it meets others on its part of a chip; empty: nowhere."""


def probe(data_dir: Path, groups: Detected) -> tuple[Runtime | None, str]:
    """What runs containers here, having run an empty one; or None and the sentence that says why not."""
    if os.geteuid() != 0:
        return None, "Jobs with an image do not run here: the agent needs root for that."
    podman, init = shutil.which("podman"), _first(INITS)
    if podman is None:
        return None, "Jobs with an image do not run here: podman is not installed."
    if init is None:
        return None, f"Jobs with an image do not run here: none of {', '.join(INITS)} is installed."
    seccomp = next((path for path in SECCOMP if os.path.exists(path)), None)
    if seccomp is None:
        return None, f"Jobs with an image do not run here: there is no {SECCOMP[-1]}."
    why = f"none of {', '.join(RUNTIMES)} is installed"
    for name in RUNTIMES:
        program = shutil.which(name)
        if program is None:
            continue
        try:
            found = Runtime(program, init, podman, seccomp_for(json.loads(Path(seccomp).read_text())))
            why = _why_it_fails(found, data_dir, groups)
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            why = f"{name} could not be tried: {error}"
        if not why:
            return found, ""
    return None, f"Jobs with an image do not run here: {why}."[:400]


def described(runtime: Runtime, image: Image, inside: Inside, data_dir: str) -> dict[str, str]:
    """What a shim needs to start the container: see `runtimes.container`."""
    root = f"{data_dir}/{FOLDER}/{container.ROOT}"
    return {
        "runtime": runtime.program,
        "folder": f"{data_dir}/{FOLDER}",
        "layers_dir": image.layers_dir,
        "layers": image.layers,
        "image": image.id,
        "digest": image.digest,
        "config": json.dumps(_configuration(runtime, inside, f"{root}/{container.MERGED}")),
    }


def environment(image: Image) -> dict[str, str]:
    """What a job in this image has before anything else is said: the image's own variables."""
    return {"PATH": _SYSTEM_PATH, **image.env}


def cgroup_of(groups: Detected, name: str) -> str:
    """Where the replica's container is accounted: its own group where memory is limited, so that its limits hold."""
    return f"{below_mount(groups.groups) or '/flexai'}/{name}"


def left(data_dir: Path, live: Collection[str]) -> list[str]:
    """Folders of containers whose replicas are not here any more. A container has a folder only while its replica is
    known, so what is here and not known now is nobody's."""
    folder = data_dir / FOLDER
    names = os.listdir(folder) if folder.is_dir() else []
    return [name for name in names if name not in live and name not in (container.ROOT, container.STATE)]


def remove(data_dir: Path, runtime: Runtime, names: Iterable[str]) -> None:
    """Nothing of these containers is left."""
    for name in names:
        container.remove(runtime.program, f"{data_dir}/{FOLDER}", name)
        shutil.rmtree(data_dir / FOLDER / name, ignore_errors=True)


def seccomp_for(profile: Mapping[str, Any]) -> dict[str, Any]:
    """The system calls that a container without capabilities may make: the distribution's own profile without what is
    `WITHHELD`, as the runtime wants it. Raises KeyError where it is not such a profile."""
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    named = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}.get(arch)
    architectures = [
        name
        for entry in profile.get("archMap") or ()
        if entry["architecture"] == named
        for name in (entry["architecture"], *(entry.get("subArchitectures") or ()))
    ]
    rules = []
    for rule in profile["syscalls"]:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        if includes.get("caps") or (includes.get("arches") and arch not in includes["arches"]):
            continue
        if arch in (excludes.get("arches") or ()):
            continue
        kept = {key: rule[key] for key in ("action", "errnoRet") if key in rule}
        kept["names"] = [name for name in rule["names"] if name not in WITHHELD]
        if not kept["names"]:
            continue
        rules.append(kept | ({"args": rule["args"]} if rule.get("args") else {}))
    plain = {"index": 0, "value": _NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    rules.append({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [plain]})
    refused = sorted(WITHHELD - {"clone", "clone3"})  # of clone3 the flags cannot be seen: it is not there
    rules.append({"names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": 1})
    made = {"defaultAction": profile["defaultAction"], "architectures": architectures, "syscalls": rules}
    return made | ({"defaultErrnoRet": profile["defaultErrnoRet"]} if "defaultErrnoRet" in profile else {})


def _configuration(runtime: Runtime, inside: Inside, root: str) -> dict[str, Any]:
    arguments = ["/dev/fd/3"] if inside.script_is_long else ["-c", inside.script]
    secrets = 3 + inside.script_is_long
    shell = f". /dev/fd/{secrets}; exec {secrets}<&-; {_SHELL}" if inside.has_secrets else _SHELL
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {
                "uid": inside.uid, "gid": inside.uid, "umask": 0o022, "additionalGids": list(inside.edits.gids),
            },
            "args": [INIT, "--", "/bin/sh", "-c", shell, "sh", *arguments],
            "env": [f"{name}={value}" for name, value in inside.env.items()],
            "cwd": inside.working_dir,
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "root": {"path": root, "readonly": True},
        "mounts": _mounts(runtime, inside),
        "hooks": {name: list(hooks) for name, hooks in inside.edits.hooks.items()},
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "mount", "cgroup")],
            "cgroupsPath": inside.cgroup,
            "devices": [
                {
                    "path": node.path, "type": "c", "major": node.major, "minor": node.minor, "fileMode": node.mode,
                    "uid": inside.uid, "gid": inside.uid,
                }
                for node in inside.edits.nodes
            ],
            "resources": {
                "devices": [
                    {"allow": False, "access": "rwm"},
                    *(
                        {"allow": True, "type": "c", "major": node.major, "minor": node.minor, "access": node.access}
                        for node in inside.edits.nodes
                    ),
                ],
                "pids": {"limit": MOST_PIDS},
            },
            "seccomp": runtime.seccomp,
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READ_ONLY),
        },
    }  # fmt: skip


def _mounts(runtime: Runtime, inside: Inside) -> list[dict[str, Any]]:
    closed = ["nosuid", "nodev", "noexec"]
    made = [
        _mount("/proc", "proc", "proc", [*closed]),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=64k"]),
        _mount(
            "/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
        ),
        _mount("/dev/mqueue", "mqueue", "mqueue", closed),
        _mount("/sys", "sysfs", "sysfs", [*closed, "ro"]),
        *(_in_memory(path, inside.memory_mib) for path in _OF_ITS_OWN),
        _mount(INIT, "bind", runtime.init, ["bind", "ro", "nosuid", "nodev"]),
    ]
    for path in _FROM_THE_NODE:
        if os.path.exists(path):
            made.append(_mount(path, "bind", os.path.realpath(path), ["bind", "ro", *closed]))
    if inside.mps_pipes:  # its programs and their server meet in the memory that both see
        made.append(_mount(_SHARED_MEMORY, "bind", _SHARED_MEMORY, ["bind", "rw", *closed]))
        made.append(_mount(inside.mps_pipes, "bind", inside.mps_pipes, ["bind", "ro", *closed]))
    else:
        sizes = [size for size in (inside.shm_mib, inside.memory_mib) if size]
        made.append(_in_memory(_SHARED_MEMORY, min(sizes, default=0)))
    made += [_mount(path, "bind", source, list(options)) for path, source, options in inside.edits.mounts]
    if inside.job_dir:
        made.append(_mount(inside.job_dir, "bind", inside.job_dir, ["bind", "rw", "nosuid", "nodev"]))
    return made


def _in_memory(path: str, mib: int) -> dict[str, Any]:
    size = f"size={mib}m" if mib else "size=50%"
    return _mount(path, "tmpfs", "tmpfs", ["nosuid", "nodev", "mode=1777", size])


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options}


# -- the probe ---------------------------------------------------------------------------------------------------------


def _first(names: Iterable[str]) -> str | None:
    return next((found for name in names if (found := shutil.which(name)) is not None), None)


def _why_it_fails(runtime: Runtime, data_dir: Path, groups: Detected) -> str:
    """Empty when a container in which there is nothing but its first process has run and ended as it should."""
    folder = data_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    container.prepare(str(folder))
    with tempfile.TemporaryDirectory(dir=folder, prefix="probe-") as made:
        (Path(made) / "layer" / "bin").mkdir(parents=True)
        (Path(made) / "layer" / "bin" / "sh").touch()
        inside = Inside(65_534, "", "/", {}, 0, 0, cgroup_of(groups, Path(made).name), False, "", Edits())
        config = _configuration(runtime, inside, f"{folder}/{container.ROOT}/{container.MERGED}")
        config["process"]["args"] = [INIT, _VERSION_OPTION[os.path.basename(runtime.init)]]
        description = {
            "runtime": runtime.program, "folder": str(folder), "layers_dir": made, "layers": "layer",
            "image": "", "digest": "", "config": json.dumps(config),
        }  # fmt: skip
        said = _tried(description, Path(made).name)
    return f"{os.path.basename(runtime.program)} says: {said}" if said else ""


def _tried(description: Mapping[str, str], name: str) -> str:
    """In a process of its own: it forks, and this one has threads."""
    root = str(Path(__file__).resolve().parent.parent)
    code = f"import sys; sys.path.insert(0, {root!r}); from node_agent.runtimes.container import main; main()"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], input=json.dumps([description, name]), text=True, capture_output=True,
        timeout=PROBE_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        return done.stdout.strip()
    return done.stderr.strip().rpartition("\n")[2] or f"the probe ended with {done.returncode}"


_VERSION_OPTION: Final = {"catatonit": "--version", "tini-static": "--version", "dumb-init": "--version"}
