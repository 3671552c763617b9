"""A receiver on the loopback that the settings allow, and a mail server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.receiver import MailServer, Receiver, a_mail_server, a_receiver


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """A receiver on the loopback, which the installation allows."""
    settings.PRIVATE_RECEIVERS = ["127.0.0.0/8"]
    with a_receiver() as made:
        yield made


@pytest.fixture
def mail(settings: Any) -> Iterator[MailServer]:
    """A mail server that the installation names."""
    with a_mail_server() as made:
        settings.MAIL_URL = f"smtp://127.0.0.1:{made.port}"
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", made.port
        yield made
