"""`openb`: allocation under the FGD paper's protocol, beside the published figures."""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from scheduler_core import value
from scheduler_core.simulation.openb.baselines import best_fit, fgd
from scheduler_core.simulation.openb.protocol import Curve, Policy, curve, read_trial
from scheduler_core.simulation.openb.trace import SEEDS, WORKLOADS, read_published
from scheduler_core.simulation.openb.valued import flexai

TRACES: Final = Path("../shared/data/traces/openb")
REPORTED: Final = (90, 100, 110, 130)
"""Arrived demand in % at which the allocation is told."""
PUBLISHED: Final = {"fgd": "06-FGD", "best_fit": "05-BestFit"}


def register(commands: Any) -> None:
    """Add `openb` to the commands."""
    parser = commands.add_parser("openb", help=__doc__)
    parser.add_argument("--workload", default="default", choices=(*WORKLOADS, "all"))
    parser.add_argument("--seeds", default="42-51", type=_seeds, help="one, or a range as in 42-51")
    parser.add_argument("--policy", default="flexai", choices=("flexai", "fgd", "best_fit"))
    parser.add_argument(
        "--samples", default=value.SAMPLES, type=int, help="effort of flexai: streams a state"
    )
    parser.add_argument("--traces", default=TRACES, type=Path, help="the folder of the openb files")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay and print a line a workload; with `--json` last one object, a list under `workloads` for `all`."""
    reports = []
    for workload in WORKLOADS if args.workload == "all" else (args.workload,):
        report = measure(args.traces, workload, args.seeds, args.policy, args.samples)
        reports.append(report)
        print(_line(report), flush=True)
    if args.json:
        print(json.dumps(reports[0] if args.workload != "all" else {"workloads": reports}))
    return 0


def measure(folder: Path, workload: str, seeds: tuple[int, ...], policy: str, samples: int) -> dict[str, Any]:
    """Means over the seeds, in %, with the published ones beside. Raises `TraceError`."""
    decide = _policy(policy, samples)
    curves: list[Curve] = []
    started = time.process_time()
    for number, seed in enumerate(seeds, start=1):
        trial = read_trial(folder, workload, seed)
        curves.append(curve(trial, decide(trial)))
        print(f"{workload} {policy}: seed {seed}, {number} of {len(seeds)}", file=sys.stderr, flush=True)
    return {
        "workload": workload,
        "policy": policy,
        "seeds": list(seeds),
        "effort": samples if policy == "flexai" else None,
        "allocation_at": _at(curves),
        "published": {
            name: _at(list(map(np.array, read_published(folder, workload, label, seeds).values())))
            for name, label in PUBLISHED.items()
        },
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def _policy(name: str, samples: int) -> Policy:
    return {"fgd": fgd, "best_fit": best_fit, "flexai": partial(flexai, samples=samples)}[name]


def _at(curves: list[Curve]) -> dict[str, float]:
    return {str(c): round(float(np.mean([each[c] for each in curves])), 3) for c in REPORTED}


def _line(report: dict[str, Any]) -> str:
    said = [f"{report['workload']:>12} {report['policy']}"]
    said += [f"{at} %: {share:.2f}" for at, share in report["allocation_at"].items()]
    said += [f"published {name} at 130 %: {row['130']:.2f}" for name, row in report["published"].items()]
    return "  ".join(said)


def _seeds(text: str) -> tuple[int, ...]:
    first, _, last = text.partition("-")
    try:
        seeds = tuple(range(int(first), int(last or first) + 1))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed and no range of seeds") from None
    if not seeds or not set(seeds) <= set(SEEDS):
        raise argparse.ArgumentTypeError(f"seeds {text}: the published runs have {SEEDS[0]}-{SEEDS[-1]}")
    return seeds
