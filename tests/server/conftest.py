"""What most tests of the server need.

What is registered is read anew for each test: the rows of the one before are gone.
"""

from __future__ import annotations

from collections.abc import Iterator

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
