"""`flexai savings` and `flexai export-history`: what the scheduler saved, and the past that this is worked out from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from flexai.cli import options, output, tables
from flexai.cli.exits import Refusal
from flexai.cli.session import connect
from flexai.cli.spending import HOUR_MS

MWH = 1_000_000
"""Milliwatt-hours of a kilowatt-hour."""

First = Annotated[str | None, typer.Option("--since", "--from", help="First day, such as 2026-03-01.")]
Last = Annotated[str | None, typer.Option("--to", help="Last day; today if left out.")]


def savings(first: First = None, last: Last = None, as_json: options.Json = False) -> None:
    """Show what the scheduler saved in the last 30 days against static whole-chip FIFO, simulated (operators)."""
    with connect() as client:
        told = client.savings(first=first, last=last)
    if as_json:
        output.emit_json(told)
        return
    if not told["days"]:
        output.say("No day was played yet: yesterday is played an hour after midnight, UTC.")
        return
    output.out().print(_table(told))
    for line in _notes(told):
        output.say(line)
    output.say(f"Simulated. {told['method']}", "dim")


def export_history(
    first: First = None,
    last: Last = None,
    to_file: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; standard output if left out.")
    ] = None,
) -> None:
    """Write what ran on chips as a history for `flexai simulate --history` (owners and operators)."""
    with connect() as client:
        text = client.history(first=first, last=last)
    if to_file is None:
        sys.stdout.write(text)
        return
    try:
        to_file.write_text(text)
    except OSError as error:
        raise Refusal(f"{to_file} cannot be written: {error.strerror}.", code="not_written") from error
    output.say(f"{max(0, text.count(chr(10)) - 1)} jobs are in {to_file}.")


def _table(told: dict[str, Any]) -> Any:
    right = ("JOBS", "CHIP-HOURS SAVED", "WAITING AVOIDED", "ENERGY SAVED")
    made = tables.table("DAY", *right, right=right)
    for day in told["days"]:
        if day["problem"]:
            made.add_row(day["day"], Text(output.printable(day["problem"]), style="yellow"), "", "", "")
        else:
            made.add_row(day["day"], *_cells(day))
    made.add_section()
    made.add_row("all", *_cells(told["total"]))
    return tables.fitted(made)


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['jobs']:,}",
        f"{row['chip_ms_saved'] / HOUR_MS:z,.1f}",
        f"{row['wait_ms_avoided'] / HOUR_MS:z,.1f} h",
        f"{row['energy_mwh_saved'] / MWH:z,.2f} kWh",
    ]


def _notes(told: dict[str, Any]) -> list[str]:
    total = told["total"]
    notes = ["How far the waiting may be off was not measured."]
    if total["wait_error_ms"] is not None:
        error = total["wait_error_ms"] / HOUR_MS
        notes = [
            f"Playing Flexai itself, the simulator is off by {error:+z,.1f} h of waiting, "
            f"on {total['wait_error_days']} of {total['days']} days."
        ]
    drawn = total["drawn_mwh"]
    power = "No chip tells its power: the energy is from data sheets."
    if drawn is not None:
        power = (
            f"Chips that tell their power drew {drawn / MWH:z,.2f} kWh; idle power is measured where they do."
        )
    return [*notes, power]
