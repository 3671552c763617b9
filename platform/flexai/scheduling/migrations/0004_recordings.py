"""Recordings of cycles (X3)."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0003_promises_and_reservations")]
    operations = [
        migrations.CreateModel(
            name="Recording",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("cycles", models.PositiveIntegerField()),
                ("size", models.PositiveIntegerField()),
                ("data", models.BinaryField()),
                (
                    "cell",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="recordings",
                        to="cluster.cell",
                    ),
                ),
            ],
            options={"indexes": [models.Index(fields=["cell", "-id"], name="recording_by_cell")]},
        ),
    ]
