"""`python -m scheduler_core.simulation COMMAND …`: the figures, each from its command."""

from __future__ import annotations

import argparse
import sys

from scheduler_core.simulation import openb, pollux, slices
from scheduler_core.simulation.replay import commands as replay
from scheduler_core.simulation.tables import TraceError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit status. A bad trace is a sentence, not a traceback."""
    parser = argparse.ArgumentParser(prog="python -m scheduler_core.simulation", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for package in (openb, pollux, replay, slices):
        package.register(commands)
    args = parser.parse_args(arguments)
    try:
        status: int = args.run(args)
    except TraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
