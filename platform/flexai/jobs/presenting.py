"""Rows as the API tells them: jobs, attempts, events. A list costs a bounded number of statements, however
long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Min

from flexai.common import clock
from flexai.jobs.dependencies import dependencies_of, dependents_of
from flexai.jobs.models import (
    Allocation,
    Attempt,
    AttemptProgress,
    Event,
    Guest,
    IdleAttempt,
    Job,
    Offer,
    Replica,
    Schedule,
    Straggler,
)
from flexai.jobs.queries_live import use_of_jobs
from flexai.tenancy.principals import Principal
from scheduler_core.demand import Rung
from scheduler_core.lifecycle import AT_WORK, JobState

_WAITS = {JobState.QUEUED, JobState.HELD, JobState.SUSPENDED}


@dataclass(slots=True)
class Whereabouts:
    """The last attempt of a job: where it is or was, and what it holds or held."""

    attempt: Attempt
    first_running_at: datetime | None
    nodes: list[str] = field(default_factory=list)
    chips: list[tuple[str, int]] = field(default_factory=list)
    """Type and milli."""
    replicas: int = 0


def present_jobs(jobs: Sequence[Job], *, now: datetime | None = None) -> list[dict[str, Any]]:
    """Each job as a list shows it. The jobs come with team, user, set and verdict; at most five statements
    more."""
    at = now or clock.now()
    places = _whereabouts_of(jobs)
    live = (
        use_of_jobs([pk for pk, place in places.items() if place.attempt.state != "ended"]) if places else {}
    )
    return [_job(job, places.get(job.pk), live.get(job.pk), at) for job in jobs]


def present_job(job: Job) -> dict[str, Any]:
    """One job as a list shows it."""
    return present_jobs([job])[0]


def present_attempts(job: Job) -> list[dict[str, Any]]:
    """Every attempt of the job, first to last, with replicas and chips. Three statements."""
    attempts = list(Attempt.objects.filter(job=job).select_related("progress").order_by("number"))
    replicas: dict[int, list[dict[str, Any]]] = {}
    by_pk: dict[int, dict[str, Any]] = {}
    for replica in Replica.objects.filter(attempt__in=attempts).select_related("node").order_by("index"):
        by_pk[replica.pk] = told = {
            "index": replica.index,
            "node": replica.node.name,
            "state": replica.state,
            "exit_code": replica.exit_code,
            "log_size": replica.log_offset,
            "image": replica.image,
            "chips": [],
        }
        replicas.setdefault(replica.attempt_id, []).append(told)
    rows = Allocation.objects.filter(attempt__in=attempts).select_related("chip").order_by("chip__index")
    for allocation in rows:
        by_pk[allocation.replica_id]["chips"].append(
            {
                "id": allocation.chip.public_id,
                "index": allocation.chip.index,
                "type": allocation.chip.type,
                "kind": allocation.kind,
                "milli": allocation.milli,
                "memory_mib": allocation.memory_mib,
            }
        )
    return [_attempt(attempt, replicas.get(attempt.pk, [])) for attempt in attempts]


def present_order(job: Job, principal: Principal) -> dict[str, Any]:
    """What the job waits for, which jobs, of those that the principal may see, wait for it, and what made it."""
    return {
        "depends_on": [
            {
                "id": one.public_id,
                "kind": "job" if one.job else "set",
                "name": one.name,
                "on": one.after.value,
                "otherwise": one.otherwise.value,
                "status": one.status,
                "standing": one.standing.value,
            }
            for one in dependencies_of(job)
        ],
        "dependents": [
            {"id": other.public_id, "name": other.name, "status": other.status}
            for other in dependents_of(principal, job)
        ],
        "schedule": None
        if job.schedule is None
        else {"id": job.schedule.public_id, "name": job.schedule.name},
    }


def present_schedule(schedule: Schedule) -> dict[str, Any]:
    """A schedule; it comes with team, user and last job."""
    last = schedule.last_job
    return {
        "id": schedule.public_id,
        "name": schedule.name,
        "team": {"id": schedule.team.public_id, "name": schedule.team.name},
        "user": schedule.user.username,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "catch_up": schedule.catch_up,
        "overlap": schedule.overlap,
        "paused": schedule.paused,
        "next_at": None if schedule.paused else stamp(schedule.next_at),
        "last_at": stamp(schedule.last_at),
        "last_job": None if last is None else {"id": last.public_id, "status": last.status},
        "problem": schedule.problem,
        "created_at": stamp(schedule.created_at),
        "spec": schedule.spec,
    }


def present_event(event: Event) -> dict[str, Any]:
    """One line of history."""
    return {
        "id": event.pk,
        "at": stamp(event.at),
        "kind": event.kind,
        "from_state": event.from_state,
        "to_state": event.to_state,
        "attempt": event.attempt,
        "reason_code": event.reason_code,
        "sentence": event.sentence,
        "facts": event.facts,
        "actor": event.actor,
    }


def stamp(instant: datetime | None) -> str | None:
    """An instant in ISO 8601, UTC, to the millisecond."""
    if instant is None:
        return None
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _job(job: Job, place: Whereabouts | None, live_use: int | None, now: datetime) -> dict[str, Any]:
    effective = job.effective_spec
    return {
        "id": job.public_id,
        "name": job.name,
        "type": job.type,
        "status": job.status,
        "sentence": _sentence(job),
        "team": {"id": job.team.public_id, "name": job.team.name},
        "user": job.user.username,
        "priority": job.priority,
        "preemptible": job.preemptible,
        "set": None if job.set is None else job.set.public_id,
        "index": job.index,
        "labels": job.labels,
        "chips": _chips(effective, place),
        "cpu_milli": effective["resources"]["cpu_milli"],
        "memory_mib": effective["resources"]["memory_mib"],
        "attempt": job.attempts_count,
        "exit_code": job.exit_code,
        "outcome": job.outcome,
        "reason_code": job.reason_code,
        "submitted_at": stamp(job.submitted_at),
        "started_at": stamp(job.started_at),
        "ended_at": stamp(job.ended_at),
        "deadline": stamp(job.deadline),
        **_times(job, place, now),
        "nodes": place.nodes if place else [],
        "use_permille": place.attempt.use_permille if place and place.attempt.state == "ended" else live_use,
        "idle": _idle(job, place),
        "straggler": _straggler(place),
        "lending": _lending(place),
        "progress": present_progress(place.attempt) if place else None,
        "memory_peak_mib": place.attempt.memory_peak_mib or None if place else None,
        "version": job.version,
        "url": f"/jobs/{job.public_id}",
    }


def _idle(job: Job, place: Whereabouts | None) -> dict[str, Any] | None:
    """That its chips have not been used for a while, and what its policy does about it; None while they are."""
    if place is None or place.attempt.state not in AT_WORK:
        return None
    idle: IdleAttempt | None = getattr(place.attempt, "idle", None)
    if idle is None or idle.notified_at is None:
        return None
    policy = job.effective_spec.get("idle") or {"action": Rung.NOTIFY.value}
    return {
        "since": stamp(idle.since),
        "use_permille": idle.use_permille,
        "action": policy["action"],
        "acts_at": stamp(idle.acts_at),
    }


def _straggler(place: Whereabouts | None) -> dict[str, Any] | None:
    """What has held it back for a while, and when its policy moves it; None while nothing does."""
    if place is None or place.attempt.state not in AT_WORK:
        return None
    slow: Straggler | None = getattr(place.attempt, "straggler", None)
    if slow is None or slow.since is None or slow.told_at is None:
        return None
    return {
        "since": stamp(slow.since),
        "sign": slow.sign,
        "sentence": f"{slow.sentence}.",
        "pace_permille": slow.facts["pace_permille"],
        "equals": slow.facts["equals"],
        "moves_at": stamp(slow.acts_at),
        "leaving_since": stamp(slow.leaves_at),
    }


def _lending(place: Whereabouts | None) -> dict[str, Any] | None:
    """Whether it is a guest on chips of others, or offers its own; None where neither is so."""
    if place is None or place.attempt.state == "ended":
        return None
    guest: Guest | None = getattr(place.attempt, "guest", None)
    if guest is not None:
        return {"role": "guest", "since": stamp(place.attempt.placed_at), "halted_at": stamp(guest.paused_at)}
    offer: Offer | None = getattr(place.attempt, "offer", None)
    if offer is None or offer.offered_at is None:
        return None
    return {"role": "owner", "since": stamp(offer.offered_at), "halted_at": stamp(offer.busy_at)}


def present_progress(attempt: Attempt) -> dict[str, Any] | None:
    """What the attempt has said of itself; None where it said nothing. The attempt comes with its progress."""
    said: AttemptProgress | None = getattr(attempt, "progress", None)
    if said is None:
        return None
    return {
        "at": stamp(said.at),
        "step": said.step,
        "throughput": None if said.throughput_milli is None else said.throughput_milli / 1000,
        "loss": said.loss,
        "saved_step": said.saved_step,
        "saved_at": stamp(said.saved_at),
        "problem": said.problem,
    }


def _whereabouts_of(jobs: Sequence[Job]) -> dict[int, Whereabouts]:
    """The last attempt of each job that has had one, by the job's primary key. At most four statements."""
    tried = {job.pk: job for job in jobs if job.attempts_count}
    if not tried:
        return {}
    numbers = {job.attempts_count for job in tried.values()}
    attempts = [
        attempt
        for attempt in Attempt.objects.filter(job_id__in=tried, number__in=numbers).select_related(
            "idle", "straggler", "progress", "guest", "offer"
        )
        if attempt.number == tried[attempt.job_id].attempts_count
    ]
    firsts = _first_runs([job.pk for job in tried.values() if job.attempts_count > 1])
    found = {
        attempt.pk: Whereabouts(attempt, firsts.get(attempt.job_id) or attempt.running_at)
        for attempt in attempts
    }
    replicas = Replica.objects.filter(attempt_id__in=found).order_by("index")
    for attempt_pk, node in replicas.values_list("attempt_id", "node__name"):
        found[attempt_pk].replicas += 1
        if node not in found[attempt_pk].nodes:
            found[attempt_pk].nodes.append(node)
    allocations = Allocation.objects.filter(attempt_id__in=found).order_by("id")
    for attempt_pk, kind, milli in allocations.values_list("attempt_id", "chip__type", "milli"):
        found[attempt_pk].chips.append((kind, milli))
    return {place.attempt.job_id: place for place in found.values()}


def _first_runs(job_pks: list[int]) -> dict[int, datetime | None]:
    """When each job that was tried several times first ran."""
    if not job_pks:
        return {}
    rows = Attempt.objects.filter(job_id__in=job_pks).order_by().values_list("job_id")
    return dict(rows.annotate(first=Min("running_at")))


def _sentence(job: Job) -> str:
    """Why it is where it is; while it waits, the scheduler's verdict says it best, where it was read
    along."""
    verdict: Any = job._state.fields_cache.get("verdict") if job.state == JobState.QUEUED else None
    return job.sentence if verdict is None else str(verdict.sentence)


def _chips(effective: Mapping[str, Any], place: Whereabouts | None) -> dict[str, Any]:
    resources, asked_for = effective["resources"], effective["replicas"]
    replicas = (place.replicas if place else 0) or asked_for["min"]
    asked = [resources, *effective.get("alternatives", ())]
    milli = resources["chips"] * 1000 or resources["milli"]
    held = sorted({kind for kind, _ in place.chips}) if place else []
    total = sum(share for _, share in place.chips) if place else 0
    kind: str | None = None
    if milli or resources["chip_memory_mib"]:
        named = dict.fromkeys(kind for one in asked for kind in one["chip_types"])
        kind = " + ".join(held) or " or ".join(named) or "any"
        milli = total // replicas if held and len(asked) > 1 else milli or total // replicas
    return {
        "type": kind,
        "milli_per_replica": milli,
        "replicas": replicas,
        "min_replicas": asked_for["min"],
        "max_replicas": asked_for["max"],
        "total_milli": total or milli * replicas,
    }


def _times(job: Job, place: Whereabouts | None, now: datetime) -> dict[str, int | None]:
    """wait: from submit to the first start; run: of the last attempt. Both in ms, both until now while they
    last."""
    first = place.first_running_at if place else None
    waited_until = first or job.ended_at or now
    run = None
    if job.started_at is not None and JobState(job.state) not in _WAITS:
        run = _ms((job.ended_at or now) - job.started_at)
    return {"wait_ms": _ms(waited_until - job.submitted_at), "run_ms": run}


def _ms(span: Any) -> int:
    return max(0, int(span.total_seconds() * 1000))


def _attempt(attempt: Attempt, replicas: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "state": attempt.state,
        "outcome": attempt.outcome,
        "contact": "ok" if attempt.contact_ok else "unreachable",
        "exit_code": attempt.exit_code,
        "sentence": attempt.sentence,
        "placed_at": stamp(attempt.placed_at),
        "running_at": stamp(attempt.running_at),
        "ended_at": stamp(attempt.ended_at),
        "use_permille": attempt.use_permille,
        "memory_peak_mib": attempt.memory_peak_mib,
        "cpu_time_ms": attempt.cpu_time_ms,
        "energy_mj": attempt.energy_mj,
        "progress": present_progress(attempt),
        "replicas": replicas,
    }
