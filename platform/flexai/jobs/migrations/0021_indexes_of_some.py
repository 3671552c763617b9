"""Jobs without labels, and jobs of no set, are in no index of labels or sets: every move of a job costs each index that
it is in."""

import django.contrib.postgres.indexes
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0020_keys_from_one_side")]
    operations = [
        migrations.RemoveIndex("job", "job_labels"),
        migrations.RemoveConstraint("job", "one_job_per_index"),
        migrations.AddIndex(
            "job",
            django.contrib.postgres.indexes.GinIndex(
                condition=models.Q(("labels", {}), _negated=True), fields=["labels"], name="job_labels"
            ),
        ),
        migrations.AddConstraint(
            "job",
            models.UniqueConstraint(
                condition=models.Q(("set__isnull", False)), fields=("set", "index"), name="one_job_per_index"
            ),
        ),
    ]
