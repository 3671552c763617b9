"""Guests make way by themselves (T3): halted while an owner of their chips is back, stopped when it stays.

The rule comes with the replica and lies beside its files, so that it is carried out without contact, and by the
agent that follows this one. How much an owner uses is its own processor time: of its core where cores are the chips,
else of one core for each chip it holds, for an accelerator does not tell everywhere whose its use is. An owner whose
use cannot be told is back: a guest never stays for want of a measurement.

The decision is a pure function of what is measured (`decide`); `Yielding` measures and acts. Halting is SIGSTOP to all
of the replica's processes, repeated while it lasts, so that none is missed; a stop is the shim's usual one.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from node_agent.clocks import boottime_ms, wall_ms
from node_agent.host import memory_available_mib, process_trees
from node_agent.local import Local
from node_agent.outbox import Track
from node_agent.protocol import ReplicaReport, WantedGuest, WantedReplica
from node_agent.reconcile import Phase, Stop
from node_agent.runtimes.process import descendants

LOOK_SECONDS: Final = 0.5
"""Between two looks at owners, while there are guests. A look costs one pass over /proc."""
SUFFIX: Final = ".guest"
"""Of the file beside a replica's others that holds its rule."""

LEAST_URGENT: Final = 19
"""Niceness of guests, for the moment between an owner's return and the halt."""

log = logging.getLogger(__name__)


class Way(enum.Enum):
    """What a guest does."""

    RUNS = "runs"
    HALTED = "halted"
    STOPS = "stops"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of the owners of a guest's chips at one instant."""

    at: int
    """Boot-time ms."""
    use: int | None
    """Permille, of the owner that uses most; None where one could not be measured."""
    free_mib: int
    back_since: int | None
    """Since when one of them has been back."""


def back_since(before: int | None, use: int | None, rule: WantedGuest, looked_from: int) -> int | None:
    """When the return began that a look at the time from `looked_from` on continues, begins, or ends (None)."""
    if use is not None and use < rule.above:
        return None
    return looked_from if before is None else before


def decide(rule: WantedGuest, seen: Seen) -> Way:
    """What the rule says now."""
    if seen.free_mib < rule.memory_floor_mib:
        return Way.STOPS
    if seen.back_since is None:
        return Way.RUNS
    back_for = seen.at - seen.back_since
    if back_for >= rule.stop_after_ms:
        return Way.STOPS
    return Way.HALTED if back_for >= rule.pause_after_ms else Way.RUNS


class _Guest:
    """One guest on this node, between looks."""

    __slots__ = ("back_since", "rule", "way")

    def __init__(self, rule: WantedGuest) -> None:
        self.rule = rule
        self.back_since: int | None = None
        self.way: Way | None = None
        """None: not known, as of a guest that an earlier agent may have halted."""


class Yielding:
    """Carries out the yield rules of all guests on this node."""

    def __init__(self, stop: Callable[[Stop, str], None], on_change: Callable[[Track], None]) -> None:
        """`stop` asks a replica's shim to end it, with a sentence; `on_change` is called for each track that has
        more to send."""
        self._stop = stop
        self._on_change = on_change
        self._guests: dict[Local, _Guest] = {}
        self._cpu_ms: dict[tuple[str, int], int] = {}
        """Of each owner, as of the last look."""
        self._looked_at = 0

    def know(self, wanted: Iterable[WantedReplica], locals_: Iterable[Local]) -> None:
        """Those of the wanted replicas that are guests are followed from now on; their rules are on disk."""
        rules = {(one.attempt, one.replica, one.generation): one.guest for one in wanted if one.guest}
        if not rules:
            return
        for local in locals_:
            rule = rules.get(local.track.key)
            if rule is not None and local not in self._guests and not local.track.ended:
                self._guests[local] = _Guest(rule)
                keep_rule(local.base, rule)

    def find(self, locals_: Iterable[Local]) -> None:
        """Guests of before go on as guests."""
        for local in locals_:
            rule = read_rule(local.base)
            if rule is not None and not local.track.ended:
                self._guests[local] = _Guest(rule)

    def look(self, locals_: Iterable[Local]) -> None:
        """Measure the owners of all live guests, and do what the rules say. Costs nothing without guests."""
        self._guests = {local: guest for local, guest in self._guests.items() if not local.track.ended}
        live = {local: guest for local, guest in self._guests.items() if local.shim_pid}
        if not live:
            self._cpu_ms, self._looked_at = {}, 0
            return
        now, before = boottime_ms(), self._looked_at
        cpu_ms = _processor_time(locals_, live.values())
        elapsed = now - before
        free = memory_available_mib()
        for local, guest in live.items():
            if not before or elapsed <= 0 or local.phase is not Phase.LIVE:
                continue
            use = self._use(guest.rule, cpu_ms, elapsed)
            guest.back_since = back_since(guest.back_since, use, guest.rule, before)
            self._carry_out(local, guest, Seen(now, use, free, guest.back_since))
        self._cpu_ms, self._looked_at = cpu_ms, now

    def _use(self, rule: WantedGuest, cpu_ms: Mapping[tuple[str, int], int], elapsed: int) -> int | None:
        """Permille of what it holds, of the owner that uses most. Owners that have gone use nothing."""
        most = 0
        for attempt, replica, milli in rule.owners:
            spent, before = cpu_ms.get((attempt, replica)), self._cpu_ms.get((attempt, replica))
            if spent is None:
                continue
            if before is None:
                return None
            most = max(most, max(0, spent - before) * 1_000_000 // (elapsed * max(1, milli)))
        return most

    def _carry_out(self, local: Local, guest: _Guest, seen: Seen) -> None:
        way = decide(guest.rule, seen)
        if guest.way is None:
            give_way_in_time(local.shim_pid)
        if way is Way.STOPS:
            self._make_way_for_good(local, guest, seen)
        elif way is Way.HALTED:
            signal_all(local.shim_pid, signal.SIGSTOP)
            if guest.way is not Way.HALTED:
                self._report(local, "paused", f"Halted by its node: {_why(seen)}.")
        elif guest.way is not Way.RUNS:
            signal_all(local.shim_pid, signal.SIGCONT)
            if guest.way is Way.HALTED:
                self._report(local, "resumed", "Goes on: the owner of its chips has left them alone again.")
        guest.way = way

    def _make_way_for_good(self, local: Local, guest: _Guest, seen: Seen) -> None:
        if guest.way is Way.STOPS:
            return
        if seen.free_mib < guest.rule.memory_floor_mib:
            floor = guest.rule.memory_floor_mib
            why = f"{seen.free_mib} MiB of memory are free, less than the {floor} that stay free"
        else:
            why = _why(seen)
        self._stop(Stop(local.track.key, "preempted", None), f"Stopped by its node to make way: {why}.")

    def _report(self, local: Local, note: Literal["paused", "resumed"], sentence: str) -> None:
        attempt, replica, generation = local.track.key
        local.track.add(
            ReplicaReport(
                attempt=attempt, replica=replica, generation=generation, state="running", at=wall_ms(), note=note,
                sentence=sentence,
            )
        )  # fmt: skip
        self._on_change(local.track)


def signal_all(shim_pid: int, number: int) -> None:
    """Every process of the replica gets the signal; parents first, so that none forks past it."""
    for pid in descendants(shim_pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def give_way_in_time(shim_pid: int) -> None:
    """Every process of the replica, and those it will start, take processor time only where others leave it."""
    for pid in descendants(shim_pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpriority(os.PRIO_PROCESS, pid, LEAST_URGENT)


def keep_rule(base: str, rule: WantedGuest) -> None:
    """The rule lies beside the replica's files, whole or not at all."""
    path = f"{base}{SUFFIX}"
    with open(f"{path}.new", "wb") as file:
        file.write(msgspec.json.encode(rule))
    os.replace(f"{path}.new", path)


def read_rule(base: str) -> WantedGuest | None:
    """The rule that lies beside the replica's files; None for what is no guest."""
    try:
        with open(f"{base}{SUFFIX}", "rb") as file:
            return msgspec.json.decode(file.read(), type=WantedGuest)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        log.error("The yield rule of %s cannot be read: %s", base, error)
        return None


def _processor_time(locals_: Iterable[Local], guests: Iterable[_Guest]) -> dict[tuple[str, int], int]:
    """CPU time (ms) of each owner that runs here, with all its processes."""
    owners = {(attempt, replica) for guest in guests for attempt, replica, _ in guest.rule.owners}
    pids = {
        local.shim_pid: local.track.key[:2]
        for local in locals_
        if local.shim_pid and not local.track.ended and local.track.key[:2] in owners
    }
    return {pids[pid]: tree.cpu_ms for pid, tree in process_trees(list(pids)).items()} if pids else {}


def _why(seen: Seen) -> str:
    back_for = 0 if seen.back_since is None else seen.at - seen.back_since
    if seen.use is None:
        return f"what the owner of its chips uses could not be measured for {back_for / 1000:.1f} s"
    return (
        f"the owner of its chips is back for {back_for / 1000:.1f} s, and uses {seen.use / 10:.0f} % of them"
    )
