"""Keeps the verdict of every waiting job (X1), written only when it changes.

The naive form writes every verdict of every cycle. In a burst that is a thousand rows a hundred times a
second, about jobs that wait for milliseconds. So: a few verdicts are written at once; many are written once a
second, for jobs that have waited that long; and where only numbers of a sentence move, once in ten seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from django.db import transaction

from flexai.common.database import as_rows, prepared_cursor
from flexai.common.events import Hint, publish_on_commit
from flexai.scheduling.claims import WAITS
from flexai.scheduling.models import Verdict as VerdictRecord
from scheduler_core.decision import Verdict

FEW = 64
"""So many verdicts are written without waiting."""
FEW_SECONDS = 0.25
"""A few are written no more often than this, else they count as many."""
MANY_SECONDS = 1.0
"""Many are written no more often than this, for jobs that have waited as long."""
SENTENCE_SECONDS = 10.0
"""A sentence whose reasons stay, with other numbers, is written anew after this."""


@dataclass(slots=True)
class _Told:
    """What the database says of a job. Times in seconds of the keeper's clock."""

    codes: tuple[str, ...]
    sentence: str
    since: datetime
    at: float


@dataclass(slots=True)
class _Due:
    job: int
    verdict: int
    since: datetime


class VerdictKeeper:
    """The verdicts of one cell as they stand in the database, and those to be written."""

    def __init__(self, told: dict[int, _Told], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._told = told
        self._clock = clock
        self._noticed: dict[int, float] = {}
        """Jobs with something to tell, by when that was noticed."""
        self._wrote_at = float("-inf")

    @classmethod
    def of(cls, cell_id: int) -> VerdictKeeper:
        """A keeper that knows what the database holds of this cell's waiting jobs."""
        rows = VerdictRecord.objects.filter(job__cell_id=cell_id, job__state="queued").values_list(
            "job_id", "sentence", "since", "reasons"
        )
        told = {
            job: _Told(tuple(reason["code"] for reason in reasons), sentence, since, float("-inf"))
            for job, sentence, since, reasons in rows
        }
        return cls(told)

    @property
    def pending(self) -> bool:
        """Whether something is to be told that was put off; `due` says when it can be."""
        return bool(self._noticed)

    @property
    def due(self) -> bool:
        """Whether what was put off can be written now."""
        now = self._clock()
        return bool(self._noticed) and now - max(self._wrote_at, min(self._noticed.values())) >= MANY_SECONDS

    def started(self, jobs: Iterable[int]) -> None:
        """These wait no longer; apply has removed their verdicts."""
        for job in jobs:
            self._told.pop(job, None)
            self._noticed.pop(job, None)

    def keep(self, verdicts: Sequence[Verdict], now: datetime) -> int:
        """Verdicts that are to be written are written, with hints to browsers. Answers how many.

        `verdicts` are those of a whole decision: a job that is in none of them does not wait.
        """
        due = self._choose(list(self._changed(verdicts, now)))
        if due:
            self._wrote_at = self._clock()
            _write(verdicts, due)
            for one in due:
                reasons = verdicts[one.verdict].reasons
                codes = tuple(reason.code for reason in reasons)
                self._told[one.job] = _Told(codes, reasons[0].sentence(), one.since, self._wrote_at)
                self._noticed.pop(one.job, None)
        return len(due)

    def _changed(self, verdicts: Sequence[Verdict], now: datetime) -> Iterator[_Due]:
        waiting = {job for verdict in verdicts for job in verdict.jobs}
        for gone in [job for job in self._told if job not in waiting]:
            del self._told[gone]
        for gone in [job for job in self._noticed if job not in waiting]:
            del self._noticed[gone]
        before = self._clock() - SENTENCE_SECONDS
        for number, verdict in enumerate(verdicts):
            codes = tuple(reason.code for reason in verdict.reasons)
            sentence = verdict.reasons[0].sentence()
            for job in verdict.jobs:
                told = self._told.get(job)
                if told is None or told.codes != codes:
                    yield _Due(job, number, now)
                elif told.sentence != sentence and told.at <= before:
                    yield _Due(job, number, told.since)
                else:
                    self._noticed.pop(job, None)

    def _choose(self, changed: list[_Due]) -> list[_Due]:
        """All of a few; of many those that have waited, once a second."""
        now = self._clock()
        if len(changed) <= FEW and now - self._wrote_at >= FEW_SECONDS:
            return changed
        for one in changed:
            self._noticed.setdefault(one.job, now)
        if now - self._wrote_at < MANY_SECONDS:
            return []
        return [one for one in changed if now - self._noticed[one.job] >= MANY_SECONDS]


def _write(verdicts: Sequence[Verdict], due: Sequence[_Due]) -> None:
    with transaction.atomic(), prepared_cursor() as cursor:
        written = cursor.execute(
            _WRITE,
            {
                "waits": WAITS,
                "verdicts": _texts(verdicts, {one.verdict for one in due}),
                "jobs": as_rows(
                    [{"job": one.job, "verdict": one.verdict, "since": one.since} for one in due]
                ),
            },
        ).fetchall()
        publish_on_commit(hints=[Hint("verdict", job, version, team) for job, version, team in written])


def _texts(verdicts: Sequence[Verdict], numbers: set[int]) -> str:
    rows: list[dict[str, Any]] = []
    for number in sorted(numbers):
        reasons = [
            {"code": reason.code, "sentence": reason.sentence(), "facts": reason.facts()}
            for reason in verdicts[number].reasons
        ]
        rows.append(
            {
                "verdict": number,
                "code": reasons[0]["code"],
                "sentence": reasons[0]["sentence"],
                "reasons": msgspec.Raw(msgspec.json.encode(reasons)),
            }
        )
    return as_rows(rows)


_WRITE = """
WITH due AS (
    SELECT d.job, d.since, v.code, v.sentence, v.reasons
      FROM json_to_recordset(%(jobs)s::json) AS d (job bigint, verdict int, since timestamptz)
      JOIN json_to_recordset(%(verdicts)s::json) AS v (verdict int, code text, sentence text, reasons jsonb)
     USING (verdict)),
written AS (
    INSERT INTO scheduling_verdict (job_id, since, code, sentence, reasons)
    SELECT due.job, due.since, due.code, due.sentence, due.reasons
      FROM due JOIN jobs_job j ON j.id = due.job AND j.state = %(waits)s ORDER BY due.job
        ON CONFLICT (job_id) DO UPDATE
       SET since = excluded.since, code = excluded.code, sentence = excluded.sentence,
           reasons = excluded.reasons
 RETURNING job_id)
SELECT j.public_id, j.version, t.public_id
  FROM written w JOIN jobs_job j ON j.id = w.job_id JOIN tenancy_team t ON t.id = j.team_id"""
