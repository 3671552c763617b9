"""A stub server and a client for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flexai.client import Client
from tests.support.http_stub import TOKEN, Stub, serve


@pytest.fixture
def stub() -> Iterator[Stub]:
    state = Stub()
    server = serve(state)
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(stub: Stub) -> Iterator[Client]:
    with Client(stub.url, TOKEN, timeout=5) as made:
        yield made


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flexai.client.transport.FIRST_PAUSE_SECONDS", 0.01)
