"""Triggers: jobs and attempts mark their changes for the feed (law 7)."""

from django.db import migrations

TABLES = ("jobs_job", "jobs_attempt")


class Migration(migrations.Migration):
    dependencies = [("jobs", "0001_initial"), ("cluster", "0002_feed_and_default_cell")]
    operations = [
        migrations.RunSQL(
            f"CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION flexai_mark_changed()",
            f"DROP TRIGGER mark_changed ON {table}",
        )
        for table in TABLES
    ]
