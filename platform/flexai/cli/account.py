"""`flexai login`, `logout`, `token`, `version`: who you are."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from functools import partial
from typing import Annotated, Any

import typer
from rich.text import Text

from flexai import __version__
from flexai.cli import options, output, session, tables
from flexai.cli.announcing import announce
from flexai.cli.browser import sign_in_by_browser
from flexai.cli.exits import USAGE, Refusal
from flexai.cli.identity import identity_of_pipeline
from flexai.client import Client, FlexaiError, Unauthenticated, create_token_with_password, exchange_identity

VERSION_TIMEOUT_SECONDS = 3.0

token = typer.Typer(help="Create, list and revoke your tokens.", no_args_is_help=True)


def login(
    url: Annotated[str | None, typer.Argument(help="https://flexai.example", envvar="FLEXAI_URL")] = None,
    with_token: Annotated[
        str | None, typer.Option("--token", help="A token; - reads it from stdin.", envvar="FLEXAI_TOKEN")
    ] = None,
    username: Annotated[str | None, typer.Option(help="Sign in with a password instead.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from stdin.")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page, or only show its address.")
    ] = True,
    organization: Annotated[
        str, typer.Option(help="With a password: the organization to act in, if you are in several.")
    ] = "",
    oidc: Annotated[
        bool, typer.Option("--oidc", help="In CI: with the pipeline's own identity, without a secret.")
    ] = False,
    rule: Annotated[
        str, typer.Option(help="With --oidc: the trust rule's id (trust-…).", envvar="FLEXAI_TRUST_RULE")
    ] = "",
    audience: Annotated[
        str, typer.Option(help="With --oidc: of the identity, if the rule has another.")
    ] = "",
    as_json: options.Json = False,
) -> None:
    """Sign in: on a terminal by a code that you type in your browser; with a password, a token, or in CI with the
    pipeline's identity."""
    address = _address(url)
    if oidc:
        secret = exchange_identity(address, identity_of_pipeline(audience or rule), rule=rule)
    elif with_token:
        secret = _line_from_stdin("token") if with_token == "-" else with_token  # noqa: S105 - not a secret
    elif username or password_stdin or organization:
        secret = _made_with_password(address, username, password_stdin, organization)
    elif _interactive():
        secret = sign_in_by_browser(address, _machine(), opens=browser)
    else:
        raise _needs("a token", "flexai login URL --token -")
    with Client(address, secret) as client:
        me = client.me()
        path = session.store(address, secret)
        _tell_signed_in(address, me)
        if as_json:
            output.emit_json({"url": address, "username": me["user"]["username"], "file": str(path)})
        else:
            announce(client)


def _tell_signed_in(address: str, me: dict[str, Any]) -> None:
    name = output.printable(me["user"]["username"])
    organization = output.printable((me.get("organization") or {}).get("name", ""))
    output.err().print(
        Text.assemble(
            ("Signed in", f"bold {output.hue('succeeded')}"), f" to {address} as {name} ({organization})."
        )
    )
    for notice in me.get("notices") or []:
        output.say(output.printable(notice), "dim")


def logout() -> None:
    """Forget the login. The token stays valid: revoke it with `flexai token revoke`."""
    output.say("Signed out." if session.forget() else "You were not signed in.")


def version(as_json: options.Json = False) -> None:
    """Print the versions of this command and of the server."""
    server: str | None = None
    try:
        with session.connect(timeout=VERSION_TIMEOUT_SECONDS) as client:
            server = str(client.me().get("version"))
    except (FlexaiError, Refusal) as error:
        output.say(f"Server: {error}", "dim")
    if as_json:
        output.emit_json({"client": __version__, "server": server})
        return
    sys.stdout.write(f"flexai {__version__}\n" + (f"server {server}\n" if server else ""))


@token.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    read_only: Annotated[bool, typer.Option("--read-only", help="It may look and change nothing.")] = False,
    days: Annotated[int, typer.Option(min=1, help="Days until it expires.")] = 90,
    team: Annotated[str | None, typer.Option(help="It reaches this team only.")] = None,
    as_json: options.Json = False,
) -> None:
    """Make a token. The secret is printed this once, on stdout."""
    scopes = ["read"] if read_only else ["read", "write"]
    with session.connect() as client:
        made = client.tokens.create(name, scopes=scopes, expires_in_days=days, team=team)
    if as_json:
        output.emit_json(made)
        return
    output.say(f"{made['id']} expires {made['expires_at'][:10]}. The secret is shown this once:")
    sys.stdout.write(made["token"] + "\n")


@token.command("list")
def list_tokens(as_json: options.Json = False) -> None:
    """List your tokens."""
    with session.connect() as client:
        found = list(client.tokens.list())
    if as_json:
        output.emit_json(found)
    elif found:
        output.out().print(tables.tokens_table(found))
    else:
        output.say("No tokens yet. Make one: flexai token create NAME")


@token.command("revoke")
def revoke_token(token_id: Annotated[str, typer.Argument(help="tok-…", metavar="TOKEN")]) -> None:
    """Make a token useless from now on."""
    with session.connect() as client:
        client.tokens.revoke(token_id)
    output.say(f"{token_id} is revoked.")


def _address(url: str | None) -> str:
    if not url and _interactive():
        url = typer.prompt("Server", default="http://127.0.0.1:8000", err=True)
    if not url:
        raise _needs("the server's address", "flexai login URL")
    return url if "://" in url else f"https://{url}"


def _made_with_password(url: str, username: str | None, password_stdin: bool, organization: str) -> str:
    if password_stdin:
        if not username:
            raise _needs("a username", "flexai login URL --username NAME --password-stdin")
        password = _line_from_stdin("password")
    elif _interactive():
        username = username or typer.prompt("Username", default=getpass.getuser(), err=True)
        password = typer.prompt("Password", hide_input=True, err=True)
    else:
        raise _needs("a token", "flexai login URL --token -")
    label = f"flexai login on {_machine()}"
    made = partial(
        create_token_with_password, url, str(username), password, name=label[:100], organization=organization
    )
    try:
        return made()["token"]
    except Unauthenticated as error:
        if error.code != "second_factor":
            raise
    code = typer.prompt("Code", err=True) if _interactive() else _line_from_stdin("code")
    return made(code=code)["token"]


def _machine() -> str:
    """As whoever confirms, or looks through their tokens, knows it."""
    name = os.environ.get("HOSTNAME") or socket.gethostname()
    return output.printable(name)[:80] or "a terminal"


def _interactive() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _line_from_stdin(what: str) -> str:
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise Refusal(f"There was no {what} on standard input.", exit_code=USAGE, code="usage")
    return line


def _needs(what: str, how: str) -> Refusal:
    return Refusal(f"Without a terminal, {what} must be given: {how}", exit_code=USAGE, code="usage")
