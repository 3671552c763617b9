"""Turns a wanted replica into a launch: paths, user, environment, cores and limits. Refuses what cannot be run here."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from node_agent import containers
from node_agent.accelerators import Accelerators, Edits, NotGivenError
from node_agent.cgroups import Detected
from node_agent.containers import Image, Runtime
from node_agent.datadir import JOBS
from node_agent.drivers import Driver
from node_agent.drivers.mps import Mps
from node_agent.launch import Launch
from node_agent.progress import progress_name
from node_agent.protocol import WantedReplica
from node_agent.runtimes.process import LONGEST_SCRIPT_ARGUMENT
from node_agent.spool import REPLICAS, file_name, is_safe_name
from node_agent.users import Users

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


_PATH = f"{os.path.dirname(sys.executable)}:{SYSTEM_PATH}"
"""The platform's own interpreter comes first, so that its examples run."""


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""In a container a shell sets it."""


class LaunchRefusedError(Exception):
    """The replica cannot be started on this node; the text is a sentence for people."""


@dataclass(frozen=True)
class Place:
    """What all launches of one node share."""

    data_dir: str
    boot_id: str
    driver: Driver
    groups: Detected
    users: Users | None
    """None: everything runs as the agent's own user."""
    mps: Mps | None = None
    """What holds programs to their part of an NVIDIA chip; None where there is none."""
    runtime: Runtime | None = None
    """None: no images are run here."""
    accelerators: Accelerators | None = None
    """None: containers are given no chips but cores."""


def build_launch(
    wanted: WantedReplica, place: Place, image: Image | None = None, secrets: Mapping[str, str] | None = None
) -> Launch:
    """`image`: the one that it asks for; `secrets`: values by variable. Raises `LaunchRefusedError`."""
    secrets = secrets or {}
    _refuse_unsafe_names(wanted, secrets)
    indexes = [chip.index for chip in wanted.chips]
    missing = [index for index in indexes if not 0 <= index < len(place.driver.chips)]
    if missing:
        raise LaunchRefusedError(
            f"Chip {missing[0]} is not on this node, which has {len(place.driver.chips)}."
        )
    name = file_name(wanted.attempt, wanted.replica, wanted.generation)
    job_dir = f"{place.data_dir}/{JOBS}/{wanted.job}"
    working_dir = _inside("working_dir", wanted.working_dir, job_dir)
    checkpoint_dir = _inside("checkpoint.path", wanted.checkpoint_dir or "checkpoint", job_dir)
    preempt_file = f"{job_dir}/.flexai-preempt-{wanted.number}-{wanted.replica}-{wanted.generation}"
    own = {
        **_chip_environment(indexes, place, in_image=bool(wanted.image)),
        **_part_environment(wanted, place),
        "FLEXAI_CHECKPOINT_DIR": checkpoint_dir,
        "FLEXAI_PREEMPT_FILE": preempt_file,
        "FLEXAI_PREEMPT_SIGNAL": wanted.notice_signal,
        "FLEXAI_PROGRESS_FILE": f"{job_dir}/{progress_name((wanted.attempt, wanted.replica, wanted.generation))}",
    }
    cores = sorted(set(place.driver.cores(indexes)))
    slice_milli = _slice_milli(wanted)
    pinned_milli = sum(chip.milli for chip in wanted.chips) if cores else 0
    uid = _uid(wanted, place)
    edits = _edits(indexes, place) if wanted.image else Edits()
    told = {**wanted.env, **edits.env, **own}
    env = {**_default_environment(job_dir, uid, image), **told}
    secrets = {name: value for name, value in secrets.items() if name not in told}
    memory_mib = wanted.memory_mib if place.groups.memory else 0
    script = "\n".join(wanted.commands)
    container = None
    if wanted.image:
        _refuse_outside(wanted, job_dir, checkpoint_dir, working_dir)
        if image is None or place.runtime is None or uid is None:
            raise LaunchRefusedError("This node runs no images.")
        inside = containers.Inside(
            uid=uid, job_dir=job_dir, working_dir=working_dir, env=env, memory_mib=memory_mib,
            shm_mib=wanted.shm_mib,
            cgroup=containers.cgroup_of(place.groups, name), script=script,
            script_is_long=len(script.encode("utf-8", "surrogatepass")) > LONGEST_SCRIPT_ARGUMENT,
            edits=edits, mps_pipes=own.get("CUDA_MPS_PIPE_DIRECTORY", ""), has_secrets=bool(secrets),
        )  # fmt: skip
        container = containers.described(place.runtime, image, inside, place.data_dir)
    return Launch(
        base=f"{REPLICAS}/{name}",
        boot_id=place.boot_id,
        job=wanted.job,
        job_dir=job_dir,
        working_dir=working_dir,
        checkpoint_dir=checkpoint_dir,
        preempt_file=preempt_file,
        script=script,
        env=env,
        secrets=secrets,
        files=wanted.files,
        uid=uid,
        cores=cores,
        cpu_quota_milli=slice_milli if cores and place.groups.cpu else 0,
        cpu_shares=wanted.cpu_milli if not cores and place.groups.cpu else 0,
        memory_mib=memory_mib,
        held_milli=pinned_milli or (0 if wanted.chips else wanted.cpu_milli),
        groups=place.groups.groups,
        lease_ms=wanted.lease_ms,
        max_duration_ms=wanted.max_duration_ms,
        grace_ms=wanted.grace_ms,
        notice_signal=_notice_signal(wanted.notice_signal),
        log_limit=wanted.log_limit,
        container=container,
    )


def _chip_environment(indexes: list[int], place: Place, *, in_image: bool) -> dict[str, str]:
    if in_image and place.accelerators is not None:
        return place.accelerators.environment(indexes)
    return place.driver.environment(indexes)


def _edits(indexes: list[int], place: Place) -> Edits:
    if place.accelerators is None:
        return Edits()
    try:
        return place.accelerators.edits(indexes)
    except NotGivenError as error:
        raise LaunchRefusedError(str(error)) from error


def _uid(wanted: WantedReplica, place: Place) -> int | None:
    if place.users is None:
        return None
    try:
        return place.users.uid_of(wanted.organization)
    except OSError as error:
        raise LaunchRefusedError(f"No user could be set up for the organization: {error}.") from error


def _refuse_outside(wanted: WantedReplica, job_dir: str, checkpoint_dir: str, working_dir: str) -> None:
    """Inside a container there is the job's own directory, and nothing else that it could write into."""
    if not f"{checkpoint_dir}/".startswith(f"{job_dir}/"):
        raise LaunchRefusedError(
            f"checkpoint.path {wanted.checkpoint_dir!r} is not there in a container: give a relative one."
        )
    if wanted.files and not f"{working_dir}/".startswith(f"{job_dir}/"):
        raise LaunchRefusedError(
            f"`files` cannot be written into {working_dir!r}, which is the image's: give a relative working_dir."
        )


def _default_environment(job_dir: str, uid: int | None, image: Image | None) -> dict[str, str]:
    user = f"flexai-{uid}" if uid is not None else os.environ.get("USER") or f"uid-{os.getuid()}"
    return {
        "HOME": job_dir,
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "PATH": _PATH,
        "PYTHONUNBUFFERED": "1",
        **(containers.environment(image) if image else {}),
    }


def _part_environment(wanted: WantedReplica, place: Place) -> dict[str, str]:
    """Of a replica that holds a part of one chip: a part is always of one."""
    if place.mps is None or len(wanted.chips) != 1:
        return {}
    [share] = wanted.chips
    return place.mps.environment(place.driver.chips[share.index], share.milli, share.memory_mib)


def _slice_milli(wanted: WantedReplica) -> int:
    """Millicores in all, when any of its chips is only a slice; 0 when all are whole."""
    if all(chip.milli >= 1000 for chip in wanted.chips):
        return 0
    return sum(chip.milli for chip in wanted.chips)


def _inside(what: str, asked: str, job_dir: str) -> str:
    """The folder as an absolute path; a relative one stays inside the job's directory."""
    if os.path.isabs(asked):
        return os.path.normpath(asked)
    path = os.path.normpath(os.path.join(job_dir, asked))
    if path != job_dir and not path.startswith(job_dir + "/"):
        raise LaunchRefusedError(f"{what} {asked!r} leaves the job's own directory.")
    return path


def _notice_signal(name: str) -> int:
    try:
        return signal.Signals[name].value
    except KeyError:
        raise LaunchRefusedError(f"There is no signal {name[:40]!r}.") from None


def _refuse_unsafe_names(wanted: WantedReplica, secrets: Mapping[str, str]) -> None:
    for what, text in (("attempt", wanted.attempt), ("job", wanted.job)):
        if not is_safe_name(text):
            raise LaunchRefusedError(f"The id of the {what} cannot be used as a name on disk.")
    if wanted.replica < 0 or wanted.generation < 0:
        raise LaunchRefusedError("The replica's number is negative.")
    for name in wanted.files:
        parts = name.split("/")
        if not name or name.startswith("/") or ".." in parts or "\0" in name or parts[-1] in ("", "."):
            raise LaunchRefusedError(
                f"File {name[:100]!r} is not a relative path inside the working directory."
            )
    for name, value in (*wanted.env.items(), *secrets.items()):
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise LaunchRefusedError(f"Environment variable {name[:100]!r} cannot be set.")
    for name in secrets:
        if not _VARIABLE.fullmatch(name):
            raise LaunchRefusedError(f"Environment variable {name[:100]!r} cannot hold a secret.")
    if not wanted.commands:
        raise LaunchRefusedError("There is no command to run.")
    if any("\0" in command for command in wanted.commands):
        raise LaunchRefusedError("A command contains a zero byte.")
    if "\0" in wanted.working_dir + wanted.checkpoint_dir:
        raise LaunchRefusedError("working_dir or checkpoint.path contains a zero byte.")
