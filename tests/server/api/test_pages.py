"""The dashboard's files: which of them browsers keep for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from whitenoise.middleware import WhiteNoiseMiddleware


@pytest.fixture
def files(tmp_path: Path, settings: Any) -> WhiteNoiseMiddleware:
    """The static files as they are served, with a build of the dashboard and a file of another app."""
    for name in (
        "app/assets/index-ClN3bxzD.js", "app/assets/chart-7_nC-uP9.css", "app/assets/inter-wght-Dx4kXJAl.woff2",
        "app/assets/plain.js", "app/theme.js", "admin/css/base-12345678.css",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    settings.STATIC_ROOT = str(tmp_path)
    settings.WHITENOISE_USE_FINDERS = False
    return WhiteNoiseMiddleware(lambda request: HttpResponse(status=404))


@pytest.mark.parametrize("name", ["index-ClN3bxzD.js", "chart-7_nC-uP9.css", "inter-wght-Dx4kXJAl.woff2"])
def test_files_with_a_hash_in_their_name_are_kept_for_good(files: WhiteNoiseMiddleware, name: str) -> None:
    answer = files(_get(f"/static/app/assets/{name}"))
    assert answer.status_code == 200
    assert answer["Cache-Control"] == f"max-age={10 * 365 * 24 * 3600}, public, immutable"


@pytest.mark.parametrize("path", ["app/assets/plain.js", "app/theme.js", "admin/css/base-12345678.css"])
def test_others_are_asked_for_again(files: WhiteNoiseMiddleware, path: str) -> None:
    answer = files(_get(f"/static/{path}"))
    assert answer.status_code == 200
    assert "immutable" not in answer["Cache-Control"]


def test_the_browsers_own_wish_for_an_icon_leads_to_the_one_there_is(client: Client) -> None:
    answer = client.get("/favicon.ico")
    assert (answer.status_code, answer["Location"]) == (301, "/static/app/favicon.svg")


def _get(path: str) -> HttpRequest:
    return RequestFactory().get(path)
