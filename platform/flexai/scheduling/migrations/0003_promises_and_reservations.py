"""What the engine remembers of waiting jobs between cycles (S1): promised chips, and reservations."""

import django.db.models.deletion
from django.db import migrations, models

TABLES = (("promise", "scheduling_promise"), ("reservation", "scheduling_reservation"))


def _job(name):
    return (
        "job",
        models.OneToOneField(
            db_column="id",
            on_delete=django.db.models.deletion.CASCADE,
            primary_key=True,
            related_name=name,
            serialize=False,
            to="jobs.job",
        ),
    )


def _cell():
    cell = models.ForeignKey(
        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="cluster.cell"
    )
    return ("cell", cell)


def _changed():
    return ("changed", models.BigIntegerField(default=0, editable=False))


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0002_removals"), ("jobs", "0004_service")]
    operations = [
        migrations.CreateModel(
            name="Promise",
            fields=[
                _job("promise"),
                ("attempts", models.JSONField()),
                ("placements", models.JSONField()),
                ("since", models.DateTimeField()),
                _changed(),
                _cell(),
            ],
            options={"indexes": [models.Index(fields=["cell", "changed"], name="promise_changed")]},
        ),
        migrations.CreateModel(
            name="Reservation",
            fields=[
                _job("reservation"),
                ("at", models.DateTimeField()),
                ("placements", models.JSONField()),
                _changed(),
                _cell(),
            ],
            options={"indexes": [models.Index(fields=["cell", "changed"], name="reservation_changed")]},
        ),
        *(
            migrations.RunSQL(
                f"CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION flexai_mark_changed(); "
                f"CREATE TRIGGER note_removal AFTER DELETE ON {table} FOR EACH ROW "
                f"EXECUTE FUNCTION flexai_note_removal('{kind}')",
                f"DROP TRIGGER note_removal ON {table}; DROP TRIGGER mark_changed ON {table}",
            )
            for kind, table in TABLES
        ),
    ]
