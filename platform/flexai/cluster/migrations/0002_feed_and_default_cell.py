"""The change feed's trigger function (law 7), the triggers of this app, and the default cell with its pool.

`changed` takes the id of the writing transaction, so no code path can forget to mark a row.
"""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION flexai_mark_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed := pg_current_xact_id()::text::bigint;
    RETURN NEW;
END $$
"""


def trigger(table: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION flexai_mark_changed()",
        f"DROP TRIGGER mark_changed ON {table}",
    )


def create_default_cell(apps, schema_editor):
    cell = apps.get_model("cluster", "Cell").objects.create(name="default")
    apps.get_model("cluster", "Pool").objects.create(cell=cell, name="default")


class Migration(migrations.Migration):
    dependencies = [("cluster", "0001_initial")]
    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION flexai_mark_changed()"),
        trigger("cluster_pool"),
        trigger("cluster_node"),
        trigger("cluster_chip"),
        migrations.RunPython(create_default_cell, migrations.RunPython.noop),
    ]
