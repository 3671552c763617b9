"""Paths: /api/v1, /metrics, /console, and the dashboard for everything else."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path, re_path

from flexai.api.pages import dashboard
from flexai.api.views.metrics import MetricsView

urlpatterns = [
    path("api/v1/", include("flexai.api.urls")),
    path("metrics", MetricsView.as_view()),
    path("console/", admin.site.urls),
    re_path(r"^(?!api/|console/|static/|ws/).*$", dashboard, name="dashboard"),
]

handler400 = "flexai.api.problems.bad_request"
handler403 = "flexai.api.problems.permission_denied"
handler404 = "flexai.api.problems.not_found"
handler500 = "flexai.api.problems.server_error"
