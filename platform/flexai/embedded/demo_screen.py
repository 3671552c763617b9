"""What `flexai demo` shows: a live table while jobs run, and a summary after."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flexai.client.types import is_final
from flexai.embedded.demo import Demo, Story

REFRESH_SECONDS = 0.25
STATUS_STYLE = {
    "queued": "yellow", "held": "yellow", "starting": "cyan", "running": "bright_blue", "succeeded": "green",
    "failed": "red", "cancelled": "red", "timed_out": "red", "unreachable": "magenta",
}  # fmt: skip


def show(demo: Demo, console: Console, pause: Callable[[float], None]) -> None:
    """Shows the demo until it is done. On a terminal a table that moves, else a line for every move. `pause`
    waits."""
    if console.is_terminal:
        with Live(live_table(demo), console=console, auto_refresh=False, transient=True) as live:
            while not demo.done.is_set():
                pause(REFRESH_SECONDS)
                live.update(live_table(demo), refresh=True)
        return
    seen: dict[str, str] = {}
    while True:
        done = demo.done.is_set()
        for story in list(demo.stories):
            status = story.job["status"]
            if seen.get(story.job["id"]) != status:
                seen[story.job["id"]] = status
                because = f": {story.waited_because}" if status == "queued" and story.waited_because else ""
                console.print(f"{time.monotonic() - demo.began:6.1f} s  {story.name:<20} {status}{because}")
        if done:
            return
        pause(REFRESH_SECONDS)


def live_table(demo: Demo) -> RenderableType:
    """Every job as it is now, above a bar of how many have ended."""
    table = Table(box=None, pad_edge=False, expand=True)
    for heading in ("Job", "Team", "State", "Try", "Ran", ""):
        table.add_column(heading, no_wrap=True, ratio=4 if not heading else None, overflow="ellipsis")
    stories = list(demo.stories)
    for story in stories:
        job = story.job
        table.add_row(
            story.name,
            story.team,
            _status(story),
            str(job["attempt"] or ""),
            _seconds(job["run_ms"]),
            _note(story),
        )
    ended = sum(1 for story in stories if is_final(story.job["status"]))
    bar = ProgressBar(total=max(len(stories), 1), completed=ended, width=40)
    clock = Text(f"{ended} of {len(stories)} jobs have ended · {time.monotonic() - demo.began:.0f} s")
    return Group(Text("Running the sample jobs", style="bold"), table, Text(), bar, clock)


def summary(demo: Demo) -> RenderableType:
    """What became of every job: state, wait, run time, chip use, where it ran."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Job", "Team", "State"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Try", "Waited", "Ran", "Chips", "Use"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Where", overflow="fold")
    for story in demo.stories:
        job = story.job
        use = f"{job['use_permille'] / 10:.0f} %" if job["use_permille"] is not None else ""
        table.add_row(
            story.name, story.team, _status(story), str(job["attempt"]), _seconds(job["wait_ms"]),
            _seconds(job["run_ms"]), f"{job['chips']['total_milli'] / 1000:g}", use, ", ".join(job["nodes"]),
        )  # fmt: skip
    notes = [
        Text(f"{s.name} waited: {s.waited_because}", style="dim")
        for s in demo.stories
        if s.example == "bigram"
    ]
    wrong = [
        Text(f"✗ {story.name}: {problem}", style="red")
        for story in demo.stories
        for problem in story.problems
    ]
    verdict = (
        Text("✓ Every job ended as expected.", style="green")
        if demo.ok
        else Text("✗ Not as expected.", style="red")
    )
    title = Text(f"{len(demo.stories)} jobs in {demo.seconds:.0f} s\n", style="bold")
    return Group(
        title,
        table,
        Text(),
        *notes,
        *wrong,
        *([Text(f"✗ {demo.error}", style="red")] if demo.error else []),
        verdict,
    )


def _status(story: Story) -> Text:
    status = story.job["status"]
    return Text(status, style="red" if story.problems else STATUS_STYLE.get(status, ""))


def _note(story: Story) -> Text:
    text = story.waited_because if story.job["status"] == "queued" else story.last_line
    return Text(text, style="dim", no_wrap=True, overflow="ellipsis")


def _seconds(milliseconds: int | None) -> str:
    return "" if milliseconds is None else f"{milliseconds / 1000:.1f} s"
