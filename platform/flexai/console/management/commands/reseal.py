"""`manage.py reseal`: what is sealed in the database, sealed anew under the key that holds now."""

from __future__ import annotations

from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import Model

from flexai.common.sealing import NotReadable, reseal
from flexai.notifications.models import Webhook
from flexai.tenancy.models import AuditEntry, SecondFactor, Secret

SEALED: Final[tuple[tuple[type[Model], str], ...]] = (
    (SecondFactor, "secret"),
    (Secret, "sealed"),
    (Webhook, "secret"),
    (Webhook, "former_secret"),
)
"""Every column that holds something sealed."""
ROWS_AT_ONCE = 500


class Command(BaseCommand):
    """Safe to run at any time, and again."""

    help = (
        "Seals secrets in the database anew under FLEXAI_SECRET_KEY. Afterwards no former key of "
        "FLEXAI_SECRET_KEY_FALLBACKS is needed for them."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        done, lost = 0, []
        for model, column in SEALED:
            of_model, lost_of_model = _reseal(model, column)
            done += of_model
            lost += lost_of_model
        AuditEntry.objects.create(
            actor_kind="platform", actor="manage.py reseal", action="secrets.resealed", object_kind="platform",
            object_id="", after={"sealed": done, "lost": len(lost)},
        )  # fmt: skip
        self.stdout.write(f"{done} secrets are sealed under the key that holds now.")
        if lost:
            raise CommandError(
                f"{len(lost)} cannot be read under any key that this server has, and are as they were: "
                f"{', '.join(lost[:20])}. Put the key that they were sealed under into FLEXAI_SECRET_KEY_FALLBACKS."
            )


def _reseal(model: type[Model], column: str) -> tuple[int, list[str]]:
    """How many were sealed anew, and what could not be read."""
    done, lost, last = 0, [], 0
    rows = model._default_manager.exclude(**{column: ""}).order_by("pk")
    while True:
        with transaction.atomic():
            found = list(rows.filter(pk__gt=last).select_for_update(no_key=True)[:ROWS_AT_ONCE])
            for row in found:
                try:
                    setattr(row, column, reseal(getattr(row, column), bound_to=getattr(row, "place", "")))
                except NotReadable:
                    lost.append(f"{model._meta.model_name}.{column} {row.pk}")
                    continue
                row.save(update_fields=[column])
                done += 1
        if not found:
            return done, lost
        last = found[-1].pk
