"""The pages of the console, for Django to find; the first page is the dashboard."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.models import Group

from flexai.console import (
    announcements,
    decisions,
    machines,
    people,
    policies,
    quota_requests,
    telling,
    trust,
    work,
)
from flexai.console.door import is_operator

__all__ = [
    "announcements",
    "decisions",
    "machines",
    "people",
    "policies",
    "quota_requests",
    "telling",
    "trust",
    "work",
]
admin.site.has_permission = is_operator  # type: ignore[method-assign]
admin.site.index_template = "console/dashboard.html"
admin.site.index_title = "Overview"
if admin.site.is_registered(Group):
    admin.site.unregister(Group)
