"""The dashboard's one HTML page: every client route answers it."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

_NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Flexai: the dashboard is not built</title></head>
<body><h1>The dashboard is not built</h1>
<p>This server runs from a checkout whose frontend has not been built yet. Build it, then load this page
again:</p>
<pre>make setup</pre>
<p>The API works without it: <a href="/api/v1/schema/">/api/v1/schema/</a>.
So does the <a href="/console/">console</a>.</p>
</body></html>
"""


@require_safe
@never_cache
@ensure_csrf_cookie
def dashboard(request: HttpRequest) -> HttpResponse:
    """The built page with the CSRF cookie set; 503 with the command that builds it when it is not built.

    A path that names a file (`/robots.txt`) is no client route: 404.
    """
    if "." in request.path.rsplit("/", 1)[-1]:
        raise Http404(request.path)
    page = Path(settings.FRONTEND_DIST) / "index.html"
    try:
        return HttpResponse(page.read_bytes(), content_type="text/html; charset=utf-8")
    except FileNotFoundError:
        return HttpResponse(_NOT_BUILT, status=503)


def not_found_page(request: HttpRequest) -> HttpResponse:
    """404 for a file that does not exist."""
    return HttpResponse("Not found.\n", status=404, content_type="text/plain; charset=utf-8")
