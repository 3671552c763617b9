"""The policy of a cell (S4)."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0004_recordings")]
    operations = [
        migrations.CreateModel(
            name="CellPolicy",
            fields=[
                (
                    "cell",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="policy",
                        serialize=False,
                        to="cluster.cell",
                    ),
                ),
                ("values", models.JSONField(default=dict)),
            ],
        ),
    ]
