"""`openb`: allocation under the FGD paper's protocol, beside the published figures."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scheduler_core.effort import effort
from scheduler_core.simulation.openb.baselines import best_fit, fgd
from scheduler_core.simulation.openb.ceiling import ceiling, until_first_refusal
from scheduler_core.simulation.openb.engine import decide_all
from scheduler_core.simulation.openb.protocol import Curve, Trial, curve, read_trial
from scheduler_core.simulation.openb.trace import SEEDS, WORKLOADS, read_published
from scheduler_core.simulation.openb.valued import by_value
from scheduler_core.simulation.traces import traces_folder
from scheduler_core.value import samples_at

FOLDER: Final = "openb"
REPORTED: Final = (90, 100, 110, 130)
"""Arrived demand in % at which the allocation is told."""
POLICIES: Final = ("flexai", "value", "fgd", "best_fit")
PUBLISHED: Final = {"fgd": "06-FGD", "best_fit": "05-BestFit"}


def register(commands: Any) -> None:
    """Add `openb` to the commands."""
    parser = commands.add_parser("openb", help=__doc__)
    parser.add_argument("--workload", default="default", choices=(*WORKLOADS, "all"))
    parser.add_argument("--seeds", default="42-51", type=_seeds, help="one, or a range as in 42-51")
    parser.add_argument(
        "--policy",
        default="flexai",
        choices=POLICIES,
        help="flexai: the engine itself; value: its rule P3 alone, in a loop of its own",
    )
    parser.add_argument(
        "--streams",
        type=_at_least(0),
        help="streams a state, in place of what follows from the effort (value)",
    )
    parser.add_argument(
        "--refresh", default=1, type=_at_least(1), help="arrivals between prices of homes (value)"
    )
    parser.add_argument(
        "--ceiling", action="store_true", help="upper bounds beside (a linear program a seed)"
    )
    parser.add_argument("--traces", help="folder of the traces (default: FLEXAI_TRACES)")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay and print a line a workload; with `--json` last one object, a list under `workloads` for `all`.

    With `--ceiling` two upper bounds on what is held at the end, in % (`ceiling.py`): `hindsight`, when every
    choice is free, and `no_earlier_refusal`, for who keeps all that the policy kept before its first refusal.
    """
    reports = []
    for workload in WORKLOADS if args.workload == "all" else (args.workload,):
        report = measure(args, workload)
        reports.append(report)
        print(_line(report), flush=True)
    if args.json:
        print(json.dumps(reports[0] if args.workload != "all" else {"workloads": reports}))
    return 0


def measure(args: argparse.Namespace, workload: str) -> dict[str, Any]:
    """Means over the seeds, in %, with the published ones beside. Raises `TraceError`."""
    traces = traces_folder(args.traces) / FOLDER
    curves: list[Curve] = []
    ceilings: list[tuple[float, float]] = []
    efforts, started = set[int](), time.process_time()
    for number, seed in enumerate(args.seeds, start=1):
        trial = read_trial(traces, workload, seed)
        placed, thought = _place(args, trial)
        efforts |= thought
        curves.append(curve(trial, placed))
        if args.ceiling:
            ceilings.append((ceiling(trial), ceiling(trial, until_first_refusal(placed))))
        print(
            f"{workload} {args.policy}: seed {seed}, {number} of {len(args.seeds)}",
            file=sys.stderr,
            flush=True,
        )
    report = {
        "workload": workload,
        "policy": args.policy,
        "seeds": list(args.seeds),
        **_thought(args, efforts),
    }
    report["allocation_at"] = _at(curves)
    report["published"] = {
        name: _at(list(map(np.array, read_published(traces, workload, label, args.seeds).values())))
        for name, label in PUBLISHED.items()
    }
    if ceilings:
        bounds = np.mean(ceilings, axis=0).round(3).tolist()
        report["ceiling"] = dict(zip(("hindsight", "no_earlier_refusal"), bounds, strict=True))
    return {**report, "cpu_seconds": round(time.process_time() - started, 1)}


def _place(args: argparse.Namespace, trial: Trial) -> tuple[NDArray[np.bool_], set[int]]:
    """For each arrival, whether it was placed; and the efforts with which that was decided (S4), none for the
    baselines.
    """
    if args.policy == "flexai":
        decided = decide_all(trial)
        return decided.placed, decided.efforts
    if args.policy == "value":
        one = effort(1, len(trial.nodes.cpu))
        return by_value(trial, samples=_streams(args, one), refresh=args.refresh), {one}
    return (fgd if args.policy == "fgd" else best_fit)(trial), set()


def _streams(args: argparse.Namespace, thought: int) -> int:
    return samples_at(thought) if args.streams is None or args.policy == "flexai" else args.streams


def _thought(args: argparse.Namespace, efforts: set[int]) -> dict[str, int]:
    """The least effort and the streams that follow from it; nothing for the baselines."""
    if not efforts:
        return {}
    return {"effort": min(efforts), "streams": _streams(args, min(efforts))}


def _at(curves: list[Curve]) -> dict[str, float]:
    return {str(c): round(float(np.mean([each[c] for each in curves])), 3) for c in REPORTED}


def _line(report: dict[str, Any]) -> str:
    said = [f"{report['workload']:>12} {report['policy']}"]
    said += [f"{at} %: {share:.2f}" for at, share in report["allocation_at"].items()]
    said += [f"published {name} at 130 %: {row['130']:.2f}" for name, row in report["published"].items()]
    said += [f"ceiling, {name}: {bound:.2f}" for name, bound in report.get("ceiling", {}).items()]
    said += [f"{name} {report[name]}" for name in ("effort", "streams") if name in report]
    return "  ".join(said)


def _at_least(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least}")
        return int(text)

    return whole


def _seeds(text: str) -> tuple[int, ...]:
    first, _, last = text.partition("-")
    try:
        seeds = tuple(range(int(first), int(last or first) + 1))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed and no range of seeds") from None
    if not seeds or not set(seeds) <= set(SEEDS):
        raise argparse.ArgumentTypeError(f"seeds {text}: the published runs have {SEEDS[0]}-{SEEDS[-1]}")
    return seeds
