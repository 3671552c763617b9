"""The address of dashboard and API: the supervisor binds it once and web processes inherit it.

So a port cannot be lost between looking and binding, and while a web process restarts its callers wait
instead of being refused.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass

FIRST_PORT = 8000
TRIED_PORTS = 100
BACKLOG = 1024


class DoorError(RuntimeError):
    """Says why the address cannot be used and what to do."""


@dataclass(frozen=True, slots=True)
class Door:
    """A listening socket."""

    listener: socket.socket
    host: str
    port: int

    @property
    def url(self) -> str:
        """For people and programs on this machine."""
        return f"http://{_bracketed(_reachable(self.host))}:{self.port}"

    def allowed_hosts(self) -> list[str]:
        """The names and addresses under which a browser may ask for this door."""
        names = ["localhost", "127.0.0.1", "[::1]"]
        if _is_loopback(self.host):
            return names
        names += [socket.gethostname(), socket.getfqdn(), *map(_bracketed, _own_addresses())]
        if self.host not in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            names.append(_bracketed(self.host))
        return list(dict.fromkeys(names))


def open_door(host: str, port: int | None) -> Door:
    """Listens on `host`: on `port`, or on the first free one from 8000 up. Raises `DoorError`."""
    if port is not None:
        return Door(_listen(host, port), host, port)
    for candidate in range(FIRST_PORT, FIRST_PORT + TRIED_PORTS):
        try:
            return Door(_listen(host, candidate), host, candidate)
        except PortInUseError:
            continue
    last = FIRST_PORT + TRIED_PORTS - 1
    raise DoorError(f"All ports from {FIRST_PORT} to {last} are in use. Choose one with --port.")


class PortInUseError(DoorError):
    """Another program listens there."""


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise _explained(error, host, port) from error
    return listener


def _explained(error: Exception, host: str, port: int) -> DoorError:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EADDRINUSE:
        return PortInUseError(
            f"Port {port} on {host} is in use by another program. Choose another with --port, or leave "
            "--port out: the first free port is taken."
        )
    if code == errno.EACCES:
        return DoorError(f"Port {port} needs root. Choose one from 1024 up with --port.")
    if code == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return DoorError(f"{host} is not an address of this machine. Choose another with --host.")
    said = os.strerror(code) if code else str(error)
    return DoorError(f"Cannot listen on {host} port {port}: {said}. Choose others with --host and --port.")


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _own_addresses() -> list[str]:
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    except OSError:
        found = []
    addresses = [str(entry[4][0]) for entry in found]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(
                ("192.0.2.1", 9)
            )  # sends nothing: only asks which of our addresses a route would use
            addresses.append(str(probe.getsockname()[0]))
        except OSError:
            pass
    return [address.split("%")[0] for address in addresses]
