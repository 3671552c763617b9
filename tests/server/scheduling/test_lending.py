"""T2, T3, Q7: idle chips are offered, lent, called back; counters, histories, wanted state."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from flexai.cluster.models import Chip, Node
from flexai.cluster.telemetry import keep_frames
from flexai.common import clock
from flexai.jobs.ending import Ending, end_attempts
from flexai.jobs.models import Allocation, Attempt, Event, Guest, Job, Offer
from flexai.jobs.presenting import present_attempts, present_job
from flexai.jobs.reports import take_reports
from flexai.jobs.spec import parse
from flexai.jobs.wanted import attempts_wanted_on
from flexai.scheduling import engine_state, offers
from flexai.scheduling.cycle import run_cycle
from flexai.scheduling.models import CellPolicy
from flexai.scheduling.offers import look_at_offers
from flexai.tenancy.models import TeamUse
from node_agent.protocol import (
    ReplicaReport,
    ReplicaSample,
    Telemetry,
    WantedGuest,
    pack_telemetry,
    replica_key,
)
from scheduler_core.lifecycle import Outcome
from scheduler_core.offers import Move
from tests.server.scheduling.world import World, counters_agree

pytestmark = pytest.mark.django_db(transaction=True)


class Lending:
    """One core whose owner runs, and a job that waits and may be a guest on it."""

    def __init__(self, *, lend: str = "team", **guest: object) -> None:
        self.world = World()
        self.node = self.world.a_node("n1", chips=1, type="cpu", claims=1000, memory=4000)
        self.node.chips.update(driver="cpu", isolation=["exclusive", "enforced", "cooperative"])
        self.owner = self.world.a_job("owner", chips=1, cpu=0, memory=0)
        self._ask(self.owner, lend=lend, lend_after_ms=4000)
        assert self.cycle() == 1
        self.now = clock.now()
        self.attempt = Attempt.objects.get()
        Attempt.objects.update(state="running", running_at=self.now)
        Job.objects.update(status="running")
        self.job = self.world.a_job(
            "guest", chips=1, **{"cpu": 0, "memory": 500, "preemptible": True, **guest}
        )

    def _ask(self, job: Job, **asks: object) -> None:
        job.effective_spec |= asks
        job.save()

    def cycle(self) -> int:
        engine_state.forget(self.world.cell.pk)
        return run_cycle(self.world.cell.pk).started

    def second(self, use: int, *, seconds: float = 2) -> list[Move]:
        """Time passes, and in its last second the owner used so much of its core; what was done."""
        self.now += timedelta(seconds=seconds)
        key = replica_key(self.attempt.public_id, 0)
        frame = Telemetry(0, 0, 0, replicas=[ReplicaSample(key, use, 10, 10)])
        keep_frames({self.node.pk: pack_telemetry(frame)}, at_ms=clock.to_ms(clock.now()))
        return [step.move for step in look_at_offers(self.world.cell.pk, self.now)]

    def lent(self) -> Attempt:
        """The owner has turned idle and its core is lent; the guest's attempt, running."""
        assert [self.second(0), self.second(0), self.second(0)] == [[], [], [Move.OFFER]]
        assert self.cycle() == 0, "a guest is no start by right"
        counters_agree(self.world.cell)
        attempt = Attempt.objects.get(job=self.job)
        Attempt.objects.filter(pk=attempt.pk).update(state="running", running_at=clock.now())
        return attempt

    def chip(self) -> Chip:
        return self.node.chips.get()


def test_t3_an_idle_core_is_lent_and_everything_says_so() -> None:
    lending = Lending()
    guest = lending.lent()
    chip, node = lending.chip(), Node.objects.get()
    assert (chip.used_milli, chip.guest_milli, chip.guest_memory_mib) == (1000, 1000, 0)
    assert (node.used_cpu_milli, node.used_memory_mib) == (1000, 500), "the core is counted once"
    allocation = Allocation.objects.get(attempt=guest)
    assert (allocation.kind, allocation.milli, allocation.charge_milli, allocation.cpu_milli) == (
        "guest",
        1000,
        0,
        0,
    )
    assert TeamUse.objects.get().used_milli == 1000, "guests use no quota"
    placed = Event.objects.get(job=lending.job, kind="attempt.placed")
    assert placed.sentence == "Placed as a guest on n1, chip 0: it makes way when the owner is back."
    assert placed.facts == {
        "milli": 1000, "above": 100, "pause_after": 1000, "stop_after": 30_000, "memory_floor": 512,
    }  # fmt: skip
    offered = Event.objects.get(job=lending.owner, kind="attempt.offered")
    assert offered.sentence == (
        "It used nothing of its chips for 4 s: they may be lent to guests until it needs them."
    )
    assert offered.facts == {"use_permille": 0, "span_ms": 4000}
    assert Event.objects.get(job=lending.owner, kind="attempt.lent").facts == {"milli": 1000}
    told = present_job(Job.objects.select_related("team", "user", "set").get(pk=lending.job.pk))
    assert (told["status"], told["lending"]["role"], told["lending"]["halted_at"]) == (
        "starting",
        "guest",
        None,
    )
    assert present_attempts(lending.job)[0]["replicas"][0]["chips"][0]["kind"] == "guest"
    owner = present_job(Job.objects.select_related("team", "user", "set").get(pk=lending.owner.pk))
    assert owner["lending"]["role"] == "owner"


def test_t3_the_wanted_state_carries_the_yield_rule_and_the_owners_on_the_node() -> None:
    lending = Lending()
    guest = lending.lent()
    wanted = {one.attempt: one for one in attempts_wanted_on([lending.node.pk])[lending.node.pk].replicas}
    assert wanted[lending.attempt.public_id].guest is None
    assert wanted[guest.public_id].guest == WantedGuest(
        owners=[(lending.attempt.public_id, 0, 1000)], above=100, pause_after_ms=1000, stop_after_ms=30_000,
        memory_floor_mib=512,
    )  # fmt: skip
    assert wanted[guest.public_id].memory_mib == 500


def test_t3_a_gang_is_lent_to_whole_and_called_back_whole() -> None:
    lending = Lending(replicas=2)
    other = lending.world.a_node("n2", chips=1, type="cpu", claims=1000, memory=4000)
    other.chips.update(driver="cpu", isolation=["exclusive", "enforced", "cooperative"])
    second = lending.world.a_job("second", chips=1, cpu=0, memory=0, priority=90)
    lending._ask(second, lend="team", lend_after_ms=4000)
    assert lending.cycle() == 1
    Attempt.objects.update(state="running", running_at=lending.now)
    owners = {lending.attempt.public_id: lending.node, Attempt.objects.get(job=second).public_id: other}

    def pass_idle(seconds: float = 2, **use: int) -> None:
        lending.now += timedelta(seconds=seconds)
        for owner, node in owners.items():
            sample = ReplicaSample(replica_key(owner, 0), use.get(node.name, 0), 10, 10)
            frame = pack_telemetry(Telemetry(0, 0, 0, replicas=[sample]))
            keep_frames({node.pk: frame}, at_ms=clock.to_ms(clock.now()))
        look_at_offers(lending.world.cell.pk, lending.now)

    for _ in range(3):
        pass_idle()
    assert lending.cycle() == 0
    counters_agree(lending.world.cell)
    guest = Attempt.objects.get(job=lending.job)
    assert sorted(guest.replicas.values_list("index", "node__name")) == [(0, "n1"), (1, "n2")]
    assert list(Chip.objects.order_by("node_id").values_list("guest_milli", flat=True)) == [1000, 1000]
    placed = Event.objects.get(job=lending.job, kind="attempt.placed")
    assert (
        placed.sentence == "Placed as a guest on n1, chip 0; n2, chip 0: it makes way when the owner is back."
    )
    assert placed.facts["milli"] == 2000
    wanted = attempts_wanted_on([node.pk for node in owners.values()])
    for owner, node in owners.items():
        (mine,) = [one for one in wanted[node.pk].replicas if one.attempt == guest.public_id]
        assert mine.guest is not None
        assert mine.guest.owners == [(owner, 0, 1000)]
    pass_idle(n2=900)
    pass_idle(seconds=31, n2=900)
    lending.cycle()
    guest.refresh_from_db()
    assert (guest.state, guest.stop_outcome) == ("stopping", "preempted")
    wanted = attempts_wanted_on([node.pk for node in owners.values()])
    assert [
        [one.desired for one in wanted[node.pk].replicas if one.attempt == guest.public_id]
        for node in owners.values()
    ] == [["stop"], ["stop"]]


@pytest.mark.parametrize(
    ("lend", "asks"),
    [("never", {}), ("team", {"preemptible": False}), ("team", {"memory": 0}), ("team", {"memory": 5000})],
    ids=["never", "not preemptible", "without a limit of its memory", "more memory than the node has"],
)
def test_t3_what_may_not_be_lent_is_not(lend: str, asks: dict[str, object]) -> None:
    lending = Lending(lend=lend, **asks)
    for _ in range(4):
        lending.second(0)
    assert lending.cycle() == 0
    assert not Guest.objects.exists()
    assert Job.objects.get(pk=lending.job.pk).state == "queued"


def test_t2_a_short_return_halts_the_offer_and_a_long_one_ends_it_and_recalls_the_guest() -> None:
    lending = Lending()
    guest = lending.lent()
    assert lending.second(900) == [Move.HALT]
    lending.cycle()
    assert Attempt.objects.get(pk=guest.pk).state == "running", "its node has halted it already"
    assert lending.second(0) == [Move.GO_ON]
    assert lending.second(900) == [Move.HALT]
    assert lending.second(900, seconds=29) == []
    assert lending.second(900, seconds=1) == [Move.END]
    assert Offer.objects.get().ended == 1
    lending.cycle()
    attempt = Attempt.objects.get(pk=guest.pk)
    assert (attempt.state, attempt.stop_outcome, attempt.reason_code) == ("stopping", "preempted", "recalled")
    recalled = Event.objects.get(job=lending.job, kind="attempt.stopping")
    assert recalled.sentence == "Its chips are taken back: the owner of its chips lends them no longer."
    assert recalled.facts["ground"] == "owner_keeps"

    end_attempts([Ending(guest.pk, Outcome.PREEMPTED)], actor="agent", at=clock.now())
    job, chip, node = Job.objects.get(pk=lending.job.pk), lending.chip(), Node.objects.get()
    assert (job.state, job.times_taken, job.failures) == ("queued", 0, 0)
    assert (chip.guest_milli, chip.used_milli, node.used_memory_mib, node.used_cpu_milli) == (
        0,
        1000,
        0,
        1000,
    )
    idle_for = 0
    while not (steps := lending.second(0)):
        idle_for += 2
    assert (steps, idle_for) == ([Move.OFFER], 8), "twice as long as before"


def test_t3_a_guest_goes_when_its_owner_ends_and_then_runs_by_right() -> None:
    lending = Lending()
    guest = lending.lent()
    end_attempts([Ending(lending.attempt.pk, Outcome.SUCCEEDED)], actor="agent", at=clock.now())
    lending.world.a_job("next", chips=1, cpu=0, priority=90)
    assert lending.cycle() == 0, "the next one waits until the guest has gone"
    assert Attempt.objects.get(pk=guest.pk).state == "stopping"
    assert lending.chip().used_milli == 0
    end_attempts([Ending(guest.pk, Outcome.PREEMPTED)], actor="agent", at=clock.now())
    assert lending.cycle() == 1
    assert lending.chip().used_milli == 1000


def test_t3_a_loan_whose_owner_came_back_meanwhile_changes_nothing() -> None:
    lending = Lending()
    for _ in range(3):
        lending.second(0)
    engine_state.forget(lending.world.cell.pk)
    state = engine_state.refresh(lending.world.cell.pk, clock.to_ms(lending.now)).state
    (loan,) = state.scheduler.decide(clock.to_ms(lending.now)).loans
    assert lending.second(900) == [Move.HALT]
    from flexai.scheduling.lending import lend_and_recall

    assert lend_and_recall(lending.world.cell.pk, [loan], [], now=clock.now()).jobs == ()
    assert not Guest.objects.exists()
    assert (lending.chip().guest_milli, Node.objects.get().used_memory_mib) == (0, 0)
    assert Job.objects.get(pk=lending.job.pk).state == "queued"


def test_t3_what_a_node_does_by_itself_is_said_once() -> None:
    lending = Lending()
    guest = lending.lent()
    at = clock.to_ms(clock.now())
    said = ReplicaReport(
        guest.public_id,
        0,
        "running",
        at=at - 1,
        note="paused",
        sentence="Halted: the owner uses 90 % of its core.",
    )
    for _ in range(2):
        take_reports(lending.node.pk, [said])
    assert Event.objects.filter(job=lending.job, kind="attempt.paused").count() == 1
    assert Guest.objects.get().paused_at is not None
    job = Job.objects.select_related("team", "user", "set").get(pk=lending.job.pk)
    assert present_job(job)["lending"]["halted_at"] is not None
    assert job.sentence == said.sentence
    on = ReplicaReport(guest.public_id, 0, "running", at=at, note="resumed", sentence="Goes on.")
    take_reports(lending.node.pk, [on])
    assert Guest.objects.get().paused_at is None
    owner = ReplicaReport(lending.attempt.public_id, 0, "running", at=at, note="paused", sentence="x")
    take_reports(lending.node.pk, [owner])
    assert not Event.objects.filter(job=lending.owner, kind="attempt.paused").exists(), "it is no guest"


def test_q7_the_database_refuses_more_than_a_chip() -> None:
    lending = Lending()
    lending.lent()
    with pytest.raises(IntegrityError), transaction.atomic():
        Chip.objects.update(guest_milli=1001)
    with pytest.raises(IntegrityError), transaction.atomic():
        Chip.objects.update(guest_memory_mib=1)


def test_keep_ends_an_offer() -> None:
    lending = Lending()
    lending.lent()
    Job.objects.filter(pk=lending.owner.pk).update(kept_until=lending.now + timedelta(hours=1))
    assert lending.second(0) == [Move.END]
    assert Offer.objects.get().ended == 0
    assert "Its chips are kept" in Event.objects.get(kind="attempt.offer_ended").sentence


def test_nothing_is_looked_at_where_nobody_could_be_a_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    lending = Lending(preemptible=False)
    monkeypatch.setattr(offers, "_owners_in", lambda _: pytest.fail("all that runs was read"))
    for _ in range(4):
        assert lending.second(0) == []
    assert not Offer.objects.exists()
    assert not CellPolicy.objects.exists()


def test_the_spec_says_who_may_come_and_after_how_long() -> None:
    plain = parse({"commands": "x"}).spec
    assert (plain["lend"], plain["lend_after_ms"]) == ("team", 300_000)
    given = parse({"commands": "x", "lend": {"to": "any", "after": "10s"}}).spec
    assert (given["lend"], given["lend_after_ms"]) == ("any", 10_000)
    assert parse({"commands": "x", "lend": "never"}).spec["lend"] == "never"
