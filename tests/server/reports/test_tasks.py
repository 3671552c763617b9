"""Retention: what is old enough goes, what is not stays."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flexai.common import clock
from flexai.jobs import tasks
from flexai.jobs.logs import take_logs
from flexai.jobs.models import Event, Job, LogPiece
from flexai.jobs.reports import take_reports
from node_agent import protocol
from tests.support.placed import PlacedWorld, report

pytestmark = pytest.mark.django_db


def test_old_logs_and_history_go_and_the_rest_stays(monkeypatch):
    monkeypatch.setattr(tasks, "ROWS_AT_ONCE", 2)
    world = PlacedWorld()
    node = world.a_node()
    old, recent, running = (world.placed(node) for _ in range(3))
    for attempt in (old, recent, running):
        piece = protocol.LogPiece(attempt=attempt.public_id, replica=0, offset=0, data=b"x")
        take_logs(node.pk, [piece])
        take_reports(node.pk, [report(attempt, "running")])
    take_reports(node.pk, [report(old, "ended"), report(recent, "ended")])
    long_ago = clock.now() - timedelta(days=91)
    Job.objects.filter(pk=old.job_id).update(ended_at=long_ago)
    tasks.prune()
    assert not LogPiece.objects.filter(replica__attempt=old).exists()
    assert not Event.objects.filter(job=old.job).exists()
    for attempt in (recent, running):
        assert LogPiece.objects.filter(replica__attempt=attempt).exists()
        assert Event.objects.filter(job=attempt.job).exists()


def test_the_first_run_of_the_lease_task_expires_nothing():
    world = PlacedWorld()
    node = world.a_node()
    attempt = world.placed(node, lease_ms=30_000)
    long_ago = clock.now() - timedelta(hours=1)
    type(attempt).objects.filter(pk=attempt.pk).update(placed_at=long_ago)
    node.contact.renewed_at = node.contact.seen_at = long_ago
    node.contact.save()
    tasks._Clocks.watch = None
    tasks.expire_leases()
    node.refresh_from_db()
    attempt.refresh_from_db()
    assert not node.reachable
    assert (attempt.state, attempt.contact_ok) == ("placed", False)
