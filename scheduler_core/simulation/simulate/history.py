"""The history of a cell as a file: what was asked for, when, and how long it ran (X4). JSON lines.

The first line describes the cell, every other line is one job. `docs/simulation.md` has the format.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scheduler_core.model import WHOLE_CHIP
from scheduler_core.simulation.replay.state import CHIPS, CPU, MEMORY
from scheduler_core.simulation.simulate.options import ENDLESS, MOST_CHIPS, MOST_NODES, NodeGroup, TeamQuota
from scheduler_core.simulation.simulate.scenario import Scenario
from scheduler_core.simulation.tables import TraceError
from scheduler_core.simulation.workload import Workload, whole

VERSION = 1
LONGEST_MS = 366 * 24 * 3_600_000
LATEST_MS = 10**14
"""An instant after the year 5000 is a bad row."""
MOST_REPLICAS, MOST_MILLICORES, MOST_MIB = 4096, 10**7, 1 << 30

HEADER = ("flexai_history", "name", "about", "nodes", "quotas")
QUOTA = ("team", "chip_type", "guaranteed_chips", "limit_chips")
GROUP = ("count", "chips", "chip_type", "cpu_millicores", "memory_mib")
JOB = (
    "name", "team", "submitted_ms", "run_ms", "replicas", "chips", "milli_chips", "chip_types", "cpu_millicores",
    "memory_mib",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class History:
    """A history as it was read. `groups` is empty where the file names no nodes."""

    work: Workload
    groups: tuple[NodeGroup, ...]
    about: str
    quotas: tuple[TeamQuota, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the file, its keys read with bounds. Every refusal names file, line and key."""

    path: Path
    number: int
    values: Mapping[str, Any]

    def whole(self, key: str, at_least: int, at_most: int, default: int | None = None) -> int:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, "missing" if value is None else f"{value!r} is not a whole number")
        if not at_least <= value <= at_most:
            raise self.error(key, f"{value} is not between {at_least} and {at_most}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self.values.get(key, default)
        if not isinstance(value, str) or (not value and default is None):
            raise self.error(key, "missing" if value is None else f"{value!r} is not a text")
        return value

    def listed(self, key: str) -> list[Any]:
        value = self.values.get(key, [])
        if not isinstance(value, list):
            raise self.error(key, f"{value!r} is not a list")
        return value

    def only(self, known: tuple[str, ...]) -> None:
        for key in self.values:
            if key not in known:
                raise self.error(key, f"not a key of this line; there are {', '.join(known)}")

    def error(self, key: str, problem: str) -> TraceError:
        return TraceError(self.path, self.number, key, problem)


def read_history(path: Path) -> History:
    """The history in the file (gzipped where its name ends in .gz); submissions count from the first. A job that
    never ran is left out: it holds nothing for any time. Raises `TraceError`.
    """
    lines = _lines(path)
    header = next(lines, None)
    if header is None or header.values.get("flexai_history") != VERSION:
        raise TraceError(path, 1, "flexai_history", f"the first line must say so, with version {VERSION}")
    header.only(HEADER)
    groups = tuple(_group(header, row) for row in header.listed("nodes"))
    jobs = sorted((line for line in lines if _ran(line)), key=lambda line: int(line.values["submitted_ms"]))
    if not jobs:
        raise TraceError(path, None, None, "holds no job that ran")
    work = _workload(header.text("name", path.stem), jobs)
    quotas = tuple(_quota(header, row) for row in header.listed("quotas"))
    return History(work, groups, header.text("about", ""), quotas)


def write_history(path: Path, scenario: Scenario) -> None:
    """The scenario's cell and jobs as a history, that `read_history` reads as they are."""
    work = scenario.work
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as stream:
        header: dict[str, object] = {
            "flexai_history": VERSION,
            "name": work.name,
            "about": " ".join(scenario.about),
        }
        header |= {"nodes": _groups_of(scenario), "quotas": _quotas_of(scenario)}
        stream.write(json.dumps(header, ensure_ascii=False) + "\n")
        for job in range(len(work)):
            stream.write(json.dumps(_job_line(work, job), ensure_ascii=False) + "\n")


def _lines(path: Path) -> Iterator[_Line]:
    if not path.is_file():
        raise TraceError(path, None, None, f"there is no such file in {path.parent}")
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as stream:
            for number, text in enumerate(stream, start=1):
                if text.strip():
                    yield _Line(path, number, _object(path, number, text))
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(path, None, None, f"cannot be read as text: {error}") from error


def _object(path: Path, number: int, text: str) -> Mapping[str, Any]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise TraceError(path, number, None, f"is not JSON: {error.msg}") from error
    if not isinstance(values, dict):
        raise TraceError(path, number, None, "is not a JSON object")
    return values


def _group(header: _Line, row: object) -> NodeGroup:
    if not isinstance(row, dict):
        raise header.error("nodes", f"{row!r} is not a JSON object")
    group = _Line(header.path, header.number, row)
    group.only(GROUP)
    return NodeGroup(
        group.whole("count", 1, MOST_NODES),
        group.whole("chips", 1, MOST_CHIPS),
        group.text("chip_type"),
        group.whole("cpu_millicores", 0, MOST_MILLICORES) if "cpu_millicores" in row else None,
        group.whole("memory_mib", 0, MOST_MIB) if "memory_mib" in row else None,
    )


def _quota(header: _Line, row: object) -> TeamQuota:
    if not isinstance(row, dict):
        raise header.error("quotas", f"{row!r} is not a JSON object")
    quota = _Line(header.path, header.number, row)
    quota.only(QUOTA)
    guaranteed = quota.whole("guaranteed_chips", 0, MOST_NODES * MOST_CHIPS, 0)
    limit = quota.whole("limit_chips", guaranteed, MOST_NODES * MOST_CHIPS) if "limit_chips" in row else None
    return TeamQuota(quota.text("team"), quota.text("chip_type"), guaranteed, limit)


def _quotas_of(scenario: Scenario) -> list[dict[str, object]]:
    rows = []
    for quota in scenario.quotas:
        limit = {} if quota.limit is None else {"limit_chips": quota.limit}
        row = {"team": quota.team, "chip_type": quota.chip_type, "guaranteed_chips": quota.guaranteed}
        rows.append(row | limit)
    return rows


def _ran(line: _Line) -> bool:
    line.only(JOB)
    line.whole("submitted_ms", 0, LATEST_MS)
    if line.values.get("milli_chips") is not None and line.values.get("chips") not in (None, 0):
        raise line.error("milli_chips", "a replica has whole chips or a part of one, not both")
    return line.whole("run_ms", 0, LONGEST_MS) > 0


def _workload(name: str, jobs: list[_Line]) -> Workload:
    teams = tuple(sorted({job.text("team") for job in jobs}))
    types = tuple(sorted({_text(job, kind) for job in jobs for kind in job.listed("chip_types")})) or (
        "chip",
    )
    first = int(jobs[0].values["submitted_ms"])
    slices = [
        job.whole("milli_chips", 1, WHOLE_CHIP - 1, 0) if "milli_chips" in job.values else 0 for job in jobs
    ]
    chips = [job.whole("chips", 0, MOST_CHIPS, 0) for job in jobs]
    return Workload(
        name,
        submit=whole(int(job.values["submitted_ms"]) - first for job in jobs),
        runtime=whole(int(job.values["run_ms"]) for job in jobs),
        replicas=whole(job.whole("replicas", 1, MOST_REPLICAS, 1) for job in jobs),
        chips=whole(count or (part > 0) for count, part in zip(chips, slices, strict=True)),
        milli=whole(part or WHOLE_CHIP * count for count, part in zip(chips, slices, strict=True)),
        cpu=whole(job.whole("cpu_millicores", 0, MOST_MILLICORES, 0) for job in jobs),
        memory=whole(job.whole("memory_mib", 0, MOST_MIB, 0) for job in jobs),
        team=whole(teams.index(job.text("team")) for job in jobs),
        types=whole(_mask(job, types) for job in jobs),
        teams=teams,
        type_names=types,
    )


def _mask(job: _Line, types: tuple[str, ...]) -> int:
    named = set(job.listed("chip_types")) or set(types)
    return sum(1 << types.index(name) for name in named)


def _text(job: _Line, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise job.error("chip_types", f"{value!r} is not a name")
    return value


def _groups_of(scenario: Scenario) -> list[dict[str, object]]:
    """Equal nodes that stand side by side are one group."""
    groups: list[dict[str, object]] = []
    names = scenario.work.type_names
    for row, bit in zip(scenario.cluster.capacity.tolist(), scenario.cluster.types.tolist(), strict=True):
        group = {"chips": row[CHIPS], "chip_type": names[bit.bit_length() - 1]}
        limits = {"cpu_millicores": row[CPU], "memory_mib": row[MEMORY]}
        group |= {key: value for key, value in limits.items() if value < ENDLESS}
        if groups and {**groups[-1], "count": 1} == {"count": 1, **group}:
            groups[-1]["count"] = int(str(groups[-1]["count"])) + 1
        else:
            groups.append({"count": 1, **group})
    return groups


def _job_line(work: Workload, job: int) -> dict[str, object]:
    """What a job asked for; what it did not ask for is left out."""
    mask, every = int(work.types[job]), (1 << len(work.type_names)) - 1
    chips, milli = int(work.chips[job]), int(work.milli[job])
    asked: dict[str, object] = {
        "replicas": int(work.replicas[job]) if work.replicas[job] > 1 else 0,
        "milli_chips": milli if chips == 1 and milli < WHOLE_CHIP else 0,
        "chips": 0 if chips == 1 and milli < WHOLE_CHIP else chips,
        "chip_types": [name for bit, name in enumerate(work.type_names) if mask >> bit & 1]
        if mask != every
        else [],
        "cpu_millicores": int(work.cpu[job]),
        "memory_mib": int(work.memory[job]),
    }
    return {
        "team": work.teams[int(work.team[job])],
        "submitted_ms": int(work.submit[job]),
        "run_ms": int(work.runtime[job]),
        **{key: value for key, value in asked.items() if value},
    }
