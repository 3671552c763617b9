"""Secrets of jobs: named at submit, looked up anew and given when an attempt starts (ADR 0038).

Given is to the node that a replica was placed on, from its placing until it runs, and to nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from flexai.common.database import prepared_cursor
from flexai.common.errors import FieldError, InvalidInput
from flexai.jobs.reports import MAX_INT32
from flexai.tenancy.principals import TeamSeat
from flexai.tenancy.team_secrets import unsealed, usable_by
from node_agent.protocol import MAX_ASKED, SecretsGiven

Asked = Sequence[tuple[str, int, int]]
"""(attempt, replica, generation)"""


@dataclass(slots=True)
class Answer:
    """What a node is given."""

    given: list[SecretsGiven] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    """Attempts that it asked for and whose replica is on another node."""


def check_named(secrets: Mapping[str, str], team: TeamSeat) -> None:
    """Raises InvalidInput for every secret that neither the team has nor one above it, with names that are near."""
    if not secrets:
        return
    usable = usable_by(team.pk)
    errors = [
        FieldError(
            f"secrets.{variable}", f"neither team {team.name} nor one above it has a secret {name}",
            _hint(name, usable, team),
        )
        for variable, name in secrets.items()
        if name not in usable
    ]  # fmt: skip
    if errors:
        raise InvalidInput(f"{errors[0].field}: {errors[0].message} ({errors[0].hint}).", errors=errors)


def check_asked(asked: Asked) -> None:
    """Raises InvalidInput when the message breaks the protocol."""
    if len(asked) > MAX_ASKED:
        raise InvalidInput(
            f"Secrets of {len(asked)} replicas are asked for; at most {MAX_ASKED} are at once."
        )
    for attempt, replica, generation in asked:
        if "\0" in attempt or not 0 <= replica <= MAX_INT32 or not 0 <= generation <= MAX_INT32:
            raise InvalidInput("A replica that secrets are asked for is none.")


def give_secrets(node_pk: int, asked: Asked) -> Answer:
    """What the node may have of what it asks for. Nothing is said of a replica that is not about to start there."""
    answer = Answer()
    rows = []
    with prepared_cursor() as cursor:
        columns = [list(column) for column in zip(*asked, strict=True)] or [[], [], []]
        for row in cursor.execute(_ASKED, columns, prepare=True).fetchall():
            if row[3] != node_pk:
                answer.foreign.append(row[0])
            elif row[4]:
                rows.append(row)
    usable = {team: usable_by(team) for team in {row[5] for row in rows}}
    named = [(row, msgspec.json.decode(row[7] or "{}")) for row in rows]
    pks = {usable[row[5]].get(name) for row, names in named for name in names.values()}
    values = unsealed([pk for pk in pks if pk is not None])
    for row, names in named:
        found = {variable: _value(usable[row[5]].get(name), values) for variable, name in names.items()}
        answer.given.append(_given(row, names, found))
    return answer


def _given(
    row: Sequence[Any], names: Mapping[str, str], found: Mapping[str, str | bool | None]
) -> SecretsGiven:
    attempt, replica, generation, *_, team, _ = row
    refused = next((_why(names[variable], value, team) for variable, value in found.items() if not value), "")
    values = {} if refused else {variable: str(value) for variable, value in found.items()}
    return SecretsGiven(attempt, replica, generation, values, refused)


def _value(pk: int | None, values: Mapping[int, str | None]) -> str | bool | None:
    """False where there is none, None where it cannot be read."""
    return values.get(pk, False) if pk is not None else False


def _why(name: str, value: str | bool | None, team: str) -> str:
    if value is None:
        return f"The secret {name} cannot be read: it was sealed under another key. It has to be set again."
    return f"The secret {name} is gone: neither team {team} nor one above it has it any more."


def _hint(name: str, usable: Mapping[str, int], team: TeamSeat) -> str:
    lower = {known.lower(): known for known in usable}
    near = get_close_matches(name.lower(), lower, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(lower[one] for one in near)}?"
    return f"a maintainer sets it: flexai secrets set {name} --team {team.name}"


_ASKED: Final = """
SELECT a.public_id, r.index, r.generation, r.node_id,
       r.state IN ('placed', 'starting') AND a.state NOT IN ('stopping', 'ended'),
       j.team_id, t.name, (j.effective_spec -> 'secrets')::text
FROM unnest(%s::text[], %s::int[], %s::int[]) AS asked(attempt, index, generation)
JOIN jobs_attempt a ON a.public_id = asked.attempt
JOIN jobs_replica r ON r.attempt_id = a.id AND r.index = asked.index AND r.generation = asked.generation
JOIN jobs_job j ON j.id = a.job_id JOIN tenancy_team t ON t.id = j.team_id
ORDER BY r.id
"""
