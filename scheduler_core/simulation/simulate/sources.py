"""Where a scenario comes from: a public trace, the sample that ships with the project, or a cell's own history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from scheduler_core.simulation import traces
from scheduler_core.simulation.pollux.alone import run_alone_ms
from scheduler_core.simulation.pollux.cluster import CHIPS_A_NODE as POLLUX_CHIPS
from scheduler_core.simulation.pollux.cluster import NODES as POLLUX_NODES
from scheduler_core.simulation.pollux.traces import read_workload
from scheduler_core.simulation.simulate.history import read_history
from scheduler_core.simulation.simulate.options import (
    BadOption,
    NodeGroup,
    TeamQuota,
    cluster_of_groups,
    unknown,
)
from scheduler_core.simulation.simulate.scenario import (
    Scenario,
    checked,
    first_jobs,
    on_types,
    shaped_for,
    with_quotas,
)
from scheduler_core.simulation.slices.pods import Cell, backlog, classes_of, read_cell, read_pods
from scheduler_core.simulation.workload import NODE_CHIPS, Workload, whole_chip_workload

SAMPLE = Path(__file__).parent / "sample.jsonl"
OPENB_EVERY_NODE = 192
"""Every so many-th of openb's nodes: 7 of them, so that a run is a matter of minutes."""
OPENB_DAYS = 4
OPENB_LOAD, REPLAY_LOAD = 120, 75
"""Percent, where none is asked for."""
JOBS = 500
"""Of a trace, where no number is asked for: the first so many."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for. `groups` empty: the trace's own cluster; `load` (percent) and `jobs` None: the default;
    `jobs` 0: all.
    """

    folder: Path
    groups: tuple[NodeGroup, ...] = ()
    load: int | None = None
    jobs: int | None = None
    seed: int = 1
    quotas: tuple[TeamQuota, ...] = ()
    part: str = ""
    """Of a trace that has parts: `3` in `pollux:3`."""


def scenario_of(trace: str, asked: Asked) -> Scenario:
    """The scenario of a trace by name. Raises `BadOption` and `TraceError`."""
    name, _, part = trace.partition(":")
    if name not in TRACES:
        raise BadOption(unknown("trace", name, tuple(TRACES)))
    if part and name != "pollux":
        raise BadOption(f"--trace {trace}: {name} has no parts.")
    folder, read = TRACES[name]
    if folder and not (asked.folder / folder).is_dir():
        raise BadOption(
            f"--trace {name}: there is no folder {asked.folder / folder}. Traces are not part of Flexai: name the "
            "folder that holds them with --traces or FLEXAI_TRACES; docs/simulation.md says where to get each. "
            "Without --trace, a sample is played that ships with Flexai."
        )
    scenario = checked(read(replace(asked, folder=asked.folder / folder, part=part)))
    return with_quotas(scenario, asked.quotas)


def scenario_of_history(path: Path, asked: Asked) -> Scenario:
    """What the file tells, on its own nodes or on those asked for. Raises `BadOption` and `TraceError`."""
    return with_quotas(checked(_history(path, asked)), asked.quotas)


def _sample(asked: Asked) -> Scenario:
    return _history(SAMPLE, asked)


def _history(path: Path, asked: Asked) -> Scenario:
    if asked.load is not None:
        raise BadOption("--load: a history came as it came; change --nodes instead.")
    history = read_history(path)
    if not (groups := asked.groups or history.groups):
        raise BadOption(f"{path.name} names no nodes: give them with --nodes, such as 4x8:A100-80GB.")
    cluster, names = cluster_of_groups(groups)
    work, homeless = on_types(first_jobs(history.work, asked.jobs or 0), names)
    about = [history.about] if history.about else []
    quotas = tuple(quota for quota in history.quotas if quota.chip_type in names and quota.team in work.teams)
    if len(quotas) < len(history.quotas):
        about.append(
            f"{len(history.quotas) - len(quotas)} quotas are for teams or chip types that are not there."
        )
    return Scenario(work, cluster, (*about, *_told(asked, homeless), *_cut(work, history.work)), quotas)


def _philly(asked: Asked) -> Scenario:
    return _replayed(
        traces.philly(asked.folder),
        asked,
        "Microsoft's Philly cluster (Jeon et al., ATC'19; CC-BY-4.0), replayed in time; virtual clusters are teams.",
    )


def _itp(asked: Asked) -> Scenario:
    return _replayed(
        traces.itp(asked.folder),
        asked,
        "Microsoft's internal training clusters (ElasticFlow, ASPLOS'23; MIT), replayed in time; each of the ten "
        "is a team.",
    )


def _replayed(trace: Workload, asked: Asked, about: str) -> Scenario:
    """The first jobs of a trace of whole-chip gangs on nodes of eight, as many as make the load."""
    work = first_jobs(trace, JOBS if asked.jobs is None else asked.jobs)
    if asked.groups:
        if asked.load is not None:
            raise BadOption("--load chooses the number of nodes; it cannot be given together with --nodes.")
        return _on_nodes(work, asked, (about, *_cut(work, trace)))
    load = REPLAY_LOAD if asked.load is None else asked.load
    nodes = max(1, round(100 * work.chip_time / (max(1, work.span) * load * NODE_CHIPS)))
    widest = -(-int(work.gang_chips.max()) // NODE_CHIPS)
    sized = replace(asked, groups=(NodeGroup(max(nodes, widest), NODE_CHIPS, "chip"),))
    why = f"The nodes are as many as make the chip-time {load} % of what there is until the last submission"
    why += ", or as the largest job needs." if widest > nodes else "."
    return _on_nodes(work, sized, (about, *_cut(work, trace), why))


def _on_nodes(work: Workload, asked: Asked, about: tuple[str, ...]) -> Scenario:
    cluster, names = cluster_of_groups(asked.groups)
    work, _ = on_types(shaped_for(work, cluster), names)
    return Scenario(work, cluster, about)


def _pollux(asked: Asked) -> Scenario:
    """Workload 1 to 8 of the paper, rigid: every job at the size and batch that it was submitted with."""
    number = asked.part or "1"
    if number not in {f"{n}" for n in range(1, 9)}:
        raise BadOption(f"--trace pollux:{number}: there are pollux:1 to pollux:8.")
    if asked.load is not None:
        raise BadOption("--load: a Pollux workload has its own; choose another with pollux:1 to pollux:8.")
    rows = read_workload(asked.folder, "1.0", int(number))
    jobs = [(1000 * row.at, run_alone_ms(asked.folder, row), row.replicas, row.application) for row in rows]
    trace = whole_chip_workload(f"pollux:{number}", jobs)
    work = first_jobs(trace, asked.jobs or 0)
    about = (
        f"Workload {number} of Pollux (Qiao et al., OSDI'21; Apache-2.0), applications are teams. Jobs are rigid here: "
        "each trains at the size and batch it was submitted with, and takes as long as its profile says. Elastic "
        "jobs are measured by `python -m scheduler_core.simulation pollux`."
    )
    sized = replace(asked, groups=asked.groups or (NodeGroup(POLLUX_NODES, POLLUX_CHIPS, "T4"),))
    return _on_nodes(work, sized, (about, *_cut(work, trace)))


def _openb(asked: Asked) -> Scenario:
    """Pods of openb drawn with replacement, on some of its nodes or on those asked for."""
    load = OPENB_LOAD if asked.load is None else asked.load
    own = read_cell(asked.folder, OPENB_EVERY_NODE)
    cluster = cluster_of_groups(asked.groups)[0] if asked.groups else own.cluster
    pods = read_pods(asked.folder, own.type_names)
    drawn = backlog(
        pods,
        Cell(cluster, own.type_names),
        days=OPENB_DAYS,
        seed=asked.seed,
        load=load / 100,
        classes=classes_of(asked.folder),
    )
    names = cluster_of_groups(asked.groups)[1] if asked.groups else own.type_names
    work, homeless = on_types(first_jobs(drawn, JOBS if asked.jobs is None else asked.jobs), names)
    about = (
        "Pods of Alibaba's cluster-trace-gpu-v2023 (openb; Weng et al., ATC'23; Apache-2.0) drawn with replacement by "
        f"seed {asked.seed}, run times clipped to 24 h, Poisson arrivals at {load} % of the capacity; QoS classes "
        "stand for teams."
    )
    where = () if asked.groups else (f"The nodes are every {OPENB_EVERY_NODE}nd of the trace's.",)
    return Scenario(work, cluster, (about, *where, *_told(asked, homeless), *_cut(work, drawn)))


def _told(asked: Asked, homeless: int) -> tuple[str, ...]:
    if not homeless:
        return ()
    return (f"{homeless} jobs name chip types of which these nodes have none; here they may have any.",)


def _cut(work: Workload, trace: Workload) -> tuple[str, ...]:
    if len(work) == len(trace):
        return ()
    return (f"The first {len(work):,} of {len(trace):,} jobs (--jobs).",)


TRACES: dict[str, tuple[str, Callable[[Asked], Scenario]]] = {
    "sample": ("", _sample),
    "openb": ("openb", _openb),
    "philly": ("philly", _philly),
    "itp": ("itp-elasticflow", _itp),
    "pollux": ("pollux-osdi21", _pollux),
}
"""By name: its folder among the traces (none: it ships with the project), and its reader."""
