"""`python -m flexai.embedded up` and `… demo`: the two commands without the rest of the command line."""

from __future__ import annotations

import typer

from flexai.embedded.commands import demo, up


def main() -> None:
    """Runs the command that the arguments name."""
    application = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
    application.command()(up)
    application.command()(demo)
    application()


if __name__ == "__main__":
    main()
