"""`--wait`: say why the job waits, stream its log, and end as the job ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from flexai.cli import output
from flexai.cli.exits import NOT_STARTED, OK, exit_code_of_job
from flexai.cli.references import jobs_of_set
from flexai.cli.tables import job_name
from flexai.client import Client, Conflict
from flexai.client.types import Job, Submitted, is_final

LATE_SECONDS = 3.0
"""How late a new reason for waiting is said, or the end of one job of many; a change of the job that is waited for is
heard of at once."""
_WAITS = frozenset({"held", "queued", "starting", "suspended"})


def wait_and_exit_code(
    client: Client, job: Job, *, timeout: float | None, write: Callable[[str], object]
) -> int:
    """Streams the log to `write` until the job ends; the exit code is the run's.

    When the job has not started after `timeout` seconds it is stopped, and the code is NOT_STARTED.
    """
    if not _started(client, job, timeout):
        _withdraw(client, [job["id"]], timeout)
        return NOT_STARTED
    at_line_start = True
    for text in client.jobs.logs(job["id"], follow=True):
        write(text)
        at_line_start = text.endswith("\n")
    if not at_line_start:
        write("\n")
    ended = client.jobs.wait(job["id"])
    tell_end(ended)
    return exit_code_of_job(ended)


def wait_for_set(client: Client, made: Submitted, *, timeout: float | None) -> int:
    """Waits for every job of an array: 0 when all succeeded, else the first failing job's code."""
    deadline = None if timeout is None else time.monotonic() + timeout
    told: set[str] = set()
    while True:
        jobs = jobs_of_set(client, made["set"])
        for job in jobs:
            if is_final(job["status"]) and job["id"] not in told:
                told.add(job["id"])
                tell_end(job)
        going_on = [job for job in jobs if not is_final(job["status"])]
        if not going_on:
            return next((code for code in map(exit_code_of_job, jobs) if code), OK)
        if (
            deadline is not None
            and time.monotonic() > deadline
            and all(job["status"] in _WAITS for job in jobs)
        ):
            _withdraw(client, [job["id"] for job in jobs], timeout)
            return NOT_STARTED
        left = LATE_SECONDS if deadline is None else deadline - time.monotonic()
        client.jobs.changed(going_on[-1], within=min(left, LATE_SECONDS) if left > 0 else LATE_SECONDS)


def tell_end(job: Job) -> None:
    """One line on stderr: how the job ended, after how long, and why."""
    line = output.status_text(job["status"])
    line.append(f"  {job['id']}  {job_name(job)}  {output.duration(job['run_ms'])}", style="default")
    if job["status"] != "succeeded" and job["sentence"]:
        line.append(f"\n  {output.printable(job['sentence'])}", style="default")
    output.err().print(line)


def _started(client: Client, submitted: Job, timeout: float | None) -> bool:
    """True once the job runs or has ended. Each new reason for waiting is said once."""
    deadline = None if timeout is None else time.monotonic() + timeout
    said, job = submitted["sentence"], client.jobs.get(submitted["id"])
    while True:
        if job["status"] not in _WAITS:
            return True
        if job["status"] != "starting" and job["sentence"] != said:
            said = job["sentence"]
            output.say(output.printable(said), "dim")
        left = LATE_SECONDS if deadline is None else deadline - time.monotonic()
        if left <= 0:
            return False
        job = client.jobs.changed(job, within=min(left, LATE_SECONDS)) or client.jobs.get(job["id"])


def _withdraw(client: Client, job_ids: list[str], timeout: float | None) -> None:
    for job_id in job_ids:
        try:
            client.jobs.stop(job_id, reason="not started in time")
        except Conflict:
            continue  # it ended in the meantime
    output.complain(f"Not started within {timeout:g} s; the job was stopped.")
