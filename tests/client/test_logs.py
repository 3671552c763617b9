"""Following a log: nothing lost, nothing twice, through lost connections and retries of the job."""

from __future__ import annotations

import threading
import time

import pytest

from flexai.client import Client, WaitTimeout
from flexai.client import logs as logs_module
from tests.support.http_stub import Stub


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module, "SHORTEST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(logs_module, "LONGEST_PAUSE_SECONDS", 0.02)


def test_what_is_there_is_read_whole(stub: Stub, client: Client) -> None:
    job = stub.add_job()
    stub.start(job).content = b"x" * 2_500_000
    assert len("".join(client.jobs.logs(job["id"]))) == 2_500_000
    assert "".join(client.jobs.logs(job["id"], tail_bytes=7)) == "x" * 7


def test_following_yields_every_byte_once_though_connections_drop(stub: Stub, client: Client) -> None:
    job = stub.add_job()
    log = stub.start(job)

    def write() -> None:
        for number in range(200):
            log.content += f"line {number}\n".encode()
            if number % 20 == 0 and not stub.faults:
                stub.faults.append("drop")
            time.sleep(0.002)
        stub.end(job)

    writer = threading.Thread(target=write)
    writer.start()
    text = "".join(client.jobs.logs(job["id"], follow=True))
    writer.join()
    assert text == "".join(f"line {number}\n" for number in range(200))


def test_following_goes_on_into_the_next_attempt(stub: Stub, client: Client) -> None:
    job = stub.add_job()
    first = stub.start(job)
    first.content = b"first\n"

    def retry() -> None:
        time.sleep(0.05)
        first.ended = True
        job["status"] = "queued"
        time.sleep(0.05)
        stub.start(job).content = b"second\n"
        time.sleep(0.05)
        stub.end(job)

    thread = threading.Thread(target=retry)
    thread.start()
    pieces = list(client.jobs.log_pieces(job["id"], follow=True))
    thread.join()
    assert [(piece.attempt, piece.text) for piece in pieces] == [(1, "first\n"), (2, "second\n")]
    assert list(client.jobs.logs(job["id"], follow=True, attempt=1)) == ["first\n"]


def test_following_a_queued_job_waits_for_its_start_and_ends_when_it_never_does(
    stub: Stub, client: Client
) -> None:
    job = stub.add_job()

    def cancel() -> None:
        time.sleep(0.05)
        job["status"] = "cancelled"

    thread = threading.Thread(target=cancel)
    thread.start()
    assert list(client.jobs.logs(job["id"], follow=True)) == []
    thread.join()


def test_an_ended_job_whose_log_stays_incomplete_is_not_followed_for_ever(
    stub: Stub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_module, "LATE_SECONDS", 0.1)
    job = stub.add_job()
    stub.start(job).content = b"last words"
    job.update(status="failed", exit_code=None)
    assert list(client.jobs.logs(job["id"], follow=True)) == ["last words"]


def test_a_resumed_reader_gets_the_rest(stub: Stub, client: Client) -> None:
    job = stub.add_job()
    stub.start(job).content = "naïve text".encode()
    stub.end(job)
    assert "".join(client.jobs.logs(job["id"], follow=True, offset=6)) == " text"


def test_wait_gives_the_ended_job_or_raises_in_time(stub: Stub, client: Client) -> None:
    job = stub.add_job()
    began = time.monotonic()
    with pytest.raises(WaitTimeout, match="still queued"):
        client.jobs.wait(job["id"], timeout=0.2)
    assert 0.2 <= time.monotonic() - began < 2
    stub.start(job)
    stub.end(job, exit_code=3)
    assert client.jobs.wait(job["id"], timeout=60)["exit_code"] == 3


def test_a_wait_asks_once_and_is_answered_by_the_change(stub: Stub, client: Client) -> None:
    job = stub.add_job()

    def end() -> None:
        while len(stub.seen) < 2:
            time.sleep(0.01)
        stub.start(job)
        stub.end(job)

    thread = threading.Thread(target=end)
    thread.start()
    assert client.jobs.wait(job["id"])["status"] == "succeeded"
    thread.join()
    waits = [path for _, path, _, _ in stub.seen if "wait=" in path]
    assert 1 <= len(waits) <= 2, "the start, and the end unless they came together"
    assert waits[0].endswith(f"/jobs/{job['id']}?version=1&wait=30")


def test_following_waits_at_the_server_for_what_comes(
    stub: Stub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client._transport, "sleep", lambda seconds: None)
    job = stub.add_job()
    log = stub.start(job)

    def asked(times: int) -> None:
        while len([path for _, path, _, _ in stub.seen if "wait=" in path]) < times:
            time.sleep(0.01)

    def write() -> None:
        for times, line in enumerate((b"one\n", b"two\n"), start=1):
            asked(times)
            log.content += line
        asked(3)
        stub.end(job)

    thread = threading.Thread(target=write)
    thread.start()
    assert "".join(client.jobs.logs(job["id"], follow=True)) == "one\ntwo\n"
    thread.join()
    paths = [path for _, path, _, _ in stub.seen]
    assert len(paths) <= 8, f"one question for each piece, and the job itself where there was none: {paths}"


def test_a_server_that_does_not_wait_is_asked_once_in_a_while(
    stub: Stub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, pauses, stub.waits = stub.add_job(), list[float](), False

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            stub.end(job)

    monkeypatch.setattr(client._transport, "sleep", pause)
    assert client.jobs.wait(job["id"])["status"] == "succeeded"
    assert len(pauses) == 3
    assert len(stub.seen) == 5
