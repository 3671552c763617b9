"""F3: what teams have used stays with them, decays, and reaches the engine."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flexai.common import clock
from flexai.jobs.ending import Ending, end_attempts
from flexai.jobs.models import Attempt, AttemptProgress
from flexai.scheduling.apply import apply
from flexai.scheduling.feed import Feed
from flexai.scheduling.models import PastUse
from flexai.scheduling.past_use import roll_up
from flexai.scheduling.records import CycleNotes
from flexai.scheduling.snapshot import take_snapshot
from flexai.tenancy.models import TeamUse
from scheduler_core import Policy, decide
from scheduler_core.lifecycle import Outcome
from scheduler_core.model import PastUse as EnginePastUse
from tests.server.scheduling.world import World

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)


def test_f3_ended_work_becomes_past_use_of_the_team_and_of_those_above() -> None:
    world = World()
    world.a_node(chips=2)
    lab = world.a_team("lab")
    team = world.a_team("vision", parent=lab)
    world.a_job("train", team=team, chips=2)
    now = clock.now()
    units = decide(take_snapshot(world.cell.pk, now), Policy()).units
    apply(world.cell.pk, units, now=now, notes=CycleNotes(started_at=now, units=1))
    feed = Feed(world.cell.pk)
    feed.begin(clock.to_ms(now))
    attempt = Attempt.objects.get()
    end_attempts([Ending(attempt.pk, Outcome.SUCCEEDED)], actor="agent", at=attempt.placed_at + HOUR)

    assert roll_up(now) == 2
    two_chip_hours = 2 * 3_600_000
    assert set(PastUse.objects.values_list("team__name", "service")) == {
        ("vision", two_chip_hours),
        ("lab", two_chip_hours),
    }
    assert set(TeamUse.objects.values_list("accrued", flat=True)) == {0}
    assert roll_up(now) == 0

    feed.read(0)
    told = {row.name: row.past_use for row in feed.snapshot(0).teams}
    assert told["vision"] == (EnginePastUse("H100", two_chip_hours, clock.to_ms(now)),)
    assert feed.snapshot(0) == Feed(world.cell.pk).begin(0)


def test_f3_what_was_there_decays_by_the_half_life_before_more_is_added() -> None:
    world = World()
    before = clock.now()
    PastUse.objects.create(
        cell=world.cell, team=world.team, chip_type="H100", service=1_000_000, as_of=before
    )
    TeamUse.objects.create(cell=world.cell, team=world.team, chip_type="H100", used_milli=0, accrued=7)
    roll_up(before + timedelta(milliseconds=Policy().half_life))
    assert PastUse.objects.get().service == 500_007


@pytest.mark.parametrize(
    ("outcome", "checkpoint", "hours"),
    [
        (Outcome.PREEMPTED, "ckpt", 3),
        (Outcome.MOVED, "ckpt", 3),
        (Outcome.RESIZED, "ckpt", 3),
        (Outcome.PREEMPTED, "", 0),
        (Outcome.CANCELLED, "ckpt", 4),
        (Outcome.NODE_LOST, "ckpt", 4),
    ],
)
def test_r3_what_is_lost_to_others_is_no_past_use(outcome: Outcome, checkpoint: str, hours: int) -> None:
    """Four hours on a chip, the last checkpoint after three."""
    world = World()
    world.a_node(chips=1)
    job = world.a_job("train", chips=1)
    job.effective_spec["checkpoint_path"] = checkpoint
    job.save()
    now = clock.now()
    units = decide(take_snapshot(world.cell.pk, now), Policy()).units
    apply(world.cell.pk, units, now=now, notes=CycleNotes(started_at=now, units=1))
    attempt = Attempt.objects.get()
    saved = attempt.placed_at + 3 * HOUR
    AttemptProgress.objects.create(attempt=attempt, replica=0, first_at=saved, at=saved, saved_at=saved)
    end_attempts([Ending(attempt.pk, outcome)], actor="agent", at=attempt.placed_at + 4 * HOUR)
    job.refresh_from_db()
    assert TeamUse.objects.get(team=world.team).accrued == hours * 3_600_000
    assert job.attained == 4 * 3_600_000, "its own service stays what it had"
