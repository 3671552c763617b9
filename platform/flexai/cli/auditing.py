"""`flexai audit`: what was decided in the organization."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from flexai.cli import options, output, tables
from flexai.cli.session import connect
from flexai.client.types import AuditEntry


def audit(
    actor: Annotated[str | None, typer.Option("--actor", help="Only what this user decided.")] = None,
    action: Annotated[
        str | None,
        typer.Option("--action", help="Only this, such as job.stopped, or job for all of its kind."),
    ] = None,
    about: Annotated[
        str | None,
        typer.Option("--object", metavar="ID", help="Only what was decided on this job, team or other."),
    ] = None,
    first: Annotated[
        str | None, typer.Option("--since", "--from", help="First day, such as 2026-03-01.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many.")] = 50,
    as_json: options.Json = False,
) -> None:
    """Show who decided what, from where and why, the newest first (owners and operators)."""
    with connect() as client:
        asked = client.audit(actor=actor, action=action, about=about, first=first, last=last, limit=limit)
        found = list(asked)
    if as_json:
        output.emit_json(found)
    elif not found:
        output.say("Nothing such was decided.")
    else:
        output.out().print(_table(found))


def _table(found: list[AuditEntry]) -> Table:
    made = tables.table("WHEN", "WHO", "FROM", "WHAT", "ON", "WHY", shrinks=("WHY",))
    for one in found:
        words = (one["actor"], one["address"], one["action"], one["object_id"], one["reason"])
        made.add_row(output.ago(one["at"]), *(output.printable(word) or output.NOTHING for word in words))
    return tables.fitted(made)
