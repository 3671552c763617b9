"""The scheduling engine: a pure function from a snapshot to a decision.

It reads no clock, no random source, no file, no socket. `docs/scheduling.md` numbers its rules.
"""

from scheduler_core.decision import Decision, Start, Unit, Verdict
from scheduler_core.engine import Scheduler, decide
from scheduler_core.model import Snapshot
from scheduler_core.policy import Policy
from scheduler_core.refusal import SnapshotRefused, check_snapshot

__all__ = [
    "Decision",
    "Policy",
    "Scheduler",
    "Snapshot",
    "SnapshotRefused",
    "Start",
    "Unit",
    "Verdict",
    "check_snapshot",
    "decide",
]
