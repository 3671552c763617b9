"""The history of a cell as a file: read, refused with line and key, and written as it is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scheduler_core.simulation.simulate.history import read_history, write_history
from scheduler_core.simulation.simulate.options import NodeGroup, TeamQuota, node_groups
from scheduler_core.simulation.simulate.sources import SAMPLE, Asked, scenario_of, scenario_of_history
from scheduler_core.simulation.tables import TraceError
from scheduler_core.simulation.traces import traces_folder

NODES = [{"count": 2, "chips": 4, "chip_type": "A100", "cpu_millicores": 64000, "memory_mib": 1024}]
HEADER = {"flexai_history": 1, "name": "ours", "nodes": NODES}
WHOLE = {
    "team": "b",
    "submitted_ms": 5000,
    "run_ms": 60_000,
    "chips": 2,
    "replicas": 2,
    "chip_types": ["A100"],
}
SLICE = {"team": "a", "submitted_ms": 2000, "run_ms": 1000, "milli_chips": 300, "cpu_millicores": 500}
CPU_ONLY = {"team": "a", "submitted_ms": 9000, "run_ms": 1000, "cpu_millicores": 500, "memory_mib": 10}
NEVER_RAN = {"team": "a", "submitted_ms": 1, "run_ms": 0, "chips": 1}


def asked_of_sample() -> Asked:
    return Asked(SAMPLE.parent)


def a_file(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "history.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def test_jobs_are_read_in_the_order_of_their_submission(tmp_path: Path) -> None:
    history = read_history(a_file(tmp_path, HEADER, WHOLE, SLICE, NEVER_RAN, CPU_ONLY))
    work = history.work
    assert history.groups == (NodeGroup(2, 4, "A100", 64000, 1024),)
    assert work.submit.tolist() == [0, 3000, 7000]
    assert work.chips.tolist() == [1, 2, 0]
    assert work.milli.tolist() == [300, 2000, 0]
    assert work.replicas.tolist() == [1, 2, 1]
    assert [work.teams[team] for team in work.team] == ["a", "b", "a"]


def test_what_is_saved_is_read_again_as_it_is(tmp_path: Path) -> None:
    quotas = [
        {"team": "a", "chip_type": "A100", "guaranteed_chips": 2, "limit_chips": 3},
        {"team": "b", "chip_type": "A100", "guaranteed_chips": 4},
        {"team": "gone", "chip_type": "A100", "guaranteed_chips": 4},
    ]
    header = {**HEADER, "quotas": quotas}
    scenario = scenario_of_history(a_file(tmp_path, header, WHOLE, SLICE, CPU_ONLY), Asked(tmp_path))
    assert scenario.quotas == (TeamQuota("a", "A100", 2, 3), TeamQuota("b", "A100", 4, None))
    assert "1 quotas are for teams or chip types that are not there." in scenario.about
    for name in ("again.jsonl", "again.jsonl.gz"):
        write_history(tmp_path / name, scenario)
        again = scenario_of_history(tmp_path / name, Asked(tmp_path))
        assert again.quotas == scenario.quotas
        assert again.nodes == scenario.nodes == "2 × 4 A100"
        assert again.cluster.capacity.tolist() == scenario.cluster.capacity.tolist()
        for column in ("submit", "runtime", "replicas", "chips", "milli", "cpu", "memory", "team", "types"):
            assert getattr(again.work, column).tolist() == getattr(scenario.work, column).tolist(), column


@pytest.mark.parametrize(
    ("lines", "because"),
    [
        (["hello"], "row 1: is not JSON"),
        ([{"name": "x"}], "row 1, column 'flexai_history'"),
        ([HEADER], "holds no job that ran"),
        ([HEADER, {**SLICE, "run_ms": -1}], "row 2, column 'run_ms': -1 is not between"),
        ([HEADER, {**SLICE, "run_ms": 1.5}], r"row 2, column 'run_ms': 1\.5 is not a whole number"),
        ([HEADER, SLICE, {**SLICE, "chips": 2}], "row 3, column 'milli_chips': a replica has whole chips or"),
        ([HEADER, {**SLICE, "milli": 3}], "row 2, column 'milli': not a key of this line"),
        ([HEADER, {"submitted_ms": 1, "run_ms": 1}], "row 2, column 'team': missing"),
        ([HEADER, {**SLICE, "milli_chips": 1000}], "column 'milli_chips': 1000 is not between 1 and 999"),
        ([{**HEADER, "nodes": [{"count": 0, "chips": 1, "chip_type": "A"}]}, SLICE], "column 'count'"),
        ([HEADER, [1]], "row 2: is not a JSON object"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, lines: list[object], because: str) -> None:
    with pytest.raises(TraceError, match=because):
        read_history(a_file(tmp_path, *lines))


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"nowhere\.jsonl: there is no such file"):
        read_history(tmp_path / "nowhere.jsonl")
    (tmp_path / "not.jsonl.gz").write_bytes(b"plain")
    with pytest.raises(TraceError, match="cannot be read as text"):
        read_history(tmp_path / "not.jsonl.gz")


@pytest.mark.skipif(not traces_folder(None).is_dir(), reason="the traces are not here: set FLEXAI_TRACES")
def test_the_sample_is_what_its_origin_gives() -> None:
    asked = Asked(traces_folder(None), node_groups("4x8:A100-80GB"), load=150, jobs=400)
    ours, drawn = scenario_of("sample", asked_of_sample()), scenario_of("openb", asked)
    assert ours.nodes == drawn.nodes
    for column in ("runtime", "chips", "milli", "cpu", "memory"):
        assert getattr(ours.work, column).tolist() == getattr(drawn.work, column).tolist(), column


def test_the_sample_says_what_it_is() -> None:
    scenario = scenario_of("sample", asked_of_sample())
    assert len(scenario.work) == 400
    assert "sample" in scenario.about[0]
    assert "too small for conclusions" in scenario.about[0]
