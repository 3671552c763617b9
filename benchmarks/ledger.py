"""How long a statement over a month of a million attempts takes, asked through the API.

The lines are those that the ends of attempts write (500 users in 25 teams, four chip types, a label with twenty
values), settled by the statement that the worker runs: most of them at once, the last ones as the worker does it, in
the table as it is then. Some are left for the statement to add.

The processor time of a question, of the web process and of PostgreSQL together, is told beside: it says more than the
clock where the machine has other work.
"""

from __future__ import annotations

import http.client
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.cluster import cpu_ms, servers, web
from benchmarks.filling import empty
from benchmarks.reporting import Benchmark, Result, Target, main, percentile

ATTEMPTS: Final = 1_000_000
SETTLED_LAST: Final = 100_000
UNSETTLED: Final = 1000
"""More than end between two times that the worker settles, half a minute apart."""
DAYS: Final = 30
TEAMS: Final = 25
USERS: Final = 500
ASKED: Final = 7
"""Times of each question; the median is told."""
QUESTIONS: Final = {
    "by_team": "team",
    "by_team_and_day": "team,day",
    "by_user": "user",
    "by_label": "label:project",
}


def measure() -> Result:
    """Milliseconds of a statement over a month of a million attempts, by team, day, user and label."""
    folder = Path(tempfile.mkdtemp(prefix="flexai-bench-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        with servers(folder) as database:
            return _measure(folder, database)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(folder: Path, database: int) -> Result:
    token, rate = _fill(), _settled_per_second()
    figures: dict[str, float] = {}
    with web(folder / "web.json") as (port, pid, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for name, by in QUESTIONS.items():
            used = cpu_ms(pid, database)
            times = [_ask(connection, token, by) for _ in range(ASKED)]
            figures[f"{name}_ms"] = round(percentile(times, 500), 1)
            figures[f"{name}_cpu_ms"] = round((cpu_ms(pid, database) - used) / ASKED, 1)
        connection.close()
    slowest = max(figures[f"{name}_ms"] for name in QUESTIONS)
    return {**figures, "slowest_ms": slowest, "settled_lines_per_second": round(rate)}


def _fill() -> str:
    """All lines are there, and all but the last ones are settled; a token of who may see them."""
    from flexai.jobs import ledger
    from flexai.tenancy.models import Membership, Organization, Team, User
    from flexai.tenancy.tokens import create_token

    organization = Organization.objects.create(slug="bench", name="Bench")
    teams = [Team(organization=organization, name=f"bench-{n}", public_id=f"team-b{n}") for n in range(TEAMS)]
    users = [User(username=f"bench-{n}") for n in range(USERS)]
    Team.objects.bulk_create(teams)
    User.objects.bulk_create(users)
    asks = User.objects.create(username="asks")
    Membership.objects.create(organization=organization, user=asks, role="owner")
    places = {"organization": organization.pk, "teams": [one.pk for one in teams], "days": DAYS}
    places |= {"users": [one.pk for one in users]}
    last = ATTEMPTS - SETTLED_LAST - UNSETTLED
    with empty("tenancy_usageline", "tenancy_usageday") as cursor:
        cursor.execute(_LINES, places | {"first": 1, "last": last})
        ledger.settle(last)
        cursor.execute(_LINES, places | {"first": last + 1, "last": ATTEMPTS})
    return create_token(asks, organization, "bench", ["read"], 2)[1]


def _settled_per_second() -> float:
    """The last lines are settled by transactions as the worker's; at what rate."""
    from flexai.jobs import ledger

    began = time.perf_counter()
    left = SETTLED_LAST
    while left:
        left -= ledger.settle(min(left, ledger.SETTLED_AT_ONCE))
    return SETTLED_LAST / (time.perf_counter() - began)


def _ask(connection: http.client.HTTPConnection, token: str, by: str) -> float:
    began = time.perf_counter()
    connection.request("GET", f"/api/v1/usage?by={by}", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    told = json.loads(answer.read())
    taken = 1000 * (time.perf_counter() - began)
    if answer.status != http.client.OK or told["total"]["attempts"] != ATTEMPTS:
        raise RuntimeError(
            f"{ATTEMPTS} attempts are in the ledger; the statement by {by} was answered with {answer.status}: "
            f"{json.dumps(told)[-300:]}"
        )
    return taken


_LINES: Final = """
INSERT INTO tenancy_usageline (organization_id, team_id, user_id, day, chip_type, labels, attempt, starting, running,
    stopping, guest, used, measured, ended, settled)
SELECT %(organization)s, (%(teams)s::bigint[])[1 + n %% array_length(%(teams)s::bigint[], 1)],
    (%(users)s::bigint[])[1 + n %% array_length(%(users)s::bigint[], 1)], current_date - (n %% %(days)s)::int,
    (ARRAY['H100-80GB', 'A100-40GB', 'L40S-48GB', '910B-64GB'])[1 + n / 7 %% 4],
    jsonb_build_object('project', 'p' || n / 11 %% 20), n, 5000000, 1000 * (60000 + n %% 9000000), 2000000, 0,
    500 * (60000 + n %% 9000000), 1000 * (60000 + n %% 9000000), 1, false
FROM generate_series(%(first)s, %(last)s) n
"""

BENCHMARK = Benchmark("ledger", measure, {"slowest_ms": Target(1000, at_least=False, unit="ms")})

if __name__ == "__main__":
    main(BENCHMARK)
