"""An attempt may end to go on elsewhere (R7)."""

from django.db import migrations, models

OUTCOMES = (
    "succeeded", "exit", "oom", "timed_out", "cancelled", "preempted", "idle_suspended", "resized", "moved", "node_lost",
    "start_failed", "platform_stopped",
)  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [("jobs", "0008_dependencies")]
    operations = [
        migrations.AlterField(
            "attempt",
            "outcome",
            models.CharField(
                max_length=20, blank=True, default="", choices=[(outcome, outcome) for outcome in OUTCOMES]
            ),
        ),
    ]
