"""`flexai ps`, `logs`, `explain`, `top`, `nodes`, `quota`: what is shown, in 80 columns and as JSON."""

from __future__ import annotations

import io
import re
import sys
from datetime import UTC, datetime

import pytest

from flexai.cli import output
from tests.cli.conftest import Shell
from tests.support.http_stub import Stub


def test_ps_fits_80_columns_with_whole_ids(flexai: Shell, stub: Stub) -> None:
    for number, status in enumerate(["queued", "running", "failed", "timed_out"]):
        stub.add_job(
            "a-rather-long-name-of-a-job-that-goes-on" * 2, status=status, run_ms=65_000, index=number
        )
    done = flexai("ps", COLUMNS="80")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    for job in stub.jobs.values():
        assert job["id"] in done.out
        assert job["status"] in done.out
    assert "1m 05s" in done.out


def test_ps_as_json_is_what_the_api_said(flexai: Shell, stub: Stub) -> None:
    stub.page_size = 2
    jobs = [stub.add_job(f"j{number}") for number in range(5)]
    assert flexai("ps", "--json", "--all").json == jobs[::-1]
    assert [job["name"] for job in flexai("ps", "--json", "-n", "1").json] == ["j4"]
    assert flexai("ps", "--json", "--watch").code == 2


def test_empty_and_no_match_are_said_apart(flexai: Shell) -> None:
    assert "flexai run" in flexai("ps").err
    assert "filter" in flexai("ps", "-s", "running").err


def test_tenant_text_cannot_move_the_cursor(flexai: Shell, stub: Stub) -> None:
    stub.add_job("evil\x1b[2J\x07[bold]x[/bold]", sentence="\x1b]0;title\x07")
    done = flexai("ps")
    assert "\x1b" not in done.out
    assert "[bold]x[/bold]" in done.out


def test_a_log_colours_a_terminal_and_steers_it_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    log = "\x1b[1;31mred\x1b[0m\t1\r\n\x1b[2J\x1b]0;title\x07\x1b]52;c;cm0=\x1b\\\x9b2J\x08\x1bcend \x1b["
    monkeypatch.setattr(sys, "stdout", shown := Terminal())
    output.write_log(log)
    assert shown.getvalue() == "\x1b[1;31mred\x1b[0m\t1\r\n2Jcend ["
    monkeypatch.setattr(sys, "stdout", kept := io.StringIO())
    output.write_log(log)
    assert kept.getvalue() == log, "a file has it as it was"


def test_logs_by_name_take_the_newest(flexai: Shell, stub: Stub) -> None:
    for text in (b"old\n", b"new\n"):
        job = stub.add_job("train")
        stub.start(job).content = text
        stub.end(job)
    assert flexai("logs", "train").out == "new\n"
    assert flexai("logs", "-f", "train").out == "new\n"
    assert flexai("logs", "train", "--json").json["next_offset"] == 4
    done = flexai("logs", "nothing")
    assert done.code == 4
    assert "There is no job 'nothing'" in done.err
    assert flexai("logs", "job-nothing").code == 4


def test_a_task_is_found_by_the_name_that_ps_shows(flexai: Shell, stub: Stub) -> None:
    tasks = [stub.add_job("tune", set="set-1", index=index) for index in range(3)]
    assert "tune[1]" in flexai("ps").out
    stopped = flexai("stop", "tune[1]")
    assert f"{tasks[1]['id']}  tune[1]" in stopped.out + stopped.err
    missing = flexai("explain", "tune[7]")
    assert (missing.code, "There is no job 'tune[7]'" in missing.err) == (4, True)


def test_explain_says_the_reason_and_the_history_in_order(flexai: Shell, stub: Stub) -> None:
    job = stub.add_job()
    out = " ".join(flexai("explain", job["id"], COLUMNS="80").out.split())
    assert "the emptiest node of pool default has 5 free" in out
    assert "Place 2 in the queue" in out
    assert re.search(r"Expected to start in 12m \d\ds; in nine cases of ten within 45m \d\ds\.", out)
    assert out.index("Submitted by ana") < out.rindex("5 of 8 chips are free")
    assert len(flexai("explain", job["id"], "--json").json["events"]) == 2


def test_explain_says_what_the_job_says_of_itself(flexai: Shell, stub: Stub) -> None:
    now = datetime.now(UTC).isoformat()
    progress = {
        "at": now, "step": 12_000, "throughput": 350.5, "loss": 0.25, "saved_step": 11_900, "saved_at": now,
        "problem": "loss was refused: it is not a finite number.",
    }  # fmt: skip
    job = stub.add_job(status="running", attempt=1, progress=progress)
    out = " ".join(flexai("explain", job["id"], COLUMNS="120").out.split())
    assert "It says: step 12,000, loss 0.25, throughput 350.5, checkpoint saved at step 11,900" in out
    assert "refused: loss was refused" in out
    assert flexai("explain", job["id"], "--json").json["progress"]["step"] == 12_000


def test_top_and_nodes_show_chips_and_say_what_is_simulated(flexai: Shell) -> None:
    out = flexai("top", COLUMNS="80").out
    assert "49 %" in out
    assert "1.5/2 chips allocated" in out
    assert "train" in out
    assert len(flexai("top", "--json").json) == 4
    out = flexai("nodes", COLUMNS="80").out
    assert "sim simulated" in out
    assert max(map(len, out.splitlines())) <= 80
    assert [node["name"] for node in flexai("nodes", "--json").json] == ["n1", "sim"]


def test_nodes_are_taken_out_of_service_and_back(flexai: Shell, stub: Stub) -> None:
    assert "draining" in flexai("nodes", "drain", "n1", "--reason", "fan").out
    assert stub.seen[-1][2] == {"reason": "fan"}
    assert "cordoned" in flexai("nodes", "cordon", "n1").out
    assert flexai("nodes", "revoke", "n1", "--reason", "stolen").code == 0
    assert flexai("nodes", "revoke", "n1").code == 2, "a reason is needed"
    assert flexai("nodes", "return", "n1", "--json").json["status"] == "ready"
    assert flexai("nodes", "drain", "n1").code == 2
    assert flexai("nodes", "cordon", "other").code == 4


def test_quota_is_shown_and_changed_without_touching_the_rest(flexai: Shell, stub: Stub) -> None:
    assert "2.5" in flexai("quota").out
    done = flexai("quota", "set", "vision", "H100=0.5:8")
    assert done.code == 0, done.err
    assert stub.seen[-1][2]["quotas"] == [
        {"chip_type": "cpu", "guaranteed_milli": 2000, "limit_milli": None, "over_quota_weight": 1},
        {"chip_type": "H100", "guaranteed_milli": 500, "limit_milli": 8000},
    ]
    before = len(stub.seen)
    for wrong in ("H100", "H100=many", "H100=-1", "H100=0.00001", "H100=1:x"):
        assert flexai("quota", "set", "vision", wrong).code == 2
    assert len(stub.seen) == before


def test_stop_takes_names_ids_and_sets(flexai: Shell, stub: Stub) -> None:
    running = stub.add_job("a", status="running", attempt=1)
    tasks = [stub.add_job("b", set="set-1", index=number) for number in range(3)]
    tasks[1]["status"] = "succeeded"
    done = flexai("stop", "a", "set-1", "--reason", "wrong data")
    assert done.code == 0, done.err
    assert [running["status"]] + [task["status"] for task in tasks] == [
        "cancelling", "cancelled", "succeeded", "cancelled",
    ]  # fmt: skip
    assert stub.seen[-1][2] == {"reason": "wrong data"}
    done = flexai("stop", tasks[1]["id"])
    assert done.code == 1
    assert "already succeeded" in done.err


def test_one_refused_stop_does_not_keep_the_others(flexai: Shell, stub: Stub) -> None:
    ended, queued = stub.add_job("a", status="failed"), stub.add_job("b")
    done = flexai("stop", ended["id"], queued["id"], "--json")
    assert done.code == 1
    assert queued["status"] == "cancelled"
    assert "1 of 2 jobs were not changed" in done.err


def test_requeue_and_resume(flexai: Shell, stub: Stub) -> None:
    job = stub.add_job(status="failed")
    assert flexai("requeue", "train", "--json").json[0]["status"] == "queued"
    job["status"] = "held"
    assert flexai("resume", "train").code == 0
    assert job["status"] == "queued"
