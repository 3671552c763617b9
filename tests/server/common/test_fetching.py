"""Documents of strangers: only from the public internet, and never for long."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from flexai.common import fetching
from flexai.common.fetching import NotFetched, check_url, fetch_json


@pytest.fixture
def slow() -> Iterator[str]:
    """A server that sends a header byte by byte for as long as anybody listens; its origin."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)
    stopped = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while not stopped.wait(0.02):
                try:
                    connection.sendall(b"a")
                except OSError:
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    stopped.set()
    thread.join(20)
    listener.close()


def test_a_server_that_speaks_slowly_is_left(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "SECONDS", 0.3)
    with pytest.raises(NotFetched, match="did not answer"):
        fetch_json(f"{slow}/x", inside=[slow])


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1", "2002:a00:1::", "64:ff9b::a00:1"],
)  # fmt: skip
def test_a_name_that_means_a_private_address_is_not_asked(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One private address among several is enough: which one is taken is not the name's to say."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (at, 443)) for at in ("93.184.215.14", address)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    asked: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda *arguments, **__: asked.append(arguments))
    with pytest.raises(NotFetched, match="not on the public internet"):
        fetch_json("https://issuer.example/keys")
    assert not asked
    host = f"[{address}]" if family == socket.AF_INET6 else address
    with pytest.raises(NotFetched, match="not on the public internet"):
        check_url(f"https://{host}/keys")


def test_the_address_that_was_checked_is_the_one_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []

    def found(host: str, port: int, *_: object, **__: object) -> list[object]:
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", port))]

    asked: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", found)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(NotFetched, match="cannot be reached"):
        fetch_json("https://issuer.example/keys")
    assert (looked_up, asked) == (["issuer.example"], [("93.184.215.14", 443)])
