"""Law 7: whatever the order of commits, what the feed told equals what the rows are."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection

from flexai.cluster.models import Chip, Node, Pool
from flexai.common import clock
from flexai.jobs.models import Attempt, Job
from flexai.scheduling import engine_state
from flexai.scheduling import feed as feeding
from flexai.scheduling.cycle import run_cycle
from flexai.scheduling.feed import Feed
from flexai.scheduling.models import Quarantine
from flexai.scheduling.quarantine import quarantine, release
from flexai.scheduling.snapshot import take_snapshot
from flexai.tenancy.models import Quota, Team
from scheduler_core import Policy, Scheduler, decide
from scheduler_core.decision import Violation
from scheduler_core.model import Chip as ChipRow
from scheduler_core.model import Job as Waiting
from scheduler_core.model import Remove, Running, Upsert
from tests.server.scheduling.world import World, end

pytestmark = pytest.mark.django_db(transaction=True)

SEEDS = 8
STEPS = 60
WRITERS = 3
NOTHING = {"chips": 0, "milli": 0, "chip_memory_mib": 0, "chip_types": [], "memory_mib": 0, "isolation": None}
A_MIX = (
    "INSERT INTO scheduling_mix (cell_id, requests, learned_at, changed) VALUES (%s, %s::jsonb, now(), 0)"
    " ON CONFLICT (cell_id) DO UPDATE SET requests = excluded.requests"
)


def test_what_the_feed_told_equals_a_fresh_snapshot_whatever_the_order_of_commits():
    assert [seed for seed in range(SEEDS) if not _agrees_to_the_end(seed)] == []


def test_remembering_the_greatest_id_instead_of_xmin_loses_rows(monkeypatch):
    """The test above can fail: this is the mistake that it is there for."""
    read_since = feeding.read_since

    def by_greatest_id(cell: int, since: int) -> Any:
        read = read_since(cell, since)
        rows = [*read.nodes, *read.chips, *read.waiting, *read.live, *read.not_waiting, *read.ended]
        return replace(read, xmin=max([since, *(row.changed + 1 for row in rows)]))

    monkeypatch.setattr(feeding, "read_since", by_greatest_id)
    assert any(not _agrees_to_the_end(seed) for seed in range(SEEDS))


def _agrees_to_the_end(seed: int) -> bool:
    """Writers commit late and in any order, or roll back; after each step the feed is compared with the
    rows."""
    random_ = random.Random(seed)
    world = World()
    with _writers(world, random_) as writers:
        feed = Feed(world.cell.pk)
        scheduler = Scheduler(feed.begin(0), Policy())
        for step in range(STEPS):
            random_.choice(writers).step()
            now = clock.now()
            changes = feed.read(clock.to_ms(now))
            if changes.rebuild:
                return False
            scheduler.apply(changes.events)
            fresh = Feed(world.cell.pk).begin(clock.to_ms(now))
            if feed.snapshot(fresh.now) != fresh:
                return False
            if step % 10 == 0:
                assert scheduler.decide(fresh.now) == decide(fresh, Policy())
    return True


@dataclass
class _Writer:
    """Holds a transaction open over several steps, on rows that no other writer touches."""

    connection: psycopg.Connection[Any]
    random: random.Random
    cell: int
    jobs: list[int]
    node: int
    quota: int
    mixes: bool
    """Whether it writes the cell's one mix."""

    def step(self) -> None:
        if self.connection.info.transaction_status.name == "INTRANS" and self.random.random() < 0.35:
            (self.connection.commit if self.random.random() < 0.8 else self.connection.rollback)()
            return
        self.random.choice(self._moves())()

    def _moves(self) -> list[Callable[[], object]]:
        job = self.random.choice(self.jobs)
        run, priority = self.connection.execute, self.random.randrange(100)
        return [
            lambda: run(
                "UPDATE jobs_job SET priority = %s, version = version + 1 WHERE id = %s", [priority, job]
            ),
            lambda: run("UPDATE jobs_job SET state = 'cancelled' WHERE id = %s", [job]),
            lambda: run("UPDATE jobs_job SET state = 'queued' WHERE id = %s", [job]),
            lambda: run(
                "UPDATE cluster_node SET state = CASE state WHEN 'ready' THEN 'cordoned' ELSE 'ready' END"
                " WHERE id = %s",
                [self.node],
            ),
            lambda: run("UPDATE cluster_chip SET healthy = NOT healthy WHERE node_id = %s", [self.node]),
            lambda: run(
                "UPDATE tenancy_quota SET guaranteed_milli = guaranteed_milli + 100 WHERE id = %s",
                [self.quota],
            ),
            lambda: run("DELETE FROM tenancy_quota WHERE id = %s", [self.quota]),
            lambda: run("DELETE FROM jobs_job WHERE id = %s", [self.jobs[-1]]),
            lambda: run("SELECT pg_current_xact_id()"),
            *([lambda: run(A_MIX, [self.cell, self._mix()])] if self.mixes else []),
        ]

    def _mix(self) -> str:
        """Requests in an order that says nothing, of which many a one was in the mix before."""
        asked = [
            {**NOTHING, "cpu_milli": 100, "milli": milli, "chips": chips}
            for milli, chips in ((300, 0), (0, 1), (0, 2))
        ]
        kinds = self.random.sample(asked, self.random.randint(0, len(asked)))
        return json.dumps([[kind, self.random.randint(1, 2)] for kind in kinds])


@contextmanager
def _writers(world: World, random_: random.Random) -> Iterator[list[_Writer]]:
    settings = connection.get_connection_params()
    where = {key: settings[key] for key in ("dbname", "user", "host", "port") if key in settings}
    writers = []
    for number in range(WRITERS):
        jobs = [job.pk for job in world.jobs(4)]
        node = world.a_node(chips=2).pk
        quota = world.a_quota(world.a_team(f"team-{number}"), guaranteed=1000).pk
        writers.append(
            _Writer(psycopg.connect(**where), random_, world.cell.pk, jobs, node, quota, mixes=number == 0)
        )
    try:
        yield writers
    finally:
        for writer in writers:
            writer.connection.close()


def events_after(world: World, change: Callable[[], object], *, feed: Feed | None = None):
    feed = feed or Feed(world.cell.pk)
    if not feed.since:
        feed.begin(clock.to_ms(clock.now()))
    change()
    return feed.read(clock.to_ms(clock.now()))


def test_a_row_read_twice_is_said_once():
    world = World()
    feed = Feed(world.cell.pk)
    feed.begin(0)
    assert len(events_after(world, world.a_job, feed=feed).events) == 1
    assert events_after(world, lambda: None, feed=feed).events == []


def test_a_row_is_marked_with_the_transaction_that_wrote_it_whatever_that_says_itself():
    world = World()
    world.a_node(chips=1)
    job = world.a_job(chips=1)
    assert run_cycle(world.cell.pk).started == 1
    started = Job.objects.get(pk=job.pk).changed
    assert started == Attempt.objects.get(job=job).changed > 0
    end(Attempt.objects.get(job=job))
    ended = Job.objects.get(pk=job.pk).changed
    assert started < ended == Attempt.objects.get(job=job).changed
    job.save()  # with every column as it was when it was made
    saved = Job.objects.get(pk=job.pk).changed
    assert ended < saved
    Job.objects.filter(pk=job.pk).update(changed=2**62)
    assert saved < Job.objects.get(pk=job.pk).changed < 2**62


def test_what_the_loop_itself_applied_is_told_but_no_news():
    world = World()
    world.a_node()
    job = world.a_job()
    run_cycle(world.cell.pk)
    state = engine_state._states[world.cell.pk]
    attempt = Attempt.objects.get(job=job)
    changes = state.feed.read(clock.to_ms(clock.now()))
    assert Remove(Waiting, job.pk) in changes.events
    assert [event.row.id for event in changes.events if isinstance(event, Upsert)] == [attempt.pk]
    assert not changes.news
    Attempt.objects.filter(pk=attempt.pk).update(
        state="running", running_at=clock.now() + timedelta(seconds=1)
    )
    changes = state.feed.read(clock.to_ms(clock.now()))
    assert [type(event) for event in changes.events] == [Upsert]
    assert not changes.news
    end(attempt)
    changes = state.feed.read(clock.to_ms(clock.now()))
    assert Remove(Running, attempt.pk) in changes.events
    assert changes.news


def test_what_the_loop_started_is_no_news_though_its_agent_spoke_before_it_was_read():
    world = World()
    world.a_node(chips=4)
    job = world.a_job(chips=2)
    run_cycle(world.cell.pk)
    Attempt.objects.filter(job=job).update(state="running", running_at=clock.now())
    Job.objects.filter(pk=job.pk).update(status="running")
    changes = engine_state._states[world.cell.pk].feed.read(clock.to_ms(clock.now()))
    assert [type(event) for event in changes.events] == [Upsert, Remove]
    assert not changes.news


def test_what_the_loop_started_and_ended_before_it_was_read_is_news():
    """Its place is free again: somebody who was told to wait for it may have it."""
    world = World()
    world.a_node()
    job = world.a_job()
    run_cycle(world.cell.pk)
    end(Attempt.objects.get(job=job))
    changes = engine_state._states[world.cell.pk].feed.read(clock.to_ms(clock.now()))
    assert changes.events == [Remove(Waiting, job.pk)]
    assert changes.news


def test_what_comes_with_what_the_loop_started_is_news():
    world = World()
    world.a_node()
    started = world.a_job()
    run_cycle(world.cell.pk)
    Job.objects.filter(pk=started.pk).update(status="running")
    came = world.a_job()
    changes = engine_state._states[world.cell.pk].feed.read(clock.to_ms(clock.now()))
    assert changes.news
    assert came.pk in [event.row.id for event in changes.events if isinstance(event, Upsert)]


def test_a_job_whose_time_has_not_come_does_not_wait():
    world = World()
    now = clock.now()
    job = world.a_job(start_after=now + timedelta(minutes=1))
    assert take_snapshot(world.cell.pk, now).jobs == ()
    assert [row.id for row in take_snapshot(world.cell.pk, now + timedelta(minutes=1)).jobs] == [job.pk]
    feed = Feed(world.cell.pk)
    feed.begin(clock.to_ms(now))
    assert feed.read(clock.to_ms(now)).events == []
    later = feed.read(clock.to_ms(now + timedelta(minutes=1)))
    assert [event.row.id for event in later.events] == [job.pk]
    assert later.news


def test_a_job_in_quarantine_does_not_wait_until_it_is_released():
    world = World()
    job = world.a_job()
    feed = Feed(world.cell.pk)
    feed.begin(0)
    away = events_after(
        world, lambda: quarantine([Violation(job.pk, "capacity", "Too much.")], now=clock.now()), feed=feed
    )
    assert away.events == [Remove(Waiting, job.pk)]
    assert take_snapshot(world.cell.pk, clock.now()).jobs == ()
    job.refresh_from_db()
    assert (job.reason_code, job.version) == ("quarantined", 1)
    assert Quarantine.objects.get(job=job).law == "capacity"
    back = events_after(world, lambda: release(job, now=clock.now(), actor="user:ana"), feed=feed)
    assert [event.row.id for event in back.events] == [job.pk]
    assert not release(job, now=clock.now(), actor="user:ana")


def test_deleted_rows_are_told():
    world = World()
    node, job = world.a_node(chips=1), world.a_job()
    team = world.a_team("gone")
    quota = world.a_quota(world.team, guaranteed=1000)
    feed = Feed(world.cell.pk)
    feed.begin(0)

    def delete() -> None:
        Job.objects.filter(pk=job.pk).delete()
        Chip.objects.filter(node=node).delete()
        Node.objects.filter(pk=node.pk).delete()
        Team.objects.filter(pk=team.pk).delete()
        Quota.objects.filter(pk=quota.pk).delete()

    assert events_after(world, delete, feed=feed).news
    fresh = take_snapshot(world.cell.pk, clock.now())
    assert feed.snapshot(fresh.now) == fresh
    assert (fresh.nodes, fresh.chips, fresh.jobs) == ((), (), ())


def test_a_changed_pool_asks_for_a_rebuild():
    world = World()
    assert (
        events_after(world, lambda: Pool.objects.create(cell=world.cell, name="more")).rebuild
        == "a pool changed"
    )


def test_another_cells_rows_are_not_told():
    world, other = World(), World()
    feed = Feed(world.cell.pk)
    feed.begin(0)
    other.a_node(chips=1)
    other.a_job()
    assert feed.read(0).events == []


def test_a_chip_that_went_missing_counts_until_nothing_holds_it():
    world = World()
    world.a_node(chips=1)
    Chip.objects.update(present=False, used_milli=500)
    (chip,) = take_snapshot(world.cell.pk, clock.now()).chips
    assert not chip.healthy
    Chip.objects.update(used_milli=0)
    assert take_snapshot(world.cell.pk, clock.now()).chips == ()


def test_a_job_that_names_pools_waits_for_those_alone():
    world = World()
    special = Pool.objects.create(cell=world.cell, name="special")
    world.a_job("here", pools=["special", "default"])
    world.a_job("nowhere", pools=["no-such-pool"])
    here, nowhere = take_snapshot(world.cell.pk, clock.now()).jobs
    assert here.pools == (special.pk, world.pool.pk)
    assert nowhere.pools == (0,)
    world.a_node()
    run_cycle(world.cell.pk)
    assert list(Job.objects.filter(state="queued").values_list("name", flat=True)) == ["nowhere"]


@pytest.mark.parametrize("model", [Node, Chip], ids=["node", "chip"])
def test_whatever_column_of_a_place_changes_the_feed_tells_what_that_is_to_the_engine(model):
    """Counters alone mark nothing; a column that the feed reads must be among those that do."""
    world = World()
    node = world.a_node(chips=2)
    row = model.objects.filter(pk=node.pk if model is Node else node.chips.first().pk)
    another = Pool.objects.create(cell=world.cell, name="another")
    told = []
    for field in model._meta.concrete_fields:
        if field.name in {"id", "changed", "cell", "node", "parent", "public_id"}:
            continue
        feed = Feed(world.cell.pk)
        feed.begin(0)
        value = row.values_list(field.name, flat=True).get()
        row.update(**{field.name: another.pk if field.name == "pool" else _another(value, field.name)})
        now = clock.now()
        changes = feed.read(clock.to_ms(now))
        assert not changes.rebuild
        fresh = take_snapshot(world.cell.pk, now)
        assert feed.snapshot(fresh.now) == fresh, field.name
        if changes.events:
            told.append(field.name)
        row.update(**{field.name: value})
    seen = {"pool", "name", "state", "reachable", "topology", "cpu_milli", "memory_mib", "images"}
    of_chips = {
        "index",
        "type",
        "memory_mib",
        "healthy",
        "cordoned_because",
        "health",
        "isolation",
        "host_cpu_milli",
    }
    assert seen <= set(told) if model is Node else of_chips <= set(told)


def _another(value: Any, name: str) -> Any:
    """A value of the same kind that the constraints let pass."""
    if name == "state":
        return "draining"
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 7 if not name.startswith(("used", "guest")) else 0
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, list):
        return ["cooperative"] if name == "isolation" else [*value, "rack-1"]
    return clock.now() if name.endswith("_at") else {}


def test_a_chip_that_is_gone_counts_until_nothing_holds_it():
    world = World()
    world.a_node(chips=1)
    job = world.a_job(chips=1)
    run_cycle(world.cell.pk)
    feed = Feed(world.cell.pk)
    feed.begin(0)
    chip = Chip.objects.get()
    assert len(events_after(world, lambda: Chip.objects.update(present=False), feed=feed).events) == 1
    changes = events_after(world, lambda: end(Attempt.objects.get(job=job)), feed=feed)
    assert Remove(ChipRow, chip.pk) in changes.events
