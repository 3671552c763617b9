"""What is told of a job, of its attempts, its log and its use."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer
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
from flexai.api.schemas.spec import AFTER_CHOICES, OTHERWISE_CHOICES, JobSpecSerializer
from flexai.jobs.moves import MAX_KEEP_MS
from flexai.jobs.spec import IDLE_ACTIONS
from flexai.jobs.spec_stragglers import SIGNS


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


class StragglerSerializer(serializers.Serializer[Any]):
    """What has held a running job back, or made it fall behind its equals, for a while."""

    since = serializers.DateTimeField()
    sign = serializers.ChoiceField(
        [(sign, sign) for sign in SIGNS],
        help_text="clock: of a chip beside the job's others; steps and time: of a task beside its array's.",
    )
    sentence = serializers.CharField()
    pace_permille = integer("Of its equals' median.")
    equals = integer("How many they are.")
    moves_at = InstantOrNullField(help_text="From when on its policy moves it; null where it does not.")
    leaving_since = InstantOrNullField(help_text="Since when it waits for a place elsewhere.")


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
    straggler = StragglerSerializer(allow_null=True, help_text="Null while nothing holds it back.")
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
    image = serializers.CharField(
        help_text="Digest of the image that it ran in; empty: as a process of its node."
    )
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
    energy_mj = integer(
        "Millijoules that its chips drew; null until it ends, and where a chip tells no power.",
        allow_null=True,
    )
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


class CostSerializer(serializers.Serializer[Any]):
    """Of one way to run it, with the least of its replicas."""

    chip_type = serializers.CharField()
    milli = integer("Milli-chips.")
    micro_per_chip_hour = serializers.IntegerField(allow_null=True, help_text="null: it has no price.")
    micro = serializers.IntegerField(
        allow_null=True, help_text="For `run_ms`; null where that or the price is not known."
    )


class HoldingSerializer(serializers.Serializer[Any]):
    """What a team holds of a chip type, and would hold beside it."""

    team = TeamRefSerializer()
    chip_type = serializers.CharField()
    used_milli = integer()
    asked_milli = integer()
    guaranteed_milli = serializers.IntegerField(allow_null=True, help_text="null: it has no quota.")
    limit_milli = serializers.IntegerField(allow_null=True, help_text="null: no limit.")


class OutlookSerializer(serializers.Serializer[Any]):
    """What would become of the job, or of each of an array, were it submitted now."""

    starts_at = InstantOrNullField(help_text="In one case of two; null where it is not in sight.")
    starts_by = InstantOrNullField(help_text="In nine cases of ten.")
    run_ms = serializers.IntegerField(
        allow_null=True, help_text="As long as such jobs run, or `max_duration`; null where nobody knows."
    )
    costs = CostSerializer(many=True)
    holdings = HoldingSerializer(
        many=True, help_text="Of the team that pays, and of those above that you see."
    )
    sentences = serializers.ListField(child=serializers.CharField(), help_text="The same in words.")


class AlternativeSerializer(serializers.Serializer[Any]):
    """A change of the spec with which it would start earlier, or cost less."""

    patch = ObjectField(help_text="Of the spec as you sent it: a JSON merge patch (RFC 7396).")
    sentence = serializers.CharField()
    starts_at = serializers.DateTimeField(help_text="In one case of two.")
    starts_by = serializers.DateTimeField(help_text="In nine cases of ten.")
    costs = CostSerializer(many=True)


class DryRunSerializer(serializers.Serializer[Any]):
    """What would become of a spec."""

    fits = serializers.BooleanField()
    sentence = serializers.CharField()
    roundings = serializers.ListField(child=serializers.CharField())
    warnings = serializers.ListField(
        child=serializers.CharField(), help_text="What is to be feared for its deadline."
    )
    outlook = OutlookSerializer(allow_null=True, help_text="null where it never fits.")
    alternatives = AlternativeSerializer(many=True, help_text="At most four, the earliest first.")
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
