"""A run of many jobs is played by machine code, one of few by plain Python; both play alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scheduler_core.simulation.replay import state
from scheduler_core.simulation.replay.clock import NodeLoss
from scheduler_core.simulation.replay.in_line import EASY
from scheduler_core.simulation.replay.levels import Levels
from scheduler_core.simulation.replay.placing import FGD
from scheduler_core.simulation.replay.policies import (
    LEARNED_MEDIAN,
    TIRESIAS_RELEASED,
    InLine,
    Manner,
    Policy,
    Tiresias,
)
from scheduler_core.simulation.replay.running import Outcome
from tests.simulation.replay.small import jobs, on_chips, played


@pytest.mark.long  # a minute of a core each, for code that no other test of `make test` runs
@pytest.mark.timeout(1200)  # it compiles all that a policy is made of, unless that is kept from another run
@pytest.mark.parametrize(
    "policy",
    [
        Levels("levels"),
        InLine("easy", Manner(EASY, FGD, LEARNED_MEDIAN)),
        Tiresias("tiresias", TIRESIAS_RELEASED),
    ],
    ids=lambda policy: policy.name,
)
def test_machine_code_plays_as_plain_python_does(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(5)
    come, last = np.sort(draw.integers(0, 9_000, 120)).tolist(), draw.integers(1, 3_000, 120).tolist()
    widths = draw.choice([1, 1, 2, 3, 4, 8, 8, 16], 120).tolist()
    work, losses = jobs(list(zip(come, last, widths, strict=True))), (NodeLoss(1, 900_000, 2_000_000),)
    plain = _told(played(work, on_chips(40), policy, *losses, rejected=2))
    monkeypatch.setattr(state, "MACHINE_FROM", 1)
    assert _told(played(work, on_chips(40), policy, *losses, rejected=2)) == plain
    assert max(plain["runs"]) > 1


def _told(outcome: Outcome) -> dict[str, Any]:
    """All that the outcome says of the jobs and of the cell, as plain values."""
    rows = {name: getattr(outcome, name).tolist() for name in ("finished", "first_start", "runs")}
    names = ("allocated", "stranded", "lost", "evictions", "moves", "interrupted", "rejected", "decisions")
    return rows | {name: getattr(outcome, name) for name in names}
