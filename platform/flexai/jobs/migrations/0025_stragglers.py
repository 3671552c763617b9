"""Who is held back, or behind its equals, is on record (T6), and told like the other events."""

from importlib import import_module

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

BEFORE = import_module("flexai.jobs.migrations.0017_notices").FORWARD
"""The function that tells, and its trigger."""
_FUNCTION = BEFORE[: BEFORE.index("CREATE TRIGGER")].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
_IDLE = "WHEN kind = 'attempt.idle' THEN 'job.idle'"
TELLS = _FUNCTION.replace(_IDLE, f"{_IDLE} WHEN kind = 'attempt.straggler' THEN 'job.straggler'")


class Migration(migrations.Migration):
    dependencies = [("cluster", "0008_counters_unmarked"), ("jobs", "0024_marks_where_missing")]
    operations = [
        migrations.CreateModel(
            name="Straggler",
            fields=[
                (
                    "attempt",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="straggler",
                        serialize=False,
                        to="jobs.attempt",
                    ),
                ),
                ("since", models.DateTimeField(null=True)),
                (
                    "sign",
                    models.CharField(
                        choices=[("clock", "clock"), ("steps", "steps"), ("time", "time")], max_length=8
                    ),
                ),
                ("sentence", models.TextField()),
                ("facts", models.JSONField()),
                (
                    "nodes",
                    django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None),
                ),
                ("told_at", models.DateTimeField(null=True)),
                ("acts_at", models.DateTimeField(null=True)),
                ("leaves_at", models.DateTimeField(null=True)),
                ("moved_at", models.DateTimeField(null=True)),
                (
                    "cell",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="cluster.cell"
                    ),
                ),
            ],
        ),
        migrations.RunSQL(TELLS, _FUNCTION),
    ]
