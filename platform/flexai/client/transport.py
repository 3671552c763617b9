"""HTTP as this client speaks it: bearer token, bounded retries, problems as exceptions, pages as iterators.

Promises: a request that could have reached the server is sent again only when that does no harm (reads, and
submits under an idempotency key). Leaves to others: what the paths mean.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any, cast

import httpx

from flexai import __version__
from flexai.client.errors import NotReached, UnexpectedAnswer, problem_from

API = "/api/v1"
TRIES = 5
"""Requests sent for one call at most; with the pauses below, about three seconds: a restart of the server."""
FIRST_PAUSE_SECONDS = 0.2
DOUBLINGS = 4
"""Pauses grow to about three seconds."""
LONGEST_PAUSE_SECONDS = 20.0
"""Longest pause that a `Retry-After` is honoured for; the rest is the caller's decision."""
PAGE_SIZE = 200
"""The most that the API gives at once."""

_UNBOUNDED = httpx.Limits(max_connections=None, max_keepalive_connections=20)
"""However many wait for their jobs, whoever else shares the client is not kept from asking."""
_TRY_AGAIN = frozenset({429, 502, 503, 504})
_REFUSED = frozenset({429, 503})
"""Answers that say that nothing was done: any request may follow again."""


class Transport:
    """One connection pool to one server."""

    def __init__(self, url: str, token: str | None, *, timeout: float) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        headers = {"Accept": "application/json", "User-Agent": f"flexai-client/{__version__}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            self._http = self._pool(
                base_url=self.url + API, headers=headers, timeout=timeout, limits=_UNBOUNDED
            )
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise NotReached(f"{url!r} is not an address: {error}") from error

    def close(self) -> None:
        """The connections are closed afterwards."""
        self._http.close()

    def sleep(self, seconds: float) -> None:
        """So long has passed. Every pause of the client is one of these."""
        time.sleep(seconds)

    def get(self, path: str, *, patience: float = 0.0, **query: object) -> Any:
        """The decoded answer; an outage of `patience` seconds is waited out.

        Raises `Problem`, `NotReached` or `UnexpectedAnswer`.
        """
        return self.send("GET", path, query=query, repeatable=True, patience=patience)

    def get_changed(
        self, path: str, version: int, *, wait_seconds: int, patience: float = 0.0, **parameters: object
    ) -> Any:
        """As `get`, once it is another version; None when it is the same after so long, or sooner where the server has
        too many that wait."""
        query = {**parameters, "version": version, "wait": wait_seconds}
        return self.send(
            "GET", path, query=query, repeatable=True, patience=patience, longer_seconds=wait_seconds
        )

    def send(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = False,
        patience: float = 0.0,
        longer_seconds: float = 0.0,
    ) -> Any:
        """As `get`, for any method. `repeatable`: the same request twice does what it does once. `longer_seconds`: than
        others the answer may take."""
        give_up_at = time.monotonic() + patience
        for attempt in count(1):
            last = attempt >= TRIES and time.monotonic() >= give_up_at
            try:
                answer = self._once(method, path, body, query, headers, longer_seconds)
            except httpx.InvalidURL as error:
                raise NotReached(f"{self.url} is not an address: {error}") from error
            except httpx.TransportError as error:
                never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if last or not (repeatable or never_sent) or isinstance(error, httpx.UnsupportedProtocol):
                    raise NotReached(self._why(error)) from error
                self.sleep(_pause(attempt))
                continue
            if not last and answer.status_code in (_TRY_AGAIN if repeatable else _REFUSED):
                pause = _pause(attempt, answer.headers.get("Retry-After"))
                if pause <= LONGEST_PAUSE_SECONDS:
                    self.sleep(pause)
                    continue
            return _decoded(answer, self.url)
        raise AssertionError("the last try returns or raises")

    def text(self, path: str, query: Mapping[str, object]) -> str:
        """The body as it came, of an answer that is no JSON. Tried once. Raises as `send` does."""
        try:
            answer = self._once("GET", path, None, query, None)
        except httpx.TransportError as error:
            raise NotReached(self._why(error)) from error
        if not answer.is_success:
            _decoded(answer, self.url)
        return answer.text

    @contextmanager
    def stream(
        self, path: str, *, query: Mapping[str, object], headers: Mapping[str, str]
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The status of the answer to one GET, and its bytes as they come. Raises `Problem`, and httpx's
        `TransportError` also while the bytes come."""
        params = {key: _query_value(value) for key, value in query.items() if value is not None}
        plain = {"Accept": "*/*", "Accept-Encoding": "identity", **headers}
        request = self._http.build_request("GET", path, params=params, headers=plain)
        answer = self._answer(request, stream=True)
        try:
            if not answer.is_success:
                self._read(answer)
                _decoded(answer, self.url)
                raise UnexpectedAnswer(f"{self.url} answered {answer.status_code}.")
            yield answer.status_code, self._pieces(answer)
        finally:
            self._end(answer)

    def pages(self, path: str, *, limit: int | None = None, **query: object) -> Iterator[Any]:
        """Every item of a list, fetched as it is consumed; at most `limit` of them."""
        left = limit
        cursor: str | None = None
        while left is None or left > 0:
            size = PAGE_SIZE if left is None else min(PAGE_SIZE, left)
            page = self.send("GET", path, query={**query, "limit": size, "cursor": cursor}, repeatable=True)
            items = page["items"] if isinstance(page, dict) else page
            yield from items if left is None else items[:left]
            if left is not None:
                left -= len(items)
            cursor = page.get("next_cursor") if isinstance(page, dict) else None
            if not cursor:
                return

    def cookies(self) -> httpx.Cookies:
        """The jar, for signing in with a password."""
        return cast("httpx.Cookies", self._http.cookies)

    def _once(
        self,
        method: str,
        path: str,
        body: object,
        query: Mapping[str, object] | None,
        headers: Mapping[str, str] | None,
        longer_seconds: float = 0.0,
    ) -> httpx.Response:
        params = {
            key: _query_value(value) for key, value in (query or {}).items() if value not in (None, "", [])
        }
        extra: dict[str, Any] = {} if body is None else {"json": body}
        if longer_seconds:
            extra["timeout"] = self._timeout + longer_seconds
        return self._answer(
            self._http.build_request(method, path, params=params, headers=dict(headers or {}), **extra)
        )

    def _pool(self, **options: Any) -> Any:
        return httpx.Client(**options)

    def _answer(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        return cast("httpx.Response", self._http.send(request, stream=stream))

    def _read(self, answer: httpx.Response) -> None:
        answer.read()

    def _pieces(self, answer: httpx.Response) -> Iterator[bytes]:
        return answer.iter_raw()

    def _end(self, answer: httpx.Response) -> None:
        answer.close()

    def _why(self, error: httpx.TransportError) -> str:
        if isinstance(error, httpx.UnsupportedProtocol):
            return f"{self.url!r} is not an address: it must begin with http:// or https://."
        if isinstance(error, httpx.TimeoutException):
            return f"{self.url} did not answer in time."
        return f"Cannot reach {self.url}: {str(error) or type(error).__name__}."


def _query_value(value: object) -> str | list[str]:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, list | tuple):
        return [str(item) for item in value]
    return str(value)


def _pause(attempt: int, retry_after: str | None = None) -> float:
    """Seconds: what the server asked for, else doubling, with jitter to keep clients apart."""
    if retry_after and retry_after.isdecimal():
        return float(retry_after)
    doubled: float = FIRST_PAUSE_SECONDS * 2 ** min(attempt - 1, DOUBLINGS)
    return doubled * random.uniform(0.8, 1.2)


def _decoded(answer: httpx.Response, url: str) -> Any:
    """The body; None where there is none, as for what has not changed."""
    body: object = None
    if answer.status_code == httpx.codes.NOT_MODIFIED:
        return None
    if answer.content:
        try:
            body = answer.json()
        except ValueError:
            if answer.is_success:
                raise UnexpectedAnswer(
                    f"{url} answered, but not as Flexai does: is this its address?"
                ) from None
    if answer.is_success:
        return body
    if answer.is_redirect:
        raise UnexpectedAnswer(
            f"{url} redirects to {answer.headers.get('Location', 'nowhere')}: use that address."
        )
    raise problem_from(answer.status_code, body)
