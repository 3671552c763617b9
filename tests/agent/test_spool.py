"""State and log files: whole lines, a reserved size, a bounded log that says what it left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node_agent import logs, spool


def test_moves_are_read_as_they_were_recorded(tmp_path: Path) -> None:
    base = f"{tmp_path}/a.0.1"
    state = spool.StateFile(base)
    assert spool.read_moves(base) == []
    state.append({"state": "starting", "pid": 7})
    state.append({"state": "running"})
    assert spool.read_moves(base) == [{"state": "starting", "pid": 7}, {"state": "running"}]
    assert os.stat(f"{base}.state").st_size == spool.STATE_BYTES


def test_making_the_state_file_is_the_fence(tmp_path: Path) -> None:
    base = f"{tmp_path}/a.0.1"
    first = spool.StateFile(base)
    with pytest.raises(spool.AlreadyStartedError):
        spool.StateFile(base)
    del first


def test_a_half_written_move_is_not_read(tmp_path: Path) -> None:
    base = f"{tmp_path}/a.0.1"
    spool.StateFile(base).append({"state": "starting"})
    with open(f"{base}.state", "r+b") as file:
        file.seek(len(b'{"state":"starting"}\n'))
        file.write(b'{"state":"runn')
    assert spool.read_moves(base) == [{"state": "starting"}]


def test_a_stop_request_does_not_disturb_the_moves(tmp_path: Path) -> None:
    base = f"{tmp_path}/a.0.1"
    state = spool.StateFile(base)
    state.append({"state": "starting"})
    assert state.stop_request() == {}
    spool.write_stop_request(base, {"outcome": "preempted", "grace_ms": 5})
    assert state.stop_request() == {"outcome": "preempted", "grace_ms": 5}
    assert spool.read_moves(base) == [{"state": "starting"}]


def test_moves_never_run_into_the_stop_request(tmp_path: Path) -> None:
    state = spool.StateFile(f"{tmp_path}/a.0.1")
    move: spool.Move = {"state": "running", "sentence": "x" * 1500}
    state.append(move)
    state.append(move)
    with pytest.raises(OSError, match="3584"):
        state.append(move)
    assert state.stop_request() == {}


@pytest.mark.parametrize("name", ["att-1.0.1", "a.b.c.12.3", "x_y.1.22"])
def test_file_names_are_undone(name: str) -> None:
    key = spool.parse_file_name(name)
    assert key is not None
    assert spool.file_name(*key) == name


@pytest.mark.parametrize("text", ["", ".", "..", "../x", "a/b", ".hidden", "a\0b", "x" * 101, "ä"])
def test_unsafe_names_are_told(text: str) -> None:
    assert not spool.is_safe_name(text)


def test_a_log_is_kept_up_to_its_limit_and_says_what_was_dropped(tmp_path: Path) -> None:
    log = logs.LogFile(f"{tmp_path}/log", limit=1000)
    for _ in range(30):
        assert log.append(b"x" * 99 + b"\n") == b""
    log.close()
    data = (tmp_path / "log").read_bytes()
    assert len(data) <= 1000
    assert data.startswith(b"x" * 99 + b"\n")
    kept = 1000 - logs.LAST_LINE_BYTES
    assert data.endswith(
        f"[flexai] {3000 - kept} bytes of log were dropped: the limit is 1000 bytes.\n".encode()
    )
    assert log.size == len(data)


def test_a_log_within_its_limit_is_untouched(tmp_path: Path) -> None:
    log = logs.LogFile(f"{tmp_path}/log", limit=4096)
    log.append(b"\x00\xff\r\n")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"\x00\xff\r\n"


def test_without_output_there_is_no_file(tmp_path: Path) -> None:
    log = logs.LogFile(f"{tmp_path}/log", limit=4096)
    log.close()
    assert not (tmp_path / "log").exists()
    assert logs.read_piece(f"{tmp_path}/log", 0, 10) == b""
    assert logs.size_of(f"{tmp_path}/log") == 0


def test_pieces_are_read_from_an_offset(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"0123456789")
    assert logs.read_piece(f"{tmp_path}/log", 3, 4) == b"3456"
    assert logs.read_piece(f"{tmp_path}/log", 10, 4) == b""
