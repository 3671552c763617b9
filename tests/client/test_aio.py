"""The client for asyncio: the same as the other one, without holding up the loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator
from typing import assert_type

import pytest

from flexai.client import Client, NotFound, WaitTimeout
from flexai.client.aio import AsyncClient
from flexai.client.types import Job
from tests.support.http_stub import TOKEN, Log, Stub

SPEC = {"name": "train", "commands": ["true"]}


@pytest.fixture
async def flexai(stub: Stub) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(stub.url, TOKEN, timeout=5) as made:
        yield made


def test_nothing_of_the_client_is_missing_and_nothing_is_more(stub: Stub) -> None:
    plain, made = Client(stub.url, TOKEN), AsyncClient(stub.url, TOKEN)
    assert _public(plain) == _public(made)
    groups = [name for name, value in vars(plain).items() if not name.startswith("_") and name != "url"]
    assert groups
    for group in groups:
        assert _public(getattr(plain, group)) == _public(getattr(made, group)), group
    plain.close()


async def test_a_submit_whose_answer_was_lost_makes_one_job(stub: Stub, flexai: AsyncClient) -> None:
    stub.faults = ["drop", "refuse"]
    job = await flexai.jobs.submit(SPEC)
    assert_type(job, Job)
    assert list(stub.jobs) == [job["id"]]
    assert len({headers["Idempotency-Key"] for _, _, _, headers in stub.seen}) == 1
    with pytest.raises(NotFound):
        await flexai.jobs.get("job-none")


async def test_pages_are_fetched_as_they_are_consumed(stub: Stub, flexai: AsyncClient) -> None:
    stub.page_size = 2
    for _ in range(5):
        stub.add_job()
    seen = []
    async for job in flexai.jobs.list():
        seen.append(job["id"])
        if len(seen) == 3:
            break
    assert len(stub.seen) == 2
    assert len([job async for job in flexai.jobs.list()]) == 5


async def test_many_wait_at_once_without_a_thread_and_the_loop_goes_on(
    stub: Stub, flexai: AsyncClient
) -> None:
    jobs = [stub.add_job(status="running") for _ in range(120)]
    threads = threading.active_count()
    waiting = [asyncio.create_task(flexai.jobs.wait(job["id"])) for job in jobs]
    while len(stub.seen) < 2 * len(jobs):
        await asyncio.sleep(0.01)
    assert (await flexai.jobs.counts())["running"] == len(jobs), "who waits keeps nobody from asking"
    mine = [thread for thread in threading.enumerate() if "process_request" not in thread.name]
    assert len(mine) <= threads
    for job in jobs:
        job["status"] = "succeeded"
    assert {job["status"] for job in await asyncio.gather(*waiting)} == {"succeeded"}


async def test_a_wait_ends_when_its_time_is_over_or_its_task_is_cancelled(
    stub: Stub, flexai: AsyncClient
) -> None:
    job = stub.add_job(status="running")
    with pytest.raises(WaitTimeout):
        await flexai.jobs.wait(job["id"], timeout=0.1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await flexai.jobs.wait(job["id"])
    asked = len(stub.seen)
    await asyncio.sleep(1.0)
    assert len(stub.seen) <= asked + 1, "nobody asks on, but what was on its way arrives"
    assert (await flexai.jobs.get(job["id"]))["status"] == "running", "the client is as it was"


async def test_a_log_is_followed_to_its_end(stub: Stub, flexai: AsyncClient) -> None:
    job = stub.add_job(status="running", attempt=1)
    log = stub.logs[job["id"], 1] = Log(b"one\n")

    async def write() -> None:
        await asyncio.sleep(0.1)
        log.content, log.ended, job["status"] = b"one\ntwo\n", True, "succeeded"

    writing = asyncio.create_task(write())
    assert "".join([text async for text in flexai.jobs.logs(job["id"], follow=True)]) == "one\ntwo\n"
    await writing


def _public(of: object) -> set[str]:
    return {name for name, value in inspect.getmembers(of, callable) if not name.startswith("_")}
