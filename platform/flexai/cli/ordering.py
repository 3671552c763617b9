"""Jobs of the same files that wait for each other: by name in the files, by id once they are submitted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from flexai.cli.exits import USAGE, Refusal
from flexai.client.types import Spec


def check_order(specs: Sequence[tuple[str, Spec]]) -> None:
    """Raises Refusal when a job waits for one that stands later in the files, or for itself."""
    names = [spec.get("name") for _, spec in specs]
    for place, (where, spec) in enumerate(specs):
        for one in _dependencies(spec):
            if one.get("job") in names[place:] and one.get("job") not in names[:place]:
                sentence = f"{where or 'The spec'} waits for {one['job']!r}, which does not stand before it."
                raise Refusal(
                    sentence,
                    hint="Put the job that comes first before the one that waits for it; nothing was submitted.",
                    exit_code=USAGE,
                    code="usage",
                )


def without(spec: Spec, names: Collection[object]) -> Spec:
    """The spec without its dependencies on jobs of these names, which are not submitted yet."""
    left = [one for one in _dependencies(spec) if one.get("job") not in names]
    return _with(spec, left)


def with_ids(spec: Spec, ids: Mapping[object, str]) -> Spec:
    """The spec with ids in place of the names of jobs that were submitted from the same files."""
    return _with(
        spec,
        [one | {"job": ids[one["job"]]} if one.get("job") in ids else one for one in _dependencies(spec)],
    )


def _dependencies(spec: Spec) -> list[dict[str, Any]]:
    """Those that can be read; what is wrong with others, the server says."""
    given = spec.get("depends_on")
    items = given if isinstance(given, list) else [given]
    named = [{"job": one} if isinstance(one, str) else one for one in items]
    return [one for one in named if isinstance(one, dict) and isinstance(one.get("job"), str)]


def _with(spec: Spec, dependencies: list[dict[str, Any]]) -> Spec:
    if len(_dependencies(spec)) != len(_as_list(spec.get("depends_on"))):
        return spec  # something in it cannot be read: as it was given, for the server to refuse
    rest = {key: value for key, value in spec.items() if key != "depends_on"}
    return rest | {"depends_on": dependencies} if dependencies else rest


def _as_list(given: object) -> list[object]:
    if given is None:
        return []
    return given if isinstance(given, list) else [given]
