"""Jobs: submit, watch, stop."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from flexai.client.errors import UnexpectedAnswer, WaitTimeout
from flexai.client.logs import OUTAGE_SECONDS, LogPiece, LogQuery
from flexai.client.logs import follow as follow_log
from flexai.client.logs import read as read_log
from flexai.client.logs import slice_of as read_slice
from flexai.client.outputs import PATIENCE_SECONDS
from flexai.client.outputs import download as download_files
from flexai.client.outputs import read as read_outputs
from flexai.client.transport import Transport
from flexai.client.types import DryRun, Event, Explanation, Job, LogSlice, Outputs, Spec, Submitted, is_final

LONGEST_WAIT_SECONDS = 30
"""That one request waits for a change: what lies between may end a silent connection after 60."""
POLL_SECONDS = 1.0
"""Between two looks where the server does not wait: it is an older one, or too many wait there."""


class Jobs:
    """The jobs that the token may see."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def submit(self, spec: Spec, *, idempotency_key: str | None = None) -> Job:
        """The job is accepted afterwards, once, however often the connection failed on the way.

        The same key is the same job: give one to make the submit repeatable across processes. A spec with
        `array` gives the first of its jobs; `submit_array` tells of all.
        Raises InvalidInput, NeverFits, Conflict.
        """
        made = self._submit(spec, idempotency_key)
        return cast("Job", made["jobs"][0] if "jobs" in made else made)

    def submit_array(self, spec: Spec, *, idempotency_key: str | None = None) -> Submitted:
        """As `submit`, and answers with the set; without `array` it is a set of one, whose id is empty."""
        made = self._submit(spec, idempotency_key)
        if "jobs" in made:
            return cast("Submitted", made)
        return {"set": "", "count": 1, "jobs": [cast("Job", made)]}

    def dry_run(self, spec: Spec) -> DryRun:
        """What would become of it; nothing is submitted. Raises InvalidInput."""
        return cast(
            "DryRun", self._transport.send("POST", "/jobs", body=spec, query={"dry_run": 1}, repeatable=True)
        )

    def batch(self, specs: Sequence[Spec], *, idempotency_key: str | None = None) -> list[str]:
        """All are accepted afterwards, or none, once, however often the connection failed on the way; their ids in
        order. At most 10,000. The same key is the same jobs. Raises InvalidInput, NeverFits, Conflict.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        made = self._transport.send(
            "POST", "/jobs/batch", body={"jobs": list(specs)}, headers=headers, repeatable=True
        )
        return [str(job_id) for job_id in made["ids"]]

    def get(self, job_id: str) -> Job:
        """The job with its spec, attempts and allowed actions. Raises NotFound."""
        return cast("Job", self._transport.get(f"/jobs/{job_id}"))

    def list(
        self,
        *,
        status: Sequence[str] = (),
        team: str | None = None,
        user: str | None = None,
        name: str | None = None,
        labels: dict[str, str] | None = None,
        set_id: str | None = None,
        search: str | None = None,
        sort: str = "-submitted_at",
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Every job that fits, newest first, fetched page by page as it is consumed; at most `limit`."""
        label = [f"{key}:{value}" for key, value in (labels or {}).items()]
        words = ",".join(status)
        return self._transport.pages(
            "/jobs",
            limit=limit,
            status=words,
            team=team,
            user=user,
            name=name,
            label=label,
            set=set_id,
            q=search,
            sort=sort,
        )

    def counts(self) -> dict[str, int]:
        """How many jobs have each status."""
        return cast("dict[str, int]", self._transport.get("/jobs/counts"))

    def stop(self, job_id: str, *, reason: str = "") -> Job:
        """The job is cancelled, or will be once its node confirms (status `cancelling`).

        Raises Conflict when it has ended.
        """
        body = {"reason": reason} if reason else {}
        return cast("Job", self._transport.send("POST", f"/jobs/{job_id}/stop", body=body))

    def resume(self, job_id: str) -> Job:
        """A held or suspended job waits for chips afterwards."""
        return cast("Job", self._transport.send("POST", f"/jobs/{job_id}/resume", body={}))

    def keep(self, job_id: str, *, seconds: int | None = None) -> Job:
        """For so long (an hour) the chips of an active job are not taken for idle. Raises Conflict for any other."""
        body = {} if seconds is None else {"seconds": seconds}
        return cast("Job", self._transport.send("POST", f"/jobs/{job_id}/keep", body=body))

    def requeue(self, job_id: str) -> Job:
        """A job that has ended waits for another run afterwards."""
        return cast("Job", self._transport.send("POST", f"/jobs/{job_id}/requeue", body={}))

    def events(self, job_id: str) -> Iterator[Event]:
        """Every move of the job, with its reason."""
        return self._transport.pages(f"/jobs/{job_id}/events")

    def explain(self, job_id: str) -> Explanation:
        """Why it is where it is: the reasons, most blocking first."""
        return cast("Explanation", self._transport.get(f"/jobs/{job_id}/explain"))

    def logs(
        self,
        job_id: str,
        *,
        follow: bool = False,
        attempt: int | None = None,
        replica: int = 0,
        offset: int = 0,
        tail_bytes: int | None = None,
    ) -> Iterator[str]:
        """The log's text: what is there; with `follow` also what comes, until the job has ended."""
        pieces = self.log_pieces(
            job_id, follow=follow, attempt=attempt, replica=replica, offset=offset, tail_bytes=tail_bytes
        )
        return (piece.text for piece in pieces)

    def log_pieces(
        self,
        job_id: str,
        *,
        follow: bool = False,
        attempt: int | None = None,
        replica: int = 0,
        offset: int = 0,
        tail_bytes: int | None = None,
    ) -> Iterator[LogPiece]:
        """As `logs`, with attempt and offsets: `next_offset` of the last piece is where to resume."""
        query = LogQuery(job_id, attempt, replica, offset, tail_bytes)
        return follow_log(self._transport, query) if follow else read_log(self._transport, query)

    def log_slice(
        self, job_id: str, *, attempt: int | None = None, replica: int = 0, offset: int = 0
    ) -> LogSlice:
        """One stretch of the log as the API gives it, with its size and whether it is complete."""
        query = LogQuery(job_id, attempt, replica, offset)
        return read_slice(self._transport, query)

    def wait(self, job_id: str, *, timeout: float | None = None) -> Job:
        """The job, once it has ended. Raises WaitTimeout after `timeout` seconds; the job goes on."""
        deadline = None if timeout is None else time.monotonic() + timeout
        job = cast("Job", self._transport.get(f"/jobs/{job_id}", patience=OUTAGE_SECONDS))
        while not is_final(job["status"]):
            left = LONGEST_WAIT_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(f"{job_id} is still {job['status']} after {timeout:g} s.")
            job = self.changed(job, within=left) or job
        return job

    def changed(self, job: Job, *, within: float = LONGEST_WAIT_SECONDS) -> Job | None:
        """The job, as soon as it is another than this one; None when it is the same after `within` seconds, of which
        one call waits 30 at most. Why a job waits, and what it logs, is no change of it."""
        seconds, began = int(min(within, LONGEST_WAIT_SECONDS)), time.monotonic()
        if not seconds:
            self._transport.sleep(within)
        found: Job | None = self._transport.get_changed(
            f"/jobs/{job['id']}", job["version"], wait_seconds=seconds, patience=OUTAGE_SECONDS
        )
        if found is not None and found["version"] != job["version"]:
            return found
        early = min(within, POLL_SECONDS) - (time.monotonic() - began)
        if early > 0:
            self._transport.sleep(early)
        return None

    def outputs(self, job_id: str, *, attempt: int | None = None, patience: float = 0.0) -> Outputs:
        """What the job left, of its last attempt unless another is named; while more is awaited, at most `patience`
        seconds later. Raises WaitTimeout, NotFound."""
        return read_outputs(self._transport, job_id, attempt, patience)

    def download_outputs(
        self,
        job_id: str,
        folder: str | Path,
        *,
        attempt: int | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> Sequence[Path]:
        """The files of the job, all of them, below the folder, once its node has sent them. Raises WaitTimeout,
        NotFound, NotReached."""
        found = read_outputs(self._transport, job_id, attempt, patience)
        return download_files(self._transport, job_id, found, Path(folder))

    def remove_outputs(self, job_id: str) -> int:
        """Nothing that the job has left is kept; returns of how many attempts there was something."""
        answer = self._transport.send("DELETE", f"/jobs/{job_id}/outputs", repeatable=True)
        return int(answer["attempts"])

    def _submit(self, spec: Spec, idempotency_key: str | None) -> dict[str, Any]:
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        made = self._transport.send("POST", "/jobs", body=spec, headers=headers, repeatable=True)
        if not isinstance(made, dict) or not ("id" in made or made.get("jobs")):
            raise UnexpectedAnswer("The server accepted the job but did not say which it is.")
        return made
