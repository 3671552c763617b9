"""`flexai up`: what it refuses and how it says so, what it leaves behind, how it starts again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.platform import (
    LivePlatform,
    is_alive,
    new_data_dir,
    processes_with,
    running_platform,
    spawn,
    wait_for,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = new_data_dir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name(f"{folder.name}.out").unlink(missing_ok=True)


def refused(platform: LivePlatform) -> str:
    """What it said when it ended, which it did soon and with code 1; nothing of it runs on."""
    assert platform.process.wait(30) == 1, platform.output
    assert not processes_with(str(platform.data_dir))
    return " ".join(platform.output.split())


# --- what is refused ------------------------------------------------------------------------------


def test_a_port_in_use_is_named(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(spawn(data_dir, "--port", str(port)))
    assert f"Port {port} on 127.0.0.1 is in use" in said
    assert "--port" in said
    assert not (data_dir / "postgres").exists()


def test_an_address_of_another_machine_is_named(data_dir: Path) -> None:
    assert "192.0.2.7 is not an address of this machine" in refused(spawn(data_dir, "--host", "192.0.2.7"))


def test_a_data_directory_that_cannot_be_made_is_named(data_dir: Path) -> None:
    file = data_dir / "file"
    file.touch()
    said = refused(spawn(file / "inside", output_file=data_dir / "said"))
    assert f"Cannot write to {file / 'inside'}" in said
    assert "--data-dir" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_data_directory_is_named(data_dir: Path) -> None:
    data_dir.chmod(0o500)
    try:
        said = refused(spawn(data_dir, output_file=data_dir.with_name(f"{data_dir.name}.out")))
    finally:
        data_dir.chmod(0o755)
    assert f"Cannot write to {data_dir}" in said


@pytest.mark.root
def test_a_data_directory_closed_to_other_users_is_named(data_dir: Path) -> None:
    data_dir.chmod(0o700)
    said = refused(spawn(data_dir / "inside"))
    assert f"other users may not enter {data_dir}" in said


def test_data_of_another_postgresql_major_is_named_and_untouched(data_dir: Path) -> None:
    cluster = data_dir / "postgres" / "data"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("15\n")
    said = refused(spawn(data_dir))
    assert "holds data of PostgreSQL 15; this Flexai runs PostgreSQL 18" in said
    assert [entry.name for entry in cluster.iterdir()] == ["PG_VERSION"]


@pytest.mark.parametrize(
    "notation", ["16", "0x8:H100", "16x8", "99999x8:H100", "2x-1:H100", "2x1:H100,slow=3/0:60%"]
)
def test_a_wrong_simulation_is_named(data_dir: Path, notation: str) -> None:
    said = refused(spawn(data_dir, f"--simulate={notation}"))
    assert f"--simulate {notation}" in said


# --- a platform that runs -------------------------------------------------------------------------


def test_a_second_start_on_the_same_data_is_refused_with_the_address(
    platform: LivePlatform, tmp_path: Path
) -> None:
    before = dict(platform.children)
    second = spawn(platform.data_dir, output_file=tmp_path / "said")
    assert second.process.wait(30) == 1
    assert f"already runs on {platform.data_dir} at {platform.url}" in " ".join(second.output.split())
    assert platform.children == before


def test_secrets_are_for_the_owner_alone(platform: LivePlatform) -> None:
    files = [*(platform.data_dir / "secrets").iterdir()]
    assert {"admin-password", "admin-token", "secret-key"} <= {file.name for file in files}
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert platform.password in platform.output
    assert platform.token not in platform.output


def test_the_servers_listen_on_nothing_but_closed_sockets(platform: LivePlatform) -> None:
    for folder in (platform.data_dir / "postgres" / "socket", platform.data_dir / "valkey"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    own = listening_ports(platform.children["web"]) | {int(platform.url.rsplit(":", 1)[1])}
    for name in ("postgres", "valkey", "forkserver", "scheduler", "worker", "agent"):
        assert listening_ports(platform.children[name]) <= own


@pytest.mark.root
def test_under_root_the_agent_alone_keeps_its_privileges(platform: LivePlatform) -> None:
    for name, pid in platform.children.items():
        status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        if name == "agent":
            assert status["Uid"].split() == ["0"] * 4
            continue
        assert "0" not in {*status["Uid"].split(), *status["Gid"].split(), *status["Groups"].split()}, name
        assert {int(status[held], 16) for held in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {0}, name


def listening_ports(pid: int) -> set[int]:
    """TCP ports on which the process listens."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return ports


def test_a_crashed_child_is_started_again_and_said(platform: LivePlatform) -> None:
    for name in ("forkserver", "web", "scheduler", "worker"):
        pid = platform.kill(name)
        platform.wait_restarted(name, pid)
        assert f"{name} ended (signal SIGKILL); it is started again" in " ".join(platform.output.split())
    wait_for(lambda: health(platform.url) == 200, "the platform to answer", 60)


def test_what_is_forked_from_has_one_thread_and_no_connection(platform: LivePlatform) -> None:
    pid = platform.children["forkserver"]
    assert os.listdir(f"/proc/{pid}/task") == [str(pid)]
    opened = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    assert len([target for target in opened if target.startswith(("socket:", "anon_inode:"))]) == 1, opened


def health(url: str) -> int:
    try:
        with urllib.request.urlopen(f"{url}/api/v1/health", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


# --- ends and new beginnings ----------------------------------------------------------------------


def test_ctrl_c_stops_everything_in_order_and_the_next_start_is_quick(data_dir: Path) -> None:
    with running_platform(data_dir=data_dir) as first:
        pids = list(first.children.values())
        password = first.password
        assert first.stop() == 0
        assert "Stopped." in first.output
    assert not [pid for pid in pids if is_alive(pid)]
    assert not processes_with(str(data_dir))
    assert not (data_dir / "state.json").exists()
    assert "database system is shut down" in (data_dir / "logs" / "postgres.log").read_text()
    if os.geteuid() == 0:
        os.chown(data_dir / "valkey", 0, 0)  # as a version that ran Valkey as root left it
    with running_platform(data_dir=data_dir) as second:
        assert second.password == password
        assert password not in second.output
        assert second.started_in < first.started_in


def test_a_stop_during_the_start_leaves_nothing_behind(data_dir: Path) -> None:
    platform = spawn(data_dir)
    wait_for((data_dir / "state.json").exists, "the first child")
    platform.process.send_signal(signal.SIGTERM)
    platform.process.wait(30)
    assert not processes_with(str(data_dir))


def test_kill_9_leaves_nothing_behind_and_the_next_start_is_clean(data_dir: Path) -> None:
    with running_platform(data_dir=data_dir) as first:
        client = first.client()
        long = {"name": "long", "team": "research", "commands": ["echo begun", "sleep 3456"]}
        job = client.jobs.submit({**long, "resources": {"cpus": 0.1}})
        wait_for(lambda: client.jobs.get(job["id"])["status"] == "running", "the job to run")
        wait_for(lambda: "begun" in "".join(client.jobs.logs(job["id"])), "the job's log")
        assert processes_with("sleep 3456")
        pids = list(first.children.values())
        first.process.kill()
        first.process.wait()
        wait_for(lambda: not [pid for pid in pids if is_alive(pid)], "every child to end")
        wait_for(lambda: not processes_with("sleep 3456"), "the job to end")
        wait_for(lambda: not processes_with(str(data_dir)), "every process of the platform to end")
    with running_platform(data_dir=data_dir) as second:
        client = second.client()
        wait_for(lambda: client.jobs.get(job["id"])["attempt"] == 2, "the job to be started again", 60)
        found = client.jobs.get(job["id"])
        assert found["attempts"][0]["outcome"] == "platform_stopped"
        client.jobs.stop(job["id"])
        wait_for(lambda: client.jobs.get(job["id"])["status"] == "cancelled", "the job to stop")


def test_servers_that_exist_are_used_instead(data_dir: Path) -> None:
    database, broker = os.environ["DATABASE_URL"], os.environ["REDIS_URL"].replace("db=0", "db=7")
    with running_platform("--no-agent", data_dir=data_dir, DATABASE_URL=database, REDIS_URL=broker) as live:
        assert {"web", "scheduler", "worker"} < set(live.children)
        assert not {"postgres", "valkey"} & set(live.children)
        assert health(live.url) == 200
        assert live.client().me()["user"]["username"] == "admin"


# --- a second platform beside the first -----------------------------------------------------------


@pytest.fixture(scope="module")
def second(platform: LivePlatform) -> Iterator[LivePlatform]:
    """With simulated nodes, and data at a path too long for sockets. Starting one costs more than all of its tests."""
    folder = new_data_dir()
    long = folder / ("a" * 60) / ("b" * 60)
    long.mkdir(parents=True)
    with running_platform("--simulate", "3x4:H100-80GB", data_dir=long) as live:
        yield live
    shutil.rmtree(folder, ignore_errors=True)


def test_two_platforms_find_ports_of_their_own(platform: LivePlatform, second: LivePlatform) -> None:
    assert second.url != platform.url
    assert health(second.url) == health(platform.url) == 200


def test_a_data_directory_with_a_path_too_long_for_sockets_works(second: LivePlatform) -> None:
    assert health(second.url) == 200
    assert not list(second.data_dir.rglob("*.sock"))


def test_simulated_nodes_are_added_and_said_to_be_simulated(second: LivePlatform) -> None:
    nodes = list(second.client().nodes.list())
    simulated = [node for node in nodes if node["simulated"]]
    assert len(nodes) == 4
    assert len(simulated) == 3
    assert {len(node["chips"]) for node in simulated} == {4}
    assert "3 of them simulated" in second.output
