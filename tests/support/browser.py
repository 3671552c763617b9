"""A real Chromium, signed in to the live platform; whatever it complains of fails the test."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Response,
    StorageState,
    expect,
    sync_playwright,
)

from tests.support.platform import LivePlatform

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
expect.set_options(timeout=60_000)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """The machine's Chromium or Chrome; in CI its absence is an error, elsewhere it is said."""
    path = next((found for name in CHROMIUMS if (found := shutil.which(name))), None)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("No Chromium on this machine.")
        pytest.skip("skipped for want of a Chromium or Chrome: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def session(chromium: Browser, platform: LivePlatform) -> StorageState:
    """The cookies of somebody who signed in by the page."""
    context = chromium.new_context(base_url=platform.url)
    sign_in(context.new_page(), platform)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def page(chromium: Browser, platform: LivePlatform, session: StorageState) -> Iterator[Page]:
    """A signed-in page. Whatever the browser complains of during the test fails it."""
    yield from _page(chromium, platform, session, "light")


@pytest.fixture
def dark_page(chromium: Browser, platform: LivePlatform, session: StorageState) -> Iterator[Page]:
    """The same on a machine that likes it dark."""
    yield from _page(chromium, platform, session, "dark")


def _page(
    chromium: Browser, platform: LivePlatform, session: StorageState, scheme: Literal["light", "dark"]
) -> Iterator[Page]:
    context = chromium.new_context(
        base_url=platform.url,
        color_scheme=scheme,
        storage_state=session,
        viewport={"width": 1440, "height": 900},
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    complaints: list[str] = []

    def said(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    def answered(response: Response) -> None:
        if response.status >= 500:
            complaints.append(f"{response.status} {response.url}")

    page.on("console", said)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("response", answered)
    yield page
    context.close()
    assert not complaints


def sign_in(page: Page, platform: LivePlatform) -> None:
    """The overview is shown."""
    page.goto("/login")
    page.get_by_label("User name").fill(platform.username)
    page.get_by_label("Password", exact=True).fill(platform.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name=re.compile("Hello"))).to_be_visible()


def check_page(page: Page, path: str) -> None:
    """The page at this path has a heading, has loaded, and breaks no rule of WCAG 2.2 AA that axe knows."""
    if not AXE.is_file():
        if os.environ.get("CI"):
            pytest.fail("axe-core is not installed: npm ci in frontend/")
        pytest.skip("skipped for want of axe-core: run npm ci in frontend/")
    page.goto(path)
    check_shown(page)


def check_shown(page: Page) -> None:
    """The same of what is shown now."""
    page.wait_for_load_state("networkidle")
    expect(page.locator("h1")).to_be_visible()
    expect(page.locator('[data-face="loading"]')).to_have_count(0)
    page.evaluate(AXE.read_text())
    found = page.evaluate("rules => axe.run(document, { runOnly: rules })", RULES)
    assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found["violations"]] == []
