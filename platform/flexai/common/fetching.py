"""Addresses that a tenant wrote down, asked or told something: https to the public internet, bounded in size and time.

A name is looked up once and the connection made to what was found, so that it cannot mean something else the second
time. Nothing is unpacked. Documents are fetched without following any redirect; what is sent goes on to where a 307 or
308 leads, and each such address is looked at like the first. Leaves to others: what is in the document or the message.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit

import httpcore
import msgspec

SECONDS = 5.0
"""For the whole document, from the look-up of the name to the last byte."""
MAX_BYTES = 256 * 1024
AT_ONCE = 4
"""Documents that one process fetches at once: a slow server must not hold all the threads that answer requests."""
MAX_URL = 500
MAX_REDIRECTS = 3
"""Of one message."""
MAX_ANSWER = 4096
"""Bytes that are read of the answer to a message."""
KEEPS_THE_MESSAGE = frozenset({307, 308})
"""Redirects after which the same is sent again; the older ones turn it into something else."""

_turns = threading.BoundedSemaphore(AT_ONCE)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_METADATA = frozenset({"100.100.100.200", "fd00:ec2::254"})
"""Where clouds hand out credentials, beside the link-local 169.254.169.254."""

Headers = list[tuple[str, str]]


class NotFetched(Exception):  # noqa: N818 - named for what is so
    """Why there is no document, in a sentence without what the server said."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said to a message."""

    status: int
    start: bytes
    """Of its body, at most `MAX_ANSWER` bytes."""
    retry_after: str
    """The header; empty where there was none."""
    is_public: bool
    """Whether it came from the public internet."""


def fetch_json(url: str, *, inside: Collection[str] = ()) -> Any:
    """The document at this address. Raises NotFetched.

    `inside` names what may lie on private addresses, and on the machine itself without TLS: origins
    (`https://gitlab.corp.example`), hosts (`gitlab.corp.example`) and networks (`10.1.0.0/16`). Addresses by which a
    machine asks its cloud for credentials are never reached.
    """
    return _document(url, None, inside)


def post_form(url: str, fields: Mapping[str, str], *, inside: Collection[str] = ()) -> Any:
    """The document that the address answers to this form. Raises NotFetched; bounds are those of `fetch_json`."""
    return _document(url, urlencode(fields).encode(), inside)


def send(
    url: str,
    message: bytes,
    headers: Mapping[str, str],
    *,
    inside: Collection[str] = (),
    seconds: float = 10.0,
) -> Answer:
    """The last server's answer to this message, posted there. Raises NotFetched, also where a redirect leads to an
    address that may not be asked; `seconds` are for all of it."""
    deadline = time.monotonic() + seconds
    for _ in range(MAX_REDIRECTS + 1):
        check_url(url, inside=inside, may_query=True)
        with _said_plainly(url, seconds):
            answer, leads_to = _sent(url, message, list(headers.items()), inside, deadline)
        if leads_to is None:
            return answer
        url = urljoin(url, leads_to)
    raise NotFetched(f"More than {MAX_REDIRECTS} redirects.")


def check_url(url: str, *, inside: Collection[str] = (), may_query: bool = False) -> None:
    """Raises NotFetched for an address that is none, or that is not one of the public internet by its looks."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise NotFetched(f"{url[:100]!r} is no address.") from None
    if len(url) > MAX_URL or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise NotFetched(f"{url[:100]!r} is no address.")
    if parts.username is not None or parts.fragment or (parts.query and not may_query):
        raise NotFetched(
            f"The address must be plain: no user, {'' if may_query else 'no query, '}no fragment."
        )
    is_inside = _is_named(parts, inside) or (_is_number(host) and _is_in_networks(host, inside))
    if parts.scheme != "https" and not (parts.scheme == "http" and is_inside and _is_this_machine(host)):
        raise NotFetched("The address must begin with https://.")
    if _is_number(host) and not _may_be_asked(host, is_named=is_inside, inside=inside):
        raise NotFetched("The address is not on the public internet.")


def origin_of(parts: SplitResult) -> str:
    """`https://host`, with the port where it is not the scheme's own; both in lower case."""
    port = parts.port
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, usual) else "")


def _document(url: str, form: bytes | None, inside: Collection[str]) -> Any:
    check_url(url, inside=inside)
    if not _turns.acquire(timeout=SECONDS):
        raise NotFetched("Too many addresses are being asked at once; try again.")
    try:
        with _said_plainly(url, SECONDS):
            return _decoded(_fetched(url, form, inside))
    finally:
        _turns.release()


class _said_plainly:  # noqa: N801 - read as a phrase in a `with`
    """What goes wrong on the way is NotFetched, and names the host."""

    def __init__(self, url: str, seconds: float) -> None:
        self._host, self._seconds = urlsplit(url).hostname, seconds

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpcore.TimeoutException | TimeoutError):
            raise NotFetched(f"{self._host} did not answer within {self._seconds:g} seconds.") from None
        if isinstance(error, httpcore.NetworkError | httpcore.ProtocolError | OSError):
            raise NotFetched(f"{self._host} cannot be reached: {type(error).__name__}.") from None


def _fetched(url: str, form: bytes | None, inside: Collection[str]) -> bytes:
    network = _Network(url, time.monotonic() + SECONDS, inside)
    headers = [("Accept", "application/json"), ("User-Agent", "flexai")]
    if form is not None:
        headers.append(("Content-Type", "application/x-www-form-urlencoded"))
    content = bytearray()
    with (
        httpcore.ConnectionPool(network_backend=network, ssl_context=_trusted()) as pool,
        pool.stream("GET" if form is None else "POST", url, headers=headers, content=form) as answer,
    ):
        if answer.status != 200:
            raise NotFetched(f"{urlsplit(url).hostname} answered {answer.status}.")
        for piece in answer.iter_stream():
            content += piece
            if len(content) > MAX_BYTES:
                raise NotFetched(f"The document is larger than {MAX_BYTES // 1024} KiB.")
    return bytes(content)


def _sent(
    url: str, message: bytes, headers: Headers, inside: Collection[str], deadline: float
) -> tuple[Answer, str | None]:
    """The answer, and where it says that the message should go instead."""
    network = _Network(url, deadline, inside)
    start = bytearray()
    with (
        httpcore.ConnectionPool(network_backend=network, ssl_context=_trusted()) as pool,
        pool.stream("POST", url, headers=[*headers, ("User-Agent", "flexai")], content=message) as answer,
    ):
        said = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
        leads_to = said.get(b"location") if answer.status in KEEPS_THE_MESSAGE else None
        if leads_to is None:
            for piece in answer.iter_stream():
                start += piece[: MAX_ANSWER - len(start)]
                if len(start) >= MAX_ANSWER:
                    break
    retry_after = said.get(b"retry-after", "")
    return Answer(answer.status, bytes(start), retry_after, network.is_public), leads_to


def _decoded(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotFetched("The document is not JSON.") from None


@cache
def _trusted() -> ssl.SSLContext:
    """Whose certificates count. Read once: reading them takes longer than most answers."""
    return ssl.create_default_context()


class _Network(httpcore.NetworkBackend):
    """Connects to public addresses, and to what is named inside, and to nothing after the deadline."""

    def __init__(self, url: str, deadline: float, inside: Collection[str]) -> None:
        self._deadline = deadline
        self._inside = inside
        self._is_named = _is_named(urlsplit(url), inside)
        self._plain = httpcore.SyncBackend()
        self.is_public = False

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        if not all(_may_be_asked(at, is_named=self._is_named, inside=self._inside) for at in found):
            raise NotFetched(f"{host} is not on the public internet.")
        self.is_public = _meant(found[0]).is_global
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


def _is_named(parts: SplitResult, inside: Collection[str]) -> bool:
    """Whether this very origin or host stands in `inside`."""
    return origin_of(parts) in inside or parts.hostname in inside


def _may_be_asked(address: str, *, is_named: bool, inside: Collection[str]) -> bool:
    """The one rule: public addresses, those of what is named inside, and those of the networks there; never where
    clouds hand out credentials."""
    number = _meant(address)
    if number.is_link_local or number.is_multicast or number.is_unspecified or str(number) in _METADATA:
        return False
    return number.is_global or is_named or _is_in_networks(address, inside)


def _is_in_networks(address: str, inside: Collection[str]) -> bool:
    number = _meant(address)
    return any(number in network for network in map(_network, inside) if network is not None)


@cache
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _meant(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address that is reached by this one: IPv4 is written within IPv6 in several ways."""
    number = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(number, ipaddress.IPv6Address):
        within = number.ipv4_mapped or number.sixtofour
        if within is None and number in _NAT64:
            within = ipaddress.IPv4Address(int(number) & 0xFFFFFFFF)
        return within or number
    return number


def _is_this_machine(host: str) -> bool:
    return host == "localhost" or (_is_number(host) and ipaddress.ip_address(host).is_loopback)
