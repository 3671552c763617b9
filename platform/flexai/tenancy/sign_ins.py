"""Signing in a terminal from a browser, in the manner of RFC 8628.

The terminal shows a code; somebody who is signed in types it on a page, sees what they would give and to which machine,
and confirms. The terminal, which has been asking with a secret of its own, then gets a token once.

Whoever confirms gives away what they may do, so the code is typed by hand, never part of an address, and worth ten
minutes and one decision. A code that is wrong, over, decided or used gets the same answer.
"""

# ruff: noqa: N818 - the names say what a terminal is answered

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from flexai.common import clock
from flexai.common.errors import Code, Conflict, FieldError, FlexaiError, InvalidInput, NotFound, Unavailable
from flexai.tenancy import audit
from flexai.tenancy.models import SignInRequest, Token
from flexai.tenancy.principals import Principal, principal_in
from flexai.tenancy.tokens import check_token, create_token, hash_of

LIFE = timedelta(minutes=10)
INTERVAL_SECONDS = 2
"""A terminal asks at most so often."""
SOONEST = timedelta(seconds=1)
"""After the time before; sooner is `slow_down`. Below the interval, for networks are uneven."""
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""RFC 8628, 6.1: no vowels, so no words; nothing that looks like a digit."""
CODE_LENGTH = 8
MAX_OPEN = 10_000
"""Terminals that wait at once: a flood of them must not fill the table."""
USUAL_DAYS = 90
USUAL_SCOPES = ("read", "write")


class NotYet(FlexaiError):
    """Nobody has decided; ask again."""

    code = Code.AUTHORIZATION_PENDING


class TooOften(NotYet):
    """Asked again too soon; leave more time between."""

    code = Code.SLOW_DOWN


class Denied(FlexaiError):
    """Somebody refused."""

    code = Code.ACCESS_DENIED


class Over(FlexaiError):
    """Unknown, expired, or fetched before."""

    code = Code.EXPIRED_TOKEN


@dataclass(frozen=True, slots=True)
class Begun:
    """What a terminal is told: the secret is nowhere else from now on."""

    secret: str
    code: str
    seconds: int


def begin(machine: str, *, address: str, scopes: Iterable[str], expires_in_days: int) -> Begun:
    """A terminal waits from now on. Raises InvalidInput for a machine's name, scopes or a lifetime that no token has,
    Unavailable while too many wait."""
    now, wanted = clock.now(), sorted(set(scopes))
    if not machine.strip() or len(machine) > 80 or not machine.isprintable():
        error = FieldError("machine", "must be 1 to 80 printable characters")
        raise InvalidInput("This is no name of a machine.", errors=[error])
    check_token(_name_of(machine), wanted, expires_in_days)
    SignInRequest.objects.filter(expires_at__lte=now).delete()
    if SignInRequest.objects.count() >= MAX_OPEN:
        raise Unavailable("Too many terminals wait to be signed in; try again in some minutes.")
    secret = secrets.token_urlsafe(32)
    code = "".join(secrets.choice(LETTERS) for _ in range(CODE_LENGTH))
    SignInRequest.objects.create(
        hash=hash_of(secret), code=code, machine=machine, address=address[:45], scopes=wanted,
        expires_in_days=expires_in_days, expires_at=now + LIFE,
    )  # fmt: skip
    return Begun(secret, f"{code[:4]}-{code[4:]}", int(LIFE.total_seconds()))


def waiting(principal: Principal, code: str) -> SignInRequest:
    """The terminal that shows this code. Raises NotFound for any code that is not waiting, Conflict for a token: only
    who is signed in by a browser decides."""
    if principal.token is not None:
        raise Conflict("A terminal is signed in from a browser: open /connect there.")
    plain = code.upper().replace("-", "").replace(" ", "")
    found = SignInRequest.objects.filter(code=plain, decided_at=None, expires_at__gt=clock.now()).first()
    if found is None:
        raise NotFound("No terminal waits with this code. Codes are worth ten minutes, and once.")
    return found


@transaction.atomic
def decide(principal: Principal, code: str, *, grant: bool) -> None:
    """The terminal gets a token of the principal in the organization in which it acts, or is refused. Raises as
    `waiting`."""
    found = waiting(principal, code)
    giver = {"user": principal.user, "organization": principal.organization} if grant else {}
    undecided = SignInRequest.objects.filter(pk=found.pk, decided_at=None)
    if not undecided.update(decided_at=clock.now(), **giver):
        raise NotFound("No terminal waits with this code. Codes are worth ten minutes, and once.")
    action = "sign_in.confirmed" if grant else "sign_in.refused"
    audit.record(principal, action, object_kind="machine", object_id=found.machine[:64], after=_facts(found))


def collect(secret: str) -> tuple[Token, str, int]:
    """The token that somebody gave this terminal, its secret and its seconds; once.

    Raises NotYet or TooOften while nobody has decided, Denied, Over, and Forbidden where the giver is a member no more.
    """
    now = clock.now()
    found = SignInRequest.objects.filter(hash=hash_of(secret), expires_at__gt=now, given_at=None).first()
    if found is None:
        raise Over("This sign-in is over. Begin again.")
    if found.decided_at is None:
        raise _noted(found, now)
    if found.user_id is None:
        raise Denied("The sign-in was refused in the browser.")
    return _given(found, now)


def _noted(found: SignInRequest, now: datetime) -> NotYet:
    """That it was asked now, and what is answered."""
    due = Q(polled_at=None) | Q(polled_at__lte=now - SOONEST)
    if SignInRequest.objects.filter(due, pk=found.pk).update(polled_at=now):
        return NotYet("Nobody has confirmed the code yet.")
    return TooOften(f"Ask every {INTERVAL_SECONDS} seconds, not more often.")


@transaction.atomic
def _given(found: SignInRequest, now: datetime) -> tuple[Token, str, int]:
    if not SignInRequest.objects.filter(pk=found.pk, given_at=None).update(given_at=now):
        raise Over("This sign-in is over. Begin again.")
    assert found.user is not None
    assert found.organization is not None
    giver = principal_in(found.organization, found.user)
    name = _name_of(found.machine)
    token, secret = create_token(giver.user, giver.organization, name, found.scopes, found.expires_in_days)
    audit.record(giver, "token.created", token, after={"name": name, **_facts(found)})
    return token, secret, found.expires_in_days * 24 * 3600


def _name_of(machine: str) -> str:
    return f"flexai login on {machine}"


def _facts(found: SignInRequest) -> dict[str, object]:
    return {
        "machine": found.machine,
        "address": found.address,
        "scopes": found.scopes,
        "expires_in_days": found.expires_in_days,
    }
