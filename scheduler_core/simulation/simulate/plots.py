"""Plots of a study as SVG that takes its colours from the page around it, in light and in dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from scheduler_core.simulation.simulate.measures import Judged, window_of
from scheduler_core.simulation.simulate.players import ABOUT
from scheduler_core.simulation.simulate.showing import HOUR_MS, Study

INK, MUTED, GRID = "#0a0b01", "#0a0b02", "#0a0b03"
POLICY_COLOURS = {policy: f"#0a0c{number:02x}" for number, policy in enumerate(ABOUT)}
"""Stand-ins, each replaced by a variable of the page's style: no plot knows whether it is light or dark."""
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid"} | {
    colour: f"--{policy}" for policy, colour in POLICY_COLOURS.items()
}
Dashes: TypeAlias = tuple[float, tuple[float, ...]]
DASHES: dict[str, Dashes] = {"best-fit": (0, (5, 3)), "fgd": (0, (1.5, 2.5)), "easy-oracle": (2, (5, 3))}
BINS = 240
"""Steps of a plot over time."""
SHORTEST_H = 1 / 60
"""Times are plotted from a minute on."""


def utilisation(study: Study) -> str:
    """Of every policy: what jobs held and what of it was asked for, while jobs came."""
    figure, axes = _figure(11, 0.45 + 0.3 * len(study.judged))
    for place, one in enumerate(reversed(study.judged)):
        figures, colour = one.measures, POLICY_COLOURS[one.measures.policy]
        axes.barh(place, figures.allocation, height=0.62, color=colour, alpha=0.28, linewidth=0)
        axes.barh(place, figures.useful, height=0.62, color=colour, linewidth=0)
        end = max(figures.allocation, figures.useful)
        axes.text(end + 0.8, place, f"{figures.useful:.1f}", va="center", color=INK)
    axes.set_yticks(range(len(study.judged)), [one.measures.policy for one in reversed(study.judged)])
    axes.set_xlim(0, 105)
    axes.set_xticks(range(0, 101, 20), [f"{percent} %" for percent in range(0, 101, 20)])
    _plain(axes, grid="x")
    axes.tick_params(axis="y", colors=INK)
    return _svg(figure, "utilisation")


def completion(study: Study) -> str:
    """What part of the jobs was done within so long after its submission."""
    return _within(study, "completion", lambda one: one.tape.outcome.finished)


def waiting(study: Study) -> str:
    """What part of the jobs had started within so long after its submission."""
    return _within(study, "waiting", lambda one: one.tape.outcome.first_start)


def over_time(study: Study) -> str:
    """Of every policy over time: chips up, held, and useful."""
    edges = _edges(study)
    figure = Figure(figsize=(11, 0.5 + 0.9 * len(study.judged)), layout="constrained")
    for axes, one in zip(_column(figure, len(study.judged)), study.judged, strict=True):
        series, colour = one.series, POLICY_COLOURS[one.measures.policy]
        middle = (edges[:-1] + edges[1:]) / 2 / HOUR_MS
        held, useful, up = (
            series.means(values, edges) / 1000 for values in (series.held, series.useful, series.up)
        )
        axes.fill_between(middle, held, step="mid", color=colour, alpha=0.28, linewidth=0)
        axes.fill_between(middle, useful, step="mid", color=colour, linewidth=0)
        axes.step(middle, up, where="mid", color=MUTED, linewidth=0.8)
        axes.set_title(one.measures.policy, loc="left", color=INK, fontsize=9, pad=3)
        axes.set_ylim(0, study.scenario.cluster.chips * 1.08)
        axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        _over_hours(axes, study, edges)
    axes.tick_params(labelbottom=True)
    return _svg(figure, "time")


def queue(study: Study) -> str:
    """Jobs that wait, over time."""
    figure, axes = _figure(11, 2.4)
    edges = _edges(study)
    middle = (edges[:-1] + edges[1:]) / 2 / HOUR_MS
    for one in study.judged:
        style = _style(one)
        waiting = one.series.means(one.series.waiting, edges)
        axes.plot(
            middle,
            waiting,
            color=style.colour,
            linewidth=style.width,
            linestyle=style.dashes,
            zorder=style.order,
        )
    axes.set_ylim(bottom=0)
    _over_hours(axes, study, edges)
    axes.tick_params(labelbottom=True)
    return _svg(figure, "queue")


def _within(study: Study, name: str, instant: Callable[[Judged], NDArray[np.int64]]) -> str:
    figure, axes = _figure(5.4, 2.7)
    hours = [_sorted_hours(study, one, instant(one)) for one in study.judged]
    right = max(1.0, *(float(found[-1]) for found in hours)) * 1.15
    for one, found in zip(study.judged, hours, strict=True):
        share = 100 * np.arange(1, len(found) + 1) / len(found)
        at_once = max(int((found <= SHORTEST_H).sum()) - 1, 0)
        style = _style(one)
        axes.step(
            np.append(found[at_once:], right), np.append(share[at_once:], 100), where="post", color=style.colour,
            linewidth=style.width, linestyle=style.dashes, zorder=style.order,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(SHORTEST_H, right)
    ticks = [tick for tick in (1 / 60, 1 / 6, 1, 10, 100, 1000, 10_000) if tick <= right]
    axes.set_xticks(ticks, [_hours(tick) for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", length=0)
    axes.set_ylim(0, 101)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda percent, _: f"{percent:.0f} %"))
    _plain(axes, grid="both")
    return _svg(figure, name)


def _sorted_hours(study: Study, one: Judged, instants: NDArray[np.int64]) -> NDArray[np.float64]:
    """From the submission to the instant, of all jobs that ended, none below the left edge of the plot."""
    done = one.tape.outcome.finished >= 0
    hours = np.sort((instants - study.scenario.work.submit)[done]) / HOUR_MS
    return np.asarray(np.maximum(hours, SHORTEST_H), np.float64)


def _hours(hours: float) -> str:
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:,.0f} h"


def _edges(study: Study) -> NDArray[np.int64]:
    end = max(int(one.tape.outcome.finished.max()) for one in study.judged)
    return np.unique(np.linspace(0, max(end, BINS), BINS + 1).astype(np.int64))


def _over_hours(axes: Axes, study: Study, edges: NDArray[np.int64]) -> None:
    """Hours across; a line where the last job comes."""
    axes.set_xlim(0, int(edges[-1]) / HOUR_MS)
    axes.axvline(
        window_of(study.scenario)[1] / HOUR_MS, color=INK, linewidth=0.9, linestyle=(0, (3, 3)), zorder=5
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda hours, _: f"{hours:g} h"))
    axes.tick_params(labelbottom=False)
    _plain(axes, grid="y")


class _Style(NamedTuple):
    colour: str
    width: float
    dashes: Dashes
    order: int


def _style(one: Judged) -> _Style:
    """Ours is drawn last and thick; lines that often lie on each other are broken differently."""
    policy = one.measures.policy
    ours = policy == "flexai"
    return _Style(
        POLICY_COLOURS[policy],
        2.4 if ours else 1.5,
        DASHES.get(policy, (0, ())),
        4 if ours else 2 + (policy in DASHES),
    )


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _column(figure: Figure, count: int) -> Iterator[Axes]:
    for place in range(count):
        yield figure.add_subplot(count, 1, place + 1)


def _plain(axes: Axes, *, grid: str) -> None:
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.tick_params(colors=MUTED, length=0, pad=5)


def _svg(figure: Figure, name: str) -> str:
    """The figure as an element of a page: no prologue, no metadata, no identifier that another figure has."""
    target = io.StringIO()
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9}):
        figure.savefig(target, format="svg", metadata={"Date": None})
    text = target.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", text)
    text = re.sub(r'(url\(#|href="#| id=")(?=[^)"])', rf"\g<1>{name}-", text)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', rf'\1 class="{name}"', text)
    text = re.sub(r"(\d\.\d\d)\d+", r"\1", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text
