"""What happened to nodes moves to their own history; every event left is of a job."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0002_feed"), ("cluster", "0003_node_events")]
    operations = [
        migrations.RunSQL(
            "INSERT INTO cluster_nodeevent (at, node_id, kind, reason_code, sentence, facts, actor) "
            "SELECT at, node_id, kind, reason_code, sentence, facts, actor FROM jobs_event "
            "WHERE job_id IS NULL AND node_id IS NOT NULL ORDER BY id",
            migrations.RunSQL.noop,
        ),
        migrations.RunSQL("DELETE FROM jobs_event WHERE job_id IS NULL", migrations.RunSQL.noop),
        migrations.RemoveIndex(model_name="event", name="event_by_node"),
        migrations.RemoveField(model_name="event", name="node"),
        migrations.AlterField(
            model_name="event",
            name="job",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="events",
                to="jobs.job",
            ),
        ),
    ]
