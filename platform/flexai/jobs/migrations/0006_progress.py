"""What running work says of itself, and what was learned of its speed."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0005_idle")]
    operations = [
        migrations.AddField("job", "speeds", models.JSONField(default=dict, db_default={})),
        migrations.AddField("job", "restart_ms", models.PositiveIntegerField(default=0, db_default=0)),
        migrations.CreateModel(
            name="AttemptProgress",
            fields=[
                (
                    "attempt",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="progress",
                        serialize=False,
                        to="jobs.attempt",
                    ),
                ),
                ("replica", models.PositiveIntegerField()),
                ("first_at", models.DateTimeField()),
                ("at", models.DateTimeField()),
                ("step", models.BigIntegerField(null=True)),
                ("throughput_milli", models.BigIntegerField(null=True)),
                ("loss", models.FloatField(null=True)),
                ("saving_since", models.DateTimeField(null=True)),
                ("saved_step", models.BigIntegerField(null=True)),
                ("saved_at", models.DateTimeField(null=True)),
                ("told_saved_at", models.DateTimeField(null=True)),
                ("problem", models.CharField(default="", max_length=200)),
            ],
        ),
    ]
