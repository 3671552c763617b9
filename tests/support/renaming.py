"""A cell, or a decision about it, under other ids.

Ids are found by the declared type `Id`, and what they are ids of by the name of their field, so that a new field of a
row or a decision is renamed too, or refused here. Names such as "job-7" go with the ids that they say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any, TypeAlias, TypeVar

from scheduler_core.decision import Excess
from scheduler_core.model import Id

T = TypeVar("T")

Anew: TypeAlias = Callable[[str, Id], Id]
"""Kind and id → the id that it has from now on."""

KIND_BY_FIELD = {
    "attempt": "attempt",
    "attempts": "attempt",
    "chip": "chip",
    "job": "job",
    "jobs": "job",
    "lenders": "attempt",
    "node": "node",
    "nodes": "node",
    "organization": "organization",
    "parent": "team",
    "pool": "pool",
    "pools": "pool",
    "promises": "job",
    "reserved": "job",
    "set": "set",
    "team": "team",
    "unwanted": "node",
    "user": "user",
}
KIND_BY_CLASS = {
    "Chip": "chip",
    "Job": "job",
    "Node": "node",
    "Pool": "pool",
    "Running": "attempt",
    "Seen": "seen",
    "Team": "team",
    "Window": "window",
}
NAME = re.compile(r"(job|node|team|pool)-(\d+)")


def renamed(value: T, anew: Anew) -> T:
    """The same rows, or decision, with every id renamed; the order of what it lists stays."""
    return _changed(value, anew, ids=True)


def named_anew(value: T, anew: Anew) -> T:
    """The same with every name renamed alone: ids stay."""
    return _changed(value, anew, ids=False)


def swapping(pairs: Iterable[tuple[str, Id, Id]]) -> Anew:
    """The two ids of each pair, of this kind, change places."""
    other = {(kind, one): two for kind, *both in pairs for one, two in (both, both[::-1])}
    return lambda kind, one: other.get((kind, one), one)


def _changed(value: T, anew: Anew, *, ids: bool) -> T:
    if is_dataclass(value) and not isinstance(value, type):
        parts = {name: _part(value, name, kind, anew, ids) for name, kind in _kinds_of(type(value))}
        return replace(value, **parts)
    if isinstance(value, tuple):
        return tuple(_changed(item, anew, ids=ids) for item in value)  # type: ignore[return-value]
    if isinstance(value, str) and (said := NAME.fullmatch(value)):
        return f"{said[1]}-{anew(said[1], int(said[2]))}"  # type: ignore[return-value]
    return value


def _part(row: Any, name: str, kind: str | None, anew: Anew, ids: bool) -> Any:
    """The field's value with what it says renamed."""
    value = getattr(row, name)
    if kind is None:
        return _changed(value, anew, ids=ids)
    if value is None or not ids:
        return value
    if isinstance(row, Excess):
        kind = "team" if row.what.startswith("limit") else row.what.split()[0]
    return tuple(anew(kind, one) for one in value) if isinstance(value, tuple) else anew(kind, value)


@cache
def _kinds_of(row: type) -> list[tuple[str, str | None]]:
    """The fields of the class that can be given, each with what it is an id of; None for what is no id."""
    found: list[tuple[str, str | None]] = []
    for item in fields(row):
        if not item.init:
            continue
        if "Id" not in re.findall(r"\w+", str(item.type)):
            found.append((item.name, None))
        elif item.name == "id":
            found.append((item.name, KIND_BY_CLASS.get(row.__name__, "by what it says")))
        else:
            found.append((item.name, KIND_BY_FIELD[item.name]))
    return found
