"""Tables as text and CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from scheduler_core.simulation.replay.study import Table

COLUMNS = (
    ("policy", "policy", "{}"),
    ("mean_completion", "mean h", "{:.3f}"),
    ("p50_completion", "p50 h", "{:.3f}"),
    ("p99_completion", "p99 h", "{:.2f}"),
    ("mean_wait", "wait h", "{:.3f}"),
    ("p99_wait", "p99 wait h", "{:.2f}"),
    ("mean_queueing", "queue h", "{:.3f}"),
    ("makespan", "makespan h", "{:.0f}"),
    ("allocation", "alloc %", "{:.1f}"),
    ("useful", "useful %", "{:.1f}"),
    ("stranded", "stranded %", "{:.1f}"),
    ("jain", "Jain", "{:.3f}"),
    ("restarts", "restarts", "{}"),
    ("moves", "moves", "{}"),
    ("lost", "lost %", "{:.2f}"),
)


def text_of(table: Table) -> str:
    """The table as people read it, the bar, and who breaks the sharing incentive."""
    header = [title for _, title, _ in COLUMNS] + ["violations"]
    lines = [[*cells(row.summary), str(len(row.violations))] for row in table.rows]
    widths = [max(len(line[at]) for line in [header, *lines]) for at in range(len(header))]
    said = [
        f"{table.trace}, offered load {table.offered:.1f} % ({table.load} % wanted), "
        f"{table.nodes} nodes of 8 chips",
        _line(header, widths),
        *[_line(line, widths) for line in lines],
    ]
    if table.bar is not None:
        impossible = ": below the no-queue floor, no policy can reach it" if table.bar_below_floor else ""
        said.append(f"0.9 x the better of EASY and Tiresias: {table.bar:.3f} h{impossible}")
    if table.row("levels"):
        said.append(
            "levels is the prototype of a rule, played on the simulator's tables; it is not the engine"
        )
    for row in table.rows:
        if row.efforts is not None:
            least, most = row.efforts
            said.append(f"{row.summary.policy}: effort {least} to {most} (S4)")
        said.extend(
            f"sharing incentive, {row.summary.policy}: team {one.team} {one.shared:.2f} h shared, "
            f"{one.alone:.2f} h in {one.guarantee} chips of its own ({one.jobs} jobs)"
            for one in row.violations
        )
    return "\n".join(said)


def cells(summary: object) -> list[str]:
    """The row's figures as text, in the order of the columns."""
    values = [getattr(summary, name) for name, _, _ in COLUMNS]
    return [
        "" if value is None else form.format(value)
        for value, (_, _, form) in zip(values, COLUMNS, strict=True)
    ]


def write_csv(path: Path, tables: Iterable[Table]) -> None:
    """All tables in one CSV file, a row for each policy at each load."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        names = [name for name, _, _ in COLUMNS]
        writer.writerow(["trace", "load", "nodes", *names, "violations"])
        for table in tables:
            for row in table.rows:
                values = [getattr(row.summary, name) for name in names]
                writer.writerow([table.trace, table.load, table.nodes, *values, len(row.violations)])


def _line(cells: list[str], widths: list[int]) -> str:
    first = cells[0].ljust(widths[0])
    return "  ".join([first, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))])
