"""The backend that `ENGINE` names; Django asks for a module of this name."""

from __future__ import annotations

import select
from datetime import UTC, datetime
from functools import cache
from time import monotonic
from typing import Any, ClassVar

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import BaseTzLoader
from psycopg import Connection
from psycopg.adapt import AdaptersMap
from psycopg_pool import ConnectionPool


class Pool(ConnectionPool[Connection[Any]]):
    """Lends connections that are still open, whatever has become of the server meanwhile.

    psycopg's own check asks the server each time, and pauses a second, then two, then four after each connection
    that it finds dead: after a crash of the server everybody would wait in vain. Here a connection is looked at,
    which costs no round trip, and the dead ones are dropped at once.
    """

    def getconn(self, timeout: float | None = None) -> Connection[Any]:
        """A connection; raises PoolTimeout when there is none in time."""
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            lent = super().getconn(max(0.0, deadline - monotonic()))
            if is_still_open(lent):
                return lent
            lent.close()
            self.putconn(lent)


class Instants(BaseTzLoader):  # type: ignore[misc]  # untyped by the stubs
    """Reads what the server writes in UTC, as Django's connections ask it to, in an eighth of the time that psycopg's
    pattern takes in Python: its compiled one cannot be told Django's time zone. What Python has no instant for is
    read, and refused, by psycopg."""

    timezone = UTC

    def load(self, data: bytes) -> datetime:
        """The instant; raises psycopg.DataError where there is none."""
        try:
            return datetime.fromisoformat(str(data, "ascii"))
        except ValueError:
            return super().load(data)  # type: ignore[no-any-return]


class DatabaseWrapper(base.DatabaseWrapper):
    """Differs from Django's in its pool, in how it reads instants, and in that a thread may keep what the pool lent it
    (`keep_connection`)."""

    _connection_pools: ClassVar[dict[str, Pool]] = {}
    is_kept = False

    def connect(self) -> None:
        """Without an age at which a kept connection is given back."""
        super().connect()
        if self.is_kept:
            self.close_at = None

    def get_connection_params(self) -> dict[str, Any]:
        """As Django's, but for how instants are read (`Instants`)."""
        params = super().get_connection_params()
        if self.timezone == UTC:
            params["context"] = _reading_instants(params["context"])
        return params

    def close_if_unusable_or_obsolete(self) -> None:
        """A kept connection stays for the next request, unless the server has closed it meanwhile."""
        super().close_if_unusable_or_obsolete()
        if self.is_kept and self.connection is not None and not is_still_open(self.connection):
            self.close()

    @property
    def pool(self) -> Pool | None:
        """The process's pool for this database, opened at its first use; None where settings ask for none."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        if self.alias not in self._connection_pools:
            made = Pool(
                kwargs=self.get_connection_params() | {"autocommit": True},
                open=False,
                configure=self._configure_connection,  # type: ignore[attr-defined]  # unknown to the stubs
                **options,
            )
            self._connection_pools.setdefault(self.alias, made)
        return self._connection_pools[self.alias]


@cache
def _reading_instants(template: AdaptersMap) -> AdaptersMap:
    adapters = AdaptersMap(template)
    adapters.register_loader("timestamptz", Instants)
    return adapters


def keep_connection() -> None:
    """From now on this thread keeps its connection between requests: to borrow one anew for each of them costs a tenth
    of a short one. For threads that stay, and of which the pool has enough for all."""
    wrapper = connections[DEFAULT_DB_ALIAS]
    assert isinstance(wrapper, DatabaseWrapper)
    wrapper.is_kept = True


def is_still_open(connection: Connection[Any]) -> bool:
    """False when the server has closed the connection, whether or not that was heard before.

    A server that ends, by a crash too, closes its sockets, and the end of a stream shows without asking. Something
    to read on an idle connection may also be a notice: then the server is asked.
    """
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return True
    try:
        connection.execute("")
    except psycopg.OperationalError:
        return False
    return True
