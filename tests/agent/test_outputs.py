"""Which files of a job are kept, and how they come to the server: only the job's own, and nothing lost on the way."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent import outputs
from node_agent.outputs import Collected, collect
from node_agent.protocol import WantedOutputs
from node_agent.protocol_outputs import OUTPUT_PIECE
from tests.agent.support.agents import Agent, a_replica
from tests.agent.support.server import FakeServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

Node = tuple[FakeServer, Agent]


def wanted(*patterns: str, most_bytes: int = 1 << 30, most_files: int = 1000) -> WantedOutputs:
    return WantedOutputs(list(patterns), most_bytes, most_files)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job's folder with a few files."""
    root = tmp_path / "job"
    for name in (
        "results/a.txt",
        "results/deep/er/b.txt",
        "results/.hidden",
        "junit.xml",
        "src/c.xml",
        ".env",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / ".flexai-progress-x").write_text("{}")
    return root


def collected(
    job: Path, *patterns: str, folder: str = "", uid: int | None = None, **limits: int
) -> Collected:
    into = job.parent / "into"
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    made = collect(str(job), folder, wanted(*patterns, **limits), str(into), uid=uid)
    sizes = [(into / str(number)).stat().st_size for number in range(len(made.files))]
    assert sizes == [kept.size for kept in made.files], "each file has its copy"
    assert len(list(into.iterdir())) == len(made.files), "and nothing else has"
    return made


def paths(made: Collected) -> list[str]:
    return [kept.path for kept in made.files]


RESULTS = ["results/.hidden", "results/a.txt", "results/deep/er/b.txt"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("junit.xml", ["junit.xml"]),
        ("results/**", RESULTS),
        ("results", RESULTS),
        ("results/*.txt", ["results/a.txt"]),
        ("**/*.xml", ["junit.xml", "src/c.xml"]),
        ("**/er", ["results/deep/er/b.txt"]),
        ("results/**/b.txt", ["results/deep/er/b.txt"]),
        ("*", ["junit.xml", *RESULTS, "src/c.xml"]),
        ("**", [".env", "junit.xml", *RESULTS, "src/c.xml"]),
        ("src/[ab].xml", []),
        ("nothing/**", []),
    ],
)
async def test_a_pattern_names_files(job: Path, pattern: str, expected: list[str]) -> None:
    made = collected(job, pattern)
    assert paths(made) == expected
    assert not made.said


async def test_patterns_are_below_the_working_directory(job: Path) -> None:
    assert paths(collected(job, "deep/**", "*.txt", folder="results")) == ["a.txt", "deep/er/b.txt"]


async def test_what_is_no_plain_file_of_the_job_is_refused_and_said(job: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not the job's")
    results = job / "results"
    (results / "out").symlink_to(secret)
    (results / "up").symlink_to("../../secret")
    (results / "dangling").symlink_to("/nowhere")
    (results / "folder").symlink_to(job / "src")
    (results / "fine").symlink_to("../junit.xml")
    os.mkfifo(results / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(results / "sock"))
    (results / "bad\nname").write_text("x")
    (results / "back\\slash").write_text("x")
    (results / os.fsdecode(b"not-utf8-\xff")).write_text("x")
    made = collected(job, "results/**")
    assert paths(made) == [*RESULTS[:2], "results/deep/er/b.txt", "results/fine"]
    assert (tmp_path / "into" / "3").read_text() == "junit.xml", "a link inside is that file"
    said = "\n".join(made.said)
    for name, why in {
        "out": "is a link out of the job's folder", "up": "is a link out of the job's folder",
        "dangling": "is a link out of the job's folder", "folder": "is a link to a folder",
        "pipe": "is neither a file nor a folder", "sock": "is neither a file nor a folder",
        "bad\\nname": "has a name that cannot be kept", "back\\slash": "has a name that cannot be kept",
        "not-utf8-\\udcff": "has a name that cannot be kept",
    }.items():  # fmt: skip
        assert f"results/{name} {why}" in said, said


async def test_a_working_directory_that_became_a_link_is_not_followed(job: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret").write_text("not the job's")
    shutil.rmtree(job / "src")
    (job / "src").symlink_to(elsewhere)
    assert paths(collected(job, "**", folder="src")) == []
    assert paths(collected(job, "**", folder="src/x")) == []
    assert "src is a link out of the job's folder." in collected(job, "src/**").said


@pytest.mark.root(untested="that a hard link to somebody else's file is not read")
async def test_somebody_elses_file_under_a_name_of_the_job_is_refused(job: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not the job's")
    secret.chmod(0o600)
    os.link(secret, job / "results" / "mine")
    os.chown(job / "results" / "a.txt", 200_000, 200_000)
    (job / "results" / "a.txt").chmod(0o600)
    made = collected(job, "results/*", uid=200_000)
    assert "results/a.txt" in paths(made)
    assert "results/mine" not in paths(made)
    assert "results/mine belongs to somebody else." in made.said


async def test_bytes_and_files_have_a_limit_that_is_said(job: Path) -> None:
    (job / "big.bin").write_bytes(bytes(3000))
    made = collected(job, "**", most_bytes=2048)
    assert "big.bin" not in paths(made)
    assert "junit.xml" in paths(made), "what is smaller still fits"
    assert made.said == ["big.bin (2.9 KiB) does not fit: a job's outputs may have 2 KiB."]
    made = collected(job, "**", most_files=2)
    assert len(made.files) == 2
    assert made.said == ["5 files were left out: at most 2 are kept."]


async def test_what_is_said_has_a_limit_too(job: Path) -> None:
    for number in range(50):
        (job / f"link-{number:02}").symlink_to("/etc/passwd")
    made = collected(job, "link-*")
    assert len(made.said) == 20
    assert made.said[-1] == "31 more were left out."


async def test_a_full_disk_leaves_files_out_and_says_so(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "KEPT_FREE", 1 << 60)
    made = collected(job, "junit.xml")
    assert (made.files, made.said) == ([], ["junit.xml was not kept: the node's disk is full."])


# --- to the server --------------------------------------------------------------------------------------------------


async def test_what_a_job_leaves_comes_to_the_server_and_no_copy_stays(node: Node) -> None:
    server, agent = node
    script = (
        "mkdir results; cd results; echo one > a.txt; head -c 9000000 /dev/zero > big; ln -s /etc/passwd p"
    )
    await server.want(a_replica("keeps", script, outputs=wanted("results/**")))
    await server.ended("keeps")
    await server.until(
        lambda: "keeps" in server.desk.brought and server.desk.brought["keeps"].complete, what="outputs"
    )
    brought = server.desk.brought["keeps"]
    assert brought.files == {"results/a.txt": b"one\n", "results/big": bytes(9_000_000)}
    assert brought.offered.said == ["results/p is a link out of the job's folder."]
    assert server.desk.pieces == 1 + -(-9_000_000 // OUTPUT_PIECE)
    await server.until(lambda: not list((agent.data_dir / "outputs").iterdir()), what="no copy left")


async def test_a_job_that_fails_or_is_cancelled_leaves_its_files_too(node: Node) -> None:
    server, _ = node
    asks = {"outputs": wanted("*.xml")}
    await server.want(a_replica("fails", "echo '<bad/>' > junit.xml; exit 3", **asks))
    await server.want(a_replica("stops", "echo '<half/>' > junit.xml; echo ready; sleep 60", **asks))
    await server.until(lambda: b"ready" in server.log("stops"), what="the file")
    await server.want(a_replica("stops", desired="stop"))
    for attempt, content in (("fails", b"<bad/>\n"), ("stops", b"<half/>\n")):
        await server.until(lambda: attempt in server.desk.brought, what=f"outputs of {attempt}")  # noqa: B023
        await server.until(lambda: server.desk.brought[attempt].complete, what=f"all of {attempt}")  # noqa: B023
        assert server.desk.brought[attempt].files == {"junit.xml": content}


async def test_who_makes_room_and_who_never_started_leaves_nothing(node: Node) -> None:
    server, agent = node
    asks = {"outputs": wanted("*"), "grace_ms": 3000}
    await server.want(a_replica("taken", "echo x > x; echo ready; sleep 60", **asks))
    await server.until(lambda: b"ready" in server.log("taken"), what="the file")
    await server.want(a_replica("taken", desired="stop", stop_outcome="preempted"))
    await server.want(a_replica("broken", "true", working_dir="../out", **asks))
    for attempt in ("taken", "broken"):
        await server.ended(attempt)
    await server.until(lambda: not list((agent.data_dir / "outputs").iterdir()), what="no wish left")
    assert not server.desk.brought


async def test_a_cut_off_delivery_goes_on_where_it_was(node: Node) -> None:
    server, _ = node
    server.desk.refuses = [0, 500, 0, 502]
    await server.want(a_replica("cut", "head -c 17000000 /dev/zero > x", outputs=wanted("x")))
    await server.until(
        lambda: "cut" in server.desk.brought and server.desk.brought["cut"].complete, what="outputs"
    )
    brought = server.desk.brought["cut"]
    assert brought.files == {"x": bytes(17_000_000)}
    assert brought.offers == 3
    assert server.desk.pieces == 5 + 2, "nothing that was stored is sent again"


async def test_a_server_without_room_is_told_of_and_not_asked_for_ever(node: Node) -> None:
    server, agent = node
    server.desk.refuses = [507]
    await server.want(a_replica("full", "echo x > x", outputs=wanted("x")))
    await server.until(
        lambda: "full" in server.desk.brought and server.desk.brought["full"].complete, what="the end"
    )
    assert server.desk.brought["full"].said == ["There is no room."]
    await server.until(lambda: not list((agent.data_dir / "outputs").iterdir()), what="no copy left")


async def test_what_the_server_does_not_take_holds_up_nothing_else(node: Node) -> None:
    server, agent = node
    server.desk.closed = {"never": 409, "later": 503}
    for attempt in ("never", "later", "fine"):
        await server.want(a_replica(attempt, f"echo {attempt} > x", outputs=wanted("x")))
        await server.ended(attempt)
    brought = server.desk.brought
    await server.until(lambda: "fine" in brought and brought["fine"].complete, what="the others")
    del server.desk.closed["later"]
    await server.until(lambda: "later" in brought and brought["later"].complete, what="a later try")
    await server.until(lambda: not list((agent.data_dir / "outputs").iterdir()), what="no copy left")
    assert server.desk.turned_away.count("never") == 1, "what is refused is not tried again"


@pytest.mark.root(untested="that a disk which fills up during a copy leaves no half of a file")
async def test_a_disk_that_fills_up_during_a_copy_leaves_no_half_of_a_file(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "KEPT_FREE", -(1 << 60))
    (job / "big").write_bytes(bytes(2 << 20))
    disk = job.parent / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], check=True)
    try:
        made = collect(str(job), "", wanted("big", "junit.xml"), str(disk), uid=None)
        assert paths(made) == ["junit.xml"]
        assert made.said == ["big was not kept: the node's disk is full."]
        assert [path.name for path in disk.iterdir()] == ["0"]
        assert (disk / "0").read_text() == "junit.xml"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_outputs_outlive_the_agent_and_the_jobs_next_attempt(
    server: FakeServer, make_agent: Callable[..., Agent]
) -> None:
    agent = make_agent()
    agent.start()
    await server.connected()
    server.desk.is_open = False
    asks = {"outputs": wanted("x"), "job": "job-again"}
    await server.want(a_replica("first", "echo first > x; exit 1", **asks))
    await server.ended("first")
    await server.want(a_replica("second", "cat x; echo second > x", number=2, **asks))
    await server.ended("second")
    assert server.log("second") == b"first\n", "the folder is the job's"
    await server.until(
        lambda: len(list((agent.data_dir / "outputs").glob("*/list.json"))) == 2, what="two copies"
    )
    agent.kill()
    server.desk.is_open = True
    agent.start()
    for attempt in ("first", "second"):
        await server.until(lambda: attempt in server.desk.brought, what=f"outputs of {attempt}")  # noqa: B023
        await server.until(lambda: server.desk.brought[attempt].complete, what=f"all of {attempt}")  # noqa: B023
        assert server.desk.brought[attempt].files == {"x": f"{attempt}\n".encode()}


async def test_a_wish_outlives_an_agent_that_is_killed_while_the_job_runs(
    server: FakeServer, make_agent: Callable[..., Agent]
) -> None:
    agent = make_agent()
    agent.start()
    await server.connected()
    await server.want(
        a_replica("runs", "echo x > x; while [ ! -e go ]; do sleep 0.05; done", outputs=wanted("x"))
    )
    await server.reached("runs", "running")
    agent.kill()
    (agent.data_dir / "jobs" / "job-runs" / "go").touch()
    agent.start()
    await server.ended("runs")
    await server.until(
        lambda: "runs" in server.desk.brought and server.desk.brought["runs"].complete, what="outputs"
    )
    assert server.desk.brought["runs"].files == {"x": b"x\n"}
