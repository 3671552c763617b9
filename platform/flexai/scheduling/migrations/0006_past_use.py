"""Past use of teams (F3)."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0005_policies"), ("tenancy", "0003_accrued")]
    operations = [
        migrations.CreateModel(
            name="PastUse",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("chip_type", models.CharField(max_length=64)),
                ("service", models.BigIntegerField()),
                ("as_of", models.DateTimeField()),
                ("changed", models.BigIntegerField(default=0, editable=False)),
                (
                    "cell",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="cluster.cell",
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="past_use", to="tenancy.team"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["cell", "team", "chip_type"], name="one_past_use_per_type")
                ],
                "indexes": [models.Index(fields=["cell", "changed"], name="past_use_changed")],
            },
        ),
        migrations.RunSQL(
            "CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON scheduling_pastuse "
            "FOR EACH ROW EXECUTE FUNCTION flexai_mark_changed()",
            "DROP TRIGGER mark_changed ON scheduling_pastuse",
        ),
    ]
