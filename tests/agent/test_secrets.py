"""Secrets on their way to a job: in memory alone, asked for by who starts it, and out of its log."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from node_agent.protocol import SecretsGiven, WantedReplica
from node_agent.secrets import Secrets
from tests.agent.support.agents import Agent, a_replica
from tests.agent.support.server import FakeServer

loops = pytest.mark.asyncio(loop_scope="module")
VALUE = 'correct-horse-battery\n  it\'s "quoted" $HOME ✓\n'
PRINTS = (
    'printf "<%s>" "$HF_TOKEN"',
    "printf '\ncorrect-'; sleep 0.2; printf 'horse-battery\n'",
    'printf %s "$HF_TOKEN" | sha256sum',
)
"""Its secret as a whole, a line of it in two pieces, and the proof that it is the right one."""
PRINTED = f"<***\n  ***\n>\n***\n{hashlib.sha256(VALUE.encode()).hexdigest()}  -\n".encode()
Node = tuple[FakeServer, Agent]


@loops
async def test_a_job_has_its_secret_and_the_log_a_mask(node: Node) -> None:
    server, _ = node
    server.secrets = {"HF_TOKEN": VALUE}
    await server.want(a_replica("has", *PRINTS, secrets=["HF_TOKEN"]))
    end = await server.ended("has")
    assert server.log("has") == PRINTED
    assert (end.outcome, end.log_size) == ("succeeded", len(PRINTED))
    assert server.asked == [("has", 0, 1)]


@loops
async def test_the_value_lies_in_no_file_and_in_no_command_line(node: Node) -> None:
    server, agent = node
    server.secrets = {"HF_TOKEN": VALUE}
    script = ('echo "$HF_TOKEN"', "echo ready", "while [ ! -e go ]; do sleep 0.02; done")
    await server.want(a_replica("nowhere", *script, secrets=["HF_TOKEN"]))
    await server.until(lambda: server.log("nowhere").endswith(b"ready\n"), what="a log")
    assert not found_in(b"correct-horse", agent)
    (agent.data_dir / "jobs" / "job-nowhere" / "go").touch()
    await server.ended("nowhere")
    assert not found_in(b"correct-horse", agent)
    assert "correct-horse" not in agent.log()


@loops
async def test_what_the_server_refuses_ends_with_its_sentence_and_never_starts(node: Node) -> None:
    server, agent = node
    server.secrets = "The secret HF_TOKEN is gone."
    await server.want(a_replica("gone", "touch started", secrets=["HF_TOKEN"]))
    end = await server.ended("gone")
    assert (end.outcome, end.sentence) == ("start_failed", "The secret HF_TOKEN is gone.")
    assert not (agent.data_dir / "jobs" / "job-gone" / "started").exists()
    server.secrets = {"OTHER": "x"}
    await server.want(a_replica("short", "touch started", secrets=["HF_TOKEN"]))
    assert (await server.ended("short")).outcome == "start_failed"


@loops
async def test_an_agent_that_starts_anew_asks_again_and_a_job_that_runs_needs_nobody(node: Node) -> None:
    server, agent = node
    server.secrets = {"HF_TOKEN": VALUE}
    loop = ("echo one", "while [ ! -e go ]; do sleep 0.02; done", *PRINTS)
    await server.want(a_replica("runs", *loop, secrets=["HF_TOKEN"]))
    await server.until(lambda: server.log("runs"), what="a log")
    server.gives = False
    await server.want(a_replica("waits", *PRINTS, secrets=["HF_TOKEN"]))
    await server.until(lambda: ("waits", 0, 1) in server.asked, what="a question")
    agent.kill()
    server.gives = True
    agent.start()
    assert (await server.ended("waits")).outcome == "succeeded"
    assert server.log("waits") == PRINTED
    (agent.data_dir / "jobs" / "job-runs" / "go").touch()
    await server.ended("runs")
    assert server.log("runs") == b"one\n" + PRINTED
    assert server.asked == [("runs", 0, 1), ("waits", 0, 1), ("waits", 0, 1)]


@loops
async def test_the_platforms_own_variables_hold_over_secrets(node: Node) -> None:
    server, _ = node
    server.secrets = {"FLEXAI_PREEMPT_SIGNAL": VALUE, "RANK": VALUE, "HOME": "/nowhere-at-all"}
    wanted = a_replica(
        "own", "echo $FLEXAI_PREEMPT_SIGNAL $RANK $HOME", secrets=list(server.secrets), env={"RANK": "3"}
    )
    await server.want(wanted)
    await server.ended("own")
    assert server.log("own") == b"SIGTERM 3 ***\n"


def test_values_are_kept_from_the_answer_to_the_start_and_no_longer() -> None:
    refused: list[str] = []
    secrets = Secrets(lambda wanted, outcome, sentence: refused.append(f"{wanted.attempt} {outcome}"))
    one, two, plain = (a_replica(name, secrets=["A"]) for name in ("one", "two", "plain"))
    plain = a_replica("plain")
    assert secrets.ready([one, two, plain], lambda key: False) == [plain]
    assert secrets.lacking() == [("one", 0, 1), ("two", 0, 1)]
    secrets.give(given(one, A="1"))
    secrets.give(given(two, A="2"))
    secrets.give(given(plain, A="3"))
    assert secrets.ready([one, plain], lambda key: False) == [one, plain], "two is wanted no more"
    assert secrets.take(one) == {"A": "1"}
    assert secrets.take(one) == secrets.take(two) == secrets.take(plain) == {}
    assert secrets.ready([one], lambda key: True) == [one]
    assert secrets.lacking() == []
    assert refused == []


def test_a_message_shows_no_value() -> None:
    assert "hidden" not in repr(given(a_replica("one"), A="hidden"))


def given(wanted: WantedReplica, **values: str) -> SecretsGiven:
    return SecretsGiven(wanted.attempt, wanted.replica, wanted.generation, values)


def found_in(value: bytes, agent: Agent) -> list[str]:
    """Files of the agent and command lines of all processes that hold the value."""
    found = []
    files = [Path(folder) / name for folder, _, names in os.walk(agent.data_dir) for name in names]
    files += [Path("/proc") / name / "cmdline" for name in os.listdir("/proc") if name.isdigit()]
    for path in files:
        try:
            if path.is_file() and value in path.read_bytes():
                found.append(str(path))
        except OSError:
            continue  # gone meanwhile
    return found
