"""What a job says from inside, as its agent reads it."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flexai.client import inside
from node_agent.progress import ProgressFile


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProgressFile:
    monkeypatch.setattr(inside, "_teller", inside._Teller())
    monkeypatch.setenv("FLEXAI_PROGRESS_FILE", str(tmp_path / "words"))
    monkeypatch.setenv("FLEXAI_PREEMPT_FILE", str(tmp_path / "preempt"))
    return ProgressFile(str(tmp_path / "words"))


def test_words_add_up_and_the_agent_understands_them(file: ProgressFile) -> None:
    inside.progress(100, throughput=12.5, loss=0.5)
    inside.progress(checkpoint="saving")
    assert file.look()
    assert (file.said.step, file.said.throughput_milli, file.said.loss, file.said.saving) == (
        100,
        12_500,
        0.5,
        True,
    )
    inside.progress(checkpoint="saved")
    assert file.look()
    assert (file.said.saving, file.said.saved_step, file.said.problem) == (False, 100, "")
    saved = file.said.saved_at
    inside.progress(101, checkpoint="saving")
    file.look()
    assert (file.said.step, file.said.saved_at) == (101, saved)


def test_a_loss_that_is_no_number_is_said_and_ends_nothing(file: ProgressFile) -> None:
    inside.progress(3, loss=math.nan)
    file.look()
    assert file.said.step == 3
    assert "loss was refused" in file.said.problem


def test_what_is_no_number_and_no_word_is_refused(file: ProgressFile) -> None:
    with pytest.raises(TypeError):
        inside.progress(1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="saving"):
        inside.progress(checkpoint="done")  # type: ignore[arg-type]
    assert not os.path.exists(file.path)


def test_a_full_speed_loop_writes_seldom_and_its_last_words_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "words"
    loop = "from flexai.client.inside import progress\nfor step in range(200_000): progress(step)"
    subprocess.run(
        [sys.executable, "-c", loop], check=True, env={**os.environ, "FLEXAI_PROGRESS_FILE": str(path)}
    )
    file = ProgressFile(str(path))
    assert file.look()
    assert file.said.step == 199_999


def test_outside_a_job_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLEXAI_PROGRESS_FILE", raising=False)
    monkeypatch.delenv("FLEXAI_PREEMPT_FILE", raising=False)
    inside.progress(1, checkpoint="saved")
    assert not inside.preempted()


def test_who_is_asked_for_its_chips_hears_of_it(file: ProgressFile, tmp_path: Path) -> None:
    assert not inside.preempted()
    (tmp_path / "preempt").touch()
    assert inside.preempted()


LOOP = """
import sys, time
from flexai.client.inside import preempted
preempted()
print("ready", flush=True)
while not preempted():
    time.sleep(0.01)
print("saved", flush=True)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
@pytest.mark.parametrize("notice", [True, False])
def test_the_notice_ends_nobody_who_listens_and_a_cancel_does(
    tmp_path: Path, name: str, notice: bool
) -> None:
    told = {"FLEXAI_PREEMPT_FILE": str(tmp_path / "preempt"), "FLEXAI_PREEMPT_SIGNAL": name}
    with subprocess.Popen(
        [sys.executable, "-c", LOOP], stdout=subprocess.PIPE, text=True, env={**os.environ, **told}
    ) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "ready\n"
        if notice:
            (tmp_path / "preempt").touch()
        job.send_signal(signal.Signals[name])
        try:
            said, _ = job.communicate(timeout=60)
        finally:
            job.kill()
    assert (said, job.returncode) == (("saved\n", 0) if notice else ("", -signal.Signals[name]))
