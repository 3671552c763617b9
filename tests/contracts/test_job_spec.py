"""The fields of the job spec, as it was designed: each is accepted, or refused by name as not built yet."""

from __future__ import annotations

from typing import Any

import pytest

from flexai.common.errors import InvalidInput
from flexai.jobs.spec import parse

ACCEPTED: dict[str, Any] = {
    "name": "train",
    "team": "vision",
    "type": "task",
    "commands": ["true"],
    "working_dir": "src",
    "files": {"src/train.py": "print(1)"},
    "env": {"LR": "0.1"},
    "resources.accelerators": "H100:8",
    "resources.accelerators.vendor": "nvidia",
    "resources.accelerators.memory": "40GB..",
    "resources.fraction": 0.5,
    "resources.chip_memory": "16GB",
    "resources.isolation": "enforced",
    "resources.cpus": 2,
    "resources.memory": "8GiB",
    "resources.shm_size": "1GB",
    "nodes": 4,
    "nodes.max": 8,
    "spread": True,
    "node_pools": ["a", "b"],
    "priority": "high",
    "preemptible": True,
    "min_runtime": "30m",
    "lend": "team",
    "hold": True,
    "max_duration": "2h",
    "deadline": "2030-01-01T00:00:00Z",
    "start_after": "2030-01-01T00:00:00Z",
    "secrets": {"WANDB_API_KEY": "wandb"},
    "retry": {"limit": 2, "on": ["oom"], "exit_codes": [7]},
    "retry.limit": 2,
    "retry.on": ["exit"],
    "retry.exit_codes": [7],
    "lease": "10m",
    "checkpoint.path": "/checkpoints",
    "checkpoint.signal": "USR1",
    "checkpoint.grace_period": "30s",
    "array": "0-99%10",
    "right_size": False,
    "labels": {"project": "x"},
    "outputs": ["results/**", "junit.xml"],
    "image": "docker.io/pytorch/pytorch:2",
    "notify": {"on": ["failed", "held"], "mail": ["ana@example.org"], "webhook": "ci"},
    "utilization_policy": {"min_utilization": 5, "window": "10m", "action": "suspend"},
    "stragglers": {"action": "move", "below": "75%", "window": "5m", "moves": 3},
    "depends_on": [{"job": "a", "on": "afterany", "otherwise": "cancel"}, "b"],
    "matrix": {"lr": [1, 2], "exclude": [{"lr": 2}], "include": [{"note": "x"}], "max_parallel": 2},
    "resources.any_of": [{"accelerators": "H100:1"}, {"accelerators": "A100:2"}],
}
REFUSED: dict[str, Any] = {
    "setup": ["make"],
    "resources.disk": "10GB",
    "topology": {"required": "rack"},
    "ports": [8080],
    "instances": "0..4",
    "scaling": {},
    "probes": [],
    "volumes": ["data:/data"],
}
VALUES_NOT_BUILT: list[tuple[str, Any]] = [
    ("type", "workspace"),
    ("type", "service"),
]


@pytest.mark.parametrize("field", ACCEPTED)
def test_a_field_that_is_built_is_accepted(field: str) -> None:
    parse(_with(field, ACCEPTED[field]))


@pytest.mark.parametrize("field", REFUSED)
def test_a_field_that_is_not_built_is_refused_by_its_name(field: str) -> None:
    assert any("is not built yet" in said and field in said for said in _wrong(field, REFUSED[field]))


@pytest.mark.parametrize(("field", "value"), VALUES_NOT_BUILT)
def test_a_value_that_is_not_built_is_refused_at_its_field(field: str, value: Any) -> None:
    said = _wrong(field, value)
    assert any("not built yet" in one for one in said), said


def test_a_field_of_nobody_is_not_said_to_come() -> None:
    assert not any("not built yet" in said for said in _wrong("gpu_flavour", "x"))


def _wrong(field: str, value: Any) -> list[str]:
    """What is said, each with the path it is said at."""
    with pytest.raises(InvalidInput) as caught:
        parse(_with(field, value))
    return [f"{error.field}: {error.message}" for error in caught.value.errors]


def _with(field: str, value: Any) -> dict[str, Any]:
    """A spec with this one field beside what every spec needs."""
    *above, last = field.split(".")
    inner: dict[str, Any] = {last: value}
    if last == "isolation":
        inner["fraction"] = 0.5
    for key in reversed(above):
        inner = {key: inner}
    if last == "utilization_policy":
        inner["resources"] = {"accelerators": "H100:1"}
    if last == "shm_size":
        inner["image"] = "docker.io/pytorch/pytorch:2"
    return {"commands": ["true"], **inner}
