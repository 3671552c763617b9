"""The bounds of a policy for jobs: how each is read, what of a spec it refuses, and what it gives where the spec says
nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flexai.common.errors import InvalidInput
from flexai.jobs import quantities, spec
from flexai.jobs.images import is_allowed, read_image, read_pattern
from flexai.jobs.quantities import Wrong, duration_words, plain
from flexai.jobs.spec_resources import ISOLATION, MAX_CPU_MILLI, asks_for_chips
from scheduler_core.demand import BELOW

MAX_ITEMS: Final = 32
MAX_CHIPS: Final = 1_000_000
BOUNDS: Final = (
    "max_duration", "priority", "chips", "nodes", "cpus", "memory", "shm_size", "retries", "isolation",
    "utilization_policy", "lend", "node_pools", "labels", "allowed_images", "require_digest",
)  # fmt: skip
FIELDS: Final = {
    "chips": "resources.accelerators",
    "cpus": "resources.cpus",
    "memory": "resources.memory",
    "shm_size": "resources.shm_size",
    "retries": "retry.limit",
    "isolation": "resources.isolation",
    "allowed_images": "image",
    "require_digest": "image",
}
"""Where the field that a bound is about stands in the spec."""
_IDLE_KEYS: Final = ("min_utilization", "window", "action")


def refusal(key: str, effective: Mapping[str, Any], bound: Any) -> str | None:
    """Why this bound refuses the spec, as the end of a sentence; None where it does not."""
    return _CHECKS[key](effective, bound)


def narrowed(
    effective: dict[str, Any], raw: Mapping[str, Any], bounds: Sequence[tuple[str, Mapping[str, Any]]]
) -> Iterator[tuple[str, str]]:
    """The bounds, by whose they are, give what the spec leaves out where its default would be refused: each such field
    has the strictest afterwards. Names the field and whose bound it is."""
    floors = [(one["isolation"], name) for name, one in bounds if one.get("isolation")]
    if floors:
        isolation, name = min(floors, key=lambda floor: ISOLATION.index(floor[0]))
        for resources in _asked(effective):
            if _is_slice(resources) and resources["isolation"] is None:
                resources["isolation"] = isolation
                yield "isolation", name
    circles = [(one["lend"], name) for name, one in bounds if one.get("lend")]
    if circles and raw.get("lend") is None:
        widest, name = min(circles, key=lambda circle: spec.LEND.index(circle[0]))
        if spec.LEND.index(effective["lend"]) > spec.LEND.index(widest):
            effective["lend"] = widest
            yield "lend", name
    idle = [
        (_idle_floor(one["utilization_policy"]), name) for name, one in bounds if "utilization_policy" in one
    ]
    if idle and effective["idle"] is None and all(asks_for_chips(one) for one in _asked(effective)):
        effective["idle"] = _strictest([floor for floor, _ in idle]).as_rule()
        yield "utilization_policy", idle[0][1]


@dataclass(frozen=True, slots=True)
class _IdleFloor:
    """The mildest rule for idle chips that is allowed (T2)."""

    below_permille: int | None
    window_ms: int | None
    rung: int
    """Place among `spec.IDLE_ACTIONS`, least disturbing first."""

    def as_rule(self) -> dict[str, Any]:
        """As the effective spec has it."""
        return {
            "below_permille": self.below_permille or BELOW,
            "window_ms": self.window_ms or spec.DEFAULT_WINDOW_MS,
            "action": spec.IDLE_ACTIONS[self.rung],
        }

    def lacks(self, rule: Mapping[str, Any]) -> list[str]:
        """What of this rule is milder."""
        lacks = []
        if self.below_permille is not None and rule["below_permille"] < self.below_permille:
            lacks.append(f"`min_utilization` at least {self.below_permille / 10:g}%")
        if self.window_ms is not None and rule["window_ms"] > self.window_ms:
            lacks.append(f"a window of at most {duration_words(self.window_ms)}")
        if spec.IDLE_ACTIONS.index(rule["action"]) < self.rung:
            lacks.append(f"the action {' or '.join(spec.IDLE_ACTIONS[self.rung :])}")
        return lacks


def _idle_floor(bound: Mapping[str, Any]) -> _IdleFloor:
    rule = spec.idle_rule(bound)
    return _IdleFloor(
        rule["below_permille"] if bound.get("min_utilization") is not None else None,
        rule["window_ms"] if bound.get("window") is not None else None,
        spec.IDLE_ACTIONS.index(rule["action"]),
    )


def _strictest(floors: Sequence[_IdleFloor]) -> _IdleFloor:
    below = [one.below_permille for one in floors if one.below_permille is not None]
    windows = [one.window_ms for one in floors if one.window_ms is not None]
    return _IdleFloor(max(below, default=None), min(windows, default=None), max(one.rung for one in floors))


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
    asked = max((one["chips"] * 1000 or one["milli"]) * replicas for one in _asked(effective))
    return None if asked <= most * 1000 else f"asks for more than {most} chips"


def _retries(effective: Mapping[str, Any], most: int) -> str | None:
    return None if effective["retry"]["limit"] <= most else f"must be at most {most}"


def _isolation(effective: Mapping[str, Any], floor: str) -> str | None:
    for resources in _asked(effective):
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


def _nodes(effective: Mapping[str, Any], most: int) -> str | None:
    return None if effective["replicas"]["max"] <= most else f"must be at most {most}"


def _cpus(effective: Mapping[str, Any], most: object) -> str | None:
    """Of one replica; one with chips that names none gets what its node gives it."""
    bound = _cpu_milli(most)
    if all(one["cpu_milli"] <= bound for one in _asked(effective)):
        return None
    return f"must be at most {plain(bound)}"


def _memory(effective: Mapping[str, Any], most: object) -> str | None:
    """Of one replica; one that names none is held to none."""
    bound = quantities.memory_mib(most)
    if all(0 < one["memory_mib"] <= bound for one in _asked(effective)):
        return None
    return f"must be given, and at most {bound} MiB"


def _shm(effective: Mapping[str, Any], most: object) -> str | None:
    """Of a job in an image; without a size of its own it is as large as the memory."""
    if effective["image"] is None:
        return None
    bound = quantities.memory_mib(most)
    if all(0 < (effective["shm_mib"] or one["memory_mib"]) <= bound for one in _asked(effective)):
        return None
    return f"must be given, and at most {bound} MiB"


def _idle(effective: Mapping[str, Any], bound: Mapping[str, Any]) -> str | None:
    """Of a job with chips; one that says nothing was given the bound itself."""
    if effective["idle"] is None:
        return None
    lacks = _idle_floor(bound).lacks(effective["idle"])
    return f"must have {' and '.join(lacks)}" if lacks else None


def _lend(effective: Mapping[str, Any], widest: str) -> str | None:
    if spec.LEND.index(effective["lend"]) <= spec.LEND.index(widest):
        return None
    return f"must be {' or '.join(spec.LEND[: spec.LEND.index(widest) + 1])}"


_CHECKS: Final[Mapping[str, Callable[[Mapping[str, Any], Any], str | None]]] = {
    "max_duration": _duration, "priority": _priority, "chips": _chips, "retries": _retries,
    "isolation": _isolation, "nodes": _nodes,
    "cpus": _cpus, "memory": _memory, "shm_size": _shm, "utilization_policy": _idle, "lend": _lend,
    "node_pools": _pools, "labels": _labels,
    "allowed_images": _images, "require_digest": _digest,
}  # fmt: skip


def _is_slice(resources: Mapping[str, Any]) -> bool:
    return bool(not resources["chips"] and (resources["milli"] or resources["chip_memory_mib"]))


def _asked(effective: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    return effective["resources"], *effective["alternatives"]


def _cpu_milli(value: object) -> int:
    return quantities.milli(value, least=1, most=MAX_CPU_MILLI)


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


def _one_circle(value: object) -> object:
    if value not in spec.LEND:
        raise Wrong("names nobody to lend to", f"give {', '.join(spec.LEND)}")
    return value


def _idle_bound(value: object) -> object:
    if not isinstance(value, dict) or not value or set(value) - set(_IDLE_KEYS):
        raise Wrong(
            f"must be an object of {', '.join(_IDLE_KEYS)}", 'such as {"window": "1h", "action": "suspend"}'
        )
    try:
        spec.idle_rule(value)
    except InvalidInput as error:
        raise Wrong(error.errors[0].message, error.errors[0].hint) from None
    return value


READ: Final[Mapping[str, Callable[[object], object]]] = {
    "max_duration": lambda value: quantities.duration_ms(value, least=1000),
    "priority": lambda value: quantities.whole(value, 0, 100),
    "chips": lambda value: quantities.whole(value, 0, MAX_CHIPS),
    "nodes": lambda value: quantities.whole(value, 1, spec.MAX_REPLICAS),
    "cpus": _cpu_milli,
    "memory": quantities.memory_mib,
    "shm_size": quantities.memory_mib,
    "retries": lambda value: quantities.whole(value, 0, 100),
    "isolation": _one_isolation,
    "utilization_policy": _idle_bound,
    "lend": _one_circle,
    "node_pools": _texts,
    "labels": _texts,
    "allowed_images": _patterns,
    "require_digest": _flag,
}
"""By bound: raises Wrong for what it cannot be."""
