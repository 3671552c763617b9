"""What the client sends, how often, and what it makes of the answer."""

from __future__ import annotations

import socket

import pytest

from flexai.client import (
    Client,
    Conflict,
    FlexaiError,
    InvalidInput,
    NotFound,
    NotReached,
    ServerFault,
    Unauthenticated,
    UnexpectedAnswer,
    create_token_with_password,
)
from tests.support.http_stub import PASSWORD, TOKEN, Stub

SPEC = {"name": "train", "commands": ["true"]}


def test_a_submit_whose_answer_was_lost_makes_one_job(stub: Stub, client: Client) -> None:
    stub.faults = ["drop", "drop"]
    job = client.jobs.submit(SPEC)
    assert list(stub.jobs) == [job["id"]]
    keys = {headers["Idempotency-Key"] for _, _, _, headers in stub.seen}
    assert len(stub.seen) == 3
    assert len(keys) == 1


def test_two_submits_are_two_jobs_and_the_same_key_is_one(stub: Stub, client: Client) -> None:
    first, second = client.jobs.submit(SPEC), client.jobs.submit(SPEC)
    assert first["id"] != second["id"]
    third, fourth = (client.jobs.submit(SPEC, idempotency_key="nightly") for _ in range(2))
    assert third["id"] == fourth["id"]
    assert len(stub.jobs) == 3


def test_a_batch_whose_answer_was_lost_makes_its_jobs_once(stub: Stub, client: Client) -> None:
    stub.faults = ["drop"]
    ids = client.jobs.batch([SPEC, SPEC])
    assert list(stub.jobs) == ids
    assert len(stub.seen) == 2
    assert len(client.jobs.batch([SPEC])) == 1
    assert len(stub.jobs) == 3


def test_a_server_that_starts_is_waited_for_and_one_that_stays_down_is_not(
    stub: Stub, client: Client
) -> None:
    stub.faults = ["refuse", "refuse"]
    assert client.jobs.counts() == {}
    stub.faults = ["refuse"] * 10
    with pytest.raises(ServerFault) as caught:
        client.jobs.counts()
    assert caught.value.code == "unavailable"
    assert len(stub.seen) == 3 + 5


def test_every_wrong_field_comes_with_the_error(stub: Stub, client: Client) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.jobs.submit({"name": "x", "resources": {"acelerators": "H100:1"}})
    assert caught.value.errors[0].field == "resources.acelerators"
    assert "did you mean accelerators?" in str(caught.value)
    assert stub.jobs == {}


def test_problems_are_exceptions_of_their_kind(stub: Stub, client: Client) -> None:
    with pytest.raises(NotFound, match="job-nothing"):
        client.jobs.get("job-nothing")
    job = stub.add_job(status="succeeded")
    with pytest.raises(Conflict, match="already succeeded"):
        client.jobs.stop(job["id"])
    with Client(stub.url, "flx_wrong") as stranger, pytest.raises(Unauthenticated):
        stranger.me()


def test_a_page_of_something_else_is_said_to_be_that(stub: Stub, client: Client) -> None:
    stub.faults = ["page"]
    with pytest.raises(UnexpectedAnswer, match="is this its address"):
        client.me()


@pytest.mark.parametrize("url", ["flexai.example", "ftp://flexai.example", "http://[::1", "http://x:port"])
def test_a_wrong_address_is_an_error_of_this_client(url: str) -> None:
    with pytest.raises(FlexaiError, match="address"), Client(url, TOKEN) as client:
        client.me()


def test_nobody_there_is_not_reached() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}", TOKEN) as client, pytest.raises(NotReached, match=str(port)):
        client.jobs.submit(SPEC)


def test_lists_go_through_every_page_and_stop_at_the_limit(stub: Stub, client: Client) -> None:
    made = [stub.add_job(f"j{number}")["id"] for number in range(23)]
    stub.page_size = 5
    assert [job["id"] for job in client.jobs.list()] == made[::-1]
    before = len(stub.seen)
    assert len(list(client.jobs.list(limit=7))) == 7
    assert len(stub.seen) - before == 2


def test_filters_are_sent_as_the_api_names_them(stub: Stub, client: Client) -> None:
    stub.add_job("a", status="running")
    stub.add_job("b", status="failed")
    found = client.jobs.list(status=["running", "queued"], labels={"k": "v"}, search="a b", limit=10)
    assert [job["name"] for job in found] == ["a"]
    assert "status=running%2Cqueued&label=k%3Av&q=a+b&sort=-submitted_at&limit=10" in stub.seen[-1][1]


def test_a_password_makes_a_token_and_no_session_stays(stub: Stub) -> None:
    token = create_token_with_password(stub.url, "ana", PASSWORD, name="laptop")
    assert token["token"] == TOKEN
    assert [(method, path) for method, path, _, _ in stub.seen][-1] == ("DELETE", "/api/v1/session")
    with pytest.raises(Unauthenticated):
        create_token_with_password(stub.url, "ana", "wrong", name="laptop")


def test_no_session_stays_where_no_token_was_made(stub: Stub) -> None:
    stub.refused_tokens = "A token lives at most 7 days."
    with pytest.raises(InvalidInput, match="at most 7 days"):
        create_token_with_password(stub.url, "ana", PASSWORD, name="laptop")
    assert [(method, path) for method, path, _, _ in stub.seen][-2:] == [
        ("POST", "/api/v1/tokens"),
        ("DELETE", "/api/v1/session"),
    ]
