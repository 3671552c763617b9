"""From an effective spec to what the engine asks for (Q2). The spec is canonical; nothing is defaulted
here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduler_core.model import Gang, Isolation, Request


def gang_from(effective: Mapping[str, Any]) -> Gang:
    """The gang of an effective spec, from its `resources` and `replicas`. Raises KeyError or ValueError when
    the spec is not canonical."""
    replicas = effective["replicas"]
    return Gang(
        request=_request_from(effective["resources"]),
        minimum=replicas["min"],
        maximum=replicas["max"],
        spread=replicas["spread"],
    )


def _request_from(resources: Mapping[str, Any]) -> Request:
    isolation = resources["isolation"]
    return Request(
        chips=resources["chips"],
        milli=resources["milli"],
        chip_memory=resources["chip_memory_mib"],
        chip_types=tuple(resources["chip_types"]),
        cpu=resources["cpu_milli"],
        memory=resources["memory_mib"],
        isolation=Isolation(isolation) if isolation else None,
    )
