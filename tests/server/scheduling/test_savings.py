"""X4: the past of a cell as a file that the simulator reads, and what a day would have been under whole-chip FIFO."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flexai.cluster.models import Chip, NodeHour
from flexai.cluster.rollups import NODE_HOURS
from flexai.common.database import prepared_cursor
from flexai.common.errors import InvalidInput
from flexai.jobs.models import Allocation, Attempt, AttemptProgress, Event, Job, Replica
from flexai.scheduling import nightly
from flexai.scheduling.models import Saving
from flexai.scheduling.past import past_of
from flexai.scheduling.playing import figures_of, keep_saving
from flexai.scheduling.savings import UNDER_WAY, UNFINISHED, energy_saved_mwh, problem_of, total_of
from scheduler_core.simulation.simulate.history import read_history
from tests.server.scheduling.test_loop import environment
from tests.server.scheduling.world import World
from tests.support.tenants import a_tenant

pytestmark = pytest.mark.django_db
DAY = date(2026, 3, 4)
MIDNIGHT = datetime(2026, 3, 4, tzinfo=UTC)
HOUR_MS = 3_600_000


def at(hours: float) -> datetime:
    return MIDNIGHT + timedelta(hours=hours)


def ran(
    world: World, *spans: tuple[float, float | None], submitted: float, outcomes: tuple[str, ...] = (),
    chips: list[Chip], milli: int = 1000, kind: str = "owned", saved: float | None = None, **asks: Any,
) -> Job:  # fmt: skip
    """A job that waited from `submitted` on and ran in these hours of the day, on these chips."""
    job = world.a_job(**({"types": ["H100"], "chips": len(chips)} | asks))
    Job.objects.filter(pk=job.pk).update(
        submitted_at=at(submitted),
        effective_spec=job.effective_spec | {"checkpoint_path": "x" if saved else ""},
    )
    Event.objects.create(
        at=at(submitted), organization=job.organization, job=job, kind="job.submitted", to_state="queued"
    )
    for number, (began, ended) in enumerate(spans, start=1):
        outcome = dict(enumerate(outcomes, start=1)).get(number, "succeeded" if ended is not None else "")
        attempt = Attempt.objects.create(
            organization=job.organization, cell=world.cell, job=job, number=number, placed_at=at(began),
            running_at=at(began), ended_at=None if ended is None else at(ended),
            state="running" if ended is None else "ended", outcome=outcome,
        )  # fmt: skip
        if saved is not None and number == 1:
            AttemptProgress.objects.create(
                attempt=attempt, replica=0, first_at=at(began), at=at(saved), saved_at=at(saved)
            )
        replica = Replica.objects.create(attempt=attempt, index=0, node=chips[0].node, state="ended")
        for chip in chips:
            Allocation.objects.create(
                attempt=attempt, replica=replica, chip=chip, milli=milli, memory_mib=1, charge_milli=milli,
                kind=kind, active=False,
            )  # fmt: skip
    return job


def lines(world: World) -> list[dict[str, Any]]:
    told = list(past_of(world.cell.pk, MIDNIGHT, at(24)).lines())
    return [json.loads(line) for line in told]


def test_what_ran_is_told_as_the_simulator_reads_it(tmp_path: Path) -> None:
    world = World()
    world.a_quota(world.team, guaranteed=2000, limit=3000)
    chips = list(world.a_node(chips=4, cpu=8000, memory=64_000).chips.order_by("index"))
    ran(world, (2, 3), submitted=1, chips=chips[:2], cpu=500)
    world.a_job("never")
    header, job = lines(world)
    team = f"{world.organization.slug}/research"
    assert header["nodes"] == [
        {"count": 1, "chips": 4, "chip_type": "H100", "cpu_millicores": 8000, "memory_mib": 64_000}
    ]
    assert header["quotas"] == [{"team": team, "chip_type": "H100", "guaranteed_chips": 2, "limit_chips": 3}]
    assert job == {
        "team": team, "submitted_ms": int(at(1).timestamp() * 1000), "run_ms": HOUR_MS, "chips": 2,
        "chip_types": ["H100"], "cpu_millicores": 500, "memory_mib": 100,
    }  # fmt: skip
    path = tmp_path / "history.jsonl"
    path.write_bytes(b"".join(past_of(world.cell.pk, MIDNIGHT, at(24)).lines()))
    assert read_history(path).work.runtime.tolist() == [HOUR_MS]


def test_what_was_lost_counts_as_waiting_and_what_lies_outside_is_cut_off() -> None:
    world = World()
    chips = list(world.a_node(chips=4).chips.order_by("index"))
    ran(world, (-3, 2), submitted=-5, chips=chips[:1])
    ran(world, (1, 4), (6, 8), submitted=1, outcomes=("preempted",), chips=chips[1:2], saved=3)
    ran(world, (2, 4), (6, 8), submitted=1, outcomes=("node_lost",), chips=chips[2:3])
    ran(world, (20, None), submitted=19, chips=chips[3:4], milli=250)
    past = past_of(world.cell.pk, MIDNIGHT, at(24))
    told = [(job.line["run_ms"] / HOUR_MS, job.waited_ms / HOUR_MS) for job in past.jobs]
    assert told == [(2, 0), (4, 3), (2, 5), (4, 1)]
    assert [job.line.get("milli_chips") for job in past.jobs] == [None, None, None, 250]
    assert past.jobs[0].line["submitted_ms"] == int(MIDNIGHT.timestamp() * 1000)
    assert past.held_chip_ms == (2 + 5 + 4 + 1) * HOUR_MS


def test_it_is_bounded_and_keeps_to_one_organization() -> None:
    world, other = World(), a_tenant()
    chips = list(world.a_node(chips=1).chips.all())
    ran(world, (1, 2), submitted=1, chips=chips)
    assert len(past_of(world.cell.pk, MIDNIGHT, at(24), organization=world.organization.pk).jobs) == 1
    assert not past_of(world.cell.pk, MIDNIGHT, at(24), organization=other.organization.pk).jobs
    for until in (MIDNIGHT, at(24 * 32)):
        with pytest.raises(InvalidInput):
            past_of(world.cell.pk, MIDNIGHT, until)


def test_a_day_is_played_under_whole_chip_fifo_and_the_simulator_is_measured() -> None:
    """Two half-chip jobs shared one chip for two hours: whole chips would have come one after the other."""
    world = World()
    chips = list(world.a_node(chips=1).chips.all())
    for _ in range(2):
        ran(world, (0, 2), submitted=0, chips=chips, milli=500)
    with prepared_cursor() as cursor:
        NODE_HOURS.make(cursor, MIDNIGHT)
    for hour, (use, power) in enumerate([(900, 600_000), (900, 600_000), (0, 80_000)]):
        NodeHour.objects.create(
            node_id=chips[0].node_id, at=at(hour), samples=60, use_permille=[use], memory_use_permille=[0],
            memory_mib=[0], temperature_c=[0], power_mw=[power],
        )  # fmt: skip
    row = keep_saving(world.cell.pk, DAY)
    assert (row.problem, row.jobs, row.refused) == ("", 2, 0)
    assert (row.held_ms / HOUR_MS, row.fifo_held_ms / HOUR_MS) == (2, 4)
    assert (row.waited_ms, row.fifo_waited_ms / HOUR_MS) == (0, 2)
    assert (row.span_ms / HOUR_MS, row.fifo_span_ms / HOUR_MS) == (2, 4)
    assert row.engine_waited_ms is not None
    assert row.engine_waited_ms < HOUR_MS / 10, "both start at once in the simulator too"
    assert (row.idle_mw, row.idle_measured_permille, row.drawn_mwh) == (80_000, 1000, 1_280_000)
    assert energy_saved_mwh(row) == 160_000
    total = total_of([row, Saving(cell=world.cell, day=DAY, problem=UNFINISHED)])
    assert (total["days"], total["wait_ms_avoided"], total["wait_error_days"]) == (1, 2 * HOUR_MS, 1)


def test_a_day_that_is_being_played_is_told_as_such_and_one_that_came_to_no_end_too() -> None:
    row = Saving(cell=World().cell, day=DAY, problem=UNFINISHED, made_at=at(25))
    assert (problem_of(row, at(25.4)), problem_of(row, at(25.5))) == (UNDER_WAY, UNFINISHED)
    row.problem = ""
    assert problem_of(row, at(25.4)) == ""


def test_a_day_without_jobs_and_a_cell_without_chips_are_told_as_such() -> None:
    world = World()
    assert figures_of(world.cell.pk, DAY)["idle_mw"] == 0
    chips = list(world.a_node(chips=1).chips.all())
    ran(world, (1, 2), submitted=1, chips=chips)
    Chip.objects.update(present=False)
    assert "no chips any more" in keep_saving(world.cell.pk, DAY).problem


def test_lent_chips_are_their_owners_and_a_guest_needs_one_of_its_own_under_fifo() -> None:
    world = World()
    chips = list(world.a_node(chips=2).chips.order_by("index"))
    ran(world, (0, 4), submitted=0, chips=chips[:1])
    ran(world, (1, 3), submitted=1, chips=chips[:1], kind="guest")
    figures = figures_of(world.cell.pk, DAY)
    assert (figures["held_ms"] / HOUR_MS, figures["fifo_held_ms"] / HOUR_MS) == (4, 6)


def test_a_process_of_its_own_is_started_once_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    type(world.cell).objects.update(created_at=at(0))
    started: list[list[str]] = []

    class Child:
        ended: int | None = None

        def __init__(self, command: list[str], **_: object) -> None:
            started.append(command[1:])

        def poll(self) -> int | None:
            return Child.ended

    monkeypatch.setattr(nightly.subprocess, "Popen", Child)
    monkeypatch.setattr(nightly, "_children", [])
    cells = list(type(world.cell).objects.order_by("pk").values_list("pk", flat=True))
    assert not nightly.start_due(at(24.5)), (
        "the day before has no cell, and this one is not over for an hour yet"
    )
    assert nightly.start_due(at(25.5))
    assert not nightly.start_due(at(25.6)), "one is running"
    Child.ended = 0
    Saving.objects.create(cell_id=cells[0], day=DAY, made_at=at(26))
    assert nightly.start_due(at(26)) == (len(cells) > 1)
    assert started[0] == ["-m", "flexai.scheduling.play_day", str(cells[0]), "2026-03-04"]


def test_operators_read_it_and_owners_their_own_history() -> None:
    operators, owner = a_tenant(operator=True), a_tenant()
    Saving.objects.create(
        cell_id=1, day=DAY, made_at=at(26), jobs=3, held_ms=1, fifo_held_ms=5, waited_ms=2, fifo_waited_ms=9,
        engine_waited_ms=3,
    )  # fmt: skip
    told = operators.api.get("/savings", **{"from": "2026-03-01", "to": "2026-03-31"}).json()
    assert [(day["day"], day["chip_ms_saved"], day["wait_ms_avoided"]) for day in told["days"]] == [
        ("2026-03-04", 4, 7)
    ]
    assert (told["total"]["wait_error_ms"], told["total"]["jobs"]) == (1, 3)
    assert "static whole-chip" in told["method"]
    answer = owner.api.get("/history", **{"from": "2026-03-01", "to": "2026-03-02"})
    assert answer.status_code == 200
    assert json.loads(answer.content.splitlines()[0])["flexai_history"] == 1
    assert owner.api.get("/history", **{"from": "2026-03-01", "to": "2026-04-30"}).status_code == 400
    assert owner.api.get("/savings", **{"from": "x"}).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_the_process_plays_the_day_and_leaves_its_row() -> None:
    world = World()
    chips = list(world.a_node(chips=1).chips.all())
    ran(world, (1, 2), submitted=1, chips=chips)
    command = [sys.executable, "-m", "flexai.scheduling.play_day", str(world.cell.pk), DAY.isoformat()]
    subprocess.run(command, env=environment(), check=True, timeout=300)
    row = Saving.objects.get(cell=world.cell)
    assert (row.problem, row.jobs) == ("", 1)
