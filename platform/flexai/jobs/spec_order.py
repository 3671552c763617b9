"""What a spec says about order: which jobs come first (`depends_on`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexai.jobs.quantities import said
from flexai.jobs.spec_reader import Reader
from scheduler_core.dependencies import After, Otherwise

MAX_DEPENDENCIES = 20
MAX_JOB_NAME = 100
_SHOWN = "such as {job: prepare, on: afterok}, or just prepare"


def read_depends_on(reader: Reader) -> list[dict[str, Any]]:
    """Each dependency with `job` (an id or a name, as it was given), `on` and `otherwise`."""
    given = reader.raw.get("depends_on")
    if given is None:
        return []
    items = given if isinstance(given, list) else [given]
    if not 1 <= len(items) <= MAX_DEPENDENCIES:
        reader.wrong("depends_on", f"must be 1 to {MAX_DEPENDENCIES} jobs")
        return []
    read = [
        _one(reader, f"depends_on.{place}" if isinstance(given, list) else "depends_on", item)
        for place, item in enumerate(items)
    ]
    if len({(one["job"], one["on"]) for one in read}) < len(read) and not reader.errors:
        reader.wrong("depends_on", "names the same job twice")
    return read


def _one(reader: Reader, where: str, item: object) -> dict[str, Any]:
    if isinstance(item, str):
        item = {"job": item}
    if not isinstance(item, Mapping):
        reader.wrong(where, f"must name a job, not {said(item)}", _SHOWN)
        item = {"job": "?"}
    inner = Reader(item, where, reader, "depends_on")
    inner.only_known()
    if inner.raw.get("job") is None:
        inner.wrong("job", "is missing", "give the id or the name of a job")
    return {
        "job": inner.line("job", "", MAX_JOB_NAME),
        "on": inner.choice("on", [word.value for word in After], After.OK.value),
        "otherwise": inner.choice("otherwise", [word.value for word in Otherwise], Otherwise.HOLD.value),
    }
