"""A decision in few rows, kept with its cycle: what was done to how many jobs, and why how many wait.

However many jobs there are, a summary has a bounded size: kinds of doing and codes of reasons, each with its count
and a few of its jobs. The whole decision is in the recording (X3).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, Final

from scheduler_core.decision import Decision, Rung, Taking, Verdict

NAMED: Final = 5
"""Jobs that are named of each row."""
MOST_CODES: Final = 12
"""Codes of reasons that have a row: those of most jobs."""
SENTENCE_CHARACTERS: Final = 300
_TAKEN: Final = {
    Rung.SHRINK: "shrunk",
    Rung.MOVE: "moved",
    Rung.SUSPEND: "preempted",
    Rung.EVICT: "evicted",
}


def does_anything(decision: Decision) -> bool:
    """Whether it starts, takes, resizes, lends or recalls."""
    return bool(decision.units or decision.relief or decision.resizings or decision.loans or decision.recalls)


def decided_in(decision: Decision) -> list[dict[str, Any]]:
    """[{what, ground, jobs, some: [[job, for whom]]}]: what is done, by what right, to how many jobs, to which of them
    first, and which job gets the chips (0: none).

    `what` is started, promised, shrunk, moved, preempted (with its checkpoint), evicted (without), resized, lent or
    recalled.
    """
    rows = []
    if started := [unit.start.job for unit in decision.units if not unit.takings]:
        some = [(job, 0) for job in started[:NAMED]]
        rows.append({"what": "started", "ground": "", "jobs": len(started), "some": some})
    others: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for what, ground, job, other in _beside_starts(decision):
        others[what, ground].append((job, other))
    return rows + [
        {"what": what, "ground": ground, "jobs": len(jobs), "some": jobs[:NAMED]}
        for (what, ground), jobs in others.items()
    ]


def reasons_in(decision: Decision) -> list[dict[str, Any]]:
    """[{code, sentence, jobs, some: [job]}]: the most blocking reasons of those who wait, with how many wait for each,
    most first; the sentence is that of the largest class with that code."""
    counts: Counter[str] = Counter()
    largest: dict[str, Verdict] = {}
    for verdict in decision.verdicts:
        code = verdict.reasons[0].code
        counts[code] += len(verdict.jobs)
        if code not in largest or len(verdict.jobs) > len(largest[code].jobs):
            largest[code] = verdict
    return [
        {
            "code": code,
            "sentence": largest[code].reasons[0].sentence()[:SENTENCE_CHARACTERS],
            "jobs": jobs,
            "some": largest[code].jobs[:NAMED],
        }
        for code, jobs in counts.most_common(MOST_CODES)
    ]


def _beside_starts(decision: Decision) -> Iterator[tuple[str, str, int, int]]:
    """(what, ground, job, for whom)"""
    for unit in decision.units:
        if unit.takings:
            yield "promised", "", unit.start.job, 0
        for taking in unit.takings:
            yield _taken(taking, unit.start.job)
    for taking in decision.relief:
        yield _taken(taking, 0)
    for resizing in decision.resizings:
        for start in resizing.starts:
            yield "promised", "", start.job, 0
        for resize in resizing.resizes:
            yield "resized", "", resize.job, 0
    for loan in decision.loans:
        yield "lent", "", loan.start.job, 0
    for recall in decision.recalls:
        yield "recalled", recall.ground.value, recall.job, 0


def _taken(taking: Taking, whose: int) -> tuple[str, str, int, int]:
    return _TAKEN[taking.rung], taking.ground.value, taking.job, whose
