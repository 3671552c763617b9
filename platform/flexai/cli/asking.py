"""`flexai quota request` and what becomes of it: a team asks for more, whoever may set its quota decides."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from flexai.cli import options, output
from flexai.cli.places import quota as quota
from flexai.cli.references import team_of
from flexai.cli.session import connect
from flexai.cli.tables import fitted, table
from flexai.client.types import AskedFigures, Figures, QuotaRequest

RequestId = Annotated[str, typer.Argument(help="qreq-…", metavar="REQUEST")]
Weight = Annotated[int | None, typer.Option(min=0, help="For what is left over; as it is when left out.")]


@quota.command("request")
def request_quota(
    team: Annotated[str, typer.Argument(help="Name or id.")],
    wanted: Annotated[
        str,
        typer.Argument(
            help="What it would have: H100=4:8 is 4 guaranteed and a limit of 8; :none is no limit; without it the "
            "limit stays.",
            metavar="TYPE=N[:M]",
        ),
    ],
    reason: Annotated[str, typer.Option(help="Whoever decides reads it.")],
    until: Annotated[str | None, typer.Option(help="The last day, such as 2026-03-31 (UTC).")] = None,
    weight: Weight = None,
    cell: Annotated[str | None, typer.Option(help="The first when left out.")] = None,
    as_json: options.Json = False,
) -> None:
    """Ask for more quota of a chip type (maintainers and owners)."""
    chip_type, text = options.pair(wanted, "a quota")
    figures = _figures(text, weight)
    with connect() as client:
        made = client.quota_requests.create(team, chip_type, figures, reason=reason, until=until, cell=cell)
    _tell(made, as_json)


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
    if as_json:
        output.emit_json(found)
    elif found:
        output.out().print(_table(found))
    else:
        output.say("Nobody asked for quota." if every else "No request waits for an answer.")


@quota.command()
def withdraw(request: RequestId, as_json: options.Json = False) -> None:
    """Take a request back."""
    with connect() as client:
        _tell(client.quota_requests.withdraw(request), as_json)


@quota.command()
def approve(
    request: RequestId,
    figures: Annotated[
        str | None, typer.Argument(help="Other figures than those asked for.", metavar="[N[:M]]")
    ] = None,
    weight: Weight = None,
    answer: Annotated[str, typer.Option(help="For the team to read.")] = "",
    as_json: options.Json = False,
) -> None:
    """Grant a request (operators; owners below their top team)."""
    granted = _figures(figures, weight)
    with connect() as client:
        _tell(client.quota_requests.approve(request, granted, answer=answer), as_json)


@quota.command()
def decline(
    request: RequestId,
    reason: Annotated[str, typer.Option(help="For the team to read.")],
    as_json: options.Json = False,
) -> None:
    """Refuse a request (operators; owners below their top team)."""
    with connect() as client:
        _tell(client.quota_requests.decline(request, reason=reason), as_json)


def _figures(text: str | None, weight: int | None) -> AskedFigures:
    figures: AskedFigures = {} if weight is None else {"over_quota_weight": weight}
    if text:
        guaranteed, colon, limit = text.partition(":")
        figures["guaranteed_milli"] = options.milli(guaranteed)
        if colon:
            figures["limit_milli"] = None if limit == "none" else options.milli(limit)
    return figures


def _tell(request: QuotaRequest, as_json: bool) -> None:
    if as_json:
        output.emit_json(request)
        return
    output.out().print(_table([request]))
    for said in (request["answer"], request["note"]):
        if said:
            output.say(output.printable(said))


def _table(requests: list[QuotaRequest]) -> Table:
    made = table(
        "REQUEST", "TEAM", "CHIP", "ASKS FOR", "UNTIL", "STATE", "BY", shrinks=("TEAM", "CHIP", "BY")
    )
    for request in requests:
        made.add_row(
            request["id"],
            Text(output.printable(request["team"]["name"])),
            Text(output.printable(request["chip_type"])),
            _words(request["granted"] or request["asked"]),
            request["until"] or output.NOTHING,
            request["state"],
            Text(output.printable(request["decided_by"] or request["asked_by"])),
        )
    return fitted(made)


def _words(figures: Figures) -> str:
    limit = figures["limit_milli"]
    return f"{output.milli(figures['guaranteed_milli'])}:{'none' if limit is None else output.milli(limit)}"
