"""What replicas say of themselves: read with bounds, and never believed where it makes no sense."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from node_agent.progress import MOST_BYTES, ProgressFile, Said
from tests.agent.test_outbox import Receiver, a_track


@pytest.fixture
def file(tmp_path: Path) -> ProgressFile:
    return ProgressFile(str(tmp_path / "words"))


def write(file: ProgressFile, *lines: object, mode: str = "a") -> None:
    with open(file.path, mode) as words:
        words.writelines(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)


def test_lines_that_are_appended_add_up(file: ProgressFile) -> None:
    assert not file.look()
    write(file, {"step": 10, "throughput": 12.5}, {"step": 20, "loss": 0.25, "checkpoint": "saved"})
    assert file.look()
    assert (file.said.step, file.said.throughput_milli, file.said.loss) == (20, 12_500, 0.25)
    assert file.said.saved_step == 20
    assert abs((file.said.saved_at or 0) / 1000 - time.time()) < 60
    assert not file.look()
    before = file.said.saved_at
    write(file, {"step": 30})
    assert file.look()
    assert (file.said.step, file.said.saved_step, file.said.saved_at) == (30, 20, before)


@pytest.mark.parametrize(("first", "second"), [(1, 2), (9, 10), (100, 7)])
def test_a_file_written_anew_is_read_from_its_beginning(file: ProgressFile, first: int, second: int) -> None:
    write(file, {"step": first}, mode="w")
    assert file.look()
    write(file, {"step": second}, mode="w")
    os.utime(file.path, ns=(1, 1))
    assert file.look()
    assert file.said.step == second


def test_a_last_line_without_its_end_counts_once_it_is_whole(file: ProgressFile) -> None:
    Path(file.path).write_text('{"step": 1}\n{"ste')
    assert file.look()
    assert file.said.step == 1
    with open(file.path, "a") as words:
        words.write('p": 2}')
    assert file.look()
    assert (file.said.step, file.said.problem) == (2, "")


def test_a_checkpoint_is_being_saved_until_it_is_saved(file: ProgressFile) -> None:
    write(file, {"step": 5, "checkpoint": "saving"})
    file.look()
    assert (file.said.saving, file.said.saved_at) == (True, None)
    write(file, {"step": 6, "checkpoint": "saved", "checkpoint_step": 5, "checkpoint_at": time.time() - 30})
    file.look()
    assert (file.said.saving, file.said.saved_step) == (False, 5)
    assert 25 < time.time() - (file.said.saved_at or 0) / 1000 < 35


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({"step": -1}, "step -1 was refused"),
        ({"step": 1.5}, "step 1.5 was refused"),
        ({"step": 10**300}, "was refused: it is a whole number"),
        ({"step": True}, "step was refused: it is not a number"),
        ({"step": "many"}, "step was refused: it is not a number"),
        ({"throughput": 1e300}, "throughput 1e+300 was refused"),
        ({"throughput": -5}, "throughput -5 was refused"),
        ('{"loss": NaN}', "loss was refused: it is not a finite number"),
        ('{"loss": -1e999}', "loss was refused: it is not a finite number"),
        ({"loss": 1e20}, "loss 1e+20 was refused"),
        ({"checkpoint": "maybe"}, "checkpoint was refused: it is saving or saved"),
        ({"checkpoint": "saved", "checkpoint_at": time.time() + 1e6}, "checkpoint_at was refused"),
        ("root:x:0:0", "A line of 10 bytes is not a JSON object"),
        ("[" * 3000, "A line of 3000 bytes is not a JSON object"),
        ("[1]", "is not a JSON object"),
        ('{"step": 1, "note": "' + "x" * 5000 + '"}', "at most 4096 are read"),
    ],
)
def test_what_makes_no_sense_is_refused_and_said(file: ProgressFile, line: object, why: str) -> None:
    write(file, {"step": 7, "loss": 1.0, "throughput": 3})
    file.look()
    write(file, line)
    assert file.look()
    assert why in file.said.problem
    assert len(file.said.problem) <= 200
    assert (file.said.step, file.said.loss, file.said.throughput_milli) == (7, 1.0, 3000)
    assert file.said.saved_at is None
    write(file, {"step": 8})
    assert file.look()
    assert (file.said.step, file.said.problem) == (8, "")


def test_one_wrong_value_costs_the_others_nothing(file: ProgressFile) -> None:
    write(file, '{"step": 12, "loss": NaN, "throughput": 4}')
    file.look()
    assert (file.said.step, file.said.throughput_milli, file.said.loss) == (12, 4000, None)
    assert "loss" in file.said.problem


def test_a_million_steps_a_second_are_read_at_their_end(file: ProgressFile) -> None:
    write(file, *({"step": step} for step in range(20_000)))
    assert Path(file.path).stat().st_size > 3 * MOST_BYTES
    began = time.monotonic()
    assert file.look()
    assert time.monotonic() - began < 1
    assert file.said.step == 19_999
    assert "bytes were left out" in file.said.problem


@pytest.mark.parametrize("kind", ["link", "second name", "pipe", "folder"])
def test_only_a_plain_file_of_its_own_is_read(file: ProgressFile, tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"step": 99}\n')
    if kind == "link":
        os.symlink(secret, file.path)
    elif kind == "second name":
        os.link(secret, file.path)
    elif kind == "pipe":
        os.mkfifo(file.path)
    else:
        os.mkdir(file.path)
    assert file.look()
    assert file.said.step is None
    assert file.said.problem.startswith("The progress file")


def test_progress_is_sent_with_or_without_moves_and_again_until_it_is_acknowledged() -> None:
    receiver = Receiver()
    track = a_track("a", b"", "starting", "running")
    track.progress = Said(step=3).report(track.key, at=5)
    receiver.outbox.touch(track)
    (first,) = receiver.all()
    assert [item.state for item in first.items] == ["starting", "running"]
    assert [item.step for item in first.progress] == [3]
    receiver.outbox.acknowledge(first.seq)
    track.progress = Said(step=4).report(track.key, at=6)
    receiver.outbox.touch(track)
    (second,) = receiver.all()
    assert ([item.step for item in second.progress], second.items) == ([4], [])
    receiver.outbox.restart([track])
    (again,) = receiver.all()
    assert [item.step for item in again.progress] == [4]
    receiver.outbox.acknowledge(again.seq)
    receiver.outbox.restart([track])
    assert receiver.all() == []
