"""The pipeline among the examples, submitted as a reader would, on a live platform."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.platform import LivePlatform, own_environment

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "examples/pipeline/pipeline.yaml"


def test_every_step_starts_after_what_it_waits_for(platform: LivePlatform) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flexai.cli", "apply", "-f", str(EXAMPLE), "--wait"],
        env=own_environment() | {"FLEXAI_URL": platform.url, "FLEXAI_TOKEN": platform.token},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "3 fits; a line is not enough: True" in done.stdout
    jobs = {}
    for job in platform.client().jobs.list(limit=6):
        jobs.setdefault(job["name"], []).append(job)
    began = {name: min(_instant(job["started_at"]) for job in of_name) for name, of_name in jobs.items()}
    ended = {name: max(_instant(job["ended_at"]) for job in of_name) for name, of_name in jobs.items()}
    assert len(jobs["fit"]) == 3
    assert ended["prepare"] <= began["fit"]
    assert ended["fit"] <= began["report"]
    assert ended["report"] <= began["tidy-up"]
    [report] = jobs["report"]
    told = platform.client().jobs.get(report["id"])
    assert [(one["name"], one["kind"], one["standing"]) for one in told["depends_on"]] == [
        ("fit", "set", "met")
    ]
    assert [one["name"] for one in told["dependents"]] == ["tidy-up"]
    assert any(
        "all tasks of fit" in event["sentence"] for event in platform.client().jobs.events(report["id"])
    )


def _instant(text: str | None) -> datetime:
    assert text is not None
    return datetime.fromisoformat(text)
