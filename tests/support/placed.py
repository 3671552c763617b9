"""Nodes with agents, and attempts placed on them with every counter moved as the scheduler moves it (law 8)."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from flexai.cluster.models import Cell, Chip, Node, NodeContact, Pool
from flexai.common import clock
from flexai.jobs.models import Allocation, Attempt, Job, Replica
from flexai.tenancy.models import Organization, Team, TeamUse, User
from node_agent import protocol

_numbers = itertools.count(1)


def credential_of(node: Node) -> str:
    """The credential that `PlacedWorld.a_node` gave it."""
    return f"flxa_test-{node.name}"


@dataclass
class PlacedWorld:
    """One cell, one organization with a team below another."""

    cell: Cell = field(default_factory=lambda: Cell.objects.create(name=f"placed-{next(_numbers)}"))

    def __post_init__(self) -> None:
        number = next(_numbers)
        self.pool = Pool.objects.create(cell=self.cell, name="default")
        self.organization = Organization.objects.create(slug=f"placed-{number}", name=f"Placed {number}")
        self.parent = Team.objects.create(organization=self.organization, name="research")
        self.team = Team.objects.create(organization=self.organization, name="vision", parent=self.parent)
        self.user = User.objects.create(username=f"placed-{number}")

    def a_node(self, *, chips: int = 0, cpu: int = 64_000, host_cpu: int = 0, reachable: bool = True) -> Node:
        name = f"node-{next(_numbers)}"
        node = Node.objects.create(
            cell=self.cell, pool=self.pool, name=name, reachable=reachable, cpu_milli=cpu, memory_mib=64_000,
            cpu_ceiling_milli=cpu, memory_ceiling_mib=64_000, address="10.0.0.1",
            credential_hash=hashlib.sha256(f"flxa_test-{name}".encode()).hexdigest(),
        )  # fmt: skip
        NodeContact.objects.create(node=node, boot_id="boot-1", seen_at=clock.now(), renewed_at=clock.now())
        for index in range(chips):
            Chip.objects.create(
                node=node, cell=self.cell, index=index, type="H100", memory_mib=80_000, memory_ceiling_mib=80_000,
                host_cpu_milli=host_cpu, isolation=["exclusive"],
            )  # fmt: skip
        return node

    def placed(
        self,
        *nodes: Node,
        milli: int = 0,
        cpu: int = 50,
        memory: int = 10,
        state: str = "placed",
        retry: dict[str, Any] | None = None,
        lease_ms: int | None = 600_000,
        number: int = 1,
        job: Job | None = None,
        **spec: Any,
    ) -> Attempt:
        """A live attempt with a replica on each node in turn, each on the node's first chip when `milli` is given."""
        now = clock.now()
        effective = {
            "name": "train", "type": "task", "commands": ["true"], "env": {"MINE": "1"}, "files": {}, "working_dir": "",
            "resources": {"chips": 1 if milli == 1000 else 0, "milli": milli, "cpu_milli": cpu, "memory_mib": memory},
            "retry": retry or {"limit": 0, "on": [], "exit_codes": []}, "lease_ms": lease_ms, "grace_ms": 5000,
            "max_duration_ms": None, **spec,
        }  # fmt: skip
        job = job or Job.objects.create(
            organization=self.organization, team=self.team, cell=self.cell, user=self.user, name="train",
            state="active", status="starting", spec={}, effective_spec=effective, submitted_at=now,
            attempts_count=1,
        )  # fmt: skip
        attempt = Attempt.objects.create(
            organization=self.organization, cell=self.cell, job=job, number=number, lease_ms=lease_ms,
            placed_at=now, state=state,
        )  # fmt: skip
        for index, node in enumerate(nodes):
            self._replica(attempt, index, node, milli=milli, cpu=cpu, memory=memory)
        return attempt

    def _replica(
        self, attempt: Attempt, index: int, node: Node, *, milli: int, cpu: int, memory: int
    ) -> None:
        replica = Replica.objects.create(
            attempt=attempt, index=index, node=node, cpu_milli=cpu, memory_mib=memory
        )
        held = cpu
        if milli:
            chip = node.chips.order_by("index").filter(used_milli__lte=1000 - milli).first()
            assert chip is not None, "the node is full"
            Allocation.objects.create(
                attempt=attempt,
                replica=replica,
                chip=chip,
                milli=milli,
                memory_mib=1000,
                charge_milli=milli,
                cpu_milli=-(-milli * chip.host_cpu_milli // 1000),
            )
            chip.used_milli += milli
            chip.used_memory_mib += 1000
            chip.save()
            held += -(-milli * chip.host_cpu_milli // 1000)
            for team in (self.team, self.parent):
                use, _ = TeamUse.objects.get_or_create(cell=self.cell, team=team, chip_type=chip.type)
                use.used_milli += milli
                use.save()
        node.refresh_from_db()
        node.used_cpu_milli += held
        node.used_memory_mib += memory
        node.save()

    def assert_counters_agree(self) -> None:
        """Every counter is the sum of what live attempts hold: nothing leaks, nothing is freed twice."""
        chips: Counter[int] = Counter()
        memory: Counter[int] = Counter()
        teams: Counter[tuple[int, str]] = Counter()
        cpu: Counter[int] = Counter()
        host: Counter[int] = Counter()
        for one in Allocation.objects.filter(active=True, attempt__cell=self.cell).select_related("chip"):
            assert one.attempt.state != "ended", "an ended attempt still holds a chip"
            chips[one.chip_id] += one.milli
            memory[one.chip_id] += one.memory_mib
            cpu[one.chip.node_id] += -(-one.milli * one.chip.host_cpu_milli // 1000)
            for team in (self.team, self.parent):
                teams[team.pk, one.chip.type] += one.milli
        for replica in Replica.objects.filter(attempt__cell=self.cell).exclude(attempt__state="ended"):
            cpu[replica.node_id] += replica.cpu_milli
            host[replica.node_id] += replica.memory_mib
        for chip in Chip.objects.filter(cell=self.cell):
            assert (chip.used_milli, chip.used_memory_mib) == (chips[chip.pk], memory[chip.pk])
        for node in Node.objects.filter(cell=self.cell):
            assert (node.used_cpu_milli, node.used_memory_mib) == (cpu[node.pk], host[node.pk])
        for use in TeamUse.objects.filter(cell=self.cell):
            assert use.used_milli == teams[use.team_id, use.chip_type]


def report(attempt: Attempt, state: str, replica: int = 0, **more: Any) -> protocol.ReplicaReport:
    """What an agent reports; an end succeeds with code 0 unless told otherwise."""
    if state == "ended":
        more = {"outcome": "succeeded", "exit_code": 0, **more}
    return protocol.ReplicaReport(attempt=attempt.public_id, replica=replica, state=state, **more)  # type: ignore[arg-type]
