"""The command and the client against a platform that really runs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from flexai.client import Conflict, InvalidInput, NotFound
from tests.cli.conftest import Shell
from tests.support.platform import LivePlatform

pytestmark = pytest.mark.slow


@pytest.fixture
def shell(tmp_path: Path, platform: LivePlatform) -> Shell:
    return Shell(tmp_path, {"FLEXAI_URL": platform.url, "FLEXAI_TOKEN": platform.token})


def test_a_run_is_streamed_and_its_exit_code_is_ours(shell: Shell) -> None:
    done = shell(
        "run", "--name", "live", "--wait", "--timeout", "60s", "-e", "A=b c", "--", 'echo "$A"; exit 7'
    )
    assert (done.code, done.out) == (7, "b c\n")
    assert "failed" in shell("explain", "live").out
    assert shell("logs", "live").out == "b c\n"
    assert [
        job["exit_code"] for job in shell("ps", "--json", "--status", "failed", "--name", "live").json
    ] == [7]


def test_files_and_arrays_arrive(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "hello.sh").write_text("echo from a file\n")
    (tmp_path / "jobs.yaml").write_text(
        "name: filed\ncommands: [sh hello.sh]\nfiles: {hello.sh: {path: hello.sh}}\n"
        "---\nname: many\ncommands: ['true']\narray: 0-3\nresources: {cpus: 0.05}\n"
    )
    done = shell("apply", "-f", "jobs.yaml", "--wait", "--json")
    assert done.code == 0, done.err
    assert "from a file" in done.err
    assert done.json[1]["count"] == 4
    assert len(shell("ps", "--json", "--name", "many", "--status", "succeeded").json) == 4


def test_a_schedule_is_made_listed_paused_and_deleted(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "nightly.yaml").write_text(
        "name: nightly\ncommands: ['true']\nschedule: {cron: 30 2 * * *, timezone: Europe/Berlin}\n"
    )
    done = shell("apply", "-f", "nightly.yaml")
    assert (done.code, done.out.startswith("sched-")) == (0, True), done.err
    assert "30 2 * * *" in shell("schedule").out
    assert shell("schedule", "pause", "nightly", "--json").json["next_at"] is None
    assert shell("apply", "-f", "nightly.yaml").code == 1, "there is one of this name"
    assert shell("schedule", "delete", "nightly").code == 0
    assert shell("schedule", "resume", "nightly").code == 4


def test_a_webhook_is_made_tried_changed_and_deleted(shell: Shell) -> None:
    """Its receiver is this machine, which nobody allowed: nothing leaves it."""
    made = shell("webhook", "create", "ci", "https://localhost:1/take", "--event", "job.failed")
    assert (made.code, made.out.startswith("whsec_")) == (0, True), made.err
    assert shell("webhook", "create", "ci", "https://localhost:1/take").code == 1, "there is one of this name"
    refused = shell("webhook", "create", "x", "https://localhost:1/take", "--event", "job.exploded")
    assert (refused.code, "known are job.submitted" in refused.err) == (1, True)
    assert "job.failed" in shell("webhook", "list").out
    assert shell("webhook", "ping", "ci").code == 0
    give_up_at = time.monotonic() + 60
    while "not on the public internet" not in (told := shell("webhook", "deliveries", "ci", "--json")).out:
        assert time.monotonic() < give_up_at, told.out
        time.sleep(0.2)
    [message] = told.json
    assert (message["event"], message["state"]) == ("ping", "pending")
    assert shell("webhook", "redeliver", "ci", message["id"]).code == 1, "it is on its way"
    assert "off" in shell("webhook", "change", "ci", "--off").err
    assert shell("webhook", "change", "ci", "--on", "--json").json["on"] is True
    assert shell("webhook", "redeliver", "ci", message["id"], "--json").json["tries"] == 0
    assert shell("webhook", "secret", "ci").out != made.out
    assert "https://localhost:1/take" in shell("webhook", "show", "ci").out
    assert shell("webhook", "delete", "ci").code == 0
    assert shell("webhook", "show", "ci").code == 4


def test_what_never_fits_or_is_misspelt_is_refused(shell: Shell) -> None:
    assert shell("run", "--dry-run", "-a", "cpu:1", "--", "true").code == 0
    done = shell("run", "-a", "cpu:10000", "--", "true")
    assert done.code == 1
    assert done.out == ""
    assert "10000" in done.err.replace(",", "")


def test_a_job_is_stopped_and_requeued(shell: Shell, platform: LivePlatform) -> None:
    client = platform.client()
    job_id = shell("run", "--name", "long", "--", "sleep 600").out.strip()
    assert shell("stop", job_id).code == 0
    assert client.jobs.wait(job_id, timeout=60)["status"] == "cancelled"
    assert shell("requeue", job_id).code == 0
    assert shell("stop", job_id, "--reason", "again").code == 0
    assert client.jobs.wait(job_id, timeout=60)["status"] == "cancelled"


def test_held_waits_and_resume_lets_it_go(shell: Shell, platform: LivePlatform) -> None:
    job_id = shell("run", "--hold", "--", "true").out.strip()
    assert platform.client().jobs.get(job_id)["status"] == "held"
    assert shell("resume", job_id).code == 0
    assert platform.client().jobs.wait(job_id, timeout=60)["status"] == "succeeded"


def test_signing_in_with_the_password_makes_a_working_token(tmp_path: Path, platform: LivePlatform) -> None:
    stranger = Shell(tmp_path)
    done = stranger(
        "login",
        platform.url,
        "--username",
        platform.username,
        "--password-stdin",
        stdin=platform.password + "\n",
    )
    assert done.code == 0, done.err
    assert stranger("ps").code == 0
    assert (
        stranger("login", platform.url, "--username", "admin", "--password-stdin", stdin="wrong\n").code == 3
    )
    secret = stranger("token", "create", "ci", "--read-only").out.strip()
    reader = Shell(tmp_path, {"FLEXAI_URL": platform.url, "FLEXAI_TOKEN": secret})
    assert reader("ps").code == 0
    assert reader("run", "--", "true").code == 3
    token_id = next(
        token["id"] for token in stranger("token", "list", "--json").json if token["name"] == "ci"
    )
    assert stranger("token", "revoke", token_id).code == 0
    assert reader("ps").code == 3


def test_nodes_chips_and_quotas_are_shown_and_changed(shell: Shell) -> None:
    (node,) = shell("nodes", "--json").json
    assert node["status"] == "ready"
    assert shell("nodes", "cordon", node["name"], "--json").json["state"] == "cordoned"
    assert shell("nodes", "return", node["id"], "--json").json["state"] == "ready"
    assert len(shell("top", "--json").json) == len(node["chips"])
    assert shell("top").code == 0
    chip = f"{node['name']}:0"
    assert chip in shell("chips").out
    assert shell("chips", "--out", "--json").json == []
    assert shell("chips", "cordon", chip, "--reason", "it smells").code == 0
    (out,) = shell("chips", "--out", "--json").json
    assert (out["state"], out["healthy"], out["health_note"]) == ("cordoned", False, "Cordoned: it smells")
    assert "in service" in shell("chips", "return", chip).out
    assert shell("chips", "cordon", "nowhere:0", "--reason", "x").code == 4
    assert "No chip is lent" in shell("chips", "--lent").err
    team = shell("quota", "--json").json[0]["name"]
    assert shell("quota", "set", team, "cpu=1:100").code == 0
    assert "100" in shell("quota").out


def test_more_quota_is_asked_for_and_granted(shell: Shell, platform: LivePlatform) -> None:
    team = shell("quota", "--json").json[0]["name"]
    asked = shell("quota", "request", team, "TPU=4:8", "--reason", "the paper is due", "--json")
    assert asked.code == 0, asked.err
    request = asked.json
    assert request["asked"] == {"guaranteed_milli": 4000, "limit_milli": 8000, "over_quota_weight": 1}
    assert "withdraw it" in shell("quota", "request", team, "TPU=5", "--reason", "more").err
    listed = shell("quota", "requests").out
    assert request["id"] in listed
    assert "4:8" in listed
    assert max(map(len, listed.splitlines())) <= 80
    granted = shell("quota", "approve", request["id"], "2:none", "--answer", "half")
    assert granted.code == 0, granted.err
    assert "2:none" in granted.out
    assert "half" in granted.err
    assert shell("quota", "withdraw", request["id"]).code != 0
    assert "No request waits" in shell("quota", "requests").err
    quotas = {quota["chip_type"]: quota for quota in shell("quota", "--json").json[0]["quotas"]}
    assert (quotas["TPU"]["guaranteed_milli"], quotas["TPU"]["limit_milli"]) == (2000, None)
    client = platform.client()
    more = client.quota_requests.create(team, "TPU", {"guaranteed_milli": 9000}, reason="more")
    assert shell("quota", "decline", more["id"], "--reason", "nothing is left").code == 0
    told = [(one["state"], one["answer"]) for one in client.quota_requests.list(state="declined")]
    assert told == [("declined", "nothing is left")]
    (one,) = [found for found in client.teams.list() if found["name"] == team]
    client.quotas.set(one["id"], [quota for quota in one["quotas"] if quota["chip_type"] != "TPU"])


def test_more_budget_is_asked_for_and_granted(shell: Shell, platform: LivePlatform) -> None:
    client = platform.client()
    team = next(iter(client.teams.list()))
    assert "either TYPE=N[:M]" in shell("quota", "request", team["name"], "--reason", "why").err
    lacking = shell("quota", "request", team["name"], "--chip-hours", "9", "--reason", "why")
    assert "has no budget of its own" in lacking.err
    path = f"/teams/{team['id']}/budget"
    client._transport.send("PUT", path, body={"chip_hours": 1000})
    try:
        asked = shell("quota", "request", team["name"], "--chip-hours", "2000", "--reason", "why", "--json")
        assert asked.code == 0, asked.err
        assert asked.json["asked"] == {"chip_hours": 2000, "money_micro": None}
        assert "2000 h" in shell("quota", "requests").out
        granted = shell("quota", "approve", asked.json["id"], "--chip-hours", "none", "--money", "12.5")
        assert granted.code == 0, granted.err
        assert "12.50 EUR" in granted.out
        budget = client._transport.get(f"/teams/{team['id']}")["budget"]
        assert (budget["chip_hours"], budget["money_micro"]) == (None, 12_500_000)
    finally:
        client._transport.send("DELETE", path)


def test_the_past_is_exported_for_the_simulator_and_savings_are_told(shell: Shell) -> None:
    assert shell("run", "--name", "past", "--wait", "-a", "cpu:1", "--", "sleep 1").code == 0
    assert shell("export-history", "-o", "past.jsonl").code == 0
    header, *jobs = [json.loads(line) for line in (shell.home / "past.jsonl").read_text().splitlines()]
    assert header["nodes"][0]["chip_type"] == "cpu"
    assert any(job["run_ms"] >= 500 and job["chips"] == 1 for job in jobs), jobs
    assert "row" not in shell("export-history", "--to", "1999-01-01").out
    told = shell("savings", "--since", "2026-01-01", "--json")
    assert told.code == 0, told.err
    assert "static whole-chip" in told.json["method"]
    assert "No day was played yet" in shell("savings").err


def test_owners_see_who_decided_what(shell: Shell) -> None:
    ran = shell("run", "--name", "audited", "--wait", "--json", "--", "true").json
    (entry,) = shell("audit", "--object", ran["id"], "--json").json
    assert (entry["action"], entry["object_kind"]) == ("job.submitted", "job")
    shown = shell("audit", "--action", "job", "-n", "1").out
    assert "job.submitted" in shown
    assert "127.0.0.1" in shown
    assert "Nothing such" in shell("audit", "--action", "moon.landed").err


def test_the_client_sees_what_the_contract_says(platform: LivePlatform) -> None:
    client = platform.client()
    spec = {"name": "sdk", "commands": ["echo hi"], "labels": {"k": "v"}}
    job = client.jobs.submit(spec, idempotency_key="once")
    assert client.jobs.submit(spec, idempotency_key="once")["id"] == job["id"]
    with pytest.raises(Conflict):
        client.jobs.submit({**spec, "name": "other"}, idempotency_key="once")
    assert "".join(client.jobs.logs(job["id"], follow=True)) == "hi\n"
    ended = client.jobs.wait(job["id"], timeout=60)
    assert (ended["status"], ended["exit_code"], ended["spec"]) == ("succeeded", 0, spec)
    assert {event["to_state"] for event in client.jobs.events(job["id"])} >= {
        "queued",
        "running",
        "succeeded",
    }
    assert [found["id"] for found in client.jobs.list(labels={"k": "v"})] == [job["id"]]
    with pytest.raises(InvalidInput) as caught:
        client.jobs.submit({"name": "x", "comands": ["true"]})
    assert "commands" in str(caught.value)
    with pytest.raises(NotFound):
        client.jobs.get("job-nothing")
