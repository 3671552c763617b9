"""Plays a day of a cell again under static whole-chip FIFO, and keeps what that says of the scheduler (X4).

The naive comparison takes two simulations. But what really happened is on record, so one side is no simulation: chip
time that jobs really had, and time in which they really waited, stand against the same jobs under FIFO. How far the
simulator is off is measured by playing Flexai itself and comparing that with what really happened.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from flexai.common import clock
from flexai.common.database import prepared_cursor
from flexai.common.errors import InvalidInput
from flexai.scheduling.models import Saving
from flexai.scheduling.past import Past, past_of
from flexai.scheduling.savings import UNFINISHED
from scheduler_core.simulation.simulate.energy import IDLE_PERCENT, board_watts
from scheduler_core.simulation.simulate.history import History, read_history
from scheduler_core.simulation.simulate.options import BadOption, cluster_of_groups
from scheduler_core.simulation.simulate.players import Setting, play
from scheduler_core.simulation.simulate.scenario import Scenario, checked, on_types, with_quotas

MOST_JOBS: Final = 20_000
"""Of a day that is played; FIFO takes seconds for so many."""
MOST_JOBS_OF_ENGINE: Final = 1_500
"""Beyond, the simulator's error is not measured: the engine decides for minutes."""
ENGINE_ROUND_MS: Final = 10_000
IDLE_BELOW: Final = 50
"""Permille of use; an hour with less tells what an idle chip draws."""


@dataclass(frozen=True, slots=True)
class _Waits:
    """A simulated day. Milliseconds; `refused`: jobs that it could not hold."""

    waited: int
    span: int
    refused: frozenset[int]
    """Their places."""


def keep_saving(cell_id: int, day: date) -> Saving:
    """The day's row is there: with its figures, or with why it has none."""
    row, _ = Saving.objects.update_or_create(
        cell_id=cell_id, day=day, defaults={"made_at": clock.now(), "problem": UNFINISHED}
    )
    try:
        figures: Mapping[str, Any] = figures_of(cell_id, day)
    except (InvalidInput, BadOption) as error:
        figures = {"problem": str(getattr(error, "detail", error))[:300]}
    for name, value in ({"problem": ""} | dict(figures)).items():
        setattr(row, name, value)
    row.made_at = clock.now()
    row.save()
    return row


def figures_of(cell_id: int, day: date) -> dict[str, Any]:
    """The figures of a day that is over, by the columns of `Saving`. Raises InvalidInput and BadOption."""
    since = datetime.combine(day, time.min, UTC)
    past = past_of(cell_id, since, since + timedelta(days=1))
    if len(past.jobs) > MOST_JOBS:
        raise InvalidInput(f"{len(past.jobs)} jobs ran that day; at most {MOST_JOBS} are played.")
    power = _power_of(cell_id, since)
    if not past.jobs:
        return {**power, "held_ms": past.held_chip_ms, "fifo_held_ms": past.held_chip_ms}
    history = _as_read(past)
    start = int(past.jobs[0].line["submitted_ms"]) - clock.to_ms(since)
    fifo = _played(checked(_scenario_of(history)), "fifo", Setting())
    counted = [place for place in range(len(past.jobs)) if place not in fifo.refused]
    work = history.work
    return {
        **power,
        "jobs": len(past.jobs),
        "refused": len(fifo.refused),
        "held_ms": past.held_chip_ms,
        "fifo_held_ms": int((work.chips * work.replicas * work.runtime).sum()),
        "waited_ms": sum(past.jobs[place].waited_ms for place in counted),
        "fifo_waited_ms": fifo.waited,
        "engine_waited_ms": _engine_waited(history, fifo.refused),
        "span_ms": max(job.ended_ms for job in past.jobs) - clock.to_ms(since),
        "fifo_span_ms": start + fifo.span,
    }


def _as_read(past: Past) -> History:
    """The past as the simulator reads it: by way of the file, so that what is played is what can be exported."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.jsonl"
        with path.open("wb") as stream:
            stream.writelines(past.lines())
        history = read_history(path)
    if not history.groups:
        raise InvalidInput("The cell has no chips any more on which the day could be played.")
    return history


def _scenario_of(history: History) -> Scenario:
    cluster, names = cluster_of_groups(history.groups)
    work, _ = on_types(history.work, names)
    return Scenario(work, cluster, ())


def _engine_waited(history: History, refused: frozenset[int]) -> int | None:
    """How long the same jobs wait when the simulator plays Flexai; None where that was not asked or came to no end."""
    if len(history.work) > MOST_JOBS_OF_ENGINE:
        return None
    scenario = _scenario_of(history)
    names, teams = scenario.work.type_names, scenario.work.teams
    quotas = tuple(quota for quota in history.quotas if quota.chip_type in names and quota.team in teams)
    try:
        scenario = with_quotas(scenario, quotas)
    except BadOption:
        pass  # a job of then is larger than a limit of now: played without quotas
    setting = replace(Setting(), round_ms=ENGINE_ROUND_MS)
    try:
        return _played(scenario, "flexai", setting, leave_out=refused).waited
    except RuntimeError:
        return None


def _played(
    scenario: Scenario, policy: str, setting: Setting, leave_out: frozenset[int] = frozenset()
) -> _Waits:
    outcome = play(scenario, policy, setting, lambda done: None).outcome
    refused = frozenset(int(place) for place in np.flatnonzero(outcome.finished < 0))
    counted = np.array([place not in refused | leave_out for place in range(len(scenario.work))])
    queueing = (outcome.finished - scenario.work.submit - scenario.work.runtime)[counted]
    return _Waits(int(queueing.clip(0).sum()), int(outcome.finished.max()), refused)


def _power_of(cell_id: int, since: datetime) -> dict[str, int | None]:
    """What the cell's chips draw when idle, and drew that day, as far as they tell."""
    asked = {
        "cell": cell_id, "since": since, "until": since + timedelta(days=1), "idle": IDLE_BELOW,
    }  # fmt: skip
    with prepared_cursor() as cursor:
        chips = cursor.execute(_CHIPS, asked).fetchall()
        told = {kind: (idle, drawn) for kind, idle, drawn in cursor.execute(_POWER, asked)}
    idle_mw = measured = 0
    for kind, driver, count in chips:
        idle = told.get(kind, (None, None))[0]
        measured += count if idle is not None else 0
        sheet = 0 if driver == "cpu" else board_watts(kind) * IDLE_PERCENT * 10
        idle_mw += count * (sheet if idle is None else idle)
    total = sum(count for *_, count in chips)
    return {
        "idle_mw": idle_mw,
        "idle_measured_permille": 1000 * measured // total if total else 0,
        "drawn_mwh": sum(drawn for _, drawn in told.values()) if told else None,
    }


_CHIPS = """
SELECT type, driver, count(*)::int FROM cluster_chip
WHERE cell_id = %(cell)s AND present AND parent_id IS NULL GROUP BY type, driver ORDER BY type, driver
"""
_POWER = """
SELECT c.type, round(coalesce(avg(u.power) FILTER (WHERE u.use <= %(idle)s),
        CASE WHEN regr_sxx(u.power, u.use) > 0
            THEN least(greatest(regr_intercept(u.power, u.use), 0), avg(u.power)) END))::bigint,
    sum(u.power)::bigint
FROM cluster_nodehour h
CROSS JOIN LATERAL unnest(h.use_permille, h.power_mw) WITH ORDINALITY AS u(use, power, place)
JOIN cluster_chip c ON c.node_id = h.node_id AND c.index = u.place - 1
WHERE h.at >= %(since)s AND h.at < %(until)s AND c.cell_id = %(cell)s AND u.power > 0
GROUP BY c.type
"""
