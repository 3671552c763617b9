"""The shim: one small process per replica that outlives the agent.

It owns the replica's output pipe, log, exit status and deadlines. It needs nobody: the agent may die, be replaced or be
cut off from the server; the shim goes on, writes what happens into the replica's files, and ends the replica when
its lease runs out, its time is up, the agent asks, or (under one supervisor) the supervisor's pipe closes.

Forked from `forkserver`, so only modules cheap to fork are imported.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import struct

from node_agent import kernel
from node_agent.cgroups import Group, Limits
from node_agent.clocks import boottime_ms, wall_ms
from node_agent.launch import Launch
from node_agent.logs import LogFile
from node_agent.masking import Mask
from node_agent.runtimes import container, process
from node_agent.spool import SENTENCE_CHARS, AlreadyStartedError, StateFile

READ_BYTES = 64 * 1024
KILL_RETRY_MS = 50
DISK_RETRY_MS = 200
SHARE_AFTER_MS = 1_000
"""A replica gets its weight against others (a control group) once it has lived so long: short ones need none."""
DRAIN_PATIENCE_MS = 1_000
"""How long output is still awaited from a process that escaped every other way of ending it."""
END_MARGIN_MS = 1_000
"""Kept free before the lease deadline for SIGKILL to take effect."""
SUPERVISOR_GRACE_MS = 5_000
"""Longest grace once the platform itself has gone."""

TOO_LATE = "No contact with the platform for its lease: it was not started."
"""Of a replica that waited here for so long (its image, its job's folder) that another may live elsewhere."""

_LEASE = struct.Struct("<q")
_ROOM_MAKING = ("preempted", "idle_suspended", "resized", "moved")
"""Outcomes of a stop after which the job goes on later: it has notice, and time to save itself."""


class Node:
    """Descriptors that every shim inherits from the fork server."""

    __slots__ = ("hints", "home", "lease", "lock", "supervisor")

    def __init__(self, *, home: int, hints: int, lease: int, lock: int, supervisor: int) -> None:
        self.home = home
        """The data directory."""
        self.hints = hints
        """Named pipe to the agent; -1 supervisor: there is none."""
        self.lease = lease
        self.lock = lock
        self.supervisor = supervisor


def lease_margin_ms(lease_ms: int, grace_ms: int) -> int:
    """Stopping starts so long before the lease is over that it is done by then."""
    return min(grace_ms + END_MARGIN_MS, lease_ms // 2)


def read_lease(fd: int) -> int:
    """Boot-time ms at which the last answered renewal was sent; 0: none ever was."""
    data = os.pread(fd, _LEASE.size, 0)
    return int(_LEASE.unpack(data)[0]) if len(data) == _LEASE.size else 0


def write_lease(fd: int, sent: int) -> None:
    """Extend every lease on the node. In place: it needs no disk space and is never half written."""
    os.pwrite(fd, _LEASE.pack(sent), 0)


class Senses:
    """What a shim process waits on besides its replica's output; made once, used for one life after the other."""

    __slots__ = ("timer", "wakeup")

    def __init__(self) -> None:
        """From here on signals arrive on `wakeup`, and orphaned descendants come to this process."""
        self.wakeup, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.signal(signal.SIGTERM, _ignore)
        kernel.become_subreaper()
        self.timer = kernel.boottime_timer()


def run(launch: Launch, node: Node, senses: Senses) -> None:
    """Live the replica's whole life; returns when its end is recorded, with nothing of it left in this process."""
    try:
        state = StateFile(launch.base)
    except AlreadyStartedError:
        os.close(node.lock)
        return
    except OSError as error:
        os.close(node.lock)
        _hint(node, f"!{os.path.basename(launch.base)} {error.strerror}")
        return
    try:
        Shim(launch, node, senses, state).run()
    finally:
        state.close()


class Shim:
    """One replica's life."""

    def __init__(self, launch: Launch, node: Node, senses: Senses, state: StateFile) -> None:
        self._launch = launch
        self._node = node
        self._wakeup = senses.wakeup
        self._timer = senses.timer
        self._state = state
        self._name = os.path.basename(launch.base)
        self._group = Group(launch.groups, self._name)
        self._started_ms = boottime_ms()
        self._main = 0
        self._status: int | None = None
        self._childless = False
        self._cpu_ms = 0
        self._peak_kib = 0
        self._stop_outcome = ""
        self._stop_sentence = ""
        self._kill_at = 0
        self._retry_at = 0
        self._drain_until = 0
        self._share_at = self._started_ms + SHARE_AFTER_MS if launch.cpu_shares else 0
        self._unwritten = b""
        self._mask = Mask(launch.secrets.values()) if launch.secrets else None
        self._oom_kills = 0
        self._group_peak_mib = 0

    def run(self) -> None:
        """From the first move to the last."""
        failure = self._make_groups()
        made_of = self._launch.container
        self._record("starting", pid=os.getpid(), boot=self._launch.boot_id, job=self._launch.job,
                     groups=self._group.paths(), mark=self._launch.preempt_file,
                     image=made_of and made_of["image"])  # fmt: skip
        os.close(self._node.lock)
        is_late = self._launch.lease_ms is not None and boottime_ms() >= self._lease_stop_at()
        failure = failure or (TOO_LATE if is_late else self._start())
        if failure:
            self._group.remove()
            outcome = "node_lost" if is_late else "start_failed"
            self._record("ended", outcome=outcome, sentence=failure[:SENTENCE_CHARS])
            self._hint()
            return
        self._record("running", pid=self._main, digest=made_of and made_of["digest"])
        self._hint()
        try:
            self._watch()
        finally:
            os.close(self._output)
            kernel.arm(self._timer, 0)
        if self._mask:
            self._unwritten += self._log.append(self._mask.rest())
        self._log.close(unwritten=self._unwritten)
        self._group_peak_mib = self._group.memory_peak_mib()
        self._oom_kills = self._group.out_of_memory_kills()
        if made_of:
            container.remove(made_of["runtime"], made_of["folder"], self._name)
        self._group.remove()
        self._record_end()
        self._hint()

    # --- start -----------------------------------------------------------------------------------------------------

    def _make_groups(self) -> str:
        """Empty, or the sentence that says why not."""
        launch = self._launch
        limits = Limits(
            cpu_quota_milli=launch.cpu_quota_milli,
            memory_mib=launch.memory_mib,
        )
        try:
            self._group.make(limits)
        except OSError as error:
            return f"The limits of the replica could not be set: {error.strerror}."
        return ""

    def _start(self) -> str:
        """Empty, or the sentence that says why not."""
        self._log = LogFile(f"{self._launch.base}.log", limit=self._launch.log_limit)
        self._output, write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._output, False)
        try:
            start = container.start if self._launch.container else process.start
            self._main = start(self._launch, output=write_end, group=self._group, home_fd=self._node.home)
        except process.StartError as error:
            os.close(self._output)
            return str(error)
        finally:
            os.close(write_end)
        return ""

    # --- life ------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        self._output_open = True
        self._poll.register(self._wakeup, select.POLLIN)
        self._poll.register(self._timer, select.POLLIN)
        if self._node.supervisor >= 0:
            self._poll.register(self._node.supervisor, 0)  # only its end means something
        self._check_deadlines()
        while not self._is_over():
            for fd, _ in self._poll.poll():
                if fd == self._output:
                    self._take_output()
                elif fd == self._wakeup:
                    self._take_signals()
                elif fd == self._timer:
                    self._check_deadlines()
                else:
                    self._supervisor_moved()

    def _is_over(self) -> bool:
        return self._childless and not self._output_open and not self._unwritten

    def _take_output(self) -> None:
        if self._unwritten or not self._output_open:
            return  # an event from before something else was handled
        try:
            data = os.read(self._output, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._poll.unregister(self._output)
            self._output_open = False
            return
        self._unwritten = self._log.append(self._mask.take(data) if self._mask else data)
        if self._unwritten:
            self._poll.unregister(self._output)  # the disk is full: the replica waits, as on any full disk
            self._retry_soon(DISK_RETRY_MS)

    def _take_signals(self) -> None:
        try:
            numbers = os.read(self._wakeup, 512)
        except BlockingIOError:
            return
        if signal.SIGTERM in numbers:
            self._stop_was_asked()
        self._reap()

    def _stop_was_asked(self) -> None:
        """A signal without a request in this replica's file was meant for one before it, or is a stranger's."""
        request = self._state.stop_request()
        if not request:
            return
        grace = request.get("grace_ms")
        self._stop(
            str(request.get("outcome") or "cancelled"),
            grace_ms=grace if isinstance(grace, int) else self._launch.grace_ms,
            sentence=str(request.get("sentence") or "Stopped on request."),
        )

    def _supervisor_moved(self) -> None:
        self._poll.unregister(self._node.supervisor)
        self._stop(
            "platform_stopped",
            grace_ms=min(self._launch.grace_ms, SUPERVISOR_GRACE_MS),
            sentence="The platform on this machine was stopped.",
        )

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self._childless = True
                self._await_last_output()
                return
            if pid == 0:
                break
            self._cpu_ms += int((usage.ru_utime + usage.ru_stime) * 1000)
            self._peak_kib = max(self._peak_kib, usage.ru_maxrss)
            if pid == self._main:
                self._status = status
        if self._status is not None and not self._stop_outcome:
            process.end(self._group, signal.SIGKILL)  # the command has ended: so does what it left behind
            self._retry_soon(KILL_RETRY_MS)

    def _await_last_output(self) -> None:
        """Nobody of ours can write any more: take what is in the pipe, then close it."""
        if not self._drain_until:
            self._drain_until = boottime_ms() + DRAIN_PATIENCE_MS
        while self._output_open and not self._unwritten and boottime_ms() < self._drain_until:
            ready = select.select([self._output], [], [], 0)[0]
            if not ready:
                break
            self._take_output()
        if self._output_open:
            kernel.arm(self._timer, self._next_deadline())

    # --- deadlines -------------------------------------------------------------------------------------------------

    def _check_deadlines(self) -> None:
        """Act on every deadline that is past and set the timer to the next."""
        now = boottime_ms()
        self._check_retry(now)
        if self._drain_until and now >= self._drain_until and self._output_open and not self._unwritten:
            self._poll.unregister(self._output)
            self._output_open = False
        if not self._stop_outcome and self._status is None:
            self._check_duration(now)
            self._check_lease(now)
        if self._share_at and now >= self._share_at:
            self._share_at = 0
            self._take_share()
        if self._kill_at and now >= self._kill_at and not self._childless:
            process.end(self._group, signal.SIGKILL)
            self._kill_at = now + KILL_RETRY_MS
        kernel.arm(self._timer, self._next_deadline())

    def _check_retry(self, now: int) -> None:
        if not self._retry_at or now < self._retry_at:
            return
        self._retry_at = 0
        if self._unwritten:
            self._unwritten = self._log.retry(self._unwritten)
            if self._unwritten:
                self._retry_at = now + DISK_RETRY_MS
            elif self._output_open:
                self._poll.register(self._output, select.POLLIN)
                if self._childless:
                    self._drain_until = 0
                    self._await_last_output()
        if self._status is not None and not self._childless:
            self._reap()

    def _take_share(self) -> None:
        """From here on the replica weighs what it asked for against others on this node."""
        try:
            self._group.make(Limits(cpu_shares=self._launch.cpu_shares))
            self._group.take_in(process.descendants(os.getpid()))
        except OSError:
            pass  # the weight is a courtesy between replicas; the replica itself lacks nothing

    def _check_duration(self, now: int) -> None:
        limit = self._launch.max_duration_ms
        if limit is not None and now >= self._started_ms + limit:
            sentence = f"Stopped after its max_duration of {limit / 1000:g} s."
            self._stop("timed_out", grace_ms=self._launch.grace_ms, sentence=sentence)

    def _check_lease(self, now: int) -> None:
        lease_ms = self._launch.lease_ms
        if lease_ms is None or now < self._lease_stop_at():
            return
        margin = self._lease_margin()
        self._stop(
            "node_lost",
            grace_ms=max(0, margin - min(END_MARGIN_MS, margin // 2)),
            sentence=f"No contact with the platform for the lease of {lease_ms / 1000:g} s: the node stopped it.",
        )

    def _lease_stop_at(self) -> int:
        return read_lease(self._node.lease) + (self._launch.lease_ms or 0) - self._lease_margin()

    def _lease_margin(self) -> int:
        return lease_margin_ms(self._launch.lease_ms or 0, self._launch.grace_ms)

    def _next_deadline(self) -> int:
        deadlines = [self._retry_at, self._kill_at, self._share_at]
        if self._drain_until and self._output_open and not self._unwritten:
            deadlines.append(self._drain_until)
        if not self._stop_outcome and self._status is None:
            if self._launch.max_duration_ms is not None:
                deadlines.append(self._started_ms + self._launch.max_duration_ms)
            if self._launch.lease_ms is not None:
                deadlines.append(self._lease_stop_at())
        return min((deadline for deadline in deadlines if deadline), default=0)

    def _retry_soon(self, delay_ms: int) -> None:
        self._retry_at = boottime_ms() + delay_ms
        kernel.arm(self._timer, self._next_deadline())

    # --- end -------------------------------------------------------------------------------------------------------

    def _stop(self, outcome: str, *, grace_ms: int, sentence: str) -> None:
        """SIGTERM, or the signal that it asked for, to everything now; SIGKILL after the grace. A second stop can
        only shorten the grace.
        """
        kill_at = boottime_ms() + grace_ms
        if self._stop_outcome:
            self._kill_at = min(self._kill_at, kill_at)
        elif self._status is None:
            self._stop_outcome = outcome
            self._stop_sentence = sentence
            self._kill_at = kill_at
            self._record("stopping")
            self._hint()
            if outcome in _ROOM_MAKING:
                _leave_notice(self._launch.preempt_file, outcome, grace_ms)
                self._signal_all(self._launch.notice_signal)
            else:
                self._signal_all(signal.SIGTERM)
        self._check_deadlines()

    def _signal_all(self, number: int) -> None:
        """To a container's first process too it would come twice: that one passes signals on."""
        process.end(self._group, number, apart_from=self._main if self._launch.container else 0)

    def _record_end(self) -> None:
        code = _exit_code(self._status)
        outcome, sentence = self._how_it_ended(code)
        lived_ms = max(1, boottime_ms() - self._started_ms)
        use = None
        if self._launch.held_milli:
            use = min(1000, self._cpu_ms * 1_000_000 // (lived_ms * self._launch.held_milli))
        self._record(
            "ended",
            exit_code=code,
            outcome=outcome,
            sentence=sentence[:SENTENCE_CHARS],
            log_size=self._log.size,
            cpu_time_ms=self._cpu_ms,
            memory_peak_mib=self._group_peak_mib or self._peak_kib >> 10,
            use_permille=use,
        )

    def _how_it_ended(self, code: int) -> tuple[str, str]:
        if self._stop_outcome:
            return self._stop_outcome, self._stop_sentence
        if code == 0:
            return "succeeded", ""
        if self._oom_kills:
            return "oom", f"Ran out of memory: its limit is {self._launch.memory_mib} MiB."
        missing = _command_not_found(self._log.tail) if code == 127 else ""
        if missing:
            return "exit", f"Command not found: {missing}"
        by_signal = self._status is not None and os.WIFSIGNALED(self._status)
        if by_signal or (self._launch.container and 0 < code - 128 < signal.NSIG):
            return "exit", f"Ended by {_signal_name(code - 128)}."
        return "exit", f"Exited with code {code}."

    def _record(self, state: str, **facts: object) -> None:
        move = {"state": state, "at": wall_ms()}
        move.update({name: value for name, value in facts.items() if value is not None})
        self._state.append(move)

    def _hint(self) -> None:
        _hint(self._node, self._name)


def _hint(node: Node, line: str) -> None:
    try:
        os.write(node.hints, line.encode() + b"\n")
    except OSError as error:
        if error.errno != errno.EAGAIN:  # full: nobody reads; the files are the truth
            raise


def _ignore(_number: int, _frame: object) -> None:
    """The wake-up pipe carries the signal."""


def _leave_notice(path: str, outcome: str, grace_ms: int) -> None:
    """Why and for how long, as JSON; never through a link that the job has planted."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, f'{{"reason":"{outcome}","grace_ms":{grace_ms},"at":{wall_ms()}}}\n'.encode())
        finally:
            os.close(fd)
    except OSError:
        pass  # the job removed its own directory, or made something else of the name: the signal tells it as well


def _exit_code(status: int | None) -> int:
    if status is None:
        return 255
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"


def _command_not_found(tail: bytes) -> str:
    """The name that the shell could not find, from the last line it printed."""
    for line in reversed(tail.decode("utf-8", "replace").splitlines()):
        before, found, _ = line.partition(": command not found")
        if not found:
            before, found, _ = line.partition(": not found")
        if found:
            return before.rsplit(": ", 1)[-1][:100]
    return ""
