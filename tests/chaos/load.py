"""Real jobs of every kind, and what they leave outside the platform: proof of each life that they had."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flexai.client import Client, FlexaiError
from flexai.client.errors import NotReached, Problem
from flexai.client.types import is_final
from tests.support.waiting import wait_for

TICKS = 10
STEPS = 40
OUTAGE_SECONDS = 300
"""How long a request is repeated while servers come back."""
_LIVES = """
id="$FLEXAI_JOB_ID.${RANK:-0}"
exec 9>>"$MARKS/$id.lock"
flock -n 9 || echo "$id attempt $FLEXAI_ATTEMPT" >> "$MARKS/twice"
echo "$FLEXAI_ATTEMPT" >> "$MARKS/$id.starts"
"""
"""The lock is held by every process of the replica: who finds it held lives beside another life of the same replica."""
_TICKING = f"for i in $(seq 1 {TICKS}); do echo tick $i; sleep 0.1; done"
_STEPPING = """
state="$MARKS/$FLEXAI_JOB_ID.step"
step=$(cat "$state" 2>/dev/null || echo 0)
echo "from $step"
while [ $step -lt $STEPS ]; do
  sleep 0.1; step=$((step+1))
  echo $step > "$state.new" && mv "$state.new" "$state"
  echo "step $step"
done
"""
_OWNING = """
busy() { for i in $(seq 1 10); do n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; done; }
for round in 1 2; do echo "busy $round"; busy; echo "idle $round"; sleep 4; done
"""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that the server has accepted."""

    id: str
    name: str
    goes_on: bool
    """It may be taken from its chips, and goes on from its checkpoint in another attempt."""
    exit_code: int
    replicas: int
    log: str
    """Of each replica, whole; empty for a job that goes on."""


@dataclass
class Load:
    """What was submitted, and the folder of marks that every job, whoever it runs as, can write to."""

    client: Client
    marks: Path
    jobs: list[Submitted] = field(default_factory=list)
    rounds: int = 0

    @classmethod
    def begin(cls, client: Client) -> Load:
        marks = Path(tempfile.mkdtemp(prefix="flexai-chaos-"))
        marks.chmod(0o1777)
        return cls(client, marks)

    def end(self) -> None:
        """The marks are gone."""
        shutil.rmtree(self.marks, ignore_errors=True)

    def submit_holders(self) -> None:
        """Two more jobs are accepted from which chips can be had: one is idle now and then, the other can wait."""
        self.rounds += 1
        self._submit("owner", _OWNING, resources=_chip(), priority=60, lend={"to": "team", "after": "2s"})
        self._submit("patient", _STEPPING, goes_on=True, resources=_chip(), priority=10)

    def submit_rest(self) -> None:
        """A job of every other kind is accepted, once, whatever is down meanwhile."""
        self._submit("borrower", _STEPPING, goes_on=True, resources=_chip(), priority=20)
        for number in range(2):
            self._submit(f"part-{number}", _TICKING, exit_code=7 * number, resources=_chip(fraction=0.4))
        self._submit("gang", _TICKING, replicas=2, resources=_chip(), nodes=2, spread=False)
        self._submit("array", _TICKING, tasks=3, resources={"cpus": 0.2, "memory": "32MB"}, array="0-2%2")
        self._submit("urgent", _TICKING, resources=_chip(), priority=90)

    def submit_patient(self, name: str, *, steps: int, **more: Any) -> str:
        """A job that goes on where it was is accepted; its id. Ten steps a second."""
        self._submit(name, _STEPPING, goes_on=True, steps=steps, resources=_chip(), **more)
        return self.jobs[-1].id

    def _submit(
        self, name: str, script: str, *, goes_on: bool = False, exit_code: int = 0, replicas: int = 1,
        tasks: int = 1, steps: int = STEPS, **more: Any,
    ) -> None:  # fmt: skip
        unique = f"{name}-{self.rounds}"
        spec = {
            "name": unique, "team": "research", "env": {"MARKS": str(self.marks), "STEPS": steps},
            "commands": [_LIVES, script, f"exit {exit_code}"], "retry": {"limit": 0}, **more,
        }  # fmt: skip
        if goes_on:
            spec |= {"preemptible": True, "checkpoint": {"path": ".", "grace_period": "5s"}}
        key = str(uuid.uuid4())
        made = patiently(lambda: self.client.jobs.submit_array(spec, idempotency_key=key))
        assert made["count"] == tasks
        ids = [job["id"] for job in made["jobs"]] if tasks == 1 else self._ids_of_set(made["set"])
        assert len(ids) == tasks
        log = "" if goes_on or name == "owner" else "".join(f"tick {n}\n" for n in range(1, TICKS + 1))
        self.jobs += [Submitted(one, unique, goes_on, exit_code, replicas, log) for one in ids]

    def _ids_of_set(self, set_id: str) -> list[str]:
        return patiently(lambda: [job["id"] for job in self.client.jobs.list(set_id=set_id)])

    def wait_begun(self, count: int, seconds: float) -> None:
        """So many replicas have begun."""
        wait_for(
            lambda: len(list(self.marks.glob("*.starts"))) >= count, f"{count} replicas to begin", seconds
        )

    def wait_ended(self, seconds: float) -> None:
        """Every job has ended. Fails with the words of those that have not."""
        deadline = time.monotonic() + seconds
        for job in self.jobs:
            while not is_final((told := patiently(lambda id=job.id: self.client.jobs.get(id)))["status"]):  # type: ignore[misc]
                assert time.monotonic() < deadline, f"{job.name} is {told['status']}: {told['sentence']}"
                time.sleep(0.2)


def _chip(fraction: float = 0) -> dict[str, Any]:
    shared = {"fraction": fraction} if fraction else {}
    return {"accelerators": "cpu:1", "memory": "48MB", **shared}


def patiently(ask: Any) -> Any:
    """The answer, once there is one: refusals of a server that is just restarting are waited out."""
    deadline = time.monotonic() + OUTAGE_SECONDS
    while True:
        try:
            return ask()
        except FlexaiError as error:
            passing = isinstance(error, NotReached) or (isinstance(error, Problem) and error.status >= 500)
            if not passing or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


# --- what the jobs themselves can tell ------------------------------------------------------------


def check_lives(load: Load) -> None:
    """No replica lived beside itself or began twice in an attempt; every job ended as it should; every log is whole."""
    twice = load.marks / "twice"
    assert not twice.exists(), f"lived twice: {twice.read_text()}"
    for job in load.jobs:
        told = load.client.jobs.get(job.id)
        expected = ("failed", job.exit_code) if job.exit_code else ("succeeded", 0)
        assert (told["status"], told["exit_code"]) == expected, (job.name, told["sentence"])
        numbers = [attempt["number"] for attempt in told["attempts"]]
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), job.name
        if not job.goes_on:
            assert numbers == [1], (job.name, [attempt["outcome"] for attempt in told["attempts"]])
        for rank in range(job.replicas):
            starts = (load.marks / f"{job.id}.{rank}.starts").read_text().split()
            assert len(starts) == len(set(starts)), f"{job.name}.{rank} began twice in one attempt: {starts}"
            assert set(starts) <= {str(number) for number in numbers}, job.name
            if job.log:
                assert "".join(load.client.jobs.logs(job.id, replica=rank)) == job.log, job.name
        if job.goes_on:
            _check_goes_on(load.client, job, len(numbers))


def _check_goes_on(client: Client, job: Submitted, attempts: int) -> None:
    """Every attempt goes on where the one before was, and says every step of its own; all steps were taken."""
    reached = 0
    for number in range(1, attempts + 1):
        log = "".join(client.jobs.logs(job.id, attempt=number))
        said = [int(step) for step in re.findall(r"^(?:from|step) (\d+)$", log, re.MULTILINE)]
        if not said:
            continue  # it was taken before its first words
        assert reached <= said[0] <= reached + 1, (job.name, number, reached, said[0])
        assert said == list(range(said[0], said[-1] + 1)), (job.name, number, said)
        reached = said[-1]
    assert reached == STEPS, job.name


def outcomes(load: Load) -> dict[str, int]:
    """How attempts ended: how often each."""
    counted: dict[str, int] = defaultdict(int)
    for job in load.jobs:
        for attempt in load.client.jobs.get(job.id)["attempts"]:
            counted[attempt["outcome"]] += 1
    return dict(counted)
