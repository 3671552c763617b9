"""What a cell has been asked for lately (P3)."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0008_savings"), ("cluster", "0002_feed_and_default_cell")]
    operations = [
        migrations.CreateModel(
            name="Mix",
            fields=[
                (
                    "cell",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="cluster.cell",
                    ),
                ),
                ("requests", models.JSONField()),
                ("learned_at", models.DateTimeField()),
                ("changed", models.BigIntegerField(default=0, editable=False)),
            ],
            options={"verbose_name_plural": "mixes"},
        ),
        migrations.AddField("cycle", "effort", models.PositiveIntegerField(default=0)),
        migrations.AddField("cycle", "seen", models.PositiveIntegerField(default=0)),
        migrations.RunSQL(
            "CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON scheduling_mix "
            "FOR EACH ROW EXECUTE FUNCTION flexai_mark_changed()",
            "DROP TRIGGER mark_changed ON scheduling_mix",
        ),
    ]
