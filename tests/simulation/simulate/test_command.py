"""`flexai simulate`, as a stranger meets it."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from scheduler_core.simulation.simulate import command
from scheduler_core.simulation.simulate.measures import FEWEST_JOBS
from scheduler_core.simulation.simulate.players import ABOUT
from scheduler_core.simulation.traces import traces_folder

ROOT = Path(__file__).parents[3]

app = typer.Typer()
app.command()(command.simulate)


def told(*options: str) -> Result:
    return CliRunner().invoke(app, list(options), env={"COLUMNS": "200"})


def a_history(tmp_path: Path, team: str = "a") -> Path:
    """Twelve halves of a chip, an hour each, every ten minutes; one chip."""
    path = tmp_path / "ours.jsonl"
    header = {"flexai_history": 1, "name": "ours", "nodes": [{"count": 1, "chips": 1, "chip_type": "T4"}]}
    jobs = [
        {"team": team, "submitted_ms": 600_000 * n, "run_ms": 3_600_000, "milli_chips": 500}
        for n in range(12)
    ]
    path.write_text("\n".join(json.dumps(line) for line in [header, *jobs]) + "\n")
    return path


def test_the_sample_is_played_and_the_engine_does_more_useful_work() -> None:
    result = told("--policies", "flexai,fifo", "--jobs", "120", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    useful = {one["policy"]: one["useful"] for one in found["policies"]}
    assert useful["flexai"] > useful["fifo"]
    assert found["trace"] == "sample"
    assert "too small for conclusions" in found["notes"][0]
    assert "useful utilisation" in result.stderr


def test_a_cells_own_history_with_table_csv_and_report(tmp_path: Path) -> None:
    page, sheet, saved = tmp_path / "r.html", tmp_path / "r.csv", tmp_path / "s.jsonl"
    files = ["--html", str(page), "--csv", str(sheet), "--save", str(saved)]
    result = told("--history", str(a_history(tmp_path, "<b>&$")), "--policies", "flexai,fifo,easy", *files)
    assert result.exit_code == 0, result.output
    assert "static whole-chip FIFO" in result.stdout
    rows = list(csv.DictReader(sheet.open()))
    assert [row["policy"] for row in rows] == ["flexai", "fifo", "easy"]
    assert float(rows[0]["makespan"]) < float(rows[1]["makespan"])
    assert len(saved.read_text().splitlines()) == 13
    html = page.read_text()
    assert "http" not in html
    assert "<script" not in html
    assert "&lt;b&gt;&amp;$" in html
    assert html.count("<svg") == 5
    assert not re.search(r"#0a0[bc]", html)
    identifiers = re.findall(r' id="([^"]+)"', html)
    assert len(identifiers) == len(set(identifiers))
    assert {name for name in ABOUT if f"--{name}:" in html} == set(ABOUT)
    assert "Finish-time fairness" in html
    assert FEWEST_JOBS <= 12


def test_the_same_run_gives_the_same_report(tmp_path: Path) -> None:
    pages = []
    for name in ("one.html", "two.html"):
        told(
            "--history", str(a_history(tmp_path)), "--policies", "flexai,fifo", "--html", str(tmp_path / name)
        )
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_a_quota_edit_is_played_and_told(tmp_path: Path) -> None:
    result = told(
        "--history", str(a_history(tmp_path)), "--policies", "flexai", "--quota", "a:T4=1", "--json"
    )
    assert result.exit_code == 0, result.output
    assert "a 1 T4 guaranteed." in " ".join(json.loads(result.stdout.splitlines()[-1])["notes"])


def test_faults_are_drawn_and_told(tmp_path: Path) -> None:
    result = told(
        "--history", str(a_history(tmp_path)), "--policies", "flexai,fifo", "--faults", "2h:10m", "--json"
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["losses"] > 0
    assert all(one["interruptions"] > 0 for one in found["policies"])
    assert any(
        "each node is lost every 2 h on average and back after 10 min" in note for note in found["notes"]
    )


@pytest.mark.parametrize(
    ("options", "because"),
    [
        (["--trace", "phily"], "No trace is called 'phily'. Did you mean philly?"),
        (
            ["--trace", "philly", "--traces", "/nowhere"],
            "name the folder that holds them with --traces or FLEXAI_TRACES",
        ),
        (["--policies", "fife"], "No policy is called 'fife'. Did you mean fifo?"),
        (["--nodes", "16x8"], "16x8:H100-80GB is 16 nodes of 8 chips"),
        (["--quota", "LS=3"], "such as vision:H100-80GB=4:8"),
        (["--quota", "LX:A100-80GB=3"], "No team is called 'LX'. There are BE, Burstable, LS."),
        (["--faults", "never"], "expected FAILURES:REPAIR"),
        (["--trace", "sample:2"], "sample has no parts"),
        (["--load", "80"], "--load: a history came as it came"),
        (["--html", "/nowhere/at/all.html"], "there is no folder /nowhere/at"),
        (["--history", "nowhere.jsonl"], "nowhere.jsonl: there is no such file"),
        (["--history", "nowhere.jsonl", "--trace", "itp"], "are two workloads; give one"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_would_do(options: list[str], because: str) -> None:
    result = told(*options)
    assert result.exit_code == 2
    assert because in " ".join(result.output.split())


def test_a_cluster_that_holds_no_job_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    header = {"flexai_history": 1, "name": "large"}
    path.write_text(
        "\n".join(map(json.dumps, [header, {"team": "a", "submitted_ms": 0, "run_ms": 1, "chips": 8}]))
    )
    result = told("--history", str(path), "--nodes", "4x4:T4")
    assert result.exit_code == 2
    assert "No job of large fits this cluster (4 × 4 T4): the smallest asks for 1 x 8 chips" in " ".join(
        result.output.split()
    )
    assert "names no nodes" in told("--history", str(path)).output


def test_a_policy_that_comes_to_no_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(scenario: object, name: str, *others: object) -> None:
        raise RuntimeError("it leaves 3 jobs waiting for ever")

    monkeypatch.setattr(command, "play", stuck)
    result = told(
        "--history", str(a_history(tmp_path)), "--policies", "fifo", "--html", str(tmp_path / "r.html")
    )
    assert result.exit_code == 1
    assert "fifo failed: it leaves 3 jobs waiting for ever" in result.output
    assert "came to no end" in (tmp_path / "r.html").read_text()


def test_the_command_line_does_not_load_the_simulator_before_it_is_asked_to() -> None:
    script = (
        "import flexai.cli.main, sys; sys.exit(any(name in sys.modules for name in ('numba', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0


def test_the_sample_is_played_without_the_compiler() -> None:
    """It would take a minute of a newcomer's first look."""
    script = (
        "from typer.testing import CliRunner; from tests.simulation.simulate.test_command import app; "
        "ran = CliRunner().invoke(app, ['--policies', 'fifo,easy,tiresias', '--jobs', '60']); "
        "import sys; sys.exit('numba' in sys.modules or ran.exit_code)"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=120, cwd=ROOT).returncode == 0


@pytest.mark.skipif(not traces_folder(None).is_dir(), reason="the traces are not here: set FLEXAI_TRACES")
@pytest.mark.parametrize(
    ("trace", "nodes"),
    [("philly", ""), ("itp", "4x16:A100"), ("pollux:3", ""), ("openb", ""), ("openb", "4x8:G2")],
)
def test_every_public_trace_is_read(trace: str, nodes: str) -> None:
    options = ["--trace", trace, "--policies", "fifo", "--jobs", "40", "--json"]
    result = told(*options, *(["--nodes", nodes] if nodes else []))
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["jobs"] == 40
    assert found["policies"][0]["done"] + found["policies"][0]["refused"] == 40
    assert found["policies"][0]["done"] > 30
