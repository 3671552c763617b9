"""Instants are read as psycopg reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import DataError, connection
from hypothesis import given
from hypothesis import strategies as st

from flexai.common.postgresql.base import Instants

pytestmark = pytest.mark.django_db

FIRST = datetime.min.replace(tzinfo=UTC)
INSTANTS = st.timedeltas(timedelta(), datetime.max.replace(tzinfo=UTC) - FIRST).map(FIRST.__add__)


@given(st.lists(INSTANTS, max_size=20))
def test_what_is_written_is_read(instants: list[datetime]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT unnest(%s::timestamptz[])", [instants])
        found = [at for (at,) in cursor.fetchall()]
    assert found == instants
    assert all(at.utcoffset() == timedelta(0) for at in found)


def test_they_are_read_by_it_on_every_connection() -> None:
    connection.ensure_connection()
    loader = connection.connection.adapters.get_loader(psycopg.adapters.types["timestamptz"].oid, 0)
    assert loader is Instants


@pytest.mark.parametrize("none", ["infinity", "-infinity", "10000-01-01", "0001-01-01 BC"])
def test_what_is_no_instant_in_python_is_refused(none: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::timestamptz", [none])
        with pytest.raises(DataError):
            cursor.fetchall()
