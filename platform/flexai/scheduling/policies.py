"""The policy of a cell: the engine's defaults, with what an operator set (S4)."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from django.db import transaction

from flexai.cluster.models import Cell
from flexai.common.errors import FieldError, InvalidInput
from flexai.common.events import publish_on_commit
from flexai.scheduling.models import CellPolicy
from flexai.tenancy import audit
from flexai.tenancy.principals import Principal
from flexai.tenancy.roles import Action
from scheduler_core.policy import BOUNDS, Policy, PolicyOutOfBounds

NAMES = tuple(field.name for field in fields(Policy))


def policy_of(cell_id: int) -> Policy:
    """The policy under which the cell's next cycle decides."""
    return policy_from(CellPolicy.objects.filter(cell=cell_id).values_list("values", flat=True).first() or {})


def policy_from(values: Mapping[str, Any] | str) -> Policy:
    """The policy with these values, a mapping or its JSON, over the defaults. They were checked when they were
    set; one that this version no longer accepts raises PolicyOutOfBounds or TypeError."""
    given: dict[str, Any] = dict(json.loads(values) if isinstance(values, str) else values)
    lists: dict[str, Any] = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    return replace(Policy(), **{**given, **lists})


def set_policy(principal: Principal, cell: Cell, values: Mapping[str, Any]) -> Policy:
    """The cell decides by these values from its next cycle on; names left out have their default.

    Operators only. Raises InvalidInput with every wrong value: unknown names with the nearest known one, values
    with their bounds.
    """
    principal.require(Action.SET_SCHEDULER)
    policy = _checked(values)
    with transaction.atomic():
        row, _ = CellPolicy.objects.select_for_update().get_or_create(cell=cell)
        before, row.values = row.values, dict(values)
        row.save(update_fields=["values"])
        audit.record(
            principal,
            "policy.set",
            object_kind="cell",
            object_id=str(cell.pk),
            before=before,
            after=row.values,
        )
        publish_on_commit(cell=cell.pk)
    return policy


def described(policy: Policy) -> list[dict[str, Any]]:
    """Every number of the policy with its default and bounds."""
    now, default = asdict(policy), asdict(Policy())
    return [
        {
            "name": name,
            "value": _plain(now[name]),
            "default": _plain(default[name]),
            "least": BOUNDS[name][0],
            "most": BOUNDS[name][1],
        }
        for name in NAMES
    ]


def _checked(values: Mapping[str, Any]) -> Policy:
    wrong = [error for name, value in values.items() if (error := _problem(name, value)) is not None]
    if wrong:
        raise InvalidInput("The policy is not valid.", errors=wrong)
    return policy_from(values)


def _problem(name: str, value: object) -> FieldError | None:
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 1)
        return FieldError(name, "There is no such number.", f"Did you mean {near[0]}?" if near else "")
    is_list = isinstance(getattr(Policy(), name), tuple)
    numbers = value if is_list and isinstance(value, list) else [value]
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
    if not whole or isinstance(value, list) != is_list:
        return FieldError(name, "A list of whole numbers." if is_list else "A whole number.")
    try:
        policy_from({name: value})
    except PolicyOutOfBounds as error:
        return FieldError(name, str(error))
    return None


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
