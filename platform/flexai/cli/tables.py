"""The tables, made to be read in 80 columns; wider terminals get more columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from flexai.cli import output
from flexai.client.types import Chip, Event, Job, Node, Quota, Team, Token, is_final

WIDE_COLUMNS = 110


def table(*columns: str, right: Sequence[str] = (), shrinks: Sequence[str] = ()) -> Table:
    """An empty table in the house's manner; `right` names the figures, `shrinks` what may be cut."""
    made = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False, padding=(0, 1))
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if column in shrinks else None,
        )
    return made


def fitted(made: Table) -> Table:
    """The table, cut to the window in the columns that may be cut when it is too wide."""
    window = output.out()
    made.expand = Measurement.get(window, window.options.update(max_width=1000), made).maximum > window.width
    return made


def jobs_table(jobs: Iterable[Job]) -> Table:
    """One line a job."""
    wide = output.out().width >= WIDE_COLUMNS
    made = table(*_JOB_COLUMNS, *(_JOB_MORE if wide else ()), right=("TIME", "USE", "TRY"), shrinks=_JOB_CUT)
    for job in jobs:
        row: list[Text | str] = [
            job["id"],
            Text(job_name(job)),
            output.status_text(job["status"]),
            output.chips(job["chips"]),
            job_time(job),
        ]
        if wide:
            nodes = ", ".join(output.printable(node) for node in job["nodes"]) or output.NOTHING
            row += [output.percent(job["use_permille"]), str(job["attempt"])]
            row += [
                Text(output.printable(job["team"]["name"])),
                Text(output.printable(job["user"])),
                Text(nodes),
            ]
        made.add_row(*row)
    return fitted(made)


_JOB_COLUMNS = ("JOB", "NAME", "STATUS", "CHIPS", "TIME")
_JOB_CUT = ("NAME", "TEAM", "USER", "NODES")
_JOB_MORE = ("USE", "TRY", "TEAM", "USER", "NODES")


def job_name(job: Job) -> str:
    """The name; a task of an array with its index."""
    name = output.printable(job["name"])
    return name if job["index"] is None else f"{name}[{job['index']}]"


def job_time(job: Job) -> str:
    """How long it ran or runs; while it waits, how long it has waited."""
    if is_final(job["status"]):
        return output.duration(job["run_ms"])
    waits = job["status"] in {"held", "queued", "starting", "suspended"}
    begun = job["submitted_at"] if waits or not job["started_at"] else job["started_at"]
    return output.duration(output.since(begun))


def events_table(events: Iterable[Event]) -> Table:
    """One line an event, oldest first."""
    made = table("WHEN", "MOVE", "WHY")
    made.columns[2].no_wrap = False
    made.columns[2].overflow = "fold"
    for event in events:
        move = f"{event['from_state']} → {event['to_state']}" if event["to_state"] else event["kind"]
        when = event["at"][11:19]
        made.add_row(when, Text(output.printable(move)), Text(output.printable(event["sentence"])))
    return fitted(made)


def nodes_table(nodes: Iterable[Node]) -> Table:
    """One line a node."""
    made = table(
        "NODE", "POOL", "STATUS", "CHIPS", "CPU", "MEMORY", "SEEN", right=("CHIPS", "CPU", "MEMORY", "SEEN")
    )
    for node in nodes:
        name = Text(output.printable(node["name"]))
        if node["simulated"]:
            name.append(" simulated", style="dim italic")
        used = sum(chip["used_milli"] for chip in node["chips"])
        cpu = f"{output.milli(node['used_cpu_milli'])}/{output.milli(node['cpu_milli'])}"
        memory = f"{output.gib(node['used_memory_mib'])} / {output.memory(node['memory_mib'])}"
        made.add_row(
            name,
            Text(output.printable(node["pool"])),
            output.status_text(node["status"]),
            f"{output.milli(used)}/{len(node['chips'])}",
            cpu,
            memory,
            output.duration(output.since(node["last_seen_at"])),
        )
    return fitted(made)


def chips_table(chips: Sequence[Chip], *, rows: int | None = None) -> Table:
    """One line a chip with its live figures; at most `rows`, with the number left out below."""
    sensors = any(chip["temperature_c"] is not None or chip["power_mw"] is not None for chip in chips)
    columns = ["NODE", "CHIP", "TYPE", "USE", "", "MEMORY", *(["°C", "W"] if sensors else []), "JOB"]
    made = table(*columns, right=("CHIP", "", "MEMORY", "°C", "W"), shrinks=("NODE", "JOB"))
    for chip in chips[:rows]:
        cells: list[Text | str] = [
            Text(output.printable(chip.get("node", ""))),
            str(chip["index"]),
            Text(output.printable(chip["type"])),
            output.bar(chip["use_permille"]),
            output.percent(chip["use_permille"]),
            _chip_memory(chip),
        ]
        if sensors:
            watts = None if chip["power_mw"] is None else chip["power_mw"] // 1000
            cells += [_or_nothing(chip["temperature_c"]), _or_nothing(watts)]
        made.add_row(*cells, _holder(chip))
    if rows is not None and len(chips) > rows:
        made.caption = f"and {len(chips) - rows} more chips: make the window higher, or use --json"
    return fitted(made)


def quotas_table(teams: Iterable[Team]) -> Table:
    """One line a team and chip type."""
    made = table(
        "TEAM",
        "CHIP",
        "USED",
        "",
        "GUARANTEED",
        "LIMIT",
        right=("USED", "GUARANTEED", "LIMIT"),
        shrinks=("TEAM", "CHIP"),
    )
    for team in teams:
        for quota in team["quotas"]:
            made.add_row(Text(output.printable(team["name"])), *_quota_cells(quota))
        if not team["quotas"]:
            made.add_row(Text(output.printable(team["name"])), "any", "", "", "none", "no limit")
    return fitted(made)


def tokens_table(tokens: Iterable[Token]) -> Table:
    """One line a token; never a secret."""
    made = table("TOKEN", "NAME", "SCOPES", "EXPIRES", "LAST USED", shrinks=("NAME",))
    for token in tokens:
        made.add_row(
            token["id"],
            Text(output.printable(token["name"])),
            ", ".join(token["scopes"]),
            token["expires_at"][:10],
            output.ago(token["last_used_at"]),
        )
    return fitted(made)


def _quota_cells(quota: Quota) -> list[Text | str]:
    used = quota.get("used_milli", 0)
    guaranteed, limit = quota["guaranteed_milli"], quota["limit_milli"]
    most = max(guaranteed if limit is None else limit, 1)
    figure = Text(output.milli(used), style=output.hue("preempted") if used > guaranteed else "")
    return [
        Text(output.printable(quota["chip_type"])),
        figure,
        output.bar(min(1000, used * 1000 // most), 12),
        output.milli(guaranteed),
        "no limit" if limit is None else output.milli(limit),
    ]


def _chip_memory(chip: Chip) -> str:
    live, total = chip["live_memory_mib"], chip["memory_mib"]
    if live is None:
        return output.memory(total)
    return f"{output.gib(live)} / {output.memory(total)}" if total >= 1024 else f"{live} / {total} MiB"


def _holder(chip: Chip) -> Text:
    if not chip["healthy"]:
        why = f" {output.printable(chip['health_note'])}" if chip["health_note"] else ""
        return output.status_text("offline").append(why, style="dim")
    weak = f" (health {chip['health']})" if chip["health"] < 100 else ""
    if chip["job"] is None:
        return output.status_text("idle").append(weak, style="dim")
    part = "" if chip["used_milli"] >= 1000 else f" ({output.milli(chip['used_milli'])})"
    return Text(output.printable(chip["job"]["name"]) + part).append(weak, style="dim")


def _or_nothing(value: int | None) -> str:
    return output.NOTHING if value is None else str(value)
