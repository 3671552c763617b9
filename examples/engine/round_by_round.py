"""Compare yourself with Flexai: your simulator keeps its own jobs and nodes, and asks the engine once a round."""

import random
from dataclasses import dataclass

from scheduler_core import Policy, Snapshot, decide
from scheduler_core.model import Chip, Gang, Job, Node, Placement, Pool, Request, Running, Team

ROUND, RESTART = 300_000, 30_000  # milliseconds: a decision every five minutes; a restart loses 30 s
POOL, TEAM = Pool(1, "mine"), Team(1, "mine", organization=1)
NODES = tuple(Node(n, f"node-{n}", pool=1, cpu=64_000, memory=512_000) for n in range(1, 5))
CHIPS = tuple(Chip(n.id * 8 + i, n.id, i, "A100", memory=40_000) for n in NODES for i in range(8))


@dataclass
class MyJob:
    id: int
    arrival: int
    chips: int
    left: int  # milliseconds of work on its chips; the engine is not told
    attained: int = 0  # chip-milliseconds so far
    since: int = -1  # when it was started last; -1: it waits
    places: tuple[Placement, ...] = ()
    end: int = 0

    def row(self) -> Job | Running:
        gang, common = Gang(Request(chips=self.chips)), {"preemptible": True, "checkpoint": True}
        common |= {"attained": self.attained, "submitted": self.arrival, "restart_cost": RESTART}
        if self.since < 0:
            return Job(self.id, f"job-{self.id}", 1, 1, 1, gang, **common)
        return Running(self.id, self.id, 1, 1, self.places, gang=gang, started=self.since, **common)


def play(jobs: dict[int, MyJob], policy: Policy) -> tuple[float, int]:
    now = restarts = 0
    while not all(job.end for job in jobs.values()):
        rows = [job.row() for job in jobs.values() if job.arrival <= now and not job.end]
        waiting, running = (tuple(row for row in rows if isinstance(row, kind)) for kind in (Job, Running))
        for unit in decide(Snapshot(now, (POOL,), NODES, CHIPS, (TEAM,), waiting, running), policy).units:
            for taking in unit.takings:  # told to go: here its chips are free at once
                victim, restarts = jobs[taking.job], restarts + 1
                victim.since, victim.left = -1, victim.left + RESTART
            jobs[unit.start.job].since, jobs[unit.start.job].places = now, unit.start.placements
        now += ROUND
        for job in jobs.values():
            if job.since >= 0 and not job.end:
                job.left, job.attained = job.left - ROUND, job.attained + job.chips * ROUND
                job.end = now + job.left if job.left <= 0 else 0
    return sum(job.end - job.arrival for job in jobs.values()) / len(jobs) / 3_600_000, restarts


for name, levels in (("one level", ()), ("service levels", (3_600_000, 14_400_000, 57_600_000))):
    draw = random.Random(1)
    arrivals = [
        (draw.randrange(86_400_000), draw.choice([1, 1, 2, 4, 8]), draw.gauss(14, 1.5)) for _ in range(150)
    ]
    mine = {n: MyJob(n, at, chips, int(2.718**log)) for n, (at, chips, log) in enumerate(arrivals, 1)}
    hours, restarts = play(mine, Policy(service_levels=levels, max_moves=0))
    print(f"{name}: mean completion time {hours:.3f} h, {restarts} restarts")
