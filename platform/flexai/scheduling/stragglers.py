"""Looks for what holds running work back, and does what its own policy says of it (T6, `scheduler_core.stragglers`).

Every ten seconds the chips of each attempt are laid beside each other by the clocks of their last window, and the
tasks of each array by their steps and by how long ended ones took. Who is behind has a row; each notice stands in the
job's history with its numbers. Where a policy moves it the row says so, and a cycle finds the place (R8).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec
from django.db import transaction

from flexai.cluster.telemetry import WINDOW_MS, Window, last_windows
from flexai.common import clock
from flexai.common.database import Cursor, as_rows, prepared_cursor
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.history import Happened, write_history
from flexai.jobs.locking import LockedAttempt, lock_attempts
from flexai.jobs.quantities import duration_words
from flexai.scheduling.reading import milliseconds
from scheduler_core.lifecycle import AT_WORK
from scheduler_core.stragglers import (
    MIN_EQUALS,
    Action,
    Lag,
    Member,
    Sign,
    Step,
    StragglerPolicy,
    Watched,
    behind,
    behind_ended,
    moves_at,
    slow_since,
    step_of,
)

LOOK_SECONDS: Final = WINDOW_MS / 1000
STALE_MS: Final = 3 * WINDOW_MS
"""A window that ended longer ago, or that took longer, says nothing about now."""
BUSY: Final = 500
"""Permille of use from which a chip's clock tells how fast it is: idle ones clock down."""
LEAST_STEPPING_MS: Final = 60_000
"""So long a task must have told of its steps before they are compared."""
ENDED_LOOKED_AT: Final = 200
"""Of each array the newest so many that have ended."""


class _Held(msgspec.Struct, array_like=True):
    """A chip that an attempt holds."""

    chip: int
    node: int
    node_name: str
    index: int
    type: str


@dataclass(slots=True)
class _Running:
    """A live attempt, what it asks for, and what was known before."""

    pk: int
    running_at: int
    policy: StragglerPolicy
    chips: list[_Held]
    nodes: list[int]
    set: int | None
    kind: str
    """The chip types that it holds."""
    is_first: bool
    """Its job's first attempt: later ones may go on from a checkpoint, and their steps count from there."""
    stepping: int
    """For how long it has told of its steps."""
    step: int
    movable: bool
    kept_until: int | None
    moves: int
    moved: int | None
    before: int | None
    told: int | None
    acts: int | None
    leaves: bool
    told_sentence: str
    left: list[int]
    """The nodes that its row names."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What holds an attempt back: by what it is seen, the numbers, where, and the beginning of a sentence."""

    sign: Sign
    lag: Lag
    nodes: tuple[int, ...]
    sentence: str
    facts: dict[str, object] = field(default_factory=dict)


def look_at_stragglers(cell_id: int, now: datetime) -> tuple[Step, ...]:
    """Who is behind is on record, notices that are due were given, and who is to be moved is known to the cell's loop.
    Answers these steps. Raises redis errors."""
    at = clock.to_ms(now)
    with prepared_cursor() as cursor:
        running = [_running(row) for row in cursor.execute(_RUNNING, {"cell": cell_id})]
        seen = _by_clock(running, at) | _by_array(cursor, running, at)
    watched: dict[int, Watched] = {}
    due: dict[int, Step] = {}
    for attempt in running:
        after = watched[attempt.pk] = _watched(attempt, attempt.pk in seen, at)
        step = step_of(after, attempt.policy, at)
        if step is not None and not (step.action is Action.MOVE and attempt.leaves):
            due[attempt.pk] = step
    with transaction.atomic(), prepared_cursor() as cursor:
        leaving = [attempt.pk for attempt in running if attempt.leaves]
        locked = {one.pk: one for one in lock_attempts(cursor, [*due, *leaving])}
        standing = {pk: step for pk, step in due.items() if _still_runs(locked.get(pk))}
        _write_down(cursor, cell_id, running, watched, seen, standing, now)
        _tell(cursor, standing, seen, {one.pk: one for one in running}, locked, now)
    return tuple(standing.values())


def _running(row: tuple[Any, ...]) -> _Running:
    pk, running_at, policy, chips, nodes, *others = row
    held = [] if chips is None else msgspec.json.decode(chips, type=list[_Held])
    return _Running(pk, running_at, _policy(policy), held, nodes, *others)


def _policy(given: str | None) -> StragglerPolicy:
    read: Mapping[str, Any] | None = None if given is None else msgspec.json.decode(given)
    if read is None:
        return StragglerPolicy()
    return StragglerPolicy(Action(read["action"]), read["below_permille"], read["window_ms"], read["moves"])


def _by_clock(running: Sequence[_Running], at: int) -> dict[int, Seen]:
    """Attempts of which a chip at work clocks lower than the others."""
    nodes = sorted({chip.node for attempt in running for chip in attempt.chips})
    windows = {
        node: window
        for node, window in last_windows(nodes).items()
        if at - window.until <= STALE_MS and window.until - window.since <= STALE_MS
    }
    found = {}
    for attempt in running:
        by_pk = {chip.chip: chip for chip in attempt.chips}
        members = [
            Member(chip.chip, chip.type, speed)
            for chip in attempt.chips
            if (speed := _clock(chip, windows.get(chip.node), attempt.running_at)) is not None
        ]
        lags = behind(members, attempt.policy.below)
        if lags:
            slow = [by_pk[lag.id] for lag in lags]
            found[attempt.pk] = _seen_by_clock(lags, slow, windows[slow[0].node])
    return found


def _clock(chip: _Held, window: Window | None, running_at: int) -> int | None:
    """Permille of its highest, over the window; None where it was not at work for this attempt, or does not tell."""
    if window is None or window.since < running_at or window.chips.get(chip.index, 0) < BUSY:
        return None
    return window.clocks.get(chip.index)


def _seen_by_clock(lags: Sequence[Lag], slow: Sequence[_Held], window: Window) -> Seen:
    lag, chip = lags[0], slow[0]
    degrees = window.temperatures.get(chip.index, 0)
    hot, slowed = window.hot.get(chip.index, 0), window.slowed.get(chip.index, 0)
    why = f", slowed by heat ({degrees} °C)" if hot else ", slowed by its hardware" if slowed else ""
    more = f", and {len(lags) - 1} more of them below {lags[-1].pace / 10:.0f} %" if len(lags) > 1 else ""
    sentence = (
        f"Chip {chip.index} of {chip.node_name} runs at {lag.pace / 10:.0f} % of the clock of the {lag.equals} others"
        f"{why}{more}"
    )
    facts: dict[str, object] = {
        "node": chip.node_name, "chip": chip.index, "chip_type": chip.type, "clock_permille": lag.speed,
        "usual_permille": lag.usual, "temperature_c": degrees, "hot_permille": hot, "slowed_permille": slowed,
        "slow_chips": len(lags),
    }  # fmt: skip
    return Seen(Sign.CLOCK, lag, tuple(sorted({one.node for one in slow})), sentence, facts)


def _by_array(cursor: Cursor, running: Sequence[_Running], at: int) -> dict[int, Seen]:
    """Tasks that fall behind others of their array, by their steps, else by the time that ended ones took."""
    tasks = [attempt for attempt in running if attempt.set is not None]
    if not tasks:
        return {}
    found = _by_time(cursor, tasks, at)
    equals: dict[tuple[int | None, str], list[_Running]] = defaultdict(list)
    for task in tasks:
        if task.is_first and task.step and task.stepping >= LEAST_STEPPING_MS:
            equals[task.set, task.kind].append(task)
    for some in equals.values():
        by_pk = {task.pk: task for task in some}
        members = [Member(task.pk, task.kind, task.step * 1_000_000 // task.stepping) for task in some]
        for below in {task.policy.below for task in some}:
            for lag in behind(members, below):
                task = by_pk[lag.id]
                if task.policy.below == below:
                    found[task.pk] = _seen_by_steps(task, lag)
    return found


def _seen_by_steps(task: _Running, lag: Lag) -> Seen:
    sentence = (
        f"It makes {lag.pace / 10:.0f} % of the steps a second of the {lag.equals} other tasks of its array"
    )
    facts: dict[str, object] = {"steps_per_1000_s": lag.speed, "usual_per_1000_s": lag.usual}
    return Seen(Sign.STEPS, lag, tuple(sorted(task.nodes)), sentence, facts)


def _by_time(cursor: Cursor, tasks: Sequence[_Running], at: int) -> dict[int, Seen]:
    sets = sorted({task.set for task in tasks if task.set is not None})
    usual = {
        (row[0], row[1]): (row[2], row[3])
        for row in cursor.execute(_ENDED, {"sets": sets, "most": ENDED_LOOKED_AT})
    }
    found = {}
    for task in tasks:
        ended, took = usual.get((task.set or 0, task.kind), (0, 0))
        elapsed = at - task.running_at
        lag = behind_ended(task.pk, elapsed, ended, took, task.policy.below)
        if lag is not None:
            times = f"{2000 / task.policy.below:.1f} times the median of the {ended} tasks of its array that have ended"
            sentence = f"It has run longer than {times} ({duration_words(took)})"
            facts: dict[str, object] = {"elapsed_ms": elapsed, "usual_ms": took}
            found[task.pk] = Seen(Sign.TIME, lag, tuple(sorted(task.nodes)), sentence, facts)
    return found


def _watched(attempt: _Running, slow: bool, at: int) -> Watched:
    since = slow_since(attempt.before, slow=slow, since=max(attempt.running_at, at - WINDOW_MS))
    return Watched(
        attempt.pk, since, attempt.told, attempt.kept_until, attempt.movable, attempt.moves, attempt.moved
    )  # fmt: skip


def _still_runs(attempt: LockedAttempt | None) -> bool:
    return attempt is not None and attempt.state in AT_WORK and not attempt.cancel_requested


def _write_down(
    cursor: Cursor,
    cell_id: int,
    running: Sequence[_Running],
    watched: Mapping[int, Watched],
    seen: Mapping[int, Seen],
    steps: Mapping[int, Step],
    now: datetime,
) -> None:
    """Who is behind has a row as it is now; whose place the loop looks for is news to it."""
    cursor.execute(_FORGET_ENDED, [cell_id])
    at = clock.to_ms(now)
    rows, well, news = [], [], []
    for attempt in running:
        what, since = seen.get(attempt.pk), watched[attempt.pk].slow_since
        if what is None or since is None:
            well += [attempt.pk] if attempt.before is not None else []
            news += [attempt.pk] if attempt.leaves else []
            continue
        leaves, acts = _leaves(attempt, watched[attempt.pk], steps.get(attempt.pk), at)
        if leaves != attempt.leaves or (leaves and list(what.nodes) != attempt.left):
            news.append(attempt.pk)
        elif (attempt.before, attempt.told_sentence, attempt.acts) == (since, what.sentence, acts):
            continue
        rows.append(
            {
                "attempt": attempt.pk, "since": clock.from_ms(since), "sign": what.sign.value,
                "sentence": what.sentence, "nodes": list(what.nodes), "leaves": now if leaves else None,
                "acts": None if acts is None else clock.from_ms(acts),
                "facts": {"pace_permille": what.lag.pace, "equals": what.lag.equals, **what.facts},
            }
        )  # fmt: skip
    if well:
        cursor.execute(_FORGET, [well])
        cursor.execute(_RECOVERED, [well])
    if rows:
        cursor.execute(_REMEMBER, {"cell": cell_id, "rows": as_rows(rows)})
    if news:
        cursor.execute(_TOUCH, [news])
        publish_on_commit(cell=cell_id)


def _leaves(attempt: _Running, watched: Watched, step: Step | None, at: int) -> tuple[bool, int | None]:
    """Whether it is to go on elsewhere, from the step on for as long as nothing changes its policy's mind; and from
    when on, once it was told."""
    told = at if step is not None and step.action is Action.NOTIFY else attempt.told
    acts = None if told is None else moves_at(watched, attempt.policy, told=told)
    is_due = acts is not None and acts <= at
    return is_due and (attempt.leaves or step is not None), acts


def _tell(
    cursor: Cursor,
    steps: Mapping[int, Step],
    seen: Mapping[int, Seen],
    running: Mapping[int, _Running],
    locked: Mapping[int, LockedAttempt],
    now: datetime,
) -> None:
    """Notices stand in their jobs' history, and who looks hears of them and of who is to be moved."""
    if not steps:
        return
    history, notices = [], []
    for pk, step in steps.items():
        attempt = locked[pk]
        if step.action is not Action.NOTIFY:
            continue
        what = seen[pk]
        notices.append(pk)
        history.append(
            Happened(
                at=now, kind="attempt.straggler", sentence=_sentence(what, step, running[pk], now),
                actor="scheduler", organization=attempt.organization_pk, job=attempt.job_pk, attempt=attempt.number,
                from_state=attempt.state, to_state=attempt.state, reason_code=f"straggler_{what.sign}",
                facts={
                    "pace_permille": what.lag.pace, "equals": what.lag.equals, "slow_ms": step.slow_for, **what.facts
                },
            )
        )  # fmt: skip
    if notices:
        cursor.execute(_NOTE, [now, notices])
        write_history(cursor, history)
    cursor.execute(_SHOW, [[locked[pk].job_pk for pk in steps]])
    publish_on_commit(
        hints=[
            Hint("job", one.job_id, one.job_version + 1, one.team_id)
            for pk, one in locked.items()
            if pk in steps
        ]
    )


def _sentence(what: Seen, step: Step, attempt: _Running, now: datetime) -> str:
    told = f"{what.sentence}, for {duration_words(step.slow_for)} now"
    if step.acts_at is not None:
        left = duration_words(max(0, step.acts_at - clock.to_ms(now)))
        return (
            f"{told}; unless that changes or somebody keeps it, its own policy moves it elsewhere in {left}."
        )
    if attempt.policy.action is not Action.MOVE:
        return f"{told}."
    if not attempt.movable:
        return f"{told}. Its policy cannot move it: it is not preemptible, or would begin anew."
    times = f"{attempt.moves} time{'' if attempt.moves == 1 else 's'}"
    return f"{told}. It has been moved {times}, as often as its policy says."


_ARRAY = "(j.set_id IS NOT NULL AND jsonb_typeof(j.effective_spec->'array') = 'object')"
_LOOKED_AT = "coalesce(j.effective_spec->'stragglers'->>'action', '') <> 'never'"
_COMPARED = MIN_EQUALS + 1
"""Chips of an attempt, from which on they are compared: one, and as many others as it takes."""
_WITH_EQUALS = f"""SELECT attempt_id FROM jobs_allocation WHERE active AND kind = 'owned'
     GROUP BY attempt_id HAVING count(*) >= {_COMPARED}"""  # noqa: S608 - constants alone
"""Asked first: most attempts hold a chip or two, and what of those is not looked at need not be gathered."""
_RUNNING = f"""
SELECT a.id, {milliseconds("a.running_at")}, (j.effective_spec->'stragglers')::text,
       CASE WHEN h.chips >= {_COMPARED} THEN h.held END, (SELECT array_agg(DISTINCT r.node_id) FROM jobs_replica r
         WHERE r.attempt_id = a.id), CASE WHEN {_ARRAY} THEN j.set_id END, coalesce(h.types, ''), a.number = 1,
       coalesce((extract(epoch FROM g.at - g.first_at) * 1000)::bigint, 0), coalesce(g.step, 0),
       j.preemptible AND (coalesce(j.effective_spec->>'checkpoint_path', '') <> '' OR {_ARRAY}),
       {milliseconds("j.kept_until")}, m.moves, {milliseconds("m.moved")}, {milliseconds("w.since")},
       {milliseconds("w.told_at")}, {milliseconds("w.acts_at")}, w.leaves_at IS NOT NULL, coalesce(w.sentence, ''),
       coalesce(w.nodes, '{{}}')
FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id
LEFT JOIN jobs_attemptprogress g ON g.attempt_id = a.id LEFT JOIN jobs_straggler w ON w.attempt_id = a.id
LEFT JOIN LATERAL (
    SELECT count(*)::int AS chips, string_agg(DISTINCT c.type, ' + ') AS types,
           json_agg(json_build_array(c.id, c.node_id, n.name, c.index, c.type) ORDER BY c.id)::text AS held
      FROM jobs_allocation l JOIN cluster_chip c ON c.id = l.chip_id JOIN cluster_node n ON n.id = c.node_id
     WHERE l.attempt_id = a.id AND l.active AND l.kind = 'owned') h ON true
LEFT JOIN LATERAL (
    SELECT count(*)::int AS moves, max(s.moved_at) AS moved FROM jobs_attempt e
      JOIN jobs_straggler s ON s.attempt_id = e.id WHERE e.job_id = j.id AND s.moved_at IS NOT NULL) m ON true
WHERE a.cell_id = %(cell)s AND a.state IN ('running', 'checkpointing') AND a.running_at IS NOT NULL
  AND j.cancel_requested_at IS NULL AND {_LOOKED_AT} AND (a.id IN ({_WITH_EQUALS}) OR {_ARRAY})
ORDER BY a.id
"""  # noqa: S608 - constants alone
_ENDED = """
SELECT e.set_id, e.types, count(*)::int, percentile_disc(0.5) WITHIN GROUP (ORDER BY e.took)
FROM (
    SELECT s.set_id, (extract(epoch FROM t.ended_at - t.running_at) * 1000)::bigint AS took,
           coalesce((SELECT string_agg(DISTINCT c.type, ' + ') FROM jobs_allocation l JOIN cluster_chip c
             ON c.id = l.chip_id WHERE l.attempt_id = t.id), '') AS types
      FROM unnest(%(sets)s::bigint[]) AS s(set_id) CROSS JOIN LATERAL (
        SELECT a.id, a.running_at, a.ended_at FROM jobs_job j JOIN jobs_attempt a ON a.job_id = j.id AND a.number = 1
         WHERE j.set_id = s.set_id AND j.state = 'succeeded' AND j.attempts_count = 1 AND a.running_at IS NOT NULL
         ORDER BY j.id DESC LIMIT %(most)s) t) e
GROUP BY e.set_id, e.types
"""
_FORGET_ENDED = """
DELETE FROM jobs_straggler w USING jobs_attempt a
 WHERE w.cell_id = %s AND a.id = w.attempt_id AND a.state NOT IN ('running', 'checkpointing') AND w.moved_at IS NULL"""
_FORGET = "DELETE FROM jobs_straggler WHERE attempt_id = ANY(%s) AND told_at IS NULL AND moved_at IS NULL"
_RECOVERED = (
    "UPDATE jobs_straggler SET since = NULL, acts_at = NULL, leaves_at = NULL WHERE attempt_id = ANY(%s)"
)
_REMEMBER = """
INSERT INTO jobs_straggler AS w (attempt_id, cell_id, since, sign, sentence, facts, nodes, acts_at, leaves_at)
SELECT u.attempt, %(cell)s, u.since, u.sign, u.sentence, u.facts, u.nodes, u.acts, u.leaves
  FROM json_to_recordset(%(rows)s::json) AS u(attempt bigint, since timestamptz, sign text, sentence text,
       facts jsonb, nodes bigint[], acts timestamptz, leaves timestamptz)
    ON CONFLICT (attempt_id) DO UPDATE SET since = excluded.since, sign = excluded.sign, sentence = excluded.sentence,
       facts = excluded.facts, nodes = excluded.nodes, acts_at = excluded.acts_at,
       leaves_at = CASE WHEN excluded.leaves_at IS NOT NULL THEN coalesce(w.leaves_at, excluded.leaves_at) END"""
_NOTE = "UPDATE jobs_straggler SET told_at = %s WHERE attempt_id = ANY(%s)"
_SHOW = "UPDATE jobs_job SET version = version + 1 WHERE id = ANY(%s)"
_TOUCH = "UPDATE jobs_attempt SET version = version + 1 WHERE id = ANY(%s)"
