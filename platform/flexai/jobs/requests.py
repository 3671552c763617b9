"""From an effective spec to what the engine asks for (Q2). The spec is canonical; nothing is defaulted
here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduler_core.model import Gang, Isolation, Request


def gangs_from(effective: Mapping[str, Any]) -> tuple[Gang, ...]:
    """The gangs of an effective spec, first the one of its `resources`, then those of its `alternatives` (P5).
    Raises KeyError or ValueError when the spec is not canonical."""
    replicas = effective["replicas"]
    asked = (effective["resources"], *effective.get("alternatives", ()))
    in_image = bool(effective.get("image"))
    return tuple(_gang_from(resources, replicas, in_image=in_image) for resources in asked)


def _gang_from(resources: Mapping[str, Any], replicas: Mapping[str, Any], *, in_image: bool) -> Gang:
    return Gang(
        request=request_from(resources, in_image=in_image),
        minimum=replicas["min"],
        maximum=replicas["max"],
        spread=replicas["spread"],
    )


def request_from(resources: Mapping[str, Any], *, in_image: bool) -> Request:
    """What one replica asks for. Raises KeyError or ValueError when the resources are not canonical."""
    isolation = resources["isolation"]
    return Request(
        chips=resources["chips"],
        milli=resources["milli"],
        chip_memory=resources["chip_memory_mib"],
        chip_types=tuple(resources["chip_types"]),
        in_order=resources.get("in_order", True),
        cpu=resources["cpu_milli"],
        memory=resources["memory_mib"],
        isolation=Isolation(isolation) if isolation else None,
        image=in_image,
    )
