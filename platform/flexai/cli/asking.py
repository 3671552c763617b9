"""`flexai quota request` and what becomes of it: a team asks for more quota or budget, whoever may set it decides."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from flexai.cli import options, output
from flexai.cli.places import quota as quota
from flexai.cli.references import team_of
from flexai.cli.session import connect
from flexai.cli.tables import fitted, table
from flexai.client import Client
from flexai.client.types import AskedBudget, AskedFigures, BudgetFigures, Figures, QuotaRequest

RequestId = Annotated[str, typer.Argument(help="qreq-…", metavar="REQUEST")]
Weight = Annotated[int | None, typer.Option(min=0, help="For what is left over; as it is when left out.")]
Hours = Annotated[
    str | None, typer.Option(metavar="N|none", help="Of the budget; none: money alone bounds it.")
]
Money = Annotated[
    str | None, typer.Option(metavar="N|none", help="Of the budget; none: chip-hours alone bound it.")
]
MICRO = 1_000_000


@quota.command("request")
def request_quota(
    team: Annotated[str, typer.Argument(help="Name or id.")],
    wanted: Annotated[
        str | None,
        typer.Argument(
            help="What it would have: H100=4:8 is 4 guaranteed and a limit of 8; :none is no limit; without it the "
            "limit stays.",
            metavar="[TYPE=N[:M]]",
        ),
    ] = None,
    *,
    reason: Annotated[str, typer.Option(help="Whoever decides reads it.")],
    until: Annotated[str | None, typer.Option(help="The last day, such as 2026-03-31 (UTC).")] = None,
    weight: Weight = None,
    chip_hours: Hours = None,
    money: Money = None,
    cell: Annotated[str | None, typer.Option(help="The first when left out.")] = None,
    as_json: options.Json = False,
) -> None:
    """Ask for more quota of a chip type, or for more budget: --chip-hours, --money (maintainers and owners)."""
    budget = _budget(chip_hours, money)
    if (wanted is None) == (not budget):
        raise typer.BadParameter(
            "Give either TYPE=N[:M] for a quota, or --chip-hours or --money for a budget."
        )
    with connect() as client:
        if wanted is None:
            made = client.quota_requests.create_for_budget(team, budget, reason=reason, until=until)
        else:
            chip_type, text = options.pair(wanted, "a quota")
            figures = _figures(text, weight)
            made = client.quota_requests.create(
                team, chip_type, figures, reason=reason, until=until, cell=cell
            )
        _tell(client, made, as_json)


@quota.command("requests")
def list_requests(
    team: Annotated[str | None, typer.Option(help="Only this team's.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that were decided too.")] = False,
    as_json: options.Json = False,
) -> None:
    """List what teams ask for."""
    with connect() as client:
        asking = team_of(client, team)["id"] if team else None
        found = list(client.quota_requests.list(team=asking, state=None if every else "open"))
        currency = "" if as_json else _currency(client, found)
    if as_json:
        output.emit_json(found)
    elif found:
        output.out().print(_table(found, currency))
    else:
        output.say("Nobody asked for quota or budget." if every else "No request waits for an answer.")


@quota.command()
def withdraw(request: RequestId, as_json: options.Json = False) -> None:
    """Take a request back."""
    with connect() as client:
        _tell(client, client.quota_requests.withdraw(request), as_json)


@quota.command()
def approve(
    request: RequestId,
    figures: Annotated[
        str | None, typer.Argument(help="Other figures than those asked for.", metavar="[N[:M]]")
    ] = None,
    weight: Weight = None,
    chip_hours: Hours = None,
    money: Money = None,
    answer: Annotated[str, typer.Option(help="For the team to read.")] = "",
    as_json: options.Json = False,
) -> None:
    """Grant a request (operators; owners below their top team)."""
    granted: AskedFigures | AskedBudget = _budget(chip_hours, money) or _figures(figures, weight)
    with connect() as client:
        _tell(client, client.quota_requests.approve(request, granted, answer=answer), as_json)


@quota.command()
def decline(
    request: RequestId,
    reason: Annotated[str, typer.Option(help="For the team to read.")],
    as_json: options.Json = False,
) -> None:
    """Refuse a request (operators; owners below their top team)."""
    with connect() as client:
        _tell(client, client.quota_requests.decline(request, reason=reason), as_json)


def _figures(text: str | None, weight: int | None) -> AskedFigures:
    figures: AskedFigures = {} if weight is None else {"over_quota_weight": weight}
    if text:
        guaranteed, colon, limit = text.partition(":")
        figures["guaranteed_milli"] = options.milli(guaranteed)
        if colon:
            figures["limit_milli"] = None if limit == "none" else options.milli(limit)
    return figures


def _budget(chip_hours: str | None, money: str | None) -> AskedBudget:
    figures: AskedBudget = {}
    if chip_hours is not None:
        figures["chip_hours"] = _amount(chip_hours, "a number of chip-hours", 1)
    if money is not None:
        figures["money_micro"] = _amount(money, "an amount of money", MICRO)
    return figures


def _amount(text: str, what: str, parts: int) -> int | None:
    if text == "none":
        return None
    try:
        value = Decimal(text) * parts
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not {what}.") from None
    if not value.is_finite() or value < 0 or value != value.to_integral_value():
        raise typer.BadParameter(f"{text!r} is not {what}.")
    return int(value)


def _tell(client: Client, request: QuotaRequest, as_json: bool) -> None:
    if as_json:
        output.emit_json(request)
        return
    output.out().print(_table([request], _currency(client, [request])))
    for said in (request["answer"], request["note"]):
        if said:
            output.say(output.printable(said))


def _currency(client: Client, requests: list[QuotaRequest]) -> str:
    """What their amounts are in; asked for where one of them has an amount."""
    amounts = (_figures_of(request).get("money_micro") for request in requests)
    return output.printable(client.me()["currency"]) if any(one is not None for one in amounts) else ""


def _figures_of(request: QuotaRequest) -> Figures | BudgetFigures:
    return request["granted"] or request["asked"]


def _table(requests: list[QuotaRequest], currency: str) -> Table:
    made = table("REQUEST", "TEAM", "OF", "ASKS FOR", "UNTIL", "STATE", "BY", shrinks=("TEAM", "OF", "BY"))
    for request in requests:
        made.add_row(
            request["id"],
            Text(output.printable(request["team"]["name"])),
            Text(output.printable(request["chip_type"] or "budget")),
            Text(_words(_figures_of(request), currency)),
            request["until"] or output.NOTHING,
            request["state"],
            Text(output.printable(request["decided_by"] or request["asked_by"])),
        )
    return fitted(made)


def _words(figures: Figures | BudgetFigures, currency: str) -> str:
    if "chip_hours" in figures:
        hours, money = figures["chip_hours"], figures["money_micro"]
        parts = [] if hours is None else [f"{hours} h"]
        return ", ".join([*parts, *([] if money is None else [f"{Decimal(money) / MICRO:,.2f} {currency}"])])
    limit = figures["limit_milli"]
    return f"{output.milli(figures['guaranteed_milli'])}:{'none' if limit is None else output.milli(limit)}"
