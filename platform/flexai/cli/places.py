"""`flexai nodes` and `flexai quota`: the machines, and what teams are promised of them."""

from __future__ import annotations

from typing import Annotated

import typer

from flexai.cli import options, output, tables
from flexai.cli.references import node_of, team_of
from flexai.cli.session import connect
from flexai.client import Client
from flexai.client.types import Node, Quota

nodes = typer.Typer(
    help="List nodes, or take one out of service and back (operators).", invoke_without_command=True
)
quota = typer.Typer(
    help="Show what teams are promised and use, ask for more, or change it (owners below their top team, operators).",
    invoke_without_command=True,
)

NAMED = 8
"""Nodes whose names one line tells."""

NodeName = Annotated[str, typer.Argument(help="Name or id.", metavar="NODE")]


@nodes.callback()
def list_nodes(context: typer.Context, as_json: options.Json = False) -> None:
    """List nodes, or take one out of service and back (operators)."""
    if context.invoked_subcommand:
        return
    with connect() as client:
        found = list(client.nodes.list())
    if as_json:
        output.emit_json(found)
        return
    if not found:
        output.say("No nodes yet. `flexai agent` makes a machine a node.")
        return
    output.out().print(tables.nodes_table(found))
    running = [node for node in found if node["images"]]
    if len(running) < len(found):
        output.say(f"Jobs with an image run on {len(running)} of {len(found)} nodes{_names(running)}.", "dim")
    for node in found:
        if node["trust"] != "separate_users" and not node["simulated"]:
            output.say(
                f"{output.printable(node['name'])} runs all jobs as one user: it is one trust domain.", "dim"
            )


def _names(found: list[Node]) -> str:
    """Which they are, where they are few."""
    names = [output.printable(node["name"]) for node in found]
    return f": {', '.join(names)}" if 0 < len(names) <= NAMED else ""


@nodes.command()
def cordon(node: NodeName, as_json: options.Json = False) -> None:
    """Start nothing new there; what runs goes on."""
    with connect() as client:
        _tell_node(client.nodes.cordon(node_of(client, node)["id"]), as_json)


@nodes.command()
def drain(
    node: NodeName,
    reason: Annotated[str, typer.Option(help="Kept in the node's history.")],
    as_json: options.Json = False,
) -> None:
    """Take a node out of service; what runs may finish."""
    with connect() as client:
        _tell_node(client.nodes.drain(node_of(client, node)["id"], reason=reason), as_json)


@nodes.command("return")
def restore(node: NodeName, as_json: options.Json = False) -> None:
    """Put a node back into service."""
    with connect() as client:
        _tell_node(client.nodes.restore(node_of(client, node)["id"]), as_json)


@nodes.command()
def revoke(
    node: NodeName,
    reason: Annotated[str, typer.Option(help="Kept in the audit log.")],
    as_json: options.Json = False,
) -> None:
    """Refuse its agent for good: the machine was lost, or somebody took it over."""
    with connect() as client:
        _tell_node(client.nodes.revoke_credential(node_of(client, node)["id"], reason=reason), as_json)


@quota.callback()
def show_quotas(
    context: typer.Context,
    team: Annotated[str | None, typer.Option(help="Only this team.")] = None,
    as_json: options.Json = False,
) -> None:
    """Show what teams are promised and use, ask for more, or change it (owners below their top team, operators)."""
    if context.invoked_subcommand:
        return
    with connect() as client:
        teams = [client.teams.get(team_of(client, team)["id"])] if team else list(client.teams.list())
    if as_json:
        output.emit_json(teams)
    elif teams:
        output.out().print(tables.quotas_table(teams))
    else:
        output.say("You are in no team yet.")


@quota.command("set")
def set_quota(
    team: Annotated[str, typer.Argument(help="Name or id.")],
    promises: Annotated[
        list[str],
        typer.Argument(
            help="H100=4:8 guarantees 4 and limits to 8; without :8 no limit.", metavar="TYPE=N[:M]..."
        ),
    ],
    as_json: options.Json = False,
) -> None:
    """Change a team's quota of chip types; the others stay as they are."""
    wanted = [_promise(text) for text in promises]
    with connect() as client:
        answer = client.quotas.set(team_of(client, team)["id"], _merged(client, team, wanted))
    if as_json:
        output.emit_json(answer)
    else:
        output.out().print(tables.quotas_table([answer]))


def _merged(client: Client, team: str, wanted: list[Quota]) -> list[Quota]:
    known = {quota["chip_type"]: quota for quota in client.quotas.of(team_of(client, team)["id"])}
    for quota in wanted:
        known[quota["chip_type"]] = {**known.get(quota["chip_type"], {}), **quota}  # type: ignore[typeddict-item]
    return list(known.values())


def _promise(text: str) -> Quota:
    chip_type, figures = options.pair(text, "a quota")
    guaranteed, colon, limit = figures.partition(":")
    return {
        "chip_type": chip_type,
        "guaranteed_milli": options.milli(guaranteed),
        "limit_milli": options.milli(limit) if colon else None,
    }


def _tell_node(node: Node, as_json: bool) -> None:
    if as_json:
        output.emit_json(node)
    else:
        output.out().print(tables.nodes_table([node]))
