"""What changed in a cell since the last read, as events of the engine (law 7).

Every row carries the id of the transaction that wrote it last. A reader remembers `since`: the xmin of its
last snapshot, below which every transaction had ended. The next read takes all visible rows from `since` on.
A transaction that was not visible then has an id of at least that xmin, so it is read once it commits, in
whatever order commits come. A serial number, or the greatest id seen, would lose the ones that commit late.

The feed keeps a mirror of what it has said, so that a row read twice is said once. Rows that contradict each other
when it begins are set aside: what it says, then and later, is without them (`scheduler_core.refusal`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from flexai.scheduling.policies import policy_from
from flexai.scheduling.predictions import learned
from flexai.scheduling.reading import Read, read_all, read_since
from flexai.scheduling.rows import JobRow, RemovalRow
from scheduler_core.decision import Unit
from scheduler_core.model import (
    Chip,
    FeedEvent,
    Job,
    Node,
    Placement,
    Pool,
    Promise,
    Remove,
    Reservation,
    Row,
    Running,
    Seen,
    Snapshot,
    Team,
    Upsert,
)
from scheduler_core.policy import Policy
from scheduler_core.predict import Predictions
from scheduler_core.refusal import Contradiction, SetAside, contradictions, set_aside

MOST_TOLD = 100
"""So many contradictions are told; behind more of them lies one cause."""
KINDS: dict[str, type[Row]] = {
    "pool": Pool,
    "node": Node,
    "chip": Chip,
    "job": Job,
    "attempt": Running,
    "promise": Promise,
    "reservation": Reservation,
}
"""Kinds of `Removal` rows; teams and quotas are read whole instead."""


@dataclass(slots=True)
class Changes:
    """The answer of one read."""

    events: list[FeedEvent] = field(default_factory=list)
    news: bool = False
    """Whether the events hold more than what this loop itself applied: only then is there something to
    decide."""
    rebuild: str = ""
    """Why the feed must begin anew; empty when it need not. Then `events` means nothing."""


class Feed:
    """A cell's change feed, begun by `begin` and continued by `read`. One per loop; not shared between
    threads."""

    def __init__(self, cell_id: int) -> None:
        self.cell_id = cell_id
        self.since = 0
        self._database_started = self._policy = ""
        self._mirror: dict[type[Row], dict[int, Row]] = {}
        self._pools: dict[str, int] = {}
        self._predictions = Predictions()
        self._sleeping: dict[int, JobRow] = {}
        self._own: set[int] = set()
        self._started: dict[int, tuple[int, tuple[Placement, ...]]] = {}
        self._aside = SetAside()
        self._tells_mix = True
        self.contradictions: tuple[Contradiction, ...] = ()
        """What the rows contradicted each other in when the feed began, the first `MOST_TOLD` of it."""

    def begin(self, now: int) -> Snapshot:
        """The whole cell at this instant (`now` in ms since the epoch); the next `read` continues from it."""
        self._predictions = learned(self.cell_id)
        self._own, self._started, self._sleeping, self._pools = set(), {}, {}, {}
        self._mirror = {kind: {} for kind in (*KINDS.values(), Team, Seen)}
        for part in read_all(self.cell_id):
            self.since, self._database_started, self._policy = part.xmin, part.database_started, part.policy
            self._pools |= {pool.name: pool.id for pool in part.pools}
            self._sleeping |= {row.id: row for row in part.waiting if not row.is_due(now)}
            for kind, rows in self._rows_of(part, now).items():
                self._mirror[kind] |= {row.id: row for row in rows}
        snapshot = self.snapshot(now)
        found = tuple(contradictions(snapshot))
        if not found:
            return snapshot
        self.contradictions, self._aside = found[:MOST_TOLD], set_aside(found, snapshot)
        for some_rows in self._mirror.values():
            some_rows.update({row.id: self._aside.of(row) for row in some_rows.values()})
        return self.snapshot(now)

    def _rows_of(self, read: Read, now: int) -> dict[type[Row], Iterable[Row]]:
        return {
            Pool: (row.as_engine() for row in read.pools),
            Node: (row.as_engine() for row in read.nodes),
            Chip: (row.as_engine() for row in read.chips if row.counts),
            Team: (row.as_engine() for row in read.teams or ()),
            Job: (row.as_engine(self._pools, self._predictions) for row in read.waiting if row.is_due(now)),
            Running: (row.as_engine(self._pools, self._predictions) for row in read.live),
            Promise: (row.as_engine() for row in read.promises),
            Reservation: (row.as_engine() for row in read.reservations),
            Seen: read.mix.as_engine() if read.mix is not None else (),
        }

    def without_mix(self, now: int) -> Snapshot:
        """The cell as the feed has told it, but for the mix; of that nothing is said any more."""
        self._tells_mix = False
        self._mirror[Seen] = {}
        return self.snapshot(now)

    def read(self, now: int) -> Changes:
        """What changed since the last call. `now` in ms since the epoch: jobs whose `start_after` came wait
        now."""
        read = read_since(self.cell_id, self.since)
        changes = Changes(rebuild=self._gap(read))
        if not changes.rebuild:
            for event, is_news in self._events(read, now):
                changes.events.append(event)
                changes.news = changes.news or is_news
            self._own = {own for own in self._own if own >= read.xmin}
            self._started.clear()
            self.since = read.xmin
        return changes

    def applied(self, transaction_id: int, units: Iterable[Unit] = ()) -> None:
        """This transaction was the loop's own: what it wrote is an event, but no news. `units` are what it started. An
        agent may write to the same rows before the next read: where they hold what they were given, that is no news
        either."""
        self._own.add(transaction_id)
        self._started |= {unit.start.job: (transaction_id, unit.start.placements) for unit in units}

    @property
    def policy(self) -> Policy:
        """The cell's policy when the feed began; a later change asks for a rebuild."""
        return policy_from(self._policy)

    @property
    def wakes_at(self) -> int | None:
        """When the first job whose `start_after` lies ahead begins to wait, in ms since the epoch."""
        return min((row.start_after for row in self._sleeping.values() if row.start_after), default=None)

    def promises(self) -> dict[int, Promise]:
        """The promises that it has told, by job."""
        return self._mirror[Promise]  # type: ignore[return-value]

    def reservations(self) -> dict[int, Reservation]:
        """The reservations that it has told, by job."""
        return self._mirror[Reservation]  # type: ignore[return-value]

    @property
    def seen(self) -> int:
        """Requests in the mix that it has told."""
        return sum(row.count for row in self._mirror[Seen].values() if isinstance(row, Seen))

    def snapshot(self, now: int) -> Snapshot:
        """The cell as the feed has told it; equal to a fresh one once every change has been read."""
        rows = {kind: [some[key] for key in sorted(some)] for kind, some in self._mirror.items()}
        kinds = (Pool, Node, Chip, Team, Job, Running, Promise, Reservation)
        told = Snapshot(now, *(tuple(rows[kind]) for kind in kinds))  # type: ignore[arg-type]
        return replace(told, seen=tuple(rows[Seen]))  # type: ignore[arg-type]

    def _gap(self, read: Read) -> str:
        if read.database_started != self._database_started:
            return "the database was restarted"
        if read.xmin < self.since:
            return "transaction ids went back"
        if read.policy != self._policy:
            return "the policy changed"
        if read.pools or any(removal.kind == "pool" for removal in read.removals):
            return "a pool changed"
        return ""

    def _events(self, read: Read, now: int) -> Iterator[tuple[FeedEvent, bool]]:
        """Each event, and whether it is news: first what frees, then places, then what takes them."""
        for mark in read.ended:
            yield from self._remove(Running, mark.id, mark.changed)
        for removal in read.removals:
            yield from self._removed(removal)
        if read.teams is not None:
            known = {team.id for team in read.teams}
            for gone in [team for team in self._mirror[Team] if team not in known]:
                yield from self._remove(Team, gone, 0)
            for team in read.teams:
                yield from self._upsert(team.as_engine(), 0)
        for node in read.nodes:
            yield from self._upsert(node.as_engine(), node.changed)
        for chip in read.chips:
            if chip.counts:
                yield from self._upsert(chip.as_engine(), chip.changed)
            else:
                yield from self._remove(Chip, chip.id, chip.changed)
        started: dict[int, int] = {}
        for attempt in read.live:
            row = attempt.as_engine(self._pools, self._predictions)
            transaction_id, placements = self._started.get(row.job, (0, ()))
            if transaction_id and (placements, None, ()) == (row.placements, row.offered, row.unwanted):
                started[row.job] = transaction_id
            yield from self._upsert(row, started.get(row.job, attempt.changed))
        for promise in read.promises:
            yield from self._upsert(promise.as_engine(), promise.changed)
        for reservation in read.reservations:
            yield from self._upsert(reservation.as_engine(), reservation.changed)
        yield from self._job_events(read, now, started)
        if read.mix is not None and self._tells_mix:
            yield from self._mix_events(read.mix.as_engine())

    def _mix_events(self, mix: tuple[Seen, ...]) -> Iterator[tuple[FeedEvent, bool]]:
        """No news: by the mix some places are better than others, but nobody has one who had none."""
        for gone in [seen for seen in self._mirror[Seen] if seen > len(mix)]:
            yield from ((event, False) for event, _ in self._remove(Seen, gone, 0))
        for seen in mix:
            yield from ((event, False) for event, _ in self._upsert(seen, 0))

    def _job_events(
        self, read: Read, now: int, started: Mapping[int, int]
    ) -> Iterator[tuple[FeedEvent, bool]]:
        """`started`: jobs that run as the loop started them, by its transaction."""
        for mark in read.not_waiting:
            self._sleeping.pop(mark.id, None)
            yield from self._remove(Job, mark.id, started.get(mark.id, mark.changed))
        for row in read.waiting:
            self._sleeping.pop(row.id, None)
            if row.is_due(now):
                yield from self._upsert(row.as_engine(self._pools, self._predictions), row.changed)
            else:
                self._sleeping[row.id] = row
                yield from self._remove(Job, row.id, row.changed)
        for row in [row for row in self._sleeping.values() if row.is_due(now)]:
            del self._sleeping[row.id]
            yield from self._upsert(row.as_engine(self._pools, self._predictions), 0)

    def _removed(self, removal: RemovalRow) -> Iterator[tuple[FeedEvent, bool]]:
        kind = KINDS.get(removal.kind)
        if kind is Job:
            self._sleeping.pop(removal.row, None)
        if kind is not None:
            yield from self._remove(kind, removal.row, removal.changed)

    def _upsert(self, row: Row, changed: int) -> Iterator[tuple[FeedEvent, bool]]:
        row = self._aside.of(row)
        told = self._mirror[type(row)]
        old = told.get(row.id)
        if old != row:
            told[row.id] = row
            yield Upsert(row), changed not in self._own and not _only_began(old, row)

    def _remove(self, kind: type[Row], row_id: int, changed: int) -> Iterator[tuple[FeedEvent, bool]]:
        if self._mirror[kind].pop(row_id, None) is not None:
            yield Remove(kind, row_id), changed not in self._own


def _only_began(old: Row | None, new: Row) -> bool:
    """An attempt that holds what it held, offers what it offered, and stays where it stayed, frees nothing: its first
    sign of life is no reason to decide."""
    if not (isinstance(old, Running) and isinstance(new, Running)):
        return False
    before, after = ((row.placements, row.offered, row.busy, row.unwanted) for row in (old, new))
    return before == after
