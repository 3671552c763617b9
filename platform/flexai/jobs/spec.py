"""The job spec: what people write, checked whole, and the effective spec that the platform works from.

Pure: no clock, no database. Everything wrong is reported at once, each with its path. Whether a request fits
the cell is another question (`jobs.admission`).

Defaults that people meet: `name` job, `type` task, `nodes` 1, `priority` normal (50), `lend` team (after 5m), `lease`
10m, `checkpoint.grace_period` 10s, no retries; a `utilization_policy` looks for less than 5% over 10m, and
notifies. A job without chips gets 1 CPU; a job with chips asks for 0 host CPUs unless it says otherwise,
because on nodes whose chips are cores the chip is the CPU (Q6). Without `memory` no limit is set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from flexai.common.errors import FieldError, InvalidInput, TooLarge
from flexai.jobs import quantities
from flexai.jobs.images import Image, read_image
from flexai.jobs.spec_matrix import Task, read_matrix
from flexai.jobs.spec_notify import read_notify
from flexai.jobs.spec_order import read_depends_on
from flexai.jobs.spec_reader import Reader
from flexai.jobs.spec_resources import asks_for_chips, read_resources
from flexai.jobs.spec_schedule import read_schedule
from flexai.jobs.spec_secrets import read_secrets, refuse_in_matrix
from flexai.jobs.spec_stragglers import read_stragglers
from scheduler_core.demand import BELOW, Rung
from scheduler_core.model import Lend
from scheduler_core.offers import LEND_AFTER

MAX_SPEC_BYTES = 1024 * 1024
"""1 MiB of JSON, files included."""
MAX_NAME = 100
MAX_COMMANDS = 1000
MAX_COMMAND_BYTES = 128 * 1024
"""One string of an argument list may not be longer on Linux."""
MAX_FILES = 200
MAX_FILE_BYTES = 512 * 1024
MAX_ENV = 500
MAX_LABELS = 64
MAX_OUTPUTS = 50
"""Patterns of files to keep; how many files and bytes is the installation's to say."""
MAX_REPLICAS = 10_000
MAX_ELASTIC = 1024
"""The most replicas of a range: the rule looks at every size between."""
MAX_RETRIES = 100
DEFAULT_LEASE_MS = 600_000
LEAST_LEASE_MS = 30_000
"""Three heartbeats of an agent."""
DEFAULT_GRACE_MS = 10_000
MAX_GRACE_MS = 3_600_000
DEFAULT_WINDOW_MS = 600_000
LEAST_WINDOW_MS = 30_000
"""Three measurements of ten seconds."""
MAX_WINDOW_MS = 7 * 86_400_000
PRIORITIES = {"low": 25, "normal": 50, "high": 75}
IDLE_ACTIONS = tuple(rung.value for rung in Rung)
SIGNALS = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT", "SIGHUP")
"""By which work may be asked to save itself and make room."""
LEND = tuple(who.value for who in Lend)
LEAST_LEND_AFTER_MS = 2_000
"""One look at what is idle."""
RETRIED = ("exit", "oom", "start_failed", "timed_out")
_RANGE = re.compile(r"(\d{1,4})\s*(?:\.\.|-)\s*(\d{1,4})")
_BY_DEFAULT_RETRIED = ["exit", "oom", "start_failed"]


@dataclass(frozen=True, slots=True)
class Effective:
    """The canonical spec with every default filled in, each rounding as a sentence, and the tasks of a matrix."""

    spec: dict[str, Any]
    roundings: list[str] = field(default_factory=list)
    tasks: tuple[Task, ...] = ()


def parse(raw: object) -> Effective:
    """The effective spec of what was submitted.

    Raises InvalidInput naming every wrong field, and TooLarge above `MAX_SPEC_BYTES`.
    """
    encoded(raw)
    if not isinstance(raw, Mapping):
        raise InvalidInput("A job spec is an object with keys such as `name` and `commands`.")
    reader = Reader(raw)
    spec, matrix = _read(reader), read_matrix(reader)
    if matrix is not None and spec["secrets"]:
        refuse_in_matrix(reader, spec["secrets"], {key for task in matrix.tasks for key in task})
    if reader.errors:
        raise InvalidInput(_summary(reader.errors), errors=reader.errors)
    if matrix is None:
        return Effective(spec, reader.roundings)
    return Effective(spec | {"matrix": {"cap": matrix.cap}}, reader.roundings, matrix.tasks)


def parse_schedule(raw: Mapping[str, Any]) -> dict[str, str]:
    """`schedule` of a spec, effective. Raises InvalidInput."""
    reader = Reader(raw)
    schedule = read_schedule(reader)
    if reader.errors or schedule is None:
        raise InvalidInput(_summary(reader.errors), errors=reader.errors)
    return schedule


def idle_rule(policy: Mapping[str, Any]) -> dict[str, Any]:
    """A `utilization_policy`, effective. Raises InvalidInput."""
    reader = Reader({"utilization_policy": policy})
    rule = _idle(reader, has_chips=True)
    if reader.errors or rule is None:
        raise InvalidInput(_summary(reader.errors), errors=reader.errors)
    return rule


def parse_name(raw: Mapping[str, Any]) -> str:
    """The effective name of a spec whose other fields are known to be right. Raises InvalidInput."""
    reader = Reader(raw)
    name = _name(reader)
    if reader.errors:
        raise InvalidInput(_summary(reader.errors), errors=reader.errors)
    return name


def encoded(raw: object) -> bytes:
    """What was submitted as JSON. Raises TooLarge above the bound, InvalidInput for what JSON cannot carry."""
    made = _as_json(raw)
    if len(made) > MAX_SPEC_BYTES:
        size = len(made) // 1024
        raise TooLarge(f"The spec has {size} KiB; at most {MAX_SPEC_BYTES // 1024} KiB are accepted.")
    return made


def canonical(raw: object) -> bytes:
    """One spec or many as JSON, the same for the same body. Raises InvalidInput for what JSON cannot carry."""
    return _as_json(raw, "deterministic")


def _as_json(raw: object, order: Literal["deterministic"] | None = None) -> bytes:
    try:
        return msgspec.json.encode(raw, order=order)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise InvalidInput("The spec holds something that JSON cannot carry.") from None


def _read(reader: Reader) -> dict[str, Any]:
    reader.only_known()
    kind = reader.choice("type", ("task", "workspace", "service"), "task")
    if kind in ("workspace", "service"):
        reader.wrong("type", f"`type: {kind}` is not built yet", "give task")
    if read_schedule(reader) is not None:
        reader.wrong(
            "schedule", "makes a schedule, not a job", "`flexai apply`, or POST to /api/v1/schedules"
        )
    hold, start_after = reader.flag("hold", False), reader.read("start_after", quantities.instant)
    (least, most), asked = _replicas(reader), read_resources(reader)
    env = reader.environment("env", MAX_ENV)
    spec = {
        "name": _name(reader),
        "team": reader.slug("team"),
        "type": kind,
        "image": _image(reader),
        "commands": _commands(reader),
        "env": env,
        "secrets": read_secrets(reader, env),
        "files": reader.files("files", MAX_FILES, MAX_FILE_BYTES),
        "working_dir": reader.folder("working_dir"),
        "resources": asked.first,
        "alternatives": asked.others,
        "choose": asked.choose,
        "shm_mib": asked.shm_mib,
        "replicas": {"min": least, "max": most, "spread": reader.flag("spread", True)},
        "node_pools": reader.slugs("node_pools", 32),
        "priority": _priority(reader),
        "preemptible": reader.flag("preemptible", False),
        "min_runtime_ms": reader.duration("min_runtime", 0, least=0),
        "hold": hold,
        "start_after": start_after,
        **_deadline(reader),
        "max_duration_ms": reader.duration("max_duration", None, least=1000),
        "retry": _retry(reader),
        "lease_ms": _lease(reader),
        **_lend(reader),
        **_checkpoint(reader),
        "idle": _idle(reader, has_chips=all(asks_for_chips(one) for one in (asked.first, *asked.others))),
        "stragglers": read_stragglers(reader),
        "array": _array(reader),
        "right_size": reader.flag("right_size", True),
        "depends_on": read_depends_on(reader),
        "labels": reader.labels("labels", MAX_LABELS),
        "outputs": _outputs(reader),
        "notify": read_notify(reader),
    }
    _say_if_not_resized(reader, spec)
    _refuse_by_image(reader, spec)
    return spec


def _name(reader: Reader) -> str:
    return reader.line("name", "job", MAX_NAME)


def _image(reader: Reader) -> str | None:
    """The full name of the image that its commands run in; None: they run as they are on the node."""
    image: Image | None = reader.read("image", read_image)
    if image is None:
        return None
    if str(image) != reader.raw["image"]:
        reader.rounded(f"`image` is {image}.")
    return str(image)


def _outputs(reader: Reader) -> list[str]:
    """Patterns below the working directory, without a / at their end."""
    patterns = reader.patterns("outputs", MAX_OUTPUTS)
    folder = reader.raw.get("working_dir")
    if patterns and isinstance(folder, str) and folder.startswith("/"):
        reader.wrong(
            "outputs", "are kept of the job's own folder, and `working_dir` is another",
            "copy them there ($HOME), or give a `working_dir` below it",
        )  # fmt: skip
    return patterns


def _commands(reader: Reader) -> list[str]:
    given = reader.raw.get("commands")
    if given is None:
        reader.wrong("commands", "is missing", "give one command or a list of commands")
        return []
    items = given if isinstance(given, list) else [given]
    if not items or len(items) > MAX_COMMANDS:
        reader.wrong("commands", f"must be 1 to {MAX_COMMANDS} commands")
        return []
    commands = []
    for position, item in enumerate(items):
        path = f"commands.{position}" if isinstance(given, list) else "commands"
        commands.append(reader.text_at(path, item, MAX_COMMAND_BYTES, filled=True))
    return commands


def _replicas(reader: Reader) -> tuple[int, int]:
    """Least and most replicas: one number, or the range of an elastic gang."""
    given = reader.raw.get("nodes", 1)
    if isinstance(given, Mapping):
        inner = reader.inside("nodes")
        least = inner.whole("min", 1, 1, MAX_ELASTIC)
        if "max" not in given:
            inner.wrong("max", "is missing", "give the most replicas, such as {min: 1, max: 4}")
        most = inner.whole("max", least, 1, MAX_ELASTIC)
    elif isinstance(given, str) and (found := _RANGE.fullmatch(given.strip())):
        least, most = (
            reader.checked("nodes", int(part), lambda value: quantities.whole(value, 1, MAX_ELASTIC), 1)
            for part in found.groups()
        )
    else:
        least = most = reader.checked(
            "nodes", given, lambda value: quantities.whole(value, 1, MAX_REPLICAS), 1
        )
    if most < least and not any(error.field.startswith("nodes") for error in reader.errors):
        reader.wrong("nodes", f"goes from {least} down to {most}", f"give {most}..{least}")
    return least, max(least, most)


def _say_if_not_resized(reader: Reader, spec: Mapping[str, Any]) -> None:
    """Elastic work that may not be stopped, or could not go on, keeps the size that it starts with (E1)."""
    if spec["replicas"]["min"] < spec["replicas"]["max"] and not reader.errors:
        lacks = "preemptible: true" if not spec["preemptible"] else ""
        lacks = lacks or ("" if spec["checkpoint_path"] else "checkpoint.path")
        if lacks:
            reader.rounded(f"It keeps the number of replicas that it starts with: resizing needs `{lacks}`.")


def _refuse_by_image(reader: Reader, spec: Mapping[str, Any]) -> None:
    """What there is in an image alone, and what there is not: of the node it sees the job's own folder only."""
    if spec["image"] is None:
        if spec["shm_mib"]:
            reader.wrong(
                "resources.shm_size", "sizes the /dev/shm of an image, and this job has none: it uses its node's",
                "give an `image`, or leave it out",
            )  # fmt: skip
        return
    if spec["checkpoint_path"].startswith("/"):
        reader.wrong(
            "checkpoint.path", "is absolute, and an image can write into the job's own folder only",
            "give a relative path, such as checkpoint",
        )  # fmt: skip
    if spec["files"] and (spec["working_dir"] or "").startswith("/"):
        reader.wrong(
            "files",
            "cannot be written into `working_dir`, which is the image's",
            "give a relative `working_dir`",
        )


def _priority(reader: Reader) -> int:
    given = reader.raw.get("priority", "normal")
    if isinstance(given, str):
        if given in PRIORITIES:
            return PRIORITIES[given]
        reader.wrong(
            "priority", f"{quantities.said(given)} is no priority", "give low, normal, high or 0 to 100"
        )
        return 50
    return reader.checked("priority", given, lambda value: quantities.whole(value, 0, 100), 50)


def _retry(reader: Reader) -> dict[str, Any]:
    given = reader.raw.get("retry")
    if given is not None and not isinstance(given, Mapping):
        limit = reader.checked("retry", given, lambda value: quantities.whole(value, 0, MAX_RETRIES), 0)
        return {"limit": limit, "on": list(_BY_DEFAULT_RETRIED), "exit_codes": []}
    inner = reader.inside("retry")
    return {
        "limit": inner.whole("limit", 1 if given else 0, 0, MAX_RETRIES),
        "on": inner.choices("on", RETRIED, _BY_DEFAULT_RETRIED),
        "exit_codes": inner.wholes("exit_codes", 1, 255, 255),
    }


def _deadline(reader: Reader) -> dict[str, Any]:
    """By when it has to be over: an instant, or so long after its submit."""
    given: str | int | None = reader.read("deadline", quantities.instant_or_duration)
    after = given if isinstance(given, int) else None
    return {"deadline": None if after is not None else given, "deadline_ms": after}


def _lease(reader: Reader) -> int | None:
    if reader.raw.get("lease") == "never":
        return None
    lease: int = reader.duration("lease", DEFAULT_LEASE_MS, least=LEAST_LEASE_MS)
    return lease


def _lend(reader: Reader) -> dict[str, Any]:
    """Who may use its idle chips (T3): a word, or `to` and `after`, for how long they must have been idle."""
    if not isinstance(reader.raw.get("lend"), Mapping):
        return {"lend": reader.choice("lend", LEND, Lend.TEAM.value), "lend_after_ms": LEND_AFTER}
    inner = reader.inside("lend")
    after = inner.duration("after", LEND_AFTER, least=LEAST_LEND_AFTER_MS, most=MAX_WINDOW_MS)
    return {"lend": inner.choice("to", LEND, Lend.TEAM.value), "lend_after_ms": after}


def _checkpoint(reader: Reader) -> dict[str, Any]:
    inner = reader.inside("checkpoint")
    given = inner.raw.get("path")
    path = "" if given is None else inner.text_at("checkpoint.path", given, 4096, filled=True)
    grace = inner.duration("grace_period", DEFAULT_GRACE_MS, least=0, most=MAX_GRACE_MS)
    name = inner.choice("signal", [*SIGNALS, *(name.removeprefix("SIG") for name in SIGNALS)], SIGNALS[0])
    signal = name if name.startswith("SIG") else f"SIG{name}"
    return {"grace_ms": grace, "checkpoint_path": path, "checkpoint_signal": signal}


def _idle(reader: Reader, *, has_chips: bool) -> dict[str, Any] | None:
    """What may be done when its chips are idle (T2); None: its user is told, nothing else."""
    for key in ("idle_timeout", "utilization_policy"):
        if reader.raw.get(key) is not None and not has_chips:
            reader.wrong(
                key, "is about the use of chips, and the job asks for none", "see `resources.accelerators`"
            )
    if reader.raw.get("idle_timeout") is not None:
        if reader.raw.get("utilization_policy") is not None:
            reader.wrong("idle_timeout", "says the same as `utilization_policy`", "give one of them")
        window = reader.duration("idle_timeout", MAX_WINDOW_MS, least=LEAST_WINDOW_MS, most=MAX_WINDOW_MS)
        return {"below_permille": BELOW, "window_ms": window, "action": Rung.STOP.value}
    if reader.raw.get("utilization_policy") is None:
        return None
    inner = reader.inside("utilization_policy")
    return {
        "below_permille": inner.read("min_utilization", quantities.permille) or BELOW,
        "window_ms": inner.duration("window", DEFAULT_WINDOW_MS, least=LEAST_WINDOW_MS, most=MAX_WINDOW_MS),
        "action": inner.choice("action", IDLE_ACTIONS, Rung.NOTIFY.value),
    }


def _array(reader: Reader) -> dict[str, Any] | None:
    found: quantities.Indices | None = reader.read("array", quantities.array_indices)
    if found is None:
        return None
    return {"indices": [list(item) for item in found.ranges], "cap": found.cap}


def _summary(errors: list[FieldError]) -> str:
    first = errors[0]
    told = f"{first.field}: {first.message}" + (f" ({first.hint})" if first.hint else "")
    more = len(errors) - 1
    return f"The spec has {len(errors)} errors, first {told}." if more else f"The spec is wrong: {told}."
