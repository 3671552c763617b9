"""Only what the feed, or admission, reads of a node or chip marks it as changed: its counters are moved by whoever decides, and known
to it.

Nothing that an index knows moves with a counter then, and where its page has room a counter's new value costs that page
alone. Half a page is room for every row of it at once.
"""

from django.db import migrations

FILLFACTOR = 50
READ = {
    "cluster_node": "cell_id pool_id name state reachable topology cpu_milli memory_mib images credential_revoked_at",
    "cluster_chip": "cell_id node_id index type memory_mib present healthy cordoned_because health isolation host_cpu_milli",
}
# A chip that is gone counts until nothing holds it any more.
ALSO = {"cluster_chip": "NOT NEW.present OR "}


def marks(table: str) -> migrations.RunSQL:
    old, new = (", ".join(f"{side}.{column}" for column in READ[table].split()) for side in ("OLD", "NEW"))
    return migrations.RunSQL(
        [
            f"DROP TRIGGER mark_changed ON {table}",
            f"CREATE TRIGGER mark_made BEFORE INSERT ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION flexai_mark_changed()",
            f"CREATE TRIGGER mark_changed BEFORE UPDATE ON {table} FOR EACH ROW "
            f"WHEN ({ALSO.get(table, '')}({old}) IS DISTINCT FROM ({new})) EXECUTE FUNCTION flexai_mark_changed()",
            f"ALTER TABLE {table} SET (fillfactor = {FILLFACTOR})",
        ],
        [
            f"ALTER TABLE {table} RESET (fillfactor)",
            f"DROP TRIGGER mark_made ON {table}",
            f"DROP TRIGGER mark_changed ON {table}",
            f"CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION flexai_mark_changed()",
        ],
    )


class Migration(migrations.Migration):
    dependencies = [("cluster", "0007_images")]
    operations = [marks(table) for table in READ]
