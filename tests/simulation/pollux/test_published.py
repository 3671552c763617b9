"""The rebuilt simulator gives the authors' own completion times, and the engine's rule runs on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler_core.simulation.pollux.command import FOLDER, outcome_of
from scheduler_core.simulation.pollux.traces import read_expected, read_workload
from scheduler_core.simulation.tables import TraceError
from scheduler_core.simulation.traces import traces_folder

TRACES = traces_folder(None) / FOLDER

pytestmark = pytest.mark.skipif(
    not TRACES.is_dir(),
    reason=f"the traces are not at {TRACES}: set FLEXAI_TRACES to the folder that holds {FOLDER}",
)


@pytest.mark.parametrize("policy", ["tiresias", "optimus"])
def test_every_job_ends_at_the_published_second(policy: str) -> None:
    expected = read_expected(TRACES, policy, "1.0")
    assert expected is not None
    completion = outcome_of((TRACES, "1.0", 1, policy)).completion
    assert completion == {name: round(seconds) for name, seconds in expected["workload-1"].items()}


def test_e1_elastic_jobs_end_sooner_than_under_the_published_pollux() -> None:
    expected = read_expected(TRACES, "pollux", "1.0")
    assert expected is not None
    outcome = outcome_of((TRACES, "1.0", 1, "flexai"))
    published = expected["workload-1"]
    assert outcome.completion.keys() == published.keys()
    assert sum(outcome.completion.values()) < sum(published.values())
    assert outcome.restarts > 0


def test_a_missing_workload_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"workload-1\.csv"):
        read_workload(tmp_path, "1.0", 1)
