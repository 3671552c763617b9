"""The machines: cells, pools, nodes and chips, with counters in which the database refuses the impossible."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from flexai.common.ids import new_id


def _node_id() -> str:
    return new_id("node")


def _chip_id() -> str:
    return new_id("chip")


class Cell(models.Model):
    """The unit of decision (S3): a set of pools with its own quotas, lock and loop."""

    name = models.SlugField(max_length=63, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Pool(models.Model):
    """Nodes that jobs may name together."""

    cell = models.ForeignKey(Cell, models.PROTECT, related_name="pools")
    name = models.SlugField(max_length=63)
    slice_step_milli = models.PositiveIntegerField(default=100)
    changed = models.BigIntegerField(default=0, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cell", "name"], name="pool_name_in_cell"),
            models.CheckConstraint(
                condition=Q(slice_step_milli__gte=10) & Q(slice_step_milli__lte=1000),
                name="slice_step_10_to_1000",
            ),
        ]
        indexes = [models.Index(fields=["cell", "changed"], name="pool_changed")]

    def __str__(self) -> str:
        return self.name


class ChipType(models.Model):
    """A kind of chip by name; rows appear when a node first reports one."""

    name = models.CharField(max_length=64, unique=True)
    vendor = models.CharField(max_length=32, default="")
    nominal_memory_mib = models.PositiveIntegerField(default=0)
    speed = models.PositiveIntegerField(default=1000)
    """Relative speed, 1000 = the reference (P5)."""

    def __str__(self) -> str:
        return self.name


class NodeState(models.TextChoices):
    READY = "ready"
    CORDONED = "cordoned"
    DRAINING = "draining"
    DEAD = "dead"
    """Declared by an operator: its attempts are over."""


class Node(models.Model):
    """A machine with an agent. `used_*` are sums over live attempts; chips that claim host CPU are counted in (Q6)."""

    public_id = models.CharField(max_length=32, unique=True, default=_node_id, editable=False)
    cell = models.ForeignKey(Cell, models.PROTECT, related_name="nodes")
    pool = models.ForeignKey(Pool, models.PROTECT, related_name="nodes")
    name = models.CharField(max_length=63)
    state = models.CharField(max_length=16, choices=NodeState.choices, default=NodeState.READY)
    state_reason = models.CharField(max_length=200, default="")
    reachable = models.BooleanField(default=False)
    """Whether an agent is connected, or was within the contact timeout."""
    credential_hash = models.CharField(max_length=64, unique=True, editable=False)
    credential_revoked_at = models.DateTimeField(null=True, blank=True)
    agent_version = models.CharField(max_length=32, default="")
    address = models.CharField(max_length=64, default="")
    simulated = models.BooleanField(default=False)
    separate_users = models.BooleanField(default=False)
    images = models.BooleanField(default=False)
    """Whether it runs jobs in images (P7)."""
    topology = ArrayField(models.CharField(max_length=63), default=list, blank=True)
    notes = ArrayField(models.CharField(max_length=500), default=list, blank=True)
    cpu_milli = models.PositiveIntegerField(default=0)
    memory_mib = models.PositiveIntegerField(default=0)
    cpu_ceiling_milli = models.PositiveIntegerField(default=0)
    """max(capacity, use when the capacity shrank): standing excess is reported, never created (Laws)."""
    memory_ceiling_mib = models.PositiveIntegerField(default=0)
    used_cpu_milli = models.IntegerField(default=0)
    used_memory_mib = models.IntegerField(default=0)
    wanted_version = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveIntegerField(default=0)
    changed = models.BigIntegerField(default=0, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cell", "name"], name="node_name_in_cell"),
            models.CheckConstraint(
                condition=Q(used_cpu_milli__gte=0) & Q(used_cpu_milli__lte=F("cpu_ceiling_milli")),
                name="node_cpu_within_capacity",
            ),
            models.CheckConstraint(
                condition=Q(used_memory_mib__gte=0) & Q(used_memory_mib__lte=F("memory_ceiling_mib")),
                name="node_memory_within_capacity",
            ),
        ]
        indexes = [models.Index(fields=["cell", "changed"], name="node_changed")]

    def __str__(self) -> str:
        return self.name


class NodeContact(models.Model):
    """When the node's agent was last heard and its leases renewed. Apart from Node: it changes all the time."""

    node = models.OneToOneField(Node, models.CASCADE, related_name="contact", primary_key=True)
    boot_id = models.CharField(max_length=64, default="")
    seen_at = models.DateTimeField(null=True)
    renewed_at = models.DateTimeField(null=True)
    """When the server answered the last renewal; committed before the answer is sent (law 5)."""


class Chip(models.Model):
    """One accelerator. Capacity is 1000 milli-chips; the counters are sums over live allocations (Q7)."""

    public_id = models.CharField(max_length=32, unique=True, default=_chip_id, editable=False)
    node = models.ForeignKey(Node, models.CASCADE, related_name="chips")
    cell = models.ForeignKey(Cell, models.PROTECT, related_name="+")
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="instances")
    index = models.PositiveIntegerField()
    type = models.CharField(max_length=64)
    uuid = models.CharField(max_length=64, default="")
    driver = models.CharField(max_length=16, default="")
    memory_mib = models.PositiveIntegerField()
    memory_ceiling_mib = models.PositiveIntegerField(default=0)
    present = models.BooleanField(default=True)
    """False when the agent no longer reports it; its allocations stand until they end."""
    answers = models.BooleanField(default=True)
    """What the agent says: it answers, and nobody else uses it."""
    healthy = models.BooleanField(default=True)
    """It answers and is not drained."""
    health = models.PositiveIntegerField(default=100)
    health_note = models.CharField(max_length=200, default="")
    """The agent's words."""
    errors = models.JSONField(null=True)
    """`protocol.ChipErrors`; None where nothing was counted, or nothing can be."""
    drained_at = models.DateTimeField(null=True)
    cordoned_because = models.CharField(max_length=200, default="", db_default="")
    """Why an operator keeps new work from it; empty: nobody does."""
    health_reason = models.CharField(max_length=200, default="")
    """Why its score is what it is, in words (T4)."""
    slices = models.PositiveIntegerField(default=0)
    of = models.PositiveIntegerField(default=0)
    """An instance has so many of the slices of its parent (Q5); 0 for a chip that is whole."""
    isolation = ArrayField(models.CharField(max_length=16), default=list)
    host_cpu_milli = models.PositiveIntegerField(default=0)
    link_domain = models.CharField(max_length=63, default="")
    used_milli = models.IntegerField(default=0)
    used_memory_mib = models.IntegerField(default=0)
    guest_milli = models.IntegerField(default=0)
    guest_memory_mib = models.IntegerField(default=0)
    changed = models.BigIntegerField(default=0, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["node", "index"], name="chip_index_in_node"),
            models.CheckConstraint(
                condition=Q(used_milli__gte=0) & Q(used_milli__lte=1000), name="chip_milli_within_capacity"
            ),
            models.CheckConstraint(
                condition=Q(guest_milli__gte=0) & Q(guest_milli__lte=1000), name="guest_milli_within_capacity"
            ),
            models.CheckConstraint(
                condition=Q(used_memory_mib__gte=0)
                & Q(guest_memory_mib__gte=0)
                & Q(memory_ceiling_mib__gte=F("used_memory_mib") + F("guest_memory_mib")),
                name="chip_memory_within_capacity",
            ),
        ]
        indexes = [models.Index(fields=["cell", "changed"], name="chip_changed")]

    def __str__(self) -> str:
        return f"{self.node_id}:{self.index}"


class ChipHealth(models.Model):
    """What is remembered of a chip that was not always well (T4); the rule is `scheduler_core.health`."""

    chip = models.OneToOneField(Chip, models.CASCADE, related_name="+", primary_key=True)
    score = models.PositiveIntegerField()
    rises_at = models.BigIntegerField()
    """Instants in milliseconds since the epoch."""
    drained_at = models.BigIntegerField(null=True)
    quiet_since = models.BigIntegerField(null=True)
    drains = models.PositiveIntegerField()
    faulted_at = models.BigIntegerField(null=True)
    uncorrected = models.BigIntegerField()
    grave_xids = models.PositiveIntegerField()


class EnrolmentToken(models.Model):
    """Lets one agent enrol once. Only its SHA-256 is kept."""

    hash = models.CharField(max_length=64, unique=True, editable=False)
    pool = models.ForeignKey(Pool, models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    uses_left = models.PositiveIntegerField(default=1)


class NodeEvent(models.Model):
    """The history of a node: what became of it and why. Written in the transaction that changes it (law 4)."""

    at = models.DateTimeField()
    node = models.ForeignKey(Node, models.CASCADE, related_name="events", db_index=False)
    kind = models.CharField(max_length=48)
    """`node.unreachable`, `agent.refused` …"""
    reason_code = models.CharField(max_length=48, default="")
    sentence = models.TextField(default="")
    facts = models.JSONField(default=dict)
    actor = models.CharField(max_length=200, default="")
    """`user:ana`, `agent`, `platform`"""

    class Meta:
        indexes = [models.Index(fields=["node", "id"], name="node_event_by_node")]


class NodeUse(models.Model):
    """Telemetry of one node over one span of time: arrays by chip index, so that a span of a node is one row.

    Means of so many samples, in permille, MiB, °C and mW; 0 where an index has no chip or the chip does not tell. The
    tables are partitioned by `at` (see `cluster.rollups`).
    """

    pk = models.CompositePrimaryKey("node_id", "at")
    node = models.ForeignKey(Node, models.CASCADE, related_name="+", db_constraint=False, db_index=False)
    at = models.DateTimeField()
    """When the span began."""
    samples = models.PositiveIntegerField()
    host_cpu_permille = models.PositiveIntegerField(default=0)
    host_memory_mib = models.PositiveIntegerField(default=0)
    use_permille = ArrayField(models.PositiveIntegerField(), default=list)
    memory_use_permille = ArrayField(models.PositiveIntegerField(), default=list)
    memory_mib = ArrayField(models.PositiveIntegerField(), default=list)
    temperature_c = ArrayField(models.IntegerField(), default=list)
    power_mw = ArrayField(models.PositiveIntegerField(), default=list)

    class Meta:
        abstract = True


class NodeMinute(NodeUse):
    """One minute; kept for a week."""


class NodeHour(NodeUse):
    """One hour; kept for a year."""
