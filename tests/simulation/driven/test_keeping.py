"""A run that is cut goes on as if it had not been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scheduler_core import Policy
from scheduler_core.simulation.driven import Driven, Keeping, drive
from scheduler_core.simulation.replay.clock import NodeLoss
from scheduler_core.simulation.workload import Workload
from tests.simulation.replay.small import jobs, on_chips

LEVELS = tuple(60_000 << level for level in range(32))


class Cut(Exception):  # noqa: N818 - it is no error
    """The machine is gone."""


@pytest.mark.parametrize("tells_mix", [False, True])
def test_it_goes_on_as_if_it_had_not_been_cut(tmp_path: Path, tells_mix: bool) -> None:
    """Much is taken and moved, and a node is lost."""
    work, keeping = _contended(), Keeping(tmp_path / "run", "this", 7)
    options: dict[str, Any] = {"losses": (NodeLoss(1, 1_500_000, 2_500_000),), "tells_mix": tells_mix}
    whole = drive(work, on_chips(24), Policy(service_levels=LEVELS), **options)
    assert whole.outcome.evictions > 3
    cuts = 0
    while True:
        try:
            parts = drive(
                work,
                on_chips(24),
                Policy(service_levels=LEVELS),
                keeping=keeping,
                progress=_cut_after(20),
                **options,
            )
            break
        except Cut:
            cuts += 1
    assert cuts >= 3
    assert _told(parts) == _told(whole)
    assert not keeping.path.exists()


def test_what_is_kept_of_another_run_is_refused(tmp_path: Path) -> None:
    Keeping(tmp_path / "run", "that").keep(())
    with pytest.raises(ValueError, match="keeps the run 'that', not 'this'"):
        drive(_contended(), on_chips(24), Policy(), keeping=Keeping(tmp_path / "run", "this"))


def _contended() -> Workload:
    chance = np.random.default_rng(5)
    came = np.sort(chance.integers(0, 3600, 30)).tolist()
    sizes = chance.choice([1, 2, 4, 8, 16], 30, p=[0.4, 0.2, 0.2, 0.15, 0.05]).tolist()
    return jobs(list(zip(came, chance.integers(60, 4000, 30).tolist(), sizes, strict=True)))


def _cut_after(rounds: int) -> Any:
    left = rounds

    def progress(done: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Cut

    return progress


def _told(driven: Driven) -> Any:
    outcome = driven.outcome
    return (
        outcome.finished.tolist(), outcome.first_start.tolist(), outcome.allocated, outcome.lost, outcome.evictions,
        outcome.moves, outcome.interrupted, outcome.decisions, driven.runs, driven.efforts,
    )  # fmt: skip
