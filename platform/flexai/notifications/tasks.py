"""What Celery runs for notifications: the tick that looks into the outbox."""

from __future__ import annotations

from celery import shared_task

from flexai.notifications import sending


@shared_task(name="flexai.notifications.deliver", ignore_result=True)  # type: ignore[untyped-decorator]
def deliver() -> None:
    """What is due is on its way, in threads of this process: a receiver that hangs holds up no other task."""
    sending.wake()
