"""T5 on real rows: waiting tasks shrink, one that runs out of memory grows back, and jobs are told what would do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flexai.common import clock
from flexai.jobs import services
from flexai.jobs.ending import Ending, end_attempts
from flexai.jobs.models import Attempt, Event, Job, Replica
from flexai.jobs.sizing import advice_of, right_size_sets
from scheduler_core.lifecycle import Outcome
from tests.support.tenants import Tenant, a_node, a_spec, started

pytestmark = pytest.mark.django_db


def tasks_of(tenant: Tenant, **fields: object) -> list[Job]:
    spec = a_spec(array="0-5", resources={"memory": "4GiB"}, **fields)
    services.submit(tenant.principal, spec)
    return list(Job.objects.order_by("id"))


def held(job: Job, peak: int, *, outcome: Outcome = Outcome.SUCCEEDED) -> Attempt:
    attempt = started(job, a_node())
    Replica.objects.filter(attempt=attempt).update(state="ended")
    ending = Ending(attempt.pk, outcome, exit_code=0, memory_peak_mib=peak)
    assert end_attempts([ending], actor="agent", at=clock.now()) == 1
    return attempt


def memory_of(job: Job) -> int:
    job.refresh_from_db()
    return int(job.effective_spec["resources"]["memory_mib"])


def test_t5_waiting_tasks_ask_for_what_the_first_ones_held(tenant: Tenant) -> None:
    tasks = tasks_of(tenant)
    for task, peak in zip(tasks, (500, 700), strict=False):
        held(task, peak)
    assert right_size_sets(clock.now()) == 0, "two tell too little"
    held(tasks[2], 1000)
    before = tasks[3].version
    assert right_size_sets(clock.now()) == 3
    assert [memory_of(task) for task in tasks] == [4096] * 3 + [1280] * 3
    assert tasks[3].effective_spec["asked_memory_mib"] == 4096
    assert (tasks[3].version, tasks[3].spec_version) == (before + 1, 2)
    assert tasks[3].spec["resources"] == {"memory": "4GiB"}, "what was submitted is untouched"
    told = Event.objects.get(job=tasks[3], kind="job.right_sized")
    assert "3 earlier tasks of its array held 1000 MiB at most" in told.sentence
    assert right_size_sets(clock.now()) == 0, "once is enough"


def test_t5_out_of_memory_grows_only_that_task_and_does_not_count(tenant: Tenant) -> None:
    tasks = tasks_of(tenant)
    for task in tasks[:3]:
        held(task, 1000)
    right_size_sets(clock.now())
    held(tasks[3], 1280, outcome=Outcome.OOM)
    assert memory_of(tasks[3]) == 4096
    assert (tasks[3].state, tasks[3].failures, tasks[3].reason_code) == ("queued", 0, "grown")
    assert "asked_memory_mib" not in tasks[3].effective_spec
    assert memory_of(tasks[4]) == 1280
    assert right_size_sets(clock.now()) == 0, "who was tried keeps what it has"
    Attempt.objects.filter(job=tasks[3]).update(number=9)
    held(tasks[3], 4096, outcome=Outcome.OOM)
    tasks[3].refresh_from_db()
    assert (tasks[3].state, tasks[3].failures) == ("failed", 1), "a second time it is its own doing"


@pytest.mark.parametrize("fields", [{"right_size": False}, {"resources": {"cpus": 1}}])
def test_t5_who_opts_out_or_asks_for_no_memory_is_left_alone(
    tenant: Tenant, fields: dict[str, object]
) -> None:
    services.submit(tenant.principal, a_spec(array="0-5", **({"resources": {"memory": "4GiB"}} | fields)))
    tasks = list(Job.objects.order_by("id"))
    for task in tasks[:3]:
        held(task, 1000)
    assert right_size_sets(clock.now()) == 0


def test_t5_tasks_of_a_matrix_differ_and_are_left_alone(tenant: Tenant) -> None:
    matrix = {"model": ["small", "middle", "large", "huge"]}
    services.submit(tenant.principal, a_spec(matrix=matrix, resources={"memory": "4GiB"}))
    tasks = list(Job.objects.order_by("id"))
    for task in tasks[:3]:
        held(task, 1000)
    assert right_size_sets(clock.now()) == 0


def test_t5_a_job_is_told_what_would_have_done(tenant: Tenant) -> None:
    job = services.submit(
        tenant.principal, a_spec(resources={"accelerators": "H100:1", "memory": "8GiB"})
    ).jobs[0]
    assert advice_of(job, clock.now()) == []
    attempt = held(job, 1000)
    now = clock.now()
    Attempt.objects.filter(pk=attempt.pk).update(
        use_permille=230, running_at=now - timedelta(hours=1), ended_at=now
    )
    told = tenant.api.get(f"/jobs/{job.public_id}").json()["advice"]
    assert [(one["field"], one["value"]) for one in told] == [
        ("resources.fraction", "0.3"), ("resources.memory", "1280MiB"),
    ]  # fmt: skip
    assert "used 23 % of it on average" in told[0]["sentence"]
