"""The commands `philly` and `itp`: figure 2."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from scheduler_core import Policy as EnginePolicy
from scheduler_core.simulation import traces
from scheduler_core.simulation.driven import Engine
from scheduler_core.simulation.driven.keeping import KEEP_HELP
from scheduler_core.simulation.driven.learned import MIX_HELP
from scheduler_core.simulation.progress import Progress
from scheduler_core.simulation.replay.levels import Levels
from scheduler_core.simulation.replay.policies import Policy, baselines
from scheduler_core.simulation.replay.printing import text_of, write_csv
from scheduler_core.simulation.replay.study import Table, study
from scheduler_core.simulation.workload import Workload

READERS: dict[str, tuple[Callable[[Path], Workload], str, str]] = {
    "philly": (traces.philly, "philly", "Microsoft's Philly trace replayed in time"),
    "itp": (traces.itp, "itp-elasticflow", "Microsoft's ITP trace (ElasticFlow) replayed in time"),
}

POLICIES_HELP = (
    "names joined by commas, or all; levels is a rule's prototype (service levels, moves), not the engine; "
    "flexai is the engine, slow on whole traces and not among all"
)


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `philly` and `itp`."""
    for name, (_, _, about) in READERS.items():
        parser = commands.add_parser(name, help=about, description=f"{about}, every policy in one table.")
        parser.add_argument("--traces", help="folder of the traces (default: FLEXAI_TRACES)")
        parser.add_argument("--load", type=whole_numbers, default=[60, 75, 90], help="percent, e.g. 60,75,90")
        parser.add_argument("--policies", default="all", help=POLICIES_HELP)
        parser.add_argument("--first", type=int, help="only so many jobs of the trace")
        parser.add_argument("--mix", action="store_true", help=MIX_HELP)
        parser.add_argument("--keep", type=Path, metavar="FOLDER", help=KEEP_HELP)
        parser.add_argument("--csv", type=Path, help="write the table to this file too")
        parser.add_argument("--json", action="store_true", help="last line: the tables as one JSON object")
        parser.set_defaults(run=run, trace=name)


def run(args: argparse.Namespace) -> int:
    """Replay, print, write. Returns the exit status."""
    reader, folder, _ = READERS[args.trace]
    work = reader(traces.traces_folder(args.traces) / folder)
    if args.first:
        work = work.only(work.submit <= work.submit[min(args.first, len(work)) - 1])
    tables = []
    for load in args.load:
        progress = Progress(len(work), f"{work.name} {load} %")
        table = study(work, load, chosen(args.policies, args.keep, tells_mix=args.mix), progress=progress)
        progress.clear()
        print(text_of(table) + "\n", flush=True)
        tables.append(table)
    write_files(args, tables)
    if args.json:
        print(json.dumps({"trace": work.name, "tables": [table.as_json() for table in tables]}))
    return 0


def write_files(args: argparse.Namespace, tables: list[Table]) -> None:
    """The CSV and the report that were asked for."""
    if args.csv:
        write_csv(args.csv, tables)


def chosen(names: str, keep_in: Path | None = None, *, tells_mix: bool = False) -> list[Policy | Engine]:
    """The policies of these names; the engine is kept in this folder, and told the mix or not. Exits with a sentence
    where there is none of a name.
    """
    known: dict[str, Policy | Engine] = {policy.name: policy for policy in (*baselines(), Levels("levels"))}
    if names == "all":
        return list(known.values())
    known["flexai"] = Engine("flexai", EnginePolicy(), keep_in, tells_mix)
    unknown = [name for name in names.split(",") if name not in known]
    if unknown:
        raise SystemExit(f"no policy is called {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names.split(",")]


def whole_numbers(text: str) -> list[int]:
    """`60,75,90` as numbers."""
    return [int(part) for part in text.split(",")]
