"""Users, closed directories, old job directories and control groups (version 2), each on its own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from node_agent import cgroups, visibility
from node_agent.node import remove_old_jobs
from node_agent.users import FIRST_UID, Users


def test_users_are_given_once_and_for_ever(tmp_path: Path) -> None:
    users = Users(tmp_path / "users.json")
    first, second = users.uid_of("org-a"), users.uid_of("org-b")
    assert (first, second) == (FIRST_UID, FIRST_UID + 1)
    again = Users(tmp_path / "users.json")
    assert again.uid_of("org-b") == second
    assert again.uid_of("org-c") == FIRST_UID + 2


def test_a_map_that_would_join_two_organizations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "users.json").write_text('{"a": 200000, "b": 200000}')
    with pytest.raises(ValueError, match="would share a user"):
        Users(tmp_path / "users.json")


def test_the_topmost_closed_directory_is_found(tmp_path: Path, folder: Path) -> None:
    (folder / "open" / "closed" / "deep").mkdir(parents=True)
    assert visibility.closed_ancestor(str(folder / "open" / "closed" / "deep")) is None
    (folder / "open" / "closed").chmod(0o700)
    assert visibility.closed_ancestor(str(folder / "open" / "closed" / "deep")) == str(
        folder / "open" / "closed"
    )


def test_old_job_directories_go_and_others_stay(tmp_path: Path) -> None:
    for name in ("old", "old-but-used", "new"):
        (tmp_path / name / "checkpoint").mkdir(parents=True)
        (tmp_path / name / "checkpoint" / "file").write_text("x")
    (tmp_path / "old" / "link").symlink_to("/etc")
    for name in ("old", "old-but-used"):
        os.utime(tmp_path / name, (time.time() - 100, time.time() - 100))
    assert remove_old_jobs(tmp_path, {"old-but-used"}, 60) == ["old"]
    assert sorted(os.listdir(tmp_path)) == ["new", "old-but-used"]
    assert os.path.exists("/etc/passwd")


# --- control groups, version 2, on files (no machine of ours has only these) ----------------------------------------


def test_version_2_groups_are_found_and_limits_written(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    own = root / "agent.service"
    own.mkdir(parents=True)
    (own / "cgroup.controllers").write_text("cpu io memory pids\n")
    (own / "cgroup.subtree_control").write_text("")
    (own / "cgroup.procs").write_text("")
    parent = own / "flexai-x"
    parent.mkdir()
    (parent / "cgroup.subtree_control").write_text("")
    (tmp_path / "mountinfo").write_text(f"30 1 0:1 / {root} rw - cgroup2 none rw\n")
    (tmp_path / "own").write_text("0::/agent.service\n")
    found = cgroups.detect("flexai-x", mountinfo=str(tmp_path / "mountinfo"), own=str(tmp_path / "own"))
    assert found.groups == {"cpu2": str(parent), "memory2": str(parent)}
    assert found.notes == []
    group = parent / "a.0.1"
    group.mkdir()
    for name in [
        "cpu.max",
        "cpu.weight",
        "memory.max",
        "memory.swap.max",
        "memory.oom.group",
        "cgroup.procs",
    ]:
        (group / name).write_text("")
    (group / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    (group / "memory.peak").write_text(f"{70 << 20}\n")
    made = cgroups.Group(found.groups, "a.0.1")
    made.make(cgroups.Limits(cpu_quota_milli=300, memory_mib=64))
    assert (group / "cpu.max").read_text() == "30000 100000"
    assert (group / "memory.max").read_text() == str(64 << 20)
    assert (group / "memory.swap.max").read_text() == "0"
    assert (group / "memory.oom.group").read_text() == "1"
    assert made.paths() == [str(group)]
    assert made.out_of_memory_kills() == 2
    assert made.memory_peak_mib() == 70
    shares = cgroups.Group(found.groups, "a.0.1")
    shares.make(cgroups.Limits(cpu_shares=500))
    assert (group / "cpu.weight").read_text() == "50"


def test_without_permission_it_is_said_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text("30 1 0:1 / /proc/nowhere rw - cgroup2 none rw\n")
    (tmp_path / "own").write_text("0::/\n")
    found = cgroups.detect("flexai-x", mountinfo=str(tmp_path / "mountinfo"), own=str(tmp_path / "own"))
    assert found.groups == {}
    assert not found.cpu
    assert not found.memory
    assert len(found.notes) == 2
