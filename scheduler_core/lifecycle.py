"""Legal moves of jobs and attempts, in tables; what follows an ended attempt; the one status word.

Promises: every state and event is listed here, and a move that is not in a table raises `IllegalMove`.
Leaves to others: rows, versions, times, and who may ask for a move.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class JobState(StrEnum):
    HELD = "held"
    QUEUED = "queued"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class JobEvent(StrEnum):
    RELEASE = "release"
    """What it was held for (a dependency, a time, its user) is over."""
    HOLD = "hold"
    START = "start"
    """An attempt was placed."""
    REQUEUE = "requeue"
    """It waits again: after an attempt that does not end the job, or somebody asked for another run."""
    SUSPEND = "suspend"
    """Its user suspends it: it stays so until resumed. What the policy suspends is requeued instead."""
    RESUME = "resume"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    TIME_OUT = "time_out"


class AttemptState(StrEnum):
    PLACED = "placed"
    STARTING = "starting"
    RUNNING = "running"
    CHECKPOINTING = "checkpointing"
    STOPPING = "stopping"
    ENDED = "ended"


class AttemptEvent(StrEnum):
    START = "start"
    """A node took it up."""
    RUN = "run"
    """Every replica runs."""
    CHECKPOINT = "checkpoint"
    CHECKPOINTED = "checkpointed"
    """The checkpoint is written and the work goes on."""
    STOP = "stop"
    END = "end"
    """The agent confirmed the end, or the lease is provably over. Only this frees chips."""


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    EXIT = "exit"
    OOM = "oom"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    IDLE_SUSPENDED = "idle_suspended"
    RESIZED = "resized"
    MOVED = "moved"
    NODE_LOST = "node_lost"
    START_FAILED = "start_failed"
    NO_IMAGE = "no_image"
    """Its image is not there for it, and only another spec would help."""
    PLATFORM_STOPPED = "platform_stopped"


FINAL_JOB_STATES = frozenset(
    {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.TIMED_OUT},
)

DEADLINE = "deadline"
"""The reason code of what a deadline ended."""

GROWN = "grown"
"""The reason code of a task that goes on with the memory that it asked for."""

FAILURES = frozenset(
    {Outcome.EXIT, Outcome.OOM, Outcome.START_FAILED, Outcome.TIMED_OUT, Outcome.NO_IMAGE},
)
"""Outcomes that are the job's own doing and count against `Retry.limit`."""

INTERRUPTIONS = frozenset(
    {
        Outcome.PREEMPTED,
        Outcome.IDLE_SUSPENDED,
        Outcome.RESIZED,
        Outcome.MOVED,
        Outcome.NODE_LOST,
        Outcome.PLATFORM_STOPPED,
    },
)
"""Outcomes that are the platform's doing: they never count, and the job waits again."""

AT_WORK = frozenset({AttemptState.RUNNING, AttemptState.CHECKPOINTING})
"""States in which an attempt may work: saving a checkpoint is work, and no hiding place for idle chips (T2)."""

JOB_MOVES: Mapping[JobState, Mapping[JobEvent, JobState]] = {
    JobState.HELD: {
        JobEvent.RELEASE: JobState.QUEUED,
        JobEvent.CANCEL: JobState.CANCELLED,
        JobEvent.TIME_OUT: JobState.TIMED_OUT,
    },
    JobState.QUEUED: {
        JobEvent.START: JobState.ACTIVE,
        JobEvent.HOLD: JobState.HELD,
        JobEvent.SUSPEND: JobState.SUSPENDED,
        JobEvent.CANCEL: JobState.CANCELLED,
        JobEvent.TIME_OUT: JobState.TIMED_OUT,
    },
    JobState.ACTIVE: {
        JobEvent.REQUEUE: JobState.QUEUED,
        JobEvent.SUSPEND: JobState.SUSPENDED,
        JobEvent.SUCCEED: JobState.SUCCEEDED,
        JobEvent.FAIL: JobState.FAILED,
        JobEvent.CANCEL: JobState.CANCELLED,
        JobEvent.TIME_OUT: JobState.TIMED_OUT,
    },
    JobState.SUSPENDED: {
        JobEvent.RESUME: JobState.QUEUED,
        JobEvent.CANCEL: JobState.CANCELLED,
        JobEvent.TIME_OUT: JobState.TIMED_OUT,
    },
    JobState.SUCCEEDED: {JobEvent.REQUEUE: JobState.QUEUED},
    JobState.FAILED: {JobEvent.REQUEUE: JobState.QUEUED},
    JobState.CANCELLED: {JobEvent.REQUEUE: JobState.QUEUED},
    JobState.TIMED_OUT: {JobEvent.REQUEUE: JobState.QUEUED},
}

ATTEMPT_MOVES: Mapping[AttemptState, Mapping[AttemptEvent, AttemptState]] = {
    AttemptState.PLACED: {
        AttemptEvent.START: AttemptState.STARTING,
        AttemptEvent.RUN: AttemptState.RUNNING,
        AttemptEvent.STOP: AttemptState.STOPPING,
        AttemptEvent.END: AttemptState.ENDED,
    },
    AttemptState.STARTING: {
        AttemptEvent.RUN: AttemptState.RUNNING,
        AttemptEvent.STOP: AttemptState.STOPPING,
        AttemptEvent.END: AttemptState.ENDED,
    },
    AttemptState.RUNNING: {
        AttemptEvent.CHECKPOINT: AttemptState.CHECKPOINTING,
        AttemptEvent.STOP: AttemptState.STOPPING,
        AttemptEvent.END: AttemptState.ENDED,
    },
    AttemptState.CHECKPOINTING: {
        AttemptEvent.CHECKPOINTED: AttemptState.RUNNING,
        AttemptEvent.STOP: AttemptState.STOPPING,
        AttemptEvent.END: AttemptState.ENDED,
    },
    AttemptState.STOPPING: {AttemptEvent.END: AttemptState.ENDED},
    AttemptState.ENDED: {},
}


class IllegalMove(Exception):  # noqa: N818 - it names what happened, as the docs do
    """A move that no table lists. Says the state, the event, what was legal, and the story that led here."""

    def __init__(self, noun: str, state: str, event: str, legal: Iterable[str], story: Iterable[str]) -> None:
        self.noun, self.state, self.event = noun, state, event
        self.legal = tuple(legal)
        self.story = tuple(story)
        could = f"from there it can {', '.join(self.legal)}" if self.legal else "nothing follows that state"
        told = "".join(f"\n  {line}" for line in self.story)
        super().__init__(
            f"The {noun} is {state} and cannot {event}; {could}." + (f" Its story:{told}" if told else "")
        )


def move_job(state: JobState, event: JobEvent, *, story: Iterable[str] = ()) -> JobState:
    """The state after `event`. Refused with IllegalMove, which tells `story`, oldest line first."""
    moves = JOB_MOVES[state]
    if event not in moves:
        raise IllegalMove("job", state, event, moves, story)
    return moves[event]


def move_attempt(state: AttemptState, event: AttemptEvent, *, story: Iterable[str] = ()) -> AttemptState:
    """The state after `event`. Refused with IllegalMove, which tells `story`, oldest line first."""
    moves = ATTEMPT_MOVES[state]
    if event not in moves:
        raise IllegalMove("attempt", state, event, moves, story)
    return moves[event]


@dataclass(frozen=True, slots=True)
class Retry:
    """When an attempt that failed is followed by another: at most `limit` times over the job's life."""

    limit: int = 0
    on: frozenset[Outcome] = field(
        default=frozenset({Outcome.EXIT, Outcome.OOM, Outcome.START_FAILED}),
    )
    """The failures that are retried; anything outside `FAILURES` has no effect here."""
    exit_codes: frozenset[int] = frozenset()
    """Exit codes that are retried (for outcome `exit`); empty means every one."""


@dataclass(frozen=True, slots=True)
class Next:
    """What becomes of a job when its attempt has ended."""

    state: JobState
    counts_as_failure: bool
    """True when the job's count of failures grows by one."""
    reason_code: str
    sentence: str


def after_attempt(
    outcome: Outcome,
    *,
    exit_code: int | None,
    failures: int,
    retry: Retry,
    cancel_requested: bool,
    past_deadline: bool = False,
    was_sized_down: bool = False,
) -> Next:
    """What becomes of a job whose attempt ended so; `failures` counts the earlier ones that counted.

    What succeeded stays succeeded. A requested cancel wins over everything else. The platform's own
    interruptions requeue and never count; the job's own failures count, and requeue while `retry` allows.
    Past the job's deadline no attempt follows: whatever would wait again has timed out. Who ran out of memory with
    less than it asked for (T5) waits again with all of it, and that does not count.
    """
    if outcome is Outcome.OOM and was_sized_down and not cancel_requested and not past_deadline:
        sentence = "The attempt ran out of the memory that earlier tasks needed; it waits again with what it asked for."
        return Next(JobState.QUEUED, False, GROWN, sentence)
    follows = _in_time(outcome, exit_code, failures, retry, cancel_requested)
    if not past_deadline or (
        follows.state is not JobState.QUEUED and follows.state is not JobState.TIMED_OUT
    ):
        return follows
    sentence = "Its deadline has passed, and no attempt follows."
    if outcome is not Outcome.TIMED_OUT:
        sentence = f"{_capital(_told(outcome, exit_code))}; its deadline has passed, and no attempt follows."
    return Next(JobState.TIMED_OUT, follows.counts_as_failure, DEADLINE, sentence)


def _in_time(
    outcome: Outcome, exit_code: int | None, failures: int, retry: Retry, cancel_requested: bool
) -> Next:
    what = _told(outcome, exit_code)
    if outcome is Outcome.SUCCEEDED:
        return Next(JobState.SUCCEEDED, False, "succeeded", "Finished with exit code 0.")
    if outcome is Outcome.CANCELLED:
        return Next(JobState.CANCELLED, False, "cancelled", "Cancelled on request.")
    if cancel_requested:
        return Next(JobState.CANCELLED, False, "cancelled", f"Cancelled on request; {what}.")
    if outcome in INTERRUPTIONS:
        return Next(
            JobState.QUEUED, False, outcome.value, f"{_capital(what)}; it waits for its next attempt."
        )
    return _after_failure(outcome, what, exit_code, failures, retry)


def _after_failure(outcome: Outcome, what: str, exit_code: int | None, failures: int, retry: Retry) -> Next:
    retried = outcome in retry.on
    if outcome is Outcome.EXIT and retry.exit_codes:
        retried = retried and exit_code in retry.exit_codes
    if retried and failures < retry.limit:
        sentence = f"{_capital(what)}; retry {failures + 1} of {retry.limit} follows."
        return Next(JobState.QUEUED, True, f"retry_{outcome.value}", sentence)
    why = ""
    if retried and retry.limit:
        why = f"; all {retry.limit} retries are used"
    elif retry.limit:
        why = "; the retry policy does not cover it"
    state = JobState.TIMED_OUT if outcome is Outcome.TIMED_OUT else JobState.FAILED
    return Next(state, True, outcome.value, f"{_capital(what)}{why}.")


def _told(outcome: Outcome, exit_code: int | None) -> str:
    """The outcome as the middle of a sentence."""
    if outcome is Outcome.EXIT:
        if exit_code is None:
            return "the attempt ended without an exit code"
        if exit_code < 0:
            return f"the attempt was ended by signal {-exit_code}"
        return f"the attempt exited with code {exit_code}"
    return _WORDS[outcome]


_WORDS: Mapping[Outcome, str] = {
    Outcome.SUCCEEDED: "the attempt succeeded",
    Outcome.OOM: "the attempt ran out of memory",
    Outcome.TIMED_OUT: "the attempt ran longer than its max_duration",
    Outcome.CANCELLED: "the attempt was cancelled",
    Outcome.PREEMPTED: "the attempt was taken back for other work",
    Outcome.IDLE_SUSPENDED: "the attempt was suspended because its chips were idle",
    Outcome.RESIZED: "the attempt ended to go on with more or fewer replicas",
    Outcome.MOVED: "the attempt ended to go on elsewhere",
    Outcome.NODE_LOST: "the attempt's node was lost",
    Outcome.START_FAILED: "the attempt could not be started",
    Outcome.NO_IMAGE: "the attempt's image could not be had",
    Outcome.PLATFORM_STOPPED: "the attempt ended because the platform stopped",
}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def status_word(
    job_state: JobState,
    attempt_state: AttemptState | None,
    contact_ok: bool,
    cancel_requested: bool,
) -> str:
    """The one word that API, command line and page show.

    One of: held queued starting running stopping cancelling suspended succeeded failed cancelled timed_out
    unreachable. A cancel that was asked for shows before lost contact, lost contact before the attempt's
    state.
    """
    if job_state is not JobState.ACTIVE:
        return job_state.value
    if cancel_requested:
        return "cancelling"
    if not contact_ok:
        return "unreachable"
    return _ACTIVE_WORDS[attempt_state]


_ACTIVE_WORDS: Mapping[AttemptState | None, str] = {
    None: "starting",
    AttemptState.PLACED: "starting",
    AttemptState.STARTING: "starting",
    AttemptState.RUNNING: "running",
    AttemptState.CHECKPOINTING: "running",
    AttemptState.STOPPING: "stopping",
    AttemptState.ENDED: "stopping",
}
