"""Carries out what is wanted on a real node: starts and stops shims, and follows what they write.

The disk is the truth. What is kept in memory (one `Local` per replica) can be rebuilt from it at any time, and
is, when the agent starts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from node_agent import containers, logs, spool
from node_agent.clocks import wall_ms
from node_agent.collecting import Asked, Collector
from node_agent.containers import Image
from node_agent.datadir import JOBS
from node_agent.forking import ForkServer
from node_agent.launching import LaunchRefusedError, Place, build_launch
from node_agent.local import Local, number, report_of, shares
from node_agent.orphans import end_orphans
from node_agent.outbox import Track
from node_agent.protocol import ReplicaReport, WantedReplica
from node_agent.reconcile import Forget, Found, Key, NeverStart, Phase, Start, Stop, plan
from node_agent.runtimes import container

LAUNCH_PATIENCE_SECONDS = (10.0, 10.0, 20.0, 40.0, 60.0)
"""How long the first, second … launch may leave no trace on disk before it is handed over again (the fence makes that
harmless); after the last one the replica ends as `start_failed`."""

REMOVALS_A_ROUND = 500

log = logging.getLogger(__name__)


class ProcessExecutor:
    """Replicas as processes of this node."""

    def __init__(
        self,
        place: Place,
        fork_server: ForkServer,
        on_change: Callable[[Track], None],
        collector: Collector,
        image_of: Callable[[WantedReplica], Image | None],
        secrets_of: Callable[[WantedReplica], Mapping[str, str]],
    ) -> None:
        """`on_change` is called for each track that has more to send; `image_of` knows the image of a replica,
        `secrets_of` its secrets, once."""
        self._place = place
        self._image_of = image_of
        self._secrets_of = secrets_of
        self._collector = collector
        self._fork_server = fork_server
        self._on_change = on_change
        self._locals: dict[Key, Local] = {}
        self._wanted: set[Key] = set()
        self._left: deque[Local] = deque()
        """Forgotten, but with files on disk."""
        self._clearing: set[str] = set()
        """Jobs whose directories are being removed now."""
        self._held_back: list[Local] = []
        """Not handed over yet: their job's folder is being removed, or its outputs are being copied."""

    # --- what is here ----------------------------------------------------------------------------------------------

    def find(self) -> None:
        """Take in what the disk holds: live replicas go on, ended ones are reported again, older boots' are removed."""
        root = f"{self._place.data_dir}/{spool.REPLICAS}"
        for name in spool.names(root):
            key = spool.parse_file_name(name)
            moves = spool.read_moves(f"{root}/{name}")
            if key is None or not moves or moves[0].get("boot") != self._place.boot_id:
                spool.remove(f"{root}/{name}")
                continue
            local = Local(key, self._place.data_dir, job=str(moves[0].get("job", "")))
            local.held = True
            self._locals[key] = local
            self._take_moves(local, moves)
        if self._locals:
            log.info("Found %d replicas of before, %d of them live.", len(self._locals), len(self.live()))

    def live(self) -> list[tuple[str, int]]:
        """(attempt, replica) of everything that has not ended."""
        return [
            (key[0], key[1])
            for key, local in self._locals.items()
            if local.phase in (Phase.LIVE, Phase.STOPPING)
        ]

    def locals(self) -> Iterable[Local]:
        """Every replica, ended ones until they are forgotten."""
        return self._locals.values()

    def tracks(self) -> list[Track]:
        """What the server may not have yet, in the order of starting."""
        return [local.track for local in self._locals.values() if local.phase is not Phase.ACKNOWLEDGED]

    def names(self) -> set[str]:
        """Names of the replicas' files (and of their control groups)."""
        return {spool.file_name(*key) for key in self._locals}

    def jobs(self) -> set[str]:
        """Jobs of which a replica is here."""
        return {local.job for local in self._locals.values()}

    def images(self) -> set[str]:
        """Images in which replicas run."""
        return {local.image for local in self._locals.values() if not local.track.ended}

    def is_here(self, key: Key) -> bool:
        """Whether it was taken up, however it fared."""
        return key in self._locals

    # --- what is wanted --------------------------------------------------------------------------------------------

    def apply(self, wanted: list[WantedReplica]) -> None:
        """Stop, start and forget until this is what the node has. Returns at once; shims do the work."""
        self._wanted = {(item.attempt, item.replica, item.generation) for item in wanted}
        for item in wanted:
            known = self._locals.get((item.attempt, item.replica, item.generation))
            if known is not None and not known.chips:
                known.chips = shares(item)
        found = [Found(key, local.phase) for key, local in self._locals.items()]
        for action in plan(wanted, found):
            if isinstance(action, Start):
                self._start(action.wanted)
            elif isinstance(action, NeverStart):
                self.refuse(action.wanted, action.wanted.stop_outcome, "Stopped before it started.")
            elif isinstance(action, Stop):
                self._stop(action)
            else:
                self._forget(action)

    def acknowledged(self, track: Track) -> None:
        """The server has all of this replica."""
        local = self._locals.get(track.key)
        if local is None:
            return
        local.phase = Phase.ACKNOWLEDGED
        if track.key not in self._wanted:
            self._forget(Forget(track.key))

    # --- what happened ---------------------------------------------------------------------------------------------

    def hinted(self, lines: Iterable[str]) -> None:
        """Look at the replicas that these hints name."""
        for line in dict.fromkeys(lines):
            failed = line.startswith("!")
            name, _, sentence = line.removeprefix("!").partition(" ")
            key = spool.parse_file_name(name)
            local = self._locals.get(key) if key is not None else None
            if local is None:
                continue
            if failed and not local.read:
                local.held = False
                self._end_in_memory(local, "start_failed", f"The node could not start it: {sentence}.")
            else:
                self._look(local)

    def look_for_log(self) -> None:
        """Notice what live replicas have printed."""
        for local in self._locals.values():
            if local.read and not local.track.ended and logs.size_of(local.log_path) > local.track.log_sent:
                self._on_change(local.track)

    def look_for_progress(self) -> None:
        """Notice what live replicas say of themselves."""
        for local in self._locals.values():
            if local.read and not local.track.ended:
                self._look_at_progress(local)

    def _look_at_progress(self, local: Local) -> None:
        if local.progress.look():
            local.track.progress = local.progress.said.report(local.track.key, wall_ms())
            self._on_change(local.track)

    def sweep(self) -> None:
        """Find what no hint told: moves whose hint was lost, shims that were killed, launches that vanished."""
        now = time.monotonic()
        for local in list(self._locals.values()):
            if local.track.ended:
                continue
            alive = spool.shim_is_alive(local.base)
            self._look(local)
            if local.track.ended or alive:
                continue
            if local.read:
                self._bury(local)
            elif local in self._held_back:
                continue
            elif now - local.launched_at > LAUNCH_PATIENCE_SECONDS[local.launches - 1]:
                self._launch_again(local)

    async def clear_away(self) -> None:
        """Remove the files of forgotten replicas, and the empty directories of jobs that are not here any more.

        In a thread, since removing takes longer than all else that a short job needs. A launch of a job whose directory
        is just being removed is held back until that is done.
        """
        if not self._left:
            return
        in_use = self.jobs()
        bases, words, jobs = [], [], set()
        for _ in range(min(REMOVALS_A_ROUND, len(self._left))):
            local = self._left.popleft()
            bases.append(local.base)
            words += [local.progress.path] if local.progress.was_there else []
            if local.job not in in_use:
                jobs.add(local.job)
        self._clearing = jobs
        await asyncio.to_thread(
            _remove_all, bases, words, [f"{self._place.data_dir}/{JOBS}/{job}" for job in jobs]
        )
        self._clearing = set()
        self.let_go()

    def let_go(self) -> None:
        """Launches that nothing holds back any more are handed over."""
        held_back, self._held_back = self._held_back, []
        for local in held_back:
            self._hand_over(local)

    def fork_server_restarted(self) -> None:
        """Hand over again what the old one may not have taken."""
        for local in self._locals.values():
            if local.frame and local not in self._held_back and not os.path.exists(f"{local.base}.state"):
                self._fork_server.send(local.frame)

    # --- actions ---------------------------------------------------------------------------------------------------

    def _start(self, wanted: WantedReplica) -> None:
        try:
            launch = build_launch(wanted, self._place, self._image_of(wanted), self._secrets_of(wanted))
        except LaunchRefusedError as error:
            self.refuse(wanted, "start_failed", str(error))
            return
        local = self._add(wanted)
        local.image = launch.container["image"] if launch.container else ""
        local.held = True
        local.frame = launch.encode()
        if wanted.outputs is not None:
            folder = os.path.relpath(launch.working_dir, launch.job_dir)
            asked = Asked(
                wanted.attempt,
                wanted.job,
                launch.job_dir,
                "" if folder == "." else folder,
                wanted.outputs,
                launch.uid,
            )
            self._collector.expect(local.track.key, asked)
        self._hand_over(local)

    def _hand_over(self, local: Local) -> None:
        local.launched_at = time.monotonic()
        if local.job in self._clearing or self._collector.is_copying(local.job):
            self._held_back.append(local)
        else:
            self._fork_server.send(local.frame)

    def stop(self, stop: Stop, sentence: str = "") -> None:
        """Ask a replica's shim to end it, for this reason."""
        self._stop(stop, sentence)

    def _stop(self, stop: Stop, sentence: str = "") -> None:
        local = self._locals[stop.key]
        request: spool.Move = {"outcome": stop.outcome}
        if sentence:
            request["sentence"] = sentence
        if stop.grace_ms is not None:
            request["grace_ms"] = stop.grace_ms
        if not local.read:
            self._look(local)
        if not local.shim_pid:
            local.stop_asked = stop
            return
        try:
            handle = os.pidfd_open(local.shim_pid)
        except ProcessLookupError:
            return
        try:
            if spool.shim_is_alive(local.base):
                spool.write_stop_request(local.base, request)
                signal.pidfd_send_signal(handle, signal.SIGTERM)
                local.phase = Phase.STOPPING
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)

    def _forget(self, forget: Forget) -> None:
        local = self._locals.pop(forget.key)
        if local.held:
            self._left.append(local)

    def refuse(self, wanted: WantedReplica, outcome: str, sentence: str) -> None:
        """It has ended so, and never began."""
        self._end_in_memory(self._add(wanted), outcome, sentence)

    def _end_in_memory(self, local: Local, outcome: str, sentence: str) -> None:
        attempt, replica, generation = local.track.key
        local.phase = Phase.ENDED
        local.frame = b""
        self._collector.ended(local.track.key, outcome)
        local.track.add(
            ReplicaReport(
                attempt=attempt,
                replica=replica,
                generation=generation,
                state="ended",
                at=wall_ms(),
                outcome=outcome,
                sentence=sentence[: spool.SENTENCE_CHARS],
            )
        )
        self._on_change(local.track)

    def _add(self, wanted: WantedReplica) -> Local:
        key = (wanted.attempt, wanted.replica, wanted.generation)
        local = Local(key, self._place.data_dir, job=wanted.job)
        local.chips = shares(wanted)
        self._locals[key] = local
        return local

    # --- following a shim ------------------------------------------------------------------------------------------

    def _look(self, local: Local) -> None:
        if local.held and not local.track.ended:
            self._take_moves(local, spool.read_moves(local.base))

    def _take_moves(self, local: Local, moves: list[spool.Move]) -> None:
        if len(moves) == local.read:
            return
        local.frame = b""
        if moves[-1]["state"] == "ended":
            self._look_at_progress(local)  # its last words go before its end
        for move in moves[local.read :]:
            local.image = str(moves[0].get("image", ""))
            local.track.add(report_of(local, move, began=number(moves[0], "at")))
            if move["state"] == "starting" and isinstance(pid := move.get("pid"), int):
                local.shim_pid = pid
        local.read = len(moves)
        state = moves[-1]["state"]
        if state == "ended":
            local.phase = Phase.ENDED
            self._collector.ended(local.track.key, str(moves[-1].get("outcome", "")))
        elif state == "stopping":
            local.phase = Phase.STOPPING
        self._on_change(local.track)
        if local.stop_asked is not None and local.shim_pid and local.phase is Phase.LIVE:
            stop, local.stop_asked = local.stop_asked, None
            self._stop(stop)

    def _bury(self, local: Local) -> None:
        """Its shim was killed from outside: end what is left of it, and record its end in its place."""
        moves = spool.read_moves(local.base)
        left = end_orphans(moves)
        if local.image and self._place.runtime is not None:
            folder = f"{self._place.data_dir}/{containers.FOLDER}"
            container.remove(self._place.runtime.program, folder, spool.file_name(*local.track.key))
        log.warning("The shim of %s was killed; ended %d processes.", spool.file_name(*local.track.key), left)
        end: spool.Move = {
            "state": "ended",
            "at": wall_ms(),
            "outcome": "node_lost",
            "sentence": "The process that watched over it was killed; how it ended is not known.",
            "log_size": logs.size_of(local.log_path),
        }
        spool.append_for_a_dead_shim(local.base, end)
        self._look(local)

    def _launch_again(self, local: Local) -> None:
        name, seconds = spool.file_name(*local.track.key), LAUNCH_PATIENCE_SECONDS[local.launches - 1]
        if os.path.exists(f"{local.base}.state"):
            log.error("The shim of %s died before its first move.", name)
            spool.remove(local.base)
            local.held = False
            self._end_in_memory(local, "start_failed", "The process that should watch over it died at once.")
        elif local.launches == len(LAUNCH_PATIENCE_SECONDS):
            log.error(
                "Launch %d of %s left no trace in %g s either: given up.", local.launches, name, seconds
            )
            self._give_up(local)
        elif local.frame:
            log.warning("Launch %d of %s left no trace in %g s: once more.", local.launches, name, seconds)
            local.launches += 1
            local.launched_at = time.monotonic()
            self._fork_server.send(local.frame)

    def _give_up(self, local: Local) -> None:
        """It ends, and a shim that should still come for it finds its place taken."""
        sentence = f"The node could not start it: {local.launches} launches left no trace; the agent's log says more."
        try:
            place = spool.StateFile(local.base)
        except spool.AlreadyStartedError:
            return  # a shim has come after all: the next sweep looks at it
        except OSError as error:
            self._end_in_memory(local, "start_failed", f"{sentence} ({error.strerror})")
            return
        end: spool.Move = {
            "state": "ended",
            "at": wall_ms(),
            "boot": self._place.boot_id,
            "job": local.job,
            "outcome": "start_failed",
            "sentence": sentence,
        }
        place.append(end)
        place.close()
        self._look(local)


def _remove_all(bases: list[str], words: list[str], job_dirs: list[str]) -> None:
    for base in bases:
        spool.remove(base)
    for path in words:
        with contextlib.suppress(OSError):  # the job removed it, or made something else of the name
            os.unlink(path)
    for path in job_dirs:
        _leave_job_directory(path)


def _leave_job_directory(path: str) -> None:
    """No replica of the job is here any more: its directory goes if it is empty, else retention counts from now."""
    try:
        os.rmdir(f"{path}/checkpoint")
        os.rmdir(path)
    except OSError:
        try:
            os.utime(path)
        except OSError:
            pass  # the job removed it itself
