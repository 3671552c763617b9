"""How long a job of a Pollux workload trains by itself, at the size and batch that it was submitted with."""

from __future__ import annotations

from pathlib import Path

from scheduler_core.simulation.pollux.application import MAX_EPOCHS, application
from scheduler_core.simulation.pollux.cluster import CHIPS_A_NODE, MOST_ROUNDS, ROUND_SECONDS
from scheduler_core.simulation.pollux.job import RESTART_SECONDS, TrainingJob
from scheduler_core.simulation.pollux.traces import Submission
from scheduler_core.simulation.tables import TraceError


def run_alone_ms(folder: Path, submission: Submission) -> int:
    """Milliseconds of training on as few nodes as hold its chips, the first start not counted. Raises
    `TraceError` for an application that was not measured, and for a job that trains longer than a week.
    """
    if submission.application not in MAX_EPOCHS:
        raise TraceError(
            folder / submission.name, None, "application", f"{submission.application!r} is unknown"
        )
    job = TrainingJob(submission, application(folder, submission.application), fixed_batch=True)
    full, rest = divmod(submission.replicas, CHIPS_A_NODE)
    job.put_on((CHIPS_A_NODE,) * full + (rest,) * (rest > 0))
    for _ in range(MOST_ROUNDS):
        job.pass_time(ROUND_SECONDS)
        if job.completed_at is not None:
            return 1000 * (job.completed_at - RESTART_SECONDS)
    raise TraceError(folder / submission.name, None, None, "trains longer than a week")
