"""Signing in a terminal from a browser, and one's account: the command, the pages and the server as they run."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from playwright.sync_api import Page, expect

from flexai.client import Client
from tests.support.browser import check_shown
from tests.support.platform import LivePlatform, own_environment

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
HIDDEN = {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "XDG_CONFIG_HOME"}
"""The command opens no browser and finds no login: the test's own are used."""
TERMINAL_SECONDS = 60


@dataclass
class Terminal:
    """A command on a terminal of its own, and what that shows."""

    master: int
    process: subprocess.Popen[bytes]
    shown: str = field(default="")

    def until(self, pattern: str) -> re.Match[str]:
        """The first place where the pattern is shown. Fails when it does not come."""
        deadline = time.monotonic() + TERMINAL_SECONDS
        while (found := re.search(pattern, self.shown)) is None:
            ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, self.shown
            self.shown += os.read(self.master, 4096).decode(errors="replace")
        return found


@contextmanager
def a_login(home: Path, url: str) -> Iterator[Terminal]:
    """`flexai login URL` runs; it has ended afterwards, whatever came."""
    environment = {name: value for name, value in own_environment().items() if name not in HIDDEN}
    path = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])
    environment |= {"HOME": str(home), "HOSTNAME": "test-desk", "PYTHONPATH": path}
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "flexai.cli", "login", url],
        stdin=slave, stdout=slave, stderr=slave, env=environment,
    )  # fmt: skip
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        process.kill()
        process.wait(20)
        os.close(master)


def test_a_terminal_is_signed_in_by_typing_its_code_on_the_page(
    page: Page, platform: LivePlatform, tmp_path: Path
) -> None:
    with a_login(tmp_path, platform.url) as terminal:
        code = terminal.until(r"[A-Z]{4}-[A-Z]{4}").group()
        assert f"{platform.url}/connect" in terminal.shown
        page.goto("/connect")
        page.get_by_label("Code").fill("BBBB-BBBB")
        page.get_by_role("button", name="Next").click()
        expect(page.get_by_role("alert")).to_contain_text("No terminal waits with this code")
        page.get_by_label("Code").fill(code.lower())
        page.keyboard.press("Enter")
        expect(page.get_by_text("test-desk")).to_be_visible()
        expect(page.get_by_text("see and change all that you may")).to_be_visible()
        check_shown(page)
        assert terminal.process.poll() is None, "looking gives nothing"
        page.get_by_role("button", name="Sign it in").click()
        expect(page.get_by_role("status").filter(has_text="is signed in")).to_be_visible()
        terminal.until(r"Signed in.* as admin")
        assert terminal.process.wait(TERMINAL_SECONDS) == 0
    stored = json.loads((tmp_path / ".config/flexai/login.json").read_text())
    with Client(stored["url"], stored["token"]) as client:
        assert client.me()["user"]["username"] == platform.username
    page.goto("/account")
    row = page.get_by_role("row").filter(has_text="flexai login on test-desk")
    expect(row).to_contain_text("read and write")
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)


def test_a_second_factor_is_set_up_and_switched_off_on_the_account_page(
    dark_page: Page, platform: LivePlatform
) -> None:
    page = dark_page
    page.goto("/account")
    page.get_by_role("button", name="Set up").click()
    page.get_by_label("Password", exact=True).fill(platform.password)
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("img", name="QR code of the secret")).to_be_visible()
    check_shown(page)
    secret = page.get_by_test_id("totp-secret").inner_text()
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    code = TOTP(key, 6, SHA1(), 30).generate(int(time.time())).decode()
    page.get_by_label("A code that it shows").fill(code)
    page.get_by_role("button", name="Switch on").click()
    codes = page.get_by_label("Recovery codes").inner_text().split()
    assert len(codes) == 10
    page.get_by_role("button", name="I have kept them").click()
    expect(page.get_by_text("10 recovery codes are left")).to_be_visible()
    page.get_by_role("button", name="Switch off").click()
    page.get_by_label("Password", exact=True).fill(platform.password)
    page.get_by_label("Code").fill(codes[0])
    page.get_by_role("button", name="Switch off").click()
    expect(page.get_by_role("button", name="Set up")).to_be_visible()
