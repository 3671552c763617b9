"""A web server and a world for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.placed import PlacedWorld
from tests.support.web import Web, web


@pytest.fixture
def world(transactional_db: None) -> PlacedWorld:
    return PlacedWorld()


@pytest.fixture
def server(transactional_db: None) -> Iterator[Web]:
    with web() as running:
        yield running
