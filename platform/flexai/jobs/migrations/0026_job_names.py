"""Parts of names are looked for among names, not among jobs: each move of a job paid for the index (ADR 0035)."""

import django.db.models.deletion
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import migrations, models
from django.db.models.functions import Upper

KNOWN = """
INSERT INTO jobs_jobname (organization_id, name) SELECT DISTINCT organization_id, name FROM jobs_job
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0025_stragglers"), ("tenancy", "0017_browser_sessions")]
    operations = [
        migrations.RemoveIndex(model_name="job", name="job_name_parts"),
        migrations.CreateModel(
            name="JobName",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "organization",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenancy.organization",
                    ),
                ),
            ],
            options={
                "indexes": [GinIndex(OpClass(Upper("name"), "gin_trgm_ops"), name="job_name_parts")],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "name"), name="job_name_of_organization")
                ],
            },
        ),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
    ]
