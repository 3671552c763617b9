"""`flexai second-factor`: a code besides the password."""

from __future__ import annotations

import sys

import typer

from flexai.cli import options, output
from flexai.cli.exits import USAGE, Refusal
from flexai.cli.session import connect

second_factor = typer.Typer(help="Ask for a code besides your password.", no_args_is_help=True)


@second_factor.command()
def status(as_json: options.Json = False) -> None:
    """Say whether signing in with your password needs a code."""
    with connect() as client:
        found = client.second_factor()
    if as_json:
        output.emit_json(found)
    elif found["active"]:
        output.say(f"On; {found['recovery_codes_left']} recovery codes left.")
    else:
        output.say("Off.")


@second_factor.command("on")
def switch_on() -> None:
    """Begin one with your authenticator; prints the recovery codes on stdout."""
    with connect() as client:
        begun = client.begin_second_factor(_asked("Password", hidden=True))
        output.say(f"Tell your authenticator this secret: {begun['secret']}")
        output.say(f"or this address, as a QR code: {begun['uri']}")
        codes = client.confirm_second_factor(_asked("A code of it"))
    output.say("On. Keep these recovery codes where the authenticator is not; each signs in once:")
    sys.stdout.write("\n".join(codes) + "\n")


@second_factor.command("off")
def switch_off() -> None:
    """Sign in with your password alone again."""
    with connect() as client:
        client.remove_second_factor(_asked("Password", hidden=True), _asked("Code"))
    output.say("Off.")


def _asked(what: str, *, hidden: bool = False) -> str:
    """On a terminal asked for, else the next line of standard input."""
    if sys.stdin.isatty() and sys.stderr.isatty():
        return str(typer.prompt(what, hide_input=hidden, err=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise Refusal(f"There was no {what.lower()} on standard input.", exit_code=USAGE, code="usage")
    return line
