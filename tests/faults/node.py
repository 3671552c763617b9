"""A node: what its disk holds, the shims that watch over replicas, and an agent that comes and goes.

The agent's words and decisions are the real ones (`conversation`, `outbox`, `reconcile`); processes and files are not.
A shim outlives its agent and obeys its lease by the node's own clock, which runs a little fast or slow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from node_agent import link
from node_agent.conversation import Conversation, RefusedError, TurnedAwayError
from node_agent.outbox import Outbox, Track
from node_agent.protocol import (
    ChipInfo,
    Inventory,
    ReplicaReport,
    SecretsGiven,
    Telemetry,
    Wanted,
    WantedReplica,
    decode_from_server,
)
from node_agent.reconcile import Forget, Found, Key, NeverStart, Phase, Start, Stop, plan
from node_agent.shim import lease_margin_ms
from tests.faults.network import Line, Network, World

CHIPS = 2


@dataclass
class Shim:
    """A started replica: its process, its state file and its log. `moves` is the file."""

    key: Key
    job: str
    wanted: WantedReplica
    moves: list[ReplicaReport] = field(default_factory=list)
    log: bytes = b""
    alive: bool = True
    stopping: bool = False

    def read_log(self, offset: int, limit: int) -> bytes:
        return self.log[offset : offset + limit]


class Truth:
    """What really runs anywhere: the laws are asked here, whatever agents and server believe."""

    def __init__(self) -> None:
        self.alive: dict[tuple[str, int], Shim] = {}
        self.started: set[tuple[str, int]] = set()
        self.shims: dict[tuple[str, int], Shim] = {}

    def start(self, shim: Shim, load: dict[int, int]) -> None:
        attempt, replica, _ = shim.key
        assert (attempt, replica) not in self.started, f"replica {replica} of {attempt} is started twice"
        others = {other.key[0] for other in self.alive.values() if other.job == shim.job}
        assert others <= {attempt}, f"job {shim.job} lives twice: {attempt} beside {others}"
        assert max(load.values(), default=0) <= 1000, f"a chip is over-committed by {attempt}: {load}"
        self.started.add((attempt, replica))
        self.alive[attempt, replica] = self.shims[attempt, replica] = shim

    def end(self, shim: Shim) -> None:
        self.alive.pop(shim.key[:2], None)


class Node:
    """One machine."""

    def __init__(self, world: World, network: Network, truth: Truth, server: object, number: int) -> None:
        self.world, self.network, self.truth, self.server = world, network, truth, server
        self.number = number
        self.drift_percent = world.random.uniform(-1.0, 1.0)
        self.disk: dict[Key, Shim] = {}
        self.boot = 0
        self._booted_at = world.now
        self.lease_from = 0
        self.agent: Agent | None = None
        self.start_agent()

    def clock(self) -> int:
        """Boot-time milliseconds by this node's crystal."""
        return 1 + int((self.world.now - self._booted_at) * (1 + self.drift_percent / 100))

    def start_agent(self) -> None:
        self.agent = Agent(self)

    def kill_agent(self) -> None:
        """`kill -9`; the next one begins soon. Launches under way are finished first (their lock says so)."""
        if self.agent is not None:
            if any(shim.alive for shim in self.disk.values()):
                self.world.seen["an agent dies while its jobs run"] += 1
            self.agent.die()
            self.agent = None
            self.world.after(self.world.random.randint(100, 20_000), self._agent_comes_back, self.boot)

    def _agent_comes_back(self, boot: int) -> None:
        if boot == self.boot and self.agent is None:
            self.start_agent()

    def reboot(self) -> None:
        """Power goes; nothing of before lives, and files of an older boot mean nothing."""
        if self.agent is not None:
            self.agent.die()
            self.agent = None
        for shim in self.disk.values():
            if shim.alive:
                self.world.seen["a node reboots under work"] += 1
            shim.alive = False
            self.truth.end(shim)
        self.disk.clear()
        self.boot += 1
        self.world.after(self.world.random.randint(1_000, 90_000), self._up, self.boot)

    def _up(self, boot: int) -> None:
        if boot == self.boot:
            self._booted_at, self.lease_from = self.world.now, 0
            self.start_agent()

    # --- shims

    def launch(self, wanted: WantedReplica) -> Shim:
        """The state file is made, which is the fence, and the process runs."""
        key = (wanted.attempt, wanted.replica, wanted.generation)
        shim = Shim(key, wanted.job, wanted)
        load: dict[int, int] = {}
        for other in [*(one for one in self.disk.values() if one.alive), shim]:
            for chip in other.wanted.chips:
                load[chip.index] = load.get(chip.index, 0) + chip.milli
        self.truth.start(shim, load)
        self.disk[key] = shim
        self._move(shim, "starting")
        self.world.after(self.world.random.randint(1, 300), self._runs, shim)
        self._watch_lease(shim)
        return shim

    def _runs(self, shim: Shim) -> None:
        if shim.alive and not shim.stopping:
            self._move(shim, "running")
            shim.log += f"{shim.key[0]} runs\n".encode()
            self.world.after(int(shim.wanted.env["RUNS"]), self._done, shim)

    def _done(self, shim: Shim) -> None:
        if shim.alive and not shim.stopping:
            code = int(shim.wanted.env["EXIT"])
            self.end(shim, "succeeded" if code == 0 else "exit", code)

    def stop(self, shim: Shim, outcome: str) -> None:
        """SIGTERM, and what obeys it in its own time; SIGKILL at the end of the grace."""
        if shim.alive and not shim.stopping:
            shim.stopping = True
            self._move(shim, "stopping")
            takes = self.world.random.randint(0, shim.wanted.grace_ms)
            self.world.after(takes, self.end, shim, outcome, 143)

    def end(self, shim: Shim, outcome: str, code: int) -> None:
        if shim.alive:
            shim.log += b"bye\n"
            shim.alive = False
            self.truth.end(shim)
            self._move(shim, "ended", outcome=outcome, exit_code=code, log_size=len(shim.log), cpu_time_ms=7)

    def _watch_lease(self, shim: Shim) -> None:
        """As in `node_agent.shim`: stopping begins a margin before the lease is over on this clock."""
        if not shim.alive or shim.stopping or shim.wanted.lease_ms is None:
            return
        lease, grace = shim.wanted.lease_ms, shim.wanted.grace_ms
        stop_at = self.lease_from + lease - lease_margin_ms(lease, grace)
        left = stop_at - self.clock()
        if left > 0:
            self.world.after(int(left / (1 + self.drift_percent / 100)) + 1, self._watch_lease, shim)
        else:
            self.world.seen["a lease ends on its node"] += 1
            self.stop(shim, "node_lost")

    def _move(self, shim: Shim, state: str, **facts: object) -> None:
        attempt, replica, generation = shim.key
        report = ReplicaReport(
            attempt=attempt, replica=replica, generation=generation, state=state,  # type: ignore[arg-type]
            at=self.world.now, **facts,  # type: ignore[arg-type]
        )  # fmt: skip
        shim.moves.append(report)
        if self.agent is not None:
            self.world.after(self.world.random.randint(0, 30), self.agent.look, shim.key)


class Local:
    """What the agent's memory holds of a replica."""

    def __init__(self, shim: Shim) -> None:
        self.track = Track(shim.key, shim)
        self.phase = Phase.LIVE
        self.read = 0


class Agent:
    """One life of the agent's process: connects, comes back, carries out what is wanted."""

    def __init__(self, node: Node) -> None:
        self.node, self.world = node, node.world
        self.outbox = Outbox(self.acknowledged)
        self.locals: dict[Key, Local] = {}
        self._wanted: set[Key] = set()
        self._line: Line | None = None
        self._said: Conversation | None = None
        self._failures = 0
        self._is_dead = False
        self._flushes = False
        for key, shim in node.disk.items():
            self.locals[key] = Local(shim)
            self.look(key)
        self._connect()

    def die(self) -> None:
        self._is_dead = True
        if self._line is not None:
            self._line.hang_up(by_agent=True)

    # --- what `node_agent.conversation` asks of an executor

    def apply(self, wanted: list[WantedReplica]) -> None:
        self._wanted = {(item.attempt, item.replica, item.generation) for item in wanted}
        for action in plan(wanted, [Found(key, local.phase) for key, local in self.locals.items()]):
            if isinstance(action, Start):
                shim = self.node.launch(action.wanted)
                self.locals[shim.key] = Local(shim)
            elif isinstance(action, NeverStart):
                self._never_start(action.wanted)
            elif isinstance(action, Stop):
                self.node.stop(self.node.disk[action.key], action.outcome)
            elif isinstance(action, Forget):
                self._forget(action.key)

    def lacking(self) -> list[Key]:
        return []

    def give(self, given: SecretsGiven) -> None:
        """None of its replicas asks for secrets."""

    def live(self) -> list[tuple[str, int]]:
        going = (Phase.LIVE, Phase.STOPPING)
        return [key[:2] for key, local in self.locals.items() if local.phase in going]

    def tracks(self) -> list[Track]:
        return [local.track for local in self.locals.values() if local.phase is not Phase.ACKNOWLEDGED]

    def acknowledged(self, track: Track) -> None:
        if track.key in self.locals:
            self.locals[track.key].phase = Phase.ACKNOWLEDGED
            if track.key not in self._wanted:
                self._forget(track.key)

    def renewed(self, sent: int) -> None:
        self.node.lease_from = max(self.node.lease_from, sent)

    def inventory(self) -> Inventory:
        chips = [ChipInfo(index=index, type="sim", memory_mib=1000) for index in range(CHIPS)]
        return Inventory(cpu_milli=8000, memory_mib=8000, chips=chips)

    def telemetry(self) -> Telemetry:
        raise NotImplementedError("no telemetry is simulated")

    def look(self, key: Key) -> None:
        """Read what the shim wrote since, as after a hint."""
        local, shim = self.locals.get(key), self.node.disk.get(key)
        if self._is_dead or local is None or shim is None:
            return
        for move in shim.moves[local.read :]:
            local.track.add(move)
        local.read = len(shim.moves)
        if shim.moves and local.phase in (Phase.LIVE, Phase.STOPPING):
            last = shim.moves[-1].state
            local.phase = {"ended": Phase.ENDED, "stopping": Phase.STOPPING}.get(last, Phase.LIVE)
        self.outbox.touch(local.track)
        self._flush_soon()

    def _never_start(self, wanted: WantedReplica) -> None:
        shim = Shim((wanted.attempt, wanted.replica, wanted.generation), wanted.job, wanted, alive=False)
        self.locals[shim.key] = local = Local(shim)
        local.phase = Phase.ENDED
        local.track.add(
            ReplicaReport(
                attempt=wanted.attempt,
                replica=wanted.replica,
                state="ended",
                at=self.world.now,
                outcome=wanted.stop_outcome,
            )
        )
        self.outbox.touch(local.track)
        self._flush_soon()

    def _forget(self, key: Key) -> None:
        del self.locals[key]
        self.node.disk.pop(key, None)

    # --- the connection, as `node_agent.link` keeps it

    def _connect(self) -> None:
        if self._is_dead:
            return
        self._line = self.node.network.connect(self, self.node.server)  # type: ignore[arg-type]
        self.node.server.accept(self._line, self.node)  # type: ignore[attr-defined]
        self._said = Conversation(
            self, self.outbox, boot_id=f"boot-{self.node.boot}", name="node", now=self.node.clock()
        )
        for frame in self._said.opening(self.node.clock(), 0):
            self._line.to_server(frame)
        self._beat_later(self._said)

    def receive(self, line: Line, frame: bytes) -> None:
        if self._is_dead or line is not self._line or self._said is None:
            return
        message = decode_from_server(frame)
        try:
            self._said.take(message, self.node.clock())
        except (RefusedError, TurnedAwayError):
            self._come_back()
            return
        if isinstance(message, Wanted) and any(replica.desired == "stop" for replica in message.replicas):
            self.world.seen["a stop is wanted"] += 1
        self._failures = 0
        self._flush_soon()

    def closed(self, line: Line) -> None:
        if line is self._line:
            self._come_back()

    def _come_back(self) -> None:
        if self._is_dead or self._line is None:
            return
        self._line.hang_up(by_agent=True)
        self._line, self._said = None, None
        most = min(link.MOST_BACKOFF_SECONDS, link.LEAST_BACKOFF_SECONDS * (1 << min(self._failures, 10)))
        self._failures += 1
        self.world.after(int(1000 * most * self.world.random.uniform(0.5, 1.0)), self._connect)

    def _beat_later(self, said: Conversation) -> None:
        self.world.after(int(said.heartbeat_seconds * 1000), self._beat, said)

    def _beat(self, said: Conversation) -> None:
        if self._is_dead or said is not self._said or self._line is None:
            return
        try:
            frame = said.heartbeat(self.node.clock(), 0)
        except TimeoutError:
            self.world.seen["an agent gives up a silent connection"] += 1
            self._come_back()
            return
        if frame is not None:
            self._line.to_server(frame)
        self._beat_later(said)

    def _flush_soon(self) -> None:
        if not self._flushes and self.outbox.has_something():
            self._flushes = True
            self.world.after(2, self._flush)

    def _flush(self) -> None:
        self._flushes = False
        if self._is_dead or self._said is None or not self._said.welcomed or self._line is None:
            return
        while frames := self.outbox.frames():
            for frame in frames:
                self._line.to_server(frame)
