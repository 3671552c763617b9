"""`flexai replay`: recorded cycles decided again, and why a job was not started in one of them (X3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, TypedDict

import typer
from rich.console import Console
from rich.table import Table

from scheduler_core.explain import explain
from scheduler_core.model import Job, Snapshot
from scheduler_core.policy import Policy
from scheduler_core.recording import BadRecording, Recording, Replayed, load
from scheduler_core.recording import replay as decide_again

UNREADABLE, DIFFERENT, NOT_THERE = 2, 1, 3
"""Exit codes: no recording; a cycle was decided differently; the job waits in none of the cycles."""


class Answer(TypedDict):
    """Why one job waited in one cycle."""

    now: int
    job: str
    id: int
    position: int
    sentences: list[str]


def replay(
    file: Annotated[Path, typer.Argument(help="A recording of scheduler cycles.", dir_okay=False)],
    why: Annotated[str, typer.Option(help="A job, by id or name: why it waited.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on the last line.")] = False,
) -> None:
    """Decide recorded cycles again, bit for bit, and ask why a job waited.

    Exit code 0: every cycle is as recorded. 1: one is not. 2: no readable recording. 3: no such waiting job.
    """
    console = Console(stderr=as_json)
    try:
        recording = load(file.read_bytes())
    except (OSError, BadRecording) as error:
        console.print(f"{file}: {error}", style="red", markup=False)
        raise typer.Exit(UNREADABLE) from error
    cycles = list(decide_again(recording))
    _show(console, cycles)
    answers = _answers(recording, cycles, why) if why else []
    for answer in answers:
        console.print(f"[{answer['now']}] {answer['job']}: {' '.join(answer['sentences'])}", markup=False)
    different = sum(not cycle.same for cycle in cycles)
    if as_json:
        print(json.dumps({"cycles": len(cycles), "different": different, "why": answers}))
    if why and not answers:
        console.print(f"No job {why!r} waits in these cycles.", style="red", markup=False)
        raise typer.Exit(NOT_THERE)
    if different:
        raise typer.Exit(DIFFERENT)


def _show(console: Console, cycles: list[Replayed]) -> None:
    table = Table("cycle", "starts", "waiting", "nodes", "as recorded")
    for cycle in cycles:
        waiting = sum(len(verdict.jobs) for verdict in cycle.decision.verdicts)
        same = "yes" if cycle.same else "[red]no[/red]"
        table.add_row(
            f"{cycle.now}", f"{len(cycle.decision.units)}", f"{waiting}", f"{len(cycle.snapshot.nodes)}", same
        )
    console.print(table)


def _answers(recording: Recording, cycles: list[Replayed], why: str) -> list[Answer]:
    """One answer for each cycle in which the job waits or is started."""
    found = []
    for cycle in cycles:
        for job in cycle.snapshot.jobs:
            if why in (f"{job.id}", job.name):
                found.append(_answer(recording.policy, cycle.snapshot, job))
    return found


def _answer(policy: Policy, snapshot: Snapshot, job: Job) -> Answer:
    told = explain(snapshot, policy, job.id)
    sentences = [reason.sentence() for reason in told.reasons] or ["It is started in this cycle."]
    sentences += [change.sentence for change in told.would_start]
    return {
        "now": snapshot.now,
        "job": job.name,
        "id": job.id,
        "position": told.position,
        "sentences": sentences,
    }
