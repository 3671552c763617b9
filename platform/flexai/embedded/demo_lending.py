"""The second act of `flexai demo`: an idle chip changes hands, and both histories say why (T2, T3).

Two jobs of a team that may hold one chip. The first holds it and uses it now and then; the second waits, is lent the
chip while it is idle, and makes way when its owner computes. Shown is what their histories say, as it happens.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from flexai.client import Client
from flexai.client.errors import FlexaiError
from flexai.client.types import is_final
from flexai.embedded import examples

SPECS = ("lending/notebook.yaml", "lending/borrower.yaml")
LIMIT_SECONDS = 240
"""After so long the act is broken off; on two free cores it takes about a minute."""
POLL_SECONDS = 0.3
SHOWN = frozenset({"placed", "offered", "lent", "offer_halted", "offer_goes_on", "offer_ended", "paused", "resumed",
                   "stopping", "ended"})  # fmt: skip
"""Moves worth a line, of all that histories say of attempts."""


@dataclass(slots=True)
class Scene:
    """One run of the act."""

    say: Callable[[str], None]
    """Shows one line."""
    began: float = field(default_factory=time.monotonic)
    seen: set[int] = field(default_factory=set)
    """Events that were shown."""

    def play(self, url: str, token: str) -> bool:
        """Both jobs have ended, and every step was shown as it happened. False, and said, where it went wrong."""
        try:
            with Client(url, token) as client:
                return self._play(client, url)
        except (FlexaiError, examples.ExamplesMissingError) as error:
            self.say(f"The act was broken off: {error}")
            return False

    def _play(self, client: Client, url: str) -> bool:
        notebook, borrower = examples.load(SPECS)
        run = f"lending-{secrets.token_hex(4)}"
        self.say(
            "An idle chip changes hands: a notebook holds one and uses it now and then, a borrower waits for one."
        )
        owner = client.jobs.submit(notebook, idempotency_key=f"{run}-notebook")["id"]
        while client.jobs.get(owner)["status"] not in ("running", "failed") and not self._is_late():
            time.sleep(POLL_SECONDS)
        guest = client.jobs.submit(borrower, idempotency_key=f"{run}-borrower")["id"]
        names = {owner: notebook["name"], guest: borrower["name"]}
        while not self._is_late():
            states = [client.jobs.get(job)["status"] for job in names]
            for job, name in names.items():
                self._show(client, job, name)
            if all(is_final(state) for state in states):
                lent = any(event["reason_code"] == "guest" for event in client.jobs.events(guest))
                self.say(f"Both have ended: {' and '.join(states)}. Their pages: {pages_of(url, names)}")
                return lent and states == ["succeeded", "succeeded"]
            time.sleep(POLL_SECONDS)
        self.say(f"The act was broken off after {LIMIT_SECONDS} s.")
        return False

    def _is_late(self) -> bool:
        return time.monotonic() - self.began > LIMIT_SECONDS

    def _show(self, client: Client, job: str, name: str) -> None:
        for event in client.jobs.events(job):
            if event["id"] in self.seen:
                continue
            self.seen.add(event["id"])
            if event["kind"].removeprefix("attempt.") in SHOWN and event["sentence"]:
                self.say(f"{time.monotonic() - self.began:6.1f} s  {name:<10} {event['sentence']}")


def pages_of(url: str, jobs: Iterable[str]) -> str:
    """Where the pages of these jobs are."""
    return " ".join(f"{url}/jobs/{job}" for job in jobs)
