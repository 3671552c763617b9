"""Shapes of jobs: the spec that is sent, and what is told of a job."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers

from flexai.api.schemas.common import (
    ACTION_CHOICES,
    CONTACT_CHOICES,
    STATUS_CHOICES,
    InstantOrNullField,
    ObjectField,
    TextMapField,
    integer,
)
from flexai.jobs.moves import MAX_KEEP_MS
from flexai.jobs.spec import IDLE_ACTIONS, SIGNALS

AFTER_CHOICES = [(word, word) for word in ("afterok", "afterany", "afternotok")]
OTHERWISE_CHOICES = [(word, word) for word in ("hold", "cancel")]
_TEXT_OR_NUMBER = {"type": ["string", "number"]}


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
class TextsField(serializers.JSONField):
    """One text or a list of texts."""


_ACCELERATORS = [{"type": "string"}, {"type": "object", "additionalProperties": {"type": "integer"}}]


@extend_schema_field({"oneOf": _ACCELERATORS})
class AcceleratorField(serializers.JSONField):
    """ "H100:8" or {"H100": 8}."""


@extend_schema_field({"oneOf": [*_ACCELERATORS, {"type": "array", "items": {"oneOf": _ACCELERATORS}}]})
class AcceleratorsField(AcceleratorField):
    """The same, or a list of which the first that is free is taken."""


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
        help_text="FLEXAI_CHECKPOINT_DIR; absolute on storage that all nodes share, or relative.",
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
    commands = TextsField(help_text="Run in order by one shell.")
    working_dir = serializers.CharField(required=False)
    files = TextMapField(required=False, help_text="Relative path → text.")
    env = TextMapField(required=False)
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
    outputs = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="Files to keep when it has run, below the working directory: results/**, junit.xml.",
    )


class TeamRefSerializer(serializers.Serializer[Any]):
    """A team by id and name."""

    id = serializers.CharField()
    name = serializers.CharField()


class JobChipsSerializer(serializers.Serializer[Any]):
    """What it asks for, or holds."""

    type = serializers.CharField(allow_null=True, help_text="Null for a job without chips.")
    milli_per_replica = integer("1000 = one chip.")
    replicas = integer("Of its last attempt; before the first, the fewest it asks for.")
    min_replicas = integer()
    max_replicas = integer("More than the minimum for an elastic gang.")
    total_milli = integer()


class IdleSerializer(serializers.Serializer[Any]):
    """That a running job's chips have hardly been used for a while."""

    since = serializers.DateTimeField()
    use_permille = integer("When it was last looked at.")
    action = serializers.ChoiceField([(action, action) for action in IDLE_ACTIONS])
    acts_at = InstantOrNullField()


class LendingSerializer(serializers.Serializer[Any]):
    """That it runs on chips lent to it, or that its own idle chips are on offer to guests."""

    role = serializers.ChoiceField(["guest", "owner"])
    since = serializers.DateTimeField()
    halted_at = InstantOrNullField(help_text="Since when the owner is back: the guest is halted meanwhile.")


class ProgressSerializer(serializers.Serializer[Any]):
    """What an attempt has said of itself, the newest."""

    at = serializers.DateTimeField(help_text="When it was last heard.")
    step = integer(allow_null=True)
    throughput = serializers.FloatField(
        allow_null=True, help_text="Of the whole job, a second, in its own unit."
    )
    loss = serializers.FloatField(allow_null=True)
    saved_step = integer("Of its last checkpoint.", allow_null=True)
    saved_at = InstantOrNullField()
    problem = serializers.CharField(help_text="What of its words was refused; empty: nothing.")


class JobSerializer(serializers.Serializer[Any]):
    """A job as lists show it."""

    id = serializers.CharField()
    name = serializers.CharField()
    type = serializers.CharField()
    status = serializers.ChoiceField(STATUS_CHOICES)
    sentence = serializers.CharField(help_text="Why it is where it is.")
    team = TeamRefSerializer()
    user = serializers.CharField()
    priority = integer()
    preemptible = serializers.BooleanField()
    set = serializers.CharField(allow_null=True)
    index = integer(allow_null=True)
    labels = TextMapField()
    chips = JobChipsSerializer()
    cpu_milli = integer("Per replica.")
    memory_mib = integer("Per replica; 0: no limit.")
    attempt = integer("Number of the last attempt; 0 before the first.")
    exit_code = integer(allow_null=True)
    outcome = serializers.CharField()
    reason_code = serializers.CharField()
    submitted_at = serializers.DateTimeField()
    started_at = InstantOrNullField()
    ended_at = InstantOrNullField()
    deadline = InstantOrNullField(help_text="By when it has to be over.")
    wait_ms = integer("From submit to the first start, so far.")
    run_ms = integer("Of the last attempt, so far.", allow_null=True)
    nodes = serializers.ListField(child=serializers.CharField())
    use_permille = integer(
        "Mean use of its chips: now while it runs, over its life afterwards.", allow_null=True
    )
    idle = IdleSerializer(allow_null=True)
    lending = LendingSerializer(
        allow_null=True, help_text="Null where it is no guest and offers nothing to guests."
    )
    progress = ProgressSerializer(
        allow_null=True, help_text="Of the last attempt; null where it said nothing."
    )
    memory_peak_mib = integer(allow_null=True)
    version = integer()
    url = serializers.CharField()


class HeldChipSerializer(serializers.Serializer[Any]):
    """A replica's share of one chip."""

    id = serializers.CharField()
    index = integer()
    type = serializers.CharField()
    kind = serializers.ChoiceField(["owned", "guest"], help_text="guest: lent to it.")
    milli = integer()
    memory_mib = integer()


class ReplicaSerializer(serializers.Serializer[Any]):
    """One process tree of an attempt on one node."""

    index = integer()
    node = serializers.CharField()
    state = serializers.CharField()
    exit_code = integer(allow_null=True)
    log_size = integer("Bytes stored.")
    chips = HeldChipSerializer(many=True)


class AttemptSerializer(serializers.Serializer[Any]):
    """One try at running a job."""

    number = integer()
    state = serializers.CharField()
    outcome = serializers.CharField()
    contact = serializers.ChoiceField(CONTACT_CHOICES)
    exit_code = integer(allow_null=True)
    sentence = serializers.CharField()
    placed_at = serializers.DateTimeField()
    running_at = InstantOrNullField()
    ended_at = InstantOrNullField()
    use_permille = integer(allow_null=True)
    memory_peak_mib = integer()
    cpu_time_ms = integer()
    progress = ProgressSerializer(allow_null=True)
    replicas = ReplicaSerializer(many=True)


class DependencySerializer(serializers.Serializer[Any]):
    """What a job waits for, or waited for."""

    id = serializers.CharField()
    kind = serializers.ChoiceField([("job", "job"), ("set", "set")])
    name = serializers.CharField()
    on = serializers.ChoiceField(AFTER_CHOICES)
    otherwise = serializers.ChoiceField(OTHERWISE_CHOICES)
    status = serializers.CharField(help_text="The job's status, or how far the set is.")
    standing = serializers.ChoiceField([("pending", "pending"), ("met", "met"), ("never", "never")])


class ScheduleRefSerializer(serializers.Serializer[Any]):
    """A schedule by id and name."""

    id = serializers.CharField()
    name = serializers.CharField()


class DependentSerializer(serializers.Serializer[Any]):
    """A job that waits for this one, or waited for it."""

    id = serializers.CharField()
    name = serializers.CharField()
    status = serializers.ChoiceField(STATUS_CHOICES)


class AdviceSerializer(serializers.Serializer[Any]):
    """What the next run of such a job could ask for."""

    field = serializers.CharField(help_text="Of the spec.")
    value = serializers.CharField()
    sentence = serializers.CharField(help_text="What was measured, and what would do.")


class JobDetailSerializer(JobSerializer):
    """A job with its spec, its attempts and what you may do with it."""

    spec = ObjectField(help_text="As submitted.")
    effective_spec = ObjectField(help_text="With defaults and roundings.")
    attempts = AttemptSerializer(many=True)
    depends_on = DependencySerializer(many=True)
    schedule = ScheduleRefSerializer(allow_null=True, help_text="What made it, if nobody submitted it.")
    dependents = DependentSerializer(many=True, help_text="The first fifty of them.")
    allowed_actions = serializers.ListField(child=serializers.ChoiceField(ACTION_CHOICES))
    advice = AdviceSerializer(many=True)


class JobListSerializer(serializers.Serializer[Any]):
    """A page of jobs."""

    items = JobSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class JobSetCreatedSerializer(serializers.Serializer[Any]):
    """An array's set: how many jobs, and the first ten."""

    set = serializers.CharField()
    count = integer()
    jobs = JobSerializer(many=True)


class DryRunSerializer(serializers.Serializer[Any]):
    """What would become of a spec."""

    fits = serializers.BooleanField()
    sentence = serializers.CharField()
    roundings = serializers.ListField(child=serializers.CharField())
    warnings = serializers.ListField(
        child=serializers.CharField(), help_text="What is to be feared for its deadline."
    )
    spec = ObjectField(help_text="The effective spec.")


SUBMITTED = PolymorphicProxySerializer(
    component_name="Submitted",
    serializers=[JobSerializer, JobSetCreatedSerializer],
    resource_type_field_name=None,
)


class BatchSerializer(serializers.Serializer[Any]):
    """Up to 10,000 specs; all are submitted or none."""

    jobs = JobSpecSerializer(many=True)


class BatchCreatedSerializer(serializers.Serializer[Any]):
    """Ids in the order of the specs."""

    ids = serializers.ListField(child=serializers.CharField())


class EventSerializer(serializers.Serializer[Any]):
    """One line of history."""

    id = integer()
    at = serializers.DateTimeField()
    kind = serializers.CharField()
    from_state = serializers.CharField()
    to_state = serializers.CharField()
    attempt = integer(allow_null=True)
    reason_code = serializers.CharField()
    sentence = serializers.CharField()
    facts = ObjectField()
    actor = serializers.CharField()


class EventListSerializer(serializers.Serializer[Any]):
    """A page of history, oldest first."""

    items = EventSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class LogReplicaSerializer(serializers.Serializer[Any]):
    """A log there is."""

    attempt = integer()
    replica = integer()
    size = integer("Bytes.")


class LogSliceSerializer(serializers.Serializer[Any]):
    """Part of one replica's log. Offsets count bytes."""

    attempt = integer()
    replica = integer()
    offset = integer()
    next_offset = integer("Where to go on.")
    size = integer("Bytes stored now.")
    ended = serializers.BooleanField(help_text="Nothing will be added.")
    text = serializers.CharField(help_text="UTF-8; other bytes are shown as U+FFFD.")
    replicas = LogReplicaSerializer(many=True)


class ReasonSerializer(serializers.Serializer[Any]):
    """One reason, with its numbers."""

    code = serializers.CharField()
    sentence = serializers.CharField()
    facts = ObjectField()


class KeepSerializer(serializers.Serializer[Any]):
    """For how long."""

    seconds = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_KEEP_MS // 1000, default=3600
    )


class ForecastSerializer(serializers.Serializer[Any]):
    """When a waiting job is expected to start, if nobody comes before it and nothing ends early."""

    p50 = serializers.DateTimeField(help_text="No later than this in one case of two.")
    p90 = serializers.DateTimeField(help_text="No later than this in nine of ten.")
    made_at = serializers.DateTimeField()


class ExplanationSerializer(serializers.Serializer[Any]):
    """Why a job is where it is."""

    status = serializers.ChoiceField(STATUS_CHOICES)
    sentence = serializers.CharField()
    reasons = ReasonSerializer(many=True)
    since = InstantOrNullField()
    queue_position = integer(allow_null=True)
    ahead = integer(allow_null=True)
    forecast = ForecastSerializer(allow_null=True)


class UsageChipSerializer(serializers.Serializer[Any]):
    """A chip that a replica holds, now."""

    id = serializers.CharField()
    type = serializers.CharField()
    index = integer()
    node = serializers.CharField()
    use_permille = integer(allow_null=True)
    memory_mib = integer(allow_null=True)


class UsageReplicaSerializer(serializers.Serializer[Any]):
    """One replica, now."""

    replica = integer()
    node = serializers.CharField()
    chips = UsageChipSerializer(many=True)
    cpu_permille = integer("Of one core.", allow_null=True)
    memory_mib = integer(allow_null=True)
    memory_peak_mib = integer(allow_null=True)
    wait_permille = integer("Waited for a disk or a network file system.", allow_null=True)


class UsageSerializer(serializers.Serializer[Any]):
    """What a job uses now; nulls where nothing was measured."""

    replicas = UsageReplicaSerializer(many=True)
    as_of = InstantOrNullField()


class MetricsPointSerializer(serializers.Serializer[Any]):
    """One minute or one hour of an attempt: means of its replicas."""

    at = serializers.DateTimeField(help_text="When it began.")
    use_permille = integer("Of the chips that it holds; null without chips.", allow_null=True)
    cpu_permille = integer("Of one core.")
    memory_mib = integer()
    memory_peak_mib = integer("The most that one replica had held by then.")
    wait_permille = integer(
        "Of the time, in which something of it waited for a disk or a network file system."
    )


class JobMetricsSerializer(serializers.Serializer[Any]):
    """What an attempt used over time."""

    attempt = integer("Null before the first.", allow_null=True)
    step_seconds = integer("60 or 3600.")
    points = MetricsPointSerializer(many=True)


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
