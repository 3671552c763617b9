"""Paths: /api/v1, /metrics, /sign-in, /console, and the dashboard for everything else."""

from __future__ import annotations

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from flexai.api.pages import dashboard
from flexai.api.views import oidc
from flexai.api.views.metrics import MetricsView
from flexai.console.door import door

urlpatterns = [
    path("api/v1/", include("flexai.api.urls")),
    path("metrics", MetricsView.as_view()),
    path("sign-in/oidc", oidc.start),
    path("sign-in/oidc/callback", oidc.callback, name="oidc-callback"),
    path("favicon.ico", RedirectView.as_view(url=static("app/favicon.svg"), permanent=True)),
    path("console/login/", door),
    path("console/", admin.site.urls),
    re_path(r"^(?!api/|console/|static/|ws/).*$", dashboard, name="dashboard"),
]

handler400 = "flexai.api.problems.bad_request"
handler403 = "flexai.api.problems.permission_denied"
handler404 = "flexai.api.problems.not_found"
handler500 = "flexai.api.problems.server_error"
