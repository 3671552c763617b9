"""A job's cell is checked where a cell would go (ADR 0014), and who has no time to begin at is in no index of such times:
every submit costs both."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0021_indexes_of_some"), ("cluster", "0008_counters_unmarked")]
    operations = [
        migrations.AlterField(
            "job",
            "cell",
            models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="cluster.cell",
            ),
        ),
        migrations.RunSQL(
            "CREATE CONSTRAINT TRIGGER named_by_jobs_job AFTER DELETE ON cluster_cell DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION jobs_is_named('jobs_job', 'cell_id')",
            "DROP TRIGGER named_by_jobs_job ON cluster_cell",
        ),
        migrations.RemoveIndex("job", "job_held_until"),
        migrations.AddIndex(
            "job",
            models.Index(
                condition=models.Q(("start_after__isnull", False), ("state", "held")),
                fields=["start_after"],
                name="job_held_until",
            ),
        ),
    ]
