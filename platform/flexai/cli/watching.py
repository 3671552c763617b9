"""`flexai ps`, `logs`, `explain`, `top`: look, and keep looking."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from flexai.cli import options, output, tables
from flexai.cli.announcing import announce
from flexai.cli.exits import USAGE, Refusal
from flexai.cli.references import chips_in_order, job_id_of
from flexai.cli.session import connect
from flexai.client import Client
from flexai.client.types import Explanation, Forecast, Job, Progress

WATCH_SECONDS = 1.0
_ORDER = (
    *("running", "starting", "stopping", "cancelling", "unreachable", "queued", "held", "suspended"),
    *("succeeded", "failed", "timed_out", "cancelled"),
)


def ps(
    status: Annotated[
        list[str] | None, typer.Option("--status", "-s", help="Only these. Repeatable.")
    ] = None,
    team: Annotated[str | None, typer.Option(help="Only this team.")] = None,
    user: Annotated[str | None, typer.Option(help="Only this user.")] = None,
    name: Annotated[str | None, typer.Option(help="Only jobs of this name.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="K=V. Repeatable.")] = None,
    job_set: Annotated[str | None, typer.Option("--set", help="Only the jobs of this array.")] = None,
    search: Annotated[str | None, typer.Option("--search", "-q", help="Text in the name.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many, newest first.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="No limit.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Keep the table up to date until Ctrl-C.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """List jobs, newest first."""
    statuses = [word for item in status or [] for word in item.split(",")]
    labels = dict(options.pair(item, "a label") for item in label or [])
    with connect() as client:
        if not as_json:
            announce(client)

        def page() -> list[Job]:
            found = client.jobs.list(
                status=statuses,
                team=team,
                user=user,
                name=name,
                labels=labels,
                set_id=job_set,
                search=search,
                limit=None if everything else limit,
            )
            return list(found)

        if as_json:
            _refuse_json_watch(watch)
            output.emit_json(page())
        elif watch:
            _keep_showing(lambda: Group(tables.jobs_table(page()[: _rows()]), _counts(client)))
        else:
            _show_jobs(page(), filtered=bool(statuses or team or user or name or labels or job_set or search))


def logs(
    job: Annotated[str, typer.Argument(help="Id or name.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the job has ended.")] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="An earlier attempt.")] = None,
    replica: Annotated[int, typer.Option(min=0, help="Replica of a gang.")] = 0,
    tail: Annotated[int | None, typer.Option("--tail-bytes", min=1, help="Only the last bytes.")] = None,
    as_json: options.Json = False,
) -> None:
    """Print a job's log. With --json: one object a piece, with attempt and offsets in bytes."""
    with connect() as client:
        job_id = job_id_of(client, job)
        pieces = client.jobs.log_pieces(
            job_id, follow=follow, attempt=attempt, replica=replica, tail_bytes=tail
        )
        for piece in pieces:
            if as_json:
                fields = ("attempt", "replica", "offset", "next_offset", "text")
                output.emit_json({field: getattr(piece, field) for field in fields})
            else:
                output.write_log(piece.text)


def explain(
    job: Annotated[str, typer.Argument(help="Id or name.")],
    as_json: options.Json = False,
) -> None:
    """Say why a job is where it is, what it says of itself, and what has happened to it."""
    with connect() as client:
        job_id = job_id_of(client, job)
        answer, shown = client.jobs.explain(job_id), client.jobs.get(job_id)
        events = list(client.jobs.events(job_id))
    if as_json:
        output.emit_json(
            {**answer, "progress": shown["progress"], "advice": shown.get("advice", []), "events": events}
        )
        return
    output.out().print(_explained(answer))
    if shown["progress"]:
        output.out().print(Text(_said(shown["progress"])))
    for one in shown.get("advice", []):
        output.out().print(Text(f"  Next time: {output.printable(one['sentence'])}"))
    if events:
        output.out().print(tables.events_table(sorted(events, key=lambda event: event["id"])))


def top(
    once: Annotated[bool, typer.Option("--once", help="Print it once.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show every chip live: use, memory, temperature, power, and whose job it runs."""
    with connect() as client:
        if as_json:
            output.emit_json(chips_in_order(client))
        elif once or not sys.stdout.isatty():
            output.out().print(_figures(client), tables.chips_table(chips_in_order(client)), sep="\n")
        else:
            _keep_showing(
                lambda: Group(_figures(client), tables.chips_table(chips_in_order(client), rows=_rows()))
            )


def _show_jobs(jobs: list[Job], *, filtered: bool) -> None:
    if jobs:
        output.out().print(tables.jobs_table(jobs))
    elif filtered:
        output.say("No job fits this filter.")
    else:
        output.say("No jobs yet. Submit one: flexai run -- echo hello")


def _keep_showing(picture: Callable[[], RenderableType]) -> None:
    """The picture is drawn anew every second until Ctrl-C, which ends the command without error."""
    try:
        with Live(picture(), console=output.out(), auto_refresh=False, transient=False) as live:
            while True:
                time.sleep(WATCH_SECONDS)
                live.update(picture(), refresh=True)
    except KeyboardInterrupt:
        return


def _rows() -> int:
    """Lines that a table has in this window."""
    return max(3, output.out().height - 6)


def _counts(client: Client) -> Text:
    counts = client.jobs.counts()
    parts = [output.status_text(word, word=f"{counts[word]} {word}") for word in _ORDER if counts.get(word)]
    return Text("   ").join(parts)


def _figures(client: Client) -> Text:
    summary = client.cluster.summary()
    chips, nodes = summary["chips"], summary["nodes"]
    return Text.assemble(
        (f"{nodes['ready']}/{nodes['total']} nodes ready", "bold"),
        f"   {output.milli(chips['allocated_milli'])}/{chips['total']} chips allocated",
        f"   {chips['busy']} busy {chips['idle']} idle {chips['offline']} offline",
        f"   use {output.percent(chips['mean_use_permille'])}",
    )


def _explained(answer: Explanation) -> Text:
    text = output.status_text(answer["status"])
    text.append(f"  {output.printable(answer['sentence'])}\n", style="default")
    if answer["queue_position"]:
        text.append(f"  Place {answer['queue_position']} in the queue", style="default")
        text.append(f", waiting {output.duration(output.since(answer['since']))}.\n", style="default")
    if answer["forecast"]:
        text.append(f"  {_expected(answer['forecast'])}\n", style="default")
    for reason in answer["reasons"]:
        if reason["sentence"] != answer["sentence"]:
            text.append(f"  • {output.printable(reason['sentence'])}\n", style="default")
    return text


def _said(progress: Progress) -> str:
    """What the job says of itself, in one line; what was refused in another."""
    words = [f"{name} {progress[name]:g}" for name in ("loss", "throughput") if progress[name] is not None]
    if progress["step"] is not None:
        words.insert(0, f"step {progress['step']:,}")
    if progress["saved_at"] is not None:
        step = "" if progress["saved_step"] is None else f" at step {progress['saved_step']:,}"
        words.append(f"checkpoint saved{step} {output.ago(progress['saved_at'])}")
    lines = [f"  It says: {', '.join(words)} ({output.ago(progress['at'])})."] if words else []
    if progress["problem"]:
        lines.append(f"  Of what it says was refused: {output.printable(progress['problem'])}")
    return "\n".join(lines)


def _expected(forecast: Forecast) -> str:
    """In how long it is likely to start; what should have been already is now."""
    soon, late = (
        output.duration(max(0, -(output.since(at) or 0))) for at in (forecast["p50"], forecast["p90"])
    )
    return f"Expected to start in {soon}; in nine cases of ten within {late}."


def _refuse_json_watch(watch: bool) -> None:
    if watch:
        raise Refusal("--watch draws a table: use it without --json.", exit_code=USAGE, code="usage")
