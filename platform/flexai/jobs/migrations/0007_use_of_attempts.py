"""What attempts used, by the minute and by the hour, partitioned by time."""

import django.db.models.deletion
from django.db import migrations, models


def table(name: str) -> str:
    return f"""
CREATE TABLE {name} (
    attempt_id bigint NOT NULL, at timestamptz NOT NULL, samples bigint NOT NULL, use_total bigint,
    cpu_total bigint NOT NULL, memory_total bigint NOT NULL, wait_total bigint NOT NULL,
    memory_peak_mib integer NOT NULL,
    PRIMARY KEY (attempt_id, at)
) PARTITION BY RANGE (at)
"""


def model(name: str) -> migrations.CreateModel:
    return migrations.CreateModel(
        name=name,
        fields=[
            ("pk", models.CompositePrimaryKey("attempt_id", "at", blank=True, editable=False, primary_key=True, serialize=False)),
            ("at", models.DateTimeField()),
            ("samples", models.BigIntegerField()),
            ("use_total", models.BigIntegerField(null=True)),
            ("cpu_total", models.BigIntegerField()),
            ("memory_total", models.BigIntegerField()),
            ("wait_total", models.BigIntegerField()),
            ("memory_peak_mib", models.PositiveIntegerField()),
            ("attempt", models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="jobs.attempt")),
        ],
        options={"abstract": False},
    )


class Migration(migrations.Migration):
    dependencies = [("jobs", "0006_progress")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(table(f"jobs_{name}"), f"DROP TABLE jobs_{name}")
                for name in ("attemptminute", "attempthour")
            ],
            state_operations=[model("AttemptMinute"), model("AttemptHour")],
        ),
    ]
