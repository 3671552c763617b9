"""The figures of all policies side by side: for a terminal, as CSV, as one JSON object."""

from __future__ import annotations

import csv
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

from rich.table import Table

from scheduler_core.simulation.replay.state import CPU
from scheduler_core.simulation.simulate.faults import horizon
from scheduler_core.simulation.simulate.measures import Judged, Measures, window_of
from scheduler_core.simulation.simulate.options import ENDLESS, Faults, TeamQuota
from scheduler_core.simulation.simulate.players import ENGINES, Setting
from scheduler_core.simulation.simulate.scenario import Scenario

MORE, LESS, NEITHER = 1, -1, 0
"""Which is better."""
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: a field of `Measures`, what people call it, how it is written, what is better."""

    field: str
    title: str
    form: str
    better: int

    def text(self, measures: Measures) -> str:
        value = getattr(measures, self.field)
        return "–" if value is None or value == "" else self.form.format(value)


FIGURES = (
    Figure("useful", "useful utilisation %", "{:.1f}", MORE),
    Figure("allocation", "allocation %", "{:.1f}", NEITHER),
    Figure("fragmentation", "free while jobs wait %", "{:.1f}", LESS),
    Figure("mean_wait", "wait, mean h", "{:.3f}", LESS),
    Figure("p50_wait", "wait, p50 h", "{:.3f}", LESS),
    Figure("p99_wait", "wait, p99 h", "{:.2f}", LESS),
    Figure("mean_completion", "completion, mean h", "{:.3f}", LESS),
    Figure("p50_completion", "completion, p50 h", "{:.3f}", LESS),
    Figure("p99_completion", "completion, p99 h", "{:.2f}", LESS),
    Figure("makespan", "makespan h", "{:.1f}", LESS),
    Figure("jain", "fairness (Jain)", "{:.3f}", MORE),
    Figure("finish_time_fairness", "finish-time fairness", "{:.2f}", LESS),
    Figure("preemptions", "preemptions", "{:,}", NEITHER),
    Figure("moves", "moves", "{:,}", NEITHER),
    Figure("interruptions", "lost to node faults", "{:,}", NEITHER),
    Figure("lost_chip_hours", "restarting, chip-hours", "{:.2f}", LESS),
    Figure("energy_kwh", "energy kWh (estimate)", "{:,.0f}", LESS),
)


@dataclass(frozen=True, slots=True)
class Study:
    """All that was played and found. `failed`: by policy, why it came to no end."""

    scenario: Scenario
    setting: Setting
    faults: Faults | None
    seed: int
    judged: list[Judged]
    failed: dict[str, str]

    @property
    def notes(self) -> list[str]:
        """What has to be known to read the figures, in sentences."""
        return [*self.scenario.about, *_manner(self), *_left_out(self)]


def best_of(figure: Figure, judged: list[Judged]) -> set[str]:
    """The policies whose value is the best of all as it is written; none where all are alike or none is better."""
    values = {one.measures.policy: getattr(one.measures, figure.field) for one in judged}
    known = {policy: value for policy, value in values.items() if value is not None}
    written = {policy: figure.form.format(value) for policy, value in known.items()}
    if figure.better == NEITHER or len(set(written.values())) < 2:
        return set()
    best = max(known, key=lambda policy: figure.better * known[policy])
    return {policy for policy, text in written.items() if text == written[best]}


def table_of(study: Study) -> Table:
    """Figures down, policies across; the best of each in bold."""
    table = Table("")
    for one in study.judged:
        table.add_column(one.measures.policy, justify="right")
    for figure in FIGURES:
        best = best_of(figure, study.judged)
        cells = [
            f"[bold green]{figure.text(one.measures)}[/]"
            if one.measures.policy in best
            else figure.text(one.measures)
            for one in study.judged
        ]
        table.add_row(figure.title, *cells)
    return table


def gain_of(study: Study) -> str:
    """What the engine's useful utilisation is against static whole-chip FIFO, in a sentence; empty without both."""
    useful = {one.measures.policy: one.measures.useful for one in study.judged}
    if not useful.get("fifo") or "flexai" not in useful:
        return ""
    gain = 100 * (useful["flexai"] / useful["fifo"] - 1)
    return (
        f"Useful utilisation: flexai {useful['flexai']:.1f} %, static whole-chip FIFO {useful['fifo']:.1f} % "
        f"({round(gain):+d} %)."
    )


def write_csv(path: Path, study: Study) -> None:
    """A row for each policy, every figure a column."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["trace", "cluster", "seed", *(field.name for field in fields(Measures))])
        for one in study.judged:
            scenario = study.scenario
            writer.writerow([scenario.work.name, scenario.nodes, study.seed, *astuple(one.measures)])


def object_of(study: Study) -> dict[str, object]:
    """The study as plain values."""
    scenario = study.scenario
    return {
        "trace": scenario.work.name,
        "cluster": scenario.nodes,
        "chips": scenario.cluster.chips,
        "jobs": len(scenario.work),
        "offered": scenario.offered,
        "seed": study.seed,
        "faults": study.faults and {"between_ms": study.faults.between, "repair_ms": study.faults.repair},
        "losses": len(study.setting.losses),
        "round_ms": study.setting.round_ms,
        "restart_ms": study.setting.restart_ms,
        "notes": study.notes,
        "policies": [
            {
                **asdict(one.measures),
                "teams": [
                    {"team": team.team, "chips": team.guarantee, "jobs": team.jobs, "shared": team.shared,
                     "alone": team.alone}
                    for team in one.teams
                ],
            }
            for one in study.judged
        ],
        "failed": study.failed,
    }  # fmt: skip


def _manner(study: Study) -> list[str]:
    start, end = window_of(study.scenario)
    restart, every = study.setting.restart_ms // 1000, study.setting.round_ms // 1000
    told = [
        f"Utilisation is measured over the {(end - start) / HOUR_MS:.1f} h in which jobs come; the other figures until "
        "the last job has ended.",
        "Jobs run as long as the trace says, wherever they are; all can be taken back, keep what they have done, "
        f"and pay {restart} s for each further start. No policy but an oracle sees a run time before the job has "
        "ended.",
    ]
    if (study.scenario.cluster.capacity[:, CPU:] >= ENDLESS).all():
        told.append("Host CPU and memory of these nodes never limit.")
    if engines := [one for one in study.judged if one.measures.policy in ENGINES]:
        efforts = ", ".join(f"{one.measures.policy} {one.measures.effort}" for one in engines)
        told.append(
            f"The engine decides every {every} s while jobs wait, every {every * study.setting.quiet_rounds} s "
            f"while nothing changes; the others at once. Its effort (S4) was: {efforts}."
        )
    if study.scenario.quotas:
        told.append(
            f"Quotas, which only the engine heeds: {', '.join(map(_promise, study.scenario.quotas))}."
        )
    if study.faults is not None:
        told.append(
            f"Node faults, drawn by seed {study.seed}: each node is lost every {_span(study.faults.between)} on "
            f"average and back after {_span(study.faults.repair)}; {len(study.setting.losses)} until "
            f"{horizon(study.scenario) / HOUR_MS:.0f} h, the same for every policy."
        )
    return told


def _left_out(study: Study) -> list[str]:
    refused = study.scenario.refused
    told = [f"{refused} jobs are larger than the whole cluster and are in no figure."] if refused else []
    return told + [f"{name} came to no end and is in no table: {why}." for name, why in study.failed.items()]


def _promise(quota: TeamQuota) -> str:
    limit = "" if quota.limit is None else f", at most {quota.limit}"
    return f"{quota.team} {quota.guaranteed} {quota.chip_type} guaranteed{limit}"


def _span(milliseconds: int) -> str:
    hours = milliseconds / HOUR_MS
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} h" if hours >= 1 else f"{hours * 60:g} min"
