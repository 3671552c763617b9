"""Chips inside containers: what a replica's container is given so that its chips work there, and no others.

NVIDIA's and AMD's chips are given as their CDI files say (`cdi`); AMD's, where there is none, and Ascend's as their
vendors document. Whatever is given, one law is checked of it: no device node of a chip that the replica does not hold.

Written against the public documentation of CDI, NVIDIA's and AMD's container toolkits and Ascend Docker Runtime, and
tested with made-up nodes and a real runtime; **not run on hardware yet**.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from node_agent.cdi import Cdi, CdiError, ContainerEdits, Device, DeviceNode, Hook, Mount
from node_agent.drivers import Driver
from node_agent.protocol import ChipInfo

KINDS: Final = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu"}
HOOK_SECONDS: Final = 20
"""A hook takes at most so long, whatever its file says."""
HOOKS: Final = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_INSIDE_HOOKS: Final = ("startContainer",)
"""Their program is the image's, not the node's."""
_OPTIONS: Final = frozenset({
    "ro", "rw", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "bind", "rbind", "private",
    "rprivate", "slave", "rslave",
})  # fmt: skip
_ENV: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=[^\0]*")
_NODE_MODE: Final = 0o660
_OWN: Final = frozenset({
    "/", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/etc", "/tmp", "/var", "/var/tmp",  # noqa: S108 - inside
})  # fmt: skip
"""Where a container has something that no mount may hide."""
_IN_DEV: Final = ("/dev/pts/", "/dev/shm/", "/dev/mqueue/", "/dev/.")  # noqa: S108 - inside

AMD_NODES: Final = ("/dev/kfd",)
ASCEND_NODES: Final = ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")
ASCEND_FILES: Final = (
    "/usr/local/Ascend/driver", "/usr/local/dcmi", "/usr/local/bin/npu-smi", "/usr/local/sbin/npu-smi",
    "/etc/ascend_install.info", "/etc/hccn.conf",
)  # fmt: skip
"""The driver's libraries and tools; those that a node has."""


class NotGivenError(Exception):
    """The chips cannot be given to a container; the text is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Node:
    """A device node inside."""

    path: str
    major: int
    minor: int
    mode: int
    access: str


@dataclass(frozen=True, slots=True)
class Edits:
    """What a container's configuration has beyond that of any other."""

    env: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()
    mounts: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """(inside, on the node, options), outer folders first."""
    hooks: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    gids: tuple[int, ...] = ()


class Accelerators:
    """What this node can give to containers of its chips."""

    def __init__(self, driver: Driver, cdi: Cdi, root: str = "") -> None:
        """`root` stands before the paths of what is given without CDI (for tests)."""
        self._driver = driver
        self._cdi = cdi
        self._root = root

    def edits(self, indexes: Sequence[int]) -> Edits:
        """Of a container whose replica holds these chips. Raises `NotGivenError`."""
        if self._driver.name == "cpu" or not indexes:
            return Edits()
        chips = [self._driver.chips[index] for index in indexes]
        try:
            edits = _merged(self._asked(chips))
        except CdiError as error:
            raise NotGivenError(str(error)) from error
        self._refuse_others(edits, chips)
        return edits

    def environment(self, indexes: Sequence[int]) -> dict[str, str]:
        """Variables by which a program in such a container chooses its chips. Ascend's are numbered anew inside, from
        0, and are all its own: nothing is to be said of them."""
        return {} if self._driver.name == "ascend" else self._driver.environment(indexes)

    def why_not(self) -> str:
        """Empty when each chip that is offered can be given; else why the first that cannot is not."""
        for chip in self._driver.chips:
            try:
                if chip.healthy:
                    self.edits([chip.index])
            except NotGivenError as error:
                return str(error)
        return ""

    def _asked(self, chips: Sequence[ChipInfo]) -> Iterator[ContainerEdits]:
        """Raises `CdiError`."""
        kind = KINDS.get(self._driver.name)
        named = self._cdi.devices(kind) if kind else {}
        if kind is None or (self._driver.name == "amd" and not named and not self._cdi.problems):
            yield self._without_cdi(chips)
            return
        shared: list[str] = []
        for chip in chips:
            device = self._device_of(chip, kind, named)
            if device.path not in shared:
                shared.append(device.path)
                yield device.shared
            yield device.own

    def _device_of(self, chip: ChipInfo, kind: str, named: Mapping[str, Device]) -> Device:
        """By its uuid; else the one that has the chip's own nodes and no other chip's, whatever it is called."""
        nodes = set(self._driver.nodes(chip.index))
        others = self._nodes_of_others([chip])
        by_nodes = [
            device
            for device in named.values()
            if nodes and nodes & (has := {node.path for node in device.own.device_nodes}) and not has & others
        ]
        found = [named[chip.uuid]] if chip.uuid in named else by_nodes
        if not found:
            where = " or ".join(self._cdi.folders)
            more = f" {self._cdi.problems[0]}" if self._cdi.problems else f" {_ADVICE[self._driver.name]}"
            name = f"{kind}={chip.uuid}"
            raise CdiError(
                f"Chip {chip.index} cannot be given to containers: no CDI file in {where} names {name}.{more}"
            )
        if any(device.is_ambiguous or device.own != found[0].own for device in found):
            names = ", ".join(sorted({f"{device.name} ({device.path})" for device in found}))
            raise CdiError(
                f"Chip {chip.index} cannot be given to containers: CDI files say different things of it: {names}."
            )
        return found[0]

    def _without_cdi(self, chips: Sequence[ChipInfo]) -> ContainerEdits:
        """As its vendor documents for containers. Raises `CdiError`."""
        beside, files = (AMD_NODES, ()) if self._driver.name == "amd" else (ASCEND_NODES, ASCEND_FILES)
        own: list[str] = []
        for chip in chips:
            nodes = self._driver.nodes(chip.index)
            if not nodes:
                raise CdiError(
                    f"Chip {chip.index} cannot be given to containers: which device node is its own is not known."
                )
            own += nodes
        options = ["ro", "nosuid", "nodev", "rbind", "rprivate"]
        return ContainerEdits(
            device_nodes=[DeviceNode(path, host_path=self._root + path) for path in (*own, *beside)],
            mounts=[
                Mount(self._root + path, path, options) for path in files if os.path.exists(self._root + path)
            ],
        )

    def _refuse_others(self, edits: Edits, chips: Sequence[ChipInfo]) -> None:
        """The law. Raises `NotGivenError`."""
        others = self._nodes_of_others(chips)
        numbers = {number for path in others if (number := _number(self._root + path))}
        wrong = next(
            (node.path for node in edits.nodes if node.path in others or (node.major, node.minor) in numbers),
            None,
        )
        if wrong is not None:
            raise NotGivenError(
                f"Chip {chips[0].index} cannot be given to containers: it would bring {wrong}, which is another chip's."
            )

    def _nodes_of_others(self, chips: Sequence[ChipInfo]) -> set[str]:
        """Device nodes of chips that are neither these nor the ones that these are instances of."""
        ours = {chip.uuid for chip in chips} | {chip.parent for chip in chips}
        own = {
            node
            for chip in self._driver.chips
            if chip.uuid in ours
            for node in self._driver.nodes(chip.index)
        }
        every = {node for chip in self._driver.chips for node in self._driver.nodes(chip.index)}
        return every - own


_ADVICE: Final = {
    "nvidia": "Write one: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
    "amd": "Write one: amd-ctk cdi generate --output=/etc/cdi/amd.json",
}


# -- from what files say to what a runtime is told ---------------------------------------------------------------------


def _merged(asked: Iterator[ContainerEdits]) -> Edits:
    """Raises `CdiError`."""
    env: dict[str, str] = {}
    nodes: dict[str, Node] = {}
    mounts: dict[str, tuple[str, str, tuple[str, ...]]] = {}
    hooks: dict[str, list[dict[str, Any]]] = {}
    gids: dict[int, None] = {}
    for edits in asked:
        for line in edits.env:
            if not _ENV.fullmatch(line):
                raise CdiError(f"{line[:60]!r} is no environment variable.")
            name, _, value = line.partition("=")
            env[name] = value
        for node in edits.device_nodes:
            _take(nodes, node.path, _node(node))
        for mount in edits.mounts:
            _take(mounts, mount.container_path, _mount(mount))
        for hook in edits.hooks:
            hooks.setdefault(hook.hook_name, []).append(_hook(hook))
        gids |= dict.fromkeys(gid for gid in edits.additional_gids if gid)
    ordered = sorted(mounts.values(), key=lambda one: one[0].count("/"))
    return Edits(env, tuple(nodes.values()), tuple(ordered), hooks, tuple(gids))


def _take(taken: dict[str, Any], path: str, what: object) -> None:
    if taken.setdefault(path, what) != what:
        raise CdiError(f"{path} would be two different things inside.")


def _node(asked: DeviceNode) -> Node:
    path = _plain("device node", asked.path)
    if not path.startswith("/dev/"):
        raise CdiError(f"Device node {path} is not below /dev.")
    if path.startswith(_IN_DEV):
        raise CdiError(f"Device node {path} lies where the container has something of its own.")
    on_node = _plain("device node", asked.host_path or path)
    major, minor = asked.major, asked.minor
    if asked.type not in ("", "c", "u"):
        raise CdiError(f"Device node {path} is of type {asked.type[:9]!r}; only those of type c are given.")
    if not (asked.type and major):
        found = _number(on_node)
        if found is None:
            raise CdiError(f"{on_node} is no character device of this node.")
        major, minor = found
    if not (0 < major < 1 << 12 and 0 <= minor < 1 << 20):
        raise CdiError(f"Device node {path} has no device number.")
    access = asked.permissions or "rw"
    if set(access) - set("rwm"):
        raise CdiError(f"Device node {path} has permissions {access[:9]!r}, which are not of r, w and m.")
    mode = _NODE_MODE if asked.file_mode is None else asked.file_mode & 0o666
    return Node(path, major, minor, mode, "".join(one for one in "rw" if one in access))


def _number(path: str) -> tuple[int, int] | None:
    """Of a device node that is there."""
    try:
        told = os.lstat(path)
    except OSError:
        return None
    return (os.major(told.st_rdev), os.minor(told.st_rdev)) if stat.S_ISCHR(told.st_mode) else None


def _mount(asked: Mount) -> tuple[str, str, tuple[str, ...]]:
    inside, on_node = _plain("mount", asked.container_path), _plain("mount", asked.host_path)
    if asked.type not in ("", "none", "bind"):
        raise CdiError(
            f"The mount at {inside} is of type {asked.type[:20]!r}; only files and folders are mounted."
        )
    if unknown := next((option for option in asked.options if option not in _OPTIONS), ""):
        raise CdiError(f"The mount at {inside} has the option {unknown[:20]!r}, which is not given.")
    if any(f"{inside}/".startswith(f"{root}/") for root in ("/proc", "/sys")) or inside in _OWN:
        raise CdiError(f"A mount at {inside} would hide what is the container's own.")
    if not os.path.lexists(on_node):
        raise CdiError(
            f"{on_node}, which is to be mounted, is not on this node: its CDI file is out of date."
        )
    options = dict.fromkeys((*asked.options, "nosuid", "nodev"))
    if not {"bind", "rbind"} & options.keys():
        options["rbind"] = None
    return inside, on_node, tuple(options)


def _hook(asked: Hook) -> dict[str, Any]:
    if asked.hook_name not in HOOKS:
        raise CdiError(f"There is no hook {asked.hook_name[:40]!r}.")
    path = _plain("hook", asked.path)
    if asked.hook_name not in _INSIDE_HOOKS:
        try:
            told = os.stat(path)
        except OSError as error:
            raise CdiError(f"The hook {path} is not on this node: {error.strerror}.") from error
        if not stat.S_ISREG(told.st_mode) or not told.st_mode & 0o100:
            raise CdiError(f"The hook {path} is no program.")
        if told.st_uid not in (0, os.geteuid()) or told.st_mode & 0o022:
            raise CdiError(f"The hook {path} is not run, as others than root may write it.")
    if not all(_ENV.fullmatch(line) for line in asked.env):
        raise CdiError(f"The hook {path} has something else than variables in its environment.")
    if asked.timeout is not None and asked.timeout < 1:
        raise CdiError(f"The hook {path} has a timeout of {asked.timeout} s.")
    made: dict[str, Any] = {"path": path, "timeout": min(asked.timeout or HOOK_SECONDS, HOOK_SECONDS)}
    if asked.args:
        made["args"] = list(asked.args)
    if asked.env:
        made["env"] = list(asked.env)
    return made


def _plain(what: str, path: str) -> str:
    """An absolute path in its shortest form, as it stands. Raises `CdiError`."""
    if not path.startswith("/") or "\0" in path or os.path.normpath(path) != path or path.startswith("//"):
        raise CdiError(f"The path of a {what}, {path[:100]!r}, is not absolute and plain.")
    return path
