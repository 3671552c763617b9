"""The data directory of one installation: what lies where, who may read it, who holds it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOCKET_PATH_LIMIT = 107
"""Bytes in `sockaddr_un.sun_path`, less the closing zero."""
LONGEST_SOCKET_NAME = "postgres/socket/.s.PGSQL.5432.lock"
"""The longest path below the data directory that names a socket."""


class HomeError(RuntimeError):
    """Says what is wrong with the data directory and what would be right."""


@dataclass(frozen=True, slots=True)
class Running:
    """The supervisor that holds a data directory."""

    pid: int
    url: str


@dataclass(frozen=True, slots=True)
class Home:
    """Where everything of one installation lives."""

    folder: Path

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def state_file(self) -> Path:
        """JSON: the supervisor's pid and URL, and the pid of every child. Rewritten at every start of a
        child."""
        return self.folder / "state.json"

    @property
    def password_file(self) -> Path:
        return self.secrets / "admin-password"

    @property
    def token_file(self) -> Path:
        return self.secrets / "admin-token"

    @property
    def outcome_file(self) -> Path:
        """JSON: what the last bootstrap found."""
        return self.folder / "people.json"

    @property
    def sockets(self) -> Path:
        """Where sockets go: the data directory, or a short folder beside the system's others when its path is
        too long."""
        if len(os.fsencode(self.folder / LONGEST_SOCKET_NAME)) <= SOCKET_PATH_LIMIT:
            return self.folder
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return _runtime_folder() / f"flexai-{os.geteuid()}-{digest}"

    def prepare(self) -> None:
        """The folders exist afterwards, each as open as it must be and no more.

        Raises `HomeError` when one cannot be made, or when, as root, other users could not reach what is
        theirs below it.
        """
        try:
            if not self.folder.exists():
                self.folder.mkdir(parents=True)
                self.folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for closed in (self.logs, self.secrets):
                closed.mkdir(exist_ok=True)
                closed.chmod(0o700)
            (self.folder / ".writable").touch()
            (self.folder / ".writable").unlink()
        except OSError as error:
            raise HomeError(
                f"Cannot write to {self.folder}: {error.strerror}. Give another one with --data-dir."
            ) from error
        if os.geteuid() == 0:
            self._check_open_to_other_users()
        if self.sockets != self.folder:
            _make_private(self.sockets)

    def _check_open_to_other_users(self) -> None:
        places = [self.folder, *self.folder.parents]
        closed = next((path for path in places if not path.stat().st_mode & 0o001), None)
        if closed is not None:
            raise HomeError(
                f"{self.folder} is not usable: other users may not enter {closed}, and under root "
                "PostgreSQL and jobs run as users of their own. Give a --data-dir that they can reach, "
                "such as /var/lib/flexai."
            )

    def lock(self) -> int | None:
        """A file descriptor that holds the data directory until it is closed or this process ends; None when
        another supervisor holds it."""
        descriptor = os.open(self.folder / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def running(self) -> Running | None:
        """What the supervisor wrote last; None when nothing readable was."""
        try:
            state = json.loads(self.state_file.read_text())
            return Running(pid=int(state["pid"]), url=str(state["url"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_state(self, state: Mapping[str, object]) -> None:
        """Readers see the old state or this one, never half of it."""
        write_private(self.state_file, json.dumps(state, indent=1) + "\n")

    def secret(self, name: str, nbytes: int = 40) -> str:
        """The secret of this name, generated when it is asked for first; kept in a 0600 file."""
        file = self.secrets / name
        if not file.exists():
            write_private(file, secrets.token_urlsafe(nbytes) + "\n")
        return file.read_text().strip()


def default_folder() -> Path:
    """`/var/lib/flexai` for root, else `flexai` in the user's data folder (XDG)."""
    if os.geteuid() == 0:
        return Path("/var/lib/flexai")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "flexai"


def write_private(file: Path, text: str) -> None:
    """The file holds `text` and is 0600; it appears whole or not at all."""
    unfinished = file.with_name(f".{file.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    unfinished.rename(file)


def _runtime_folder() -> Path:
    if os.geteuid() == 0:
        return Path("/run")
    asked = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(asked) if asked and os.access(asked, os.W_OK) else Path("/tmp")  # noqa: S108 - checked to be ours below


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022 or folder.is_symlink():
        raise HomeError(f"{folder} belongs to somebody else; remove it or give a shorter --data-dir.")
