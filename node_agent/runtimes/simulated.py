"""Replicas that only seem to run: no process, no file. Everything else (protocol, states, logs, fencing) is the
real thing.

A replica's environment may say how it goes: `FLEXAI_SIMULATE_SECONDS` (default: as long as its commands sleep, else 1),
`FLEXAI_SIMULATE_EXIT` (default 0) and `FLEXAI_SIMULATE_USE` (permille of its chips; default: the declared curve)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping

from node_agent.clocks import boottime_ms, wall_ms
from node_agent.drivers.simulated import SimulatedDriver, declared_use, power_mw
from node_agent.outbox import Track
from node_agent.protocol import (
    Inventory,
    ReplicaReport,
    ReplicaSample,
    ReplicaState,
    SecretsGiven,
    Telemetry,
    WantedReplica,
    replica_key,
)
from node_agent.reconcile import Forget, Found, Key, NeverStart, Phase, Start, Stop, plan

DEFAULT_SECONDS = 1.0
SLEEPS = re.compile(r"\bsleep (\d{1,9}(?:\.\d{1,9})?)(?![\w.])")
MOST_SECONDS = 30 * 86_400.0
CPU_MILLI_PER_CHIP = 8_000
MEMORY_MIB_PER_CHIP = 128 * 1024
_STOPPED_BY_SIGTERM = 143


class _Replica:
    __slots__ = ("chips", "log", "memory_mib", "phase", "started_ms", "timer", "track", "use")

    def __init__(self, key: Key) -> None:
        self.track = Track(key, self)
        self.phase = Phase.LIVE
        self.log = b""
        self.timer: asyncio.TimerHandle | None = None
        self.started_ms = boottime_ms()
        self.chips: list[tuple[int, int]] = []
        self.memory_mib = 0
        self.use: int | None = None

    def read_log(self, offset: int, limit: int) -> bytes:
        return self.log[offset : offset + limit]


class SimulatedExecutor:
    """One simulated node's replicas."""

    def __init__(self, driver: SimulatedDriver) -> None:
        self._driver = driver
        self._replicas: dict[Key, _Replica] = {}
        self._wanted: set[Key] = set()
        self._inventory = _inventory_of(driver)

    def start(self, on_change: Callable[[Track], None]) -> None:
        """`on_change` is called for each track that has more to send."""
        self._on_change = on_change

    def apply(self, wanted: list[WantedReplica]) -> None:
        """See `conversation.Executor`."""
        self._wanted = {(item.attempt, item.replica, item.generation) for item in wanted}
        found = [Found(key, replica.phase) for key, replica in self._replicas.items()]
        for action in plan(wanted, found):
            if isinstance(action, Start):
                self._start(action.wanted)
            elif isinstance(action, NeverStart):
                replica = self._add(action.wanted)
                self._end(replica, None, action.wanted.stop_outcome, "Stopped before it started.")
            elif isinstance(action, Stop):
                replica = self._replicas[action.key]
                self._move(replica, "stopping")
                self._end(replica, _STOPPED_BY_SIGTERM, action.outcome, "Stopped on request (simulated).")
            elif isinstance(action, Forget):
                del self._replicas[action.key]

    def lacking(self) -> list[Key]:
        """Never any: nothing runs here that could use them."""
        return []

    def give(self, given: SecretsGiven) -> None:
        """See `lacking`."""

    def live(self) -> list[tuple[str, int]]:
        """See `conversation.Executor`."""
        return [(key[0], key[1]) for key, replica in self._replicas.items() if replica.phase is Phase.LIVE]

    def tracks(self) -> list[Track]:
        """See `conversation.Executor`."""
        return [item.track for item in self._replicas.values() if item.phase is not Phase.ACKNOWLEDGED]

    def acknowledged(self, track: Track) -> None:
        """See `conversation.Executor`."""
        replica = self._replicas.get(track.key)
        if replica is not None:
            replica.phase = Phase.ACKNOWLEDGED
            if track.key not in self._wanted:
                del self._replicas[track.key]

    def renewed(self, sent: int) -> None:
        """Nothing: a simulated replica ends with the agent."""

    def inventory(self) -> Inventory:
        """See `conversation.Executor`."""
        return self._inventory

    def telemetry(self) -> Telemetry:
        """What the declared profiles say for now."""
        now = boottime_ms()
        load: dict[int, int] = {}
        memory: dict[int, int] = {}
        samples = []
        for key, replica in self._replicas.items():
            if replica.phase is not Phase.LIVE:
                continue
            use = _use_at(replica, now)
            for index, milli in replica.chips:
                load[index] = load.get(index, 0) + use * milli // 1000
                memory[index] = memory.get(index, 0) + replica.memory_mib
            samples.append(
                ReplicaSample(
                    key=replica_key(key[0], key[1]),
                    cpu_permille=use,
                    memory_mib=replica.memory_mib,
                    memory_peak_mib=replica.memory_mib,
                )
            )
        self._driver.set_load(load)
        mean = sum(load.values()) // max(1, len(self._driver.chips))
        return Telemetry(
            at=wall_ms(),
            host_cpu_permille=min(1000, mean),
            host_memory_mib=sum(memory.values()),
            chips=self._driver.sample(memory),
            replicas=samples[:1000],
        )

    def _start(self, wanted: WantedReplica) -> None:
        replica = self._add(wanted)
        try:
            seconds = _number(wanted.env, "FLEXAI_SIMULATE_SECONDS", _asleep(wanted), MOST_SECONDS)
            exit_code = int(_number(wanted.env, "FLEXAI_SIMULATE_EXIT", 0, 255))
            if "FLEXAI_SIMULATE_USE" in wanted.env:
                replica.use = int(_number(wanted.env, "FLEXAI_SIMULATE_USE", 0, 1000))
        except ValueError as error:
            self._end(replica, None, "start_failed", str(error))
            return
        self._move(replica, "running")
        replica.log = (
            f"simulated: {wanted.name or wanted.job} seems to run for {seconds:g} s; nothing really runs on this node. "
            "FLEXAI_SIMULATE_SECONDS in its environment says how long.\n"
        ).encode()
        timed_out = wanted.max_duration_ms is not None and wanted.max_duration_ms < seconds * 1000
        if timed_out and wanted.max_duration_ms is not None:
            sentence = f"Stopped after its max_duration of {wanted.max_duration_ms / 1000:g} s (simulated)."
            end = (_STOPPED_BY_SIGTERM, "timed_out", sentence)
            seconds = wanted.max_duration_ms / 1000
        elif exit_code:
            end = (exit_code, "exit", f"Exited with code {exit_code} (simulated).")
        else:
            end = (0, "succeeded", "")
        replica.timer = asyncio.get_running_loop().call_later(seconds, self._end, replica, *end)

    def _add(self, wanted: WantedReplica) -> _Replica:
        key = (wanted.attempt, wanted.replica, wanted.generation)
        replica = self._replicas[key] = _Replica(key)
        replica.chips = [(chip.index, chip.milli) for chip in wanted.chips]
        replica.memory_mib = max((chip.memory_mib for chip in wanted.chips), default=wanted.memory_mib)
        return replica

    def _end(self, replica: _Replica, exit_code: int | None, outcome: str, sentence: str) -> None:
        if replica.timer is not None:
            replica.timer.cancel()
        lived_ms = boottime_ms() - replica.started_ms
        replica.phase = Phase.ENDED
        attempt, number, generation = replica.track.key
        replica.track.add(
            ReplicaReport(
                attempt=attempt,
                replica=number,
                generation=generation,
                state="ended",
                at=wall_ms(),
                exit_code=exit_code,
                outcome=outcome,
                sentence=sentence,
                log_size=len(replica.log),
                cpu_time_ms=lived_ms if exit_code is not None else 0,
                memory_peak_mib=replica.memory_mib,
                use_permille=_use_at(replica, boottime_ms()) if replica.chips else None,
                energy_mj=_energy_mj(replica, lived_ms) if replica.chips and exit_code is not None else None,
            )
        )
        self._on_change(replica.track)

    def _move(self, replica: _Replica, state: ReplicaState) -> None:
        attempt, number, generation = replica.track.key
        replica.track.add(
            ReplicaReport(attempt=attempt, replica=number, generation=generation, state=state, at=wall_ms())
        )
        self._on_change(replica.track)


def _inventory_of(driver: SimulatedDriver) -> Inventory:
    """Host sizes go with the number of chips."""
    chips = list(driver.chips)
    return Inventory(
        cpu_milli=CPU_MILLI_PER_CHIP * len(chips),
        memory_mib=MEMORY_MIB_PER_CHIP * len(chips),
        chips=chips,
        simulated=True,
        separate_users=True,
        images=True,
        notes=list(driver.notes),
    )


def _use_at(replica: _Replica, now_ms: int) -> int:
    return replica.use if replica.use is not None else declared_use(now_ms - replica.started_ms)


def _energy_mj(replica: _Replica, lived_ms: int) -> int:
    """At the use that it ends with."""
    share_mw = sum(power_mw(_use_at(replica, boottime_ms())) * milli for _, milli in replica.chips) // 1000
    return share_mw * lived_ms // 1000


def _asleep(wanted: WantedReplica) -> float:
    """What `sleep N` in its commands adds up to, in seconds."""
    slept = sum(float(found) for command in wanted.commands for found in SLEEPS.findall(command))
    return min(slept, MOST_SECONDS) or DEFAULT_SECONDS


def _number(env: Mapping[str, str], name: str, default: float, most: float) -> float:
    text = env.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise ValueError(f"{name} must be a number from 0 to {most:g}.")
    return value
