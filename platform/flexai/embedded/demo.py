"""The sample jobs of `flexai demo`: submitted over HTTP as a user would, watched to their end, and judged."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flexai.client import Client
from flexai.client.errors import FlexaiError
from flexai.client.types import Job, Quota, is_final
from flexai.embedded import examples

LIMIT_SECONDS = 300
"""After so long what has not ended counts as failed; on two free cores it takes about half a minute."""
POLL_SECONDS = 0.3
DETAIL_SECONDS = 1
"""Between looks at one job's reason for waiting, or at the end of its log."""
LOG_TAIL_BYTES = 400
CHIP_TYPE = "cpu"
TEAMS = ("vision", "language")


@dataclass(slots=True)
class Story:
    """What became of one job."""

    name: str
    team: str
    job: Job
    last_line: str = ""
    """Of its log."""
    waited_because: str = ""
    """What the scheduler said while it waited, if it did."""
    problems: list[str] = field(default_factory=list)
    """What is not as expected; empty is good."""
    chips: frozenset[str] = frozenset()
    log: str = ""
    look_again_at: float = 0.0
    """Monotonic clock."""

    @property
    def example(self) -> str:
        return self.job["labels"].get("example", "")


@dataclass(slots=True)
class Demo:
    """One run of the sample jobs. `run` fills `stories`; others may read them at any time."""

    url: str
    token: str
    stories: list[Story] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    error: str = ""
    done: threading.Event = field(default_factory=threading.Event)
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self, on_done: Callable[[], None]) -> None:
        """Every job has ended and was judged, or `error` says why not. Calls `on_done` in any case."""
        try:
            with Client(self.url, self.token) as client:
                self._run(client)
        except (FlexaiError, examples.ExamplesMissingError) as error:
            self.error = str(error)
        finally:
            self.seconds = time.monotonic() - self.began
            self.done.set()
            on_done()

    @property
    def ok(self) -> bool:
        """Whether every job ended as expected."""
        return self.done.is_set() and not self.error and not any(story.problems for story in self.stories)

    def _run(self, client: Client) -> None:
        chips = sum(1 for chip in client.chips.list() if chip["type"] == CHIP_TYPE)
        set_quotas(client, chips)
        run = f"demo-{secrets.token_hex(4)}"
        for spec in prepared(chips, run):
            for job in client.jobs.submit_array(spec, idempotency_key=f"{run}-{spec['name']}")["jobs"]:
                self.stories.append(Story(name=_title(job), team=job["team"]["name"], job=job))
        while not self.stopping.is_set():
            self._look(client, run)
            if all(is_final(story.job["status"]) for story in self.stories):
                break
            if time.monotonic() - self.began > LIMIT_SECONDS:
                break
            time.sleep(POLL_SECONDS)
        for story in self.stories:
            judge(story, client)
        judge_together({story.example: story for story in self.stories}, self.stories)

    def _look(self, client: Client, run: str) -> None:
        """One glance at all jobs. A server that is just restarting is asked again, until the time is over."""
        try:
            found = {job["id"]: job for job in client.jobs.list(labels={"demo": run}, limit=200)}
            for story in self.stories:
                story.job = found.get(story.job["id"], story.job)
                if time.monotonic() >= story.look_again_at:
                    story.look_again_at = time.monotonic() + DETAIL_SECONDS
                    _look_closer(story, client)
        except FlexaiError:
            if time.monotonic() - self.began > LIMIT_SECONDS:
                raise


def set_quotas(client: Client, chips: int) -> None:
    """Each team has its share: language one chip and no more, vision the rest and all if they are free."""
    teams = {team["name"]: team["id"] for team in client.teams.list()}
    language: Quota = {"chip_type": CHIP_TYPE, "guaranteed_milli": 1000, "limit_milli": 1000}
    rest = max(chips - 1, 1) * 1000
    vision: Quota = {"chip_type": CHIP_TYPE, "guaranteed_milli": rest, "limit_milli": max(chips, 1) * 1000}
    client.quotas.set(teams["language"], [language])
    client.quotas.set(teams["vision"], [vision])


def prepared(chips: int, run: str) -> list[dict[str, Any]]:
    """The specs, marked with this run. On a machine with one chip the gang's replicas take half of it
    each."""
    specs = examples.load()
    for spec in specs:
        spec["labels"] = {**spec.get("labels", {}), "demo": run}
        if chips < 2 and spec.get("nodes", 1) > 1:
            spec["resources"] = {**spec["resources"], "fraction": 0.5}
    return specs


def judge(story: Story, client: Client) -> None:
    """Notes what is not as the example promises."""
    job = story.job = client.jobs.get(story.job["id"])
    story.log = "".join(client.jobs.logs(job["id"]))
    story.last_line = _last(story.log)
    attempts = job.get("attempts", [])
    story.chips = frozenset(
        chip["id"] for attempt in attempts for replica in attempt["replicas"] for chip in replica["chips"]
    )
    if job["status"] != "succeeded":
        story.problems.append(f"ended as {job['status']}, not succeeded: {job['sentence']}")
        return
    promised = _LAST_WORDS.get(story.example, "")
    if promised not in story.log:
        story.problems.append(f"its log does not say “{promised}”")
    if story.example == "retry" and [attempt["outcome"] for attempt in attempts] != ["exit", "succeeded"]:
        story.problems.append("expected one failed attempt and one that succeeded")
    if story.example == "all-reduce" and len(attempts[-1]["replicas"]) != 2:
        story.problems.append("expected two replicas")
    if story.example == "word-count" and story.chips:
        story.problems.append("asked for no chip and got one")


def judge_together(by_example: Mapping[str, Story], stories: list[Story]) -> None:
    """Notes what is not as expected between jobs."""
    slices = [story for story in stories if story.example == "slices" and story.job["status"] == "succeeded"]
    if len(slices) == 2 and slices[0].chips != slices[1].chips:
        slices[1].problems.append("the two slices did not share a chip")
    waiter = by_example.get("bigram")
    if waiter is not None and not waiter.waited_because:
        waiter.problems.append("it was to wait for its team's limit, and to say so")
    if sum(1 for story in stories if story.example == "sweep") != 6:
        stories[-1].problems.append("the array has not six tasks")


def as_json(demo: Demo) -> dict[str, Any]:
    """The summary for programs."""
    return {
        "ok": demo.ok,
        "url": demo.url,
        "seconds": round(demo.seconds, 1),
        "error": demo.error,
        "jobs": [
            {
                "id": story.job["id"],
                "name": story.name,
                "team": story.team,
                "status": story.job["status"],
                "as_expected": not story.problems,
                "problems": story.problems,
                "attempts": story.job["attempt"],
                "wait_ms": story.job["wait_ms"],
                "run_ms": story.job["run_ms"],
                "use_permille": story.job["use_permille"],
                "chips": sorted(story.chips),
                "nodes": story.job["nodes"],
                "waited_because": story.waited_because,
                "last_line": story.last_line,
            }
            for story in demo.stories
        ],
    }


_LAST_WORDS: Mapping[str, str] = {
    "digits": "final accuracy",
    "language-model": "what it writes now",
    "bigram": "a table of letter pairs has a loss of",
    "all-reduce": "replicas agree",
    "slices": "of a core",
    "sweep": "gives accuracy",
    "retry": "all is well now",
    "word-count": "the",
}


def _title(job: Job) -> str:
    return job["name"] if job["index"] is None else f"{job['name']}[{job['index']}]"


def _look_closer(story: Story, client: Client) -> None:
    job = story.job
    if job["status"] == "queued" and job["attempt"] == 0:
        explanation = client.jobs.explain(job["id"])
        if explanation["status"] == "queued":
            story.waited_because = explanation["sentence"] or story.waited_because
    elif job["status"] == "running":
        story.last_line = _last("".join(client.jobs.logs(job["id"], tail_bytes=LOG_TAIL_BYTES)))


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
