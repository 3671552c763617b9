"""Which files of a job's folder are kept as its outputs, and their copies.

A job writes what it likes: links, pipes, devices, names that are none. Only plain files are taken, each opened from
the job's folder downwards without following a link, so that the agent (which may be root) reads nothing that lies
elsewhere, whatever changes meanwhile. What matched and is not kept is said. Everything is bounded: the names looked
at, the files, their bytes, the room that is left on the node's disk.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from node_agent.protocol import WantedOutputs
from node_agent.protocol_outputs import MAX_OUTPUT_PATH, MAX_OUTPUTS_SAID

MOST_NAMES: Final = 200_000
"""Looked at in all; what lies behind is not found, and that is said."""
MOST_DEPTH: Final = 64
KEPT_FREE: Final = 256 * 1024 * 1024
"""Bytes of the node's disk that copies leave alone."""
OWN: Final = ".flexai-"
"""Beginning of the names of the agent's own files in a job's folder."""
_COPY_BYTES: Final = 1024 * 1024

Pattern = tuple[str, ...]
Reached = frozenset[tuple[int, int]]
"""(pattern, how many of its parts are behind us)."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One file, copied whole."""

    path: str
    """Below the folder, with / between folders."""
    size: int


@dataclass
class Collected:
    """What came of one look; copy number n is called `n`."""

    files: list[Kept] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """Sentences for people: what was left out, and why."""


def collect(job_dir: str, folder: str, wanted: WantedOutputs, into: str, *, uid: int | None) -> Collected:
    """Every file below `folder` (of the job's directory; "" is that itself) that a pattern names is copied into the
    empty directory `into`, within the bounds.

    A pattern that names a folder means all that is in it; `**` is any number of folders; wildcards pass over names
    that begin with a dot. `uid` None: every file counts as the job's own; else only what is that user's, or
    everybody's to read.
    """
    root = os.path.realpath(job_dir)
    collecting = _Collecting(f"{root}/{folder}".rstrip("/"), wanted, into, uid)
    try:
        fd = _open_below(root, folder, os.O_DIRECTORY)
    except OSError:
        return collecting.made  # the job has removed its folder, or put a link in its place: nothing is kept
    try:
        collecting.look_into(fd)
    finally:
        os.close(fd)
    collecting.sum_up()
    return collecting.made


class _Collecting:
    """One look at one folder."""

    def __init__(self, root: str, wanted: WantedOutputs, into: str, uid: int | None) -> None:
        self.made = Collected()
        self._root, self._wanted, self._into, self._uid = root, wanted, into, uid
        self._patterns = [tuple(pattern.split("/")) for pattern in wanted.patterns]
        self._room = wanted.most_bytes
        self._names = 0
        self._too_many = self._unsaid = 0
        self._is_full = False

    def look_into(self, fd: int) -> None:
        """Take what matches below the folder open as `fd`."""
        reached = closed(self._patterns, {(number, 0) for number in range(len(self._patterns))})
        self._folder(fd, "", reached, 0)

    def sum_up(self) -> None:
        """Say what was only counted."""
        if self._too_many:
            self._say(f"{self._too_many} files were left out: at most {self._wanted.most_files} are kept.")
        if self._names > MOST_NAMES:
            self._say(f"Only the first {MOST_NAMES} names in the folder were looked at.")
        if self._unsaid:
            self.made.said[-1] = f"{self._unsaid + 1} more were left out."

    def _folder(self, fd: int, path: str, reached: Reached, depth: int) -> None:
        for name in self._names_in(fd):
            if name.startswith(OWN):
                continue
            here = f"{path}/{name}" if path else name
            is_named, beyond = _step(self._patterns, reached, name)
            if is_named or beyond:
                self._entry(fd, name, here, is_named=is_named, beyond=beyond, depth=depth)

    def _names_in(self, fd: int) -> list[str]:
        names = []
        with os.scandir(fd) as entries:
            for entry in entries:
                self._names += 1
                if self._names > MOST_NAMES:
                    break
                names.append(entry.name)
        return sorted(names)

    def _entry(self, fd: int, name: str, path: str, *, is_named: bool, beyond: Reached, depth: int) -> None:
        try:
            mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                self._go_down(fd, name, path, beyond, depth)
            elif not is_named:
                return
            elif stat.S_ISLNK(mode):
                self._link(path)
            elif stat.S_ISREG(mode):
                self._file(os.open(name, _READ, dir_fd=fd), path)
            else:
                self._refuse(path, "is neither a file nor a folder")
        except OSError as error:
            self._refuse(path, f"could not be read: {error.strerror}")

    def _go_down(self, fd: int, name: str, path: str, beyond: Reached, depth: int) -> None:
        if depth >= MOST_DEPTH:
            self._refuse(path, f"lies more than {MOST_DEPTH} folders deep")
            return
        below = os.open(name, _READ | os.O_DIRECTORY, dir_fd=fd)
        try:
            self._folder(below, path, beyond, depth + 1)
        finally:
            os.close(below)

    def _link(self, path: str) -> None:
        """A link to a file in the same folder is that file's content under its own name."""
        target = os.path.realpath(f"{self._root}/{path}")
        if not target.startswith(self._root + "/"):
            self._refuse(path, "is a link out of the job's folder")
        elif os.path.isdir(target):
            self._refuse(path, "is a link to a folder")
        else:
            self._file(_open_below(self._root, target[len(self._root) + 1 :]), path)

    def _file(self, fd: int, path: str) -> None:
        try:
            found = os.fstat(fd)
            why = _why_not(path) or self._why_not(found)
            if why:
                self._refuse(path, why)
            elif len(self.made.files) >= self._wanted.most_files:
                self._too_many += 1
            elif found.st_size > self._room:
                most = _size(self._wanted.most_bytes)
                self._refuse(path, f"({_size(found.st_size)}) does not fit: a job's outputs may have {most}")
            else:
                self._copy(fd, path, found.st_size)
        finally:
            os.close(fd)

    def _why_not(self, found: os.stat_result) -> str:
        if not stat.S_ISREG(found.st_mode):
            return "is no plain file"
        if self._uid is not None and found.st_uid != self._uid and not found.st_mode & stat.S_IROTH:
            return "belongs to somebody else"
        return ""

    def _copy(self, fd: int, path: str, size: int) -> None:
        """As much as the file had when it was looked at; a file that has shrunk is taken as it is."""
        beside = f"{self._into}/{len(self.made.files)}"
        try:
            disk = os.statvfs(self._into)
            if self._is_full or disk.f_bavail * disk.f_frsize - size < KEPT_FREE:
                raise OSError(errno.ENOSPC, "full")
            with open(beside, "xb", buffering=0) as file:
                copied = _copy_bytes(fd, file.fileno(), size)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            if os.path.exists(beside):
                os.unlink(beside)
            self._refuse(path, "was not kept: the node's disk is full")
            return
        self.made.files.append(Kept(path, copied))
        self._room -= copied

    def _refuse(self, path: str, why: str) -> None:
        self._say(f"{said_path(path)} {why}.")

    def _say(self, sentence: str) -> None:
        if len(self.made.said) < MAX_OUTPUTS_SAID:
            self.made.said.append(sentence)
        else:
            self._unsaid += 1


_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def _open_below(root: str, path: str, kind: int = 0) -> int:
    """What is there, opened part by part without following a link. Raises `OSError`."""
    fd = os.open(root, _READ | os.O_DIRECTORY)
    if not path:
        return fd
    *folders, name = path.split("/")
    try:
        for folder in folders:
            below = os.open(folder, _READ | os.O_DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
        return os.open(name, _READ | kind, dir_fd=fd)
    finally:
        os.close(fd)


def _copy_bytes(source: int, target: int, size: int) -> int:
    """At most so many bytes; file systems that can share them do. Returns how many there were."""
    done = 0
    while done < size:
        wanted = min(_COPY_BYTES * 64, size - done)
        try:
            moved = os.copy_file_range(source, target, wanted)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            piece = os.read(source, min(_COPY_BYTES, size - done))
            moved = len(piece)
            _write_all(target, piece)
        if not moved:
            break
        done += moved
    return done


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def closed(patterns: Sequence[Pattern], reached: set[tuple[int, int]]) -> Reached:
    """With what `**` reaches by standing for no folder at all."""
    found = set(reached)
    for number, place in reached:
        parts = patterns[number]
        while place < len(parts) and parts[place] == "**":
            place += 1
            found.add((number, place))
    return frozenset(found)


def _step(patterns: Sequence[Pattern], reached: Reached, name: str) -> tuple[bool, Reached]:
    """Whether something of this name is meant itself, and what is reached in it, should it be a folder."""
    beyond: set[tuple[int, int]] = set()
    for number, place in reached:
        parts = patterns[number]
        if place == len(parts):
            beyond.add((number, place))  # a folder that is meant is meant with all that is in it
        elif parts[place] == "**":
            if not name.startswith("."):
                beyond.add((number, place))
        elif _fits(name, parts[place]):
            beyond.add((number, place + 1))
    after = closed(patterns, beyond)
    return any(place == len(patterns[number]) for number, place in after), after


def _fits(name: str, pattern: str) -> bool:
    if name.startswith(".") and not pattern.startswith("."):
        return False
    return fnmatchcase(name, pattern)


def _why_not(path: str) -> str:
    if not path.isprintable() or "\\" in path:
        return "has a name that cannot be kept: printable letters, without \\"
    if len(path.encode()) > MAX_OUTPUT_PATH:
        return f"has a path of more than {MAX_OUTPUT_PATH} bytes"
    return ""


def said_path(path: str) -> str:
    """A path as a sentence shows it: printable, and not too long."""
    shown = (
        path if path.isprintable() else path.encode("unicode_escape", "replace").decode("ascii", "replace")
    )
    return shown if len(shown) <= 120 else f"{shown[:60]}…{shown[-59:]}"


def _size(number: int) -> str:
    """Bytes as people read them."""
    for unit, one in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= one:
            return f"{number / one:.1f}".removesuffix(".0") + f" {unit}"
    return f"{number} bytes"
