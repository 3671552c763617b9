"""`pollux`: completion times of elastic jobs under each policy, beside what the authors of Pollux published."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import Pool
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from scheduler_core.simulation.pollux.application import MAX_EPOCHS, application
from scheduler_core.simulation.pollux.baselines import Optimus, Tiresias
from scheduler_core.simulation.pollux.cluster import Outcome, RoundPolicy, simulate
from scheduler_core.simulation.pollux.flexai import Flexai
from scheduler_core.simulation.pollux.job import TrainingJob
from scheduler_core.simulation.pollux.traces import WORKLOAD_FOLDERS, read_expected, read_workload
from scheduler_core.simulation.tables import TraceError
from scheduler_core.simulation.traces import traces_folder

POLICIES: dict[str, Callable[[], RoundPolicy]] = {
    "flexai": Flexai,
    "flexai-fixed": lambda: Flexai(fixed_batch=True),
    "tiresias": Tiresias,
    "optimus": Optimus,
}
"""`flexai-fixed` trains at the batch that was submitted, as Optimus and Tiresias do."""
PUBLISHED = ("pollux", "tiresias", "optimus")
FOLDER = "pollux-osdi21"
HOUR = 3600


@dataclass(frozen=True, slots=True)
class Figures:
    """One policy over some workloads; times in hours. The mean is the mean of the workloads' means."""

    mean: float
    p50: float
    p99: float
    makespan: float | None
    restarts: float | None
    """Changes of chips after the first, of the average job."""
    workloads: dict[str, float]
    efforts: tuple[int, int] | None
    """The least and the most that the engine's decisions thought with (S4)."""


def register(commands: Any) -> None:
    """Add the command to the simulator's."""
    parser = commands.add_parser("pollux", help=__doc__, description=__doc__)
    parser.add_argument("--load", choices=sorted(WORKLOAD_FOLDERS), default="1.0", help="relative job load")
    parser.add_argument("--workloads", type=_numbers, default=tuple(range(1, 9)), help="such as 1-8 or 1,6")
    parser.add_argument("--policies", type=_policies, default=tuple(POLICIES), help=", ".join(POLICIES))
    parser.add_argument("--traces", help="folder of the traces; or FLEXAI_TRACES, or ../shared/data/traces")
    parser.add_argument("--processes", type=int, default=2, choices=range(1, 65), metavar="1-64")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Simulate, print the table, and on demand the JSON line."""
    folder = traces_folder(args.traces) / FOLDER
    runs = [(folder, args.load, number, policy) for policy in args.policies for number in args.workloads]
    outcomes: dict[str, dict[int, Outcome]] = {policy: {} for policy in args.policies}
    console = Console(stderr=True)
    with Pool(min(args.processes, len(runs))) as pool:
        done = track(pool.imap(outcome_of, runs), "simulating", total=len(runs), console=console)
        for (_, _, number, policy), outcome in zip(runs, done, strict=True):
            outcomes[policy][number] = outcome
    ours = {policy: figures(found) for policy, found in outcomes.items()}
    published = {policy: _published(folder, policy, args.load, args.workloads) for policy in PUBLISHED}
    known = {policy: found for policy, found in published.items() if found}
    Console(width=110).print(_table(args.load, ours, known))
    if args.json:
        summary = {"load": args.load, "workloads": list(args.workloads)}
        rows = {"policies": ours, "published": known}
        print(json.dumps(summary | {k: {p: asdict(f) for p, f in v.items()} for k, v in rows.items()}))
    return 0


def outcome_of(run: tuple[Path, str, int, str]) -> Outcome:
    """One workload under one policy. An application that the profiles do not know is a `TraceError`."""
    folder, load, number, name = run
    policy = POLICIES[name]()
    jobs = []
    for submission in read_workload(folder, load, number):
        if submission.application not in MAX_EPOCHS:
            raise TraceError(
                folder / submission.name, None, "application", f"{submission.application!r} is unknown"
            )
        app = application(folder, submission.application)
        jobs.append(TrainingJob(submission, app, fixed_batch=policy.fixed_batch))
    return simulate(jobs, policy)


def figures(outcomes: dict[int, Outcome]) -> Figures:
    """Of one policy, by workload."""
    times = {f"workload-{number}": list(found.completion.values()) for number, found in outcomes.items()}
    makespan = fmean(found.makespan for found in outcomes.values()) / HOUR
    restarts = fmean(found.restarts / len(found.completion) for found in outcomes.values())
    efforts = [effort for found in outcomes.values() for effort in found.efforts or ()]
    thought = (min(efforts), max(efforts)) if efforts else None
    return _figures(times, makespan, restarts, thought)


def _published(folder: Path, policy: str, load: str, workloads: Sequence[int]) -> Figures | None:
    expected = read_expected(folder, policy, load)
    if expected is None:
        return None
    times = {f"workload-{number}": list(expected[f"workload-{number}"].values()) for number in workloads}
    return _figures(times, None, None, None)


def _figures(
    times: dict[str, list[float]] | dict[str, list[int]],
    makespan: float | None,
    restarts: float | None,
    efforts: tuple[int, int] | None,
) -> Figures:
    every = [time for found in times.values() for time in found]
    cuts = quantiles(every, n=100, method="inclusive")
    means = {workload: fmean(found) / HOUR for workload, found in times.items()}
    return Figures(
        fmean(means.values()), cuts[49] / HOUR, cuts[98] / HOUR, makespan, restarts, means, efforts
    )


def _table(load: str, ours: dict[str, Figures], published: dict[str, Figures]) -> Table:
    table = Table(title=f"Pollux workloads, load {load}: completion time in hours")
    for column in ("policy", "mean", "p50", "p99", "makespan", "restarts a job", "effort (S4)"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    rows = list(ours.items()) + [(f"{policy}, published", found) for policy, found in published.items()]
    for name, found in rows:
        more = [f"{value:.2f}" if value is not None else "–" for value in (found.makespan, found.restarts)]
        more.append("–" if found.efforts is None else "{} to {}".format(*found.efforts))
        table.add_row(name, f"{found.mean:.4f}", f"{found.p50:.3f}", f"{found.p99:.2f}", *more)
    return table


def _numbers(text: str) -> tuple[int, ...]:
    """`1-8`, `1,6` or both mixed."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdigit() or not (last or first).isdigit():
            raise argparse.ArgumentTypeError(f"{part!r} is not a workload or a range of them")
        numbers += range(int(first), int(last or first) + 1)
    if not numbers or not all(1 <= number <= 8 for number in numbers):
        raise argparse.ArgumentTypeError("there are workloads 1 to 8")
    return tuple(dict.fromkeys(numbers))


def _policies(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in POLICIES:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(POLICIES)}")
    return names
