"""Statements of use and cost: sums of the ledger by team, user, chip type, day or label, up to this second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from flexai.common.database import prepared_cursor
from flexai.common.errors import FieldError, InvalidInput, TooLarge
from flexai.jobs.ledger import AMOUNTS, COLUMNS, lines_of
from flexai.tenancy.models import Organization
from flexai.tenancy.principals import Principal
from flexai.tenancy.roles import Action

MAX_DAYS: Final = 400
MAX_ROWS: Final = 20_000
MAX_PARTS: Final = 3
"""Ways to break a statement down at once."""
MAX_LABEL: Final = 63
HOUR_MS: Final = 3_600_000

PARTS: Final[Mapping[str, str]] = {
    "team": "team_id",
    "user": "user_id",
    "chip_type": "chip_type",
    "day": "day",
}
"""What a statement is broken down by, and its column; `label:KEY` is one more kind."""
_NAMES: Final[Mapping[str, str]] = {
    "team": "(SELECT name FROM tenancy_team WHERE id = team_id)",
    "user": "(SELECT username FROM tenancy_user WHERE id = user_id)",
    "chip_type": "chip_type",
    "day": "day::text",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which use a statement is of; both days are in it."""

    first: date
    last: date
    by: tuple[str, ...] = ()
    team: str = ""
    """Name or public id; with the teams below it. Empty: all that the principal sees."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a statement. Times are chip-milliseconds, rounded down; cost is millionths of the currency."""

    parts: tuple[str | None, ...]
    """In the order of `Wanted.by`; None for a job without the label."""
    starting: int
    running: int
    stopping: int
    guest: int
    used: int
    measured: int
    energy: int
    """Millijoules, of `metered`."""
    metered: int
    ended: int
    cost: int

    @property
    def held(self) -> int:
        """What is paid for: everything but borrowed chips."""
        return self.starting + self.running + self.stopping

    @property
    def drawn(self) -> int | None:
        """Millijoules; None where no chip told its power."""
        return self.energy if self.metered else None


@dataclass(frozen=True, slots=True)
class Statement:
    """The rows in the order of their parts, and their sum, which is exact to the milli-chip millisecond."""

    rows: tuple[Row, ...]
    total: Row


def statement(principal: Principal, wanted: Wanted, now: datetime) -> Statement:
    """The use of the teams that the principal may see use of, in its organization, up to `now`.

    Raises InvalidInput for days or parts that are none, NotFound for a team it does not see, and TooLarge for more
    than 20,000 rows.
    """
    _check(wanted)
    teams = _teams(principal, wanted)
    labels = [part.removeprefix("label:") for part in wanted.by if part.startswith("label:")]
    values: dict[str, Any] = {
        "organization": principal.organization.pk,
        "teams": teams,
        "first": wanted.first,
        "last": wanted.last,
        "now": now,
        "most": MAX_ROWS + 1,
        **{f"label{number}": label for number, label in enumerate(labels)},
    }
    with prepared_cursor() as cursor:
        found = cursor.execute(_sql(wanted.by, teams is not None), values).fetchall()
    if len(found) > MAX_ROWS:
        raise TooLarge(
            f"The statement has more than {MAX_ROWS} rows; ask for fewer days or break it down by less."
        )
    parts = len(wanted.by)
    sums = [sum(int(row[parts + n]) for row in found) for n in range(len(AMOUNTS) + 1)]
    rows = tuple(_row(row[:parts], row[parts:]) for row in found)
    return Statement(rows, _row((), sums))


def organization_of(principal: Principal, slug: str) -> Principal:
    """The principal in the organization of this short name: its own, or for an operator any. Raises InvalidInput."""
    if not slug or slug == principal.organization.slug:
        return principal
    found = Organization.objects.filter(slug=slug).first() if principal.may(Action.SEE_EVERYBODY) else None
    if found is None:
        message = f"there is no organization {slug[:63]!r} that you can see"
        raise InvalidInput(f"T{message[1:]}.", errors=[FieldError("organization", message)])
    return Principal(principal.user, found, None, principal.scopes)


def _row(parts: Sequence[Any], amounts: Sequence[Any]) -> Row:
    *times, energy, metered, ended, cost = (int(amount) for amount in amounts)
    starting, running, stopping, guest, used, measured = (milli // 1000 for milli in times)
    return Row(
        tuple(parts), starting, running, stopping, guest, used, measured, energy, metered // 1000, ended, cost
    )


def _check(wanted: Wanted) -> None:
    errors = []
    if wanted.last < wanted.first:
        errors.append(FieldError("to", "lies before `from`"))
    elif wanted.last - wanted.first > timedelta(days=MAX_DAYS):
        errors.append(FieldError("to", f"lies more than {MAX_DAYS} days after `from`"))
    if len(wanted.by) > MAX_PARTS or len(set(wanted.by)) < len(wanted.by):
        errors.append(FieldError("by", f"at most {MAX_PARTS} different ones"))
    for part in wanted.by:
        label = part.removeprefix("label:")
        if part not in PARTS and not (part.startswith("label:") and 1 <= len(label) <= MAX_LABEL):
            hint = f"give {', '.join(PARTS)} or label:KEY"
            errors.append(FieldError("by", f"there is no {part[:80]!r}", hint))
    if errors:
        raise InvalidInput("There is no such statement.", errors=errors)


def _teams(principal: Principal, wanted: Wanted) -> list[int] | None:
    """Primary keys; None for every team of the organization."""
    if wanted.team:
        top = principal.seat(wanted.team)
        principal.require(Action.SEE_USAGE, top.pk)
        below, seats = {top.pk}, list(principal.teams)
        while more := {seat.pk for seat in seats if seat.parent in below} - below:
            below |= more
        return sorted(below)
    if principal.may(Action.SEE_USAGE):
        return None
    return [seat.pk for seat in principal.teams if principal.may(Action.SEE_USAGE, seat.pk)]


def _sql(by: Sequence[str], some_teams: bool) -> str:
    """First summed by the parts, day and type, because a price is of a day and type; then priced, then by the parts."""
    where = "organization_id = %(organization)s AND day BETWEEN %(first)s AND %(last)s"
    live = "a.state <> 'ended' AND a.organization_id = %(organization)s"
    if some_teams:
        where += " AND team_id = ANY(%(teams)s)"
        live += " AND j.team_id = ANY(%(teams)s)"
    keys, names, label = [], [], 0
    for number, part in enumerate(by):
        if part in PARTS:
            keys.append(f"{PARTS[part]} AS part{number}")
            names.append(_NAMES[part].replace(PARTS[part], f"part{number}"))
        else:
            keys.append(f"labels->>%(label{label})s AS part{number}")
            names.append(f"part{number}")
            label += 1
    parts = ", ".join(f"part{number}" for number in range(len(by)))
    names_in_order = ", ".join(str(number + 1) for number in range(len(by)))
    comma = ", " if by else ""
    grouped = f"GROUP BY {parts} ORDER BY {names_in_order}" if by else "HAVING count(*) > 0"
    amounts = ", ".join(AMOUNTS)
    sums = ", ".join(f"sum({name}) AS {name}" for name in AMOUNTS)
    sources = f"""
        SELECT {COLUMNS}, {amounts} FROM tenancy_usageday WHERE {where}
        UNION ALL SELECT {COLUMNS}, {amounts} FROM tenancy_usageline WHERE NOT settled AND {where}
        UNION ALL SELECT {COLUMNS}, {amounts} FROM ({lines_of(live, "%(now)s")}) AS live WHERE {where}"""  # noqa: S608
    return f"""
        SELECT {", ".join(names)}{comma}{sums}, floor(sum(cost)) FROM (
            SELECT {parts}{comma}{amounts},
                (starting + running + stopping) * coalesce(price.micro_per_chip_hour, 0) / {1000 * HOUR_MS} AS cost
            FROM (
                SELECT {", ".join(keys)}{comma}day AS on_day, chip_type AS of_type, {sums}
                FROM ({sources}) AS lines GROUP BY {parts}{comma}on_day, of_type) AS summed
            LEFT JOIN LATERAL (
                SELECT micro_per_chip_hour FROM tenancy_price
                WHERE chip_type = of_type AND from_day <= on_day ORDER BY from_day DESC LIMIT 1) AS price ON true
        ) AS priced {grouped}
        LIMIT %(most)s"""  # noqa: S608 - constants and numbers alone
