"""`matrix` of a spec: one task for each combination of values, as GitHub Actions has it.

`exclude` takes away every combination that has all values of one of its entries. Then each entry of `include` is added
to every combination of which it overwrites no value that the lists gave; one that fits nowhere is a task of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from flexai.jobs import quantities
from flexai.jobs.quantities import MAX_ARRAY_TASKS, said
from flexai.jobs.spec_reader import Reader, said_key

MAX_TASKS = MAX_ARRAY_TASKS
MAX_KEYS = 32
MAX_ENTRIES = 1000
"""Of `include`, and of `exclude`."""
MAX_VALUE = 200
"""Characters of a value: it is a label too."""
_KEY = re.compile(r"[A-Za-z]([A-Za-z0-9_]{0,61}[A-Za-z0-9])?")
_OWN_WORDS = frozenset({"include", "exclude", "max_parallel"})

Task = dict[str, str]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The tasks of a matrix, each with its values, and how many may live at once."""

    tasks: tuple[Task, ...]
    cap: int | None


def read_matrix(reader: Reader) -> Matrix | None:
    """The matrix; None without one, or where something in it is wrong."""
    given = reader.raw.get("matrix")
    if given is None:
        return None
    if not isinstance(given, Mapping):
        reader.wrong(
            "matrix", f"must be an object, not {said(given)}", "such as {lr: [0.1, 0.01], seed: [1, 2]}"
        )
        return None
    if reader.raw.get("array") is not None:
        reader.wrong("matrix", "does not go together with `array`", "give one of them")
    wrong = len(reader.errors)
    inner = Reader(given, "matrix", reader)
    lists = {key: _values(inner, key) for key in given if key not in _OWN_WORDS and _is_key(inner, key)}
    include, exclude = _entries(inner, "include", None), _entries(inner, "exclude", lists)
    cap = inner.read("max_parallel", lambda value: quantities.whole(value, 1, MAX_TASKS))
    combinations = math.prod(len(values) for values in lists.values()) if lists else 0
    if len(lists) > MAX_KEYS:
        inner.wrong("", f"has {len(lists)} lists; at most {MAX_KEYS} are combined")
    elif combinations > MAX_TASKS:
        reader.wrong("matrix", f"has {combinations} combinations; at most {MAX_TASKS} are accepted")
    if len(reader.errors) > wrong:
        return None
    tasks = expanded(lists, include, exclude)
    _check(reader, tasks)
    return Matrix(tuple(tasks), cap)


def expanded(
    lists: Mapping[str, Sequence[str]], include: Sequence[Task], exclude: Sequence[Task]
) -> list[Task]:
    """The tasks in order: the last list changes fastest, what `include` adds of its own comes last."""
    combinations = (
        [dict(zip(lists, values, strict=True)) for values in product(*lists.values())] if lists else []
    )
    left = [one for one in combinations if not any(entry.items() <= one.items() for entry in exclude)]
    tasks = [dict(one) for one in left]
    alone: list[Task] = []
    for entry in include:
        given = {key: value for key, value in entry.items() if key in lists}
        fits = [place for place, one in enumerate(left) if given.items() <= one.items()]
        for place in fits:
            tasks[place] |= entry
        if not fits:
            alone.append(dict(entry))
    return tasks + alone


def _check(reader: Reader, tasks: Sequence[Task]) -> None:
    if not 1 <= len(tasks) <= MAX_TASKS:
        reader.wrong("matrix", f"has {len(tasks)} tasks; it must have 1 to {MAX_TASKS}")
    elif len({tuple(sorted(task.items())) for task in tasks}) < len(tasks):
        reader.wrong("matrix", "has the same task twice", "see `matrix.include`")
    names = {key for task in tasks for key in task}
    for field in ("env", "labels"):
        given = reader.raw.get(field)
        for name in sorted(names & set(given)) if isinstance(given, Mapping) else ():
            reader.wrong(f"{field}.{name}", "is a value of the matrix too", "name one of them otherwise")


def _is_key(inner: Reader, key: object) -> bool:
    if isinstance(key, str) and _KEY.fullmatch(key) and not key.upper().startswith("FLEXAI_"):
        return True
    hint = "it becomes a variable: use up to 63 letters, digits and _, not beginning with FLEXAI_"
    inner.wrong(said_key(key), "is no name of a value", hint)
    return False


def _values(inner: Reader, key: str) -> list[str]:
    given = inner.raw[key]
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_TASKS:
        inner.wrong(key, f"must be a list of 1 to {MAX_TASKS} values, not {said(given)}")
        return []
    values = [_value(inner, f"{key}.{place}", item) for place, item in enumerate(given)]
    if len(set(values)) < len(values) and "" not in values:
        inner.wrong(key, "has the same value twice")
    return values


def _value(inner: Reader, path: str, given: object) -> str:
    if isinstance(given, bool):
        return "true" if given else "false"
    text = str(given) if isinstance(given, int | float | str) and not _is_endless(given) else ""
    if not text or len(text) > MAX_VALUE or not text.isprintable():
        inner.wrong(
            path, f"must be a number, true, false or 1 to {MAX_VALUE} printable characters, not {said(given)}"
        )
        return ""
    return text


def _is_endless(given: object) -> bool:
    return (isinstance(given, float) and not math.isfinite(given)) or (
        isinstance(given, int) and given.bit_length() > 64
    )


def _entries(inner: Reader, word: str, known: Mapping[str, Any] | None) -> list[Task]:
    """The entries of `include` or `exclude`; those of the latter name lists there are."""
    given = inner.raw.get(word)
    if given is None:
        return []
    if not isinstance(given, list) or len(given) > MAX_ENTRIES:
        inner.wrong(word, f"must be a list of at most {MAX_ENTRIES} objects, not {said(given)}")
        return []
    entries = []
    for place, item in enumerate(given):
        path = f"{word}.{place}"
        if not isinstance(item, Mapping) or not item or len(item) > MAX_KEYS:
            inner.wrong(path, f"must be an object with 1 to {MAX_KEYS} values, not {said(item)}")
            continue
        unknown = [key for key in item if known is not None and key not in known]
        if unknown:
            inner.wrong(
                f"{path}.{said_key(unknown[0])}",
                "is no list of this matrix",
                f"there are {', '.join(known or ())}",
            )
            continue
        entries.append(
            {key: _value(inner, f"{path}.{key}", value) for key, value in item.items() if _is_key(inner, key)}
        )
    return entries
