"""A cell to schedule in: real rows, made as briefly as a test needs them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.db.models import F

from flexai.cluster.models import Cell, Chip, Node, Pool
from flexai.common import clock
from flexai.jobs.models import Attempt, Job, JobSet
from flexai.tenancy.models import Organization, Quota, Team, TeamUse, User
from scheduler_core.slices import host_cpu_claim

_numbers = itertools.count(1)
COLUMNS = ("start_after", "reason_code", "set", "index", "priority")


@dataclass
class World:
    """One cell with a pool, one organization with a team."""

    cell: Cell = field(default_factory=lambda: Cell.objects.create(name=f"cell-{next(_numbers)}"))

    def __post_init__(self) -> None:
        number = next(_numbers)
        self.pool = Pool.objects.create(cell=self.cell, name="default")
        self.organization = Organization.objects.create(slug=f"org-{number}", name=f"Org {number}")
        self.team = self.a_team("research")
        self.user = User.objects.create(username=f"ana-{number}")

    def a_team(self, name: str, *, parent: Team | None = None) -> Team:
        return Team.objects.create(organization=self.organization, name=name, parent=parent)

    def a_quota(
        self, team: Team, *, guaranteed: int = 0, limit: int | None = None, type: str = "H100"
    ) -> Quota:
        return Quota.objects.create(
            team=team, cell=self.cell, chip_type=type, guaranteed_milli=guaranteed, limit_milli=limit
        )

    def a_node(
        self,
        name: str = "",
        *,
        chips: int = 0,
        cpu: int = 8000,
        memory: int = 64_000,
        type: str = "H100",
        claims: int = 0,
    ) -> Node:
        number = next(_numbers)
        node = Node.objects.create(
            cell=self.cell, pool=self.pool, name=name or f"node-{number}", reachable=True,
            credential_hash=f"hash-{self.cell.pk}-{number}", cpu_milli=cpu, memory_mib=memory,
            cpu_ceiling_milli=cpu, memory_ceiling_mib=memory,
        )  # fmt: skip
        Chip.objects.bulk_create(
            Chip(
                node=node, cell=self.cell, index=index, type=type, memory_mib=80_000,
                memory_ceiling_mib=80_000, isolation=["exclusive", "cooperative"], host_cpu_milli=claims,
            )
            for index in range(chips)
        )  # fmt: skip
        return node

    def a_job(
        self, name: str = "train", *, team: Team | None = None, state: str = "queued", **asks: Any
    ) -> Job:
        return Job.objects.create(**self._job(name, team or self.team, state, asks))

    def jobs(self, count: int, **asks: Any) -> list[Job]:
        return Job.objects.bulk_create(
            Job(**self._job(f"job-{n}", self.team, "queued", dict(asks))) for n in range(count)
        )

    def a_set(self, *, size: int, cap: int | None) -> JobSet:
        return JobSet.objects.create(
            organization=self.organization, team=self.team, name="sweep", size=size, cap=cap
        )

    def _job(self, name: str, team: Team, state: str, asks: dict[str, Any]) -> dict[str, Any]:
        columns = {key: asks.pop(key) for key in COLUMNS if key in asks}
        preemptible = asks.pop("preemptible", True)
        replicas = asks.pop("replicas", 1)
        effective = {
            "name": name,
            "type": "task",
            "commands": ["true"],
            "resources": {
                "chips": asks.pop("chips", 0),
                "chip_types": list(asks.pop("types", ())),
                "milli": asks.pop("milli", 0),
                "chip_memory_mib": 0,
                "cpu_milli": asks.pop("cpu", 100),
                "memory_mib": asks.pop("memory", 100),
                "isolation": None,
            },
            "replicas": {"min": replicas, "max": replicas, "spread": asks.pop("spread", True)},
            "node_pools": asks.pop("pools", []),
            "min_runtime_ms": 0,
            "max_duration_ms": None,
            "lease_ms": 600_000,
        }
        assert not asks, f"unknown: {asks}"
        return {
            "organization": self.organization,
            "team": team,
            "cell": self.cell,
            "user": self.user,
            "name": name,
            "state": state,
            "status": state,
            "spec": {},
            "effective_spec": effective,
            "submitted_at": clock.now(),
            "preemptible": preemptible,
            **columns,
        }


def end(attempt: Attempt, *, job_state: str = "succeeded") -> None:
    """End an attempt as `jobs.ending` does, with the ORM, in one transaction and the common lock order."""
    with transaction.atomic():
        job = Job.objects.select_for_update().get(pk=attempt.job_id)
        attempt = Attempt.objects.select_for_update().get(pk=attempt.pk)
        if attempt.state == "ended":
            return
        replicas = list(attempt.replicas.select_for_update().order_by("pk"))
        list(Node.objects.select_for_update().filter(replicas__in=replicas).order_by("pk").values_list("pk"))
        shares = list(attempt.allocations.filter(active=True).select_related("chip").order_by("chip_id"))
        for replica in replicas:
            claimed = sum(
                host_cpu_claim(s.milli, s.chip.host_cpu_milli) for s in shares if s.replica_id == replica.pk
            )
            Node.objects.filter(pk=replica.node_id).update(
                used_cpu_milli=F("used_cpu_milli") - replica.cpu_milli - claimed,
                used_memory_mib=F("used_memory_mib") - replica.memory_mib,
            )
        for share in shares:
            Chip.objects.filter(pk=share.chip_id).update(
                used_milli=F("used_milli") - share.milli,
                used_memory_mib=F("used_memory_mib") - share.memory_mib,
            )
        team: Team | None = job.team
        while team is not None:
            for kind in {share.chip.type for share in shares}:
                milli = sum(share.charge_milli for share in shares if share.chip.type == kind)
                TeamUse.objects.filter(team=team, cell_id=job.cell_id, chip_type=kind).update(
                    used_milli=F("used_milli") - milli
                )
            team = team.parent
        attempt.allocations.update(active=False)
        attempt.replicas.update(state="ended")
        Attempt.objects.filter(pk=attempt.pk).update(state="ended", outcome="succeeded", ended_at=clock.now())
        Job.objects.filter(pk=job.pk).update(state=job_state, status=job_state, version=F("version") + 1)


def counters_agree(cell: Cell) -> None:
    """Law 8: every counter is the sum of what is live."""
    with connection.cursor() as cursor:
        for what, statement in _SUMS.items():
            cursor.execute(statement, {"cell": cell.pk})
            assert cursor.fetchall() == [], what


_SUMS = {
    "nodes": """
        SELECT n.id, n.used_cpu_milli, n.used_memory_mib, coalesce(l.cpu, 0), coalesce(l.memory, 0)
          FROM cluster_node n LEFT JOIN (
               SELECT r.node_id, sum(r.memory_mib) AS memory, sum(r.cpu_milli + coalesce((
                      SELECT sum(a.cpu_milli) FROM jobs_allocation a
                        JOIN cluster_chip c ON c.id = a.chip_id WHERE a.replica_id = r.id), 0)) AS cpu
                 FROM jobs_replica r JOIN jobs_attempt t ON t.id = r.attempt_id
                WHERE t.state <> 'ended' GROUP BY r.node_id) l ON l.node_id = n.id
         WHERE n.cell_id = %(cell)s
           AND (n.used_cpu_milli <> coalesce(l.cpu, 0) OR n.used_memory_mib <> coalesce(l.memory, 0))""",
    "chips": """
        SELECT c.id, c.used_milli, c.used_memory_mib, l.milli, l.memory
          FROM cluster_chip c LEFT JOIN (
               SELECT chip_id, sum(milli) FILTER (WHERE kind = 'owned') AS milli,
                      sum(memory_mib) FILTER (WHERE kind = 'owned') AS memory,
                      sum(milli) FILTER (WHERE kind = 'guest') AS guest,
                      sum(memory_mib) FILTER (WHERE kind = 'guest') AS guest_memory
                 FROM jobs_allocation WHERE active GROUP BY chip_id) l ON l.chip_id = c.id
         WHERE c.cell_id = %(cell)s
           AND (c.guest_milli <> coalesce(l.guest, 0) OR c.guest_memory_mib <> coalesce(l.guest_memory, 0)
                OR c.used_milli <> coalesce(l.milli, 0) OR c.used_memory_mib <> coalesce(l.memory, 0))""",
    "team use": """
        WITH RECURSIVE line (base, team) AS (
             SELECT id, id FROM tenancy_team
             UNION ALL SELECT line.base, t.parent_id FROM line JOIN tenancy_team t ON t.id = line.team
              WHERE t.parent_id IS NOT NULL),
        live AS (
             SELECT line.team, c.type, sum(a.charge_milli) AS milli
               FROM jobs_allocation a JOIN cluster_chip c ON c.id = a.chip_id
               JOIN jobs_attempt t ON t.id = a.attempt_id JOIN jobs_job j ON j.id = t.job_id
               JOIN line ON line.base = j.team_id
              WHERE a.active AND j.cell_id = %(cell)s GROUP BY line.team, c.type)
        SELECT coalesce(u.team_id, l.team), u.used_milli, l.milli
          FROM (SELECT * FROM tenancy_teamuse WHERE cell_id = %(cell)s) u
          FULL JOIN live l ON l.team = u.team_id AND l.type = u.chip_type
         WHERE coalesce(u.used_milli, 0) <> coalesce(l.milli, 0)""",
}
