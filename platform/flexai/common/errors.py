"""Errors that reach a person: what was wrong, where, and what would be right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field of an input; `field` is a dotted path, `hint` what would be right."""

    field: str
    message: str
    hint: str = ""


class FlexaiError(Exception):
    """Has a stable `code` for programs and a sentence for people; the API answers it as problem+json."""

    status = 400
    code = "bad_request"

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)


class InvalidInput(FlexaiError):
    """The input breaks a rule; `errors` names every wrong field."""

    code = "invalid"


class NotFound(FlexaiError):
    """No such object among those the caller may see."""

    status = 404
    code = "not_found"


class Forbidden(FlexaiError):
    """The caller sees the object but may not do this."""

    status = 403
    code = "forbidden"


class Unauthenticated(FlexaiError):
    """No valid session or token came with the request."""

    status = 401
    code = "unauthenticated"


class Conflict(FlexaiError):
    """The object is not in a state that allows this, or the key was used with another body."""

    status = 409
    code = "conflict"


class TooLarge(FlexaiError):
    """The input is larger than the stated bound."""

    status = 413
    code = "too_large"


class NeverFits(FlexaiError):
    """The request can never fit what is registered (F6)."""

    status = 422
    code = "never_fits"


class StoreFull(FlexaiError):
    """There is no room for what was sent, and none will come by itself."""

    status = 507
    code = "store_full"


class Unavailable(FlexaiError):
    """Something that the answer needs is not reached now; the same request may succeed later."""

    status = 503
    code = "unavailable"
