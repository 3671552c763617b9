"""T4 on real rows: what agents report of their chips' hardware drains, ranks and returns them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flexai.cluster.models import Chip, ChipHealth, NodeEvent
from flexai.cluster.services import change_inventory
from flexai.cluster.telemetry import Window, keep_windows
from flexai.common import clock
from flexai.scheduling.chip_health import look_at_health
from node_agent.protocol import ChipErrors, ChipInfo, Inventory
from scheduler_core.health import BURN_IN, Move
from tests.support.placed import PlacedWorld

pytestmark = pytest.mark.django_db
BURN = timedelta(milliseconds=BURN_IN)


class Observed:
    """One node of two chips, its agent's words, and the looks at them."""

    def __init__(self, chips: int = 2) -> None:
        self.world = PlacedWorld()
        self.node = self.world.a_node()
        self.count = chips
        self.now = clock.now()
        self.says()

    def says(self, *, healthy: bool = True, note: str = "", **counted) -> None:
        """The agent's inventory: what was counted, it was counted on chip 0."""
        chips = [
            ChipInfo(
                index=index, type="H100-80GB", memory_mib=81_559, uuid=f"GPU-{index}", driver="nvidia",
                isolation=["exclusive"], healthy=healthy or index > 0, health_note="" if index else note,
                errors=ChipErrors(**counted) if counted and index == 0 else None,
            )
            for index in range(self.count)
        ]  # fmt: skip
        inventory = Inventory(cpu_milli=64_000, memory_mib=64_000, chips=chips)
        change_inventory(self.node.pk, inventory, "10.0.0.1")

    def looked_at(self, after: timedelta = timedelta(seconds=10)):
        self.now += after
        return look_at_health(self.node.cell_id, self.now)

    def window(self, **signs) -> None:
        at = clock.to_ms(self.now)
        keep_windows({self.node.pk: Window(at - 10_000, at, signs.pop("use", {}), {}, **signs)})

    @property
    def chip(self) -> Chip:
        return self.node.chips.get(index=0)


def test_t4_a_bad_chip_is_drained_with_reason_and_event_and_returns_by_itself():
    seen = Observed()
    assert seen.looked_at() == ()
    assert not ChipHealth.objects.exists()
    seen.says(uncorrected=4)
    [look] = seen.looked_at()
    assert look.judgement.move is Move.DRAIN
    assert (seen.chip.healthy, seen.chip.health, seen.chip.answers) == (False, 0, True)
    assert "4 memory errors that were not corrected" in seen.chip.health_reason
    assert seen.node.chips.get(index=1).healthy
    event = NodeEvent.objects.get(kind="chip.drained")
    assert (event.reason_code, event.facts["errors"]["uncorrected"]) == ("uncorrected", 4)
    assert event.sentence.startswith("Chip 0 (H100-80GB): Takes no new work: 4 memory errors")
    seen.says(uncorrected=4)
    assert not seen.chip.healthy, "the agent's word does not return it"
    seen.looked_at()
    assert not seen.looked_at(BURN - timedelta(seconds=30))
    [back] = seen.looked_at(timedelta(seconds=30))
    assert back.judgement.move is Move.RETURN
    assert (seen.chip.healthy, seen.chip.health, seen.chip.drained_at) == (True, 90, None)
    assert NodeEvent.objects.filter(kind="chip.returned").count() == 1
    assert seen.looked_at() == ()


def test_t4_what_slows_a_chip_lowers_its_score_by_telemetry():
    seen = Observed()
    seen.window(hot={0: 1000}, temperatures={0: 84, 1: 60})
    seen.looked_at(timedelta(seconds=1))
    assert (seen.chip.health, seen.chip.healthy) == (80, True)
    assert seen.chip.health_reason == "Health 80: it is too hot (84 °C)."
    assert seen.node.chips.get(index=1).health == 100
    assert not NodeEvent.objects.filter(kind__startswith="chip.").exists()


def test_t4_a_chip_slower_than_its_equals_at_work_scores_less_and_an_idle_one_does_not():
    seen = Observed(chips=5)
    seen.window(use={0: 900, 1: 900, 2: 900, 3: 900, 4: 0}, clocks={0: 600, 1: 1000, 2: 990, 3: 1000, 4: 200})
    assert [look.chip for look in seen.looked_at(timedelta(seconds=1))] == [seen.chip.pk]
    assert seen.chip.health == 100 - (850 - 606) // 10


def test_t4_a_stale_window_says_nothing():
    seen = Observed()
    seen.window(hot={0: 1000})
    assert seen.looked_at(timedelta(minutes=1)) == ()


def test_t4_a_chip_that_its_agent_reports_away_and_back_is_well_again():
    seen = Observed()
    seen.says(healthy=False, note="It does not answer.")
    assert (seen.chip.healthy, seen.chip.health) == (False, 0)
    assert seen.looked_at() == ()
    seen.says()
    assert (seen.chip.healthy, seen.chip.health) == (True, 100)


def test_t4_a_drained_chip_that_went_away_does_not_return_before_it_answers():
    seen = Observed()
    seen.says(xids=[79])
    seen.looked_at()
    seen.says(healthy=False, note="It does not answer.", xids=[79])
    for _ in range(4):
        assert all(look.judgement.move is None for look in seen.looked_at(BURN))
    assert not seen.chip.healthy


def test_q5_an_instance_names_its_parent():
    world = PlacedWorld()
    node = world.a_node()
    parent = ChipInfo(
        index=0, type="A100-80GB", memory_mib=81_920, uuid="GPU-1", healthy=False, health_note="divided"
    )
    part = ChipInfo(
        index=1, type="A100-80GB/1g.10gb", memory_mib=9_856, uuid="MIG-1", isolation=["hardware"], parent="GPU-1",
        slices=1, of=7,
    )  # fmt: skip
    change_inventory(node.pk, Inventory(cpu_milli=1000, memory_mib=1000, chips=[parent, part]), "")
    made = node.chips.get(index=1)
    assert (made.parent, made.slices, made.of) == (node.chips.get(index=0), 1, 7)
