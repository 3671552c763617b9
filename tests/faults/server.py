"""The platform over rows in memory: what PostgreSQL would hold, changed by the real rules.

Real are the engine, the folding of reports, ends and retries, leases, both sides' conversation and the logs' offsets.
Stand-ins are the rows themselves, and the transactions: whatever one method does is one. A web process loses what it
had not committed, a worker what it knew of its clocks.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from flexai.cluster.leases import Watch, is_over, look
from flexai.common import clock
from flexai.jobs.contact import SILENT_AFTER
from flexai.jobs.ending import Ending, next_of
from flexai.jobs.folding import RANK, Folded, ReplicaMove, fold
from flexai.jobs.locking import LockedAttempt, LockedReplica
from flexai.jobs.logs import LogTrack
from flexai.jobs.reports import as_move, check_reports, lives_on
from flexai.jobs.tasks import EXPIRE_EVERY_SECONDS
from flexai.jobs.wanted import as_stopping
from flexai.realtime.agents import HELLO_SECONDS
from flexai.realtime.said import Order, Said
from node_agent import protocol
from node_agent.protocol import WantedChip, WantedReplica
from scheduler_core import Policy, Snapshot, decide
from scheduler_core.lifecycle import (
    FINAL_JOB_STATES,
    AttemptEvent,
    AttemptState,
    JobEvent,
    JobState,
    Outcome,
    move_attempt,
    move_job,
)
from scheduler_core.model import Chip, Gang, Job, Placement, Pool, Request, Running, Team
from scheduler_core.model import Node as NodeRow
from tests.faults.network import Line, World
from tests.faults.node import CHIPS, Node

SILENT_MS = int(SILENT_AFTER.total_seconds() * 1000)
EPOCH = 1_700_000_000_000
LEASE_MS, GRACE_MS = 40_000, 3_000


@dataclass
class JobRow:
    """What somebody submitted, and how it stands."""

    pk: int
    chips: int
    replicas: int
    runs_ms: int
    exit_code: int
    retries: int
    state: JobState = JobState.QUEUED
    attempts: int = 0
    failures: int = 0
    cancel_requested: bool = False


@dataclass
class Contact:
    """A node as the rows know it."""

    node: Node
    boot_id: str = ""
    seen_at: int = 0
    renewed_at: int = 0
    reachable: bool = False


@dataclass
class Conn:
    """A web process's end of one connection."""

    line: Line
    number: int
    said: Said = field(default_factory=Said)
    is_known: bool = False
    queued: list[protocol.Reports | protocol.Logs] = field(default_factory=list)
    commits: bool = False


class Server:
    """Web, worker and database."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.jobs: dict[int, JobRow] = {}
        self.live: dict[str, LockedAttempt] = {}
        self.ended: list[tuple[LockedAttempt, Outcome]] = []
        self.placed: dict[str, tuple[Placement, ...]] = {}
        self.logs: dict[tuple[str, int], tuple[LogTrack, bytearray]] = {}
        self.unheard: set[tuple[str, int]] = set()
        """Replicas that ended without their agent's word."""
        self.contacts: dict[int, Contact] = {}
        self.jumped_ms = 0
        self._conns: dict[Line, Conn] = {}
        self._of_node: dict[int, Conn] = {}
        self._watch: Watch | None = None
        self._worker_stops_until = 0
        self._decided_on: object = None
        self.world.after(500, self._tick)
        self.world.after(EXPIRE_EVERY_SECONDS * 1000, self._expire)

    def wall(self) -> int:
        return EPOCH + self.world.now + self.jumped_ms

    # --- faults

    def restart_web(self) -> None:
        """Every connection closes; what was not committed is forgotten."""
        for line in list(self._conns):
            line.hang_up(by_agent=False)
        self._conns.clear()
        self._of_node.clear()

    def pause_worker(self, milliseconds: int) -> None:
        """It dies, and another one, with no memory of its clocks, comes later."""
        self._worker_stops_until = self.world.now + milliseconds
        self._watch = None

    # --- connections

    def accept(self, line: Line, node: Node) -> None:
        self.contacts.setdefault(node.number, Contact(node))
        conn = self._conns[line] = Conn(line, node.number)
        self.world.after(HELLO_SECONDS * 1000, self._hello_is_late, conn)

    def _hello_is_late(self, conn: Conn) -> None:
        if not conn.is_known:
            self._close(conn)

    def closed(self, line: Line) -> None:
        conn = self._conns.pop(line, None)
        if conn is not None and self._of_node.get(conn.number) is conn:
            del self._of_node[conn.number]

    def _close(self, conn: Conn) -> None:
        conn.line.hang_up(by_agent=False)
        self.closed(conn.line)

    def receive(self, line: Line, frame: bytes) -> None:
        conn = self._conns.get(line)
        if conn is None:
            return
        message = protocol.decode_from_agent(frame)
        if isinstance(message, protocol.Hello):
            if conn.is_known:
                self._close(conn)  # "a second Hello on one connection"
            else:
                conn.is_known = True
                self._arrive(conn, message)
        elif not conn.is_known:
            self._close(conn)
        elif isinstance(message, protocol.Heartbeat):
            self.world.after(self.world.random.randint(1, 100), self._renew, conn, message)
        elif isinstance(message, protocol.Reports | protocol.Logs):
            self._take_in(conn, message)

    def _arrive(self, conn: Conn, hello: protocol.Hello) -> None:
        """As `jobs.contact.arrive`."""
        contact = self.contacts[conn.number]
        if contact.boot_id and contact.boot_id != hello.boot_id:
            if self._replicas_on(conn.number):
                self.world.seen["a new boot ends what was on the node"] += 1
            self._end_without_word(self._replicas_on(conn.number), "node_rebooted")
        contact.boot_id, contact.reachable = hello.boot_id, True
        contact.seen_at = contact.renewed_at = self.wall()
        started = {
            (attempt.attempt_id, replica.index)
            for attempt, replica in self._replicas_on(conn.number)
            if replica.state != "placed"
        }
        conn.said.missing = frozenset(started - set(hello.live))
        before = self._of_node.get(conn.number)
        if before is not None:
            self._close(before)
        self._of_node[conn.number] = conn
        self._post(conn, protocol.Welcome(node=f"node-{conn.number}", name="node", server_time=self.wall()))
        self.wake(conn.number)

    def _renew(self, conn: Conn, beat: protocol.Heartbeat) -> None:
        if conn.line not in self._conns:
            return
        contact = self.contacts[conn.number]
        contact.seen_at = contact.renewed_at = self.wall()
        contact.reachable = True
        conn.said.heartbeat(beat.wanted_version)
        self._post(conn, protocol.Renewed(sent=beat.sent))
        self.wake(conn.number)

    def _post(self, conn: Conn, message: protocol.ServerMessage) -> None:
        conn.line.to_agent(protocol.encode(message))

    def wake(self, number: int) -> None:
        """The node's agent is sent what is wanted, if that differs from what it was sent."""
        conn = self._of_node.get(number)
        if conn is None:
            return
        replicas = []
        for attempt, replica in self._replicas_on(number):
            wanted = self._wanted(attempt, replica)
            is_stopping = attempt.state is AttemptState.STOPPING
            replicas.append(as_stopping(wanted, attempt.stop_outcome) if is_stopping else wanted)
        if (message := conn.said.wanted(replicas)) is not None:
            self._post(conn, message)

    def _wanted(self, attempt: LockedAttempt, replica: LockedReplica) -> WantedReplica:
        job = self.jobs[attempt.job_pk]
        place = self.placed[attempt.attempt_id][replica.index]
        return WantedReplica(
            attempt=attempt.attempt_id, replica=replica.index, desired="run", job=attempt.job_id,
            number=attempt.number, organization="o", env={"RUNS": str(job.runs_ms), "EXIT": str(job.exit_code)},
            chips=[WantedChip(index=share.chip % 10, milli=share.milli) for share in place.chips],
            lease_ms=LEASE_MS, grace_ms=GRACE_MS,
        )  # fmt: skip

    # --- what agents report

    def _take_in(self, conn: Conn, message: protocol.Reports | protocol.Logs) -> None:
        order = conn.said.order_of(message.seq)
        if order is Order.GAP:
            self.world.seen["a gap ends a connection"] += 1
            self._post(conn, protocol.Refused(code="gap", message="a message before this one is missing"))
            self._close(conn)
        elif order is Order.DOUBLED:
            self.world.seen["a doubled message changes nothing"] += 1
        else:
            conn.queued.append(message)
            if not conn.commits:
                conn.commits = True
                self.world.after(self.world.random.randint(1, 400), self._commit, conn)

    def _commit(self, conn: Conn) -> None:
        conn.commits = False
        if conn.line not in self._conns:
            self.world.seen["what was not committed comes again"] += bool(conn.queued)
            return
        for message in conn.queued:
            if isinstance(message, protocol.Reports):
                self._take_reports(conn.number, message.items)
            else:
                self._take_logs(message.items)
        self._post(conn, protocol.Ack(seq=conn.queued[-1].seq))
        conn.queued.clear()

    def _take_reports(self, number: int, items: list[protocol.ReplicaReport]) -> None:
        check_reports(items)
        now = clock.from_ms(self.wall())
        moves: dict[str, list[ReplicaMove]] = defaultdict(list)
        for item in items:
            attempt = self.live.get(item.attempt)
            if attempt is None:
                self.world.seen["a report of what is over is ignored"] += 1
                continue
            assert lives_on(attempt, item.replica, number), "a node speaks for another"
            replica = next(one for one in attempt.replicas if one.index == item.replica)
            if RANK[item.state] <= RANK[replica.state]:
                self.world.seen["a report comes twice"] += 1
            moves[item.attempt].append(as_move(item, now))
        for name, some in moves.items():
            self._follow(fold(self.live[name], some))

    def _take_logs(self, items: list[protocol.LogPiece]) -> None:
        for item in items:
            track, data = self.logs.setdefault(
                (item.attempt, item.replica),
                (LogTrack(0, item.attempt, item.replica, 0, 0, 0, "", ""), bytearray()),
            )
            assert track.lay(item.offset, item.data), "a log would have a hole"
            for _, piece in track.rows:
                data += piece
            track.rows.clear()

    def _follow(self, folded: Folded) -> None:
        attempt = folded.attempt
        if folded.over is not None:
            self._end(attempt, folded)
        elif attempt.state is AttemptState.STOPPING:
            self.world.seen["peers of a replica are stopped"] += 1
        for number in {replica.node_pk for replica in attempt.replicas}:
            self.wake(number)

    def _end(self, attempt: LockedAttempt, folded: Folded) -> None:
        """As `jobs.ending.end_locked`: the only place that frees chips."""
        over = folded.over
        assert over is not None
        job = self.jobs[attempt.job_pk]
        attempt.failures, attempt.cancel_requested = job.failures, job.cancel_requested
        ending = Ending(attempt.pk, over.outcome, over.exit_code, over.reason_code)
        after = next_of(attempt, ending, clock.from_ms(self.wall()))
        attempt.state = AttemptState.ENDED
        del self.live[attempt.attempt_id]
        self.ended.append((attempt, over.outcome))
        job.state, job.failures = after.state, job.failures + after.counts_as_failure
        if after.state is JobState.QUEUED:
            self.world.seen["a job is queued again"] += 1

    def _end_without_word(self, replicas: list[tuple[LockedAttempt, LockedReplica]], code: str) -> None:
        by_attempt: dict[str, list[int]] = defaultdict(list)
        for attempt, replica in replicas:
            by_attempt[attempt.attempt_id].append(replica.index)
        for name, indices in by_attempt.items():
            self.unheard |= {(name, index) for index in indices}
            at = clock.from_ms(self.wall())
            moves = [
                ReplicaMove(index, "ended", at, outcome=Outcome.NODE_LOST.value, reason_code=code)
                for index in indices
            ]
            self._follow(fold(self.live[name], moves))

    # --- what users ask for

    def submit(self, job: JobRow) -> None:
        self.jobs[job.pk] = job

    def cancel(self, pk: int) -> None:
        job = self.jobs[pk]
        if job.state in FINAL_JOB_STATES:
            return
        job.cancel_requested = True
        if job.state is JobState.QUEUED:
            job.state = move_job(job.state, JobEvent.CANCEL)
        self._stop_attempt_of(pk, Outcome.CANCELLED)

    def preempt(self, pk: int) -> None:
        """Its chips are taken back."""
        self._stop_attempt_of(pk, Outcome.PREEMPTED)

    def _stop_attempt_of(self, pk: int, outcome: Outcome) -> None:
        for attempt in self.live.values():
            if attempt.job_pk == pk and attempt.state is not AttemptState.STOPPING:
                attempt.state = move_attempt(attempt.state, AttemptEvent.STOP)
                attempt.stop_outcome, attempt.cancel_requested = outcome.value, self.jobs[pk].cancel_requested
                for replica in attempt.replicas:
                    self.wake(replica.node_pk)

    # --- the worker

    def _tick(self) -> None:
        self.world.after(500, self._tick)
        if self.world.now >= self._worker_stops_until:
            self.schedule()

    def schedule(self) -> None:
        """Read, decide, apply. Hints to agents are lost now and then; their heartbeat makes up for it."""
        queued = tuple(job.pk for job in self.jobs.values() if job.state is JobState.QUEUED)
        reachable = tuple(number for number, contact in self.contacts.items() if contact.reachable)
        news = (queued, reachable, tuple(self.live))
        if not queued or news == self._decided_on:
            return
        decision = decide(self._snapshot(), Policy())
        self._decided_on = None if decision.units else news
        assert not decision.broken
        assert not decision.excesses, "the rows over-commit something"
        for unit in decision.units:
            self._place(self.jobs[unit.start.job], unit.start.placements)

    def _snapshot(self) -> Snapshot:
        numbers = sorted(self.contacts)
        return Snapshot(
            self.wall(),
            pools=(Pool(1, "pool"),),
            nodes=tuple(
                NodeRow(n, f"node-{n}", 1, 8000, 8000, ready=self.contacts[n].reachable) for n in numbers
            ),
            chips=tuple(Chip(n * 10 + i, n, i, "sim", 1000) for n in numbers for i in range(CHIPS)),
            teams=(Team(1, "team", 1),),
            jobs=tuple(
                Job(
                    job.pk,
                    f"job-{job.pk}",
                    1,
                    1,
                    1,
                    Gang(Request(chips=job.chips), job.replicas, job.replicas),
                )
                for job in self.jobs.values()
                if job.state is JobState.QUEUED
            ),
            running=tuple(
                Running(attempt.pk, attempt.job_pk, 1, 1, self.placed[attempt.attempt_id])
                for attempt in self.live.values()
            ),
        )

    def _place(self, job: JobRow, placements: tuple[Placement, ...]) -> None:
        job.state, job.attempts = move_job(job.state, JobEvent.START), job.attempts + 1
        name = f"a-{job.pk}-{job.attempts}"
        replicas = [
            LockedReplica(
                pk=0, attempt_pk=0, index=place.replica, node_pk=place.node, node_name=f"node-{place.node}",
                state="placed", outcome="", exit_code=None, sentence="", cpu_milli=0, memory_mib=0, log_size=None,
                image="",
            )
            for place in placements
        ]  # fmt: skip
        retry = {"limit": job.retries, "on": ["exit"]}
        self.live[name] = LockedAttempt(
            pk=job.pk * 1000 + job.attempts, attempt_id=name, number=job.attempts, state=AttemptState.PLACED,
            stop_outcome="", contact_ok=True, exit_code=None, reason_code="", sentence="",
            placed_at=clock.from_ms(self.wall()), running_at=None, stopping_at=None, cpu_time_ms=0,
            memory_peak_mib=0, use_permille=None, energy_mj=None, job_pk=job.pk,
            job_id=f"job-{job.pk}", job_state=job.state,
            job_version=0, failures=job.failures, cancel_requested=job.cancel_requested, retry=retry, cell_pk=1,
            organization_pk=1, team_pk=1, team_id="team", deadline=None, was_sized_down=False,
            saved_at=None, replicas=replicas,
        )  # fmt: skip
        self.placed[name] = placements
        for place in placements:
            if not self.world.chance(10):
                self.wake(place.node)

    @property
    def is_done(self) -> bool:
        """Every job has come to its end, and nothing is live."""
        return not self.live and all(job.state in FINAL_JOB_STATES for job in self.jobs.values())

    def _expire(self) -> None:
        """As `jobs.tasks.expire_leases`."""
        self.world.after(EXPIRE_EVERY_SECONDS * 1000, self._expire)
        if self.world.now < self._worker_stops_until:
            return
        self._watch = look(self._watch, wall_ms=self.wall(), boot_ms=self.world.now)
        for number, contact in self.contacts.items():
            if contact.reachable and contact.seen_at < self.wall() - SILENT_MS:
                contact.reachable = False
                self.world.seen["a node is unreachable"] += 1
            if contact.reachable:
                continue
            over = [
                (attempt, replica)
                for attempt, replica in self._replicas_on(number)
                if is_over(
                    self._watch,
                    renewed_ms=contact.renewed_at,
                    placed_ms=clock.to_ms(attempt.placed_at),
                    lease_ms=LEASE_MS,
                )
            ]
            if over:
                self.world.seen["the server sees a lease end"] += 1
                self._end_without_word(over, "lease_over")

    def _replicas_on(self, number: int) -> list[tuple[LockedAttempt, LockedReplica]]:
        return [
            (attempt, replica)
            for attempt in self.live.values()
            for replica in attempt.replicas
            if replica.node_pk == number and replica.state != "ended"
        ]
