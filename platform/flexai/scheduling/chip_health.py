"""Looks at what the chips' hardware says of itself, and does what the rule says of it (T4, `scheduler_core.health`).

Every ten seconds the agents' error counters and the last windows of telemetry are judged, chip by chip. A score, a
drain and a return are in the chip's row, which the scheduler reads; drains and returns stand in the node's history
with the numbers that caused them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from statistics import median_low
from typing import Any, Final

import msgspec
from django.db import transaction

from flexai.cluster.history import NodeHappened, write_node_history
from flexai.cluster.telemetry import WINDOW_MS, Window, last_windows
from flexai.common import clock
from flexai.common.database import Cursor, as_rows, prepared_cursor
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.quantities import duration_words
from node_agent.protocol import ChipErrors
from scheduler_core.health import Fault, Health, Judgement, Move, Signs, burn_in_of, judge

LOOK_SECONDS = WINDOW_MS / 1000
STALE_MS = 3 * WINDOW_MS
"""A window that ended longer ago says nothing about now."""
AT_WORK: Final = 500
"""Permille of use from which a chip's clock tells how fast it is: idle ones clock down."""
MIN_EQUALS: Final = 3
"""So many working chips of one type at least before one is slower than its equals."""
_NOTHING = ChipErrors()


@dataclass(frozen=True, slots=True)
class _Chip:
    pk: int
    node: int
    index: int
    type: str
    answers: bool
    errors: ChipErrors
    before: Health


@dataclass(frozen=True, slots=True)
class Look:
    """What came of a look at one chip."""

    chip: int
    node: int
    judgement: Judgement
    sentence: str


def look_at_health(cell_id: int, now: datetime) -> tuple[Look, ...]:
    """Every chip of the cell that is present has the score that its signs give it. Answers what changed. Raises redis
    errors."""
    at = clock.to_ms(now)
    with transaction.atomic(), prepared_cursor() as cursor:
        chips = _chips_of(cursor, cell_id)
        windows = last_windows(sorted({chip.node for chip in chips}))
        fresh = {node: window for node, window in windows.items() if at - window.until <= STALE_MS}
        clocks = _usual_clocks(chips, fresh)
        looks = []
        for chip in chips:
            signs = _signs(chip, fresh.get(chip.node), clocks.get(chip.type))
            judged = judge(chip.before, signs, at)
            if judged.health != chip.before:
                looks.append(Look(chip.pk, chip.node, judged, _sentence(judged, signs)))
        if looks:
            _write_down(cursor, cell_id, looks, {chip.pk: chip for chip in chips}, now)
    return tuple(looks)


def _chips_of(cursor: Cursor, cell_id: int) -> list[_Chip]:
    return [
        _Chip(
            pk, node, index, kind, answers,
            _NOTHING if errors is None else msgspec.json.decode(errors, type=ChipErrors),
            Health() if remembered[0] is None else Health(*remembered),
        )
        for pk, node, index, kind, answers, errors, *remembered in cursor.execute(_CHIPS, [cell_id])
    ]  # fmt: skip


def _usual_clocks(chips: Sequence[_Chip], windows: Mapping[int, Window]) -> dict[str, int]:
    """The median clock of each type's chips at work, where there are enough of them to tell."""
    clocks: dict[str, list[int]] = defaultdict(list)
    for chip in chips:
        window = windows.get(chip.node)
        if window is not None and chip.index in window.clocks and window.chips.get(chip.index, 0) >= AT_WORK:
            clocks[chip.type].append(window.clocks[chip.index])
    return {kind: median_low(found) for kind, found in clocks.items() if len(found) >= MIN_EQUALS}


def _signs(chip: _Chip, window: Window | None, usual_clock: int | None) -> Signs:
    errors, index = chip.errors, chip.index
    signs = Signs(
        answers=chip.answers, uncorrected=errors.uncorrected, xids=tuple(errors.xids),
        remapped_rows=errors.remapped_rows, remap_pending=errors.remap_pending, remap_failed=errors.remap_failed,
        links_down=errors.links_down,
    )  # fmt: skip
    if window is None:
        return signs
    clocked = window.clocks.get(index) if window.chips.get(index, 0) >= AT_WORK else None
    return replace(
        signs,
        hot=window.hot.get(index, 0),
        slowed=window.slowed.get(index, 0),
        temperature=window.temperatures.get(index, 0),
        clock=clocked * 1000 // usual_clock if clocked is not None and usual_clock else None,
    )


_WORDS: Final[Mapping[Fault, str]] = {
    Fault.SILENT: "it does not answer",
    Fault.NO_SPARE_ROW: "it has no spare memory row left",
    Fault.UNCORRECTED: "{uncorrected} memory errors that were not corrected",
    Fault.XID: "errors of the hardware (XID {xids})",
    Fault.NEEDS_RESET: "a memory row waits for the chip's reset to be replaced",
    Fault.LINKS_DOWN: "{links_down} links to other chips are down",
    Fault.ROWS_REMAPPED: "{remapped_rows} memory rows were replaced",
    Fault.SLOWED: "its hardware slows it down",
    Fault.HOT: "it is too hot ({temperature} °C)",
    Fault.SLOWER_THAN_EQUALS: "it clocks lower than its equals",
    Fault.DRAINED_BEFORE: "it was drained before",
}


def _sentence(judged: Judgement, signs: Signs) -> str:
    facts: dict[str, Any] = asdict(signs)
    facts["xids"] = ", ".join(str(xid) for xid in signs.xids)
    words = "; ".join(_WORDS[fault].format(**facts) for fault in judged.faults)
    health = judged.health
    if health.drained_at is not None:
        quiet = duration_words(burn_in_of(health.drains))
        why = words or "burning in"
        return f"Takes no new work: {why}. It returns by itself after {quiet} without a fault."
    return f"Health {health.score}: {words}." if words else ""


def _write_down(
    cursor: Cursor, cell_id: int, looks: Sequence[Look], chips: Mapping[int, _Chip], now: datetime
) -> None:
    rows = [{"chip": look.chip, **asdict(look.judgement.health)} for look in looks]
    cursor.execute(_REMEMBER, [as_rows(rows)])
    shown = [
        {
            "chip": look.chip, "score": look.judgement.health.score, "reason": look.sentence[:200],
            "drained_at": None if look.judgement.health.drained_at is None
            else clock.from_ms(look.judgement.health.drained_at),
        }
        for look in looks
    ]  # fmt: skip
    nodes = sorted({node for (node,) in cursor.execute(_SHOW, [as_rows(shown)])})
    moved = [look for look in looks if look.judgement.move is not None]
    write_node_history(cursor, [_happened(look, chips[look.chip], now) for look in moved])
    if nodes:
        hints = cursor.execute(_HINTS, [nodes]).fetchall()
        publish_on_commit(
            hints=[Hint("node", public_id, version) for public_id, version in hints], cell=cell_id
        )


def _happened(look: Look, chip: _Chip, now: datetime) -> NodeHappened:
    drains = look.judgement.move is Move.DRAIN
    sentence = look.sentence if drains else "Passed its burn-in: it takes work again."
    return NodeHappened(
        at=now, node=look.node, kind="chip.drained" if drains else "chip.returned",
        sentence=f"Chip {chip.index} ({chip.type}): {sentence}", actor="scheduler",
        reason_code=look.judgement.faults[0].value if drains else "burn_in_passed",
        facts={"chip": chip.index, "drains": look.judgement.health.drains, "errors": msgspec.to_builtins(chip.errors)},
    )  # fmt: skip


_CHIPS = """
SELECT c.id, c.node_id, c.index, c.type, c.answers, c.errors, h.score, h.rises_at, h.drained_at, h.quiet_since,
       h.drains, h.faulted_at, h.uncorrected, h.grave_xids
FROM cluster_chip c LEFT JOIN cluster_chiphealth h ON h.chip_id = c.id
WHERE c.cell_id = %s AND c.present AND c.driver <> 'cpu' ORDER BY c.id
"""

_REMEMBER = """
INSERT INTO cluster_chiphealth
    (chip_id, score, rises_at, drained_at, quiet_since, drains, faulted_at, uncorrected, grave_xids)
SELECT chip, score, rises_at, drained_at, quiet_since, drains, faulted_at, uncorrected, grave_xids
FROM json_to_recordset(%s::json) AS u(chip bigint, score int, rises_at bigint, drained_at bigint, quiet_since bigint,
     drains int, faulted_at bigint, uncorrected bigint, grave_xids int)
ON CONFLICT (chip_id) DO UPDATE SET score = excluded.score, rises_at = excluded.rises_at,
    drained_at = excluded.drained_at, quiet_since = excluded.quiet_since, drains = excluded.drains,
    faulted_at = excluded.faulted_at, uncorrected = excluded.uncorrected, grave_xids = excluded.grave_xids
"""

_SHOW = """
UPDATE cluster_chip c SET drained_at = u.drained_at, health_reason = u.reason,
    health = CASE WHEN c.answers THEN u.score ELSE 0 END,
    healthy = CASE WHEN u.drained_at IS NOT NULL THEN false WHEN c.drained_at IS NOT NULL THEN c.answers
        ELSE c.healthy END
FROM json_to_recordset(%s::json) AS u(chip bigint, score int, reason text, drained_at timestamptz)
WHERE c.id = u.chip AND (c.drained_at, c.health_reason, c.health) IS DISTINCT FROM
    (u.drained_at, u.reason, CASE WHEN c.answers THEN u.score ELSE 0 END)
RETURNING c.node_id
"""

_HINTS = "SELECT public_id, version FROM cluster_node WHERE id = ANY(%s) ORDER BY id"
