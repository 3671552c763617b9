"""`manage.py migrate`, quick where there is nothing yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands import migrate
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

SCHEMA = Path(__file__).parents[2] / "schema.sql"


class Command(migrate.Command):
    """As Django's, but an empty database begins with what the migrations up to some time ago made, in one go
    (`schema.sql`): nearly all of their time goes into Django's picture of the models between them, and whoever tries
    the platform waits for it. Later migrations follow one by one, as everywhere."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--step-by-step", action="store_true", help="Run every migration, always.")

    def handle(self, *args: Any, **options: Any) -> None:
        """The schema is the one that was asked for."""
        connection = connections[options["database"]]
        everything = not options.get("app_label") and not any(
            options.get(name) for name in ("plan", "fake", "prune")
        )
        if everything and not options.get("step_by_step") and not options.get("check_unapplied"):
            _begin(connection)
        super().handle(*args, **options)


def _begin(connection: BaseDatabaseWrapper) -> None:
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('flexai.schema'))")
        if not connection.introspection.table_names(cursor):
            cursor.execute(SCHEMA.read_text())
