"""Keyless CI: an identity that another system vouches for is exchanged for a token of a service account.

A rule says whose identity is trusted: the issuer, the audience that the identity token was made for, and patterns for
its claims. Each identity token is worth one exchange, and every exchange stands in the audit log, as does every
refusal of an identity that is genuine.

The audience is the rule's own id where nothing else is said. So an identity made for one rule opens no other, and
nobody can set a rule of theirs to catch the pipelines of somebody else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from flexai.common import clock
from flexai.common.errors import Conflict, FieldError, Forbidden, InvalidInput, NotFound, Unauthenticated
from flexai.common.fetching import NotFetched
from flexai.tenancy import audit, issuers
from flexai.tenancy.accounts import account_named, check_acts_for, visible_accounts
from flexai.tenancy.models import ServiceAccount, Token, TrustRule, UsedIdentity
from flexai.tenancy.principals import ALL_SCOPES, Principal
from flexai.tenancy.tokens import check_scopes, hash_of, new_secret

MAX_RULES = 100
"""Of one organization."""
MAX_LIVE_TOKENS = 200
"""Of one rule, at once."""
MAX_MINUTES = 24 * 60
"""A pipeline that waits for its job needs its token for so long."""
USUAL_MINUTES = 60
MAX_CLAIMS = 20
MAX_PATTERNS = 10
MAX_PATTERN = 200
OWNING = frozenset({
    "sub", "repository", "repository_id", "repository_owner", "repository_owner_id",
    "project_path", "project_id", "namespace_path", "namespace_id", "email",
})  # fmt: skip
"""Claims that say whose workload it is. At a public issuer everybody has an identity: one of these has to be bound."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A rule as it was asked for."""

    name: str
    issuer: str
    claims: Mapping[str, Any]
    scopes: list[str]
    audience: str = ""
    expires_in_minutes: int = USUAL_MINUTES


@dataclass(frozen=True, slots=True)
class Exchanged:
    """The token that was given, and its secret, which is nowhere else from now on."""

    token: Token
    secret: str
    seconds: int


def visible_rules(principal: Principal) -> QuerySet[TrustRule]:
    """The rules of the accounts that the principal may manage."""
    return TrustRule.objects.filter(account__in=visible_accounts(principal))


@transaction.atomic
def create_rule(principal: Principal, account: str, wanted: Wanted) -> TrustRule:
    """Whoever shows such an identity acts as the account from now on.

    Raises NotFound for an account that the principal may not manage, Forbidden for one with a role above its own,
    InvalidInput naming every wrong field, Conflict for too many.
    """
    acts_as = account_named(principal, account)
    check_acts_for(principal, acts_as)
    check_scopes(principal, wanted.scopes)
    rule = new_rule(acts_as, wanted)
    audit.record(principal, "trust.created", rule, after=facts_of(rule))
    return rule


def new_rule(account: ServiceAccount, wanted: Wanted) -> TrustRule:
    """The rule; who may make it is the caller's to ask. Raises InvalidInput and Conflict as `create_rule`."""
    check_rule(wanted)
    if TrustRule.objects.filter(organization=account.organization_id).count() >= MAX_RULES:
        raise Conflict(f"An organization has at most {MAX_RULES} trust rules; remove one first.")
    rule = TrustRule(
        organization_id=account.organization_id,
        account=account,
        name=wanted.name,
        issuer=wanted.issuer,
        claims={claim: _as_list(patterns) for claim, patterns in wanted.claims.items()},
        scopes=sorted(set(wanted.scopes)),
        expires_in_minutes=wanted.expires_in_minutes,
    )
    rule.audience = wanted.audience or rule.public_id
    rule.save()
    return rule


@transaction.atomic
def remove_rule(principal: Principal, public_id: str) -> None:
    """The rule is gone, and with it every token that it gave. Raises NotFound."""
    rule = visible_rules(principal).filter(public_id=public_id).first()
    if rule is None:
        raise NotFound("There is no such trust rule among those you manage.")
    audit.record(principal, "trust.removed", rule, before=facts_of(rule))
    rule.delete()


def exchange(identity: str, *, rule_id: str = "") -> Exchanged:
    """A token for this identity, by the rule named here or by the one that the identity token was made for.

    Raises Unauthenticated for an identity that is not genuine or was used, Forbidden for a genuine one that the rule
    does not trust, Conflict for too many tokens at once, Unavailable while the issuer is not reached.
    """
    named = rule_id or issuers.stated(identity).get("aud")
    named = named[0] if isinstance(named, list) and len(named) == 1 else named
    rule = None
    if isinstance(named, str) and "\0" not in named:
        rules = TrustRule.objects.select_related("account__user", "account__team", "organization")
        rule = rules.filter(public_id=named).first()
    if rule is None:
        raise Unauthenticated(
            "No trust rule is named: make the identity token for the rule's id as its audience, or send `rule`."
        )
    claims = issuers.verified(identity, issuer=rule.issuer, audience=rule.audience)
    actor = Principal(rule.account.user, rule.organization, None)
    wrong = _wrong_claim(rule, claims)
    if wrong:
        audit.record(actor, "trust.refused", rule, after=_told(claims), reason=wrong)
        raise Forbidden(f"This identity is genuine, but the rule {rule.public_id} does not trust it: {wrong}")
    if not rule.account.user.is_active:
        raise Forbidden("The service account of this rule is switched off.")
    return _given(rule, claims, actor, identity)


@transaction.atomic
def _given(rule: TrustRule, claims: dict[str, Any], actor: Principal, identity: str) -> Exchanged:
    now = clock.now()
    _use_up(rule, claims, identity)
    TrustRule.objects.select_for_update().get(pk=rule.pk)
    if Token.objects.filter(rule=rule, expires_at__gt=now, revoked_at=None).count() >= MAX_LIVE_TOKENS:
        raise Conflict(
            f"This rule has given {MAX_LIVE_TOKENS} tokens that are still valid; wait for some to expire."
        )
    secret, seconds = new_secret(), rule.expires_in_minutes * 60
    token = Token.objects.create(
        organization=rule.organization,
        user=rule.account.user,
        team=rule.account.team,
        name=f"{rule.name}: {_plain(claims['sub'])}"[:100],
        hash=hash_of(secret),
        scopes=rule.scopes,
        expires_at=now + timedelta(seconds=seconds),
        rule=rule,
    )
    TrustRule.objects.filter(pk=rule.pk).update(last_used_at=now)
    after = {"rule": rule.public_id, "expires_at": token.expires_at.isoformat(), "identity": _told(claims)}
    audit.record(actor, "token.exchanged", token, after=after)
    return Exchanged(token, secret, seconds)


def _use_up(rule: TrustRule, claims: dict[str, Any], identity: str) -> None:
    """Raises Unauthenticated where this identity token was used before. One without an id is known by its whole text
    but for the signature, which can be written in several ways."""
    name = claims.get("jti")
    known_by = f"jti {name}" if isinstance(name, str) and name else identity.rpartition(".")[0]
    used = hashlib.sha256(f"{rule.issuer}\0{known_by}".encode()).hexdigest()
    until = datetime.fromtimestamp(claims["exp"], UTC)
    try:
        with transaction.atomic():
            UsedIdentity.objects.create(hash=used, expires_at=until)
    except IntegrityError:
        raise Unauthenticated(
            "This identity token was exchanged before; each is worth one exchange. Get a new one from its issuer."
        ) from None


def check_rule(wanted: Wanted) -> None:
    """Raises InvalidInput naming every wrong field."""
    errors = [*_wrong_plain_fields(wanted), *_wrong_claims(wanted.claims)]
    try:
        issuers.check_issuer(wanted.issuer)
    except NotFetched as error:
        errors.append(FieldError("issuer", str(error), "such as https://token.actions.githubusercontent.com"))
    if errors:
        raise InvalidInput("The trust rule cannot be made so.", errors=errors)


def _wrong_plain_fields(wanted: Wanted) -> list[FieldError]:
    errors = []
    if not wanted.name.strip() or len(wanted.name) > 63 or not wanted.name.isprintable():
        errors.append(FieldError("name", "must be 1 to 63 printable characters"))
    if len(wanted.audience) > 255 or not wanted.audience.isprintable():
        errors.append(FieldError("audience", "must be at most 255 printable characters"))
    if len(wanted.issuer) > 255:
        errors.append(FieldError("issuer", "must be at most 255 characters"))
    if not 5 <= wanted.expires_in_minutes <= MAX_MINUTES:
        errors.append(FieldError("expires_in_minutes", f"must be 5 to {MAX_MINUTES}"))
    if not wanted.scopes or not set(wanted.scopes) <= ALL_SCOPES:
        errors.append(FieldError("scopes", "must be read, write or both"))
    return errors


def _wrong_claims(claims: Mapping[str, Any]) -> list[FieldError]:
    if not 1 <= len(claims) <= MAX_CLAIMS:
        return [
            FieldError(
                "claims", f"must name 1 to {MAX_CLAIMS} claims", 'such as {"repository": "acme/train"}'
            )
        ]
    errors = []
    for claim, given in claims.items():
        where, patterns = f"claims.{_plain(claim)[:60]}", _as_list(given)
        if not isinstance(claim, str) or not 1 <= len(claim) <= 100 or not claim.isprintable():
            errors.append(FieldError(where, "is no claim's name"))
        if not 1 <= len(patterns) <= MAX_PATTERNS or not all(map(_is_pattern, patterns)):
            message = f"must be a pattern, or 1 to {MAX_PATTERNS} of them, of 1 to {MAX_PATTERN} characters"
            errors.append(FieldError(where, message, "a star stands for any text"))
    bound = any(
        all(_is_pattern(pattern) and "*" not in pattern.partition("/")[0] for pattern in _as_list(given))
        for claim, given in claims.items()
        if claim in OWNING
    )
    if not errors and not bound:
        message = "must say whose identity it is, without a star before the first slash"
        errors.append(FieldError("claims", message, f"by one of {', '.join(sorted(OWNING))}"))
    return errors


def _is_pattern(given: object) -> bool:
    return isinstance(given, str) and 1 <= len(given) <= MAX_PATTERN and given.isprintable()


def _as_list(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list) else [given]


def _wrong_claim(rule: TrustRule, claims: Mapping[str, Any]) -> str:
    """Why the rule does not trust these claims; says what the identity has, not what the rule would take."""
    for claim, patterns in sorted(rule.claims.items()):
        value = claims.get(claim)
        if isinstance(value, bool):
            value = "true" if value else "false"
        if not isinstance(value, str | int):
            return f"it has no claim {claim!r} that is a text."
        if not any(fits(pattern, str(value)) for pattern in patterns):
            return f"its claim {claim!r} is {_plain(value)[:100]!r}."
    return ""


def fits(pattern: str, text: str) -> bool:
    """Whether the text is the pattern, where each star stands for any text; takes time in proportion to both."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    last = rest.pop()
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in rest:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


_TOLD = (
    "iss",
    "sub",
    "jti",
    "repository",
    "ref",
    "workflow_ref",
    "run_id",
    "actor",
    "project_path",
    "pipeline_id",
    "job_id",
)
"""Claims that the audit log keeps, if they are there."""


def _told(claims: Mapping[str, Any]) -> dict[str, object]:
    return {name: _plain(claims[name])[:200] for name in _TOLD if name in claims}


def _plain(value: object) -> str:
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(value)
    )


def facts_of(rule: TrustRule) -> dict[str, object]:
    """As the audit log tells it."""
    return {
        "name": rule.name,
        "account": rule.account.name,
        "issuer": rule.issuer,
        "audience": rule.audience,
        "claims": rule.claims,
        "scopes": rule.scopes,
        "expires_in_minutes": rule.expires_in_minutes,
    }
