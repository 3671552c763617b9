"""Where you are signed in by browser: the list, and ending sessions."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.schemas import sessions as shapes
from flexai.api.schemas.common import answers, public_id
from flexai.api.views.base import View, body_of, only_known, principal_of
from flexai.jobs.presenting import stamp
from flexai.tenancy import browser_sessions
from flexai.tenancy.models import BrowserSession


class SessionsView(View):
    """Your sessions."""

    @extend_schema(operation_id="sessions_list", responses=answers(shapes.BrowserSessionListSerializer))
    def get(self, request: Request) -> Response:
        """The browsers in which you are signed in, used last first; the latest 200."""
        found = browser_sessions.sessions_of(principal_of(request))[: browser_sessions.MOST_LISTED]
        return Response({"items": [_shown(row, _key(request)) for row in found]})


class OneSessionView(View):
    """One session."""

    @extend_schema(
        operation_id="session_end",
        parameters=[public_id("session")],
        request=None,
        responses={204: OpenApiResponse(description="Ended.")},
    )
    def delete(self, request: Request, id: str) -> Response:
        """Sign that browser out; its cookie is refused from the next request on."""
        browser_sessions.end_session(principal_of(request), id)
        return Response(status=204)


class EndOthersView(View):
    """All sessions but one."""

    @extend_schema(
        operation_id="sessions_end_others",
        request=None,
        responses=answers(shapes.EndedSessionsSerializer),
    )
    def post(self, request: Request) -> Response:
        """Sign out every other browser of yours; with a token, every browser. Tokens stay."""
        only_known(body_of(request), set())
        return Response({"ended": browser_sessions.end_other_sessions(principal_of(request), _key(request))})


def _key(request: Request) -> str:
    """Of the session that asks; empty for a token."""
    if principal_of(request).token is not None:
        return ""
    return request._request.session.session_key or ""


def _shown(row: BrowserSession, key: str) -> dict[str, Any]:
    return {
        "id": row.public_id,
        "address": row.address,
        "browser": browser_sessions.browser_of(row.agent),
        "began_at": stamp(row.began_at),
        "used_at": stamp(row.used_at),
        "expires_at": stamp(row.expire_date),
        "is_this": row.session_key == key,
    }
