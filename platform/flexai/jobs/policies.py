"""Policies for jobs: what an organization or a team gives jobs that leave a field out, and what it bounds.

The policy of the organization and those of the team and all above it hold together. A default of the nearer one goes
first; bounds all hold, and a refusal names the policy. Read at most every two seconds and kept per process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from django.db import transaction

from flexai.common.errors import FieldError, InvalidInput, NotFound
from flexai.jobs import quantities, spec
from flexai.jobs.images import is_allowed, read_image, read_pattern
from flexai.jobs.quantities import Wrong, duration_words
from flexai.jobs.spec_resources import ISOLATION
from flexai.tenancy import audit
from flexai.tenancy.models import JobPolicy, Organization, Team
from flexai.tenancy.principals import Principal, TeamSeat
from flexai.tenancy.roles import Action

KEPT_SECONDS: Final = 2.0
MAX_ITEMS: Final = 32
MAX_CHIPS: Final = 1_000_000
DEFAULTS: Final = (
    "priority", "preemptible", "max_duration", "min_runtime", "idle_timeout", "utilization_policy", "lend", "lease",
    "retry", "node_pools", "stragglers",
)  # fmt: skip
"""Fields of the spec that a policy may fill in. `idle_timeout` and `utilization_policy` go to jobs with chips alone."""
OF_CHIPS: Final = frozenset({"idle_timeout", "utilization_policy"})
BOUNDS: Final = (
    "max_duration", "priority", "chips", "retries", "isolation", "node_pools", "labels", "allowed_images",
    "require_digest",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Policy:
    """One row, as it is applied."""

    name: str
    """In a sentence: "organization acme", "team research"."""
    defaults: Mapping[str, Any]
    bounds: Mapping[str, Any]


def under_policy(principal: Principal, team: TeamSeat, raw: object, read: spec.Effective) -> spec.Effective:
    """The spec with what its policies give it, told among the roundings. Raises InvalidInput naming every field that a
    policy refuses, and the policy."""
    policies = _policies_of(principal, team)
    if not policies or not isinstance(raw, Mapping):
        return read
    read = _with_defaults(policies, raw, read)
    errors = [error for policy in policies for error in _refused(policy, read.spec)]
    if errors:
        raise InvalidInput(f"{errors[0].field}: {errors[0].message}.", errors=errors)
    return read


def policy_of(organization: Organization, team: Team | None) -> JobPolicy:
    """The row of the organization, or of the team; an empty one where none is set."""
    found = JobPolicy.objects.filter(organization=organization, team=team).first()
    return found or JobPolicy(organization=organization, team=team)


@transaction.atomic
def set_job_policy(principal: Principal, team: Team | None, defaults: object, bounds: object) -> JobPolicy:
    """The policy of the team, or of the principal's organization, afterwards; recorded. Jobs that exist keep theirs.

    Raises Forbidden (owners and operators only), and InvalidInput naming every wrong field.
    """
    organization = team.organization if team is not None else principal.organization
    principal.require(Action.SET_JOB_POLICY, team.pk if team is not None else None)
    values = {"defaults": _checked_defaults(defaults), "bounds": _checked_bounds(bounds)}
    before = policy_of(organization, team)
    row, _ = JobPolicy.objects.update_or_create(organization=organization, team=team, defaults=values)
    told = {"defaults": before.defaults, "bounds": before.bounds}
    audit.record(principal, "job_policy.set", team or organization, before=told, after=values)
    return row


def check_job_policy(defaults: object, bounds: object) -> None:
    """Raises InvalidInput naming every field with which `set_job_policy` would refuse them."""
    errors: list[FieldError] = []
    for check, given in ((_checked_defaults, defaults), (_checked_bounds, bounds)):
        try:
            check(given)
        except InvalidInput as error:
            errors += error.errors
    if errors:
        raise InvalidInput("The policy cannot be set so.", errors=errors)


@transaction.atomic
def remove_job_policy(principal: Principal, team: Team | None) -> None:
    """Neither gives nor bounds anything any more. Raises Forbidden, and NotFound where none is set."""
    principal.require(Action.SET_JOB_POLICY, team.pk if team is not None else None)
    organization = team.organization if team is not None else principal.organization
    row = JobPolicy.objects.filter(organization=organization, team=team).first()
    if row is None:
        raise NotFound("No policy is set here.")
    told = {"defaults": row.defaults, "bounds": row.bounds}
    audit.record(principal, "job_policy.removed", team or organization, before=told)
    row.delete()


def forget() -> None:
    """What was read is read anew at the next submit (tests)."""
    with _lock:
        _kept.clear()


_lock = threading.Lock()
_kept: dict[str, tuple[float, dict[tuple[int, int | None], Policy]]] = {}


def _policies_of(principal: Principal, team: TeamSeat) -> list[Policy]:
    """From the nearest to the organization's."""
    rows = _all()
    if not rows:
        return []
    parents = {seat.pk: seat.parent for seat in principal.teams}
    line: list[int | None] = []
    at: int | None = team.pk
    while at is not None and at not in line:
        line.append(at)
        at = parents.get(at) if at in parents else _parent_of(at)
    keys = [(principal.organization.pk, place) for place in (*line, None)]
    return [rows[key] for key in keys if key in rows]


def _parent_of(team_pk: int) -> int | None:
    """Of a team above those that the principal sees."""
    return Team.objects.filter(pk=team_pk).values_list("parent_id", flat=True).first()


def _all() -> dict[tuple[int, int | None], Policy]:
    with _lock:
        kept = _kept.get("all")
        if kept is not None and time.monotonic() - kept[0] < KEPT_SECONDS:
            return kept[1]
        rows = {
            (row.organization_id, row.team_id): Policy(
                f"team {row.team.name}" if row.team else f"organization {row.organization.slug}",
                row.defaults,
                row.bounds,
            )
            for row in JobPolicy.objects.select_related("team", "organization")
        }
        _kept["all"] = (time.monotonic(), rows)
        return rows


def _with_defaults(
    policies: Sequence[Policy], raw: Mapping[str, Any], read: spec.Effective
) -> spec.Effective:
    asked = (read.spec["resources"], *read.spec["alternatives"])
    has_chips = all(one["chips"] or one["milli"] or one["chip_memory_mib"] for one in asked)
    given: dict[str, Any] = {}
    told = []
    for policy in policies:
        for key, value in policy.defaults.items():
            if raw.get(key) is None and key not in given and (has_chips or key not in OF_CHIPS):
                given[key] = value
                told.append(f"`{key}` is set by the policy of {policy.name}.")
    floors = [policy for policy in policies if policy.bounds.get("isolation")]
    if given:
        made = spec.parse({**raw, **given})
        read = replace(made, roundings=[*made.roundings, *told])
    for resources in (read.spec["resources"], *read.spec["alternatives"]):
        if floors and _is_slice(resources) and resources["isolation"] is None:
            strictest = min(floors, key=lambda policy: ISOLATION.index(policy.bounds["isolation"]))
            resources["isolation"] = strictest.bounds["isolation"]
            read.roundings.append(f"`isolation` is set by the policy of {strictest.name}.")
    return read


def _refused(policy: Policy, effective: Mapping[str, Any]) -> list[FieldError]:
    wrong = {
        key: message
        for key, bound in policy.bounds.items()
        if (message := _CHECKS[key](effective, bound)) is not None
    }
    return [
        FieldError(_FIELDS.get(key, key), f"{message}, by the policy of {policy.name}")
        for key, message in wrong.items()
    ]


_FIELDS: Final = {
    "chips": "resources.accelerators",
    "retries": "retry.limit",
    "isolation": "resources.isolation",
    "allowed_images": "image",
    "require_digest": "image",
}
"""Where the field that a bound is about stands in the spec."""


def _duration(effective: Mapping[str, Any], most: str) -> str | None:
    bound = quantities.duration_ms(most, least=1000)
    asked = effective["max_duration_ms"]
    if asked is not None and asked <= bound:
        return None
    return f"must be given, and at most {duration_words(bound)}"


def _priority(effective: Mapping[str, Any], most: int) -> str | None:
    return None if effective["priority"] <= most else f"must be at most {most}"


def _chips(effective: Mapping[str, Any], most: int) -> str | None:
    """Of one job, all replicas together; a slice counts as its part."""
    replicas = effective["replicas"]["max"]
    asked = max(
        (one["chips"] * 1000 or one["milli"]) * replicas
        for one in (effective["resources"], *effective["alternatives"])
    )
    return None if asked <= most * 1000 else f"asks for more than {most} chips"


def _retries(effective: Mapping[str, Any], most: int) -> str | None:
    return None if effective["retry"]["limit"] <= most else f"must be at most {most}"


def _isolation(effective: Mapping[str, Any], floor: str) -> str | None:
    for resources in (effective["resources"], *effective["alternatives"]):
        asked = resources["isolation"]
        if asked is not None and _is_slice(resources) and ISOLATION.index(asked) > ISOLATION.index(floor):
            return f"must be {floor} or stricter"
    return None


def _pools(effective: Mapping[str, Any], allowed: Sequence[str]) -> str | None:
    asked = effective["node_pools"]
    if asked and set(asked) <= set(allowed):
        return None
    return f"must be of {', '.join(allowed)}"


def _labels(effective: Mapping[str, Any], needed: Sequence[str]) -> str | None:
    missing = [key for key in needed if key not in effective["labels"]]
    return f"must have {', '.join(missing)}" if missing else None


def _images(effective: Mapping[str, Any], allowed: Sequence[str]) -> str | None:
    """Of a job that names one; a job without runs none."""
    if effective["image"] is None:
        return None
    image = read_image(effective["image"])
    if any(is_allowed(image, read_pattern(pattern)) for pattern in allowed):
        return None
    return f"must be of {', '.join(allowed)}"


def _digest(effective: Mapping[str, Any], needed: bool) -> str | None:
    if not needed or effective["image"] is None or read_image(effective["image"]).digest:
        return None
    return "must end with a digest, @sha256: and 64 digits"


_CHECKS: Final[Mapping[str, Callable[[Mapping[str, Any], Any], str | None]]] = {
    "max_duration": _duration, "priority": _priority, "chips": _chips, "retries": _retries,
    "isolation": _isolation, "node_pools": _pools, "labels": _labels,
    "allowed_images": _images, "require_digest": _digest,
}  # fmt: skip


def _is_slice(resources: Mapping[str, Any]) -> bool:
    return bool(not resources["chips"] and (resources["milli"] or resources["chip_memory_mib"]))


def _checked_defaults(given: object) -> dict[str, Any]:
    values = _object("defaults", given, DEFAULTS)
    sample = {"commands": ["true"], "resources": {"accelerators": "x:1"}, **values}
    try:
        spec.parse(sample)
    except InvalidInput as error:
        errors = [replace(wrong, field=f"defaults.{wrong.field}") for wrong in error.errors]
        raise InvalidInput("The policy cannot be set so.", errors=errors) from None
    return values


def _checked_bounds(given: object) -> dict[str, Any]:
    values = _object("bounds", given, BOUNDS)
    errors = []
    for key, value in values.items():
        try:
            _BOUNDS[key](value)
        except Wrong as error:
            errors.append(FieldError(f"bounds.{key}", error.message, error.hint))
    if errors:
        raise InvalidInput("The policy cannot be set so.", errors=errors)
    return values


def _object(name: str, given: object, known: Sequence[str]) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InvalidInput(f"`{name}` must be an object.", errors=[FieldError(name, "must be an object")])
    errors = [
        FieldError(f"{name}.{str(key)[:60]}", "unknown key", f"known here are {', '.join(known)}")
        for key in given
        if key not in known
    ]
    if errors:
        raise InvalidInput("The policy cannot be set so.", errors=errors)
    return {key: value for key, value in given.items() if value is not None}


def _one_isolation(value: object) -> object:
    if value not in ISOLATION:
        raise Wrong("is no isolation class", f"give {', '.join(ISOLATION)}")
    return value


def _texts(value: object) -> object:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_ITEMS:
        raise Wrong(f"must be a list of 1 to {MAX_ITEMS} names")
    if not all(isinstance(item, str) and 1 <= len(item) <= 63 and item.isprintable() for item in value):
        raise Wrong("must be names of 1 to 63 printable characters")
    return value


def _patterns(value: object) -> object:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_ITEMS:
        raise Wrong(f"must be a list of 1 to {MAX_ITEMS} patterns")
    for item in value:
        read_pattern(item)
    return value


def _flag(value: object) -> object:
    if not isinstance(value, bool):
        raise Wrong("must be true or false")
    return value


_BOUNDS: Final[Mapping[str, Callable[[object], object]]] = {
    "max_duration": lambda value: quantities.duration_ms(value, least=1000),
    "priority": lambda value: quantities.whole(value, 0, 100),
    "chips": lambda value: quantities.whole(value, 0, MAX_CHIPS),
    "retries": lambda value: quantities.whole(value, 0, 100),
    "isolation": _one_isolation,
    "node_pools": _texts,
    "labels": _texts,
    "allowed_images": _patterns,
    "require_digest": _flag,
}
