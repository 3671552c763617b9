"""`flexai secrets`: a value goes in by a pipe, a file or a prompt, and is never printed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.cli.test_account import _until, _until_echo_is_off, on_a_terminal
from tests.support.http_stub import Stub

VALUE = "hf_correct-horse"


def test_a_secret_is_set_listed_and_removed(flexai: Shell, stub: Stub) -> None:
    assert "flexai secrets set" in flexai("secrets", "ls").err
    done = flexai("secrets", "set", "HF_TOKEN", stdin=VALUE + "\n")
    assert done.code == 0, done.err
    assert "secrets: [HF_TOKEN]" in done.err
    assert stub.secrets == {"HF_TOKEN": VALUE}
    listed = [flexai("secrets", "ls", *more) for more in ([], ["--json"], ["--team", "vision"])]
    assert "HF_TOKEN" in listed[0].out
    assert listed[1].json[0]["name"] == "HF_TOKEN"
    assert flexai("secrets", "rm", "HF_TOKEN").code == 0
    assert stub.secrets == {}
    assert flexai("secrets", "rm", "HF_TOKEN").code == 4
    for one in (done, *listed):
        assert VALUE not in one.out + one.err


@pytest.mark.parametrize(("given", "kept"), [("a\r\n", "a"), ("a\n b\t\n\n", "a\n b\t\n"), (" a ", " a ")])
def test_of_a_pipe_the_last_line_end_is_no_part_of_the_value(
    flexai: Shell, stub: Stub, given: str, kept: str
) -> None:
    assert flexai("secrets", "set", "X", stdin=given).code == 0
    assert stub.secrets == {"X": kept}


def test_a_file_is_kept_as_it_is(flexai: Shell, stub: Stub, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"-----BEGIN-----\r\nabc\n-----END-----\n")
    assert flexai("secrets", "set", "KEY", "--file", str(key)).code == 0
    assert stub.secrets == {"KEY": key.read_bytes().decode()}
    key.write_bytes(b"\xff\xfe")
    done = flexai("secrets", "set", "KEY", "--file", str(key))
    assert (done.code, "base64" in done.err) == (2, True)


def test_on_a_terminal_the_value_is_asked_for_and_not_shown(flexai: Shell, stub: Stub) -> None:
    with on_a_terminal(flexai, "secrets", "set", "HF_TOKEN") as (master, process):
        shown = _until(master, b"Value of HF_TOKEN")
        _until_echo_is_off(master)
        os.write(master, VALUE.encode() + b"\n")
        shown += _until(master, b"is set")
        assert process.wait(60) == 0
    assert stub.secrets == {"HF_TOKEN": VALUE}
    assert VALUE.encode() not in shown


def test_an_argument_is_no_place_for_a_value(flexai: Shell, stub: Stub) -> None:
    assert flexai("secrets", "set", "HF_TOKEN", VALUE).code == 2
    assert stub.secrets == {}
