"""The application: which commands there are, and how an error leaves."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from flexai import __version__
from flexai.cli import (
    account,
    acting,
    asking,
    auditing,
    chips,
    keeping,
    output,
    places,
    savings,
    schedules,
    second_factor,
    secrets,
    spending,
    submitting,
    trust,
    watching,
    webhooks,
)
from flexai.cli.exits import Refusal, exit_code_of_error
from flexai.cli.extensions import ExtendedGroup
from flexai.client import FlexaiError, Problem

app = typer.Typer(
    name="flexai",
    cls=ExtendedGroup,
    help="Submit jobs, watch them, see the chips.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_JOBS, _PLACES, _ACCOUNT = "Jobs", "Cluster", "Account"
app.command(rich_help_panel=_JOBS, context_settings={"allow_interspersed_args": False}, no_args_is_help=True)(
    submitting.run
)
app.command(rich_help_panel=_JOBS, no_args_is_help=True)(submitting.apply)
app.command(rich_help_panel=_JOBS)(watching.ps)
app.command(rich_help_panel=_JOBS, no_args_is_help=True)(watching.logs)
app.command(rich_help_panel=_JOBS, no_args_is_help=True)(keeping.outputs)
app.command(rich_help_panel=_JOBS, no_args_is_help=True)(watching.explain)
app.command(rich_help_panel=_JOBS, no_args_is_help=True)(acting.stop)
app.command(rich_help_panel=_JOBS, no_args_is_help=True)(acting.resume)
app.command(rich_help_panel=_JOBS, no_args_is_help=True)(acting.keep)
app.command(rich_help_panel=_JOBS, no_args_is_help=True)(acting.requeue)
app.add_typer(schedules.schedule, name="schedule", rich_help_panel=_JOBS)
app.add_typer(secrets.secrets, name="secrets", rich_help_panel=_JOBS)
app.command(rich_help_panel=_PLACES)(watching.top)
app.add_typer(places.nodes, name="nodes", rich_help_panel=_PLACES)
app.add_typer(chips.chips, name="chips", rich_help_panel=_PLACES)
app.add_typer(asking.quota, name="quota", rich_help_panel=_PLACES)
app.command(rich_help_panel=_PLACES)(spending.usage)
app.command(rich_help_panel=_PLACES)(savings.savings)
app.command("export-history", rich_help_panel=_PLACES)(savings.export_history)
app.command(rich_help_panel=_PLACES)(auditing.audit)
app.command(rich_help_panel=_ACCOUNT)(account.login)
app.command(rich_help_panel=_ACCOUNT)(account.logout)
app.add_typer(account.token, name="token", rich_help_panel=_ACCOUNT)
app.add_typer(second_factor.second_factor, name="second-factor", rich_help_panel=_ACCOUNT)
app.add_typer(trust.trust, name="trust", rich_help_panel=_ACCOUNT)
app.add_typer(webhooks.webhook, name="webhook", rich_help_panel=_ACCOUNT)
app.command(rich_help_panel=_ACCOUNT)(account.version)


def main() -> None:
    """Run the command line and exit. An expected failure is a sentence on stderr, never a traceback."""
    try:
        app(prog_name="flexai")
    except Refusal as refusal:
        _leave(refusal.sentence, refusal.hint, refusal.code, refusal.exit_code)
    except FlexaiError as error:
        notes = getattr(error, "__notes__", [])
        sentence = "\n".join([*(note for note in notes), str(error)])
        _leave(sentence, _hint(error), error.code, exit_code_of_error(error), error)


def _leave(sentence: str, hint: str, code: str, exit_code: int, error: FlexaiError | None = None) -> None:
    output.complain(sentence, hint)
    if "--json" in _own_arguments():
        answer: dict[str, object] = {"code": code, "detail": sentence}
        if isinstance(error, Problem):
            answer["status"] = error.status
            answer["errors"] = [
                {"field": wrong.field, "message": wrong.message, "hint": wrong.hint} for wrong in error.errors
            ]
        output.emit_json({"error": answer})
    sys.exit(exit_code)


def _hint(error: FlexaiError) -> str:
    if error.code == "not_reached":
        return "Is it running? `flexai up` starts one here; `flexai login URL` signs in to another."
    return "Sign in again with `flexai login URL`." if error.code == "unauthenticated" else ""


def _own_arguments() -> list[str]:
    """Without the command of `flexai run -- …`."""
    arguments = sys.argv[1:]
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"flexai {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print this command's version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Submit jobs, watch them, see the chips."""
