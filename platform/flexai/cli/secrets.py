"""`flexai secrets`: what a team keeps for its jobs. A value is never an argument: others see those."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from flexai.cli import options, output
from flexai.cli.references import team_of
from flexai.cli.session import connect
from flexai.cli.tables import fitted, table
from flexai.client import Client
from flexai.client.types import Team, TeamSecret

secrets = typer.Typer(
    help="Keep tokens and passwords that jobs name and nobody is shown.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="Letters, digits and _, such as HF_TOKEN.", metavar="NAME")]
OfTeam = Annotated[
    str | None,
    typer.Option("--team", "-t", envvar="FLEXAI_TEAM", help="Name or id; your only team when left out."),
]


@secrets.command("ls")
def list_secrets(team: OfTeam = None, as_json: options.Json = False) -> None:
    """List what jobs of a team may name: its own secrets and those of the teams above it. Values are not shown."""
    with connect() as client:
        place = _team(client, team)
        found = sorted(client.secrets.list(place["id"]), key=lambda one: one["name"])
    if as_json:
        output.emit_json(found)
    elif found:
        output.out().print(_table(found))
    else:
        output.say(
            f"Team {place['name']} has no secrets. Set one: flexai secrets set NAME --team {place['name']}"
        )


@secrets.command("set")
def set_secret(
    name: Name,
    team: OfTeam = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            exists=True,
            dir_okay=False,
            help="Whose text is the value, its last line end included.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Set a secret, or replace its value: of a file, of standard input, or asked for without showing it. Attempts
    that start from now on have it."""
    value = _value(name, file)
    with connect() as client:
        made = client.secrets.set(_team(client, team)["id"], name, value)
    if as_json:
        output.emit_json(made)
    else:
        output.say(f"{name} of team {made['team']} is set. A job has it with `secrets: [{name}]`.")


@secrets.command("rm")
def remove_secret(name: Name, team: OfTeam = None) -> None:
    """Remove a secret. What runs keeps it; what would start with it fails, and says so."""
    with connect() as client:
        place = _team(client, team)
        client.secrets.remove(place["id"], name)
    output.say(f"{name} of team {place['name']} is removed.")


def _team(client: Client, named: str | None) -> Team:
    if named is not None:
        return team_of(client, named)
    teams = list(client.teams.list())
    if len(teams) == 1:
        return teams[0]
    known = ", ".join(output.printable(team["name"]) for team in teams[:10]) or "none"
    raise typer.BadParameter(f"Say which team's: --team, one of {known}.")


def _value(name: str, file: Path | None) -> str:
    """The line end that `echo` and an editor leave is no part of a value that is piped in; a file is as it is."""
    try:
        if file is not None:
            return file.read_bytes().decode()
        if sys.stdin.isatty():
            return str(typer.prompt(f"Value of {name}", hide_input=True, err=True))
        return sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise typer.BadParameter(
            "The value is not UTF-8 text; encode it first, with base64 for one."
        ) from None


def _table(found: list[TeamSecret]) -> Table:
    made = table("NAME", "TEAM", "SET BY", "SET", "LAST USED", shrinks=("SET BY",))
    for one in found:
        made.add_row(
            one["name"], one["team"], Text(output.printable(one["set_by"])), output.ago(one["set_at"]),
            output.ago(one["used_at"]),
        )  # fmt: skip
    return fitted(made)
