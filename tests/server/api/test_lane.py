"""Jobs whose requests come together are accepted together, and each as if it had come alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import psycopg
import pytest
from django.forms import model_to_dict

from flexai.api import lane, throttling
from flexai.api.handler import ThreadedHandler
from flexai.common import events
from flexai.jobs import services
from flexai.jobs.creation import ALONE_BYTES
from flexai.jobs.models import Event, Job
from flexai.tenancy.models import AuditEntry, Role, Token
from flexai.tenancy.services import create_token
from tests.support.tenants import Tenant, a_cell, a_node, a_spec, a_tenant
from tests.support.web import end_threads

PATIENCE = 20.0
OWN = {"X-Request-ID", "Content-Length"}
Answer = tuple[int, dict[str, str], Any]


@pytest.fixture
def tenant(transactional_db: None) -> Tenant:
    a_cell()
    a_node()
    return a_tenant()


@pytest.fixture
def handler(tenant: Tenant) -> Iterator[ThreadedHandler]:
    made = ThreadedHandler()
    yield made
    end_threads(made)


@dataclass(frozen=True)
class Asked:
    """A request for a job."""

    token: str
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


def ask(handler: ThreadedHandler, token: str, *bodies: Any, **headers: str) -> list[Answer]:
    """The answers to requests of one token that are all made at once."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask_all(handler, [Asked(token, body, named) for body in bodies])


def ask_all(handler: ThreadedHandler, requests: Sequence[Asked]) -> list[Answer]:
    """The answers to requests that are all made at once."""
    return asyncio.run(asked_together(handler, requests))


async def asked_together(handler: ThreadedHandler, requests: Sequence[Asked]) -> list[Answer]:
    async def one(asked: Asked) -> Answer:
        content = asked.body if isinstance(asked.body, bytes) else json.dumps(asked.body).encode()
        given = {"host": "localhost", "authorization": f"Bearer {asked.token}"}
        given |= {"content-type": "application/json", "content-length": str(len(content))} | asked.headers
        scope = {
            "type": "http", "method": "POST", "path": "/api/v1/jobs", "query_string": b"", "scheme": "http",
            "client": ("10.1.2.3", 1), "headers": [(k.encode(), v.encode()) for k, v in given.items()],
        }  # fmt: skip
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": content}

        async def send(message: Any) -> None:
            sent.append(message)

        await handler(scope, receive, send)
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], told, json.loads(sent[1]["body"])

    return await asyncio.gather(*map(one, requests))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many jobs each statement of the lane has made."""
    counts: list[int] = []
    together = services.submit_together

    def counted(asked: Any) -> Any:
        jobs = together(asked)
        counts.append(len([job for job in jobs if job is not None]))
        return jobs

    monkeypatch.setattr(services, "submit_together", counted)
    return counts


def test_an_answer_and_what_is_written_are_the_same_alone_and_together(
    handler: ThreadedHandler, tenant: Tenant, taken: list[int]
) -> None:
    spec = a_spec(labels={"a": "b"}, hold=True)
    [alone] = ask(handler, tenant.token, spec, x_request_id="mine")
    assert taken == []
    [together] = ask(handler, tenant.token, spec, x_request_id="mine")
    assert taken == [1]
    assert [one[0] for one in (alone, together)] == [201, 201]
    assert {k: v for k, v in alone[1].items() if k not in OWN} == {
        k: v for k, v in together[1].items() if k not in OWN
    }
    assert {alone[1]["X-Request-ID"], together[1]["X-Request-ID"]} == {"mine"}
    assert alone[1].keys() == together[1].keys()
    own = {"id", "url", "submitted_at", "wait_ms"}
    assert {k: v for k, v in alone[2].items() if k not in own} == {
        k: v for k, v in together[2].items() if k not in own
    }
    rows = Job.objects.order_by("id"), Event.objects.order_by("id"), AuditEntry.objects.order_by("id")
    for found in rows:
        first, second = [model_to_dict(row) for row in found.filter(**_of_jobs(found.model))][-2:]
        differ = {key for key in first if first[key] != second[key]}
        assert differ <= {"id", "public_id", "submitted_at", "at", "object_id", "job", "changed"}
    assert (
        AuditEntry.objects.filter(action="job.submitted", address="10.1.2.3", request_id="mine").count() == 2
    )


def _of_jobs(model: Any) -> dict[str, str]:
    return {"action": "job.submitted"} if model is AuditEntry else {}


def test_many_at_once_take_few_statements(handler: ThreadedHandler, tenant: Tenant, taken: list[int]) -> None:
    ask(handler, tenant.token, a_spec())
    colleague = tenant.somebody(Role.MEMBER)[1].token
    assert {status for status, _, _ in ask(handler, colleague, a_spec())} == {201}
    answers = ask(handler, tenant.token, *[a_spec(name=f"job-{n}") for n in range(100)])
    assert {status for status, _, _ in answers} == {201}
    assert len({told["id"] for _, _, told in answers}) == 100
    assert [told["name"] for _, _, told in answers] == [f"job-{n}" for n in range(100)]
    assert sum(taken) == 101
    assert len(taken) <= 1 + 4, "the first goes alone, the rest by 64"
    assert {told["team"]["name"] for _, _, told in answers} == {"research"}


def in_loops(handler: ThreadedHandler, token: str, rounds: Sequence[int]) -> None:
    """Each of these clients makes so many requests, one after the other; all begin together."""

    async def client(count: int) -> None:
        for _ in range(count):
            [(status, _, _)] = await asked_together(handler, [Asked(token, a_spec())])
            assert status == 201

    async def all_of_them() -> None:
        await asyncio.gather(*map(client, rounds))

    asyncio.run(all_of_them())


def test_clients_in_a_loop_come_together_again(
    handler: ThreadedHandler, tenant: Tenant, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(handler, tenant.token, a_spec())
    monkeypatch.setattr(lane, "WAITED_FOR_SECONDS", PATIENCE)
    in_loops(handler, tenant.token, [5, 4, 4])
    assert taken == [1, 3, 3, 3, 3], "the first waits for nobody; from then on they are expected"


def test_who_does_not_come_again_is_waited_for_once(
    handler: ThreadedHandler, tenant: Tenant, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(handler, tenant.token, a_spec())
    monkeypatch.setattr(lane, "WAITED_FOR_SECONDS", 0.5)
    in_loops(handler, tenant.token, [1, 2])
    assert taken == [1, 1, 1], "the second and third alone"
    began = monotonic()
    monkeypatch.setattr(lane, "WAITED_FOR_SECONDS", PATIENCE)
    in_loops(handler, tenant.token, [5])
    assert taken[3:] == [1] * 5
    assert monotonic() - began < PATIENCE, "who comes alone waits for nobody"


def test_they_share_one_transaction_and_keep_what_is_their_own(
    handler: ThreadedHandler, tenant: Tenant, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = a_tenant()
    ask(handler, tenant.token, a_spec(name="first"))
    cells: list[int | None] = []
    monkeypatch.setattr(events, "_publish", lambda hints, nodes, cell: cells.append(cell))
    tenants = [tenant, other, tenant, other]
    answers = ask_all(
        handler,
        [
            Asked(one.token, a_spec(name=f"job-{n}"), {"x-request-id": f"asked-{n}"})
            for n, one in enumerate(tenants)
        ],
    )
    assert taken == [1, 3], "who comes first waits for nobody"
    assert cells == [1, 1], "one announcement each"
    assert Job.objects.exclude(name="first").values("changed").distinct().count() == 2
    for number, (one, (_, _, told)) in enumerate(zip(tenants, answers, strict=True)):
        row = Job.objects.get(public_id=told["id"])
        assert (row.name, row.organization_id, row.team_id, row.user_id) == (
            f"job-{number}", one.organization.pk, one.team.pk, one.owner.pk,
        )  # fmt: skip
        event = Event.objects.get(job=row)
        assert (event.organization_id, event.actor, event.cause) == (
            one.organization.pk, f"user:{one.owner.username}", f"asked-{number}",
        )  # fmt: skip
        entry = AuditEntry.objects.get(object_id=row.public_id)
        assert (entry.organization_id, entry.request_id, entry.action) == (
            one.organization.pk, f"asked-{number}", "job.submitted",
        )  # fmt: skip
        assert entry.actor.startswith(f"{one.owner.username} by tok-")
        assert entry.after == {"name": row.name, "team": one.team.pk}
        assert (entry.before, entry.object_kind) == (None, "job")


def test_what_is_refused_is_refused_as_ever_and_harms_nobody_beside_it(
    handler: ThreadedHandler, tenant: Tenant, taken: list[int]
) -> None:
    ask(handler, tenant.token, a_spec())
    bodies = [
        a_spec(name="good"), b"{", a_spec(comands=1), a_spec(resources={"accelerators": "H100:64"}), [],
        a_spec(team="nobody"), a_spec(name="set", array="0-3"), a_spec(name="also good"),
    ]  # fmt: skip
    answers = ask(handler, tenant.token, *bodies)
    assert [status for status, _, _ in answers] == [201, 400, 400, 422, 400, 400, 201, 201]
    assert answers[6][2]["count"] == 4
    assert sum(taken) == 2
    refused = [told for status, _, told in answers if status >= 400]
    assert all(told["request_id"] and told["detail"] for told in refused)
    assert sorted(set(Job.objects.values_list("name", flat=True))) == ["also good", "good", "set", "train"]


def test_a_fault_of_ours_over_one_harms_nobody_beside_it(
    handler: ThreadedHandler, tenant: Tenant, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(handler, tenant.token, a_spec())
    prepare = services._prepare_once

    def faulty(principal: Any, spec: Any, *rest: Any, **options: Any) -> Any:
        if spec["name"] == "odd":
            raise RuntimeError("nobody foresaw this")
        return prepare(principal, spec, *rest, **options)

    monkeypatch.setattr(services, "_prepare_once", faulty)
    answers = ask(handler, tenant.token, *[a_spec(name=name) for name in ("one", "odd", "two")])
    assert [status for status, _, _ in answers] == [201, 500, 201]
    assert sum(taken) == 2


def test_who_may_not_submit_is_told_so(handler: ThreadedHandler, tenant: Tenant, taken: list[int]) -> None:
    ask(handler, tenant.token, a_spec())
    _, reads = create_token(tenant.owner, tenant.organization, "reads", ["read"], 1)
    viewer = tenant.somebody(Role.VIEWER)[1].token
    stranger = a_tenant("other").token
    spec = a_spec(team=tenant.team.name)
    for token, status in (
        (reads, 403), (viewer, 403), ("flx_" + "x" * 43, 401), ("nonsense", 401), (stranger, 201),
    ):  # fmt: skip
        [(answered, _, told)] = ask(handler, token, spec)
        assert answered == status, told
    assert set(Job.objects.values_list("organization__slug", flat=True)) == {
        tenant.organization.slug,
        "other",
    }
    Token.objects.filter(name="test", user=tenant.owner).update(revoked_at="2026-01-01T00:00:00Z")
    assert ask(handler, tenant.token, spec)[0][0] == 401, "at once"
    assert Job.objects.filter(organization=tenant.organization).count() == 1


def test_the_same_key_makes_one_job_however_it_comes(handler: ThreadedHandler, tenant: Tenant) -> None:
    ask(handler, tenant.token, a_spec())
    answers = ask(handler, tenant.token, *[a_spec()] * 5, idempotency_key="nightly")
    assert sorted(status for status, _, _ in answers) == [200, 200, 200, 200, 201]
    assert len({told["id"] for _, _, told in answers}) == 1
    assert ask(handler, tenant.token, a_spec(name="other"), idempotency_key="nightly")[0][0] == 409
    assert Job.objects.count() == 2


def test_what_the_database_refuses_of_one_harms_nobody_beside_it(
    handler: ThreadedHandler, tenant: Tenant, taken: list[int]
) -> None:
    ask(handler, tenant.token, a_spec(), idempotency_key="taken")
    answers = ask_all(
        handler,
        [
            Asked(tenant.token, a_spec(name="first")),
            Asked(tenant.token, a_spec(name="good")),
            Asked(tenant.token, a_spec(name="else"), {"idempotency-key": "taken"}),
            Asked(tenant.token, a_spec(name="also good")),
        ],
    )
    assert taken == [1, 0], "nothing of those beside it was written either"
    assert [status for status, _, _ in answers] == [201, 201, 409, 201]
    names = sorted(Job.objects.values_list("name", flat=True))
    assert names == ["also good", "first", "good", "train"]
    assert Event.objects.count() == AuditEntry.objects.filter(action="job.submitted").count() == 4


def test_who_went_between_look_up_and_statement_is_refused_alone(
    handler: ThreadedHandler, tenant: Tenant, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = a_tenant()
    ask(handler, tenant.token, a_spec())
    together = services.submit_together

    def too_late(asked: Any) -> Any:
        if len(asked) > 1:
            gone.organization.delete()
        return together(asked)

    monkeypatch.setattr(services, "submit_together", too_late)
    tokens = [tenant.token, tenant.token, gone.token, tenant.token]
    answers = ask_all(handler, [Asked(token, a_spec()) for token in tokens])
    assert taken == [1, 0]
    assert [status for status, _, _ in answers] == [201, 201, 401, 201]
    assert set(Job.objects.values_list("organization", flat=True)) == {tenant.organization.pk}


def test_a_long_spec_is_written_by_itself(handler: ThreadedHandler, tenant: Tenant, taken: list[int]) -> None:
    ask(handler, tenant.token, a_spec())
    long = a_spec(files={"data": "x" * ALONE_BYTES})
    assert [status for status, _, _ in ask(handler, tenant.token, long, a_spec())] == [201, 201]
    assert taken == [1]
    assert Job.objects.get(spec__files__isnull=False).spec["files"]["data"].endswith("x")


def test_a_host_that_is_not_ours_is_never_served(handler: ThreadedHandler, tenant: Tenant) -> None:
    ask(handler, tenant.token, a_spec())
    for _ in range(2):
        assert ask(handler, tenant.token, a_spec(), host="evil.example")[0][0] == 400
    assert Job.objects.count() == 1


def test_who_asks_too_often_is_refused_here_too(
    handler: ThreadedHandler, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(handler, tenant.token, a_spec())
    monkeypatch.setattr(throttling, "REQUESTS_PER_WINDOW", 0)
    [(status, headers, _)] = ask(handler, tenant.token, a_spec())
    assert (status, Job.objects.count()) == (429, 1)
    assert int(headers["Retry-After"]) > 0


def test_when_nobody_knows_whether_it_was_written_it_is_not_tried_again(
    handler: ThreadedHandler, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(handler, tenant.token, a_spec())

    def broken(asked: Any) -> Any:
        raise psycopg.OperationalError("the connection was lost")

    monkeypatch.setattr(services, "submit_together", broken)
    answers = ask(handler, tenant.token, a_spec(), a_spec())
    assert [(status, told["code"]) for status, _, told in answers] == [(503, "unavailable")] * 2
    assert {headers["Content-Type"] for _, headers, _ in answers} == {"application/problem+json"}
    assert Job.objects.count() == 1
