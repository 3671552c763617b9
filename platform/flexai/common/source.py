"""Where that which is being done was asked from. What is written of it tells so without any caller's care."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One request, or one schedule; both empty for what the platform does by itself."""

    request_id: str = ""
    address: str = ""


_current: ContextVar[Source] = ContextVar("source", default=Source())  # noqa: B039 - it is frozen


@contextmanager
def asked_from(request_id: str, address: str = "") -> Iterator[None]:
    """What is done inside was asked so, in this thread or task and in those that it starts."""
    before = _current.set(Source(request_id, address))
    try:
        yield
    finally:
        _current.reset(before)


def current() -> Source:
    """Of what is being done."""
    return _current.get()


def request_id() -> str:
    """Empty outside a request."""
    return _current.get().request_id


def address() -> str:
    """Of the machine that asked, as the server sees it; empty outside a request."""
    return _current.get().address
