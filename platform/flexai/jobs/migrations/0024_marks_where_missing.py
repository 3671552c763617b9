"""Jobs and attempts that a statement marks itself are not marked again, by a function called for each row (ADR 0014)."""

from django.db import migrations

TABLES = ("jobs_job", "jobs_attempt")


def marked(table: str, condition: str) -> str:
    return (
        f"CREATE OR REPLACE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON {table} "
        f"FOR EACH ROW {condition} EXECUTE FUNCTION flexai_mark_changed()"
    )


class Migration(migrations.Migration):
    dependencies = [("jobs", "0023_keys_of_jobs")]
    operations = [
        migrations.RunSQL(
            marked(table, "WHEN (NEW.changed IS DISTINCT FROM pg_current_xact_id()::text::bigint)"),
            marked(table, ""),
        )
        for table in TABLES
    ]
