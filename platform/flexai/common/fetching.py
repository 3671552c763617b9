"""Documents from addresses that a tenant wrote down: https to the public internet, bounded in size and time.

No redirect is followed and nothing is unpacked. The address is looked up once and the connection made to what was
found, so that a name cannot mean something else the second time. Leaves to others: what is in the document.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

import httpcore
import msgspec

SECONDS = 5.0
"""For the whole document, from the look-up of the name to the last byte."""
MAX_BYTES = 256 * 1024
AT_ONCE = 4
"""Documents that one process fetches at once: a slow server must not hold all the threads that answer requests."""
MAX_URL = 500

_turns = threading.BoundedSemaphore(AT_ONCE)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class NotFetched(Exception):  # noqa: N818 - named for what is so
    """Why there is no document, in a sentence without what the server said."""


def fetch_json(url: str, *, inside: Collection[str] = ()) -> Any:
    """The document at this address. Raises NotFetched.

    `inside` holds origins (`https://gitlab.corp.example`) that may lie on private addresses, and on the machine itself
    without TLS.
    """
    return _asked(url, None, inside)


def _asked(url: str, form: bytes | None, inside: Collection[str]) -> Any:
    check_url(url, inside=inside)
    parts = urlsplit(url)
    if not _turns.acquire(timeout=SECONDS):
        raise NotFetched("Too many addresses are being asked at once; try again.")
    try:
        return _decoded(_fetched(url, form, is_private_allowed=origin_of(parts) in inside))
    except (httpcore.TimeoutException, TimeoutError):
        raise NotFetched(f"{parts.hostname} did not answer within {SECONDS:g} seconds.") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise NotFetched(f"{parts.hostname} cannot be reached: {type(error).__name__}.") from None
    finally:
        _turns.release()


def post_form(url: str, fields: Mapping[str, str], *, inside: Collection[str] = ()) -> Any:
    """The document that the address answers to this form. Raises NotFetched; bounds are those of `fetch_json`."""
    return _asked(url, urlencode(fields).encode(), inside)


def check_url(url: str, *, inside: Collection[str] = ()) -> None:
    """Raises NotFetched for an address that is none, or that is not one of the public internet by its looks."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise NotFetched(f"{url[:100]!r} is no address.") from None
    if len(url) > MAX_URL or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise NotFetched(f"{url[:100]!r} is no address.")
    if parts.username is not None or parts.fragment or parts.query:
        raise NotFetched("The address must be plain: no user, no query, no fragment.")
    is_inside = origin_of(parts) in inside
    if parts.scheme != "https" and not (parts.scheme == "http" and is_inside and _is_this_machine(host)):
        raise NotFetched("The address must begin with https://.")
    if not is_inside and _is_number(host) and not _is_public(host):
        raise NotFetched("The address is not on the public internet.")


def origin_of(parts: SplitResult) -> str:
    """`https://host`, with the port where it is not the scheme's own; both in lower case."""
    port = parts.port
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, usual) else "")


def _fetched(url: str, form: bytes | None, *, is_private_allowed: bool) -> bytes:
    deadline = time.monotonic() + SECONDS
    network = _Network(deadline, is_private_allowed)
    headers = [("Accept", "application/json"), ("User-Agent", "flexai")]
    if form is not None:
        headers.append(("Content-Type", "application/x-www-form-urlencoded"))
    method = "GET" if form is None else "POST"
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), SECONDS)
    content = bytearray()
    with (
        httpcore.ConnectionPool(network_backend=network, ssl_context=ssl.create_default_context()) as pool,
        pool.stream(method, url, headers=headers, content=form, extensions={"timeout": timeouts}) as answer,
    ):
        if answer.status != 200:
            raise NotFetched(f"{urlsplit(url).hostname} answered {answer.status}.")
        for piece in answer.iter_stream():
            content += piece
            if len(content) > MAX_BYTES:
                raise NotFetched(f"The document is larger than {MAX_BYTES // 1024} KiB.")
    return bytes(content)


def _decoded(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotFetched("The document is not JSON.") from None


class _Network(httpcore.NetworkBackend):
    """Connects to public addresses only, unless told otherwise, and to nothing after the deadline."""

    def __init__(self, deadline: float, is_private_allowed: bool) -> None:
        self._deadline = deadline
        self._is_private_allowed = is_private_allowed
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        if not self._is_private_allowed and not all(_is_public(address) for address in found):
            raise NotFetched(f"{host} is not on the public internet.")
        stream = self._plain.connect_tcp(found[0], port, _left(self._deadline), local_address, socket_options)
        return _Timed(stream, self._deadline)


class _Timed(httpcore.NetworkStream):
    """A connection that ends at the deadline, however slowly the other side speaks."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return _Timed(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_public(address: str) -> bool:
    number = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(number, ipaddress.IPv6Address):
        within = number.ipv4_mapped or number.sixtofour
        if within is not None:
            return _is_public(str(within))
        if number in _NAT64:
            return _is_public(str(ipaddress.IPv4Address(int(number) & 0xFFFFFFFF)))
    return number.is_global and not number.is_multicast


def _is_this_machine(host: str) -> bool:
    return host == "localhost" or (_is_number(host) and ipaddress.ip_address(host).is_loopback)
