"""Reads CDI files: what their vendors' tools say that a container needs so that a chip works inside.

By the Container Device Interface, versions 0.3 to 1.1, JSON and YAML. A file is the node administrator's word, as a
unit file is: it may have anything of the node mounted, and its hooks run as root. So one is read only where nobody but
root could have written it: folder and file are root's (or the agent's own), nobody else may write them, and neither is
a link. What is in it is bounded, and a field that is not known here makes its devices unusable: to leave one out could
mean a container without what makes it work, or with more than it should have.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import yaml
from msgspec import Meta

FOLDERS: Final = ("/etc/cdi", "/var/run/cdi")
"""A device of a later one takes the place of one of the same name in an earlier one."""
MOST_FILES: Final = 64
"""In one folder."""
MOST_BYTES: Final = 1 << 20
"""Of one file; that of a machine with 16 chips has some 200 KiB."""
MOST_ITEMS: Final = 1_024
"""Of one list."""
MOST_DEPTH: Final = 64
"""Of things within things; a CDI file needs 7, and the readers of YAML recurse."""
VERSIONS: Final = frozenset({"0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "1.0", "1.1"})

_Text = Annotated[str, Meta(max_length=4_096)]
_Texts = Annotated[list[_Text], Meta(max_length=MOST_ITEMS)]
_Number = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]


class CdiError(Exception):
    """A device cannot be given by these files; the text is a sentence for people."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """As it stands in a file."""


class DeviceNode(_Part, frozen=True):
    """A device node that is to be there inside. What it does not say is as on the node."""

    path: _Text
    host_path: _Text = ""
    type: _Text = ""
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    permissions: _Text = ""
    uid: _Number | None = None
    gid: _Number | None = None


class Mount(_Part, frozen=True):
    """A file or folder of the node that is to be there inside."""

    host_path: _Text
    container_path: _Text
    options: _Texts = []
    type: _Text = ""


class Hook(_Part, frozen=True):
    """A program that the OCI runtime runs on the way to a container, or from it."""

    hook_name: _Text
    path: _Text
    args: _Texts = []
    env: _Texts = []
    timeout: int | None = None


class ContainerEdits(_Part, frozen=True):
    """What is done to a container's configuration."""

    env: _Texts = []
    device_nodes: Annotated[list[DeviceNode], Meta(max_length=MOST_ITEMS)] = []
    mounts: Annotated[list[Mount], Meta(max_length=MOST_ITEMS)] = []
    hooks: Annotated[list[Hook], Meta(max_length=MOST_ITEMS)] = []
    additional_gids: Annotated[list[_Number], Meta(max_length=MOST_ITEMS)] = []


class _Entry(_Part, frozen=True):
    name: _Text
    container_edits: ContainerEdits
    annotations: dict[str, _Text] = {}


class _File(_Part, frozen=True):
    cdi_version: _Text
    kind: _Text
    devices: Annotated[list[_Entry], Meta(max_length=MOST_ITEMS)] = []
    container_edits: ContainerEdits = ContainerEdits()
    annotations: dict[str, _Text] = {}


@dataclass(frozen=True)
class Device:
    """One device, whole."""

    name: str
    """`vendor.com/class=name`."""
    path: str
    """Of its file."""
    shared: ContainerEdits
    """Of all devices of its file: to be done once, and first."""
    own: ContainerEdits
    is_ambiguous: bool = False
    """Another file of the same folder names it too."""


class Cdi:
    """The devices that the files of these folders name; the files are read anew when they have changed."""

    def __init__(self, folders: Sequence[str] = FOLDERS) -> None:
        self.folders = tuple(folders)
        self.problems: tuple[str, ...] = ()
        """What could not be used of the files, in sentences."""
        self._devices: Mapping[str, Device] = {}
        self._seen: object = None

    def devices(self, kind: str) -> dict[str, Device]:
        """Those of a kind (`vendor.com/class`), by what stands behind the `=`."""
        seen = tuple(_signature(folder) for folder in self.folders)
        if seen != self._seen:
            self._devices, self.problems = _all(self.folders)
            self._seen = seen
        found = (name.partition("=") for name in self._devices)
        return {short: self._devices[f"{of}={short}"] for of, _, short in found if of == kind}


def _signature(folder: str) -> object:
    """Changes with the files of the folder, and with who may write what."""
    try:
        told = {"": os.lstat(folder)}
        with os.scandir(folder) as entries:
            told |= {
                entry.name: entry.stat(follow_symlinks=False) for entry in entries if _is_one(entry.name)
            }
    except OSError:
        return None
    return sorted(
        (name, one.st_ino, one.st_mtime_ns, one.st_size, one.st_mode, one.st_uid)
        for name, one in told.items()
    )


def _all(folders: Sequence[str]) -> tuple[dict[str, Device], tuple[str, ...]]:
    devices: dict[str, Device] = {}
    problems: list[str] = []
    for folder in folders:
        here: dict[str, Device] = {}
        for path, content in _contents(folder, problems):
            try:
                found = _parsed(path, content)
            except CdiError as error:
                problems.append(str(error))
                continue
            for device in found:
                twice = device.name in here
                here[device.name] = Device(
                    device.name, path, device.shared, device.own, is_ambiguous=twice or device.is_ambiguous
                )
        devices |= here
    return devices, tuple(problems)


def _contents(folder: str, problems: list[str]) -> Iterator[tuple[str, bytes]]:
    """(path, content) of the files that can be trusted; a sentence for each other one."""
    try:
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        problems.append(f"{folder} is not read: {error.strerror}.")
        return
    try:
        if why := _why_not_trusted(os.fstat(at)):
            problems.append(f"{folder} is not read: {why}.")
            return
        names = sorted(name for name in os.listdir(at) if _is_one(name))
        if len(names) > MOST_FILES:
            problems.append(f"{folder} has {len(names)} files; only the first {MOST_FILES} are read.")
        for name in names[:MOST_FILES]:
            try:
                yield f"{folder}/{name}", _content(at, name)
            except (OSError, CdiError) as error:
                said = error.strerror if isinstance(error, OSError) else str(error)
                problems.append(f"{folder}/{name} is not read: {said}.")
    finally:
        os.close(at)


def _content(folder: int, name: str) -> bytes:
    """Raises `OSError`, also for a link, or `CdiError` with half a sentence."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with open(fd, "rb") as file:
        told = os.fstat(fd)
        if not stat.S_ISREG(told.st_mode):
            raise CdiError("it is no file")
        if why := _why_not_trusted(told):
            raise CdiError(why)
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise CdiError(f"it has more than {MOST_BYTES >> 10} KiB")
    return content


def _why_not_trusted(told: os.stat_result) -> str:
    if told.st_uid not in (0, os.geteuid()):
        return "it is not root's"
    return "others than root may write it" if told.st_mode & 0o022 else ""


def _parsed(path: str, content: bytes) -> list[Device]:
    """Raises `CdiError`."""
    try:
        file = msgspec.convert(_loaded(path, content), _File)
    except (yaml.YAMLError, ValueError, RecursionError, msgspec.ValidationError) as error:
        said = " ".join(str(error).split())[:200]
        raise CdiError(f"{path} is no CDI file: {said}.") from error
    if ".".join(file.cdi_version.split(".")[:2]) not in VERSIONS:
        raise CdiError(f"{path} is of CDI version {file.cdi_version[:20]}, which is not known here.")
    names = [entry.name for entry in file.devices]
    return [
        Device(
            f"{file.kind}={entry.name}", path, file.container_edits, entry.container_edits,
            is_ambiguous=names.count(entry.name) > 1,
        )
        for entry in file.devices
    ]  # fmt: skip


def _loaded(path: str, content: bytes) -> Any:
    if _depth(content) > MOST_DEPTH:
        raise CdiError(f"{path} is no CDI file: it is nested too deep.")
    if path.endswith(".json"):
        return json.loads(content)
    return yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader


def _depth(content: bytes) -> int:
    """At least as deep as it is nested, by its brackets and by how far its lines are indented."""
    depth = most = 0
    for bracket in _BRACKETS.findall(content):
        depth += 1 if bracket in b"[{" else -1
        most = max(most, depth)
    lines = content.splitlines()
    return most + max((len(line) - len(line.lstrip(b" -?")) for line in lines), default=0) // 2


_BRACKETS: Final = re.compile(rb"[\[\]{}]")


def _is_one(name: str) -> bool:
    return name.endswith((".json", ".yaml")) and not name.startswith(".")
