"""An empty database gets in one go what the migrations would leave in it."""

from __future__ import annotations

import os

import pytest

from tests.support.fresh_schema import as_restored, fresh_schema, migrated

pytestmark = pytest.mark.timeout(600)  # every migration runs


def test_the_schema_in_one_go_is_that_of_the_migrations_step_by_step() -> None:
    url = os.environ["DATABASE_URL"]
    with migrated(url, "in_one_go") as quick, migrated(url, "step_by_step", "--step-by-step") as slow:
        assert fresh_schema(quick) == as_restored(url, fresh_schema(slow))
