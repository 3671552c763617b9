"""`flexai schedule`: what makes jobs by itself, and pausing, resuming and deleting it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from flexai.cli import options, output
from flexai.cli.exits import NOT_FOUND, Refusal
from flexai.cli.session import connect
from flexai.client import Client
from flexai.client.types import Schedule

schedule = typer.Typer(
    help="List schedules (`flexai apply` makes them), pause, resume and delete them.",
    invoke_without_command=True,
)

Name = Annotated[str, typer.Argument(help="Name or id.", metavar="SCHEDULE")]


@schedule.callback()
def list_schedules(context: typer.Context, as_json: options.Json = False) -> None:
    """List schedules (`flexai apply` makes them), pause, resume and delete them."""
    if context.invoked_subcommand:
        return
    with connect() as client:
        found = list(client.schedules.list())
    if as_json:
        output.emit_json(found)
    elif not found:
        output.say("No schedules. `flexai apply` makes one of a spec with `schedule: {cron: …}`.")
    else:
        output.out().print(_table(found))


@schedule.command()
def pause(name: Name, as_json: options.Json = False) -> None:
    """Make no jobs for now; what passes meanwhile is not caught up."""
    with connect() as client:
        tell(client.schedules.pause(_named(client, name)["id"]), as_json)


@schedule.command()
def resume(name: Name, as_json: options.Json = False) -> None:
    """Make jobs again, from the next instant on."""
    with connect() as client:
        tell(client.schedules.resume(_named(client, name)["id"]), as_json)


@schedule.command()
def delete(name: Name) -> None:
    """Make no more jobs; those that were made stay."""
    with connect() as client:
        found = _named(client, name)
        client.schedules.delete(found["id"])
    output.say(f"Deleted {output.printable(found['name'])}.")


def tell(found: Schedule, as_json: bool) -> None:
    """What it does next, in a line."""
    if as_json:
        output.emit_json(found)
        return
    said = "is paused" if found["paused"] else f"makes its next job at {found['next_at']}"
    output.say(f"{output.printable(found['name'])} {said}.")


def _named(client: Client, reference: str) -> Schedule:
    for found in client.schedules.list():
        if reference in (found["id"], found["name"]):
            return found
    raise Refusal(
        f"There is no schedule {reference!r}.",
        hint="`flexai schedule` lists them.",
        exit_code=NOT_FOUND,
        code="not_found",
    )


def _table(found: list[Schedule]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Id", "Name", "Team", "Cron", "Next", "Last job", ""):
        table.add_column(heading)
    for one in found:
        last = one["last_job"]
        table.add_row(
            one["id"],
            output.printable(one["name"]),
            output.printable(one["team"]["name"]),
            f"{one['cron']} {one['timezone']}",
            "paused" if one["paused"] else one["next_at"] or "",
            f"{last['id']} {last['status']}" if last else "",
            output.printable(one["problem"]),
        )
    return table
