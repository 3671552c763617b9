"""A request that waits for a change of a job is answered by it, holds nothing meanwhile, and is checked each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from django.db.models import F

from flexai.api import waiting
from flexai.api.handler import THREADS
from flexai.cluster.models import Node
from flexai.jobs.logs import take_logs
from flexai.jobs.models import Job
from flexai.tenancy.models import Role, Token
from node_agent.protocol import LogPiece
from tests.support.tenants import Tenant, a_cell, a_node, a_spec, a_tenant, started
from tests.support.web import Web, eventually, web

LONG = 60
"""Seconds that no test lasts: who is answered before was not answered by the end of its wait."""
Ask = Callable[..., "Future[httpx.Response]"]


@pytest.fixture
def tenant(transactional_db: None) -> Tenant:
    a_cell()
    a_node()
    return a_tenant()


@pytest.fixture
def server(tenant: Tenant) -> Iterator[Web]:
    with web(api=True) as running:
        yield running


@pytest.fixture
def job(tenant: Tenant) -> dict[str, Any]:
    """One that is held: nothing moves it but the test."""
    made: dict[str, Any] = tenant.api.post("/jobs", a_spec(hold=True)).json()
    return made


@pytest.fixture
def ask(server: Web, tenant: Tenant, job: dict[str, Any]) -> Iterator[Ask]:
    """Asks, in a thread of its own, for another version of the job, or part of it, than the one that was made."""
    with ThreadPoolExecutor(64) as threads:

        def begin(
            wait: int = LONG, token: str = tenant.token, part: str = "", **asked: int
        ) -> Future[httpx.Response]:
            url = f"http://127.0.0.1:{server.port}/api/v1/jobs/{job['id']}{part}"
            query = {"version": job["version"], "wait": wait, **asked}
            return threads.submit(
                httpx.get, url, params=query, headers={"Authorization": f"Bearer {token}"}, timeout=2 * LONG
            )

        yield begin


def resume(tenant: Tenant, job: dict[str, Any]) -> None:
    assert tenant.api.post(f"/jobs/{job['id']}/resume").status_code == 200


def test_a_change_answers_whoever_waits_and_no_thread_is_held_meanwhile(
    server: Web, tenant: Tenant, job: dict[str, Any], ask: Ask
) -> None:
    many = [ask() for _ in range(2 * THREADS)]
    eventually(lambda: len(server.hub.browsers) == len(many))
    other = httpx.get(f"http://127.0.0.1:{server.port}/api/v1/health", timeout=30)
    assert other.status_code == 200, "more wait than there are threads"
    assert not any(one.done() for one in many)
    resume(tenant, job)
    answers = [one.result(LONG) for one in many]
    assert {(one.status_code, one.json()["status"]) for one in answers} == {(200, "queued")}
    assert {one.json()["version"] for one in answers} == {job["version"] + 1}
    eventually(lambda: not server.hub.browsers)


def test_what_has_changed_already_is_answered_at_once(tenant: Tenant, job: dict[str, Any], ask: Ask) -> None:
    resume(tenant, job)
    assert ask().result(LONG).json()["version"] == job["version"] + 1


def test_without_a_change_the_end_of_the_wait_says_so(job: dict[str, Any], ask: Ask) -> None:
    answer = ask(1).result(LONG)
    assert (answer.status_code, answer.content) == (304, b"")
    assert "X-Request-ID" in answer.headers
    assert "Retry-After" not in answer.headers
    assert ask(0).result(LONG).status_code == 304


def test_a_change_of_which_no_hint_came_is_found_at_the_end(
    server: Web, job: dict[str, Any], ask: Ask
) -> None:
    answer = ask(2)
    eventually(lambda: bool(server.hub.browsers))
    Job.objects.update(version=F("version") + 1)
    assert answer.result(LONG).status_code == 200


def test_what_a_job_logs_and_why_it_waits_is_no_change_of_it(server: Web, job: dict[str, Any]) -> None:
    with server.hub.news(f"job:{job['id']}", frozenset({"job"})) as news:
        for kind in ("logs", "verdict"):
            server.hub._fan_out({"kind": kind, "id": job["id"], "version": 0, "team": ""})
        assert not news.is_set()
        server.hub._fan_out({"kind": "job", "id": job["id"], "version": 2, "team": ""})
        assert news.is_set()


def test_more_of_a_log_answers_whoever_follows_it(
    server: Web, tenant: Tenant, job: dict[str, Any], ask: Ask
) -> None:
    attempt = started(Job.objects.get(), Node.objects.get())
    version = Job.objects.get().version

    def follow(offset: int, wait: int = LONG) -> Future[httpx.Response]:
        return ask(wait, part="/logs", version=version, offset=offset)

    first = follow(0)
    eventually(lambda: bool(server.hub.browsers))
    take_logs(attempt.replicas.get().node_id, [LogPiece(attempt.public_id, 0, 0, b"one\n")])
    server.hub._fan_out({"kind": "logs", "id": job["id"], "version": 0, "team": ""})
    assert first.result(LONG).json()["text"] == "one\n"
    assert follow(0).result(LONG).json()["text"] == "one\n", "what is there is answered at once"
    assert follow(4, 1).result(LONG).status_code == 304
    rest = follow(4)
    eventually(lambda: bool(server.hub.browsers))
    assert tenant.api.post(f"/jobs/{job['id']}/stop").status_code == 200
    assert (rest.result(LONG).status_code, rest.result().json()["text"]) == (200, ""), "the job is another"


def test_who_may_not_see_the_job_waits_for_nothing(ask: Ask) -> None:
    assert ask(token=a_tenant("other").token).result(LONG).status_code == 404
    assert ask(token="flx_" + "x" * 43).result(LONG).status_code == 401


def test_who_loses_its_right_while_it_waits_is_told_nothing(
    server: Web, tenant: Tenant, job: dict[str, Any], ask: Ask
) -> None:
    _, leaver = tenant.somebody(Role.OWNER, name="leaver")
    answer = ask(token=leaver.token)
    eventually(lambda: bool(server.hub.browsers))
    Token.objects.filter(user__username="leaver").update(revoked_at="2026-01-01T00:00:00Z")
    resume(tenant, job)
    assert answer.result(LONG).status_code == 401


def test_beyond_the_bound_a_wait_is_answered_at_once(
    server: Web, tenant: Tenant, job: dict[str, Any], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "OF_ONE_CALLER", 2)
    first = [ask(), ask()]
    eventually(lambda: len(server.hub.browsers) == 2)
    beyond = ask().result(LONG)
    assert (beyond.status_code, beyond.headers["Retry-After"]) == (304, "1")
    _, colleague = tenant.somebody(Role.OWNER)
    others = ask(token=colleague.token)
    eventually(lambda: len(server.hub.browsers) == 3)
    monkeypatch.setattr(waiting, "AT_MOST", 3)
    assert "Retry-After" in ask(token=tenant.somebody(Role.OWNER)[1].token).result(LONG).headers
    resume(tenant, job)
    assert [one.result(LONG).status_code for one in (*first, others)] == [200] * 3


def test_a_client_that_goes_away_frees_its_place(server: Web, tenant: Tenant, job: dict[str, Any]) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}/api/v1", timeout=0.5) as client:
        headers = {"Authorization": f"Bearer {tenant.token}"}
        query = {"version": job["version"], "wait": LONG}
        with pytest.raises(httpx.ReadTimeout):
            client.get(f"/jobs/{job['id']}", params=query, headers=headers)
    eventually(lambda: not server.hub.browsers)


def test_a_server_that_stops_answers_whoever_waits(tenant: Tenant, job: dict[str, Any]) -> None:
    with ThreadPoolExecutor(1) as threads:
        with web(api=True) as running:
            url = f"http://127.0.0.1:{running.port}/api/v1/jobs/{job['id']}?version={job['version']}&wait={LONG}"
            headers = {"Authorization": f"Bearer {tenant.token}"}
            answer = threads.submit(httpx.get, url, headers=headers, timeout=2 * LONG)
            eventually(lambda: bool(running.hub.browsers))
        assert answer.result(LONG).status_code == 304


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"wait": "5"}, "version"),
        ({"version": "1", "wait": "61"}, "wait"),
        ({"version": "1", "wait": "-1"}, "wait"),
        ({"version": "x"}, "version"),
    ],
)
def test_a_wrong_wait_is_refused(
    tenant: Tenant, job: dict[str, Any], query: dict[str, str], field: str
) -> None:
    answer = tenant.api.get(f"/jobs/{job['id']}", **query)
    assert (answer.status_code, [one["field"] for one in answer.json()["errors"]]) == (400, [field])
