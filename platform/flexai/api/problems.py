"""Every error of the API as `application/problem+json`: {type, title, status, code, detail, errors,
request_id}."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
import psycopg
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from psycopg_pool import PoolTimeout
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from flexai.api.pages import not_found_page
from flexai.common.errors import Code, FieldError, FlexaiError

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
_CODES: Mapping[int, Code] = {
    code.status: code
    for code in (
        Code.BAD_REQUEST,
        Code.UNAUTHENTICATED,
        Code.FORBIDDEN,
        Code.NOT_FOUND,
        Code.METHOD_NOT_ALLOWED,
        Code.TOO_LARGE,
        Code.UNSUPPORTED_MEDIA_TYPE,
        Code.TOO_MANY_REQUESTS,
        Code.INTERNAL_ERROR,
    )
}
"""What the frameworks refuse by a status alone."""


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response:
    """The answer for anything a view raised; what nobody foresaw is logged with the request id and answers
    500."""
    set_rollback()
    request_id = _request_id(context.get("request"))
    code, detail, errors, headers = _describe(error, request_id)
    body = problem(code, detail, errors=errors, request_id=request_id)
    return Response(body, status=code.status, headers=headers, content_type=CONTENT_TYPE)


def answer_to(error: Exception, request_id: str) -> HttpResponse:
    """The same where there is no view."""
    code, detail, errors, headers = _describe(error, request_id)
    body = problem(code, detail, errors=errors, request_id=request_id)
    return HttpResponse(
        msgspec.json.encode(body), status=code.status, headers=headers, content_type=CONTENT_TYPE
    )


def problem(
    code: Code, detail: str, *, errors: Sequence[FieldError] = (), request_id: str = ""
) -> dict[str, Any]:
    """The body of one problem."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(code.status).phrase,
        "status": code.status,
        "code": code.value,
        "detail": detail,
        "errors": [_field(error) for error in errors],
        "request_id": request_id,
    }


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 400, for what never reached a view."""
    return _plain(request, Code.BAD_REQUEST, "The request is not one this server accepts.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 403, for what never reached a view."""
    return _plain(request, Code.FORBIDDEN, str(exception) or "This is not allowed.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a write by session without the page's CSRF token."""
    detail = "Send the header X-CSRFToken with the value of the cookie flexai_csrf, which every page sets."
    return _plain(request, Code.FORBIDDEN, detail)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 404: an API path that does not exist, or a page."""
    if not request.path.startswith("/api/"):
        return not_found_page(request)
    return _plain(request, Code.NOT_FOUND, f"There is nothing at {request.path}.")


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's 500, for what failed outside a view."""
    return _plain(request, Code.INTERNAL_ERROR, _unexpected(_request_id(request)))


def _describe(error: Exception, request_id: str) -> tuple[Code, str, Sequence[FieldError], dict[str, str]]:
    match error:
        case FlexaiError():
            headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
            return error.code, error.detail, error.errors, headers
        case exceptions.APIException() if error.status_code in _CODES:
            return _CODES[error.status_code], _told(error), (), _headers(error)
        case Http404():
            return Code.NOT_FOUND, "There is nothing here.", (), {}
        case PermissionDenied():
            return Code.FORBIDDEN, str(error) or "This is not allowed.", (), {}
        case RequestDataTooBig():
            return Code.TOO_LARGE, "The body is larger than this server accepts.", (), {}
        case OperationalError() | InterfaceError() | psycopg.OperationalError() | PoolTimeout():
            log.warning("request %s: the database is not reached: %s", request_id, error)
            return Code.UNAVAILABLE, "The database is not reached; try again.", (), {"Retry-After": "1"}
        case SuspiciousOperation():
            return Code.BAD_REQUEST, "The request is not one this server accepts.", (), {}
    log.error("request %s failed", request_id, exc_info=error)
    return Code.INTERNAL_ERROR, _unexpected(request_id), (), {}


def _told(error: exceptions.APIException) -> str:
    if isinstance(error, exceptions.UnsupportedMediaType):
        return "Send the body as JSON, with `Content-Type: application/json`."
    wait = getattr(error, "wait", None)
    if wait is not None:
        return f"Too many requests; try again in {max(1, round(wait))} seconds."
    if isinstance(error, exceptions.NotAuthenticated):
        return "Sign in, or send `Authorization: Bearer` with a token."
    return str(error.detail)


def _headers(error: exceptions.APIException) -> dict[str, str]:
    headers: dict[str, str] = {}
    wait = getattr(error, "wait", None)
    if wait is not None:
        headers["Retry-After"] = str(max(1, round(wait)))
    challenge = getattr(error, "auth_header", None)
    if challenge:
        headers["WWW-Authenticate"] = challenge
    return headers


def _field(error: FieldError) -> dict[str, str]:
    described = {"field": error.field, "message": error.message}
    return {**described, "hint": error.hint} if error.hint else described


def _plain(request: HttpRequest, code: Code, detail: str) -> HttpResponse:
    body = problem(code, detail, request_id=_request_id(request))
    return HttpResponse(msgspec.json.encode(body), status=code.status, content_type=CONTENT_TYPE)


def _request_id(request: Any) -> str:
    return str(getattr(request, "request_id", ""))


def _unexpected(request_id: str) -> str:
    known_as = request_id or "?"
    return f"Something went wrong here, not with your request. The operators find it as request {known_as}."
