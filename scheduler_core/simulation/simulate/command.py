"""`flexai simulate`: what the engine and the schedulers people know would do with a workload on a cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from scheduler_core.simulation.simulate.faults import draw_losses
from scheduler_core.simulation.simulate.history import write_history
from scheduler_core.simulation.simulate.measures import Judged, alone_in, judge
from scheduler_core.simulation.simulate.options import BadOption, faults_of, names_of, node_groups, quotas_of
from scheduler_core.simulation.simulate.players import ABOUT, DEFAULT, Setting, play
from scheduler_core.simulation.simulate.report import write_report
from scheduler_core.simulation.simulate.scenario import Scenario
from scheduler_core.simulation.simulate.showing import Study, gain_of, object_of, table_of, write_csv
from scheduler_core.simulation.simulate.sources import JOBS, TRACES, Asked, scenario_of, scenario_of_history
from scheduler_core.simulation.tables import TraceError
from scheduler_core.simulation.traces import traces_folder

FAILED, UNREADABLE = 1, 2
"""Exit codes: a policy came to no end; no such trace or file, or options that cannot be meant so."""
NARROWEST_TABLE = 110
"""Columns, where no terminal says how many there are."""


Trace = Annotated[str, typer.Option(help=f"The workload: {', '.join(TRACES)} (pollux:1 to pollux:8).")]
History = Annotated[
    Path | None, typer.Option(help="The workload: a cell's exported history (JSON lines).", dir_okay=False)
]
Nodes = Annotated[
    str,
    typer.Option(metavar="NODESxCHIPS:TYPE,…", help="Such as 16x8:H100-80GB. Default: the workload's own."),
]
Policies = Annotated[str, typer.Option(help=f"Names joined by commas, or all: {', '.join(ABOUT)}.")]
Load = Annotated[
    int | None, typer.Option(min=1, max=1000, help="Offered load in percent, where the trace allows it.")
]
Jobs = Annotated[
    int | None,
    typer.Option(min=0, help=f"Only the first so many; 0 is all. Default: {JOBS} of a large trace."),
]
QuotaEdits = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEAM:TYPE=N[:LIMIT]", help="Guarantee a team chips, and limit it; may be repeated."
    ),
]
LostNodes = Annotated[
    str,
    typer.Option(
        metavar="FAILURES:REPAIR",
        help="Lose nodes: 30d:4h is each node every 30 days on average, for 4 hours.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=2**31, help="Of all that is drawn.")]
Round = Annotated[
    int, typer.Option("--round", min=1, max=3600, help="Seconds between two decisions of the engine.")
]
Traces = Annotated[str, typer.Option(help="Folder of the traces.", envvar="FLEXAI_TRACES")]
Report = Annotated[Path | None, typer.Option(help="Write a report with plots to this file.", dir_okay=False)]
Sheet = Annotated[Path | None, typer.Option(help="Write the table to this file.", dir_okay=False)]
Saved = Annotated[
    Path | None, typer.Option(help="Write what is played to this file, as a history.", dir_okay=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on the last line.")]


def simulate(
    trace: Trace = "sample",
    history: History = None,
    nodes: Nodes = "",
    policies: Policies = DEFAULT,
    load: Load = None,
    jobs: Jobs = None,
    quota: QuotaEdits = None,
    faults: LostNodes = "",
    seed: Seed = 1,
    round_seconds: Round = 60,
    traces: Traces = "",
    html: Report = None,
    csv: Sheet = None,
    save: Saved = None,
    as_json: AsJson = False,
) -> None:
    """Play a workload on a cluster under several schedulers, and compare them. Nothing real is touched.

    `flexai` is the scheduler of this platform itself; `fifo` is what most clusters do. Without options a small
    sample is played. Exit code 0: done. 1: a policy came to no end. 2: wrong options, or no such trace.
    """
    console = Console(stderr=as_json)
    try:
        chosen = tuple(ABOUT) if policies == "all" else names_of(policies, tuple(ABOUT), "policy")
        groups = node_groups(nodes) if nodes else ()
        asked = Asked(traces_folder(traces or None), groups, load, jobs, seed, quotas_of(quota or []))
        scenario = _scenario(trace, history, asked)
        lost = faults_of(faults)
        setting = Setting(draw_losses(scenario, lost, seed) if lost else (), 1000 * round_seconds)
        _check_writable(html, csv, save)
    except (BadOption, TraceError) as error:
        Console(stderr=True).print(f"{error}", style="red", markup=False, highlight=False)
        raise typer.Exit(UNREADABLE) from error
    _introduce(console, scenario)
    study = Study(scenario, setting, lost, seed, *_play_all(scenario, chosen, setting))
    _show(console, study)
    _write(study, html, csv, save)
    if as_json:
        print(json.dumps(object_of(study)))
    if study.failed:
        raise typer.Exit(FAILED)


def _scenario(trace: str, history: Path | None, asked: Asked) -> Scenario:
    if history is None:
        return scenario_of(trace, asked)
    if trace != "sample":
        raise BadOption("--trace and --history are two workloads; give one.")
    return scenario_of_history(history, asked)


def _check_writable(*paths: Path | None) -> None:
    """Better said before the simulation than after it."""
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise BadOption(f"{path}: there is no folder {path.absolute().parent}.")


def _write(study: Study, html: Path | None, csv: Path | None, save: Path | None) -> None:
    if save:
        write_history(save, study.scenario)
    if csv:
        write_csv(csv, study)
    if html:
        write_report(html, study)


def _introduce(console: Console, scenario: Scenario) -> None:
    work, chips = scenario.work, scenario.cluster.chips
    console.print(
        f"{work.name}: {len(work):,} jobs of {len(work.teams)} teams on {chips:,} chips ({scenario.nodes}), "
        f"offered load {scenario.offered:.0f} %.",
        style="bold",
        highlight=False,
    )


def _play_all(
    scenario: Scenario, names: tuple[str, ...], setting: Setting
) -> tuple[list[Judged], dict[str, str]]:
    """Every policy, with a bar on standard error where somebody watches."""
    watch = Console(stderr=True)
    columns = (TextColumn("{task.description:18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    judged, failed = [], {}
    with Progress(*columns, console=watch, transient=True, disable=not sys.stderr.isatty()) as bars:
        preparing = bars.add_task("every team alone", total=None)
        alone = alone_in(scenario)
        bars.remove_task(preparing)
        for name in names:
            bar = bars.add_task(name, total=len(scenario.work) - scenario.refused)
            try:
                tape = play(scenario, name, setting, _teller(bars, bar))
            except RuntimeError as error:
                failed[name] = f"{error}"
                continue
            judged.append(judge(tape, scenario, setting, alone))
    return judged, failed


def _teller(bars: Progress, bar: TaskID) -> Callable[[int], None]:
    return lambda done: bars.update(bar, completed=done)


def _show(console: Console, study: Study) -> None:
    if console.width < NARROWEST_TABLE and not console.is_terminal:
        console.width = NARROWEST_TABLE
    if study.judged:
        console.print(table_of(study))
    for name, why in study.failed.items():
        console.print(f"{name} failed: {why}", style="red", markup=False, highlight=False)
    if gain := gain_of(study):
        console.print(gain, style="bold", highlight=False)
    for note in study.notes:
        console.print(f"· {note}", style="dim", markup=False, highlight=False)
