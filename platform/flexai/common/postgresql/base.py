"""The backend that `ENGINE` names; Django asks for a module of this name."""

from __future__ import annotations

import select
from typing import Any, ClassVar, TypeAlias

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg import Connection
from psycopg_pool import ConnectionPool

Pool: TypeAlias = ConnectionPool[Connection[Any]]


class DatabaseWrapper(base.DatabaseWrapper):
    """Differs from Django's in its pool only: a connection is looked at before it is lent, not asked."""

    _connection_pools: ClassVar[dict[str, Pool]] = {}

    @property
    def pool(self) -> Pool | None:
        """The process's pool for this database, opened at its first use; None where settings ask for none."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        if self.alias not in self._connection_pools:
            made: Pool = ConnectionPool(
                kwargs=self.get_connection_params() | {"autocommit": True},
                open=False,
                configure=self._configure_connection,  # type: ignore[attr-defined]  # unknown to the stubs
                check=check_still_open,
                **options,
            )
            self._connection_pools.setdefault(self.alias, made)
        return self._connection_pools[self.alias]


def check_still_open(connection: Connection[Any]) -> None:
    """Raises psycopg's OperationalError when the server has closed the connection.

    A server that ends, by a crash too, closes its sockets, and the end of a stream shows without asking. Something
    to read on an idle connection may also be a notice: then the server is asked.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        ConnectionPool.check_connection(connection)
