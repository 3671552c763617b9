"""What can go wrong, as exceptions. What the server refused carries its code and every wrong field."""

# ruff: noqa: N818 - the names say what happened

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field of what was sent; `field` is a dotted path, `hint` what would be right (or empty)."""

    field: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        said = f"{self.field}: {self.message}" if self.field else self.message
        return f"{said} ({self.hint})" if self.hint else said


class FlexaiError(Exception):
    """What this client raises on purpose; `str()` is a sentence for people, `code` a word for programs."""

    code = "error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotReached(FlexaiError):
    """No answer came: the address is wrong, the server is down, or the network is."""

    code = "not_reached"


class UnexpectedAnswer(FlexaiError):
    """Something answered that does not speak this API: a proxy's page, another service."""

    code = "unexpected_answer"


class WaitTimeout(FlexaiError):
    """The job had not ended in the time that was given; it goes on."""

    code = "wait_timeout"


class Problem(FlexaiError):
    """The server refused. `status` is the HTTP status, `errors` names every wrong field."""

    def __init__(self, detail: str, *, status: int, code: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.errors = tuple(errors)

    def __str__(self) -> str:
        untold = [error for error in self.errors if error.message not in self.detail]
        return "\n".join([self.detail, *(f"  {error}" for error in untold)])


class InvalidInput(Problem):
    """400: what was sent breaks a rule."""


class Unauthenticated(Problem):
    """401: no token, or one that is wrong, expired or revoked."""


class Forbidden(Problem):
    """403: this token or its user may not do that."""


class NotFound(Problem):
    """404: no such object among those the token may see."""


class Conflict(Problem):
    """409: the object's state does not allow it, or the idempotency key was used with another body."""


class TooLarge(Problem):
    """413: larger than the stated bound."""


class NeverFits(Problem):
    """422: the request can never fit what is registered."""


class RateLimited(Problem):
    """429: too many requests, and still so after the retries."""


class ServerFault(Problem):
    """5xx: the server failed."""


_BY_STATUS: Mapping[int, type[Problem]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: NeverFits,
    429: RateLimited,
}


def problem_from(status: int, body: object) -> Problem:
    """The exception that this answer means. Any body gives a sentence, if only with the status."""
    known: Mapping[str, object] = body if isinstance(body, dict) else {}
    kind = _BY_STATUS.get(status, ServerFault if status >= 500 else Problem)
    detail = str(known.get("detail") or known.get("title") or f"The server answered with status {status}.")
    code = str(known.get("code") or f"http_{status}")
    return kind(detail, status=status, code=code, errors=_field_errors(known.get("errors")))


def _field_errors(raw: object) -> list[FieldError]:
    if not isinstance(raw, list):
        return []
    return [
        FieldError(str(item.get("field", "")), str(item.get("message", "")), str(item.get("hint") or ""))
        for item in raw
        if isinstance(item, dict)
    ]
