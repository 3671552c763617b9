"""What `manage.py check --deploy` says of the console."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning

UNGUARDED = Warning(
    "Operators enter the console with a password alone.",
    hint="Set FLEXAI_CONSOLE_SECOND_FACTOR=1, which is the default with FLEXAI_SECURE=1.",
    id="flexai.W001",
)


def check_second_factor(app_configs: object, **options: Any) -> list[CheckMessage]:
    """A warning where no second factor is asked of operators."""
    return [] if settings.CONSOLE_SECOND_FACTOR else [UNGUARDED]
