"""The report of a study: one HTML file that needs nothing else, readable in light and in dark."""

from __future__ import annotations

from dataclasses import asdict
from html import escape
from importlib.metadata import version
from pathlib import Path

from scheduler_core import Policy
from scheduler_core.simulation.simulate import plots
from scheduler_core.simulation.simulate.energy import MODEL
from scheduler_core.simulation.simulate.players import ABOUT, ENGINES
from scheduler_core.simulation.simulate.showing import FIGURES, Study, best_of, gain_of

STYLE = Path(__file__).parent / "report.css"
MOST_TEAMS = 20
"""Rows of the table of teams: those with most chips."""


def write_report(path: Path, study: Study) -> None:
    """The report, in this file. The same study gives the same bytes: it holds no date."""
    title = f"Simulation: {study.scenario.work.name}"
    path.write_text(
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>\n{STYLE.read_text()}</style>\n</head>\n<body>\n<main>\n{_body(title, study)}</main>\n</body>\n"
        "</html>\n"
    )


def _body(title: str, study: Study) -> str:
    parts = [_head(title, study)]
    if study.judged:
        parts += [_legend(study), _plots(study), _table(study), _teams(study)]
    parts += [
        _notes(study),
        _policies(study),
        f"<footer>flexai simulate, version {version('flexai')}</footer>\n",
    ]
    return "".join(parts)


def _head(title: str, study: Study) -> str:
    scenario = study.scenario
    facts = (
        f"{len(scenario.work):,} jobs of {len(scenario.work.teams)} teams on {scenario.cluster.chips:,} chips "
        f"({scenario.nodes}), offered load {scenario.offered:.0f} %, seed {study.seed}. A simulation: nothing here "
        "was measured on chips."
    )
    result = f'<p class="result">{escape(gain)}</p>\n' if (gain := gain_of(study)) else ""
    return f'<h1>{escape(title)}</h1>\n<p class="facts">{escape(facts)}</p>\n{result}'


def _legend(study: Study) -> str:
    items = "".join(
        f'<li><i style="background: var(--{one.measures.policy})"></i>{one.measures.policy}</li>'
        for one in study.judged
    )
    return f'<ul class="legend">{items}</ul>\n'


def _plots(study: Study) -> str:
    window = "The broken line is the last submission."
    return (
        _section(
            "Utilisation",
            "Solid: useful, that is asked for and worked on. Pale: held.",
            plots.utilisation(study),
        )
        + '<div class="pair">\n'
        + _section("Completion", "Jobs done within so long after their submission.", plots.completion(study))
        + _section("Waiting", "Jobs started within so long after their submission.", plots.waiting(study))
        + "</div>\n"
        + _section(
            "Chips over time", f"Solid: useful. Pale: held. Line: up. {window}", plots.over_time(study)
        )
        + _section("Jobs that wait", window, plots.queue(study))
    )


def _section(title: str, about: str, content: str) -> str:
    picture = (
        f'<div role="img" aria-label="{escape(title)}">{content}</div>' if "<svg" in content else content
    )
    told = f"<p>{escape(about)}</p>\n" if about else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{told}{picture}\n</section>\n"


def _table(study: Study) -> str:
    rows = []
    for figure in FIGURES:
        best = best_of(figure, study.judged)
        cells = [
            (figure.text(one.measures), "best" if one.measures.policy in best else "") for one in study.judged
        ]
        rows.append((figure.title, cells))
    return _section("All figures", "The best of each in colour.", _grid("", study, rows))


def _teams(study: Study) -> str:
    """Every team's completion time beside the one in its own part of the cluster."""
    teams = sorted(study.judged[0].teams, key=lambda team: (-team.guarantee, team.team))[:MOST_TEAMS]
    if not teams:
        return ""
    found = {(one.measures.policy, team.team): team for one in study.judged for team in one.teams}
    rows = []
    for team in teams:
        ratios = [found[one.measures.policy, team.team] for one in study.judged]
        cells = [(f"{mine.shared / mine.alone:.2f}", "worse" if mine.violated else "") for mine in ratios]
        rows.append((f"{team.team} ({team.guarantee} chips, {team.jobs:,} jobs)", cells))
    about = (
        "Finish-time fairness: each team's mean completion over that in its own part of the cluster, as large as its "
        "share of the chip-time, under EASY. Above 1.05 it would do better alone, in colour. Jobs larger than the "
        "part are left out."
    )
    return _section("Teams", about, _grid("team", study, rows))


def _grid(corner: str, study: Study, rows: list[tuple[str, list[tuple[str, str]]]]) -> str:
    """A table with the policies across."""
    head = "".join(f'<th scope="col">{one.measures.policy}</th>' for one in study.judged)
    lines = "".join(
        f'<tr><th scope="row">{escape(title)}</th>{"".join(map(_cell, cells))}</tr>\n'
        for title, cells in rows
    )
    return (
        f'<div class="scroll"><table>\n<thead><tr><th scope="col">{corner}</th>{head}</tr></thead>\n'
        f"<tbody>\n{lines}</tbody>\n</table></div>"
    )


def _cell(cell: tuple[str, str]) -> str:
    text, kind = cell
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def _notes(study: Study) -> str:
    items = "".join(f"<li>{escape(note)}</li>\n" for note in [*study.notes, MODEL])
    return _section("What is simulated", "", f'<ul class="notes">\n{items}</ul>')


def _policies(study: Study) -> str:
    names = [one.measures.policy for one in study.judged] + list(study.failed)
    told = "".join(f"<dt>{name}</dt><dd>{escape(ABOUT[name])}</dd>\n" for name in names)
    numbers = ", ".join(f"{name} {_number(value)}" for name, value in asdict(Policy()).items())
    engine = f"<dt>default policy</dt><dd>{escape(numbers)}</dd>\n" if set(names) & set(ENGINES) else ""
    return _section("Policies", "", f"<dl>\n{told}{engine}</dl>")


def _number(value: object) -> str:
    """A number of the policy; of a long row of them, how many and from where to where."""
    if isinstance(value, tuple) and len(value) > 3:
        return f"{len(value)} from {value[0]} to {value[-1]}"
    return f"{value}"
