"""What a shim is told, on the way from the agent through the fork server. Only modules cheap to fork are imported."""

from __future__ import annotations

import marshal


class Launch:
    """Everything one shim needs. Built by the agent, read by the shim, never changed."""

    __slots__ = (
        "base",
        "boot_id",
        "checkpoint_dir",
        "container",
        "cores",
        "cpu_quota_milli",
        "cpu_shares",
        "env",
        "files",
        "grace_ms",
        "groups",
        "held_milli",
        "job",
        "job_dir",
        "lease_ms",
        "log_limit",
        "max_duration_ms",
        "memory_mib",
        "notice_signal",
        "preempt_file",
        "script",
        "secrets",
        "uid",
        "working_dir",
    )

    def __init__(
        self,
        *,
        base: str,
        boot_id: str,
        job: str,
        job_dir: str,
        working_dir: str,
        checkpoint_dir: str,
        preempt_file: str,
        script: str,
        env: dict[str, str],
        files: dict[str, str],
        uid: int | None,
        cores: list[int],
        cpu_quota_milli: int,
        cpu_shares: int,
        memory_mib: int,
        held_milli: int,
        groups: dict[str, str],
        lease_ms: int | None,
        max_duration_ms: int | None,
        grace_ms: int,
        notice_signal: int,
        log_limit: int,
        container: dict[str, str] | None = None,
        secrets: dict[str, str] | None = None,
    ) -> None:
        self.base = base
        """Path of the replica's files in the spool, relative to the data directory."""
        self.boot_id = boot_id
        self.job = job
        self.job_dir = job_dir
        """Absolute; kept across attempts of the job."""
        self.working_dir = working_dir
        """Absolute."""
        self.checkpoint_dir = checkpoint_dir
        self.preempt_file = preempt_file
        """Appears when the replica is asked to make room."""
        self.script = script
        self.env = env
        """Complete; nothing of the agent's own environment is added."""
        self.files = files
        self.uid = uid
        """User and group of the replica's processes; None: the agent's own."""
        self.cores = cores
        """Cores it is pinned to; empty: not pinned."""
        self.cpu_quota_milli = cpu_quota_milli
        """Hard limit in millicores; 0: none."""
        self.cpu_shares = cpu_shares
        """Millicores asked for, as weight against others; 0: none."""
        self.memory_mib = memory_mib
        """Hard limit; 0: none."""
        self.held_milli = held_milli
        """Millicores that its use is measured against; 0: use is not reported."""
        self.groups = groups
        """Parent cgroup directory per controller; see `cgroups`."""
        self.lease_ms = lease_ms
        self.max_duration_ms = max_duration_ms
        self.grace_ms = grace_ms
        self.notice_signal = notice_signal
        """By which it is asked to make room."""
        self.log_limit = log_limit
        self.container = container
        """What its container is made of (`containers.described`); None: it is a process of the node."""
        self.secrets = secrets or {}
        """Values by variable, beside `env`: they lie in no file, and what is printed is masked."""

    def encode(self) -> bytes:
        """The words that `decode` turns into an equal launch.

        Marshalled, not JSON: agent and fork server are one interpreter, and every page that a fresh shim
        touches costs it a page fault; decoding JSON took a third of them.
        """
        return marshal.dumps({name: getattr(self, name) for name in self.__slots__})


def decode(data: bytes) -> Launch:
    """The launch that the agent of this fork server encoded."""
    return Launch(**marshal.loads(data))  # noqa: S302 - from our own agent, over our own socket
