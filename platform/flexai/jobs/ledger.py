"""The ledger of use: how long each attempt held chips, by state and day, to the millisecond.

An attempt's time is cut at its moves and at midnight (UTC); what it held is multiplied with each piece, in whole
numbers, so the pieces add up to exactly what it held times how long it was there. What it drew is divided among its
lines by the time they hold, to the millijoule. A line is written in the transaction
that ends the attempt, and settled later: added to the sums of its day, which reports read. A report takes settled sums,
lines not yet settled, and live attempts up to now, in one statement: nothing is missing and nothing counted twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.db import transaction

from flexai.common.database import Writes, as_numbers, prepared_cursor

SETTLED_AT_ONCE: Final = 20_000
"""Lines of one transaction."""
DAY_MS: Final = 86_400_000

COLUMNS: Final = "organization_id, team_id, user_id, day, chip_type, labels"
AMOUNTS: Final = (
    "starting",
    "running",
    "stopping",
    "guest",
    "used",
    "measured",
    "energy",
    "metered",
    "ended",
)


def lines_of(attempts: str, until: str) -> str:
    """SQL for the lines of attempts: `attempts` is a condition on `a`, `until` an instant that ends what has not ended.

    A move that lies outside its neighbours, as clocks of machines may have it, is moved between them.
    """
    return _LINES.format(attempts=attempts, until=_ms(f"coalesce(a.ended_at, {until})"))


def write_lines(cursor: Writes, attempt_pks: Sequence[int]) -> None:
    """The attempts, ended by the caller's transaction, are in the ledger; those without chips have no line."""
    cursor.execute(_WRITE, [as_numbers(attempt_pks)], prepare=True)


def settle(most: int = SETTLED_AT_ONCE) -> int:
    """Up to `most` lines become part of their days' sums; how many. Safe to run at any time, by anybody at once."""
    with transaction.atomic(), prepared_cursor() as cursor:
        row = cursor.execute(_SETTLE, [most], prepare=True).fetchone()
    return int(row[0]) if row else 0


def _ms(instant: str) -> str:
    return f"floor(extract(epoch FROM {instant}) * 1000)::bigint"


def _part(first: str, last: str) -> str:
    """Milliseconds of this stretch that lie in the day."""
    return f"greatest(0, least({last}, (day + 1) * {DAY_MS}) - greatest({first}, day * {DAY_MS}))"


def _drawn(until: str) -> str:
    """What the attempt drew up to a line: by rounding sums, not pieces, the pieces add up. A line that holds nothing
    counts as a little, so that there is always one to carry it."""
    rows = "PARTITION BY attempt ORDER BY day, chip_type ROWS BETWEEN UNBOUNDED PRECEDING AND"
    weight = f"((owned + lent) * {_part('placed', 'gone')} + 1)"
    whole = f"sum({weight}) OVER (PARTITION BY attempt)"
    return f"floor(energy_mj * coalesce(sum({weight}) OVER ({rows} {until}), 0) / {whole})"


_LINES = f"""
SELECT organization_id, team_id, user_id, date '1970-01-01' + day::int AS day, chip_type, labels, attempt,
    owned * {_part("placed", "began")} AS starting,
    owned * {_part("began", "stopped")} AS running,
    owned * {_part("stopped", "gone")} AS stopping,
    lent * {_part("placed", "gone")} AS guest,
    (owned + lent) * {_part("began", "stopped")} * coalesce(use, 0) / 1000 AS used,
    CASE WHEN use IS NULL THEN 0 ELSE (owned + lent) * {_part("began", "stopped")} END AS measured,
    coalesce({_drawn("CURRENT ROW")} - {_drawn("1 PRECEDING")}, 0)::bigint AS energy,
    CASE WHEN energy_mj IS NULL THEN 0 ELSE (owned + lent) * {_part("placed", "gone")} END AS metered,
    CASE WHEN is_over AND day = greatest(gone - 1, placed) / {DAY_MS} THEN 1 ELSE 0 END AS ended
FROM (
    SELECT *, least(greatest(coalesce(moved, stopped), placed), stopped) AS began FROM (
        SELECT *, least(greatest(coalesce(halted, gone), placed), gone) AS stopped FROM (
            SELECT j.organization_id, j.team_id, j.user_id, j.labels, a.id AS attempt, a.use_permille AS use,
                a.energy_mj, a.ended_at IS NOT NULL AS is_over, {_ms("a.placed_at")} AS placed,
                {_ms("a.running_at")} AS moved, {_ms("a.stopping_at")} AS halted,
                greatest({{until}}, {_ms("a.placed_at")}) AS gone, c.type AS chip_type,
                coalesce(sum(h.charge_milli) FILTER (WHERE h.kind = 'owned'), 0)::bigint AS owned,
                coalesce(sum(h.milli) FILTER (WHERE h.kind = 'guest'), 0)::bigint AS lent
            FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id
            JOIN jobs_allocation h ON h.attempt_id = a.id JOIN cluster_chip c ON c.id = h.chip_id
            WHERE {{attempts}} GROUP BY j.id, a.id, c.type) AS held) AS stopping) AS span
CROSS JOIN LATERAL generate_series(placed / {DAY_MS}, greatest(gone - 1, placed) / {DAY_MS}) AS day
"""  # noqa: S608 - constants alone

_ENDED = lines_of("a.id = ANY(%s::bigint[])", "a.placed_at")
_WRITE = f"""
INSERT INTO tenancy_usageline ({COLUMNS}, attempt, {", ".join(AMOUNTS)}, settled)
SELECT {COLUMNS}, attempt, {", ".join(AMOUNTS)}, false FROM ({_ENDED}) AS lines
"""  # noqa: S608 - constants alone

_SETTLE = f"""
WITH taken AS (
    UPDATE tenancy_usageline SET settled = true WHERE id IN (
        SELECT id FROM tenancy_usageline WHERE NOT settled ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
    RETURNING {COLUMNS}, {", ".join(AMOUNTS)}
), summed AS (
    INSERT INTO tenancy_usageday AS d ({COLUMNS}, labels_hash, {", ".join(AMOUNTS)})
    SELECT {COLUMNS}, md5(labels::text), {", ".join(f"sum({name})" for name in AMOUNTS)} FROM taken
    GROUP BY {COLUMNS} ORDER BY team_id, day, user_id, chip_type, labels
    ON CONFLICT (team_id, day, user_id, chip_type, labels_hash)
    DO UPDATE SET {", ".join(f"{name} = d.{name} + excluded.{name}" for name in AMOUNTS)}
)
SELECT count(*) FROM taken
"""  # noqa: S608 - constants alone
