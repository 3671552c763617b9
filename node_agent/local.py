"""One replica on this node, as the agent keeps it in memory: what it has read of its files, what it has asked for."""

from __future__ import annotations

from node_agent import logs, spool
from node_agent.datadir import JOBS
from node_agent.outbox import Track
from node_agent.progress import ProgressFile, progress_name
from node_agent.protocol import ReplicaReport, WantedReplica
from node_agent.reconcile import Key, Phase, Stop


class Local:
    """One replica on this node."""

    __slots__ = (
        "base",
        "chips",
        "frame",
        "held",
        "image",
        "job",
        "launched_at",
        "launches",
        "log_path",
        "phase",
        "power_samples",
        "power_sum",
        "progress",
        "read",
        "shim_pid",
        "stop_asked",
        "track",
        "use_samples",
        "use_sum",
    )

    def __init__(self, key: Key, data_dir: str, *, job: str) -> None:
        self.base = f"{data_dir}/{spool.REPLICAS}/{spool.file_name(*key)}"
        self.log_path = f"{self.base}.log"
        self.job = job
        self.progress = ProgressFile(f"{data_dir}/{JOBS}/{job}/{progress_name(key)}")
        self.phase = Phase.LIVE
        self.track = Track(key, self)
        self.read = 0
        """Moves taken from the state file so far."""
        self.shim_pid = 0
        self.frame = b""
        """The launch, until the shim shows itself."""
        self.launched_at = 0.0
        self.launches = 1
        self.chips: dict[int, int] = {}
        """Milli of each chip, by index."""
        self.use_sum = 0
        self.use_samples = 0
        self.power_sum = 0
        """Milliwatts of its share of its chips, over the samples in which all of them told their power."""
        self.power_samples = 0
        self.stop_asked: Stop | None = None
        """A stop that came before the shim showed itself."""
        self.held = False
        """True when its files are on disk, or may be."""
        self.image = ""
        """Id of the image that it runs in."""

    def read_log(self, offset: int, limit: int) -> bytes:
        """See `outbox.Source`."""
        return logs.read_piece(self.log_path, offset, limit)


def shares(wanted: WantedReplica) -> dict[int, int]:
    return {chip.index: chip.milli for chip in wanted.chips}


def report_of(local: Local, move: spool.Move, *, began: int) -> ReplicaReport:
    """What the server is told of a move. `began`: wall-clock ms of the first one."""
    attempt, replica, generation = local.track.key
    use, energy = move.get("use_permille"), None
    if move["state"] == "ended" and use is None and local.use_samples:
        use = local.use_sum // local.use_samples
    if move["state"] == "ended" and local.power_samples:
        lived_ms = max(0, number(move, "at") - began)
        energy = local.power_sum * lived_ms // (local.power_samples * 1000)
    exit_code = move.get("exit_code")
    state = move["state"]
    assert state in ("starting", "running", "stopping", "ended")
    return ReplicaReport(
        attempt=attempt,
        replica=replica,
        generation=generation,
        state=state,
        at=number(move, "at"),
        exit_code=exit_code if isinstance(exit_code, int) else None,
        outcome=str(move.get("outcome", "")),
        sentence=str(move.get("sentence", "")),
        log_size=number(move, "log_size"),
        cpu_time_ms=number(move, "cpu_time_ms"),
        memory_peak_mib=number(move, "memory_peak_mib"),
        use_permille=use if isinstance(use, int) else None,
        energy_mj=energy,
        image=str(move.get("digest", "")),
    )


def number(move: spool.Move, name: str) -> int:
    value = move.get(name)
    return value if isinstance(value, int) else 0
