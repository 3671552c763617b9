"""Waiting for somebody to confirm a sign-in in a browser."""

from __future__ import annotations

import pytest

from flexai.client import InvalidInput, NotFound, WaitTimeout, begin_sign_in
from flexai.client.transport import Transport
from tests.support.http_stub import TOKEN, Stub


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made; none is waited for."""
    made: list[float] = []
    monkeypatch.setattr(Transport, "sleep", lambda self, seconds: made.append(seconds))
    return made


def test_it_asks_with_growing_pauses_and_slows_down_when_told(stub: Stub, pauses: list[float]) -> None:
    stub.sign_in = [*["authorization_pending"] * 12, "slow_down", "authorization_pending", "granted"]
    begun = begin_sign_in(stub.url, "laptop")
    assert (begun.code, begun.page) == ("BCDF-GHJK", f"{stub.url}/connect")
    assert begun.token() == TOKEN
    assert pauses[0] == 1.0
    assert pauses[:13] == sorted(pauses[:13])
    assert pauses[12] == 5.0
    assert pauses[13:] == [10.0, 10.0]


def test_an_outage_of_the_server_ends_no_sign_in(stub: Stub, pauses: list[float]) -> None:
    stub.sign_in = ["granted"]
    begun = begin_sign_in(stub.url, "laptop")
    stub.faults = ["refuse"] * 7
    assert begun.token() == TOKEN


@pytest.mark.parametrize("code", ["access_denied", "expired_token"])
def test_an_end_without_a_token_is_raised(stub: Stub, pauses: list[float], code: str) -> None:
    stub.sign_in = ["authorization_pending", code]
    with pytest.raises(InvalidInput) as raised:
        begin_sign_in(stub.url, "laptop").token()
    assert raised.value.code == code


def test_nobody_who_comes_is_a_timeout(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.sign_in = ["authorization_pending"]
    now = [0.0]
    monkeypatch.setattr("flexai.client.signing_in.time.monotonic", lambda: now[0])
    monkeypatch.setattr(Transport, "sleep", lambda self, seconds: now.__setitem__(0, now[0] + seconds))
    with pytest.raises(WaitTimeout):
        begin_sign_in(stub.url, "laptop").token()
    assert 600 <= now[0] < 610


def test_a_server_without_this_way_is_told_apart(stub: Stub) -> None:
    with pytest.raises(NotFound):
        begin_sign_in(stub.url, "laptop")
