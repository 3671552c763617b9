"""`flexai trust`: pipelines that act without a secret."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from flexai.cli import options, output
from flexai.cli.session import connect
from flexai.cli.tables import fitted, table
from flexai.client.types import TrustRule

trust = typer.Typer(help="Let pipelines act without a secret, by the identity that their CI system gives them.",
                    no_args_is_help=True)  # fmt: skip

ISSUERS = {"github": "https://token.actions.githubusercontent.com", "gitlab": "https://gitlab.com"}


@trust.command("list")
def list_rules(as_json: options.Json = False) -> None:
    """List whose identities are trusted, and as which service account."""
    with connect() as client:
        found = list(client.trust.list())
    if as_json:
        output.emit_json(found)
    elif found:
        output.out().print(_table(found))
    else:
        output.say(
            "No trust rules. Make one: flexai trust add NAME --account ci --issuer github --claim repository=…"
        )


@trust.command("add")
def add_rule(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    account: Annotated[str, typer.Option(help="The service account that the pipelines act as.")],
    issuer: Annotated[str, typer.Option(help="github, gitlab, or the address of another issuer.")],
    claim: Annotated[
        list[str],
        typer.Option(help="CLAIM=PATTERN; a star stands for any text. One of each claim has to fit."),
    ],
    audience: Annotated[str | None, typer.Option(help="The rule's own id when left out.")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="They may look and change nothing.")] = False,
    minutes: Annotated[int, typer.Option(min=5, max=1440, help="How long their tokens live.")] = 60,
    as_json: options.Json = False,
) -> None:
    """Trust the pipelines that these claims describe."""
    claims: dict[str, list[str]] = {}
    for text in claim:
        key, pattern = options.pair(text, "a claim")
        claims.setdefault(key, []).append(pattern)
    with connect() as client:
        made = client.trust.create(
            account,
            name,
            issuer=ISSUERS.get(issuer, issuer),
            claims=claims,
            scopes=["read"] if read_only else ["read", "write"],
            audience=audience,
            expires_in_minutes=minutes,
        )
    if as_json:
        output.emit_json(made)
    else:
        output.out().print(Text(made["id"]))
        output.say(f"In the pipeline: flexai login URL --oidc --rule {made['id']}")


@trust.command("remove")
def remove_rule(rule: Annotated[str, typer.Argument(help="trust-…", metavar="RULE")]) -> None:
    """Trust them no more; the tokens that the rule gave are refused from now on."""
    with connect() as client:
        client.trust.remove(rule)
    output.say(f"{rule} is removed.")


def _table(rules: list[TrustRule]) -> Table:
    made = table("RULE", "NAME", "ACCOUNT", "ISSUER", "CLAIMS", "LAST USED", shrinks=("ISSUER", "CLAIMS"))
    for rule in rules:
        claims = ", ".join(
            f"{key}={' or '.join(patterns)}" for key, patterns in sorted(rule["claims"].items())
        )
        made.add_row(
            rule["id"],
            Text(output.printable(rule["name"])),
            rule["account"],
            Text(output.printable(rule["issuer"])),
            Text(output.printable(claims)),
            output.ago(rule["last_used_at"]),
        )
    return fitted(made)
