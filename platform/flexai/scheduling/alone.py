"""One loop at a time in a cell: a lock of the database session, which ends with its connection.

It only spares two processes the same work; what keeps work from being placed twice are the conditions under which
`apply` claims it. A loop that has one cycle after another keeps the lock in between, and gives it back
when it is quiet.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db import Error as DatabaseError
from django.db import connection, transaction

from flexai.common.database import prepared_cursor

log = logging.getLogger(__name__)

LOCK_WAIT_MS = 300
"""Longer than a process holds the lock that does not keep it (`cycle.MAX_SECONDS`)."""
_LOCK_CLASS = 0x666C6578
"""First key of the advisory locks of cells."""
_kept: WeakKeyDictionary[psycopg.Connection[Any], set[int]] = WeakKeyDictionary()
"""Cells whose lock a connection has kept."""


@contextmanager
def alone_in(cell_id: int, *, keeps: bool = False) -> Iterator[bool]:
    """True while no other process runs this cell. Waits `LOCK_WAIT_MS` for one that does: what called us may
    have been committed after it last looked. `keeps`: the lock is held on afterwards."""
    alone = cell_id in _kept_here() or _lock(cell_id)
    if alone and keeps:
        _kept_here().add(cell_id)
    try:
        yield alone
    finally:
        if alone and cell_id not in _kept_here():
            _unlock(cell_id)


def give_back(cell_id: int) -> None:
    """Others may run this cell, whether or not the lock was kept."""
    if cell_id in _kept_here():
        _kept_here().discard(cell_id)
        _unlock(cell_id)


def _kept_here() -> set[int]:
    """Of the connection that there is now: with the one before went its locks."""
    raw = connection.connection
    return set() if raw is None or raw.closed else _kept.setdefault(raw, set())


def _lock(cell_id: int) -> bool:
    with prepared_cursor() as cursor:
        row = cursor.execute(_TRY_LOCK, {"class": _LOCK_CLASS, "cell": cell_id}).fetchone()
    return bool(row and row[0]) or _waited_for_lock(cell_id)


def _waited_for_lock(cell_id: int) -> bool:
    try:
        with transaction.atomic(), prepared_cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
            cursor.execute(_WAIT_FOR_LOCK, {"class": _LOCK_CLASS, "cell": cell_id})
    except psycopg.errors.LockNotAvailable:
        return False
    return True


def _unlock(cell_id: int) -> None:
    try:
        with prepared_cursor() as cursor:
            cursor.execute(_UNLOCK, {"class": _LOCK_CLASS, "cell": cell_id})
    except (psycopg.Error, DatabaseError) as error:
        log.warning("cell %s: the lock goes with its connection: %s", cell_id, error)
        if connection.connection is not None:
            connection.connection.close()


_KEEPS_PLANS = "set_config('plan_cache_mode', 'force_generic_plan', false)"
"""Planning the feed's statement takes longer than running it: while the lock is held, plans are made once."""
_TRY_LOCK = f"""
SELECT CASE WHEN pg_try_advisory_lock(%(class)s::int, %(cell)s::int) THEN {_KEEPS_PLANS} <> '' ELSE false END"""
_WAIT_FOR_LOCK = f"""
SELECT pg_advisory_lock(%(class)s::int, %(cell)s::int), {_KEEPS_PLANS}"""
_UNLOCK = """
SELECT pg_advisory_unlock(%(class)s::int, %(cell)s::int), set_config('plan_cache_mode', 'auto', false)"""
