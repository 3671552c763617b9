"""What a policy for jobs does, in sentences for whoever sets it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from flexai.jobs.policies import DEFAULTS
from flexai.jobs.policy_bounds import BOUNDS


def words_of(defaults: Mapping[str, Any], bounds: Mapping[str, Any]) -> list[str]:
    """A sentence for each default and each bound, in the order of `policies`; none for an empty policy."""
    given = [
        f"Jobs that leave `{key}` out get {_said(defaults[key])}." for key in DEFAULTS if key in defaults
    ]
    kept = [key for key in BOUNDS if key in bounds and bounds[key] is not False]
    return [*given, *(_BOUNDS[key](bounds[key]) for key in kept)]


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return _listed(value)
    return str(value) if isinstance(value, str | int) else msgspec.json.encode(value).decode()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _idle(rule: Mapping[str, Any]) -> str:
    return " ".join(f"{key} {rule[key]}" for key in ("action", "window", "min_utilization") if key in rule)


_CIRCLES: Final = {
    "never": "nobody", "team": "the team at most", "organization": "the organization at most", "any": "anybody",
}  # fmt: skip


_BOUNDS: Final[Mapping[str, Callable[[Any], str]]] = {
    "max_duration": lambda most: f"A job must give `max_duration`, {most} at most.",
    "priority": lambda most: f"A priority above {most} is refused.",
    "chips": lambda most: f"A job that asks for more than {most} chips, all replicas together, is refused.",
    "nodes": lambda most: f"A job on more than {most} nodes is refused.",
    "cpus": lambda most: f"A replica that asks for more than {most} CPUs is refused.",
    "memory": lambda most: f"A job must give `memory`, {most} at most for each replica.",
    "shm_size": lambda most: f"In an image, `shm_size` (or else `memory`) must be given, {most} at most.",
    "retries": lambda most: f"More than {most} retries are refused.",
    "isolation": lambda least: f"A slice that says nothing is {least}; anything weaker is refused.",
    "utilization_policy": lambda rule: (
        f"A job with chips that says nothing gets {_idle(rule)} when they are idle; "
        "anything milder is refused."
    ),
    "lend": lambda widest: f"Idle chips are lent to {_CIRCLES[widest]}; anything wider is refused.",
    "node_pools": lambda names: f"A job must name its pools, of {_listed(names)}.",
    "labels": lambda names: f"A job without the labels {_listed(names)} is refused.",
    "allowed_images": lambda patterns: f"An image that is not of {_listed(patterns)} is refused.",
    "require_digest": lambda _: "An image without a digest is refused.",
}
