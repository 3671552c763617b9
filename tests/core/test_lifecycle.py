"""Every state and event of jobs and attempts is in a table, and the tables tell the story of the docs."""

from __future__ import annotations

import itertools

import pytest

from scheduler_core.lifecycle import (
    ATTEMPT_MOVES,
    FAILURES,
    FINAL_JOB_STATES,
    INTERRUPTIONS,
    JOB_MOVES,
    AttemptEvent,
    AttemptState,
    IllegalMove,
    JobEvent,
    JobState,
    Next,
    Outcome,
    Retry,
    after_attempt,
    move_attempt,
    move_job,
    status_word,
)

STATUS_WORDS = {
    "held",
    "queued",
    "starting",
    "running",
    "stopping",
    "cancelling",
    "suspended",
    "succeeded",
    "failed",
    "cancelled",
    "timed_out",
    "unreachable",
}
MORE = Retry(limit=2, on=FAILURES)


def test_every_state_has_a_row_and_every_event_is_legal_somewhere() -> None:
    assert set(JOB_MOVES) == set(JobState)
    assert set(ATTEMPT_MOVES) == set(AttemptState)
    assert {event for moves in JOB_MOVES.values() for event in moves} == set(JobEvent)
    assert {event for moves in ATTEMPT_MOVES.values() for event in moves} == set(AttemptEvent)


def test_every_state_can_be_reached_and_every_live_one_can_end() -> None:
    assert reachable(JOB_MOVES, JobState.QUEUED) | {JobState.QUEUED} == set(JobState)
    assert reachable(ATTEMPT_MOVES, AttemptState.PLACED) == set(AttemptState) - {AttemptState.PLACED}
    for state in set(JobState) - FINAL_JOB_STATES:
        assert JOB_MOVES[state][JobEvent.CANCEL] is JobState.CANCELLED
    for state in set(AttemptState) - {AttemptState.ENDED}:
        assert ATTEMPT_MOVES[state][AttemptEvent.END] is AttemptState.ENDED


def reachable(table, start):
    found, new = set(), {start}
    while new:
        new = {after for state in new for after in table[state].values()} - found
        found |= new
    return found


@pytest.mark.parametrize(("state", "event"), list(itertools.product(JobState, JobEvent)))
def test_a_job_moves_as_the_table_says_or_not_at_all(state: JobState, event: JobEvent) -> None:
    if event in JOB_MOVES[state]:
        assert move_job(state, event) is JOB_MOVES[state][event]
    else:
        with pytest.raises(IllegalMove, match=f"The job is {state.value} and cannot {event.value}"):
            move_job(state, event)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(AttemptState, AttemptEvent)))
def test_an_attempt_moves_as_the_table_says_or_not_at_all(state: AttemptState, event: AttemptEvent) -> None:
    if event in ATTEMPT_MOVES[state]:
        assert move_attempt(state, event) is ATTEMPT_MOVES[state][event]
    else:
        with pytest.raises(IllegalMove, match=f"The attempt is {state.value}"):
            move_attempt(state, event)


def test_an_illegal_move_tells_the_whole_story() -> None:
    story = ["10:00 placed on node-1", "10:01 ended: exit 0"]
    with pytest.raises(IllegalMove) as refused:
        move_attempt(AttemptState.ENDED, AttemptEvent.RUN, story=story)
    assert refused.value.story == tuple(story)
    assert str(refused.value) == (
        "The attempt is ended and cannot run; nothing follows that state. Its story:\n"
        "  10:00 placed on node-1\n  10:01 ended: exit 0"
    )


@pytest.mark.parametrize(
    ("outcome", "retry", "failures", "state", "counts", "code"),
    [
        (Outcome.SUCCEEDED, MORE, 0, JobState.SUCCEEDED, False, "succeeded"),
        (Outcome.CANCELLED, MORE, 0, JobState.CANCELLED, False, "cancelled"),
        (Outcome.EXIT, Retry(), 0, JobState.FAILED, True, "exit"),
        (Outcome.EXIT, MORE, 0, JobState.QUEUED, True, "retry_exit"),
        (Outcome.EXIT, MORE, 1, JobState.QUEUED, True, "retry_exit"),
        (Outcome.EXIT, MORE, 2, JobState.FAILED, True, "exit"),
        (Outcome.OOM, MORE, 0, JobState.QUEUED, True, "retry_oom"),
        (Outcome.OOM, Retry(2, frozenset({Outcome.EXIT})), 0, JobState.FAILED, True, "oom"),
        (Outcome.START_FAILED, MORE, 0, JobState.QUEUED, True, "retry_start_failed"),
        (Outcome.START_FAILED, Retry(), 0, JobState.FAILED, True, "start_failed"),
        (Outcome.TIMED_OUT, MORE, 0, JobState.QUEUED, True, "retry_timed_out"),
        (Outcome.TIMED_OUT, Retry(5), 0, JobState.TIMED_OUT, True, "timed_out"),
        (Outcome.EXIT, Retry(1, exit_codes=frozenset({3})), 0, JobState.QUEUED, True, "retry_exit"),
        (Outcome.EXIT, Retry(1, exit_codes=frozenset({4})), 0, JobState.FAILED, True, "exit"),
    ],
)
def test_what_follows_an_attempt(outcome, retry, failures, state, counts, code) -> None:
    follows = after_attempt(outcome, exit_code=3, failures=failures, retry=retry, cancel_requested=False)
    assert (follows.state, follows.counts_as_failure, follows.reason_code) == (state, counts, code)


@pytest.mark.parametrize("outcome", sorted(INTERRUPTIONS))
def test_interruptions_never_count_and_always_requeue(outcome: Outcome) -> None:
    follows = after_attempt(outcome, exit_code=None, failures=99, retry=Retry(), cancel_requested=False)
    assert (follows.state, follows.counts_as_failure) == (JobState.QUEUED, False)
    assert follows.reason_code == outcome.value


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_requested_cancel_wins_over_everything_but_success(outcome: Outcome) -> None:
    follows = after_attempt(outcome, exit_code=143, failures=0, retry=MORE, cancel_requested=True)
    expected = JobState.SUCCEEDED if outcome is Outcome.SUCCEEDED else JobState.CANCELLED
    assert (follows.state, follows.counts_as_failure) == (expected, False)


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("cancel", [True, False])
@pytest.mark.parametrize("late", [True, False])
def test_t5_who_ran_out_of_less_than_it_asked_for_waits_again_with_all_of_it(outcome, cancel, late) -> None:
    def after(was_sized_down: bool) -> Next:
        return after_attempt(
            outcome, exit_code=137, failures=9, retry=Retry(), cancel_requested=cancel, past_deadline=late,
            was_sized_down=was_sized_down,
        )  # fmt: skip

    follows = after(was_sized_down=True)
    if outcome is Outcome.OOM and not cancel and not late:
        assert (follows.state, follows.counts_as_failure, follows.reason_code) == (
            JobState.QUEUED,
            False,
            "grown",
        )
    else:
        assert follows == after(was_sized_down=False)


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("cancel", [True, False])
@pytest.mark.parametrize("failures", [0, 9])
def test_past_its_deadline_no_job_waits_again(outcome: Outcome, cancel: bool, failures: int) -> None:
    def after(past_deadline: bool) -> Next:
        return after_attempt(
            outcome,
            exit_code=3,
            failures=failures,
            retry=MORE,
            cancel_requested=cancel,
            past_deadline=past_deadline,
        )

    in_time, late = after(past_deadline=False), after(past_deadline=True)
    assert late.counts_as_failure == in_time.counts_as_failure
    if in_time.state in (JobState.QUEUED, JobState.TIMED_OUT):
        assert (late.state, late.reason_code) == (JobState.TIMED_OUT, "deadline")
        assert "deadline has passed" in late.sentence
    else:
        assert late == in_time, "what has ended anyway ends as it would"


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("cancel", [True, False])
@pytest.mark.parametrize("failures", [0, 1, 9])
@pytest.mark.parametrize("late", [True, False])
def test_what_follows_is_a_move_the_table_knows_and_is_said_in_a_sentence(
    outcome, cancel, failures, late
) -> None:
    follows = after_attempt(
        outcome, exit_code=None, failures=failures, retry=MORE, cancel_requested=cancel, past_deadline=late
    )
    assert follows.state in JOB_MOVES[JobState.ACTIVE].values()
    assert follows.sentence[0].isupper()
    assert follows.sentence.endswith(".")


def test_every_outcome_is_success_cancel_failure_or_interruption() -> None:
    assert {Outcome.SUCCEEDED, Outcome.CANCELLED} | FAILURES | INTERRUPTIONS == set(Outcome)
    assert not FAILURES & INTERRUPTIONS


@pytest.mark.parametrize(
    ("exit_code", "sentence"),
    [
        (3, "The attempt exited with code 3; retry 1 of 2 follows."),
        (-9, "The attempt was ended by signal 9; retry 1 of 2 follows."),
        (None, "The attempt ended without an exit code; retry 1 of 2 follows."),
    ],
)
def test_a_failure_says_how_it_ended_and_what_follows(exit_code, sentence) -> None:
    follows = after_attempt(Outcome.EXIT, exit_code=exit_code, failures=0, retry=MORE, cancel_requested=False)
    assert follows.sentence == sentence


def test_every_status_is_one_of_the_words_and_every_word_is_used() -> None:
    words = {
        status_word(job, attempt, contact, cancel)
        for job in JobState
        for attempt in [None, *AttemptState]
        for contact in (True, False)
        for cancel in (True, False)
    }
    assert words == STATUS_WORDS


@pytest.mark.parametrize(
    ("job", "attempt", "contact", "cancel", "word"),
    [
        (JobState.QUEUED, None, True, False, "queued"),
        (JobState.QUEUED, AttemptState.ENDED, False, False, "queued"),
        (JobState.ACTIVE, None, True, False, "starting"),
        (JobState.ACTIVE, AttemptState.PLACED, True, False, "starting"),
        (JobState.ACTIVE, AttemptState.RUNNING, True, False, "running"),
        (JobState.ACTIVE, AttemptState.CHECKPOINTING, True, False, "running"),
        (JobState.ACTIVE, AttemptState.STOPPING, True, False, "stopping"),
        (JobState.ACTIVE, AttemptState.RUNNING, False, False, "unreachable"),
        (JobState.ACTIVE, AttemptState.RUNNING, False, True, "cancelling"),
        (JobState.CANCELLED, AttemptState.ENDED, True, True, "cancelled"),
    ],
)
def test_the_status_word(job, attempt, contact, cancel, word) -> None:
    assert status_word(job, attempt, contact, cancel) == word
