"""Nodes have a history of their own."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cluster", "0002_feed_and_default_cell")]
    operations = [
        migrations.CreateModel(
            name="NodeEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("at", models.DateTimeField()),
                ("kind", models.CharField(max_length=48)),
                ("reason_code", models.CharField(default="", max_length=48)),
                ("sentence", models.TextField(default="")),
                ("facts", models.JSONField(default=dict)),
                ("actor", models.CharField(default="", max_length=200)),
                (
                    "node",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="cluster.node",
                    ),
                ),
            ],
            options={"indexes": [models.Index(fields=["node", "id"], name="node_event_by_node")]},
        ),
    ]
