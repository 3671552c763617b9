"""Tells what is due: posts to webhooks, and mails. Knows no rule of who is told what.

One thread of a worker claims and notes; each try runs in a thread of its own that touches no database, so a receiver
that hangs keeps nothing but its own turn.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.conf import settings
from django.db import connection

from flexai.common import clock
from flexai.common.fetching import Answer, NotFetched, send
from flexai.common.sealing import NotReadable, unseal
from flexai.notifications import claims, mailing
from flexai.notifications.claims import DueHook, Outcome, ToHook, ToPerson
from flexai.notifications.messages import body_of, headers_of, plain
from flexai.notifications.retrying import TAKEN, asked_ms
from flexai.notifications.turns import Turns

log = logging.getLogger(__name__)

TRY_SECONDS = 10.0
"""For one try, with all redirects."""
LOOK_SECONDS = 1.0
"""While something is on its way, the outbox is looked at so often."""
SHOWN_OF_ANSWER = 200
"""Characters of a public receiver's answer that its managers see."""
MAILS_AT_ONCE = 2

Claimed = ToHook | ToPerson


class Sender:
    """Tells everything that is due, until nothing is."""

    def __init__(self) -> None:
        self._turns = Turns()
        self._done: queue.SimpleQueue[tuple[Claimed, Outcome]] = queue.SimpleQueue()
        self._under_way = 0
        self._mails = 0
        self._last_hook = 0

    def run(self) -> int:
        """How many tries it made."""
        made = 0
        while (begun := self._begin()) or self._under_way:
            made += begun
            self._note_what_ended()
        return made

    def _begin(self) -> int:
        """Begins what may begin; how many."""
        now = clock.now()
        begun = 0
        for hook in claims.due_hooks(now, after=self._last_hook):
            begun += self._begin_of(hook, now)
        for person in claims.claim_of_people(MAILS_AT_ONCE - self._mails, now=now):
            self._mails += 1
            self._start(person, partial(mailing.mail, person))
            begun += 1
        return begun

    def _begin_of(self, hook: DueHook, now: datetime) -> int:
        is_failing, at = hook.is_failing, time.monotonic()
        room = self._turns.room(hook.pk, hook.organization, is_failing=is_failing, now=at)
        claimed = claims.claim_of_hook(hook, room, now=now) if room else []
        for one in claimed:
            self._last_hook = hook.pk
            self._turns.begin(hook.pk, hook.organization, is_failing=is_failing, now=at)
            self._start(one, partial(post, one))
        return len(claimed)

    def _start(self, claimed: Claimed, try_once: Callable[[], Outcome]) -> None:
        self._under_way += 1

        def run() -> None:
            try:
                outcome = try_once()
            except Exception:  # whatever it is, the other messages go on
                log.exception("message %s could not be tried", claimed.public_id)
                outcome = Outcome(False, "The platform could not send it.")
            self._done.put((claimed, outcome))

        threading.Thread(target=run, name="flexai-message", daemon=True).start()

    def _note_what_ended(self) -> None:
        """Waits for one, and takes along what else is there."""
        with suppress(queue.Empty):
            self._note(*self._done.get(timeout=LOOK_SECONDS))
            while True:
                self._note(*self._done.get_nowait())

    def _note(self, claimed: Claimed, outcome: Outcome) -> None:
        self._under_way -= 1
        if isinstance(claimed, ToHook):
            hook = claimed.hook
            self._turns.end(hook.pk, hook.organization, is_failing=hook.is_failing)
            claims.note_hook(claimed, outcome, now=clock.now())
        else:
            self._mails -= 1
            claims.note_person(claimed, outcome, now=clock.now())


def post(claimed: ToHook) -> Outcome:
    """One try of one message."""
    body = body_of(claimed.told)
    try:
        secrets = [unseal(sealed) for sealed in claimed.hook.secrets]
        headers = headers_of(claimed.public_id, body, secrets, now=clock.now())
        answer = send(claimed.hook.url, body, headers, inside=settings.PRIVATE_RECEIVERS, seconds=TRY_SECONDS)
    except NotReadable:
        return Outcome(False, "Its secret was sealed under a key that this server does not have; rotate it.")
    except NotFetched as error:
        return Outcome(False, str(error))
    return Outcome(
        answer.status in TAKEN, _said(answer), answer.status, asked_ms=asked_ms(answer.retry_after)
    )


def _said(answer: Answer) -> str:
    """The status and, from the public internet, how the answer begins: what lies inside is not for tenants to read."""
    shown = plain(answer.start.decode(errors="replace"))[:SHOWN_OF_ANSWER] if answer.is_public else ""
    moved = " Redirects of this kind are not followed." if 300 <= answer.status < 400 else ""
    return f"Answered {answer.status}{f': {shown}' if shown.strip() else '.'}{moved}"


@dataclass
class _Running:
    """This process's sender."""

    thread: threading.Thread | None = None


_running = _Running()


def wake() -> None:
    """A sender of this process is at work, until nothing is due."""
    if _running.thread is None or not _running.thread.is_alive():
        _running.thread = threading.Thread(target=_run, name="flexai-sender", daemon=True)
        _running.thread.start()


def _run() -> None:
    try:
        Sender().run()
    except Exception:  # the tick begins another
        log.exception("the sender ends, and the next tick begins another")
    finally:
        connection.close()
