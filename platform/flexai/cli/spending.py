"""`flexai usage`: what was used, and what it cost."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from flexai.cli import options, output, tables
from flexai.cli.session import connect

HOUR_MS = 3_600_000
KWH_MJ = 3_600_000_000


def usage(
    by: Annotated[
        str, typer.Option(help="Up to three of team, user, chip_type, day, label:KEY, with commas between.")
    ] = "team",
    first: Annotated[str | None, typer.Option("--from", help="First day, such as 2026-03-01.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day; today if left out.")] = None,
    team: Annotated[str | None, typer.Option(help="Name or id; with the teams below it.")] = None,
    as_json: options.Json = False,
) -> None:
    """Show chip-hours, energy and cost of the last 30 days, or of the days you name."""
    with connect() as client:
        told = client.usage(by=by, first=first, last=last, team=team)
    if as_json:
        output.emit_json(told)
        return
    output.out().print(_table(told))
    output.say(
        f"{told['from']} to {told['to']}, days in UTC; starting and stopping count, borrowed chips do not."
        " KWH is what chips drew that tell their power; ≥: others do not, or what runs has not ended."
    )


def _table(told: dict[str, Any]) -> Any:
    parts = list(told["by"])
    money = f"COST {output.printable(told['currency'])}"
    right = ("CHIP-HOURS", "BORROWED", "IN USE", "KWH", money)
    made = tables.table(
        *(output.printable(part.upper()) for part in parts), "ATTEMPTS", *right, right=("ATTEMPTS", *right)
    )
    for row in told["rows"]:
        made.add_row(*(Text(output.printable(row[part] or output.NOTHING)) for part in parts), *_cells(row))
    if parts:
        made.add_section()
    made.add_row(*(["all"] + [""] * (len(parts) - 1) if parts else []), *_cells(told["total"]))
    return tables.fitted(made)


def _cells(row: dict[str, Any]) -> list[str]:
    in_use = f"{row['used_ms'] * 100 // row['measured_ms']} %" if row["measured_ms"] else output.NOTHING
    return [
        str(row["attempts"]), _hours(row["chip_ms"]), _hours(row["borrowed_ms"]), in_use, _energy(row),
        f"{row['cost_micro'] / 1_000_000:,.2f}",
    ]  # fmt: skip


def _energy(row: dict[str, Any]) -> str:
    """With ≥ where it is known of a part only, and nothing where of none."""
    if row["energy_mj"] is None:
        return output.NOTHING
    part = "≥ " if row["metered_ms"] < row["chip_ms"] + row["borrowed_ms"] else ""
    return f"{part}{row['energy_mj'] / KWH_MJ:,.2f}"


def _hours(chip_ms: int) -> str:
    return f"{chip_ms / HOUR_MS:,.2f}"
