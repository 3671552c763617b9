"""The list of jobs among a million: every filter and every order, the first page and one in the middle of the rows.

Asked of one web process, 50 jobs a page, as a member of one small team, as an owner of the organization that has nine
tenths of all jobs, as an owner of one that has a hundredth, and as an operator. Two thousand jobs run, ten thousand
wait, the others are over; each has had an attempt with a replica and a chip, if it ever started.

The processor time of a question, of the web process and of PostgreSQL together, is told beside: it says more than the
clock where the machine has other work.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from benchmarks.cluster import cpu_ms, servers, web
from benchmarks.filling import empty
from benchmarks.reporting import Benchmark, Result, Target, main, percentile

if TYPE_CHECKING:
    from flexai.tenancy.principals import Principal

JOBS = int(os.environ.get("FLEXAI_BENCH_JOBS", "1000000"))
ASKED = 20
"""Times of each question; the first ones meet cold plans and pages."""
SHOWN = 10
"""Questions that are named."""
SMALL_TEAM = "small"
FILTERS: Mapping[str, Mapping[str, str]] = {
    "all": {},
    "running": {"status": "running"},
    "waiting": {"status": "queued,held"},
    "succeeded": {"status": "succeeded"},
    "failed": {"status": "failed,timed_out"},
    "team": {"team": "team-1"},
    "team, failed": {"team": "team-1", "status": "failed"},
    "small team": {"team": SMALL_TEAM},
    "user": {"user": "user-7"},
    "user, running": {"user": "user-7", "status": "running"},
    "name": {"name": "train-42"},
    "common label": {"label": "project:p3"},
    "any value of a label": {"label": "project"},
    "rare label": {"label": "sweep:s17"},
    "label nobody has": {"label": "project:none"},
    "label, failed": {"label": "project:p3", "status": "failed"},
    "set": {"set": "set-b17"},
    "schedule": {"schedule": "sched-b1"},
    "part of a name": {"q": "rain-42"},
    "part of many names": {"q": "train"},
    "part of no name": {"q": "nothing-like-it"},
    "beginning of an id": {"q": "job-b00000012"},
}
SORTED = ("all", "running", "waiting", "failed")
"""Filters that every order is tried with."""
SORTS = ("name", "priority", "status", "started_at", "ended_at", "submitted_at")


def measure() -> Result:
    """Milliseconds of a page of 50 jobs among a million, by every filter and order: p95 of the slowest question."""
    folder = Path(tempfile.mkdtemp(prefix="flexai-bench-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        with servers(folder) as database:
            return _measure(folder, _fill(), database)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(folder: Path, tokens: Mapping[str, str], database: int) -> Result:
    times: dict[str, list[float]] = {}
    used: dict[str, float] = {}
    with web(folder / "web.json") as (port, pid, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for who, token in tokens.items():
            for name, query in _questions(token):
                label, before = f"{who}: {name}", cpu_ms(pid, database)
                times[label] = [_ask(connection, token, query) for _ in range(ASKED)]
                used[label] = (cpu_ms(pid, database) - before) / ASKED
        connection.close()
    worst = {label: percentile(taken, 950) for label, taken in times.items()}
    everything = [one for taken in times.values() for one in taken]
    return {
        "slowest_p95_ms": round(max(worst.values()), 1),
        "p95_ms": round(percentile(everything, 950), 1),
        "p50_ms": round(percentile(everything, 500), 1),
        "slowest_cpu_ms": round(max(used.values()), 1),
        "p50_cpu_ms": round(percentile(list(used.values()), 500), 1),
        "jobs": JOBS,
        "questions": len(times),
        "slowest": {label: round(worst[label], 1) for label in _largest(worst)},
        "costliest": {label: round(used[label], 1) for label in _largest(used)},
    }


def _largest(figures: Mapping[str, float]) -> list[str]:
    return sorted(figures, key=lambda label: -figures[label])[:SHOWN]


def _questions(token: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Every filter newest first, and some in every order; the first page, and one in the middle where there is one."""
    seen = {seat.name for seat in _principal(token).teams}
    asked = [
        (name, dict(filter)) for name, filter in FILTERS.items() if filter.get("team", SMALL_TEAM) in seen
    ]
    asked += [
        (f"{name} by {sign}{sort}", dict(FILTERS[name]) | {"sort": sign + sort})
        for name in SORTED
        for sort in SORTS
        for sign in ("", "-")
    ]
    for name, query in asked:
        yield name, query
        cursor = _middle(token, query)
        if cursor is not None:
            yield f"{name}, in the middle", query | {"cursor": cursor}


def _middle(token: str, query: Mapping[str, str]) -> str | None:
    """A cursor as the API gives it, of a row that this question finds: the first of the younger half of all jobs, which
    is somewhere in any order."""
    from django.http import QueryDict
    from rest_framework.request import Request
    from rest_framework.test import APIRequestFactory

    from flexai.api import pagination
    from flexai.api.views.jobs import ORDERS, filter_from
    from flexai.jobs.queries import jobs_matching

    request = Request(APIRequestFactory().get("/", QueryDict(urlencode(query)).dict()))
    order = pagination.order_from(request, "-submitted_at", ORDERS)
    found = jobs_matching(_principal(token), filter_from(request))
    if order.nullable:
        found = found.filter(**{f"{order.column}__isnull": False})
    row = found.filter(pk__gte=JOBS // 2).order_by("pk").first()
    if row is None:
        return None
    value = None if order.column == "id" else getattr(row, order.column)
    return pagination._write_cursor((value, row.pk), order)


def _principal(token: str) -> Principal:
    from flexai.tenancy.tokens import principal_for_token

    return principal_for_token(token)


def _ask(connection: http.client.HTTPConnection, token: str, query: Mapping[str, str]) -> float:
    began = time.perf_counter()
    connection.request(
        "GET", f"/api/v1/jobs?{urlencode(query)}", headers={"Authorization": f"Bearer {token}"}
    )
    answer = connection.getresponse()
    body = answer.read()
    taken = 1000 * (time.perf_counter() - began)
    if answer.status != http.client.OK:
        raise RuntimeError(f"{query} was answered with {answer.status}: {body[:300]!r}")
    return taken


def _fill() -> dict[str, str]:
    """The rows are there, and analysed as autovacuum does it; a token for each who asks."""
    with empty(*_TABLES) as cursor:
        values = _places() | {"jobs": JOBS, "effective": json.dumps(_effective())}
        for statement in (_JOBS, *_OTHERS.split(";")):
            cursor.execute(statement, values)
    return _tokens()


def _places() -> dict[str, object]:
    """Eleven organizations with their teams, 500 users, 2,000 chips, 500 sets and a schedule; primary keys of all."""
    from flexai.cluster.models import Cell, Chip, Node, Pool
    from flexai.common import clock
    from flexai.jobs.models import JobSet, Schedule
    from flexai.tenancy.models import Organization, Team, User

    cell = Cell.objects.create(name="bench")
    pool = Pool.objects.create(cell=cell, name="bench")
    places = [Organization.objects.create(slug=f"org-{n}", name=f"Organization {n}") for n in range(1, 12)]
    teams = [Team(organization=places[0], name=f"team-{n}", public_id=f"team-b{n}") for n in range(39)]
    teams += [Team(organization=place, name=SMALL_TEAM, public_id=f"team-{place.slug}") for place in places]
    teams.insert(40, Team(organization=places[0], name="idle", public_id="team-idle"))
    Team.objects.bulk_create(teams)
    users = User.objects.bulk_create([User(username=f"user-{n}") for n in range(500)])
    nodes = Node.objects.bulk_create(
        [Node(cell=cell, pool=pool, name=f"bench-{n}", credential_hash=f"bench-{n}") for n in range(250)]
    )
    chips = Chip.objects.bulk_create(
        [
            Chip(node=node, cell=cell, index=index, type="H100-80GB", memory_mib=81559)
            for node in nodes
            for index in range(8)
        ]
    )
    of = {"organization": places[0], "team": teams[1]}
    sets = JobSet.objects.bulk_create(
        [JobSet(public_id=f"set-b{n}", name=f"sweep-{n}", size=100, **of) for n in range(500)]
    )
    schedule = Schedule.objects.create(
        public_id="sched-b1", name="nightly", user=users[0], cron="0 1 * * *", timezone="UTC", catch_up="skip",
        overlap="allow", spec={}, paused=True, next_at=clock.now(), **of,
    )  # fmt: skip
    rows = {
        "organizations": places,
        "teams": teams,
        "users": users,
        "nodes": nodes,
        "chips": chips,
        "sets": sets,
    }
    keys = {name: [row.pk for row in made] for name, made in rows.items()}
    return {**keys, "cell": cell.pk, "schedule": schedule.pk}


def _effective() -> dict[str, object]:
    from flexai.jobs import spec

    return spec.parse(
        {
            "name": "train", "commands": ["python train.py --epochs 90 --lr 0.1"], "priority": "normal",
            "env": {"DATA": "/data/imagenet", "WANDB_MODE": "offline"}, "labels": {"project": "p1"},
            "resources": {"accelerators": "H100-80GB:1", "cpus": 8, "memory": "64GiB"}, "retry": 2,
        }
    ).spec  # fmt: skip


def _tokens() -> dict[str, str]:
    from flexai.tenancy.models import Membership, Organization, Team, TeamMember, User
    from flexai.tenancy.tokens import create_token

    large, small = Organization.objects.get(slug="org-1"), Organization.objects.get(slug="org-2")
    tokens = {}
    people: Sequence[tuple[str, Organization, str | None, bool]] = (
        ("member", large, None, False), ("owner", large, "owner", False),
        ("owner of little", small, "owner", False), ("operator", large, "owner", True),
    )  # fmt: skip
    for who, organization, role, is_operator in people:
        user = User.objects.create(username=f"asks-{who.replace(' ', '-')}", is_staff=is_operator)
        if role is not None:
            Membership.objects.create(organization=organization, user=user, role=role)
        else:
            team = Team.objects.get(organization=organization, name=SMALL_TEAM)
            TeamMember.objects.create(team=team, user=user, role="member")
        tokens[who] = create_token(user, organization, "bench", ["read"], 2)[1]
    return tokens


_TABLES = (
    "jobs_job",
    "jobs_jobname",
    "jobs_attempt",
    "jobs_replica",
    "jobs_allocation",
    "scheduling_verdict",
)
_JOBS = """
INSERT INTO jobs_job (id, public_id, organization_id, team_id, cell_id, user_id, set_id, schedule_id, index, name,
    type, state, status, reason_code, sentence, priority, preemptible, spec, effective_spec, spec_version, labels,
    idempotency_hash, submitted_at, started_at, ended_at, attempts_count, failures, exit_code, outcome, version,
    changed)
SELECT n, 'job-b' || lpad(n::text, 18, '0'), of.organization, of.team, %(cell)s,
    (%(users)s::bigint[])[1 + abs(hashint8extended(n, 3)) %% 500],
    CASE WHEN n <= 50000 THEN (%(sets)s::bigint[])[1 + n / 100 %% 500] END,
    CASE WHEN n %% 1000 = 1 THEN %(schedule)s::bigint END,
    CASE WHEN n <= 50000 THEN n %% 100 END,
    'train-' || abs(hashint8extended(n, 4)) %% 5000, 'task',
    CASE was.status WHEN 'running' THEN 'active' ELSE was.status END, was.status, '',
    'As it is with jobs.', (ARRAY[50, 50, 50, 50, 50, 25, 75, 0, 100, 60])[1 + abs(hashint8extended(n, 5)) %% 10],
    true, '{}', %(effective)s::jsonb, 1,
    jsonb_build_object('project', 'p' || abs(hashint8extended(n, 6)) %% 20)
        || CASE WHEN n %% 50 = 0 THEN jsonb_build_object('sweep', 's' || n / 50 %% 1000) ELSE '{}' END,
    '', at.submitted, CASE WHEN was.started THEN at.submitted + interval '9 minutes' END,
    CASE WHEN was.started AND was.status <> 'running' THEN at.submitted + interval '2 hours' END,
    was.started::int, 0, CASE was.status WHEN 'succeeded' THEN 0 WHEN 'failed' THEN 1 END, '', 3, 0
FROM generate_series(1, %(jobs)s) n
CROSS JOIN LATERAL (SELECT now() - (%(jobs)s - n) * interval '9 seconds' AS submitted) at
CROSS JOIN LATERAL (SELECT abs(hashint8extended(n, 1)) %% 100 AS die, abs(hashint8extended(n, 2)) %% 100000 AS part) r
CROSS JOIN LATERAL (SELECT CASE
    WHEN n > %(jobs)s - 500 THEN 'held' WHEN n > %(jobs)s - 10500 THEN 'queued'
    WHEN n > %(jobs)s - 12500 THEN 'running' WHEN die < 84 THEN 'succeeded' WHEN die < 93 THEN 'failed'
    WHEN die < 97 THEN 'cancelled' ELSE 'timed_out' END AS status, n <= %(jobs)s - 10500 AS started) was
CROSS JOIN LATERAL (SELECT
    (%(organizations)s::bigint[])[place] AS organization,
    (%(teams)s::bigint[])[CASE WHEN place > 1 THEN 40 + place WHEN part %% 3000 = 0 THEN 40
        ELSE 1 + 38 * part / 100000 * part / 100000 END] AS team
    FROM (SELECT CASE part %% 10 WHEN 9 THEN 2 + part / 10 %% 10 ELSE 1 END AS place) p) of
"""
"""Teams are of very different size; a tenth of the jobs is of ten small organizations."""
_OTHERS = """
INSERT INTO jobs_attempt (id, public_id, organization_id, cell_id, job_id, number, state, outcome, contact_ok,
    stop_outcome, reason_code, sentence, placed_at, running_at, ended_at, cpu_time_ms, memory_peak_mib, use_permille,
    version, changed)
SELECT id, 'att-b' || lpad(id::text, 18, '0'), organization_id, cell_id, id, 1,
    CASE status WHEN 'running' THEN 'running' ELSE 'ended' END, '', true, '', '', '', started_at, started_at, ended_at,
    7200000, 2000, 400, 2, 0
FROM jobs_job WHERE started_at IS NOT NULL;
INSERT INTO jobs_replica (id, attempt_id, index, node_id, state, generation, cpu_milli, memory_mib, outcome, sentence,
    log_offset)
SELECT id, id, 0, (%(nodes)s::bigint[])[1 + id %% 250], state, 1, 8000, 65536, '', '', 0 FROM jobs_attempt;
INSERT INTO jobs_allocation (id, attempt_id, replica_id, chip_id, kind, milli, memory_mib, charge_milli, cpu_milli,
    active)
SELECT id, id, id, (%(chips)s::bigint[])[1 + id %% 2000], 'owned', 1000, 81559, 1000, 0, state <> 'ended'
FROM jobs_attempt;
INSERT INTO scheduling_verdict (job_id, since, code, sentence, reasons)
SELECT id, submitted_at, 'busy', 'All chips that it could use are taken.', '[]' FROM jobs_job WHERE state = 'queued';
INSERT INTO jobs_jobname (organization_id, name) SELECT DISTINCT organization_id, name FROM jobs_job
"""


BENCHMARK = Benchmark("lists", measure, {"slowest_p95_ms": Target(50, at_least=False, unit="ms")})

if __name__ == "__main__":
    os.environ.setdefault("FLEXAI_LOG_LEVEL", "WARNING")
    main(BENCHMARK)
