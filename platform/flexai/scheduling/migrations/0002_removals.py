"""Deleted rows for the feed, written by triggers (law 7); excesses of a cycle."""

from django.db import migrations, models

FUNCTION = """
CREATE FUNCTION flexai_note_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO scheduling_removal (kind, "row", at, changed)
    VALUES (TG_ARGV[0], OLD.id, clock_timestamp(), pg_current_xact_id()::text::bigint);
    RETURN NULL;
END $$
"""

# Whatever its state: the transaction that deletes a row may have changed it first, and the feed knows the state before.
TABLES = (
    ("pool", "cluster_pool"),
    ("node", "cluster_node"),
    ("chip", "cluster_chip"),
    ("team", "tenancy_team"),
    ("quota", "tenancy_quota"),
    ("job", "jobs_job"),
    ("attempt", "jobs_attempt"),
)


class Migration(migrations.Migration):
    dependencies = [
        ("scheduling", "0001_initial"),
        ("cluster", "0002_feed_and_default_cell"),
        ("tenancy", "0002_feed_and_audit"),
        ("jobs", "0002_feed"),
    ]
    operations = [
        migrations.AddField("cycle", "excesses", models.JSONField(default=list)),
        migrations.CreateModel(
            name="Removal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=16)),
                ("row", models.BigIntegerField()),
                ("at", models.DateTimeField()),
                ("changed", models.BigIntegerField()),
            ],
            options={"indexes": [models.Index(fields=["changed"], name="removal_changed")]},
        ),
        migrations.RunSQL(FUNCTION, "DROP FUNCTION flexai_note_removal()"),
        *(
            migrations.RunSQL(
                f"CREATE TRIGGER note_removal AFTER DELETE ON {table} FOR EACH ROW "
                f"EXECUTE FUNCTION flexai_note_removal('{kind}')",
                f"DROP TRIGGER note_removal ON {table}",
            )
            for kind, table in TABLES
        ),
    ]
