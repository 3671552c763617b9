"""An operator in a browser, and one of everything to look at."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client as Browser
from django.utils import timezone

from flexai.cluster.models import Cell, Chip, Node, NodeContact, Pool
from flexai.jobs.models import Attempt, Event, Job
from flexai.scheduling.models import Cycle, Mix, Quarantine, Verdict
from flexai.tenancy.models import Membership, Organization, Role, Team, Token, User


@pytest.fixture
def operator(db: None) -> User:
    return User.objects.create_user("olga", password="a long pass phrase", is_staff=True)


@pytest.fixture
def browser(operator: User) -> Browser:
    made = Browser(HTTP_HOST="localhost")
    made.force_login(operator)
    return made


@pytest.fixture
def rows(operator: User) -> dict[str, Any]:
    """One of everything, in the house of another tenant."""
    acme = Organization.objects.create(slug="acme", name="Acme")
    member = User.objects.create_user("ana")
    Membership.objects.create(organization=acme, user=member, role=Role.OWNER)
    team = Team.objects.create(organization=acme, name="vision")
    cell = Cell.objects.get(name="default")
    node = Node.objects.create(
        cell=cell, pool=Pool.objects.get(cell=cell), name="n1", credential_hash="secret-hash", reachable=True
    )
    NodeContact.objects.create(node=node, seen_at=timezone.now())
    Chip.objects.create(node=node, cell=cell, index=0, type="cpu", memory_mib=100, memory_ceiling_mib=100)
    job = Job.objects.create(
        organization=acme, team=team, cell=cell, user=member, name="<script>alert(1)</script>", spec={},
        effective_spec={}, submitted_at=timezone.now(),
    )  # fmt: skip
    attempt = Attempt.objects.create(
        organization=acme, cell=cell, job=job, number=1, state="ended", placed_at=timezone.now()
    )
    Event.objects.create(at=timezone.now(), job=job, kind="job.submitted", sentence="Submitted.")
    cycle = Cycle.objects.create(cell=cell, started_at=timezone.now(), error="Traceback: <b>it broke</b>")
    asked = {"chips": 8, "milli": 0, "chip_memory_mib": 0, "chip_types": ["<script>alert(1)"], "cpu_milli": 4_000,
             "memory_mib": 512, "isolation": None}  # fmt: skip
    Mix.objects.create(cell=cell, requests=[[asked, 3]], learned_at=timezone.now())
    Verdict.objects.create(job=job, since=timezone.now(), code="no_chips", sentence="No chips.")
    Quarantine.objects.create(job=job, law="no_overcommit", since=timezone.now())
    token = Token.objects.create(
        organization=acme, user=member, name="ci", hash="hash-of-a-secret", expires_at=timezone.now()
    )
    return {
        "team": team,
        "cell": cell,
        "node": node,
        "job": job,
        "attempt": attempt,
        "cycle": cycle,
        "token": token,
    }
