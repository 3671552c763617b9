"""A second factor for signing in with a password: codes of an authenticator (TOTP, RFC 6238), and codes for its loss.

The authenticator's secret is kept sealed, of recovery codes their SHA-256. Each code is worth one sign-in.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.db import transaction
from django.utils.crypto import constant_time_compare

from flexai.common import clock
from flexai.common.errors import Code, Conflict, Forbidden, Unauthenticated
from flexai.common.sealing import NotReadable, seal, unseal
from flexai.tenancy import audit
from flexai.tenancy.models import RecoveryCode, SecondFactor, User
from flexai.tenancy.principals import Principal

STEP_SECONDS = 30
DIGITS = 6
STEPS_AROUND = 1
"""Codes of the step before and after are taken too: clocks differ."""
SECRET_BYTES = 20
RECOVERY_CODES = 10
ISSUER = "Flexai"
SESSION_MARK = "second_factor"
"""In a session: its user showed one."""


class SecondFactorNeeded(Unauthenticated):
    """The password is right, and a code has to be sent with it."""

    code = Code.SECOND_FACTOR


@dataclass(frozen=True, slots=True)
class Begun:
    """What an authenticator has to be told."""

    secret: str
    """In base 32, for typing."""
    uri: str
    """For a QR code."""


def is_active(user: User) -> bool:
    """Whether signing in with a password needs a code."""
    return SecondFactor.objects.filter(user=user).exclude(confirmed_at=None).exists()


def codes_left(user: User) -> int:
    """Recovery codes that were not used."""
    return RecoveryCode.objects.filter(user=user, used_at=None).count()


@transaction.atomic
def begin(principal: Principal, password: str) -> Begun:
    """A new secret, which counts once a code of it was confirmed.

    Raises Conflict where there is a second factor already or no password to be second to, and Unauthenticated for a
    wrong password: a token alone must not lock its owner out.
    """
    user = _owner(principal, password)
    if is_active(user):
        raise Conflict("There is a second factor already; remove it first.")
    key = secrets.token_bytes(SECRET_BYTES)
    SecondFactor.objects.update_or_create(
        user=user, defaults={"secret": seal(key.hex()), "last_step": 0, "confirmed_at": None}
    )
    uri = _totp(key).get_provisioning_uri(user.username, ISSUER)
    return Begun(base64.b32encode(key).decode().rstrip("="), uri)


@transaction.atomic
def confirm(principal: Principal, code: str) -> list[str]:
    """The second factor counts from now on; the recovery codes, which are nowhere else. Raises Conflict where none was
    begun, and Forbidden for a wrong code."""
    user = principal.user
    found = SecondFactor.objects.select_for_update().filter(user=user, confirmed_at=None).first()
    if found is None:
        raise Conflict("No second factor was begun.")
    if not _is_code_of(found, code):
        raise Forbidden("This is not a code of the authenticator; look at its clock and try the next one.")
    SecondFactor.objects.filter(pk=found.pk).update(confirmed_at=clock.now())
    RecoveryCode.objects.filter(user=user).delete()
    codes = [_new_recovery_code() for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.bulk_create(RecoveryCode(user=user, hash=_hash(made)) for made in codes)
    audit.record(principal, "second_factor.set", object_kind="user", object_id=str(user.pk))
    return codes


def remove(principal: Principal, password: str, code: str) -> None:
    """A password alone signs in afterwards. Raises Conflict where there is none, and Unauthenticated for a wrong
    password or code."""
    user = _owner(principal, password)
    if not is_active(user):
        raise Conflict("There is no second factor.")
    if not is_right(user, code):
        raise Unauthenticated("The code is wrong.")
    forget(user)
    audit.record(principal, "second_factor.removed", object_kind="user", object_id=str(user.pk))


@transaction.atomic
def forget(user: User) -> bool:
    """The user has no second factor afterwards; True when there was one. Who may do so is the caller's to ask."""
    RecoveryCode.objects.filter(user=user).delete()
    removed, _ = SecondFactor.objects.filter(user=user).delete()
    return bool(removed)


def is_right(user: User, code: str) -> bool:
    """Whether the code is one of the user's, and was not used before; it is used now."""
    found = SecondFactor.objects.filter(user=user).exclude(confirmed_at=None).first()
    if found is not None and _is_code_of(found, code):
        return True
    unused = RecoveryCode.objects.filter(user=user, hash=_hash(code), used_at=None)
    return bool(unused.update(used_at=clock.now()))


def _owner(principal: Principal, password: str) -> User:
    user = User.objects.get(pk=principal.user.pk)
    if not user.has_usable_password():
        raise Conflict("You sign in without a password; your provider is where a second factor is set.")
    if not user.check_password(password):
        raise Unauthenticated("The password is wrong.")
    return user


def _is_code_of(found: SecondFactor, code: str) -> bool:
    """Whether it is a code of about now, later than the last one that was taken; it is taken now."""
    given = code.replace(" ", "")
    if len(given) != DIGITS or not (given.isascii() and given.isdigit()):
        return False
    try:
        totp = _totp(bytes.fromhex(unseal(found.secret)))
    except NotReadable:
        return False
    now = int(clock.now().timestamp()) // STEP_SECONDS
    for step in range(now - STEPS_AROUND, now + STEPS_AROUND + 1):
        if constant_time_compare(totp.generate(step * STEP_SECONDS).decode(), given):
            later = SecondFactor.objects.filter(pk=found.pk, last_step__lt=step)
            return bool(later.update(last_step=step))
    return False


def _totp(key: bytes) -> TOTP:
    return TOTP(key, DIGITS, SHA1(), STEP_SECONDS)  # noqa: S303 - what authenticators speak; HMAC needs no more


def _new_recovery_code() -> str:
    text = base64.b32encode(secrets.token_bytes(10)).decode().lower()
    return "-".join(text[at : at + 4] for at in range(0, 16, 4))


def _hash(code: str) -> str:
    plain = code.lower().replace("-", "").replace(" ", "")
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()
