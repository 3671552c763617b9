"""What a job has had of chips, and how often they were taken back."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0003_events_of_jobs_alone")]
    operations = [
        migrations.AddField("job", "attained", models.BigIntegerField(default=0, db_default=0)),
        migrations.AddField("job", "times_taken", models.PositiveIntegerField(default=0, db_default=0)),
    ]
