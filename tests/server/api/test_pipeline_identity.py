"""A pipeline acts by the identity that its CI system gave it: the command and the CI kit, as processes, against a
server that answers and an issuer that signs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from flexai.common.broker import valkey
from flexai.jobs.models import Job
from flexai.tenancy.models import AuditEntry, Organization, User
from flexai.tenancy.tokens import create_token
from tests.support.issuer import Issuer, an_issuer
from tests.support.tenants import a_cell, a_node, a_tenant

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).parents[3]
ACTION = yaml.safe_load((ROOT / "deploy/ci/github/action.yml").read_text())
GITLAB = yaml.safe_load((ROOT / "deploy/ci/gitlab.yml").read_text())[".flexai"]


@dataclass
class Pipeline:
    """A fresh machine with the command, the platform's address and the name of a trust rule; no secret."""

    home: Path
    issuer: Issuer
    rule: str
    environment: dict[str, str]

    def ran(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments, env={**self.environment, **more}, cwd=self.home, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip

    def flexai(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return self.ran("flexai", *arguments, **more)


@pytest.fixture
def pipeline(tmp_path: Path, live_server: Any, settings: Any) -> Iterator[Pipeline]:
    a_cell()
    a_node(chips=1)
    api = a_tenant("acme").api
    api.post("/service-accounts", {"name": "ci", "role": "member", "team": "research"})
    valkey().flushdb()
    command = tmp_path / "bin/flexai"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flexai.cli "$@"\n')
    command.chmod(0o755)
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({"name": "ci", "commands": ["true"], "hold": True}))
    with an_issuer() as issuer:
        settings.PRIVATE_ISSUERS = [issuer.url]
        rule = api.post("/trust-rules", {"account": "ci", "name": "train", "issuer": issuer.url,
            "scopes": ["read", "write"], "claims": {"repository": "acme/train"}}).json()["id"]  # fmt: skip
        environment = {
            "HOME": str(tmp_path), "PATH": f"{command.parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "platform"), str(ROOT)]),
            "FLEXAI_URL": live_server.url, "FLEXAI_TRUST_RULE": rule,
        }  # fmt: skip
        yield Pipeline(tmp_path, issuer, rule, environment)


def github(pipeline: Pipeline) -> dict[str, str]:
    """What a workflow with `id-token: write` finds in its environment."""
    url = f"{pipeline.issuer.url}/github?api-version=2.0"
    return {
        "ACTIONS_ID_TOKEN_REQUEST_URL": url,
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-run",
        "GITHUB_ACTIONS": "true",
    }


def test_the_github_action_needs_no_secret(pipeline: Pipeline) -> None:
    step = ACTION["runs"]["steps"][-1]
    known = {
        "inputs.url": pipeline.environment["FLEXAI_URL"], "inputs.token": "", "inputs.trust-rule": pipeline.rule,
        "inputs.download": "",
        "inputs.spec": "job.yaml", "inputs.start-within": "1s", "runner.temp": str(pipeline.home / "temp"),
        "github.repository": "acme/train", "github.run_id": str(uuid.uuid4()), "github.run_attempt": "1",
        "github.job": "test",
        "strategy.job-index": "0",
    }  # fmt: skip
    given = {
        name: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: known[found[1]], value)
        for name, value in step["env"].items()
    }
    done = pipeline.ran("bash", "-e", "-c", step["run"], **given, **github(pipeline))
    assert done.returncode == 75, done.stderr
    assert (Job.objects.get().user.username, Job.objects.get().status) == ("ci@acme", "cancelled")
    assert AuditEntry.objects.filter(action="token.exchanged").count() == 1
    assert not (pipeline.home / ".config").exists(), "what the run was given goes with the run"


def test_the_gitlab_template_needs_no_secret(pipeline: Pipeline) -> None:
    [(variable, wanted)] = GITLAB["id_tokens"].items()
    assert wanted == {"aud": "$FLEXAI_TRUST_RULE"}
    given = {**GITLAB["variables"], "FLEXAI_START_WITHIN": "1s", "CI_PROJECT_PATH": "acme/train", "GITLAB_CI": "true",
             "CI_JOB_ID": "7", variable: pipeline.issuer.token(aud=pipeline.rule)}  # fmt: skip
    done = pipeline.ran("sh", "-e", "-c", "\n".join(GITLAB["script"]), **given)
    assert done.returncode == 75, done.stderr
    assert Job.objects.get().user.username == "ci@acme"


def test_a_pipeline_without_an_identity_is_told_what_it_lacks(pipeline: Pipeline) -> None:
    for system, hint in {
        "GITHUB_ACTIONS": "id-token: write",
        "GITLAB_CI": pipeline.rule,
        "CI": "FLEXAI_ID_TOKEN",
    }.items():
        done = pipeline.flexai("login", "--oidc", **{system: "true"})
        assert (done.returncode, hint in done.stderr) == (3, True), done.stderr
    wrong = {**github(pipeline), "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-another"}
    done = pipeline.flexai("login", "--oidc", **wrong)
    assert (done.returncode, "GitHub gave no identity" in done.stderr) == (3, True)
    done = pipeline.flexai(
        "login", "--oidc", FLEXAI_ID_TOKEN=pipeline.issuer.token(aud=pipeline.rule, repository="a/b")
    )
    assert (done.returncode, "does not trust it" in done.stderr) == (3, True)
    assert not (pipeline.home / ".config").exists()


def test_rules_are_made_and_removed_by_command(pipeline: Pipeline) -> None:
    owner = User.objects.get(memberships__role="owner")
    _, secret = create_token(owner, Organization.objects.get(), "t", ["read", "write"], 1)
    made = pipeline.flexai("trust", "add", "eval", "--account", "ci", "--issuer", "github", "--claim",
        "repository=acme/eval", "--claim", "ref=refs/heads/main", "--claim", "ref=refs/tags/*",
        FLEXAI_TOKEN=secret)  # fmt: skip
    assert made.returncode == 0, made.stderr
    listed = pipeline.flexai("trust", "list", "--json", FLEXAI_TOKEN=secret)
    [rule] = [rule for rule in yaml.safe_load(listed.stdout) if rule["name"] == "eval"]
    assert rule["id"] == made.stdout.strip()
    assert rule["issuer"] == "https://token.actions.githubusercontent.com"
    assert rule["claims"] == {"repository": ["acme/eval"], "ref": ["refs/heads/main", "refs/tags/*"]}
    assert "eval" in pipeline.flexai("trust", "list", FLEXAI_TOKEN=secret).stdout
    assert pipeline.flexai("trust", "remove", rule["id"], FLEXAI_TOKEN=secret).returncode == 0
    assert rule["id"] not in pipeline.flexai("trust", "list", "--json", FLEXAI_TOKEN=secret).stdout
