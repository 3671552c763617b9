"""What a message says, and how it is signed (Standard Webhooks). Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from flexai.notifications.vocabulary import PING, REQUEST_ENDED, SWITCHED_OFF

SECRET_BYTES = 32
PREFIX = "whsec_"
SHOWN = 50
"""Lines of one mail; it says how many more there are."""
MAX_SUBJECT = 150
MAX_LINE = 500


@dataclass(frozen=True, slots=True)
class Told:
    """What happened."""

    event: str
    at: datetime
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail, without its address."""

    subject: str
    text: str


def new_secret() -> str:
    """`whsec_` and 32 random bytes in base 64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def body_of(told: Told) -> bytes:
    """The same bytes on each try."""
    body = {"type": told.event, "timestamp": told.at, "data": told.data}
    return msgspec.json.encode(body, order="deterministic")


def headers_of(message_id: str, body: bytes, secrets_: Sequence[str], *, now: datetime) -> dict[str, str]:
    """Headers of one try: a signature for each secret over the id, this instant and the body."""
    timestamp = str(int(now.timestamp()))
    content = b".".join((message_id.encode(), timestamp.encode(), body))
    signed = [
        base64.b64encode(hmac.digest(_key(secret), content, hashlib.sha256)).decode() for secret in secrets_
    ]
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{one}" for one in signed),
    }


def letter_of(told: Sequence[Told], *, site: str) -> Letter:
    """One mail about all of it, oldest first. `site` is the dashboard's address, empty where it is not known."""
    lines = [_line(one, site) for one in told[:SHOWN]]
    if len(told) > SHOWN:
        lines.append(f"… and {len(told) - SHOWN} more.")
    lines.append(
        "You get this because a job's `notify`, your role in its team, or a request of yours asks for it."
    )
    subject = _phrase(told[0]) if len(told) == 1 else _count(told)
    return Letter(f"[Flexai] {subject}"[:MAX_SUBJECT], "\n\n".join(lines) + "\n")


def plain(text: object) -> str:
    """On one line, without what terminals, mail programs and headers would act upon."""
    characters = (one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in str(text)[:MAX_LINE])
    return "".join(characters)


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("no secret of a webhook") from None


def _phrase(told: Told) -> str:
    """`train failed`"""
    if told.event == SWITCHED_OFF:
        return f"webhook {plain(told.data['name'])} was switched off"
    if told.event == PING:
        return "a test"
    if request := told.data.get("request"):
        kind, team = plain(request["kind"]), plain(told.data["team"]["name"])
        if told.event == REQUEST_ENDED:
            return f"the {kind} that team {team} had for a time is over"
        return f"your request for {kind} of team {team} was {_word(told)}"
    return f"{plain(told.data['job']['name'])} {_WORDS.get(told.event, _word(told))}"


_WORDS = {
    "job.started": "has started",
    "job.timed_out": "ran out of time",
    "job.preempted": "made way for other work",
    "job.suspended": "was suspended",
    "job.requeued": "is queued again",
    "job.held": "is held",
    "job.idle": "does not use its chips",
    "job.straggler": "is held back, or far behind its equals",
    "job.cancelled": "was cancelled",
}


def _word(told: Told) -> str:
    return told.event.partition(".")[2]


def _count(told: Sequence[Told]) -> str:
    counts = Counter(_word(one).replace("_", " ") for one in told)
    return f"{len(told)} messages: " + ", ".join(f"{count} {word}" for word, count in counts.most_common())


def _line(told: Told, site: str) -> str:
    if told.event == SWITCHED_OFF:
        return f"The webhook {plain(told.data['name'])} was switched off: {plain(told.data['because'])}"
    job = told.data.get("job")
    if not job:
        lines = [_phrase(told).capitalize()]
        if told.data.get("sentence"):
            lines.append(f"  {plain(told.data['sentence'])[:MAX_LINE]}")
        return "\n".join(
            [*lines, *([f"  {site.rstrip('/')}/teams"] if site and "request" in told.data else [])]
        )
    lines = [f"{plain(job['name'])} ({plain(job['id'])}, team {plain(job['team'])}) {_tail(told)}"]
    if told.data.get("sentence"):
        lines.append(f"  {plain(told.data['sentence'])}")
    if site:
        lines.append(f"  {site.rstrip('/')}/jobs/{plain(job['id'])}")
    return "\n".join(lines)


def _tail(told: Told) -> str:
    return f"{_WORDS.get(told.event, _word(told))}, {told.at:%Y-%m-%d %H:%M:%S} UTC"
