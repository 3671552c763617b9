"""What happens to a job is told to who asked for it: in the transaction that writes its history, by a trigger.

One place sees every move, whichever statement wrote it. Where no webhook is on and no job names anybody it looks
at two small tables and is done. A nested loop is asked for because a plan is kept as it was first made: for one
event in an empty database, or for ten thousand in a full one.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

FORWARD = """
CREATE FUNCTION jobs_event_told() RETURNS trigger LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM notifications_webhook WHERE is_on) AND NOT EXISTS (SELECT 1 FROM jobs_notice) THEN
        RETURN NULL;
    END IF;
    INSERT INTO notifications_delivery (
        public_id, organization_id, hook_id, user_id, event, at, data, state, tries, next_at, answer)
    WITH told AS MATERIALIZED (
        SELECT * FROM (
            SELECT e.*, CASE
                WHEN kind IN ('job.submitted', 'job.requeued') THEN kind
                WHEN kind = 'attempt.running' AND from_state IN ('placed', 'starting') THEN 'job.started'
                WHEN kind = 'attempt.idle' THEN 'job.idle'
                WHEN kind NOT LIKE 'job.%' THEN NULL
                WHEN to_state IN ('succeeded', 'failed', 'cancelled', 'timed_out') AND from_state <> to_state
                    THEN 'job.' || to_state
                WHEN kind = 'job.queued' THEN CASE reason_code
                    WHEN 'preempted' THEN 'job.preempted' WHEN 'idle_suspended' THEN 'job.suspended'
                    ELSE 'job.requeued' END
                WHEN to_state = 'suspended' AND from_state <> to_state THEN 'job.suspended'
                WHEN to_state = 'held' AND (kind = 'job.held' OR reason_code = 'dependency_never') THEN 'job.held'
                END AS event
            FROM fresh e) AS named
        WHERE event IS NOT NULL AND (
            EXISTS (SELECT 1 FROM notifications_webhook h WHERE h.organization_id = named.organization_id AND h.is_on)
            OR EXISTS (SELECT 1 FROM jobs_notice n WHERE n.job_id = named.job_id))
    ), whole AS MATERIALIZED (
        SELECT told.*, j.public_id AS job, j.name, j.team_id, t.name AS team, u.username, s.public_id AS of_set,
            j.index, j.labels, j.submitted_at, j.started_at, j.ended_at, j.outcome, j.exit_code, o.slug,
            told.to_state IN ('succeeded', 'failed', 'cancelled', 'timed_out', 'queued') AS is_over
        FROM told JOIN jobs_job j ON j.id = told.job_id JOIN tenancy_team t ON t.id = j.team_id
        JOIN tenancy_user u ON u.id = j.user_id JOIN tenancy_organization o ON o.id = j.organization_id
        LEFT JOIN jobs_jobset s ON s.id = j.set_id
    ), asked AS MATERIALIZED (
        SELECT kinds.*, hook FROM (SELECT DISTINCT organization_id, team_id, event FROM whole) AS kinds,
            LATERAL notifications_hooks_of(kinds.organization_id, kinds.team_id, kinds.event) AS hook
    )
    SELECT 'msg-' || replace(gen_random_uuid()::text, '-', ''), w.organization_id, r.hook, r.person, w.event, w.at,
        jsonb_build_object(
            'organization', w.slug, 'from', w.from_state, 'to', w.to_state, 'reason_code', w.reason_code,
            'sentence', w.sentence,
            'job', jsonb_build_object(
                'id', w.job, 'name', w.name, 'team', w.team, 'user', w.username, 'set', w.of_set, 'index', w.index,
                'labels', w.labels, 'attempt', w.attempt, 'submitted_at', w.submitted_at,
                'started_at', CASE WHEN w.event = 'job.started' THEN w.at ELSE w.started_at END,
                'ended_at', w.ended_at, 'outcome', CASE WHEN w.is_over THEN w.outcome ELSE '' END,
                'exit_code', CASE WHEN w.is_over THEN w.exit_code END)),
        'pending', 0, clock_timestamp(), ''
    FROM whole w, LATERAL (
        SELECT a.hook, NULL::bigint AS person FROM asked a
        WHERE a.organization_id = w.organization_id AND a.team_id = w.team_id AND a.event = w.event
        UNION SELECT n.hook_id, NULL FROM jobs_notice n JOIN notifications_webhook h ON h.id = n.hook_id AND h.is_on
            WHERE n.job_id = w.job_id AND w.event = ANY(n."on")
        UNION SELECT NULL, person FROM jobs_notice n, unnest(n.users) AS person
            WHERE n.job_id = w.job_id AND w.event = ANY(n."on")
    ) AS r
    ORDER BY w.id;
    RETURN NULL;
END $$;
CREATE TRIGGER event_told AFTER INSERT ON jobs_event
REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION jobs_event_told();
"""
BACKWARD = """
DROP TRIGGER event_told ON jobs_event;
DROP FUNCTION jobs_event_told();
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0016_energy"), ("notifications", "0001_initial")]
    operations = [
        migrations.CreateModel(
            name="Notice",
            fields=[
                (
                    "job",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="notice",
                        serialize=False,
                        to="jobs.job",
                    ),
                ),
                (
                    "on",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=32), size=None
                    ),
                ),
                (
                    "users",
                    django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None),
                ),
                (
                    "hook",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="notifications.webhook",
                    ),
                ),
            ],
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
