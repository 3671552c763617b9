"""`flexai chips`: every chip with its state and to whom it is lent; taking one out of service and back."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from flexai.cli import options, output, tables
from flexai.cli.exits import NOT_FOUND, Refusal
from flexai.cli.references import chips_in_order
from flexai.cli.session import connect
from flexai.client import Client
from flexai.client.types import Chip

chips = typer.Typer(
    help="List chips, or take one out of service and back (operators).", invoke_without_command=True
)

ChipName = Annotated[str, typer.Argument(help="NODE:INDEX, such as node-3:0, or an id.", metavar="CHIP")]


@chips.callback()
def list_chips(
    context: typer.Context,
    lent: Annotated[bool, typer.Option("--lent", help="Only those that are lent, and to whom.")] = False,
    out: Annotated[bool, typer.Option("--out", help="Only those that take no new work, and why.")] = False,
    as_json: options.Json = False,
) -> None:
    """List chips, or take one out of service and back (operators)."""
    if context.invoked_subcommand:
        return
    with connect() as client:
        found = [chip for chip in chips_in_order(client) if _is_wanted(chip, lent=lent, out=out)]
    if as_json:
        output.emit_json(found)
    elif not found:
        output.say("No chip is lent." if lent else "No chip is out of service." if out else "No chips yet.")
    else:
        output.out().print(_lent_table(found) if lent else _table(found))


@chips.command()
def cordon(
    chip: ChipName,
    reason: Annotated[str, typer.Option(help="Kept in the node's history.")],
    as_json: options.Json = False,
) -> None:
    """Start nothing new on a chip, whatever its health is; what runs goes on."""
    with connect() as client:
        _tell(client, chip, as_json, client.chips.cordon(_chip_of(client, chip)["id"], reason=reason))


@chips.command("return")
def restore(
    chip: ChipName,
    reason: Annotated[str, typer.Option(help="Kept in the node's history.")] = "",
    as_json: options.Json = False,
) -> None:
    """Put a chip back into service, also one that was drained; what stands against it drains it anew."""
    with connect() as client:
        _tell(client, chip, as_json, client.chips.restore(_chip_of(client, chip)["id"], reason=reason))


def _is_wanted(chip: Chip, *, lent: bool, out: bool) -> bool:
    return not (lent and not chip.get("guest_milli")) and not (out and chip["healthy"])


def _chip_of(client: Client, reference: str) -> Chip:
    for chip in client.chips.list():
        if reference in (chip["id"], f"{chip.get('node')}:{chip['index']}"):
            return chip
    raise Refusal(
        f"There is no chip {reference!r}.",
        hint="`flexai chips` lists them.",
        exit_code=NOT_FOUND,
        code="not_found",
    )


def _tell(client: Client, reference: str, as_json: bool, node: Any) -> None:
    if as_json:
        output.emit_json(node)
    else:
        output.out().print(_table([_chip_of(client, reference)]))


def _table(found: list[Chip]) -> Table:
    right = ("HEALTH", "HELD", "LENT")
    made = tables.table("CHIP", "TYPE", "STATE", *right, "JOB", "NOTE", right=right)
    for chip in found:
        made.add_row(
            Text(_name(chip)), Text(output.printable(chip["type"])), _state(chip), str(chip["health"]),
            _share(chip["used_milli"]), _share(chip.get("guest_milli", 0)),
            Text(output.printable(chip["job"]["name"] if chip["job"] else "")),
            Text(output.printable(chip["health_note"])),
        )  # fmt: skip
    return tables.fitted(made)


def _lent_table(found: list[Chip]) -> Table:
    made = tables.table("CHIP", "OWNER", "IDLE FOR", "OWNER'S USE", "GUEST", "PART", "FOR", "")
    for chip in found:
        owner = Text(output.printable(chip["job"]["name"] if chip["job"] else output.NOTHING))
        guests = chip.get("guests", [])
        if not guests:
            part = _share(chip.get("guest_milli", 0))
            made.add_row(Text(_name(chip)), owner, "", "", "of another organization", part, "", "")
        for guest in guests:
            made.add_row(
                Text(_name(chip)), owner, _for(guest["owner_idle_since"]),
                output.percent(guest["owner_use_permille"]), Text(output.printable(guest["name"])),
                _share(guest["milli"]), _for(guest["since"]), "halted" if guest["halted_at"] else "",
            )  # fmt: skip
    return tables.fitted(made)


def _name(chip: Chip) -> str:
    return output.printable(f"{chip.get('node', '')}:{chip['index']}")


def _state(chip: Chip) -> Text:
    word = chip.get("state", "in_service")
    if word != "in_service":
        return Text(word, style="yellow")
    return Text("in service") if chip["healthy"] else Text("offline", style="red")


def _share(milli: int) -> str:
    return output.milli(milli) if milli else output.NOTHING


def _for(since: str | None) -> str:
    return output.duration(output.since(since)) if since else output.NOTHING
