"""Roll-ups of telemetry by the minute and by the hour, partitioned by time.

Minutes kept so far are not carried over: nothing read them, and they would have gone within the month.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


def table(name: str) -> str:
    return f"""
CREATE TABLE {name} (
    node_id bigint NOT NULL, at timestamptz NOT NULL, samples integer NOT NULL,
    host_cpu_permille integer NOT NULL, host_memory_mib integer NOT NULL,
    use_permille integer[] NOT NULL, memory_use_permille integer[] NOT NULL, memory_mib integer[] NOT NULL,
    temperature_c integer[] NOT NULL, power_mw integer[] NOT NULL,
    PRIMARY KEY (node_id, at)
) PARTITION BY RANGE (at)
"""


def whole_array() -> django.contrib.postgres.fields.ArrayField:
    return django.contrib.postgres.fields.ArrayField(
        base_field=models.PositiveIntegerField(), default=list, size=None
    )


def model(name: str) -> migrations.CreateModel:
    return migrations.CreateModel(
        name=name,
        fields=[
            ("pk", models.CompositePrimaryKey("node_id", "at", blank=True, editable=False, primary_key=True, serialize=False)),
            ("at", models.DateTimeField()),
            ("samples", models.PositiveIntegerField()),
            ("host_cpu_permille", models.PositiveIntegerField(default=0)),
            ("host_memory_mib", models.PositiveIntegerField(default=0)),
            ("use_permille", whole_array()),
            ("memory_use_permille", whole_array()),
            ("memory_mib", whole_array()),
            ("temperature_c", django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), default=list, size=None)),
            ("power_mw", whole_array()),
            ("node", models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="cluster.node")),
        ],
        options={"abstract": False},
    )


class Migration(migrations.Migration):
    dependencies = [("cluster", "0003_node_events")]
    operations = [
        migrations.DeleteModel(name="NodeMinute"),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(table(f"cluster_{name}"), f"DROP TABLE cluster_{name}")
                for name in ("nodeminute", "nodehour")
            ],
            state_operations=[model("NodeMinute"), model("NodeHour")],
        ),
    ]
