"""What most tests of the server need.

What is registered is read anew for each test: the rows of the one before are gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from flexai.jobs import admission, policies
from tests.support.tenants import Tenant, a_cell, a_node, a_tenant


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> Iterator[None]:
    for kept in (admission, policies):
        kept.forget()
    yield
    for kept in (admission, policies):
        kept.forget()


@pytest.fixture
def tenant(db: None) -> Tenant:
    """A tenant, and a node with eight chips."""
    a_cell()
    a_node(chips=8)
    return a_tenant("acme")


@pytest.fixture
def other(db: None) -> Tenant:
    """Another tenant."""
    return a_tenant("globex")


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that is sent from now on, by Django's cursors and by the prepared ones."""
    sent: list[str] = []
    execute = psycopg.Cursor.execute

    def noted(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(str(query).strip())
        return execute(self, query, *arguments, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", noted)
    return sent
