"""Tenants, their people, and the machines of the default cell, made as briefly as a test needs them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.test import Client
from django.test.client import ClientHandler

from flexai.cluster.models import Cell, Chip, Node, NodeContact, Pool
from flexai.common import clock
from flexai.jobs.models import Allocation, Attempt, Job, Replica
from flexai.tenancy.models import Organization, Role, Team, User
from flexai.tenancy.principals import Principal, principal_for_user
from flexai.tenancy.services import DEFAULT_CELL, add_member, create_team, create_token
from tests.support.told import as_told

PASSWORD = "correct-horse-battery"
_numbers = itertools.count(1)
_handler = ClientHandler(enforce_csrf_checks=True)
"""One for all clients: loading the middleware takes longer than most requests."""


def give_password(user: User) -> None:
    """The user can sign in with `PASSWORD`. Apart from `a_tenant`: hashing takes its time."""
    user.set_password(PASSWORD)
    user.save(update_fields=["password"])


@dataclass
class Tenant:
    """An organization with one team `research`, and its owner."""

    organization: Organization
    team: Team
    owner: User
    token: str

    @property
    def principal(self) -> Principal:
        return principal_for_user(self.owner)

    @property
    def api(self) -> Api:
        return Api(self.token)

    def somebody(self, role: Role | None, *, name: str = "") -> tuple[User, Api]:
        """A user with this role in the organization, and a client with a token of theirs."""
        user = User.objects.create(username=name or f"user-{next(_numbers)}")
        if role is not None:
            add_member(self.organization, user, role)
        _, secret = create_token(user, self.organization, "test", ["read", "write"], 1)
        return user, Api(secret)


class Api:
    """A client of the API with a bearer token; answers are Django's responses, each as its operation is described."""

    def __init__(self, token: str = "", **headers: str) -> None:
        self.token = token
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._headers |= headers
        self._client = Client(enforce_csrf_checks=True)
        self._client.handler = _handler

    def get(self, path: str, /, **query: Any) -> Any:
        return as_told(self._client.get(f"/api/v1{path}", query_params=query or None, headers=self._headers))

    def site(self, path: str) -> Any:
        """What stands at a path outside the API."""
        return self._client.get(path, headers=self._headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self._send("post", path, body, headers)

    def put(self, path: str, body: Any) -> Any:
        return self._send("put", path, body, {})

    def patch(self, path: str, body: Any) -> Any:
        return self._send("patch", path, body, {})

    def delete(self, path: str) -> Any:
        return as_told(self._client.delete(f"/api/v1{path}", headers=self._headers))

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        return as_told(
            getattr(self._client, method)(
                f"/api/v1{path}",
                body if body is not None else {},
                content_type="application/json",
                headers={**self._headers, **headers},
            )
        )


def a_cell() -> tuple[Cell, Pool]:
    """The default cell and its pool, as the migrations make them; made again where a test emptied the
    database."""
    cell, _ = Cell.objects.get_or_create(pk=DEFAULT_CELL, defaults={"name": "default"})
    pool, _ = Pool.objects.get_or_create(cell=cell, name="default")
    return cell, pool


def a_tenant(slug: str = "", *, operator: bool = False) -> Tenant:
    number = next(_numbers)
    slug = slug or f"org-{number}"
    organization = Organization.objects.create(slug=slug, name=slug.title())
    owner = User.objects.create(username=f"{slug}-owner-{number}", is_staff=operator)
    add_member(organization, owner, Role.OWNER)
    _, secret = create_token(owner, organization, "test", ["read", "write"], 1)
    return Tenant(organization, create_team(organization, "research"), owner, secret)


def a_node(
    *,
    chips: int = 0,
    type: str = "H100-80GB",
    cpu: int = 64_000,
    memory: int = 256_000,
    chip_memory: int = 81_920,
) -> Node:
    cell, pool = a_cell()
    number = next(_numbers)
    node = Node.objects.create(
        cell=cell, pool=pool, name=f"node-{number}", reachable=True, credential_hash=f"hash-{number}",
        cpu_milli=cpu, memory_mib=memory, cpu_ceiling_milli=cpu, memory_ceiling_mib=memory,
    )  # fmt: skip
    NodeContact.objects.create(node=node, seen_at=clock.now())
    Chip.objects.bulk_create(
        Chip(
            node=node, cell=cell, index=index, type=type, memory_mib=chip_memory,
            memory_ceiling_mib=chip_memory,
            isolation=["exclusive", "cooperative"],
        )
        for index in range(chips)
    )  # fmt: skip
    return node


def started(job: Job, node: Node, *, state: str = "running", chips: Sequence[Chip] = ()) -> Attempt:
    """The job's first attempt, live on the node, as the scheduler and the agent leave it."""
    now = clock.now()
    Job.objects.filter(pk=job.pk).update(state="active", status=state, attempts_count=1, started_at=now)
    attempt = Attempt.objects.create(
        organization=job.organization,
        cell=job.cell,
        job=job,
        number=1,
        state=state,
        placed_at=now,
        running_at=now,
    )
    replica = Replica.objects.create(attempt=attempt, index=0, node=node, state=state)
    for chip in chips:
        Allocation.objects.create(
            attempt=attempt,
            replica=replica,
            chip=chip,
            milli=1000,
            memory_mib=chip.memory_mib,
            charge_milli=1000,
        )
    return attempt


def a_spec(**fields: Any) -> dict[str, Any]:
    return {"name": "train", "commands": ["true"], **fields}
