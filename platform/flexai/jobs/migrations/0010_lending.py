"""Chips on offer to guests, and guests."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

ATTEMPT = {
    "on_delete": django.db.models.deletion.CASCADE,
    "primary_key": True,
    "serialize": False,
    "to": "jobs.attempt",
}
CELL = {"on_delete": django.db.models.deletion.CASCADE, "related_name": "+", "to": "cluster.cell"}


class Migration(migrations.Migration):
    dependencies = [("cluster", "0003_node_events"), ("jobs", "0009_moved")]
    operations = [
        migrations.CreateModel(
            name="Offer",
            fields=[
                ("attempt", models.OneToOneField(related_name="offer", **ATTEMPT)),
                ("cell", models.ForeignKey(**CELL)),
                ("idle_since", models.DateTimeField(null=True)),
                ("offered_at", models.DateTimeField(null=True)),
                ("busy_at", models.DateTimeField(null=True)),
                ("ended", models.PositiveSmallIntegerField(default=0, db_default=0)),
                ("use_permille", models.PositiveIntegerField(default=0, db_default=0)),
            ],
        ),
        migrations.CreateModel(
            name="Guest",
            fields=[
                ("attempt", models.OneToOneField(related_name="guest", **ATTEMPT)),
                ("cell", models.ForeignKey(**CELL)),
                ("lenders", django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None)),
                ("rule", models.JSONField()),
                ("paused_at", models.DateTimeField(null=True)),
            ],
        ),
    ]
