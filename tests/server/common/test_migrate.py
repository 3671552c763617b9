"""An empty database gets in one go what the migrations would leave in it."""

from __future__ import annotations

import os

import pytest

from tests.support.fresh_schema import (
    SCHEMA,
    as_restored,
    fresh_schema,
    migrated,
    with_digest,
    without_digest,
)


def test_the_schema_in_one_go_was_written_from_the_migrations_as_they_are() -> None:
    """That it is what they leave was so when it was written, and is while their files stay as they were."""
    written = SCHEMA.read_text()
    assert with_digest(without_digest(written)) == written, "a migration was changed: `make fresh-schema`"


@pytest.mark.long
@pytest.mark.timeout(600)  # every migration runs
def test_the_schema_in_one_go_is_that_of_the_migrations_step_by_step() -> None:
    url = os.environ["DATABASE_URL"]
    with migrated(url, "in_one_go") as quick, migrated(url, "step_by_step", "--step-by-step") as slow:
        assert fresh_schema(quick) == as_restored(url, fresh_schema(slow))
