"""`flexai run` and `flexai apply`: what is submitted, what is printed, and how they end."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from typer.main import get_command

from flexai.cli.extensions import ELSEWHERE
from flexai.cli.main import app
from tests.cli.conftest import Shell
from tests.support.http_stub import Stub


def test_run_prints_the_id_alone_on_stdout(flexai: Shell, stub: Stub) -> None:
    done = flexai("run", "--name", "hello", "--", "echo", "a b", "$HOME")
    assert done.code == 0
    assert done.out.strip() in stub.jobs
    assert "Submitted hello" in done.err
    assert stub.jobs[done.out.strip()]["spec"] == {"name": "hello", "commands": ["echo 'a b' '$HOME'"]}


def test_run_writes_every_option_into_the_spec(flexai: Shell, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('ü')")
    options = (
        "--name t --team vision -a H100:8 --fraction 0.5 --chip-memory 10GB --cpus 0.05 --memory 2GB --shm-size 1GB "
        "--nodes 2-4 --same-node --env A=1=2 -e FROM_HERE --file train.py --file lib/x.py=train.py "
        "--label k=v --pool a --pool b --priority 60 --preemptible --max-duration 2h --retries 3 --hold "
        "--after prep --after afterany:job-1 --matrix lr=1,2 --matrix b=x --secret HF_TOKEN --secret W=wandb"
    )
    done = flexai("run", *options.split(), "--", "python train.py", FROM_HERE="there")
    assert done.code == 0, done.err
    assert stub.jobs[done.out.strip()]["spec"] == {
        "name": "t",
        "team": "vision",
        "commands": ["python train.py"],
        "env": {"A": "1=2", "FROM_HERE": "there"},
        "secrets": {"HF_TOKEN": "HF_TOKEN", "W": "wandb"},
        "files": {"train.py": "print('ü')", "lib/x.py": "print('ü')"},
        "labels": {"k": "v"},
        "resources": {
            "accelerators": "H100:8", "fraction": 0.5, "chip_memory": "10GB", "cpus": 0.05, "memory": "2GB",
            "shm_size": "1GB",
        },
        "nodes": {"min": 2, "max": 4},
        "spread": False,
        "node_pools": ["a", "b"],
        "matrix": {"lr": ["1", "2"], "b": ["x"]},
        "priority": 60,
        "preemptible": True,
        "max_duration": "2h",
        "retry": {"limit": 3},
        "depends_on": [{"job": "prep"}, {"job": "job-1", "on": "afterany"}],
        "hold": True,
    }  # fmt: skip


def test_wrong_options_submit_nothing(flexai: Shell, stub: Stub) -> None:
    for wrong in (
        ["--cpus", "many"], ["--nodes", "a-b"], ["--env", "=x"], ["--env", "NOT_SET"], ["--label", "x"],
        ["--file", "absent.py"], ["--timeout", "10s"], ["--wait", "--timeout", "soon"],
    ):  # fmt: skip
        done = flexai("run", *wrong, "--", "true")
        assert done.code == 2, wrong
        assert done.err, wrong
        assert done.out == ""
    assert flexai("run").code != 0
    assert stub.jobs == {}


def test_a_refused_spec_names_the_field_and_the_fix(flexai: Shell, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("name: x\ncommands: [a]\nresources: {acelerators: H100}\n")
    done = flexai("apply", "-f", "job.yaml")
    assert done.code == 1
    assert "resources.acelerators: unknown key (did you mean accelerators?)" in done.err
    done = flexai("apply", "-f", "job.yaml", "--json")
    assert done.json["error"]["errors"][0]["field"] == "resources.acelerators"
    assert stub.jobs == {}


def test_wait_streams_the_log_and_exits_as_the_run_does(flexai: Shell, stub: Stub) -> None:
    def play(job: dict[str, object]) -> None:
        def later() -> None:
            time.sleep(0.2)
            log = stub.start(job)
            for number in range(5):
                log.content += f"step {number}\n".encode()
                time.sleep(0.05)
            stub.end(job, exit_code=7)

        threading.Thread(target=later).start()

    stub.on_submit = play
    done = flexai("run", "--wait", "--", "python", "train.py")
    assert done.code == 7
    assert done.out == "".join(f"step {number}\n" for number in range(5))
    assert "failed" in done.err
    done = flexai("run", "--wait", "--json", "--", "x")
    assert done.code == 7
    assert done.json["exit_code"] == 7
    assert "step 4" in done.err


def test_exit_codes_of_runs_without_one(flexai: Shell, stub: Stub) -> None:
    for exit_code, status, expected in (
        (-9, "failed", 137),
        (None, "cancelled", 1),
        (None, "failed", 1),
        (0, "", 0),
    ):
        stub.on_submit = lambda job, code=exit_code, status=status: stub.end(job, code, status)
        assert flexai("run", "--wait", "--", "x").code == expected


def test_a_job_that_does_not_start_in_time_is_stopped_with_75(flexai: Shell, stub: Stub) -> None:
    began = time.monotonic()
    done = flexai("run", "--wait", "--timeout", "1s", "--", "x")
    assert done.code == 75
    assert 1 <= time.monotonic() - began < 10
    assert [job["status"] for job in stub.jobs.values()] == ["cancelled"]
    assert "Not started within 1 s" in done.err


HEEDING_CTRL_C = ("env", "--default-signal=INT")
"""As on a terminal, also where these tests run in the background of a shell, which has it ignored."""


def test_ctrl_c_leaves_the_job_running_and_says_so(flexai: Shell, stub: Stub) -> None:
    stub.on_submit = lambda job: setattr(stub.start(job), "content", b"going\n")
    process = subprocess.Popen(
        [*HEEDING_CTRL_C, *flexai.command("run", "--wait", "--", "x")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=flexai.variables(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "going\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "The job goes on" in err
    assert [job["status"] for job in stub.jobs.values()] == ["running"]


def test_an_array_is_waited_for_as_a_whole(flexai: Shell, stub: Stub) -> None:
    stub.on_submit = lambda job: stub.end(job, exit_code=3 if job["index"] == 2 else 0)
    done = flexai("run", "--name", "sweep", "--array", "0-4", "--wait", "--", "x")
    assert done.code == 3
    assert done.err.count("succeeded") == 4
    assert "sweep[2]" in done.err


def test_dry_run_submits_nothing_and_says_whether_it_fits(flexai: Shell, stub: Stub) -> None:
    done = flexai("run", "--dry-run", "--deadline", "4h", "--", "x")
    assert "It may miss its deadline" in done.err
    assert (done.code, done.out) == (0, "")
    assert "fits" in done.err
    assert "1000MB → 954 MiB" in done.err
    assert "Or: On A100 it would cost less." in done.err
    assert "resources: {accelerators: 'A100:1'}" in done.err
    done = flexai("run", "--dry-run", "--json", "-a", "cpu:999", "--", "x")
    assert done.code == 1
    assert done.json["fits"] is False
    assert stub.jobs == {}


def test_apply_takes_several_documents_and_reads_local_files(
    flexai: Shell, stub: Stub, tmp_path: Path
) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "train.py").write_text("print(1)")
    (folder / "all.yaml").write_text(
        "name: one\ncommands: [python train.py]\nfiles: {train.py: {path: ./train.py}, note: text}\n"
        "retry: {limit: 1, on: [exit]}\nstart_after: 2026-01-01\n---\n---\n"
        '{"name": "two", "commands": ["x"]}\n'
    )
    done = flexai("apply", "-f", "jobs/all.yaml")
    assert done.code == 0, done.err
    one, two = (stub.jobs[line]["spec"] for line in done.out.split())
    assert one["files"] == {"train.py": "print(1)", "note": "text"}
    assert one["retry"] == {"limit": 1, "on": ["exit"]}
    assert one["start_after"] == "2026-01-01"
    assert two == {"name": "two", "commands": ["x"]}
    done = flexai("apply", "-f", "-", "--json", stdin='{"name": "three"}')
    assert [job["name"] for job in done.json] == ["three"]


def test_files_are_named_with_or_without_an_option(flexai: Shell, stub: Stub, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\ncommands: [x]\n")
    done = flexai("apply", "a.yaml", "-f", "b.yaml")
    assert [stub.jobs[line]["spec"]["name"] for line in done.out.split()] == ["a", "b"]
    done = flexai("apply", "--wait")
    assert (done.code, done.out) == (2, "")
    assert "flexai apply job.yaml" in done.err
    assert len(stub.jobs) == 2


def test_jobs_of_a_file_wait_for_exactly_those_that_stand_before_them(
    flexai: Shell, stub: Stub, tmp_path: Path
) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(
        "name: one\n---\nname: two\ndepends_on: one\n---\n"
        "name: three\ndepends_on: [{job: two, on: afterany}, elsewhere]\n"
    )
    done = flexai("apply", "-f", "all.yaml")
    assert done.code == 0, done.err
    one, two, three = done.out.split()
    assert stub.jobs[two]["spec"]["depends_on"] == [{"job": one}]
    assert stub.jobs[three]["spec"]["depends_on"] == [{"job": two, "on": "afterany"}, {"job": "elsewhere"}]
    path.write_text("name: late\ndepends_on: later\n---\nname: later\n")
    done = flexai("apply", "-f", "all.yaml")
    assert (done.code, done.out) == (2, "")
    assert "document 1" in done.err
    assert "'later', which does not stand before it" in done.err
    assert len(stub.jobs) == 3


def test_one_wrong_document_keeps_all_from_being_submitted(flexai: Shell, stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    for wrong in ("resources: {acelerators: x}", "resources: {accelerators: 'cpu:999'}"):
        path.write_text(f"name: fine\n---\nname: wrong\n{wrong}\n")
        done = flexai("apply", "-f", "all.yaml")
        assert done.code == 1
        assert "document 2" in done.err
    assert stub.jobs == {}


def test_files_that_hold_no_job_are_refused_with_their_name(
    flexai: Shell, stub: Stub, tmp_path: Path
) -> None:
    bad = {
        "broken.yaml": b"name: [x",
        "list.yaml": b"- name: x",
        "empty.yaml": b"---\n",
        "double.yaml": b"name: a\nname: b\n",
        "binary.yaml": b"\xff\xfe\x00",
        "nan.yaml": b"priority: .nan\nx: !!float .nan",
        "large.yaml": b"a: " + b"x" * (9 * 1024 * 1024),
        "missing-file.yaml": b"name: x\nfiles: {a: {path: ./absent}}",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        done = flexai("apply", "-f", name)
        assert done.code == 2, (name, done.err)
        assert name in done.err
    assert flexai("apply", "-f", "absent.yaml").code == 2
    assert stub.seen == []


def test_who_says_it_as_another_system_does_is_told_our_word(flexai: Shell) -> None:
    done = flexai("sbatch", "train.sh")
    assert done.code == 2
    assert "No such command 'sbatch'" in done.err
    assert "`flexai run`" in done.err


def test_the_words_of_others_lead_to_commands_that_exist_and_take_none_away() -> None:
    ours = set(get_command(app).commands)  # type: ignore[attr-defined]
    named = {found for told in ELSEWHERE.values() for found in re.findall(r"`flexai ([a-z-]+)", told)}
    assert named <= ours
    assert not ours & ELSEWHERE.keys()
