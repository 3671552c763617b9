"""Signing in, tokens, and what happens where nobody is signed in or an extra is missing."""

from __future__ import annotations

import json
import os
import pty
import select
import stat
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.conftest import Shell
from tests.support.http_stub import PASSWORD, TOKEN, Stub


def test_login_with_a_token_stores_it_for_its_owner_alone(stranger: Shell, stub: Stub) -> None:
    done = stranger("login", stub.url, "--token", "-", stdin=TOKEN + "\n")
    assert done.code == 0, done.err
    assert "as ana (Acme)" in done.err
    assert "One user runs all jobs" in done.err
    path = stranger.home / ".config/flexai/login.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stranger("ps", "--json").json == []
    assert stranger("logout").code == 0
    assert stranger("ps").code == 3


def test_a_wrong_token_is_not_stored(stranger: Shell, stub: Stub) -> None:
    done = stranger("login", stub.url, "--token", "flx_wrong")
    assert done.code == 3
    assert "not valid" in done.err
    assert not (stranger.home / ".config/flexai/login.json").exists()


def test_login_with_a_password_from_stdin(stranger: Shell, stub: Stub) -> None:
    arguments = ("login", stub.url, "--username", "ana", "--password-stdin")
    assert stranger(*arguments, stdin="wrong\n").code == 3
    assert stranger(*arguments, stdin=PASSWORD + "\n", XDG_CONFIG_HOME=str(stranger.home / "x")).code == 0
    assert json.loads((stranger.home / "x/flexai/login.json").read_text()) == {
        "url": stub.url,
        "token": TOKEN,
    }


def test_without_a_terminal_nothing_is_asked(stranger: Shell, stub: Stub) -> None:
    done = stranger("login", stub.url)
    assert done.code == 2
    assert "--token -" in done.err
    assert stranger("login").code == 2


def test_on_a_terminal_username_and_password_are_asked_for(stranger: Shell, stub: Stub) -> None:
    with on_a_terminal(stranger, "login", stub.url, "--username", "ana") as (master, process):
        shown = _until(master, b"Password")
        _until_echo_is_off(master)
        os.write(master, PASSWORD.encode() + b"\n")
        shown += _until(master, b"Signed in")
        assert process.wait(60) == 0
    assert PASSWORD.encode() not in shown


def test_on_a_terminal_a_code_is_shown_to_be_typed_in_the_browser_that_opens(
    stranger: Shell, stub: Stub
) -> None:
    stub.sign_in = ["authorization_pending", "granted"]
    opened = stranger.home / "opened"
    browser = stranger.home / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}\n')
    browser.chmod(0o755)
    with on_a_terminal(stranger, "login", stub.url, BROWSER=str(browser), HOSTNAME="desk") as (
        master,
        process,
    ):
        shown = _until(master, b"Signed in")
        assert process.wait(60) == 0
    assert b"BCDF-GHJK" in shown
    assert opened.read_text() == f"{stub.url}/connect"
    asked = next(body for method, path, body, _ in stub.seen if path.endswith("/sign-ins"))
    assert asked == {"machine": "desk"}
    stored = json.loads((stranger.home / ".config/flexai/login.json").read_text())
    assert stored == {"url": stub.url, "token": TOKEN}


def test_a_sign_in_that_is_refused_in_the_browser_stores_nothing(stranger: Shell, stub: Stub) -> None:
    stub.sign_in = ["access_denied"]
    with on_a_terminal(stranger, "login", stub.url, "--no-browser") as (master, process):
        shown = _until(master, b"access_denied")
        assert process.wait(60) == 3
    assert f"{stub.url}/connect".encode() in shown
    assert not (stranger.home / ".config/flexai/login.json").exists()


def test_a_server_that_knows_no_sign_in_by_browser_is_said(stranger: Shell, stub: Stub) -> None:
    with on_a_terminal(stranger, "login", stub.url) as (master, process):
        _until(master, b"--username")
        assert process.wait(60) == 1


def test_an_announcement_is_said_once_and_to_people_alone(flexai: Shell, stub: Stub) -> None:
    level = {"starts_at": "2026-01-02T03:04:05Z", "ends_at": "2036-01-02T03:04:05Z"}
    stub.announcements = [
        {"id": "ann-2", "text": "new", "level": "urgent", **level},
        {"id": "ann-1", "text": "a \x1b[31mred\x1b[0m word", "level": "info", **level},
    ]
    done = flexai("ps", "--json")
    assert (done.json, done.err) == ([], "")
    done = flexai("ps")
    odd = "\N{REPLACEMENT CHARACTER}"
    assert done.err.splitlines()[:2] == [f"Announcement: a {odd}[31mred{odd}[0m word", "Urgent: new"]
    assert "Urgent" not in flexai("ps").err
    stub.announcements.insert(0, {"id": "ann-3", "text": "newer", "level": "warning", **level})
    done = flexai("login", stub.url, "--token", "-", stdin=TOKEN + "\n")
    assert done.err.splitlines()[-1] == "Warning: newer"


def test_what_cannot_be_kept_is_said_again(flexai: Shell, stub: Stub) -> None:
    stub.announcements = [{"id": "ann-1", "text": "news", "level": "info", "starts_at": "", "ends_at": ""}]
    (flexai.home / ".config").write_text("a file where a folder would be")
    for _ in range(2):
        done = flexai("ps")
        assert done.code == 0
        assert "news" in done.err
        assert "said again" in done.err


@contextmanager
def on_a_terminal(
    shell: Shell, *arguments: str, **more: str
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The command runs on a terminal of its own; it has ended afterwards, whatever came."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        shell.command(*arguments), stdin=slave, stdout=slave, stderr=slave, env={**shell.variables(), **more}
    )
    os.close(slave)
    try:
        yield master, process
    finally:
        process.kill()
        process.wait(60)
        os.close(master)


def test_nobody_signed_in_is_said_with_what_to_do(stranger: Shell) -> None:
    done = stranger("ps", "--json")
    assert done.code == 3
    assert "flexai login" in done.err
    assert "flexai up" in done.err
    assert done.json["error"]["code"] == "not_signed_in"


def test_a_platform_on_this_machine_is_found(stranger: Shell, stub: Stub) -> None:
    _local(stranger, stub.url, 0o600)
    assert stranger("ps", "--json").json == []
    elsewhere = stranger("ps", FLEXAI_URL="http://127.0.0.1:1")
    assert elsewhere.code == 3, "a stored token must not go to another server"
    stranger("login", "http://127.0.0.1:1", "--token", "x")
    assert stranger("ps").code == 0


def test_a_login_that_others_can_read_is_warned_about(stranger: Shell, stub: Stub) -> None:
    _local(stranger, stub.url, 0o644)
    done = stranger("ps")
    assert done.code == 0
    assert "chmod 600" in done.err


def test_a_damaged_login_is_an_error_with_its_path(stranger: Shell) -> None:
    path = stranger.home / ".config/flexai/login.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    done = stranger("ps")
    assert done.code == 1
    assert str(path) in done.err


def test_no_server_is_69(stranger: Shell) -> None:
    done = stranger("ps", FLEXAI_URL="http://127.0.0.1:1", FLEXAI_TOKEN="x")
    assert done.code == 69
    assert "http://127.0.0.1:1" in done.err


def test_tokens(flexai: Shell, stub: Stub) -> None:
    done = flexai("token", "create", "ci", "--read-only", "--days", "7", "--team", "vision")
    assert done.out == TOKEN + "\n"
    assert stub.seen[-1][2] == {"name": "ci", "scopes": ["read"], "expires_in_days": 7, "team": "vision"}
    out = flexai("token", "list").out
    assert "tok-1" in out
    assert TOKEN not in out
    assert flexai("token", "revoke", "tok-1").code == 0
    assert flexai("token", "list", "--json").json == []


def test_version_needs_no_server(stranger: Shell, flexai: Shell) -> None:
    assert stranger("--version").out.startswith("flexai ")
    assert stranger("version").code == 0
    assert flexai("version", "--json").json["server"] == "0.1.0"


def test_a_missing_extra_is_named(stranger: Shell) -> None:
    done = stranger("up", PYTHONPATH=_with_entry_point(stranger, "import not_installed_here"))
    assert done.code == 1
    assert "not_installed_here" in done.err
    assert "pip install 'flexai[server]'" in done.err


def test_an_extension_gets_its_arguments(stranger: Shell) -> None:
    source = "def up(port: int = 1) -> None:\n    print(port + 1)\n"
    path = _with_entry_point(stranger, source)
    assert stranger("up", "--port", "41", PYTHONPATH=path).out == "42\n"
    assert "--port" in stranger("up", "--help", PYTHONPATH=path).out


def test_help_names_every_command_and_imports_no_server(stranger: Shell) -> None:
    path = _with_entry_point(stranger, "raise SystemExit(9)")
    done = stranger("--help", PYTHONPATH=path)
    assert done.code == 0
    commands = [
        "run",
        "apply",
        "ps",
        "logs",
        "explain",
        "stop",
        "nodes",
        "top",
        "quota",
        "login",
        "token",
        "version",
    ]
    for name in [*commands, "up", "demo", "agent"]:
        assert f" {name} " in done.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there_for(stranger: Shell, shell: str) -> None:
    done = stranger("", _FLEXAI_COMPLETE=f"complete_{shell}", COMP_WORDS="flexai re", COMP_CWORD="1",
                    _TYPER_COMPLETE_ARGS="flexai re", _TYPER_COMPLETE_FISH_ACTION="get-args")  # fmt: skip
    assert "requeue" in done.out
    assert "resume" in done.out


def _local(shell: Shell, url: str, mode: int) -> None:
    data = shell.home / "data"
    data.mkdir()
    (data / "client.json").write_text(json.dumps({"url": url, "token": TOKEN}))
    (data / "client.json").chmod(mode)
    pointer = shell.home / ".config/flexai/local.json"
    pointer.parent.mkdir(parents=True)
    pointer.symlink_to(data / "client.json")


def _with_entry_point(shell: Shell, source: str) -> str:
    """A PYTHONPATH on which a distribution declares `up` to be in a module with this source."""
    site = shell.home / "site"
    (site / "other-1.dist-info").mkdir(parents=True)
    (site / "other-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    (site / "other-1.dist-info/entry_points.txt").write_text("[flexai.commands]\nup = other_commands:up\n")
    (site / "other_commands.py").write_text(source)
    return os.pathsep.join([str(site), shell.variables()["PYTHONPATH"]])


def _until_echo_is_off(master: int) -> None:
    deadline = time.monotonic() + 60
    while termios.tcgetattr(master)[3] & termios.ECHO:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _until(master: int, text: bytes) -> bytes:
    """What the terminal showed until `text` came."""
    shown, deadline = b"", time.monotonic() + 60
    while text not in shown:
        ready, _, _ = select.select([master], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, shown
        shown += os.read(master, 4096)
    return shown


def test_usage_is_told_in_hours_and_money(flexai: Shell) -> None:
    done = flexai("usage", "--by", "team", "--from", "2026-03-01")
    assert done.code == 0, done.err
    line = next(line for line in done.out.splitlines() if "vision" in line)
    assert line.split()[-6:] == ["1.50", "0.00", "50", "%", "0.50", "3.75"]
    assert "\x1b[31m" not in done.out, "what a tenant wrote does not colour the terminal"
    assert flexai("usage", "--json").json["total"]["chip_ms"] == 5_400_000


def test_a_budget_that_is_asked_for_is_told_in_the_currency(flexai: Shell) -> None:
    done = flexai("quota", "requests")
    assert done.code == 0, done.err
    assert "1,250.50 CHF" in done.out
    assert flexai("quota", "requests", "--json").json[0]["asked"]["money_micro"] == 1_250_500_000
