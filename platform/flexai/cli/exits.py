"""Exit codes, as docs/cli.md lists them, and the error that carries one."""

from __future__ import annotations

from flexai.client import FlexaiError, Forbidden, NotFound, NotReached, RateLimited, Unauthenticated
from flexai.client.types import Job

OK = 0
FAILED = 1
USAGE = 2
NOT_ALLOWED = 3
"""Not signed in, or not permitted."""
NOT_FOUND = 4
UNREACHABLE = 69
NOT_STARTED = 75
"""`--timeout` was over before the job started."""
INTERRUPTED = 130


class Refusal(Exception):  # noqa: N818 - it is what the command says, not a fault
    """The command cannot go on: a sentence for the person, what would help, and the exit code."""

    def __init__(
        self, sentence: str, *, hint: str = "", exit_code: int = FAILED, code: str = "refused"
    ) -> None:
        super().__init__(sentence)
        self.sentence, self.hint, self.exit_code, self.code = sentence, hint, exit_code, code


def exit_code_of_error(error: FlexaiError) -> int:
    """What the process exits with after this error of the client."""
    if isinstance(error, Unauthenticated | Forbidden):
        return NOT_ALLOWED
    if isinstance(error, NotFound):
        return NOT_FOUND
    return UNREACHABLE if isinstance(error, NotReached | RateLimited) else FAILED


def exit_code_of_job(job: Job) -> int:
    """The run's own exit code; 128 + n after signal n; 1 when it ended without one."""
    if job["status"] == "succeeded":
        return OK
    code = job["exit_code"]
    if not code:
        return FAILED
    return 128 - code if code < 0 else min(code, 255)
