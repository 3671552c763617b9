"""Bring a database up to this version, and make sure that somebody can sign in.

`python -m flexai.embedded.bootstrap`.

Idempotent. Run it before the first web process of a version starts; `flexai up` and the compose file do.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import django
from django.core.management import call_command
from django.db import transaction

from flexai.embedded.home import write_private

TOKEN_DAYS = 365


def main(arguments: Sequence[str]) -> None:
    """The schema is current, the organization, its teams and its operator exist; asked-for secrets lie in
    their files."""
    asked = _parser().parse_args(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flexai.config.settings")
    django.setup()
    call_command("migrate", interactive=False, verbosity=0)
    with transaction.atomic():
        _make_people(asked)
        if asked.enrolment_token_file:
            _write_enrolment_token(asked.enrolment_token_file, days=asked.enrolment_days)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flexai.embedded.bootstrap", description=__doc__)
    parser.add_argument("--organization", default="lab")
    parser.add_argument("--team", action="append", default=[], dest="teams")
    parser.add_argument("--username", default="admin")
    parser.add_argument(
        "--password-file", type=Path, required=True, help="holds the operator's first password"
    )
    parser.add_argument(
        "--outcome-file",
        type=Path,
        help='gets {"password_opens": …}: false for an operator who was there before and has another password',
    )
    parser.add_argument("--token-file", type=Path, help="gets a fresh API token of the operator")
    parser.add_argument("--enrolment-token-file", type=Path, help="gets a token with which agents may enrol")
    parser.add_argument("--enrolment-days", type=int, default=1)
    return parser


def _make_people(asked: argparse.Namespace) -> None:
    from flexai.tenancy.models import Organization, User  # models need the application registry, set up above
    from flexai.tenancy.services import bootstrap, create_token

    password = asked.password_file.read_text().strip()
    was_there = User.objects.filter(username=asked.username).exists()
    _, user = bootstrap(
        organization=asked.organization,
        teams=[{"name": name, "quotas": {}} for name in asked.teams],
        username=asked.username,
        password=password,
        operator=True,
    )
    if asked.outcome_file:
        opens = not was_there or user.check_password(password)
        write_private(asked.outcome_file, json.dumps({"password_opens": opens}) + "\n")
    if asked.token_file:
        organization = Organization.objects.get(memberships__user=user, slug=asked.organization)
        _, secret = create_token(user, organization, "this machine", ["read", "write"], TOKEN_DAYS)
        write_private(asked.token_file, secret + "\n")


def _write_enrolment_token(file: Path, *, days: int) -> None:
    from datetime import timedelta

    from flexai.cluster.models import Pool
    from flexai.cluster.services import create_enrolment_token

    pool = Pool.objects.order_by("id")[0]
    write_private(file, create_enrolment_token(pool, ttl=timedelta(days=days), uses=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
