"""The pages of the console, for Django to find; the first page is the dashboard."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from flexai.console import (
    announcements,
    chip_types,
    cycles,
    decisions,
    machines,
    people,
    policies,
    quota_requests,
    secrets,
    telling,
    trust,
    work,
)
from flexai.console.base import record
from flexai.console.door import is_operator

__all__ = [
    "announcements",
    "chip_types",
    "cycles",
    "decisions",
    "machines",
    "people",
    "policies",
    "quota_requests",
    "secrets",
    "telling",
    "trust",
    "work",
]
_log_out = admin.site.logout
_change_own_password = admin.site.password_change


def password_change(request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponseBase:
    """The operator's own; that it was set is recorded."""
    answer = _change_own_password(request, extra_context)
    if request.method == "POST" and answer.status_code == 302:
        record(request, "user.password_set", request.user, None, None)
    return answer


def logout(request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponseBase:
    """The operator is signed out, which is recorded."""
    record(request, "session.ended", request.user, None, None)
    return _log_out(request, extra_context)


admin.site.has_permission = is_operator  # type: ignore[method-assign]
admin.site.password_change = password_change  # type: ignore[method-assign, assignment]
admin.site.logout = logout  # type: ignore[method-assign, assignment]
admin.site.index_template = "console/dashboard.html"
admin.site.index_title = "Overview"
if admin.site.is_registered(Group):
    admin.site.unregister(Group)
