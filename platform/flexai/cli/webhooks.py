"""`flexai webhook`: addresses that hear of what happens to jobs."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from flexai.cli import options, output
from flexai.cli.session import connect
from flexai.cli.tables import fitted, table
from flexai.client.types import Delivery, Webhook

webhook = typer.Typer(help="Tell other systems what happens: signed messages, tried again until they arrive.",
                      no_args_is_help=True)  # fmt: skip

ENDS = ("job.succeeded", "job.failed", "job.cancelled", "job.timed_out")

Name = Annotated[str, typer.Argument(help="Name or id.", metavar="WEBHOOK")]
Description = Annotated[str | None, typer.Option(help="What it is for.")]


@webhook.command("list")
def list_webhooks(as_json: options.Json = False) -> None:
    """List the webhooks that you may manage."""
    with connect() as client:
        found = list(client.webhooks.list())
    if as_json:
        output.emit_json(found)
    elif found:
        output.out().print(_table(found))
    else:
        output.say("No webhooks. Make one: flexai webhook create NAME https://…")


@webhook.command()
def create(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, hyphens.")],
    url: Annotated[str, typer.Argument(help="Where messages are posted: https://…")],
    event: Annotated[
        list[str] | None,
        typer.Option(
            help="What it hears of, such as job.started; once for each. The ends of jobs when left out."
        ),
    ] = None,
    only_named: Annotated[
        bool,
        typer.Option("--only-named", help="It hears of jobs that name it in `notify`, and of nothing else."),
    ] = False,
    team: Annotated[
        str | None, typer.Option(help="Of this team and those below it; else of the organization.")
    ] = None,
    description: Description = None,
    as_json: options.Json = False,
) -> None:
    """Make a webhook. Prints its secret, which is shown this once."""
    events = [] if only_named else list(event or ENDS)
    with connect() as client:
        made = client.webhooks.create(name, url, events=events, team=team, description=description or "")
    if as_json:
        output.emit_json(made)
        return
    output.out().print(Text(made["secret"]))
    output.say(f"{name} is made; above is its secret, shown this once. Try it: flexai webhook ping {name}")


@webhook.command()
def show(name: Name, as_json: options.Json = False) -> None:
    """Show one webhook and its last message."""
    with connect() as client:
        found = client.webhooks.get(name)
    if as_json:
        output.emit_json(found)
        return
    last = found["last_delivery"]
    lines = {
        "id": found["id"],
        "name": found["name"],
        "of": f"team {found['team']}" if found["team"] else "the organization",
        "posts to": found["url"],
        "hears of": ", ".join(found["events"]) or "jobs that name it",
        "is": _state(found),
        "last": f"{last['event']}: {last['state']}. {last['answer']}" if last else output.NOTHING,
        "for": found["description"] or output.NOTHING,
    }
    made = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for key, value in lines.items():
        made.add_row(key, Text(output.printable(value)))
    output.out().print(made)


@webhook.command()
def change(
    name: Name,
    url: Annotated[str | None, typer.Option(help="Another address.")] = None,
    event: Annotated[
        list[str] | None, typer.Option(help="What it hears of from now on; once for each.")
    ] = None,
    on: Annotated[bool | None, typer.Option("--on/--off", help="Switch it on or off.")] = None,
    description: Description = None,
    as_json: options.Json = False,
) -> None:
    """Change a webhook, or switch it off and on. Off, what waits to be told is given up."""
    if url is None and not event and on is None and description is None:
        raise typer.BadParameter("Say what shall change: --url, --event, --on, --off or --description.")
    with connect() as client:
        changed = client.webhooks.change(name, url=url, events=event or None, on=on, description=description)
    if as_json:
        output.emit_json(changed)
    else:
        output.say(f"{output.printable(changed['name'])} is {_state(changed)}.")


@webhook.command()
def delete(name: Name) -> None:
    """Remove a webhook, and the record of its messages."""
    with connect() as client:
        client.webhooks.delete(name)
    output.say(f"{name} is removed.")


@webhook.command()
def secret(name: Name, as_json: options.Json = False) -> None:
    """Make a new secret, shown this once; for a day messages are signed with the former one too."""
    with connect() as client:
        made = client.webhooks.rotate_secret(name)
    if as_json:
        output.emit_json({"secret": made})
    else:
        output.out().print(Text(made))


@webhook.command()
def ping(name: Name, as_json: options.Json = False) -> None:
    """Send a test; `deliveries` shows what came of it."""
    with connect() as client:
        sent = client.webhooks.ping(name)
    if as_json:
        output.emit_json(sent)
    else:
        output.say(f"{sent['id']} is on its way. What came of it: flexai webhook deliveries {name}")


@webhook.command()
def deliveries(
    name: Name,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="So many, newest first.")] = 20,
    as_json: options.Json = False,
) -> None:
    """List what a webhook was told, newest first."""
    with connect() as client:
        found = list(islice(client.webhooks.deliveries(name), limit))
    if as_json:
        output.emit_json(found)
    elif found:
        output.out().print(_deliveries_table(found))
    else:
        output.say("Nothing was told yet.")


@webhook.command()
def redeliver(
    name: Name,
    message: Annotated[str, typer.Argument(help="msg-…, as `deliveries` shows it.", metavar="MESSAGE")],
    as_json: options.Json = False,
) -> None:
    """Try a message anew that was delivered or given up; its id stays."""
    with connect() as client:
        sent = client.webhooks.redeliver(name, message)
    if as_json:
        output.emit_json(sent)
    else:
        output.say(f"{sent['id']} is on its way.")


def _state(found: Webhook) -> str:
    if not found["on"]:
        return f"off. {found['off_because']}".strip()
    return f"failing, since {output.ago(found['failing_since'])}" if found["failing_since"] else "on"


def _table(found: list[Webhook]) -> Table:
    made = table(
        "WEBHOOK", "OF", "POSTS TO", "EVENTS", "STATE", "LAST", shrinks=("POSTS TO", "EVENTS", "STATE")
    )
    for one in found:
        last = one["last_delivery"]
        made.add_row(
            Text(output.printable(one["name"])),
            Text(output.printable(one["team"] or "organization")),
            Text(output.printable(one["url"])),
            Text(", ".join(one["events"]) or "as named"),
            Text(output.printable(_state(one))),
            f"{last['state']} {output.ago(last['at'])}" if last else output.NOTHING,
        )
    return fitted(made)


def _deliveries_table(found: list[Delivery]) -> Table:
    made = table(
        "MESSAGE", "EVENT", "WHEN", "STATE", "TRIES", "ANSWER", right=("TRIES",), shrinks=("ANSWER",)
    )
    for one in found:
        made.add_row(
            one["id"], one["event"], output.ago(one["at"]), one["state"], str(one["tries"]),
            Text(output.printable(one["answer"])),
        )  # fmt: skip
    return fitted(made)
