"""Keys of attempts, replicas and allocations are checked where what they name would go, and not row by row where they
are written (ADR 0014)."""

import django.db.models.deletion
from django.db import migrations, models

FUNCTION = """
CREATE FUNCTION jobs_is_named() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_named boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I WHERE %I = $1)', TG_ARGV[0], TG_ARGV[1]) INTO is_named USING OLD.id;
    IF is_named THEN
        RAISE foreign_key_violation USING MESSAGE = format(
            'row %s of %s is still named by rows of %s', OLD.id, TG_TABLE_NAME, TG_ARGV[0]);
    END IF;
    RETURN NULL;
END $$
"""
NAMED = (
    ("jobs_job", "jobs_attempt", "job_id"),
    ("jobs_attempt", "jobs_replica", "attempt_id"),
    ("jobs_attempt", "jobs_allocation", "attempt_id"),
    ("jobs_replica", "jobs_allocation", "replica_id"),
    ("cluster_node", "jobs_replica", "node_id"),
    ("cluster_chip", "jobs_allocation", "chip_id"),
)


def guard(table: str, by: str, column: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE CONSTRAINT TRIGGER named_by_{by} AFTER DELETE ON {table} DEFERRABLE INITIALLY DEFERRED "
        f"FOR EACH ROW EXECUTE FUNCTION jobs_is_named('{by}', '{column}')",
        f"DROP TRIGGER named_by_{by} ON {table}",
    )


def unchecked(model: str, name: str, to: str, on_delete: object, related_name: str) -> migrations.AlterField:
    field = models.ForeignKey(db_constraint=False, db_index=False, on_delete=on_delete, related_name=related_name, to=to)
    return migrations.AlterField(model, name, field)


CASCADE, PROTECT = django.db.models.deletion.CASCADE, django.db.models.deletion.PROTECT


class Migration(migrations.Migration):
    dependencies = [("jobs", "0019_images"), ("cluster", "0008_counters_unmarked")]
    operations = [
        unchecked("attempt", "job", "jobs.job", CASCADE, "attempts"),
        unchecked("replica", "attempt", "jobs.attempt", CASCADE, "replicas"),
        unchecked("replica", "node", "cluster.node", PROTECT, "replicas"),
        unchecked("allocation", "replica", "jobs.replica", CASCADE, "allocations"),
        unchecked("allocation", "chip", "cluster.chip", PROTECT, "allocations"),
        migrations.RunSQL(FUNCTION, "DROP FUNCTION jobs_is_named()"),
        *(guard(*one) for one in NAMED),
    ]
