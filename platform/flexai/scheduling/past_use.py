"""Rolls up what teams have used into the past use that the order looks at (F3).

Endings add to `TeamUse.accrued`; every few minutes that becomes part of `PastUse`, which the feed carries. Against
a half-life of a day a few minutes are nothing, and the feed hears of a team once, not at every end.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import F

from flexai.common import clock
from flexai.scheduling.models import PastUse
from flexai.scheduling.policies import policy_of
from flexai.tenancy.models import TeamUse
from scheduler_core.fairness import decayed

ROLL_UP_SECONDS: Final = 300.0


def roll_up(now: datetime) -> int:
    """What accrued is past use as of now, the older part of it decayed to now. Returns how many rows changed."""
    with transaction.atomic():
        accrued = list(TeamUse.objects.select_for_update(no_key=True).filter(accrued__gt=0).order_by("id"))
        half_lives = {cell: policy_of(cell).half_life for cell in {use.cell_id for use in accrued}}
        for use in accrued:
            _add(use, half_lives[use.cell_id], now)
            TeamUse.objects.filter(pk=use.pk).update(accrued=F("accrued") - use.accrued)
    return len(accrued)


def _add(use: TeamUse, half_life: int, now: datetime) -> None:
    past, _ = PastUse.objects.get_or_create(
        cell_id=use.cell_id,
        team_id=use.team_id,
        chip_type=use.chip_type,
        defaults={"service": 0, "as_of": now},
    )
    elapsed = max(clock.to_ms(now) - clock.to_ms(past.as_of), 0)
    past.service = decayed(past.service, elapsed, half_life) + use.accrued
    past.as_of = now
    past.save(update_fields=["service", "as_of"])
