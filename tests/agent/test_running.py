"""Real replicas through a real agent: how they start, what they see, how they end."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from node_agent.protocol import replica_key
from tests.agent.support.agents import Agent, a_replica, processes_with
from tests.agent.support.server import FakeServer

pytestmark = pytest.mark.asyncio(loop_scope="module")


Node = tuple[FakeServer, Agent]


async def test_a_job_runs_is_logged_and_leaves_nothing_behind(node: Node) -> None:
    server, agent = node
    await server.want(a_replica("ok", "echo hello", "echo again >&2"))
    end = await server.ended("ok")
    assert (end.outcome, end.exit_code, end.sentence) == ("succeeded", 0, "")
    assert server.states("ok") == ["starting", "running", "ended"]
    assert server.log("ok") == b"hello\nagain\n"
    assert end.log_size == len(server.log("ok"))
    assert end.at > 1_600_000_000_000
    await server.until(lambda: "ok.0.1" not in agent.spooled(), what="an empty spool")
    job_dir = agent.data_dir / "jobs" / "job-ok"
    await server.until(lambda: not job_dir.exists(), what="no empty job directory")


async def test_a_job_ignores_and_blocks_no_signal_from_its_start(node: Node) -> None:
    """Else Ctrl-C's signal, which the agent ignores for its own sake, could be nobody's notice of preemption."""
    server, _ = node
    await server.want(a_replica("signals", "exec grep -E '^Sig(Blk|Ign):' /proc/self/status"))
    await server.ended("signals")
    blocked, ignored = (int(mask, 16) for mask in server.log("signals").split()[1::2])
    ours = sum(
        1 << number - 1 for number in signal.valid_signals()
    )  # not those that the C library keeps for itself
    assert (blocked & ours, ignored & ours) == (0, 0)


async def test_what_a_job_says_of_itself_arrives_and_its_last_words_before_its_end(node: Node) -> None:
    server, agent = node
    await server.want(
        a_replica(
            "says",
            """echo '{"step": 1, "checkpoint": "saved"}' > $FLEXAI_PROGRESS_FILE""",
            "while [ ! -e go ]; do sleep 0.02; done",
            """echo '{"step": 2, "loss": NaN}' >> $FLEXAI_PROGRESS_FILE""",
        )
    )
    await server.until(lambda: server.words.get("says"), what="the first words")
    (agent.data_dir / "jobs" / "job-says" / "go").touch()
    await server.ended("says")
    first, last = server.words["says"][0], server.words["says"][-1]
    assert (first.step, first.saved_step, first.problem) == (1, 1, "")
    assert (last.step, last.saved_at) == (2, first.saved_at)
    assert last.problem == "loss was refused: it is not a finite number."
    await server.until(
        lambda: not list((agent.data_dir / "jobs" / "job-says").glob(".flexai-progress*")),
        what="no file left",
    )


async def test_who_is_to_make_room_hears_by_file_and_by_its_own_signal_and_may_save(
    node: Node, open_folder: Path
) -> None:
    server, _ = node
    shared = open_folder / "shared" / "checkpoints"
    script = (
        "trap 'cat $FLEXAI_PREEMPT_FILE; echo saved > $FLEXAI_CHECKPOINT_DIR/state; exit 0' USR1; "
        "trap 'echo terminated; exit 1' TERM; echo ready; while :; do sleep 0.02; done"
    )
    asks = {"notice_signal": "SIGUSR1", "checkpoint_dir": str(shared), "grace_ms": 5000}
    await server.want(a_replica("resized", script, **asks))
    await server.until(lambda: b"ready" in server.log("resized"), what="the trap")
    await server.want(a_replica("resized", script, desired="stop", stop_outcome="resized", **asks))
    end = await server.ended("resized")
    assert (end.outcome, end.exit_code) == ("resized", 0)
    said = (
        server.log("resized").decode().splitlines()
    )  # the shell may tell first that its sleep was interrupted
    notice = json.loads(next(line for line in said if line.startswith("{")))
    assert (notice["reason"], notice["grace_ms"]) == ("resized", 5000)
    assert (shared / "state").read_text() == "saved\n"
    assert server.states("resized") == ["starting", "running", "stopping", "ended"]


async def test_who_is_cancelled_is_terminated_and_hears_no_notice(node: Node) -> None:
    server, _ = node
    trap = "trap 'test -e $FLEXAI_PREEMPT_FILE || echo no notice; exit 3' TERM"
    script = f"{trap}; echo ready; while :; do sleep 0.02; done"
    await server.want(a_replica("cancelled", script, notice_signal="SIGUSR1"))
    await server.until(lambda: b"ready" in server.log("cancelled"), what="the trap")
    await server.want(a_replica("cancelled", script, desired="stop", notice_signal="SIGUSR1"))
    assert (await server.ended("cancelled")).outcome == "cancelled"
    assert b"no notice" in server.log("cancelled")


async def test_who_saves_nothing_within_its_grace_is_ended(node: Node) -> None:
    server, _ = node
    script = "trap '' USR1 TERM; echo ready; while :; do sleep 0.02; done"
    asks = {"notice_signal": "SIGUSR1", "grace_ms": 200}
    await server.want(a_replica("deaf", script, **asks))
    await server.until(lambda: b"ready" in server.log("deaf"), what="the trap")
    await server.want(a_replica("deaf", script, desired="stop", stop_outcome="preempted", **asks))
    end = await server.ended("deaf")
    assert (end.outcome, end.exit_code) == ("preempted", 137)


async def test_the_shell_stops_at_the_first_failure_with_its_exit_code(node: Node) -> None:
    server, _ = node
    await server.want(a_replica("fails", "echo one", "(exit 7)", "echo never"))
    end = await server.ended("fails")
    assert (end.outcome, end.exit_code, end.sentence) == ("exit", 7, "Exited with code 7.")
    assert server.log("fails") == b"one\n"


async def test_a_signal_is_named(node: Node) -> None:
    server, _ = node
    await server.want(a_replica("segv", "kill -SEGV $$"))
    end = await server.ended("segv")
    assert (end.outcome, end.exit_code, end.sentence) == ("exit", 139, "Ended by SIGSEGV (signal 11).")


async def test_a_command_that_does_not_exist_is_named(node: Node) -> None:
    server, _ = node
    await server.want(a_replica("missing", "trian --epochs 3"))
    end = await server.ended("missing")
    assert (end.outcome, end.exit_code, end.sentence) == ("exit", 127, "Command not found: trian")


@pytest.mark.parametrize(
    ("attempt", "changes", "says"),
    [
        ("far", {"working_dir": "../.."}, "leaves the job's own directory"),
        ("away", {"checkpoint_dir": "../other"}, "checkpoint.path '../other' leaves the job's own directory"),
        ("nobody", {"checkpoint_dir": "/proc/nowhere"}, "No such file or directory: '/proc/nowhere'"),
        ("signal", {"notice_signal": "SIGSEGFAULT"}, "There is no signal 'SIGSEGFAULT'"),
        ("nowhere", {"working_dir": "/does/not/exist"}, "No such file or directory: '/does/not/exist'"),
        ("climbing", {"files": {"../../x": "y"}}, "is not a relative path"),
        ("rooted", {"files": {"/etc/x": "y"}}, "is not a relative path"),
        ("zero", {"env": {"A": "x\0y"}}, "Environment variable 'A' cannot be set"),
        ("equals", {"env": {"A=B": "x"}}, "cannot be set"),
        ("job", {"job": "../evil"}, "The id of the job cannot be used"),
        ("chip", {"chips": [(500, 1000)]}, "Chip 500 is not on this node"),
        ("nothing", {"commands": []}, "There is no command"),
        ("zerobyte", {"commands": ["echo \0"]}, "contains a zero byte"),
        ("bigenv", {"env": {"A": "x" * 200_000}}, "Argument list too long"),
    ],
)
async def test_what_cannot_start_says_why(
    node: Node, attempt: str, changes: dict[str, object], says: str
) -> None:
    server, _ = node
    fields = {"commands": ["true"], **changes}
    commands = fields.pop("commands")
    assert isinstance(commands, list)
    await server.want(
        a_replica(f"bad-{attempt}", *commands, **fields)
        if commands
        else a_replica(f"bad-{attempt}", "x", **fields).__class__(
            attempt=f"bad-{attempt}", replica=0, desired="run", job="job-x", number=1, organization="org-a"
        )
    )
    end = await server.ended(f"bad-{attempt}")
    assert end.outcome == "start_failed"
    assert says in end.sentence
    assert end.exit_code is None


async def test_an_attempt_whose_id_is_not_a_name_is_refused_and_nothing_is_written(node: Node) -> None:
    server, agent = node
    await server.want(a_replica("../../escape", "true"))
    assert (await server.ended("../../escape")).outcome == "start_failed"
    assert not list(agent.data_dir.parent.parent.glob("escape*"))


async def test_the_environment_is_the_jobs_own(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    server, agent = node
    await server.want(
        a_replica("env", "env", "pwd", env={"MINE": "a b", "FLEXAI_JOB_ID": "job-env"}, chips=[(0, 1000)])
    )
    await server.ended("env")
    lines = server.log("env").decode().splitlines()
    env = dict(line.split("=", 1) for line in lines if "=" in line)
    home = str(agent.data_dir / "jobs" / "job-env")
    assert env["MINE"] == "a b"
    assert env["HOME"] == env["PWD"] == lines[-1] == home
    assert env["FLEXAI_CHECKPOINT_DIR"] == f"{home}/checkpoint"
    assert env["FLEXAI_PREEMPT_FILE"].startswith(home)
    assert env["PYTHONUNBUFFERED"] == "1"
    assert env["FLEXAI_CPUS"] == "0"
    assert env["PATH"].split(":")[0] == os.path.dirname(sys.executable)
    known = {
        "MINE",
        "FLEXAI_JOB_ID",
        "HOME",
        "PWD",
        "OLDPWD",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "PATH",
        "SHLVL",
        "_",
        "PYTHONUNBUFFERED",
    }
    known |= {
        "FLEXAI_CHECKPOINT_DIR",
        "FLEXAI_PREEMPT_FILE",
        "FLEXAI_PREEMPT_SIGNAL",
        "FLEXAI_PROGRESS_FILE",
        "FLEXAI_CPUS",
    }
    assert set(env) <= known, "something of the agent's own environment was passed on"


async def test_the_platforms_python_is_found_and_can_import(node: Node) -> None:
    server, _ = node
    await server.want(a_replica("python", "python -c 'import msgspec, sys; print(sys.prefix)'"))
    end = await server.ended("python")
    assert end.outcome == "succeeded", server.log("python")
    assert server.log("python").decode().strip() == sys.prefix


async def test_files_and_working_directory_are_there(node: Node) -> None:
    server, _ = node
    await server.want(
        a_replica(
            "files",
            "cat train.py pkg/ü.txt; pwd; test -d $FLEXAI_CHECKPOINT_DIR",
            files={"train.py": "print(1)\n", "pkg/ü.txt": "schön\n"},
            working_dir="src",
        )
    )
    end = await server.ended("files")
    assert end.outcome == "succeeded", server.log("files")
    assert server.log("files").decode().splitlines()[:2] == ["print(1)", "schön"]
    assert server.log("files").decode().rstrip().endswith("/jobs/job-files/src")


async def test_checkpoints_outlive_the_attempt_and_files_are_written_anew(node: Node) -> None:
    server, _ = node
    save = "echo 41 > $FLEXAI_CHECKPOINT_DIR/step; echo changed > f; exit 1"
    await server.want(a_replica("ck-1", save, job="ck", files={"f": "fresh"}))
    await server.ended("ck-1")
    load = "cat $FLEXAI_CHECKPOINT_DIR/step f"
    await server.want(a_replica("ck-2", load, job="ck", number=2, files={"f": "fresh"}))
    assert (await server.ended("ck-2")).outcome == "succeeded"
    assert server.log("ck-2") == b"41\nfresh"


async def test_a_script_longer_than_one_argument_runs(node: Node) -> None:
    server, _ = node
    lines = [f": {'x' * 1000}" for _ in range(300)] + ["echo the end"]
    await server.want(a_replica("long", *lines))
    assert (await server.ended("long")).outcome == "succeeded"
    assert server.log("long") == b"the end\n"


async def test_the_log_grows_while_the_job_runs(node: Node) -> None:
    server, _ = node
    await server.want(a_replica("grows", "echo first; sleep 300"))
    await server.until(lambda: server.log("grows") == b"first\n", what="a log before the end")
    assert "ended" not in server.states("grows")
    await server.want(a_replica("grows", "echo first; sleep 300", desired="stop"))
    await server.ended("grows")


async def test_a_stop_gives_time_and_carries_its_outcome(node: Node) -> None:
    server, _agent = node
    script = "trap 'test -f $FLEXAI_PREEMPT_FILE && echo saved; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    await server.want(a_replica("polite", script, grace_ms=5000))
    await server.until(lambda: server.log("polite") == b"up\n", what="up")
    await server.want(a_replica("polite", script, desired="stop", stop_outcome="preempted", grace_ms=5000))
    end = await server.ended("polite")
    assert (end.outcome, end.exit_code) == ("preempted", 0)
    assert server.log("polite").endswith(b"saved\n")
    assert server.states("polite") == ["starting", "running", "stopping", "ended"]


async def test_children_get_the_whole_grace_even_if_the_shell_goes_first(node: Node) -> None:
    server, _ = node
    child = (
        "import signal,time,sys; signal.signal(15, lambda *a: (time.sleep(.4), print('saved'), sys.exit()))"
    )
    script = f'python -c "{child}; print(1, flush=True); time.sleep(60)"; echo'
    await server.want(a_replica("child", script, grace_ms=5000))
    await server.until(lambda: server.log("child") == b"1\n", what="child up")
    await server.want(a_replica("child", script, desired="stop", grace_ms=5000))
    await server.ended("child")
    assert b"saved" in server.log("child")


async def test_a_job_that_ignores_sigterm_is_killed_after_its_grace(node: Node) -> None:
    """Its own: another one that was told at the same moment, and has longer, is still there then."""
    server, agent = node
    script = "trap '' TERM; echo up; while ! [ -e go ]; do sleep 0.1; done"
    graces = {"deaf": 400, "patient": 600_000}
    await server.want(*(a_replica(name, script, grace_ms=grace) for name, grace in graces.items()))
    for name in graces:
        await server.until(lambda: server.log(name) == b"up\n", what="up")  # noqa: B023
    await server.want(
        *(a_replica(name, script, desired="stop", grace_ms=grace) for name, grace in graces.items())
    )
    end = await server.ended("deaf")
    assert (end.outcome, end.exit_code) == ("cancelled", 137)
    assert server.states("patient")[-1] in ("running", "stopping")
    (agent.data_dir / "jobs" / "job-patient" / "go").touch()
    await server.ended("patient")


async def test_a_stop_before_the_start_starts_nothing(node: Node) -> None:
    server, agent = node
    await server.want(a_replica("never", f"touch {agent.data_dir}/never", desired="stop"))
    end = await server.ended("never")
    assert (end.outcome, end.exit_code) == ("cancelled", None)
    assert server.states("never") == ["ended"]


async def test_a_stop_in_the_same_breath_as_the_start_is_not_lost(node: Node) -> None:
    server, _ = node
    await server.want(a_replica("brief", "sleep 61"))
    await server.want(a_replica("brief", "sleep 61", desired="stop"))
    assert (await server.ended("brief")).outcome == "cancelled"


async def test_a_replica_that_is_not_wanted_any_more_is_stopped(node: Node) -> None:
    server, _ = node
    await server.want(a_replica("fenced", "sleep 62"))
    await server.reached("fenced", "running")
    await server.unwant("fenced")
    assert (await server.ended("fenced")).outcome == "cancelled"
    assert not processes_with("sleep\x0062")


async def test_time_is_up(node: Node) -> None:
    server, _ = node
    await server.want(a_replica("slow", "sleep 63", max_duration_ms=300))
    end = await server.ended("slow")
    assert (end.outcome, end.exit_code) == ("timed_out", 143)
    assert end.sentence == "Stopped after its max_duration of 0.3 s."


async def test_what_a_job_leaves_running_ends_with_it(node: Node) -> None:
    server, _ = node
    daemon = "(setsid sh -c 'trap \"\" TERM HUP; sleep 6411' >/dev/null 2>&1 &) ; setsid sleep 6412 & sleep 0.1; exit 3"
    await server.want(a_replica("daemons", daemon))
    end = await server.ended("daemons")
    assert (end.outcome, end.exit_code) == ("exit", 3)
    assert not processes_with("6411")
    assert not processes_with("6412")


async def test_daemons_that_ignore_sigterm_end_with_a_stop(node: Node) -> None:
    server, _ = node
    deaf = "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 0.2; done # 6511' &"
    script = f"{deaf} setsid setsid sleep 6512 & echo up; wait"
    await server.want(a_replica("escape", script, grace_ms=300))
    await server.until(lambda: server.log("escape") == b"up\n", what="up")
    await server.want(a_replica("escape", script, desired="stop", grace_ms=300))
    await server.ended("escape")
    assert not processes_with("6511")
    assert not processes_with("6512")


async def test_use_is_measured(node: Node) -> None:
    server, _ = node
    burn = "python -c 'import time; a=bytearray(60<<20); t=time.process_time()\nwhile time.process_time()-t<.5: pass'"
    await server.want(a_replica("burn", burn, chips=[(0, 1000)]))
    end = await server.ended("burn")
    assert end.outcome == "succeeded", server.log("burn")
    assert end.cpu_time_ms >= 500
    assert 60 <= end.memory_peak_mib < 200
    assert end.use_permille is not None
    assert 50 <= end.use_permille <= 1000


async def test_whole_chips_pin_the_job(node: Node) -> None:
    server, _ = node
    await server.want(a_replica("pinned", "python -c 'import os; print(sorted(os.sched_getaffinity(0)))'",
                                chips=[(1, 1000)]))  # fmt: skip
    await server.ended("pinned")
    cores = sorted(os.sched_getaffinity(0))
    assert server.log("pinned").decode().strip() == str([cores[1]])


async def test_telemetry_says_what_runs(node: Node) -> None:
    server, _ = node
    burn = "python -c 'import time; a=bytearray(60<<20); t=time.time()\nwhile time.time()-t<8: pass'"
    await server.want(a_replica("seen", burn, chips=[(0, 1000)]))

    def sample() -> bool:
        if not server.node.telemetry:
            return False
        last = server.node.telemetry[-1]
        mine = [r for r in last.replicas if r.key == replica_key("seen", 0)]
        return bool(mine) and mine[0].cpu_permille > 100 and last.chips[0].use_permille > 100

    await server.until(sample, what="a sample that shows the work")
    last = server.node.telemetry[-1]
    mine = next(r for r in last.replicas if r.key == replica_key("seen", 0))
    assert 60 <= mine.memory_mib < 200
    assert mine.memory_peak_mib >= mine.memory_mib
    assert last.chips[0].memory_mib == mine.memory_mib
    assert len(last.chips) == len(os.sched_getaffinity(0))
    assert last.host_memory_mib > 0
    await server.want(a_replica("seen", burn, desired="stop", grace_ms=100))
    await server.ended("seen")


async def test_the_inventory_tells_the_truth(node: Node) -> None:
    server, _ = node
    inventory = server.node.hellos[0].inventory
    cores = os.sched_getaffinity(0)
    assert [chip.type for chip in inventory.chips] == ["cpu"] * len(cores)
    assert all(chip.host_cpu_milli == 1000 for chip in inventory.chips)
    assert inventory.cpu_milli == 1000 * len(cores)
    assert not inventory.simulated
    assert inventory.separate_users == (os.geteuid() == 0)
    if not inventory.separate_users:
        assert any("without root" in note for note in inventory.notes)
    enforced = all("enforced" in chip.isolation for chip in inventory.chips)
    assert enforced != any("not enforced" in note and "CPU" in note for note in inventory.notes)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core alone cannot be taken away")
async def test_a_core_that_is_taken_away_is_told_and_so_is_its_return(node: Node) -> None:
    server, agent = node
    assert agent.process is not None
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(agent.process.pid, cores - {max(cores)})
    try:
        await server.until(lambda: server.node.inventories, what="news of the chips")
    finally:
        os.sched_setaffinity(agent.process.pid, cores)
    less = server.node.inventories[-1]
    assert [chip.healthy for chip in less.chips] == [True] * (len(cores) - 1) + [False]
    assert "switched off" in less.chips[-1].health_note
    assert less.cpu_milli == 1000 * (len(cores) - 1)
    await server.until(lambda: len(server.node.inventories) > 1, what="news of its return")
    assert all(chip.healthy for chip in server.node.inventories[-1].chips)


async def test_two_hundred_jobs_in_one_wanted_state(node: Node) -> None:
    server, agent = node
    frames = server.node.frames
    await server.want(*(a_replica(f"many-{n}", f"echo {n}", job=f"many-{n}") for n in range(200)))
    for n in range(200):
        assert (await server.ended(f"many-{n}")).outcome == "succeeded"
        assert server.log(f"many-{n}") == f"{n}\n".encode()
    assert server.node.frames - frames < 400
    await server.until(lambda: not agent.spooled(), what="an empty spool")
