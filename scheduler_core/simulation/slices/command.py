"""The command `slices`: figure 4."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scheduler_core import Policy
from scheduler_core.simulation import traces
from scheduler_core.simulation.driven import Keeping, drive
from scheduler_core.simulation.driven.keeping import KEEP_HELP
from scheduler_core.simulation.driven.learned import MIX_HELP
from scheduler_core.simulation.progress import Progress
from scheduler_core.simulation.replay.in_line import EASY, STRICT
from scheduler_core.simulation.replay.policies import LEARNED_MEDIAN, TRUE_RUNTIME, InLine, Manner
from scheduler_core.simulation.replay.running import replay
from scheduler_core.simulation.slices.pods import (
    EVERY_NODE,
    LOAD,
    Cell,
    backlog,
    read_cell,
    read_pods,
    useful_share,
)
from scheduler_core.simulation.workload import Workload

DAY_MS = 24 * 3_600_000
WHOLE_CHIP = {
    "fifo": Manner(STRICT),
    "easy": Manner(EASY, estimate=LEARNED_MEDIAN),
    "easy-oracle": Manner(EASY, estimate=TRUE_RUNTIME),
}
"""Those who give a whole chip to whoever asks for part of one."""
NAMES = (*WHOLE_CHIP, "flexai-whole", "flexai")


@dataclass(frozen=True, slots=True)
class Line:
    """One policy: useful utilisation and the chip-time held in the window, in percent; jobs done by its end; of the
    engine's decisions the least and the most effort (S4).
    """

    policy: str
    useful: float
    held: float
    done: int
    moves: int
    efforts: tuple[int, int] | None


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `slices`."""
    about = "Useful utilisation under backlog (openb): slices against whole chips"
    parser = commands.add_parser("slices", help=about, description=about)
    parser.add_argument("--traces", help="folder of the traces (default: FLEXAI_TRACES)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=int, default=4, help="days of arrivals; the first is not measured")
    parser.add_argument("--load", type=float, default=LOAD, help="what is asked for, by what there is")
    parser.add_argument("--every", type=int, default=EVERY_NODE, help="every so many-th node with chips")
    parser.add_argument("--round", type=int, default=60, help="seconds between two decisions of the engine")
    parser.add_argument(
        "--max-searches",
        type=int,
        default=Policy().max_searches,
        help="of the engine's policy: searches a decision for something to take or move (0: nothing moves)",
    )
    parser.add_argument("--mix", action="store_true", help=MIX_HELP)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help=KEEP_HELP)
    parser.add_argument("--policies", default=",".join(NAMES), help="names joined by commas")
    parser.add_argument("--json", action="store_true", help="last line: the table as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Play, print. Returns the exit status."""
    names = args.policies.split(",")
    if unknown := [name for name in names if name not in NAMES]:
        raise SystemExit(f"no policy is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if args.days < 2:
        raise SystemExit(f"--days is {args.days}; the first day is not measured, so it must be 2 or more")
    if args.every < 1 or args.load <= 0:
        raise SystemExit(f"--every is {args.every} and --load {args.load}; both must be more than nothing")
    folder: Path = traces.traces_folder(args.traces) / "openb"
    cell = read_cell(folder, args.every)
    pods = read_pods(folder, cell.type_names)
    work = backlog(pods, cell, days=args.days, seed=args.seed, load=args.load)
    chips = cell.cluster.chips
    nodes = len(cell.cluster.types)
    print(f"openb, {nodes} nodes, {chips} chips, {len(work)} jobs in {args.days} days, seed {args.seed}")
    lines = []
    for name in names:
        line = play(work, cell, name, args)
        lines.append(line)
        print(
            f"{name:14} useful {line.useful:6.2f} %  held {line.held:6.2f} %  "
            f"done {line.done:6}  moves {line.moves}"
            + ("" if line.efforts is None else f"  effort {line.efforts[0]} to {line.efforts[1]}"),
            flush=True,
        )
    for said in against(lines):
        print(said)
    if args.json:
        print(json.dumps({"seed": args.seed, "days": args.days, "jobs": len(work), "round_s": args.round,
                          "load": args.load, "nodes": nodes, "max_searches": args.max_searches, "mix": args.mix,
                          "lines": [asdict(line) for line in lines], "gain": gains(lines)}))  # fmt: skip
    return 0


_OF_THE_RUN = ("seed", "load", "every", "days", "round", "max_searches", "mix")
"""Arguments of which a run is another with other values."""


def play(work: Workload, cell: Cell, name: str, args: argparse.Namespace) -> Line:
    """One policy on the whole backlog, judged from the second day to the last."""
    until, efforts = args.days * DAY_MS, None
    window, chips = (DAY_MS, until), cell.cluster.chips
    if name in WHOLE_CHIP:
        outcome = replay(work, cell.cluster, InLine(name, WHOLE_CHIP[name]))
        began = np.flatnonzero(outcome.finished >= 0)
        runs = np.column_stack([began, outcome.first_start[began], outcome.finished[began]])
        held = runs
    else:
        told = {key: value for key, value in vars(args).items() if key in _OF_THE_RUN}
        kept = None if args.keep is None else Keeping(args.keep / f"slices-{name}.run", str(told), every=200)
        driven = drive(
            work,
            cell.cluster,
            Policy(max_searches=args.max_searches),
            sliced=name == "flexai",
            until=until,
            round_ms=1000 * args.round,
            tells_mix=args.mix,
            keeping=kept,
            progress=partial(Progress(len(work), work.name), name),
        )
        outcome, efforts = driven.outcome, driven.efforts
        runs = np.array([(run.job, run.useful, run.ended) for run in driven.runs], np.int64).reshape(-1, 3)
        held = np.array([(run.job, run.began, run.ended) for run in driven.runs], np.int64).reshape(-1, 3)
    done = int(((outcome.finished >= 0) & (outcome.finished <= until)).sum())
    useful = useful_share(work, chips, runs, window)
    share = held_share(work, chips, held, window, sliced=name == "flexai")
    return Line(name, useful, share, done, outcome.moves, efforts)


def held_share(
    work: Workload, chips: int, runs: NDArray[np.int64], window: tuple[int, int], *, sliced: bool
) -> float:
    """Percent of the window's chip-time that jobs held: what they asked for, or whole chips."""
    overlap = (np.minimum(runs[:, 2], window[1]) - np.maximum(runs[:, 1], window[0])).clip(0)
    milli = (work.milli if sliced else 1000 * work.chips)[runs[:, 0]]
    return 100 * int((milli * overlap).sum()) / (1000 * chips * (window[1] - window[0]))


def gains(lines: list[Line]) -> dict[str, float]:
    """By how many percent the engine's useful utilisation is above each whole-chip policy's."""
    ours = next((line for line in lines if line.policy == "flexai"), None)
    if ours is None:
        return {}
    return {line.policy: 100 * (ours.useful / line.useful - 1) for line in lines if line is not ours}


def against(lines: list[Line]) -> list[str]:
    """What the engine gains, in sentences."""
    return [f"flexai against {name}: {gain:+.1f} %" for name, gain in gains(lines).items()]
