"""Shapes of nodes, chips, the cluster, cycles and enrolment."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from flexai.api.schemas.common import (
    CHIP_STATE_CHOICES,
    CONTACT_CHOICES,
    NODE_STATE_CHOICES,
    NODE_STATUS_CHOICES,
    InstantOrNullField,
    integer,
)


class ChipJobSerializer(serializers.Serializer[Any]):
    """A job that holds part of a chip."""

    id = serializers.CharField()
    name = serializers.CharField()


class ChipGuestSerializer(ChipJobSerializer):
    """A job on chips lent to it, and the numbers of the loan."""

    milli = integer("Of this chip.")
    since = serializers.DateTimeField()
    halted_at = InstantOrNullField(help_text="Since when its owner is back; null while it runs.")
    owner_idle_since = InstantOrNullField()
    owner_use_permille = integer("Of the owner's chips, when that was last looked at.", allow_null=True)


class ChipSerializer(serializers.Serializer[Any]):
    """One accelerator."""

    id = serializers.CharField()
    index = integer()
    type = serializers.CharField()
    memory_mib = integer()
    healthy = serializers.BooleanField()
    present = serializers.BooleanField(help_text="Reported by the agent now.")
    health = integer("0 (takes no new work) to 100.")
    health_note = serializers.CharField(help_text="Why it is not 100, in words.")
    part_of = integer("Index of the chip that this one is an instance of.", allow_null=True)
    isolation = serializers.ListField(child=serializers.CharField())
    used_milli = integer("Allocated, of 1000.")
    used_memory_mib = integer("Allocated.")
    use_permille = integer("Measured now.", allow_null=True)
    live_memory_mib = integer("Measured now.", allow_null=True)
    temperature_c = integer(allow_null=True)
    power_mw = integer(allow_null=True)
    job = ChipJobSerializer(allow_null=True, help_text="The first job on it that you may see.")
    guest_milli = integer("Lent to guests, of 1000.")
    guests = ChipGuestSerializer(many=True, help_text="Jobs that it is lent to, of those that you may see.")
    state = serializers.ChoiceField(
        CHIP_STATE_CHOICES,
        help_text="cordoned: an operator keeps new work from it; drained: the platform does (T4).",
    )


class NodeChipSerializer(ChipSerializer):
    """One accelerator, with its node."""

    node = serializers.CharField(help_text="Name of the node.")
    node_id = serializers.CharField()


class ChipListSerializer(serializers.Serializer[Any]):
    """A page of chips."""

    items = NodeChipSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class HostUseSerializer(serializers.Serializer[Any]):
    """The host now."""

    cpu_permille = integer("Of all cores.")
    memory_mib = integer()


class NodeSerializer(serializers.Serializer[Any]):
    """A machine with an agent."""

    id = serializers.CharField()
    name = serializers.CharField()
    pool = serializers.CharField()
    state = serializers.ChoiceField(NODE_STATE_CHOICES)
    status = serializers.ChoiceField(
        NODE_STATUS_CHOICES,
        help_text="The state, or unreachable.",
    )
    state_reason = serializers.CharField()
    contact = serializers.ChoiceField(CONTACT_CHOICES)
    simulated = serializers.BooleanField()
    images = serializers.BooleanField(help_text="Whether it runs jobs in images.")
    trust = serializers.CharField(help_text="What keeps jobs of different organizations apart here.")
    notes = serializers.ListField(child=serializers.CharField(), help_text="What is not enforced here.")
    cpu_milli = integer()
    used_cpu_milli = integer("Allocated.")
    memory_mib = integer()
    used_memory_mib = integer("Allocated.")
    use = HostUseSerializer(allow_null=True)
    topology = serializers.ListField(child=serializers.CharField())
    agent_version = serializers.CharField()
    last_seen_at = InstantOrNullField()
    version = integer()
    chips = ChipSerializer(many=True)


class NodeListSerializer(serializers.Serializer[Any]):
    """A page of nodes."""

    items = NodeSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class ClusterNodesSerializer(serializers.Serializer[Any]):
    """Nodes that take work, those in contact with the platform whatever their state, and all that are not dead."""

    ready = integer()
    connected = integer()
    total = integer()


class ClusterChipsSerializer(serializers.Serializer[Any]):
    """Chips: allocated against really used."""

    total = integer()
    allocated_milli = integer()
    busy = integer("With an allocation.")
    idle = integer("Without one, on a node in contact.")
    offline = integer("Unhealthy, or on a node without contact.")
    mean_use_permille = integer(
        "Measured now: the mean over all chips that report, held or not; null when none does.",
        allow_null=True,
    )


class ClusterTypeSerializer(serializers.Serializer[Any]):
    """Chips of one type."""

    type = serializers.CharField()
    total = integer()
    allocated_milli = integer()


class ClusterCycleSerializer(serializers.Serializer[Any]):
    """The scheduler's last cycle on record."""

    last_at = InstantOrNullField()
    ok = serializers.BooleanField()
    error = serializers.CharField(allow_null=True, help_text="For operators.")
    duration_ms = integer(allow_null=True)


class SeriesSerializer(serializers.Serializer[Any]):
    """The last hour, a point each ten seconds in which a node reported; the lists run in step."""

    at = serializers.ListField(child=integer("Milliseconds since the epoch."))
    allocated = serializers.ListField(child=integer("Milli-chips that live attempts hold.", allow_null=True))
    use = serializers.ListField(
        child=integer("Permille, the mean over all chips that report; 0 when none does.", allow_null=True)
    )


class ClusterSerializer(serializers.Serializer[Any]):
    """The cluster now."""

    cell = serializers.CharField()
    nodes = ClusterNodesSerializer()
    chips = ClusterChipsSerializer()
    types = ClusterTypeSerializer(many=True)
    cycle = ClusterCycleSerializer()
    series = SeriesSerializer()


class ForecastScoreSerializer(serializers.Serializer[Any]):
    """How forecasts of starts held in the last week."""

    scored = integer("Jobs with a forecast that began.")
    within_p50 = integer("Of these, how many began by their P50; half, if the forecasts are good.")
    within_p90 = integer("And by their P90; nine of ten.")


class CycleSerializer(serializers.Serializer[Any]):
    """One cycle of the scheduler."""

    id = integer()
    at = serializers.DateTimeField()
    read_ms = integer()
    decide_ms = integer()
    apply_ms = integer()
    waiting = integer()
    units = integer()
    applied = integer()
    dropped = integer()
    effort = integer("Classes of nodes valued for a replica; 0 where the first node in order was taken.")
    rebuilt = serializers.BooleanField()
    broken_laws = serializers.ListField(child=serializers.JSONField())
    error = serializers.CharField()


class CycleListSerializer(serializers.Serializer[Any]):
    """The newest cycles on record."""

    items = CycleSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class PolicyNumberSerializer(serializers.Serializer[Any]):
    """One number of the policy. Times are milliseconds, service is chip-milliseconds."""

    name = serializers.CharField()
    value = serializers.JSONField(help_text="A whole number, or a list of them.")
    default = serializers.JSONField()
    least = integer()
    most = integer()


class PolicySerializer(serializers.Serializer[Any]):
    """By which numbers the scheduler decides."""

    numbers = PolicyNumberSerializer(many=True)


class PolicyValuesSerializer(serializers.Serializer[Any]):
    """The numbers that differ from their default."""

    values = serializers.DictField(child=serializers.JSONField())


class RecordingSerializer(serializers.Serializer[Any]):
    """A stretch of recorded cycles."""

    id = integer()
    first_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()
    cycles = integer()
    size = integer("Bytes.")
    url = serializers.CharField()


class RecordingListSerializer(serializers.Serializer[Any]):
    """The newest recordings."""

    items = RecordingSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class EnrolSerializer(serializers.Serializer[Any]):
    """An agent that enrols."""

    token = serializers.CharField()
    name = serializers.CharField(max_length=63)
    credential = serializers.CharField(
        max_length=128,
        help_text="Made by the agent: `flxa_` and at least 43 letters, digits, dashes and underscores.",
    )


class EnrolledSerializer(serializers.Serializer[Any]):
    """The agent's node, which has the credential that was sent."""

    node_id = serializers.CharField()


class NewEnrolmentTokenSerializer(serializers.Serializer[Any]):
    """A token with which agents enrol."""

    pool = serializers.CharField(required=False, help_text="Name of the pool; the first when left out.")
    uses = integer("How many agents; 1 when left out.", required=False, min_value=1, max_value=1000)
    expires_in_minutes = integer("60 when left out.", required=False, min_value=1, max_value=43200)


class EnrolmentTokenSerializer(serializers.Serializer[Any]):
    """Shown this once."""

    token = serializers.CharField()
    expires_at = serializers.DateTimeField()


class HealthSerializer(serializers.Serializer[Any]):
    """Whether this server can do its work."""

    ok = serializers.BooleanField()
    database = serializers.BooleanField()
    broker = serializers.BooleanField()
    worker = serializers.BooleanField(help_text="A cycle has run lately.")
