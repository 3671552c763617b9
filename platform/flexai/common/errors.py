"""Errors that reach a person: what was wrong, where, and what would be right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Code(StrEnum):
    """Every word for programs that a refusal may have, with its HTTP status and what it means. A word is never given
    another meaning; new ones may be added."""

    status: int
    means: str

    def __new__(cls, word: str, status: int, means: str) -> Code:
        code = str.__new__(cls, word)
        code._value_ = word
        code.status, code.means = status, means
        return code

    BAD_REQUEST = (
        "bad_request",
        400,
        "The request cannot be read: it is no valid HTTP, or its host is not ours.",
    )
    INVALID = "invalid", 400, "What was sent breaks a rule; `errors` names every wrong field."
    AUTHORIZATION_PENDING = (
        "authorization_pending",
        400,
        "Nobody has decided on this terminal yet: ask again.",
    )
    SLOW_DOWN = "slow_down", 400, "The terminal asked again too soon: leave more time between."
    ACCESS_DENIED = "access_denied", 400, "Somebody refused to sign this terminal in."
    EXPIRED_TOKEN = "expired_token", 400, "This sign-in is unknown, over, or was fetched before: begin anew."
    UNAUTHENTICATED = "unauthenticated", 401, "No valid session, token, credential or identity came along."
    SECOND_FACTOR = "second_factor", 401, "The password is right: send a code of the second factor along."
    FORBIDDEN = "forbidden", 403, "You see the object, but may not do this; the sentence says who may."
    NOT_FOUND = "not_found", 404, "There is no such object among those that you may see."
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, "There is something here, but not for this method."
    CONFLICT = (
        "conflict",
        409,
        "The object's state does not allow it, or the key came with another body before.",
    )
    PRECONDITION_FAILED = "precondition_failed", 412, "It was changed since you read it: read it again."
    TOO_LARGE = "too_large", 413, "The body is larger than the stated bound."
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415, "The body is of a kind that is not read here."
    NEVER_FITS = (
        "never_fits",
        422,
        "Nothing that is registered could ever run it; `errors` says what is in the way.",
    )
    TOO_MANY_REQUESTS = "too_many_requests", 429, "Wait for the seconds of `Retry-After`."
    INTERNAL_ERROR = "internal_error", 500, "The server failed; the operators find it by `request_id`."
    UNAVAILABLE = "unavailable", 503, "Something that the answer needs is not reached now: try again."
    STORE_FULL = "store_full", 507, "The store for outputs is full, and will not be less so by itself."


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field of an input; `field` is a dotted path, `hint` what would be right."""

    field: str
    message: str
    hint: str = ""


class FlexaiError(Exception):
    """Has a stable `code` for programs and a sentence for people; the API answers it as problem+json."""

    code: ClassVar[Code] = Code.BAD_REQUEST

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return self.code.status


class InvalidInput(FlexaiError):
    """The input breaks a rule; `errors` names every wrong field."""

    code = Code.INVALID


class NotFound(FlexaiError):
    """No such object among those the caller may see."""

    code = Code.NOT_FOUND


class Forbidden(FlexaiError):
    """The caller sees the object but may not do this."""

    code = Code.FORBIDDEN


class Unauthenticated(FlexaiError):
    """No valid session or token came with the request."""

    code = Code.UNAUTHENTICATED


class Conflict(FlexaiError):
    """The object is not in a state that allows this, or the key was used with another body."""

    code = Code.CONFLICT


class TooLarge(FlexaiError):
    """The input is larger than the stated bound."""

    code = Code.TOO_LARGE


class NeverFits(FlexaiError):
    """The request can never fit what is registered (F6)."""

    code = Code.NEVER_FITS


class StoreFull(FlexaiError):
    """There is no room for what was sent, and none will come by itself."""

    code = Code.STORE_FULL


class Unavailable(FlexaiError):
    """Something that the answer needs is not reached now; the same request may succeed later."""

    code = Code.UNAVAILABLE
