"""What Celery runs for jobs: looking after leases and contact, rolling up telemetry, keeping history within bounds.

`flexai.cluster.expire_leases` is about nodes by name and about jobs by deed, so it lives here: `cluster` may not know
`jobs`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from celery import shared_task
from django.db import connection, transaction

from flexai.cluster import rollups
from flexai.cluster.leases import Watch
from flexai.common import clock
from flexai.common.database import prepared_cursor
from flexai.jobs import contact, ledger, outputs, sizing, usage
from flexai.jobs.spending import look_at_budgets
from flexai.notifications.answers import end_due

log = logging.getLogger(__name__)

EXPIRE_EVERY_SECONDS = 5
"""How often beat asks for `flexai.cluster.expire_leases`."""
PRUNE_EVERY_SECONDS = 600
LOG_DAYS = 30
"""Logs are kept so long after their job ended."""
EVENT_DAYS = 90
"""History of jobs after their end, and of nodes."""
LEDGER_DAYS = 400
"""Lines of single attempts; the sums of their days stay for good."""
ENROLMENT_DAYS = 7
"""Used-up and expired enrolment tokens."""
IDENTITY_DAYS = 7
"""Tokens that identities were exchanged for, after their end, and which identities were used, after theirs."""
SESSION_DAYS = 1
"""After they were over."""
DELIVERY_DAYS = 30
"""What was told by webhook and mail, or given up."""
ROWS_AT_ONCE = 5_000
ROUNDS = 40
"""A run removes at most so many times `ROWS_AT_ONCE` rows of a kind; the next run goes on."""


class _Clocks:
    """This process's watch over its clocks: leases expire only while it has run steadily (law 5)."""

    watch: Watch | None = None


@shared_task(name="flexai.cluster.expire_leases", ignore_result=True)  # type: ignore[untyped-decorator]
def expire_leases() -> None:
    """Silent nodes are unreachable; replicas whose lease is provably over, or whose node is dead, have ended."""
    _Clocks.watch = contact.look_at_clocks(_Clocks.watch)
    silent = contact.sweep_silent_nodes()
    ended = contact.expire_leases(_Clocks.watch)
    if silent or ended:
        log.info("%d nodes became unreachable, %d replicas ended without their agent", len(silent), ended)


@shared_task(name="flexai.jobs.prune", ignore_result=True)  # type: ignore[untyped-decorator]
def prune() -> None:
    """Logs, history, roll-ups and spent tokens older than the stated days are gone, up to the stated rows."""
    removed = {rule.kind: _prune(rule) for rule in RULES}
    removed["partitions of telemetry"] = _drop_partitions()
    if any(removed.values()):
        log.info("pruned: %s", ", ".join(f"{count} {kind}" for kind, count in removed.items() if count))


@shared_task(name="flexai.jobs.sweep_outputs", ignore_result=True)  # type: ignore[untyped-decorator]
def sweep_outputs() -> None:
    """Outputs past their days, removed, or of jobs that are gone are out of the store, up to a bound."""
    swept = outputs.sweep()
    if swept:
        log.info("the outputs of %d attempts were taken from the store", swept)


@shared_task(name="flexai.jobs.settle_usage", ignore_result=True)  # type: ignore[untyped-decorator]
def settle_usage() -> None:
    """What has ended is part of the sums that statements read, and budgets know whether they are spent; what a run
    leaves the next one takes."""
    for _ in range(ROUNDS):
        if ledger.settle() < ledger.SETTLED_AT_ONCE:
            break
    look_at_budgets(clock.now())


@shared_task(name="flexai.jobs.end_quotas", ignore_result=True)  # type: ignore[untyped-decorator]
def end_quotas() -> None:
    """Quotas that were granted for a time that is over are given back."""
    ended = end_due(clock.now().date())
    if ended:
        log.info("%d quotas were granted for a time that is over", ended)


@shared_task(name="flexai.jobs.roll_up_telemetry", ignore_result=True)  # type: ignore[untyped-decorator]
def roll_up_telemetry() -> None:
    """The last whole hour's telemetry, and this hour's so far, is on record by the hour, whatever was missed before."""
    this_hour = clock.now().replace(minute=0, second=0, microsecond=0)
    for hour in (this_hour - rollups.HOUR, this_hour):
        with transaction.atomic(), prepared_cursor() as cursor:
            rollups.roll_up_hours(cursor, hour)
            usage.roll_up_hours(cursor, hour)


@shared_task(name="flexai.jobs.right_size", ignore_result=True)  # type: ignore[untyped-decorator]
def right_size() -> None:
    """Waiting tasks of arrays ask for what earlier ones of theirs used."""
    sizing.right_size_sets(clock.now())


def _drop_partitions() -> int:
    tables = (rollups.NODE_MINUTES, rollups.NODE_HOURS, usage.ATTEMPT_MINUTES, usage.ATTEMPT_HOURS)
    with transaction.atomic(), prepared_cursor() as cursor:
        return sum(len(table.drop_old(cursor, clock.now())) for table in tables)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is removed when; the statement takes an instant and a number of rows."""

    kind: str
    days: int
    statement: str


RULES = (
    Rule(
        "sessions of browsers",
        SESSION_DAYS,
        "DELETE FROM tenancy_browsersession WHERE session_key IN (SELECT session_key FROM tenancy_browsersession "
        "WHERE expire_date < %s LIMIT %s)",
    ),
    Rule(
        "log pieces",
        LOG_DAYS,
        """
        DELETE FROM jobs_logpiece WHERE id IN (
            SELECT l.id FROM jobs_job j JOIN jobs_attempt a ON a.job_id = j.id
            JOIN jobs_replica r ON r.attempt_id = a.id JOIN jobs_logpiece l ON l.replica_id = r.id
            WHERE j.ended_at < %s LIMIT %s)
        """,
    ),
    Rule(
        "events of jobs",
        EVENT_DAYS,
        """
        DELETE FROM jobs_event WHERE id IN (
            SELECT e.id FROM jobs_job j JOIN jobs_event e ON e.job_id = j.id WHERE j.ended_at < %s LIMIT %s)
        """,
    ),
    Rule(
        "events of nodes",
        EVENT_DAYS,
        "DELETE FROM cluster_nodeevent WHERE id IN (SELECT id FROM cluster_nodeevent WHERE at < %s LIMIT %s)",
    ),
    Rule(
        "settled lines of the ledger",
        LEDGER_DAYS,
        "DELETE FROM tenancy_usageline WHERE id IN (SELECT id FROM tenancy_usageline "
        "WHERE settled AND day < %s LIMIT %s)",
    ),
    Rule(
        "messages",
        DELIVERY_DAYS,
        "DELETE FROM notifications_delivery WHERE id IN (SELECT id FROM notifications_delivery WHERE at < %s LIMIT %s)",
    ),
    Rule(
        "enrolment tokens",
        ENROLMENT_DAYS,
        "DELETE FROM cluster_enrolmenttoken WHERE id IN (SELECT id FROM cluster_enrolmenttoken "
        "WHERE expires_at < %s LIMIT %s)",
    ),
    Rule(
        "exchanged tokens",
        IDENTITY_DAYS,
        "DELETE FROM tenancy_token WHERE id IN (SELECT id FROM tenancy_token "
        "WHERE rule_id IS NOT NULL AND expires_at < %s LIMIT %s)",
    ),
    Rule(
        "used identities",
        IDENTITY_DAYS,
        "DELETE FROM tenancy_usedidentity WHERE hash IN (SELECT hash FROM tenancy_usedidentity "
        "WHERE expires_at < %s LIMIT %s)",
    ),
)


def _prune(rule: Rule) -> int:
    before = clock.now() - timedelta(days=rule.days)
    removed = 0
    with connection.cursor() as cursor:
        for _ in range(ROUNDS):
            cursor.execute(rule.statement, [before, ROWS_AT_ONCE])
            removed += cursor.rowcount
            if cursor.rowcount < ROWS_AT_ONCE:
                break
    return removed
