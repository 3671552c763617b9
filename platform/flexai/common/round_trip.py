"""Statements that go to the server in one message, and whose answers come back in one.

psycopg's own pipeline sends each statement by itself and makes a cursor for it: of what a single start costs, that was
more than a tenth. Here they are bound, sent and read by libpq alone. Plans are psycopg's: it knows which the connection
has, and forgets them all after a rollback; what statements answer is read by its loaders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import psycopg
from psycopg._preparing import Prepare
from psycopg.abc import PQGen
from psycopg.adapt import Transformer
from psycopg.generators import fetch_many, send
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus, abc

Row: TypeAlias = tuple[Any, ...]
_UNKNOWN, _BOOL, _INT8, _TIMESTAMPTZ = 0, 16, 20, 1184
"""Types that a value is sent as; the server makes of an unknown one what the statement needs there."""


class Answer:
    """What one statement answered, once the round trip is over."""

    __slots__ = ("_next", "_rows", "rowcount")

    def __init__(self) -> None:
        self.rowcount = -1
        self._rows: list[Row] = []
        self._next = 0

    def heard(self, rows: list[Row], rowcount: int) -> None:
        """This is the answer."""
        self._rows, self.rowcount = rows, rowcount

    def fetchone(self) -> Row | None:
        """The next row."""
        if self._next >= len(self._rows):
            return None
        self._next += 1
        return self._rows[self._next - 1]

    def __iter__(self) -> Iterator[Row]:
        while (row := self.fetchone()) is not None:
            yield row


class RoundTrip:
    """Some statements for one connection, done in their order, inside its transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._sent: list[tuple[_Bound, Answer]] = []

    def send(self, statement: str, parameters: Mapping[str, Any]) -> Answer:
        """It goes along. Parameters are named as psycopg names them: `%(name)s`."""
        answer = Answer()
        self._sent.append((_bind(statement, parameters), answer))
        return answer

    def execute(self, query: str, params: Sequence[Any], /, *, prepare: bool | None = True) -> Answer:
        """The same for parameters in order, `%s`, as a cursor takes them. It is always prepared."""
        return self.send(query, {str(at): value for at, value in enumerate(params)})

    def run(self) -> None:
        """All answers are there. Raises the error of the first statement that failed; those after it are not done."""
        if not self._sent:
            return
        raw = self._connection
        plans = {bound.plan: raw._prepared.get(bound.plan, prepare=True) for bound, _ in self._sent}  # type: ignore[arg-type]
        with raw.lock:
            results = self._exchange(plans)
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result, encoding=raw.info.encoding)
        for plan, (is_known, name) in plans.items():
            raw._prepared.maybe_add_to_cache(plan, is_known, name)  # type: ignore[arg-type]
        read = Transformer(raw)
        for (_, answer), result in zip(self._sent, results[-len(self._sent) :], strict=True):
            rows: list[Row] = []
            if result.status == ExecStatus.TUPLES_OK:
                read.set_pgresult(result)
                rows = read.load_rows(0, result.ntuples, tuple)
            answer.heard(rows, result.command_tuples or 0)

    def _exchange(self, plans: Mapping[_Plan, tuple[Prepare, bytes]]) -> list[abc.PGresult]:
        """One result for each command, the statements' at the end."""
        raw, pgconn = self._connection, self._connection.pgconn
        if pgconn.status != ConnStatus.OK:
            raise psycopg.OperationalError("the connection is closed")
        commands = len(self._sent)
        pgconn.enter_pipeline_mode()
        try:
            if not raw.autocommit and pgconn.transaction_status == TransactionStatus.IDLE:
                pgconn.send_query_params(b"BEGIN", None)
                commands += 1
            for plan, (is_known, name) in plans.items():
                if is_known is Prepare.SHOULD:
                    pgconn.send_prepare(name, plan.query, plan.types)
                    commands += 1
            for bound, _ in self._sent:
                pgconn.send_query_prepared(plans[bound.plan][1], bound.values)
            pgconn.pipeline_sync()
            return raw.wait(_heard(pgconn, commands))
        finally:
            if pgconn.status == ConnStatus.OK:
                pgconn.exit_pipeline_mode()


class _Plan(NamedTuple):
    """A statement is planned for the types of its values."""

    query: bytes
    types: tuple[int, ...]


class _Bound(NamedTuple):
    plan: _Plan
    values: list[bytes | None]


_NAMED = re.compile(r"%\((\w+)\)s|%%|%s")


def _heard(pgconn: abc.PGconn, commands: int) -> PQGen[list[abc.PGresult]]:
    """A generator as psycopg's connections wait for them: the results of so many commands, and the end of the trip."""
    yield from send(pgconn)
    results: list[abc.PGresult] = []
    for _ in range(commands):
        results += yield from fetch_many(pgconn)
    yield from fetch_many(pgconn)
    return results


@cache
def _read(statement: str) -> tuple[bytes, tuple[str, ...]]:
    """The statement as the server reads it, and the names of its values in order."""
    names: dict[str, int] = {}

    def numbered(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        return f"${names.setdefault(found[1] or str(len(names)), len(names) + 1)}"

    query = _NAMED.sub(numbered, statement)
    return query.encode(), tuple(names)


def _bind(statement: str, parameters: Mapping[str, Any]) -> _Bound:
    query, names = _read(statement)
    types, values = [], []
    for name in names:
        kind, value = _value(parameters[name])
        types.append(kind)
        values.append(value)
    return _Bound(_Plan(query, tuple(types)), values)


def _value(value: object) -> tuple[int, bytes | None]:
    """As it is sent, and as what. Raises TypeError for what no statement needed yet."""
    match value:
        case None:
            return _UNKNOWN, None
        case bool():
            return _BOOL, b"t" if value else b"f"
        case int():
            return _INT8, b"%d" % value
        case str():
            return _UNKNOWN, value.encode()
        case datetime():
            return _TIMESTAMPTZ, value.isoformat().encode()
    raise TypeError(f"a {type(value).__name__} is not sent in a round trip")
