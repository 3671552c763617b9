"""How long a statement over a month of a million attempts takes, asked through the API.

The lines are written as the end of an attempt writes them (500 users in 25 teams, four chip types, a label with
twenty values), and settled by the statement that the worker runs.
"""

from __future__ import annotations

import time

import psycopg

from benchmarks.live import Live, platform
from benchmarks.reporting import Benchmark, Result, Target, main, percentile
from flexai.client import Client

ATTEMPTS = 1_000_000
DAYS = 30
TEAMS = 25
USERS = 500
ASKED = 7
"""Times of each question; the median is told."""
SETTLE_SECONDS = 900
QUESTIONS = {
    "by_team": "team",
    "by_team_and_day": "team,day",
    "by_user": "user",
    "by_label": "label:project",
}

_PEOPLE = """
INSERT INTO tenancy_team (public_id, organization_id, name, created_at, version, changed)
SELECT 'team-b' || n, (SELECT min(id) FROM tenancy_organization), 'bench-' || n, now(), 0, 0
FROM generate_series(1, %(teams)s) n;
INSERT INTO tenancy_user (password, is_superuser, username, first_name, last_name, email,
    is_staff, is_active, date_joined)
SELECT '!', false, 'bench-' || n, '', '', '', false, true, now() FROM generate_series(1, %(users)s) n
"""
_LINES = """
INSERT INTO tenancy_usageline (organization_id, team_id, user_id, day, chip_type, labels, attempt, starting, running,
    stopping, guest, used, measured, ended, settled)
SELECT (SELECT min(id) FROM tenancy_organization), teams.ids[1 + n %% %(teams)s], users.ids[1 + n %% %(users)s],
    current_date - (n %% %(days)s)::int, (ARRAY['H100-80GB', 'A100-40GB', 'L40S-48GB', '910B-64GB'])[1 + n / 7 %% 4],
    jsonb_build_object('project', 'p' || n / 11 %% 20), n, 5000000, 1000 * (60000 + n %% 9000000), 2000000, 0,
    500 * (60000 + n %% 9000000), 1000 * (60000 + n %% 9000000), 1, false
FROM generate_series(1, %(attempts)s) n,
    (SELECT array_agg(id ORDER BY id) ids FROM tenancy_team WHERE name LIKE 'bench-%%') teams,
    (SELECT array_agg(id ORDER BY id) ids FROM tenancy_user WHERE username LIKE 'bench-%%') users
"""


def measure() -> Result:
    """Milliseconds of a statement over a month of a million attempts, by team, day, user and label."""
    with platform("--no-agent", "--simulate", "1x8:H100-80GB") as live, live.client() as client:
        with psycopg.connect(
            host=str(live.folder / "data/postgres/socket"), dbname="flexai", user="flexai"
        ) as db:
            amounts = {"teams": TEAMS, "users": USERS, "days": DAYS, "attempts": ATTEMPTS}
            for statement in (*_PEOPLE.split(";"), _LINES):
                db.execute(statement, amounts)  # type: ignore[arg-type]
            db.commit()
            settling = _settled(live, db)
        figures = {f"{name}_ms": _median_ms(client, by) for name, by in QUESTIONS.items()}
    return {
        **figures,
        "slowest_ms": max(figures.values()),
        "settled_lines_per_second": round(ATTEMPTS / settling),
    }


def _settled(live: Live, db: psycopg.Connection[tuple[int]]) -> float:
    """Seconds until the worker has settled all lines."""
    began = time.monotonic()
    while time.monotonic() - began < SETTLE_SECONDS:
        row = db.execute("SELECT count(*) FROM tenancy_usageline WHERE NOT settled").fetchone()
        db.commit()
        if row == (0,):
            return time.monotonic() - began
        time.sleep(1)
    raise RuntimeError(f"not all lines were settled within {SETTLE_SECONDS} s by {live.url}")


def _median_ms(client: Client, by: str) -> float:
    times = []
    for _ in range(ASKED):
        began = time.perf_counter()
        told = client.usage(by=by)
        times.append(1000 * (time.perf_counter() - began))
    if told["total"]["attempts"] != ATTEMPTS:
        raise RuntimeError(
            f"{ATTEMPTS} attempts are in the ledger, and {told['total']['attempts']} in the statement"
        )
    return round(percentile(times, 500), 1)


BENCHMARK = Benchmark("ledger", measure, {"slowest_ms": Target(1000, at_least=False, unit="ms")})

if __name__ == "__main__":
    main(BENCHMARK)
