"""What a decision takes back: victims are told to leave, and nobody else gets their chips (R1, R6, law 5)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flexai.common import clock
from flexai.jobs.ending import Ending, end_attempts
from flexai.jobs.models import Attempt, Event, Job
from flexai.jobs.wanted import attempts_wanted_on
from flexai.scheduling.apply import apply
from flexai.scheduling.cycle import run_cycle
from flexai.scheduling.feed import Feed
from flexai.scheduling.models import CellPolicy, Cycle, Promise, Reservation
from flexai.scheduling.promises import keep, take_back
from flexai.scheduling.records import CycleNotes
from flexai.scheduling.snapshot import take_snapshot
from scheduler_core import Policy, Unit, decide
from scheduler_core.decision import Ground, Rung, Start, Taking
from scheduler_core.lifecycle import Outcome
from scheduler_core.model import Reservation as Reserved
from scheduler_core.model import Running
from tests.server.scheduling.world import World, counters_agree

pytestmark = pytest.mark.django_db(transaction=True)


def start_all(world: World) -> None:
    now = clock.now()
    units = decide(take_snapshot(world.cell.pk, now), Policy()).units
    apply(world.cell.pk, units, now=now, notes=CycleNotes(started_at=now, units=len(units)))


def taking_for(job: Job, *victims: Attempt, rung: Rung = Rung.EVICT) -> Unit:
    """A unit that starts the job where the first victim sits, with all of them leaving."""
    snapshot = {attempt.id: attempt for attempt in _live(job.cell_id)}
    places = snapshot[victims[0].pk].placements
    takings = tuple(Taking(v.pk, v.job_id, rung, Ground.PRIORITY, loss=1000) for v in victims)
    return Unit(Start(job.pk, job.version, places), takings)


def _live(cell_id: int) -> tuple[Running, ...]:
    return take_snapshot(cell_id, clock.now()).running


@pytest.fixture
def world() -> World:
    """One chip, held by a preemptible job."""
    world = World()
    world.node = world.a_node(chips=1)
    world.a_job("low", chips=1)
    start_all(world)
    return world


def test_the_victim_leaves_and_the_chips_are_promised(world: World) -> None:
    victim = Attempt.objects.get()
    urgent = world.a_job("urgent", chips=1)
    taken = take_back(world.cell.pk, [taking_for(urgent, victim)], (), now=clock.now())
    assert [unit.start.job for unit in taken.promised] == [urgent.pk]
    victim.refresh_from_db()
    assert (victim.state, victim.stop_outcome) == ("stopping", "preempted")
    assert victim.job.status == "stopping"
    assert victim.job.sentence == "Its chips go to urgent: it has a higher priority."
    promise = Promise.objects.get()
    assert (promise.job_id, promise.attempts) == (urgent.pk, [victim.pk])
    assert set(Event.objects.filter(actor="scheduler").values_list("kind", flat=True)) >= {
        "attempt.stopping",
        "job.promised",
    }
    wanted = attempts_wanted_on([world.node.pk])[world.node.pk]
    assert [(replica.desired, replica.stop_outcome) for replica in wanted.replicas] == [("stop", "preempted")]
    counters_agree(world.cell)


def test_the_engine_hears_of_promise_and_leaving_through_the_feed(world: World) -> None:
    feed = Feed(world.cell.pk)
    feed.begin(clock.to_ms(clock.now()))
    victim = Attempt.objects.get()
    urgent = world.a_job("urgent", chips=1)
    take_back(world.cell.pk, [taking_for(urgent, victim)], (), now=clock.now())
    feed.read(clock.to_ms(clock.now()))
    assert feed.promises()[urgent.pk].attempts == (victim.pk,)
    told = feed.snapshot(0)
    assert [attempt.leaving for attempt in told.running] == [True]
    assert told == take_snapshot_at_zero(world)
    Promise.objects.all().delete()
    feed.read(clock.to_ms(clock.now()))
    assert feed.promises() == {}


def take_snapshot_at_zero(world: World):
    return Feed(world.cell.pk).begin(0)


def test_the_victim_waits_again_with_what_it_had_and_the_promise_is_kept(world: World) -> None:
    victim = Attempt.objects.get()
    urgent = world.a_job("urgent", chips=1)
    unit = taking_for(urgent, victim)
    take_back(world.cell.pk, [unit], (), now=clock.now())
    at = victim.placed_at + timedelta(seconds=2)
    assert end_attempts([Ending(victim.pk, Outcome.PREEMPTED, ended_at=at)], actor="agent", at=at) == 1
    low = Job.objects.get(name="low")
    assert (low.state, low.times_taken, low.attained) == ("queued", 1, 2000)
    now = clock.now()
    start = Unit(unit.start)
    apply(world.cell.pk, [start], now=now, notes=CycleNotes(started_at=now, units=1))
    assert Attempt.objects.get(job=urgent).state == "placed"
    assert not Promise.objects.exists()
    counters_agree(world.cell)


def test_a_unit_whose_victim_has_ended_or_leaves_already_is_dropped(world: World) -> None:
    victim = Attempt.objects.get()
    urgent, other = world.a_job("urgent", chips=1), world.a_job("other", chips=1)
    first, second = taking_for(urgent, victim), taking_for(other, victim)
    assert not take_back(world.cell.pk, [first], (), now=clock.now()).dropped
    assert take_back(world.cell.pk, [second], (), now=clock.now()).dropped == (second,)
    assert Promise.objects.count() == 1
    end_attempts([Ending(victim.pk, Outcome.PREEMPTED)], actor="agent", at=clock.now())
    assert take_back(world.cell.pk, [second], (), now=clock.now()).dropped == (second,)


def test_a_unit_whose_job_was_cancelled_or_has_changed_takes_nothing(world: World) -> None:
    victim = Attempt.objects.get()
    urgent = world.a_job("urgent", chips=1)
    unit = taking_for(urgent, victim)
    Job.objects.filter(pk=urgent.pk).update(version=7)
    assert take_back(world.cell.pk, [unit], (), now=clock.now()).dropped == (unit,)
    victim.refresh_from_db()
    assert victim.state == "placed"


def test_relief_leaves_for_nobody(world: World) -> None:
    victim = Attempt.objects.get()
    relief = Taking(victim.pk, victim.job_id, Rung.EVICT, Ground.EXCESS, loss=0)
    take_back(world.cell.pk, (), (relief,), now=clock.now())
    victim.refresh_from_db()
    assert victim.state == "stopping"
    assert victim.job.sentence == "Its chips are taken back: more is held than there is."
    assert not Promise.objects.exists()


def test_work_that_moves_has_a_promise_of_its_own(world: World) -> None:
    victim = Attempt.objects.get()
    (placement,) = _live(world.cell.pk)[0].placements
    move = Taking(victim.pk, victim.job_id, Rung.MOVE, Ground.CONSOLIDATION, loss=0, placements=(placement,))
    urgent = world.a_job("urgent", chips=1)
    unit = Unit(Start(urgent.pk, urgent.version, (placement,)), (move,))
    take_back(world.cell.pk, [unit], (), now=clock.now())
    assert set(Promise.objects.values_list("job_id", flat=True)) == {urgent.pk, victim.job_id}


def test_b1_reservations_are_stored_changed_and_forgotten(world: World) -> None:
    (placement,) = _live(world.cell.pk)[0].placements
    waits = world.a_job("waits", chips=1)
    feed = Feed(world.cell.pk)
    feed.begin(0)
    wanted = Reserved(waits.pk, 5_000, (placement,))
    assert keep(world.cell.pk, [wanted], feed.reservations(), ())
    feed.read(0)
    assert feed.reservations() == {waits.pk: wanted}
    assert keep(world.cell.pk, [wanted], feed.reservations(), ()) == 0
    later = Reserved(waits.pk, 9_000, (placement,))
    assert keep(world.cell.pk, [later], feed.reservations(), ())
    assert clock.to_ms(Reservation.objects.get().at) == 9_000
    feed.read(0)
    assert keep(world.cell.pk, [], feed.reservations(), ())
    assert not Reservation.objects.exists()


def test_a_promise_that_cannot_hold_makes_room_for_a_new_one_and_the_cycle_is_on_record(world: World) -> None:
    """Else the job's old promise would keep it from ever getting another."""
    CellPolicy.objects.create(cell=world.cell, values={"min_runtime": 0})
    victim = Attempt.objects.get()
    Job.objects.filter(pk=victim.job_id).update(preemptible=True, priority=10)
    urgent = world.a_job("urgent", chips=1, priority=90)
    Promise.objects.create(job=urgent, cell=world.cell, attempts=[], placements=[], since=clock.now())
    assert run_cycle(world.cell.pk).error == ""
    victim.refresh_from_db()
    assert victim.state == "stopping"
    assert Promise.objects.get().attempts == [victim.pk]
    assert Cycle.objects.filter(cell=world.cell, units=1).count() == 2
