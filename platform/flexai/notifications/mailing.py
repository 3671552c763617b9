"""One mail to one person, by the server that the installation names."""

from __future__ import annotations

import smtplib

from django.conf import settings
from django.core.mail import EmailMessage

from flexai.notifications.claims import Outcome, ToPerson
from flexai.notifications.messages import letter_of


def mail(claimed: ToPerson) -> Outcome:
    """One try. It is accepted by the server, or not; whether it arrives nobody tells."""
    if not claimed.address:
        return Outcome(False, "Whom it is for is no member any more, or has no address.", is_final=True)
    if not settings.MAIL_URL:
        return Outcome(False, "This installation sends no mail.", is_final=True)
    letter = letter_of(claimed.told, site=settings.PUBLIC_URL)
    message = EmailMessage(
        subject=letter.subject,
        body=letter.text,
        to=[claimed.address],
        headers={"Message-ID": f"<{claimed.public_id}@flexai>", "Auto-Submitted": "auto-generated"},
    )
    try:
        message.send()
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return Outcome(False, f"The mail server did not take it: {type(error).__name__}.")
    return Outcome(True, "Accepted by the mail server.")
