"""Jobs whose unit broke a safety law: set aside, so that the others go on (Laws), until an operator lets them
out.

Both moves touch the job's row, so that the feed sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import F

from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.models import Event, Job
from flexai.scheduling.models import Quarantine
from scheduler_core.decision import Violation
from scheduler_core.lifecycle import JobState

REASON = "quarantined"


def quarantine(violations: Sequence[Violation], *, now: datetime) -> None:
    """The jobs of these violations wait no more; each says which law its start would have broken."""
    law_of = {violation.job: violation for violation in violations}
    with transaction.atomic():
        for job in _locked(list(law_of)):
            broken = law_of[job.pk]
            sentence = f"Set aside: starting it would have broken the law {broken.law!r}. {broken.sentence}"
            Quarantine.objects.get_or_create(job=job, defaults={"law": broken.law, "since": now})
            _tell(job, sentence, now=now, reason_code=REASON, actor="scheduler", facts={"law": broken.law})


def release(job: Job, *, now: datetime, actor: str) -> bool:
    """The job waits like any other; False when it was not in quarantine. `actor` as in `Event.actor`."""
    with transaction.atomic():
        for locked in _locked([job.pk]):
            released, _ = Quarantine.objects.filter(job=locked).delete()
            if released:
                _tell(
                    locked, "Let out of quarantine.", now=now, reason_code="released", actor=actor, facts={}
                )
                publish_on_commit(cell=locked.cell_id)
                return True
    return False


def _locked(jobs: list[int]) -> list[Job]:
    queued = Job.objects.filter(pk__in=jobs, state=JobState.QUEUED).order_by("pk")
    return list(queued.select_for_update(no_key=True, of=("self",)).select_related("team"))


def _tell(
    job: Job, sentence: str, *, now: datetime, reason_code: str, actor: str, facts: dict[str, str]
) -> None:
    Job.objects.filter(pk=job.pk).update(sentence=sentence, reason_code=reason_code, version=F("version") + 1)
    Event.objects.create(
        at=now,
        organization_id=job.organization_id,
        job=job,
        kind=f"job.{reason_code}",
        from_state=job.state,
        to_state=job.state,
        reason_code=reason_code,
        sentence=sentence,
        facts=facts,
        actor=actor,
    )
    publish_on_commit(hints=[Hint("job", job.public_id, job.version + 1, job.team.public_id)])
