"""Keys of jobs are looked up once for what many jobs share, by the statement that writes them, and checked where what
they name would go (ADR 0014)."""

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

NAMED = (
    ("tenancy_team", "team_id"),
    ("tenancy_user", "user_id"),
    ("jobs_jobset", "set_id"),
    ("jobs_schedule", "schedule_id"),
)


def guard(table: str, column: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE CONSTRAINT TRIGGER named_by_jobs_job AFTER DELETE ON {table} DEFERRABLE INITIALLY DEFERRED "
        f"FOR EACH ROW EXECUTE FUNCTION jobs_is_named('jobs_job', '{column}')",
        f"DROP TRIGGER named_by_jobs_job ON {table}",
    )


def unchecked(name: str, to: str, on_delete: Any, *, null: bool = False) -> migrations.AlterField:
    field = models.ForeignKey(
        db_constraint=False, db_index=False, null=null, on_delete=on_delete, related_name="jobs", to=to
    )
    return migrations.AlterField("job", name, field)


deletion = django.db.models.deletion


class Migration(migrations.Migration):
    dependencies = [("jobs", "0022_cells_of_jobs"), ("tenancy", "0015_audit_log_named")]
    operations = [
        unchecked("team", "tenancy.team", deletion.PROTECT),
        unchecked("user", settings.AUTH_USER_MODEL, deletion.PROTECT),
        unchecked("set", "jobs.jobset", deletion.CASCADE, null=True),
        unchecked("schedule", "jobs.schedule", deletion.SET_NULL, null=True),
        *(guard(*one) for one in NAMED),
    ]
