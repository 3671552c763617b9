"""What can be told: a closed set of events. Pure.

Jobs say them in a trigger of their history (`jobs` migration 0017), budgets in `jobs.spending`, what becomes of
requests for quota or budget in `answers`.
"""

from __future__ import annotations

from typing import Final

JOB_EVENTS: Final = (
    "job.submitted",
    "job.started",
    "job.succeeded",
    "job.failed",
    "job.cancelled",
    "job.timed_out",
    "job.preempted",
    "job.suspended",
    "job.requeued",
    "job.held",
    "job.idle",
    "job.straggler",
)
BUDGET_WARNED: Final = "budget.warned"
BUDGET_REACHED: Final = "budget.reached"
REQUEST_APPROVED: Final = "quota_request.approved"
REQUEST_DECLINED: Final = "quota_request.declined"
REQUEST_ENDED: Final = "quota_request.ended"
REQUEST_EVENTS: Final = (REQUEST_APPROVED, REQUEST_DECLINED, REQUEST_ENDED)
EVENTS: Final = (*JOB_EVENTS, BUDGET_WARNED, BUDGET_REACHED, *REQUEST_EVENTS)
"""What a webhook may ask for."""
PING: Final = "ping"
SWITCHED_OFF: Final = "webhook.switched_off"
"""To those who manage a webhook, by mail: it failed for too long."""

NOTIFIED_OF: Final = tuple(event.removeprefix("job.") for event in JOB_EVENTS if event != "job.submitted")
"""What `notify.on` of a job's spec may say."""
ENDS: Final = ("succeeded", "failed", "cancelled", "timed_out")
"""What it says where it says nothing."""
