"""Entity tags (RFC 9110): a reader asks again for nothing that it has, a writer changes nothing that it has not seen.

What a GET answers has a tag of its bytes; with `If-None-Match` the same again is 304 without a body. A PUT, PATCH or
DELETE with `If-Match` is done only while a GET at the same address would still answer with that tag, else it is 412.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.http import ConditionalGetMiddleware
from django.utils.cache import set_response_etag
from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from flexai.common.errors import Code, FlexaiError

API: Final = "/api/"
WRITES: Final = ("put", "patch", "delete")
_IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "schema": {"type": "string"},
    "description": "`ETag` of what you have read at this address: when it is another by now, nothing is changed (412).",
}
_ETAG: Final = {"schema": {"type": "string"}, "description": "Tag of this answer."}


class Stale(FlexaiError):  # noqa: N818 - named for what is so
    """What the caller wants to change is not as the caller saw it."""

    code = Code.PRECONDITION_FAILED


class Tags(ConditionalGetMiddleware):
    """What a GET of the API answers bears a tag, and is not sent to who has it."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not request.path.startswith(API) or response.status_code != 200:
            return response
        return super().process_response(request, response)


def condition_of(request: HttpRequest) -> AbstractContextManager[object]:
    """A transaction where the request has a condition, so that what `check` has seen still is when it is written."""
    return transaction.atomic() if _has_condition(request) else nullcontext()


def check(view: APIView, request: Request, kwargs: Mapping[str, Any]) -> None:
    """Those who write here under a condition take turns from now on. Raises Stale where the condition does not hold."""
    if not _has_condition(request):
        return
    with connection.cursor() as cursor:
        place = int.from_bytes(hashlib.blake2b(request.path.encode(), digest_size=8).digest(), signed=True)
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [place])
    given, now = parse_etags(request.headers["If-Match"]), _tag(view, request, kwargs)
    # A proxy that compresses weakens the tag; the bytes that it is of are the same.
    if now is None or (given != ["*"] and now not in [one.removeprefix("W/") for one in given]):
        raise Stale("This was changed since you read it: read it again. Nothing was changed now.")


def told(result: Any, generator: object, request: object, public: bool) -> Any:
    """The API's description, with tags."""
    for operations in result["paths"].values():
        read = operations.get("get")
        good = read and read["responses"].get("200")
        if not good or "application/json" not in good.get("content", {}):
            continue
        good.setdefault("headers", {})["ETag"] = _ETAG
        read["responses"]["304"] = {"description": "You have it: `If-None-Match` named its tag."}
        for method in WRITES:
            if method in operations:
                operations[method].setdefault("parameters", []).append(_IF_MATCH)
    return result


def _has_condition(request: HttpRequest | Request) -> bool:
    return (request.method or "").lower() in WRITES and "If-Match" in request.headers


def _tag(view: APIView, request: Request, kwargs: Mapping[str, Any]) -> str | None:
    """Tag of what a GET would answer now; None where nothing can be read."""
    read = getattr(view, "get", None)
    answer = read(request, **kwargs) if read is not None else None
    if not isinstance(answer, Response):
        return None
    rendered: HttpResponse = view.finalize_response(request, answer, **kwargs).render()
    set_response_etag(rendered)
    return rendered.headers.get("ETag")
