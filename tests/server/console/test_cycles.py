"""A cycle's page says what was decided and why jobs waited, by as many queries whatever the number of jobs."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flexai.cluster.models import Cell
from flexai.jobs.models import Job
from flexai.scheduling.models import Cycle, Recording
from flexai.tenancy.models import Membership, Organization, Role, Team, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    acme = Organization.objects.create(slug="acme", name="Acme")
    return Team.objects.create(organization=acme, name="vision")


def test_a_cycle_says_what_it_did_for_whom_and_why_the_rest_waited(
    browser: Browser, operator: User, team: Team
) -> None:
    taker, victim, waiter = (_a_job(team, name) for name in ("taker", "<script>victim", "waiter"))
    cycle = _a_cycle(
        waiting=100_000,
        decided=[
            _done("promised", [[taker.pk, 0]]),
            _done("preempted", [[victim.pk, taker.pk]], "guarantee", 7),
        ],
        reasons=[_reason("team_limit", "Team vision uses 8 of 8.", [waiter.pk, 10**9], jobs=99_000)],
    )
    link = f"/jobs/{waiter.public_id}"
    page = _page(browser, cycle)
    for words in (
        "Promised chips that others leave", "Preempted, with a checkpoint", "a team reclaims its guarantee",
        "&lt;script&gt;victim", "and 6 more", "Team vision uses 8 of 8.", "99000", "and 98998 more", "Other reasons",
        "acme / vision", f"job {10**9}, gone", "?code=team_limit",
    ):  # fmt: skip
        assert words in page, words
    assert "<script>victim" not in page
    assert link not in page, "the dashboard shows a job to its organization's members"
    Membership.objects.create(organization=team.organization, user=operator, role=Role.VIEWER)
    assert link in _page(browser, cycle)


def test_the_number_of_queries_is_fixed(browser: Browser, team: Team) -> None:
    small = _a_cycle(reasons=[_reason("no_chips", "No chips.", [_a_job(team, "a").pk])])
    jobs = [_a_job(team, f"job-{n}").pk for n in range(30)]
    large = _a_cycle(
        decided=[
            _done(what, [[job, jobs[0]] for job in jobs[:5]]) for what in ("moved", "evicted", "resized")
        ],
        reasons=[_reason(f"code_{n}", "Why.", jobs[n : n + 5]) for n in range(12)],
    )
    browser.get("/console/")
    with CaptureQueriesContext(connection) as few:
        _page(browser, small)
    with CaptureQueriesContext(connection) as many:
        _page(browser, large)
    assert len(many) == len(few) <= 12


def test_the_parts_of_one_decision_are_one_page(browser: Browser, team: Team) -> None:
    at = timezone.now()
    first = _a_cycle(at, units=1500, applied=1400, dropped=100)
    last = _a_cycle(at, units=1000, applied=1000, decided=[_done("started", [[1, 0]], jobs=2500)])
    later = _a_cycle(at + timedelta(seconds=1))
    token = re.compile(r'csrfmiddlewaretoken" value="[^"]*')
    assert token.sub("", _page(browser, first)) == token.sub("", _page(browser, last))
    page = _page(browser, last)
    assert "2,400" in page
    assert "2500" in page
    assert "Applied in 2 parts" in page
    assert f"/scheduling/cycle/{later.pk}/" in page


def test_lists_say_it_in_short_and_are_found_by_what_was_decided(browser: Browser, team: Team) -> None:
    _a_cycle(
        decided=[_done("preempted", [[1, 2]], jobs=3)], reasons=[_reason("x", "The emptiest has none.", [])]
    )
    _a_cycle(decided=[_done("lent", [[1, 0]])])
    page = browser.get("/console/scheduling/cycle/").content.decode()
    assert "3 preempted" in page
    assert "The emptiest has none." in page
    assert "1 lent" in page
    page = browser.get("/console/scheduling/cycle/?decided=lent").content.decode()
    assert "3 preempted" not in page
    assert "1 lent" in page


def test_a_cycle_leads_to_the_recording_that_holds_it(browser: Browser, team: Team) -> None:
    at = timezone.now()
    cycle = _a_cycle(at)
    around = {"first_at": at - timedelta(seconds=5), "last_at": at + timedelta(seconds=5)}
    recording = Recording.objects.create(cell=_cell(), cycles=3, size=2048, data=b"x" * 2048, **around)
    assert f"/api/v1/recordings/{recording.pk}" in _page(browser, cycle)
    page = browser.get("/console/scheduling/recording/").content.decode()
    assert f'href="/api/v1/recordings/{recording.pk}"' in page
    assert "flexai replay" in page


def _cell() -> Cell:
    return Cell.objects.get(name="default")


def _a_cycle(at: Any = None, **values: Any) -> Cycle:
    return Cycle.objects.create(cell=_cell(), started_at=at or timezone.now(), **values)


def _a_job(team: Team, name: str) -> Job:
    owner, _ = User.objects.get_or_create(username="ana")
    return Job.objects.create(
        organization=team.organization, team=team, cell=_cell(), user=owner, name=name, spec={}, effective_spec={},
        submitted_at=timezone.now(),
    )  # fmt: skip


def _done(what: str, some: list[list[int]], ground: str = "", jobs: int = 0) -> dict[str, Any]:
    return {"what": what, "ground": ground, "jobs": jobs or len(some), "some": some}


def _reason(code: str, sentence: str, some: list[int], jobs: int = 0) -> dict[str, Any]:
    return {"code": code, "sentence": sentence, "jobs": jobs or len(some), "some": some}


def _page(browser: Browser, cycle: Cycle) -> str:
    answer = browser.get(f"/console/scheduling/cycle/{cycle.pk}/change/")
    assert answer.status_code == 200
    return answer.content.decode()
