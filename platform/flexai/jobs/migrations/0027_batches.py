"""A batch's key is its first job's alone, which remembers the ids of all; and what is listed newest first is kept oldest
first, so that new rows go to the end of their index (ADR 0036)."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

KNOWN = r"""
INSERT INTO jobs_batch (job_id, ids)
SELECT first.id, array_agg(other.public_id ORDER BY other.id)
FROM jobs_job first JOIN jobs_job other ON other.organization_id = first.organization_id
    AND split_part(other.idempotency_key, E'\n', 1) = first.idempotency_key
WHERE first.idempotency_key NOT LIKE E'%\n%'
GROUP BY first.id HAVING count(*) > 1
"""
NAMES = {"organization": "job_by_organization", "team": "job_by_team", "user": "job_by_user"}


class Migration(migrations.Migration):
    dependencies = [("jobs", "0026_job_names")]
    operations = [
        migrations.CreateModel(
            name="Batch",
            fields=[
                (
                    "job",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="batch",
                        serialize=False,
                        to="jobs.job",
                    ),
                ),
                (
                    "ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=32), size=None
                    ),
                ),
            ],
        ),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
        *[migrations.RemoveIndex(model_name="job", name=name) for name in NAMES.values()],
        *[
            migrations.AddIndex(model_name="job", index=models.Index(fields=[field, "id"], name=name))
            for field, name in NAMES.items()
        ],
    ]
