"""The shape of a spec, as it is sent."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field
from rest_framework import serializers

from flexai.api.schemas.common import (
    TextMapField,
)
from flexai.jobs.images import MAX_REFERENCE
from flexai.jobs.spec import SIGNALS
from flexai.jobs.spec_stragglers import ACTIONS, MOST_MOVES
from flexai.notifications.vocabulary import NOTIFIED_OF

AFTER_CHOICES = [(word, word) for word in ("afterok", "afterany", "afternotok")]
OTHERWISE_CHOICES = [(word, word) for word in ("hold", "cancel")]
NOTIFIED_CHOICES = [(word, word) for word in NOTIFIED_OF]
_TEXT_OR_NUMBER = {"type": ["string", "number"]}


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
class TextsField(serializers.JSONField):
    """One text or a list of texts."""


_ACCELERATORS = [
    {"type": "string"},
    {
        "type": "object",
        "properties": {
            "vendor": {"type": "string"},
            "memory": {"type": "string", "example": "40GB.."},
            "count": {"type": "integer", "minimum": 1},
        },
        "additionalProperties": {"type": "integer"},
    },
]


@extend_schema_field({"oneOf": _ACCELERATORS})
class AcceleratorField(serializers.JSONField):
    """ "H100:8", {"H100": 8}, or {"vendor": "nvidia", "memory": "40GB..", "count": 8}: any chip that fits."""


@extend_schema_field({"oneOf": [*_ACCELERATORS, {"type": "array", "items": {"oneOf": _ACCELERATORS}}]})
class AcceleratorsField(AcceleratorField):
    """The same, or a list of which the first that is free is taken."""


@extend_schema_field(
    {
        "oneOf": [
            {"type": "array", "items": {"type": "string"}, "maxItems": 32},
            {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 32},
        ]
    }
)
class SecretsField(serializers.JSONField):
    """["HF_TOKEN"], or {"WANDB_API_KEY": "wandb"}."""


@extend_schema_field(_TEXT_OR_NUMBER)
class AmountField(serializers.JSONField):
    """A number, or its text."""


@extend_schema_field({"type": "object", "additionalProperties": {"type": ["array", "integer"]}})
class MatrixField(serializers.JSONField):
    """Lists of values by name, and what is said of their combinations."""


@extend_schema_field({"oneOf": [{"type": "string", "enum": ["low", "normal", "high"]}, {"type": "integer"}]})
class PriorityField(serializers.JSONField):
    """A name or 0 to 100."""


_WHO = {"type": "string", "enum": ["never", "team", "organization", "any"]}


@extend_schema_field(
    {
        "oneOf": [
            _WHO,
            {
                "type": "object",
                "properties": {"to": _WHO, "after": {"type": "string"}},
                "additionalProperties": False,
            },
        ]
    }
)
class LendField(serializers.JSONField):
    """Who may use idle chips, and after how long."""


_SLOW = {"type": "string", "enum": list(ACTIONS)}


@extend_schema_field(
    {
        "oneOf": [
            _SLOW,
            {
                "type": "object",
                "properties": {
                    "action": _SLOW,
                    "below": _TEXT_OR_NUMBER,
                    "window": {"type": "string"},
                    "moves": {"type": "integer", "minimum": 0, "maximum": MOST_MOVES},
                },
                "additionalProperties": False,
            },
        ]
    }
)
class StragglersField(serializers.JSONField):
    """What may be done when something holds the job back, or it falls behind its array."""


class AlternativeSpecSerializer(serializers.Serializer[Any]):
    """One way to give a replica what it needs; what it leaves out is taken from beside `any_of`."""

    accelerators = AcceleratorField(required=False, help_text="TYPE:COUNT; without it the job has no chips.")
    fraction = AmountField(required=False, help_text="A slice of one chip: 0.5 or 50%.")
    chip_memory = serializers.CharField(required=False, help_text="A slice by its chip memory, such as 16GB.")
    isolation = serializers.ChoiceField(
        ["exclusive", "hardware", "enforced", "cooperative"],
        required=False,
        help_text="The weakest sharing that is acceptable.",
    )
    cpus = AmountField(required=False, help_text="Host CPUs; 1 without chips, 0 with.")
    memory = serializers.CharField(
        required=False, help_text="Host memory, such as 16GB; no limit when left out."
    )


class ResourcesSpecSerializer(AlternativeSpecSerializer):
    """What each replica needs."""

    accelerators = AcceleratorsField(required=False, help_text="TYPE:COUNT; without it the job has no chips.")
    shm_size = serializers.CharField(
        required=False, help_text="Room in /dev/shm, in an image: 8GB; as much as `memory` when left out."
    )
    any_of = AlternativeSpecSerializer(required=False, many=True, help_text="1 to 16 alternatives.")
    choose = serializers.ChoiceField(
        ["earliest_finish", "ordered"],
        required=False,
        help_text="Which alternative is taken; earliest_finish.",
    )


class UtilizationPolicySpecSerializer(serializers.Serializer[Any]):
    """What may be done when the job's chips are idle."""

    min_utilization = AmountField(required=False, help_text="Percent: 5 or 5%.")
    window = serializers.CharField(required=False, help_text="Idle for so long: 10m.")
    action = serializers.ChoiceField(["notify", "suspend", "stop"], required=False, help_text="notify")


class RetrySpecSerializer(serializers.Serializer[Any]):
    """When a failed attempt is followed by another."""

    limit = serializers.IntegerField(required=False, min_value=0, max_value=100)
    on = serializers.ListField(
        child=serializers.ChoiceField(["exit", "oom", "start_failed", "timed_out"]), required=False
    )
    exit_codes = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=255), required=False
    )


class CheckpointSpecSerializer(serializers.Serializer[Any]):
    """How the job saves itself before it is taken back."""

    path = serializers.CharField(
        required=False,
        help_text="FLEXAI_CHECKPOINT_DIR; absolute on storage that all nodes share, or relative; in an image relative.",
    )
    signal = serializers.ChoiceField(
        SIGNALS, required=False, help_text="Asks it to save and make room; SIGTERM."
    )
    grace_period = serializers.CharField(required=False, help_text="Between the signal and the kill; 10s.")


class DependencySpecSerializer(serializers.Serializer[Any]):
    """A job, or a set, that has to end first."""

    job = serializers.CharField(help_text="Id of a job or a set, or a name: the newest of that name.")
    on = serializers.ChoiceField(AFTER_CHOICES, required=False, help_text="afterok")
    otherwise = serializers.ChoiceField(
        OTHERWISE_CHOICES, required=False, help_text="What becomes of it when that cannot come; hold."
    )


@extend_schema_field(
    {
        "oneOf": [
            {"type": "boolean"},
            {"type": "string", "format": "email"},
            {"type": "array", "items": {"type": "string", "format": "email"}, "minItems": 1, "maxItems": 10},
        ]
    }
)
class MailField(serializers.JSONField):
    """Who gets a mail."""


class NotifySpecSerializer(serializers.Serializer[Any]):
    """Who is told what becomes of the job."""

    on = serializers.ListField(
        child=serializers.ChoiceField(NOTIFIED_CHOICES),
        required=False,
        help_text="succeeded, failed, cancelled, timed_out",
    )
    mail = MailField(
        required=False, help_text="true: whoever submits it; or addresses of members of the organization."
    )
    webhook = serializers.CharField(
        required=False, help_text="Name or address of a webhook of the team or the organization."
    )


@extend_schema_field(
    {
        "oneOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "description": "1..4"},
            {
                "type": "object",
                "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}},
                "required": ["max"],
            },
        ]
    }
)
class NodesField(serializers.JSONField):
    """How many replicas."""


class JobSpecSerializer(serializers.Serializer[Any]):
    """One job, or an array of equal ones. Unknown keys are refused, and so are words that are not built
    yet."""

    name = serializers.CharField(required=False, max_length=100)
    team = serializers.CharField(
        required=False, help_text="Who pays; may be left out by members of one team."
    )
    type = serializers.ChoiceField(["task"], required=False)
    image = serializers.CharField(
        required=False,
        max_length=MAX_REFERENCE,
        help_text="What the commands run in: registry/name:tag@digest.",
    )
    commands = TextsField(help_text="Run in order by one shell.")
    working_dir = serializers.CharField(required=False)
    files = TextMapField(required=False, help_text="Relative path → text.")
    env = TextMapField(required=False)
    secrets = SecretsField(
        required=False,
        help_text="Secrets of the team, or of one above it, that the job is given as variables: names, or the names by "
        "variable. A name that no team has is refused; the values stand in no spec, and are masked in logs.",
    )
    resources = ResourcesSpecSerializer(required=False)
    nodes = NodesField(required=False, help_text="Replicas, all or none; a range for an elastic gang.")
    spread = serializers.BooleanField(required=False, help_text="Each replica on a node of its own; true.")
    node_pools = serializers.ListField(child=serializers.CharField(), required=False)
    priority = PriorityField(required=False, help_text="Higher first; normal is 50.")
    preemptible = serializers.BooleanField(required=False)
    min_runtime = serializers.CharField(required=False, help_text="Not taken back before, such as 30m.")
    lend = LendField(
        required=False,
        help_text="Who may use its idle chips; or `to` and `after`, for how long idle, such as 5m.",
    )
    hold = serializers.BooleanField(required=False)
    start_after = serializers.DateTimeField(required=False)
    max_duration = serializers.CharField(required=False, help_text="Such as 2h.")
    deadline = serializers.CharField(
        required=False,
        help_text="By when it has to be over: an instant, or a duration from the submit such as 4h.",
    )
    retry = RetrySpecSerializer(required=False)
    lease = serializers.CharField(required=False, help_text="Such as 10m, or never.")
    checkpoint = CheckpointSpecSerializer(required=False)
    utilization_policy = UtilizationPolicySpecSerializer(required=False)
    idle_timeout = serializers.CharField(required=False, help_text="Stop after so long idle, such as 2h.")
    stragglers = StragglersField(
        required=False,
        help_text="When something holds it back, or it falls behind its array: notify, move or never; or `action`, "
        "`below` (80% of its equals' median), `window` (10m) and `moves` (2 over the job's life).",
    )
    array = serializers.CharField(required=False, help_text="Indices: 0-99, 0-99%10, 0,3,7-9:2.")
    matrix = MatrixField(
        required=False,
        help_text="A task for each combination of lists: {lr: [0.1, 0.01], seed: [1, 2]}; with include, exclude and "
        "max_parallel.",
    )
    right_size = serializers.BooleanField(
        required=False, help_text="Waiting tasks of an array ask for the memory that earlier ones held; true."
    )
    depends_on = DependencySpecSerializer(required=False, many=True, help_text="All of them come first.")
    labels = TextMapField(required=False)
    outputs = TextsField(
        required=False,
        help_text="Files to keep when it has run, below the working directory: results/**, junit.xml.",
    )
    notify = NotifySpecSerializer(required=False)


SPEC_EXAMPLES = [
    OpenApiExample(
        "Eight chips",
        value={
            "name": "train",
            "commands": ["python train.py"],
            "resources": {"accelerators": "H100:8", "memory": "64GB"},
            "max_duration": "2h",
        },
        request_only=True,
    ),
    OpenApiExample(
        "An array on half chips",
        value={
            "name": "sweep",
            "commands": ["python sweep.py"],
            "resources": {"fraction": 0.5},
            "array": "0-99%10",
        },
        request_only=True,
    ),
]
