"""What a job left: which files there are, why others are not, their bytes, and their removal.

Of a job with several attempts the last one's are told unless another is asked for. In a gang they are those of
replica 0.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from django.conf import settings
from django.db import transaction

from flexai.cluster.models import Node
from flexai.common import clock
from flexai.common.errors import Forbidden, NotFound
from flexai.jobs import outputs_store
from flexai.jobs.models import Attempt, Job, OutputFile, OutputLeft, OutputSet
from flexai.jobs.moves import may_act
from flexai.jobs.outputs_intake import mark_removed
from flexai.jobs.queries import attempt_of
from flexai.tenancy import audit
from flexai.tenancy.principals import Principal
from node_agent.protocol_outputs import OUTPUTS_AFTER
from scheduler_core.lifecycle import FINAL_JOB_STATES, AttemptState, JobState

AWAITED_FOR = timedelta(hours=24)
"""As long as a node tries to bring them."""
SWEPT_AT_ONCE = 200
"""Attempts whose files one run takes from the store."""

State = Literal["none", "awaited", "complete", "lost", "removed"]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What there is of one attempt; attempt 0: there has been none."""

    attempt: Attempt | None
    state: State
    sentence: str
    said: Sequence[str]
    files: Sequence[OutputFile]
    kept_until: datetime | None


def outputs_of(job: Job, number: int | None) -> Outputs:
    """The whole files of the attempt of this number, or of the last. Raises NotFound for another number."""
    attempt = attempt_of(job, number)
    found = None if attempt is None else OutputSet.objects.filter(attempt=attempt).first()
    if attempt is None or found is None:
        state, sentence = _without(job, attempt)
        return Outputs(attempt, state, sentence, (), (), None)
    if found.removed_at is not None:
        return Outputs(attempt, "removed", "The files were removed.", (), (), None)
    state, sentence = _of_set(found)
    files = [file for file in found.kept.order_by("path") if file.stored == file.size]
    return Outputs(
        attempt, state, sentence, found.said, files, found.at + timedelta(days=settings.OUTPUTS_DAYS)
    )


def file_of(job: Job, number: int | None, path: str) -> tuple[Attempt, OutputFile]:
    """One whole file. Raises NotFound."""
    outputs = outputs_of(job, number)
    file = next((file for file in outputs.files if file.path == path), None)
    if file is None or outputs.attempt is None:
        raise NotFound(f"The job's outputs have no file {path[:200]!r}.")
    return outputs.attempt, file


def content(attempt: Attempt, file: OutputFile, start: int, end: int) -> Iterator[bytes]:
    """The file's bytes from `start` up to `end`."""
    return outputs_store.read(attempt.public_id, file.number, start, end)


def archive_size(outputs: Outputs, folder: str) -> int:
    """Bytes of the archive."""
    each = sum(len(_head(file, folder, outputs)) + file.size + _padding(file.size) for file in outputs.files)
    return each + 2 * tarfile.BLOCKSIZE


def archive(outputs: Outputs, folder: str) -> Iterator[bytes]:
    """All of them as one tar file, under the folder of this name, a piece at a time."""
    for file in outputs.files:
        assert outputs.attempt is not None
        yield _head(file, folder, outputs)
        yield from content(outputs.attempt, file, 0, file.size)
        if padding := _padding(file.size):
            yield bytes(padding)
    yield bytes(2 * tarfile.BLOCKSIZE)


def remove_outputs(principal: Principal, job: Job) -> int:
    """Nothing is left of what any attempt of the job has brought so far; returns of how many attempts. Raises
    Forbidden."""
    if not may_act(principal, job):
        raise Forbidden(
            "Members remove the outputs of their own jobs; others' need the role maintainer in the team."
        )
    with transaction.atomic():
        removed = mark_removed(list(OutputSet.objects.filter(attempt__job=job).values_list("pk", flat=True)))
        if removed:
            audit.record(principal, "job.outputs_removed", job, after={"attempts": removed})
    return removed


def sweep() -> int:
    """What is past its days, removed, or of no job any more is out of the store, up to a bound; returns of how many
    attempts."""
    now = clock.now()
    old = OutputSet.objects.filter(removed_at=None, at__lt=now - timedelta(days=settings.OUTPUTS_DAYS))
    mark_removed(list(old.values_list("pk", flat=True)[:SWEPT_AT_ONCE]))
    removed = OutputSet.objects.filter(swept=False, removed_at__isnull=False).select_related("attempt")
    done = 0
    for outputs in removed.order_by("removed_at")[:SWEPT_AT_ONCE]:
        outputs_store.remove_all(outputs.attempt.public_id)
        OutputFile.objects.filter(outputs=outputs).delete()
        OutputSet.objects.filter(pk=outputs.pk).update(swept=True)
        done += 1
    for left in OutputLeft.objects.order_by("pk")[:SWEPT_AT_ONCE]:
        outputs_store.remove_all(left.attempt_public_id)
        left.delete()
        done += 1
    return done


def _without(job: Job, attempt: Attempt | None) -> tuple[State, str]:
    """Where nothing was offered yet."""
    if not job.effective_spec.get("outputs"):
        return "none", "The job's spec names no `outputs`."
    if attempt is None:
        over = JobState(job.state) in FINAL_JOB_STATES
        return ("none", "It never ran.") if over else ("awaited", "They are collected when it has run.")
    if attempt.state != AttemptState.ENDED:
        return "awaited", "They are collected when it ends."
    if attempt.outcome not in OUTPUTS_AFTER:
        return "none", f"Attempt {attempt.number} ended as {attempt.outcome}: nothing was collected."
    node = Node.objects.filter(replicas__attempt=attempt, replicas__index=0).first()
    if attempt.running_at is None or node is None:
        return "none", "It never ran."
    if node.simulated:
        return "none", "It ran on a simulated node, which has no files."
    if _is_overdue(attempt.ended_at):
        return "lost", f"Node {node.name} did not bring them within a day."
    where = "" if node.reachable else ", which cannot be reached"
    return "awaited", f"They are awaited from node {node.name}{where}."


def _of_set(found: OutputSet) -> tuple[State, str]:
    if found.complete:
        return "complete", "" if found.files else "No file was kept."
    if _is_overdue(found.at):
        return "lost", "Not all of them arrived within a day."
    return "awaited", "They are arriving."


def _is_overdue(since: datetime | None) -> bool:
    return since is not None and clock.now() - since > AWAITED_FOR


def _head(file: OutputFile, folder: str, outputs: Outputs) -> bytes:
    info = tarfile.TarInfo(f"{folder}/{file.path}")
    info.size = file.size
    if outputs.attempt is not None and outputs.attempt.ended_at is not None:
        info.mtime = int(outputs.attempt.ended_at.timestamp())
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE
