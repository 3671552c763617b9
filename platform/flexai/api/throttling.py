"""How often one caller may ask. What needs no sign-in is counted in Valkey, for all web processes together; a
broker that is down limits nobody.

Fixed windows: simple, and off by at most twice the bound at an edge.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, IPv6Network, ip_address

import redis
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from flexai.api import devices
from flexai.cluster.models import Node
from flexai.common.broker import valkey
from flexai.common.errors import NotFound
from flexai.tenancy.principals import Principal

log = logging.getLogger(__name__)

REQUESTS_PER_WINDOW = 20_000
"""Of one token or user at one web process: a client in a loop without pause stays below it."""
WINDOW_SECONDS = 10
OPEN_PER_WINDOW = 500
"""Requests without a caller, from one address."""
SIGN_INS_PER_WINDOW = 10
"""Failed attempts for one name from one address."""
SIGN_INS_PER_ADDRESS = 100
SIGN_INS_PER_NAME = 50
"""Failed attempts for one name from all browsers together that did not sign in with it before."""
CODES_PER_WINDOW = 20
"""Of one user's second factor, from wherever."""
SIGN_IN_WINDOW_SECONDS = 300
TERMINALS_PER_WINDOW = 60
"""Terminals of one address that begin a sign-in by browser: a class behind one router stays below it."""


class CallerThrottle(BaseThrottle):
    """Bounds the requests of one token, user or node; 429 with Retry-After above it.

    Counted by each web process for itself, so that it costs no round trip: a bound against loops, not a meter.
    """

    def __init__(self) -> None:
        self._wait: float | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        _, self._wait = _slot(WINDOW_SECONDS)
        return may_call(request.auth)

    def wait(self) -> float | None:
        return self._wait


def may_call(auth: object) -> bool:
    """Whether this one is within its bound; it is counted."""
    who = caller_of(auth)
    return who is None or _calls.count(who, _slot(WINDOW_SECONDS)[0]) <= REQUESTS_PER_WINDOW


def caller_of(auth: object) -> tuple[str, int] | None:
    """Who is counted: the token, else the user, or the node; None where nobody said who they are."""
    if isinstance(auth, Node):
        return "node", auth.pk
    if not isinstance(auth, Principal):
        return None
    return ("token", auth.token.pk) if auth.token is not None else ("user", auth.user.pk)


class Calls:
    """How often each caller called in the current window; the past is forgotten with its window."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slot = 0
        self._counts: Counter[tuple[str, int]] = Counter()

    def count(self, who: tuple[str, int], slot: int) -> int:
        """The number of calls, this one included."""
        with self._lock:
            if slot != self._slot:
                self._slot = slot
                self._counts.clear()
            self._counts[who] += 1
            return self._counts[who]


_calls = Calls()


class SignInThrottle(BaseThrottle):
    """Bounds guesses at passwords: by name and address, by address alone, and by name alone, so that neither many names
    nor many addresses help. A browser that signed in with the name before is bounded by its own failures and
    nobody else's: who guesses keeps nobody out of it. Only failures count.
    """

    def __init__(self) -> None:
        self._wait: float | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        if request.method != "POST":
            return True
        for key, most in _sign_in_keys(request):
            used, left = used_of(key, SIGN_IN_WINDOW_SECONDS)
            if used >= most:
                self._wait = left
                return False
        return True

    def wait(self) -> float | None:
        return self._wait


class PasswordAgainThrottle(BaseThrottle):
    """Bounds guesses of somebody who is signed in at their own password and codes. Only failures count."""

    def __init__(self) -> None:
        self._wait: float | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        used, self._wait = used_of(_own_key(request), SIGN_IN_WINDOW_SECONDS)
        return request.method != "POST" or used < SIGN_INS_PER_WINDOW

    def wait(self) -> float | None:
        return self._wait


def note_wrong_password(request: Request) -> None:
    """One more failure of whoever is signed in."""
    count(_own_key(request), SIGN_IN_WINDOW_SECONDS)


def _own_key(request: Request) -> str:
    return f"again:{request.user.pk}"


class CodeThrottle(BaseThrottle):
    """Bounds guesses of somebody who is signed in at the codes that terminals show. Only failures count."""

    def __init__(self) -> None:
        self._wait: float | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        used, self._wait = used_of(f"terminal-code:{request.user.pk}", SIGN_IN_WINDOW_SECONDS)
        return used < SIGN_INS_PER_WINDOW

    def wait(self) -> float | None:
        return self._wait


@contextmanager
def note_wrong_code(request: Request) -> Iterator[None]:
    """One more failure of whoever is signed in where no terminal shows the code."""
    try:
        yield
    except NotFound:
        count(f"terminal-code:{request.user.pk}", SIGN_IN_WINDOW_SECONDS)
        raise


class AddressThrottle(BaseThrottle):
    """Bounds what nobody has to sign in for, by address."""

    def __init__(self) -> None:
        self._wait: float | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        used, self._wait = count(f"open:{address_of(request)}", WINDOW_SECONDS)
        return used <= OPEN_PER_WINDOW

    def wait(self) -> float | None:
        return self._wait


class TerminalThrottle(AddressThrottle):
    """Bounds by address how many terminals begin to wait."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        used, self._wait = count(f"terminal:{address_of(request)}", SIGN_IN_WINDOW_SECONDS)
        return used <= TERMINALS_PER_WINDOW


class ExchangeThrottle(AddressThrottle):
    """Bounds exchanges of identities by address: all of them as whatever is open, and failures as guesses."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        used, left = used_of(_exchange_key(request), SIGN_IN_WINDOW_SECONDS)
        if used >= SIGN_INS_PER_ADDRESS:
            self._wait = left
            return False
        return super().allow_request(request, view)


def note_failed_exchange(request: Request) -> None:
    """One more identity of this address that was refused."""
    count(_exchange_key(request), SIGN_IN_WINDOW_SECONDS)


def _exchange_key(request: Request) -> str:
    return f"exchange:{address_of(request)}"


def note_failed_sign_in(request: Request) -> None:
    """One more failure for this name and this address."""
    for key, _ in _sign_in_keys(request):
        count(key, SIGN_IN_WINDOW_SECONDS)


def address_of(request: Request | HttpRequest) -> str:
    """Who asks, as far as an address tells: of IPv6 the first 64 bits, for who has one address has all of those."""
    given = str(request.META.get("REMOTE_ADDR", ""))
    try:
        address = ip_address(given.partition("%")[0])
    except ValueError:
        return given
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or IPv6Network((address, 64), strict=False).network_address)
    return str(address)


def count(key: str, window_seconds: int) -> tuple[int, float]:
    """How often this key was counted in the current window, this time included, and the seconds until it
    ends."""
    slot, left = _slot(window_seconds)
    name = f"flexai:{key}:{slot}"
    try:
        with valkey().pipeline(transaction=False) as pipe:
            pipe.incr(name)
            pipe.expire(name, window_seconds + 1)
            return int(pipe.execute()[0]), left
    except (redis.RedisError, OSError) as error:
        log.warning("broker not reached, no rate is limited: %s", error)
        return 0, left


def used_of(key: str, window_seconds: int) -> tuple[int, float]:
    """How often this key was counted in the current window, and the seconds until it ends."""
    slot, left = _slot(window_seconds)
    try:
        return int(valkey().get(f"flexai:{key}:{slot}") or 0), left
    except (redis.RedisError, OSError) as error:
        log.warning("broker not reached, no rate is limited: %s", error)
        return 0, left


def _slot(window_seconds: int) -> tuple[int, float]:
    now = time.time()
    slot = int(now // window_seconds)
    return slot, (slot + 1) * window_seconds - now


def _sign_in_keys(request: Request) -> list[tuple[str, int]]:
    data = request.data if isinstance(request.data, dict) else {}
    username, address = str(data.get("username", "")), address_of(request)
    device, name = devices.known_for(request._request, username), devices.name_hash(username)
    if device is not None:
        return [(f"signin-device:{device}:{name}", SIGN_INS_PER_WINDOW)]
    return [
        (f"signin:{address}:{name}", SIGN_INS_PER_WINDOW),
        (f"signin:{address}", SIGN_INS_PER_ADDRESS),
        (f"signin-name:{name}", SIGN_INS_PER_NAME),
    ]
