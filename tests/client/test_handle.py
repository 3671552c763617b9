"""A job as an object: what the client does by id, of the job itself."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Iterator
from typing import assert_type

from flexai.client import Client, JobHandle
from flexai.client.aio import AsyncClient, AsyncJobHandle
from flexai.client.jobs import Jobs
from flexai.client.types import Job
from tests.support.http_stub import TOKEN, Stub

SPEC = {"name": "train", "commands": ["true"]}


def test_a_job_waits_logs_and_stops_by_itself(stub: Stub, client: Client) -> None:
    job = client.submit(SPEC, idempotency_key="one")
    assert list(stub.jobs) == [job.id]
    assert client.submit(SPEC, idempotency_key="one").id == job.id
    assert repr(job) == f"JobHandle({job.id!r})"
    assert_type(job.logs(follow=True), Iterator[str])
    assert_type(job.stop(reason="enough"), Job)
    assert job.wait(timeout=5) == client.jobs.get(job.id)
    assert client.job(job.id).get()["id"] == job.id


async def test_the_same_for_asyncio(stub: Stub) -> None:
    async with AsyncClient(stub.url, TOKEN, timeout=5) as flexai:
        job = await flexai.submit(SPEC)
        assert_type(job, AsyncJobHandle)
        assert_type(job.logs(follow=True), AsyncGenerator[str, None])
        await job.stop()
        ended = await job.wait(timeout=5)
        assert_type(ended, Job)
        assert ended == await flexai.jobs.get(job.id)


def test_whatever_is_done_to_a_job_by_id_is_done_by_the_job() -> None:
    by_id = {
        name
        for name, method in inspect.getmembers(Jobs, inspect.isfunction)
        if not name.startswith("_") and list(inspect.signature(method).parameters)[1:2] == ["job_id"]
    }
    for kind in (JobHandle, AsyncJobHandle):
        assert {name for name in vars(kind) if not name.startswith("_")} == by_id
