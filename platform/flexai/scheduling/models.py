"""What the scheduler did: cycles, and the verdict of every waiting job."""

from __future__ import annotations

from django.db import models


class Cycle(models.Model):
    """One run of the loop. Kept when it did something or failed; idle ticks only move the cell's last row."""

    cell = models.ForeignKey("cluster.Cell", models.CASCADE, related_name="cycles")
    started_at = models.DateTimeField()
    read_ms = models.PositiveIntegerField(default=0)
    decide_ms = models.PositiveIntegerField(default=0)
    apply_ms = models.PositiveIntegerField(default=0)
    waiting = models.PositiveIntegerField(default=0)
    units = models.PositiveIntegerField(default=0)
    applied = models.PositiveIntegerField(default=0)
    dropped = models.PositiveIntegerField(default=0)
    """Units that no longer held when apply came to them; the next cycle decides again."""
    effort = models.PositiveIntegerField(default=0)
    """Classes of nodes that were valued for a replica (P3, S4); 0 where the first node in order was taken."""
    seen = models.PositiveIntegerField(default=0)
    """Requests in the mix by which they were valued."""
    rebuilt = models.BooleanField(default=False)
    """The engine's state was read anew from the rows instead of from the feed."""
    broken_laws = models.JSONField(default=list)
    """[{job, law, sentence}]"""
    excesses = models.JSONField(default=list)
    """[{what, id, used, capacity}]: what stands above its capacity or limit (Laws)."""
    decided = models.JSONField(default=list, db_default=[])
    """[{what, ground, jobs, some}]: what was done to how many jobs (`summaries`) …"""
    reasons = models.JSONField(default=list, db_default=[])
    """[{code, sentence, jobs, some}]: … and why how many waited."""
    error = models.TextField(default="")
    """Traceback of a cycle that raised, the next one runs all the same; or what was set aside because its records
    contradict each other, by rule and id."""

    class Meta:
        indexes = [models.Index(fields=["cell", "-id"], name="cycle_by_cell")]


class CellPolicy(models.Model):
    """What an operator set of a cell's policy; everything else has the engine's default (S4)."""

    cell = models.OneToOneField("cluster.Cell", models.CASCADE, primary_key=True, related_name="policy")
    values = models.JSONField(default=dict)
    """Name of the number → value, as checked by `policies.set_policy`."""


class PastUse(models.Model):
    """What a team and the teams below it have used of a chip type, decayed by the policy's half-life (F3)."""

    cell = models.ForeignKey("cluster.Cell", models.CASCADE, related_name="+", db_index=False)
    team = models.ForeignKey("tenancy.Team", models.CASCADE, related_name="past_use")
    chip_type = models.CharField(max_length=64)
    service = models.BigIntegerField()
    """Chip-milliseconds, decayed to `as_of`."""
    as_of = models.DateTimeField()
    changed = models.BigIntegerField(default=0, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cell", "team", "chip_type"], name="one_past_use_per_type")
        ]
        indexes = [models.Index(fields=["cell", "changed"], name="past_use_changed")]


class Mix(models.Model):
    """What a cell has been asked for lately, as its engine is told (P3; `mixes`)."""

    cell = models.OneToOneField("cluster.Cell", models.CASCADE, primary_key=True, related_name="+")
    requests = models.JSONField()
    """[[resources of a spec, replicas that asked for them]]"""
    learned_at = models.DateTimeField()
    changed = models.BigIntegerField(default=0, editable=False)

    class Meta:
        verbose_name_plural = "mixes"

    def __str__(self) -> str:
        return str(self.cell)


class Recording(models.Model):
    """What the scheduler saw and decided in a stretch of cycles, packed for `flexai replay` (X3)."""

    cell = models.ForeignKey("cluster.Cell", models.CASCADE, related_name="recordings", db_index=False)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    """Instants of its first and last cycle."""
    cycles = models.PositiveIntegerField()
    size = models.PositiveIntegerField()
    """Bytes of `data`."""
    data = models.BinaryField()

    class Meta:
        indexes = [models.Index(fields=["cell", "-id"], name="recording_by_cell")]


class Verdict(models.Model):
    """Why a job waits (X1); written only when it changes."""

    job = models.OneToOneField("jobs.Job", models.CASCADE, related_name="verdict", primary_key=True)
    since = models.DateTimeField()
    code = models.CharField(max_length=48)
    sentence = models.TextField()
    reasons = models.JSONField(default=list)
    """[{code, sentence, facts}], most blocking first."""


class Quarantine(models.Model):
    """A job whose unit broke a safety law; it waits until an operator releases it (Laws)."""

    job = models.OneToOneField("jobs.Job", models.CASCADE, related_name="quarantine", primary_key=True)
    law = models.CharField(max_length=64)
    since = models.DateTimeField()


class Promise(models.Model):
    """Chips that a cycle took back for a waiting job, which starts there once those who hold them have ended
    (R6)."""

    job = models.OneToOneField(
        "jobs.Job", models.CASCADE, primary_key=True, db_column="id", related_name="promise"
    )
    cell = models.ForeignKey("cluster.Cell", models.CASCADE, related_name="+", db_index=False)
    attempts = models.JSONField()
    """Ids of the attempts that leave for it."""
    placements = models.JSONField()
    """[[replica, node, millicores, MiB, [[chip, milli, MiB]]]]"""
    since = models.DateTimeField()
    changed = models.BigIntegerField(default=0, editable=False)

    class Meta:
        indexes = [models.Index(fields=["cell", "changed"], name="promise_changed")]


class Reservation(models.Model):
    """When and where a waiting gang is expected to fit (B1)."""

    job = models.OneToOneField(
        "jobs.Job", models.CASCADE, primary_key=True, db_column="id", related_name="reservation"
    )
    cell = models.ForeignKey("cluster.Cell", models.CASCADE, related_name="+", db_index=False)
    at = models.DateTimeField()
    placements = models.JSONField()
    """As in `Promise`."""
    changed = models.BigIntegerField(default=0, editable=False)

    class Meta:
        indexes = [models.Index(fields=["cell", "changed"], name="reservation_changed")]


class Forecast(models.Model):
    """When a waiting job was expected to start: the latest answer, and the first, which is scored (X2)."""

    job = models.OneToOneField("jobs.Job", models.CASCADE, related_name="forecast", primary_key=True)
    cell = models.ForeignKey("cluster.Cell", models.CASCADE, related_name="+")
    made_at = models.DateTimeField()
    p50_at = models.DateTimeField()
    """It starts no later than this in one case of two …"""
    p90_at = models.DateTimeField()
    """… and no later than this in nine of ten."""
    first_made_at = models.DateTimeField()
    first_p50_at = models.DateTimeField()
    first_p90_at = models.DateTimeField()


class Saving(models.Model):
    """What one day of a cell would have been under static whole-chip FIFO, beside what it was (`savings`)."""

    cell = models.ForeignKey("cluster.Cell", models.CASCADE, related_name="+", db_index=False)
    day = models.DateField()
    """In UTC."""
    made_at = models.DateTimeField()
    problem = models.CharField(max_length=300, default="")
    """Why there are no figures; empty where there are."""
    jobs = models.PositiveIntegerField(default=0)
    """That ran on chips that day."""
    refused = models.PositiveIntegerField(default=0)
    """Of these, what whole chips of the empty cell could not hold: in no figure of waiting."""
    held_ms = models.BigIntegerField(default=0)
    """Chip-milliseconds that jobs really had …"""
    fifo_held_ms = models.BigIntegerField(default=0)
    """… and would have had."""
    waited_ms = models.BigIntegerField(default=0)
    """Of all jobs together, the time in which they did not run."""
    fifo_waited_ms = models.BigIntegerField(default=0)
    engine_waited_ms = models.BigIntegerField(null=True)
    """The same where the simulator plays Flexai itself: what is between that and `waited_ms` is its error."""
    span_ms = models.BigIntegerField(default=0)
    """From the day's beginning to the last end."""
    fifo_span_ms = models.BigIntegerField(default=0)
    idle_mw = models.BigIntegerField(default=0)
    """What all chips draw when none works."""
    idle_measured_permille = models.PositiveIntegerField(default=0)
    """Of the chips, those of a type whose idle power was measured; of the others it is from data sheets."""
    drawn_mwh = models.BigIntegerField(null=True)
    """What chips that tell their power drew that day; None where none does."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cell", "day"], name="one_saving_per_day")]


class Removal(models.Model):
    """A row that was deleted while it counted, written by triggers: the feed cannot read a row that is gone
    (law 7)."""

    kind = models.CharField(max_length=16)
    """pool, node, chip, team, quota, job, attempt, promise, reservation"""
    row = models.BigIntegerField()
    at = models.DateTimeField()
    changed = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["changed"], name="removal_changed")]
