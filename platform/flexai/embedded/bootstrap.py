"""Bring a database up to this version, and make sure that somebody can sign in.

`python -m flexai.embedded.bootstrap`, as in the compose file; `flexai up` asks over a socket instead.

Idempotent. Run it before the first web process of a version starts.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import django
from django.core.management import call_command
from django.db import transaction

from flexai.embedded.home import write_private

TOKEN_DAYS = 365


def main(arguments: Sequence[str]) -> None:
    """The schema is current, the organization, its teams and its operator exist; an enrolment token that was asked
    for lies in its file."""
    asked = _parser().parse_args(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flexai.config.settings")
    django.setup()
    call_command("migrate", interactive=False, verbosity=0)
    with transaction.atomic():
        make_people(asked.organization, asked.teams, asked.username, asked.password_file.read_text().strip())
        if asked.enrolment_token_file:
            _write_enrolment_token(asked.enrolment_token_file, days=asked.enrolment_days)


def answer(arguments: Sequence[str]) -> None:
    """As `main`, for one who sends what he asks for as JSON over a socket and reads there what was found: whether the
    password opens, and a fresh API token of the operator. The argument is the socket's descriptor."""
    with socket.socket(fileno=int(arguments[0])) as line:
        with line.makefile() as request:
            asked = json.load(request)
        call_command("migrate", interactive=False, verbosity=0)
        with transaction.atomic():
            opens = make_people(**asked)
            token = _fresh_token(asked["username"], asked["organization"])
        line.sendall(json.dumps({"password_opens": opens, "token": token}).encode())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flexai.embedded.bootstrap", description=__doc__)
    parser.add_argument("--organization", default="lab")
    parser.add_argument("--team", action="append", default=[], dest="teams")
    parser.add_argument("--username", default="admin")
    parser.add_argument(
        "--password-file", type=Path, required=True, help="holds the operator's first password"
    )
    parser.add_argument("--enrolment-token-file", type=Path, help="gets a token with which agents may enrol")
    parser.add_argument("--enrolment-days", type=int, default=1)
    return parser


def make_people(organization: str, teams: Sequence[str], username: str, password: str) -> bool:
    """They exist. False for an operator who was there before and has another password."""
    from flexai.tenancy.models import AuditEntry, User  # models need the application registry, set up above
    from flexai.tenancy.services import bootstrap

    was_there = User.objects.filter(username=username).exists()
    home, user = bootstrap(
        organization=organization,
        teams=[{"name": name, "quotas": {}} for name in teams],
        username=username,
        password=password,
        operator=True,
    )
    if not was_there:
        AuditEntry.objects.create(
            organization=home, actor_kind="platform", actor="start", action="user.created", object_kind="user",
            object_id=str(user.pk), after={"username": username, "is_staff": "True"},
        )  # fmt: skip
    return not was_there or user.check_password(password)


def _fresh_token(username: str, organization: str) -> str:
    from flexai.tenancy.models import AuditEntry, Organization, User
    from flexai.tenancy.services import create_token

    user = User.objects.get(username=username)
    within = Organization.objects.get(memberships__user=user, slug=organization)
    token, secret = create_token(user, within, "this machine", ["read", "write"], TOKEN_DAYS)
    AuditEntry.objects.create(
        organization=within, actor_kind="platform", actor="start", action="token.created", object_kind="token",
        object_id=token.public_id, after={"name": token.name, "user": username},
    )  # fmt: skip
    return secret


def _write_enrolment_token(file: Path, *, days: int) -> None:
    from datetime import timedelta

    from flexai.cluster.models import Pool
    from flexai.cluster.services import create_enrolment_token
    from flexai.tenancy.models import AuditEntry

    pool = Pool.objects.order_by("id")[0]
    AuditEntry.objects.create(
        actor_kind="platform", actor="start", action="enrolment_token.created", object_kind="pool",
        object_id=str(pool.pk), after={"days": days},
    )  # fmt: skip
    write_private(file, create_enrolment_token(pool, ttl=timedelta(days=days), uses=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
