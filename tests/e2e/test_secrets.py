"""A secret on a live platform: a job has it, its log has a mask, and it lies nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.platform import LivePlatform
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
VALUE = "correct-horse-battery-staple"


def test_a_job_has_its_secret_and_nothing_else_of_the_platform_holds_it(platform: LivePlatform) -> None:
    client = platform.client()
    team = next(iter(client.teams.list()))
    client.secrets.set(team["id"], "HF_TOKEN", VALUE)
    script = 'echo "it is $TOKEN"; while [ ! -e go ]; do sleep 0.05; done; exit $(printf %s "$TOKEN" | wc -c)'
    spec = {"name": "secret", "team": team["name"], "commands": [script], "secrets": {"TOKEN": "HF_TOKEN"}}
    job = client.jobs.submit(spec)
    wait_for(lambda: client.jobs.log_slice(job["id"])["text"], "a log")
    places = [*platform.data_dir.rglob("*"), *Path("/proc").glob("[0-9]*/cmdline")]
    assert len(places) > 100
    assert [path for path in places if path.is_file() and VALUE.encode() in _read(path)] == []
    (next(platform.data_dir.rglob(f"jobs/{job['id']}")) / "go").touch()
    done = client.jobs.wait(job["id"], timeout=60)
    assert done["exit_code"] == len(VALUE)
    assert "".join(client.jobs.logs(job["id"])) == "it is ***\n"
    assert client.secrets.get(team["id"], "HF_TOKEN")["used_at"] is not None
    told = [client.jobs.get(job["id"]), *client.jobs.events(job["id"])]
    told += [*client.audit(), *client.secrets.list(team["id"])]
    assert VALUE not in repr(told)
    client.secrets.remove(team["id"], "HF_TOKEN")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # gone meanwhile
