"""Rows as the API tells them: jobs, attempts, events. A list costs a bounded number of statements, however
long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from flexai.common import clock
from flexai.jobs.dependencies import dependencies_of, dependents_of
from flexai.jobs.listing import JobRow, Place, Said, read
from flexai.jobs.models import Allocation, Attempt, AttemptProgress, Event, Job, Replica, Schedule
from flexai.tenancy.principals import Principal
from scheduler_core.demand import Rung
from scheduler_core.lifecycle import AT_WORK, JobState

_WAITS = {JobState.QUEUED, JobState.HELD, JobState.SUSPENDED}


def present_jobs(job_pks: Sequence[int], *, now: datetime | None = None) -> list[dict[str, Any]]:
    """Each job as a list shows it, in this order; one that is no more is left out. One round trip, and one for live
    use where any of them runs."""
    at = now or clock.now()
    return [_job(shown.job, shown.place, shown.use_permille, at) for shown in read(job_pks)]


def present_job(job: Job) -> dict[str, Any]:
    """One job as a list shows it, as it is now."""
    return present_jobs([job.pk])[0]


def present_created(jobs: Sequence[JobRow]) -> list[dict[str, Any]]:
    """The same of jobs that were just made, without asking for them."""
    at = clock.now()
    return [_job(job, None, None, at) for job in jobs]


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


def _job(job: JobRow, place: Place | None, live_use: int | None, now: datetime) -> dict[str, Any]:
    effective = job.effective
    return {
        "id": job.public_id,
        "name": job.name,
        "type": job.type,
        "status": job.status,
        "sentence": job.sentence,
        "team": {"id": job.team, "name": job.team_name},
        "user": job.user,
        "priority": job.priority,
        "preemptible": job.preemptible,
        "set": job.set,
        "index": job.index_in_set,
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
        "nodes": list(dict.fromkeys(place.nodes)) if place else [],
        "use_permille": place.use_permille if place and place.state == "ended" else live_use,
        "idle": _idle(job, place),
        "straggler": _straggler(place),
        "lending": _lending(place),
        "progress": _progress(place.said) if place and place.said else None,
        "memory_peak_mib": place.memory_peak_mib or None if place else None,
        "version": job.version,
        "url": f"/jobs/{job.public_id}",
    }


def _idle(job: JobRow, place: Place | None) -> dict[str, Any] | None:
    """That its chips have not been used for a while, and what its policy does about it; None while they are."""
    if place is None or place.state not in AT_WORK or place.idle is None or place.idle.notified_at is None:
        return None
    policy = job.effective.get("idle") or {"action": Rung.NOTIFY.value}
    return {
        "since": stamp(place.idle.since),
        "use_permille": place.idle.use_permille,
        "action": policy["action"],
        "acts_at": stamp(place.idle.acts_at),
    }


def _straggler(place: Place | None) -> dict[str, Any] | None:
    """What has held it back for a while, and when its policy moves it; None while nothing does."""
    if place is None or place.state not in AT_WORK:
        return None
    slow = place.slow
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


def _lending(place: Place | None) -> dict[str, Any] | None:
    """Whether it is a guest on chips of others, or offers its own; None where neither is so."""
    if place is None or place.state == "ended":
        return None
    if place.is_guest:
        return {"role": "guest", "since": stamp(place.placed_at), "halted_at": stamp(place.halted_at)}
    if place.offered_at is None:
        return None
    return {"role": "owner", "since": stamp(place.offered_at), "halted_at": stamp(place.busy_at)}


def present_progress(attempt: Attempt) -> dict[str, Any] | None:
    """What the attempt has said of itself; None where it said nothing. The attempt comes with its progress."""
    said: AttemptProgress | None = getattr(attempt, "progress", None)
    return None if said is None else _progress(said)


def _progress(said: Said | AttemptProgress) -> dict[str, Any]:
    return {
        "at": stamp(said.at),
        "step": said.step,
        "throughput": None if said.throughput_milli is None else said.throughput_milli / 1000,
        "loss": said.loss,
        "saved_step": said.saved_step,
        "saved_at": stamp(said.saved_at),
        "problem": said.problem,
    }


def _chips(effective: Mapping[str, Any], place: Place | None) -> dict[str, Any]:
    resources, asked_for = effective["resources"], effective["replicas"]
    replicas = (len(place.nodes) if place else 0) or asked_for["min"]
    asked = [resources, *effective.get("alternatives", ())]
    milli = resources["chips"] * 1000 or resources["milli"]
    held = sorted(place.chip_types) if place else []
    total = place.milli if place else 0
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


def _times(job: JobRow, place: Place | None, now: datetime) -> dict[str, int | None]:
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
