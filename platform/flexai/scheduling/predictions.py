"""How long this cell's jobs ran, as the engine learns from it (B3).

A prediction stands as long as the state that the engine was told it with (`engine_state.REBUILD_SECONDS`): then
everything is read anew, and with it what was learned meanwhile.
"""

from __future__ import annotations

import time

from flexai.common.database import prepared_cursor
from scheduler_core.predict import EndedRun, Predictions

LEARNED_FROM = 2_000
"""The latest runs of a cell that are looked at: ten for each of the most specific keys of 200 users' programs, and
15 ms of work."""
RELEARN_SECONDS = 60.0
"""What was learned serves whoever asks for so long: explanations read the whole cell each time."""

_ENDED = """
SELECT j.user_id, j.team_id, j.name, coalesce(j.effective_spec->>'image', ''),
    greatest(0, floor(extract(epoch FROM a.ended_at - a.running_at) * 1000))::bigint
FROM (SELECT id, job_id, running_at, ended_at FROM jobs_attempt
       WHERE cell_id = %(cell)s AND outcome = 'succeeded' AND running_at IS NOT NULL AND ended_at IS NOT NULL
       ORDER BY id DESC LIMIT %(limit)s) a
JOIN jobs_job j ON j.id = a.job_id ORDER BY a.ended_at, a.id
"""

_learned: dict[int, tuple[float, Predictions]] = {}
"""By cell: when (monotonic seconds), and what."""


def learned(cell_id: int) -> Predictions:
    """From the cell's latest attempts that ended by themselves. What was taken back, stopped or failed says nothing
    of how long it would have run."""
    at, known = _learned.get(cell_id, (float("-inf"), Predictions()))
    if time.monotonic() - at > RELEARN_SECONDS:
        known = _read(cell_id)
        _learned[cell_id] = (time.monotonic(), known)
    return known


def forget() -> None:
    """Nothing is known: the next `learned` reads."""
    _learned.clear()


def _read(cell_id: int) -> Predictions:
    with prepared_cursor() as cursor:
        rows = cursor.execute(_ENDED, {"cell": cell_id, "limit": LEARNED_FROM}).fetchall()
    return Predictions(EndedRun(*row) for row in rows)
