"""Triggers: teams and quotas mark their changes for the feed; the audit log is append-only."""

from django.db import migrations

TABLES = ("tenancy_team", "tenancy_quota")

APPEND_ONLY = """
CREATE FUNCTION flexai_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON tenancy_auditentry
    FOR EACH ROW EXECUTE FUNCTION flexai_refuse_change()
"""


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0001_initial"), ("cluster", "0002_feed_and_default_cell")]
    operations = [
        *(
            migrations.RunSQL(
                f"CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION flexai_mark_changed()",
                f"DROP TRIGGER mark_changed ON {table}",
            )
            for table in TABLES
        ),
        migrations.RunSQL(
            APPEND_ONLY,
            "DROP TRIGGER append_only ON tenancy_auditentry; DROP FUNCTION flexai_refuse_change()",
        ),
    ]
