"""Policies for jobs: what an organization or a team gives jobs that leave a field out, and what it bounds.

The policy of the organization and those of the team and all above it hold together. A default of the nearer one goes
first; bounds all hold, and a refusal names the policy. Read at most every two seconds and kept per process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from django.db import transaction

from flexai.common.errors import FieldError, InvalidInput, NotFound
from flexai.jobs import spec
from flexai.jobs.policy_bounds import BOUNDS, FIELDS, READ, narrowed, refusal
from flexai.jobs.quantities import Wrong
from flexai.jobs.spec_resources import asks_for_chips
from flexai.tenancy import audit
from flexai.tenancy.models import JobPolicy, Organization, Team
from flexai.tenancy.principals import Principal, TeamSeat
from flexai.tenancy.roles import Action

KEPT_SECONDS: Final = 2.0
DEFAULTS: Final = (
    "priority", "preemptible", "max_duration", "min_runtime", "idle_timeout", "utilization_policy", "lend", "lease",
    "retry", "node_pools", "stragglers", "cpus", "memory",
)  # fmt: skip
"""Fields of the spec that a policy may fill in."""
OF_CHIPS: Final = frozenset({"idle_timeout", "utilization_policy"})
"""Two ways to say the same, for jobs with chips alone."""
OF_RESOURCES: Final = frozenset({"cpus", "memory"})
"""Fields of `resources`."""


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
    has_chips = all(asks_for_chips(one) for one in (read.spec["resources"], *read.spec["alternatives"]))
    filled: dict[str, Any] = {**raw, "resources": dict(raw.get("resources") or {})}
    told = []
    for policy in policies:
        for key, value in policy.defaults.items():
            place = filled["resources"] if key in OF_RESOURCES else filled
            if _is_left_out(key, filled, has_chips=has_chips):
                place[key] = value
                told.append(f"`{key}` is set by the policy of {policy.name}.")
    if told:
        made = spec.parse(filled)
        read = replace(made, roundings=[*made.roundings, *told])
    for key, name in narrowed(read.spec, raw, [(policy.name, policy.bounds) for policy in policies]):
        read.roundings.append(f"`{key}` is set by the policy of {name}.")
    return read


def _is_left_out(key: str, filled: Mapping[str, Any], *, has_chips: bool) -> bool:
    """Whether the spec says nothing of what this default is about. What it then says fits together: /dev/shm counts as
    memory, so who sizes that has said enough of it."""
    if key in OF_CHIPS:
        return has_chips and all(filled.get(one) is None for one in OF_CHIPS)
    if key not in OF_RESOURCES:
        return filled.get(key) is None
    resources = filled["resources"]
    if key == "memory" and resources.get("shm_size") is not None:
        return False
    any_of = resources.get("any_of") or [{}]
    return resources.get(key) is None and any(one.get(key) is None for one in any_of)


def _refused(policy: Policy, effective: Mapping[str, Any]) -> list[FieldError]:
    wrong = {
        key: message
        for key, bound in policy.bounds.items()
        if (message := refusal(key, effective, bound)) is not None
    }
    return [
        FieldError(FIELDS.get(key, key), f"{message}, by the policy of {policy.name}")
        for key, message in wrong.items()
    ]


def _checked_defaults(given: object) -> dict[str, Any]:
    values = _object("defaults", given, DEFAULTS)
    resources = {key: values[key] for key in OF_RESOURCES & set(values)}
    others = {key: value for key, value in values.items() if key not in OF_RESOURCES}
    try:
        spec.parse({"commands": ["true"], "resources": {"accelerators": "x:1", **resources}, **others})
    except InvalidInput as error:
        errors = [
            replace(wrong, field=f"defaults.{wrong.field.removeprefix('resources.')}")
            for wrong in error.errors
        ]
        raise InvalidInput("The policy cannot be set so.", errors=errors) from None
    return values


def _checked_bounds(given: object) -> dict[str, Any]:
    values = _object("bounds", given, BOUNDS)
    errors = []
    for key, value in values.items():
        try:
            READ[key](value)
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
