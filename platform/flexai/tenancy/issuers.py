"""Identity tokens of other systems (OpenID Connect): whether an issuer made this one, and what it says.

The issuer's keys are fetched from its own address, kept for a while, and fetched anew when a token names one that is
not among them. Only signatures by key pairs count: a shared secret would let whoever checks a token make one.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import jwt
from django.conf import settings

from flexai.common.errors import Unauthenticated, Unavailable
from flexai.common.fetching import NotFetched, check_url, fetch_json

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
MAX_TOKEN = 16 * 1024
"""Characters of an identity token."""
KEYS_KEPT_SECONDS = 600.0
LOOKED_AGAIN_AFTER_SECONDS = 30.0
"""A key that is not known makes us look again, at most so often; so does an issuer that could not be reached."""
MAX_KEYS = 50
MAX_ISSUERS = 256
"""Whose keys a process keeps; the one not asked about for longest goes first."""
LEEWAY_SECONDS = 30
"""By how much the clocks may differ."""
MAX_LIFE_SECONDS = 7 * 24 * 3600
"""Of an identity token, from its making to its end: so long is it remembered as used."""
DISCOVERY = "/.well-known/openid-configuration"


@dataclass
class Issuer:
    """What an issuer publishes about itself, as it was last read."""

    read_at: float
    document: dict[str, Any] = field(default_factory=dict)
    keys: list[dict[str, Any]] = field(default_factory=list)
    trouble: str = ""


_known: OrderedDict[str, Issuer] = OrderedDict()
_lock = threading.Lock()


def check_issuer(url: str) -> None:
    """Raises NotFetched for what can be no issuer's address."""
    check_url(url, inside=settings.PRIVATE_ISSUERS)


def stated(token: str) -> dict[str, Any]:
    """What the token says of itself, checked by nobody. Raises Unauthenticated for what is no token."""
    if len(token) > MAX_TOKEN:
        raise Unauthenticated("The identity token is too long to be one.")
    try:
        jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise Unauthenticated("This is no identity token: send the JWT that the issuer gave.") from None
    return dict(claims)


def verified(token: str, *, issuer: str, audience: str) -> dict[str, Any]:
    """What the token says, made by this issuer for this audience alone and valid now.

    Raises Unauthenticated, with what is wrong with the token, and Unavailable while the issuer's keys cannot be read.
    """
    key = _key(token, issuer)
    options = {"require": ["exp", "iat", "iss", "aud", "sub"], "enforce_minimum_key_length": True}
    try:
        claims = dict(
            jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=issuer,
                audience=audience,
                leeway=LEEWAY_SECONDS,
                options=options,  # type: ignore[arg-type]  # the names are checked by the tests
            )
        )
        claims |= {name: int(claims[name]) for name in ("exp", "iat")}
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Unauthenticated(f"The identity token is refused: {_why(error)}.") from None
    if isinstance(claims["aud"], list) and len(claims["aud"]) != 1:
        raise Unauthenticated("The identity token is for several audiences; it has to be for this one alone.")
    if claims["exp"] - claims["iat"] > MAX_LIFE_SECONDS:
        raise Unauthenticated("The identity token is valid for longer than a week; ask for a shorter one.")
    return claims


def document_of(issuer: str) -> dict[str, Any]:
    """What the issuer publishes about itself. Raises Unavailable while it cannot be read."""
    return _read(issuer).document


def forget() -> None:
    """Every issuer is read anew when it is next needed."""
    with _lock:
        _known.clear()


def _key(token: str, issuer: str) -> jwt.PyJWK:
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError:
        raise Unauthenticated("This is no identity token: send the JWT that the issuer gave.") from None
    algorithm, name = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise Unauthenticated(f"The identity token must be signed with one of {', '.join(ALGORITHMS)}.")
    found = _fitting(_read(issuer), algorithm, name)
    if found is None:
        found = _fitting(_read(issuer, older_than=LOOKED_AGAIN_AFTER_SECONDS), algorithm, name)
    if found is None:
        raise Unauthenticated("The identity token is signed with a key that its issuer does not publish.")
    try:
        return jwt.PyJWK(found, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        raise Unauthenticated("The issuer publishes a key that cannot be read.") from None


def _fitting(issuer: Issuer, algorithm: str, name: object) -> dict[str, Any] | None:
    """The key of this name, or the only one where the token names none."""
    fits = [
        key
        for key in issuer.keys
        if key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and key.get("kty") == _KIND[algorithm[:2]]
        and (name is None or key.get("kid") == name)
    ]
    return fits[0] if fits and (name is not None or len(fits) == 1) else None


_KIND = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


def _read(issuer: str, *, older_than: float = KEYS_KEPT_SECONDS) -> Issuer:
    """The issuer as it was read less than so many seconds ago, or anew."""
    now = time.monotonic()
    with _lock:
        known = _known.get(issuer)
        if known is not None:
            _known.move_to_end(issuer)
    if known is None or now - known.read_at >= (LOOKED_AGAIN_AFTER_SECONDS if known.trouble else older_than):
        known = _fetched(issuer, now)
        with _lock:
            _known[issuer] = known
            while len(_known) > MAX_ISSUERS:
                _known.popitem(last=False)
    if known.trouble:
        raise Unavailable(f"The keys of {issuer} cannot be read: {known.trouble}")
    return known


def _fetched(issuer: str, now: float) -> Issuer:
    inside = settings.PRIVATE_ISSUERS
    try:
        document = fetch_json(issuer.rstrip("/") + DISCOVERY, inside=inside)
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            return Issuer(now, trouble="its document names another issuer.")
        published = fetch_json(str(document.get("jwks_uri", "")), inside=inside)
    except NotFetched as error:
        return Issuer(now, trouble=str(error))
    keys = published.get("keys") if isinstance(published, dict) else None
    if not isinstance(keys, list):
        return Issuer(now, trouble="its document of keys has none.")
    return Issuer(now, document, [key for key in keys[:MAX_KEYS] if isinstance(key, dict)])


def _why(error: Exception) -> str:
    """In our words: a library's may hold what the token says."""
    match error:
        case jwt.ExpiredSignatureError():
            return "it has expired"
        case jwt.ImmatureSignatureError():
            return "it is not valid yet"
        case jwt.InvalidAudienceError():
            return "it is for another audience"
        case jwt.InvalidIssuerError():
            return "it is of another issuer"
        case jwt.MissingRequiredClaimError():
            return f"it has no {error.claim}"
        case jwt.InvalidKeyError():
            return "its issuer's key is too short"
    return "its signature does not hold"
