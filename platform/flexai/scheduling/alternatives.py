"""What a spec could ask for instead, to start earlier or to cost less: each is tried as the spec itself is (X4)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final

from flexai.cluster.models import ChipType
from flexai.common.errors import FlexaiError
from flexai.jobs import admission, services
from flexai.jobs.creation import Prepared
from flexai.jobs.quantities import duration_words, plain
from flexai.scheduling.lateness import Run, run_of
from flexai.scheduling.outlook import Cost, Outlook, costs_of, money, outlook_of, start_in_words
from flexai.scheduling.trials import Starts, Trial, trial_of
from flexai.tenancy.principals import Principal
from scheduler_core.slices import slice_milli

MOST: Final = 4
"""That are told."""
MOST_TRIED: Final = 12
MOST_SECONDS: Final = 1.5
"""After which nothing more is tried: somebody waits for the answer."""
MOST_TYPES: Final = 4
WORTH: Final = timedelta(minutes=1)
"""By how much a start has to be earlier."""
_MINUTE_MS: Final = 60_000
_DURATIONS: Final = tuple(minutes * _MINUTE_MS for minutes in (24 * 60, 8 * 60, 4 * 60, 2 * 60, 60, 30, 10))


@dataclass(frozen=True, slots=True)
class Alternative:
    """A change of the spec that is worth telling."""

    patch: Mapping[str, Any]
    """Of the spec as it was given: a JSON merge patch (RFC 7396)."""
    starts: Starts
    costs: tuple[Cost, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class _Change:
    """One that may be worth it."""

    patch: Mapping[str, Any]
    words: str
    """Before "it would start …"."""
    may_cost_less: bool = False
    then: str = ""
    """What else it means, after the start."""


def foretell(
    principal: Principal, raw: object, prepared: Prepared, now: datetime
) -> tuple[Outlook, tuple[Alternative, ...]]:
    """What would become of the spec were it submitted now, and what it could ask for instead. Nothing is written."""
    with trial_of(prepared.cell, now) as trial:
        outlook = outlook_of(principal, prepared, now, trial)
        if trial is None or prepared.effective["hold"] or prepared.waits_for:
            return outlook, ()
        changes = _changes(prepared.effective, outlook.run)
        return outlook, _Search(principal, raw, trial, outlook).among(changes)


def instead_of(principal: Principal, raw: object, now: datetime) -> tuple[Alternative, ...]:
    """What a spec that never fits (F6), and is right otherwise, could ask for instead."""
    effective = services.effective_of(raw)
    if effective["hold"] or effective["depends_on"]:
        return ()
    with trial_of(admission.cell_of(effective).cell, now) as trial:
        if trial is None:
            return ()
        return _Search(principal, raw, trial, None).among(_changes(effective, Run(None, None)))


class _Search:
    """Tries changes against the outlook of the spec as it is, as long as there is time."""

    def __init__(self, principal: Principal, raw: object, trial: Trial, base: Outlook | None) -> None:
        self._principal, self._trial = principal, trial
        self._raw: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
        self._starts, self._costs = (None, ()) if base is None else (base.starts, base.costs)
        self._is_at_once = self._starts is not None and self._starts[0] - trial.now < WORTH
        self._tries = MOST_TRIED
        self._ends_at = time.monotonic() + MOST_SECONDS

    def among(self, kinds: Iterable[Sequence[_Change]]) -> tuple[Alternative, ...]:
        """Of each kind the first that is worth it; those that start first come first."""
        found = [better for kind in kinds if (better := self._first(kind)) is not None]
        found.sort(key=lambda one: (one.starts[0], sum(cost.micro_per_hour for cost in one.costs)))
        return tuple(found[:MOST])

    def _first(self, kind: Sequence[_Change]) -> Alternative | None:
        return next(filter(None, map(self._better, kind)), None)

    def _better(self, change: _Change) -> Alternative | None:
        if self._is_at_once and not change.may_cost_less:
            return None
        if not self._tries or time.monotonic() > self._ends_at:
            return None
        try:
            prepared = services.prepare(self._principal, merged(self._raw, change.patch))
        except FlexaiError:  # what may not be, or never fits, is no alternative
            return None
        costs = costs_of(prepared.effective, self._run_of(prepared), self._trial.now.date())
        saves = _saving(self._costs, costs) if change.may_cost_less else ""
        if self._is_at_once and not saves:
            return None
        self._tries -= 1
        starts = self._trial.starts_of(self._principal, prepared)
        if starts is None or not (saves or self._is_earlier(starts)):
            return None
        when = start_in_words(starts, self._trial.now)
        sentence = f"{change.words} it would start {when}{saves}{change.then}."
        return Alternative(change.patch, starts, costs, sentence)

    def _is_earlier(self, starts: Starts) -> bool:
        return self._starts is None or starts[0] <= self._starts[0] - WORTH

    def _run_of(self, prepared: Prepared) -> Run:
        effective = prepared.effective
        return run_of(prepared.cell, self._principal.user.pk, prepared.team.pk, effective["name"], effective)


def merged(raw: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with the patch (RFC 7396)."""
    made = dict(raw)
    for key, value in patch.items():
        before = raw.get(key)
        if value is None:
            made.pop(key, None)
        elif isinstance(value, Mapping):
            made[key] = merged(before if isinstance(before, Mapping) else {}, value)
        else:
            made[key] = value
    return made


def _saving(before: Sequence[Cost], after: Sequence[Cost]) -> str:
    """How much less an hour costs; nothing where it does not, or where a price is missing."""
    if not before or not after or any(one.micro_per_chip_hour is None for one in chain(before, after)):
        return ""
    least, most = min(one.micro_per_hour for one in before), max(one.micro_per_hour for one in after)
    return f", for {money(most)} an hour instead of {money(least)}" if most < least else ""


def _changes(effective: Mapping[str, Any], run: Run) -> Iterator[Sequence[_Change]]:
    """By kind; of each the more welcome first."""
    yield from ([change] for change in _other_types(effective))
    yield list(_smaller_parts(effective))
    yield list(_fewer_replicas(effective))
    yield list(_preemptible(effective))
    yield list(_shorter(effective, run))


def _other_types(effective: Mapping[str, Any]) -> Iterator[_Change]:
    """Types of the same vendor, where the spec names one way to run it."""
    resources = effective["resources"]
    named = resources["chip_types"]
    if not named or effective["alternatives"]:
        return
    vendors = dict(ChipType.objects.values_list("name", "vendor"))
    vendor = vendors.get(named[0], "")
    others = [name for name in admission.cell_of(effective).chip_types if name not in named]
    for name in [name for name in others if vendors.get(name, "") == vendor][:MOST_TYPES]:
        count = f"{name}:{resources['chips']}" if resources["chips"] else name
        yield _Change({"resources": {"accelerators": count}}, f"On {name}", may_cost_less=True)


def _smaller_parts(effective: Mapping[str, Any]) -> Iterator[_Change]:
    """The part of a chip that goes with the memory that the spec asks for, on each chip that it names."""
    resources = effective["resources"]
    asked, memory = resources["milli"], resources["chip_memory_mib"]
    if not asked or not memory or effective["alternatives"]:
        return
    snapshot = admission.cell_of(effective).snapshot
    pool_of = {node.id: node.pool for node in snapshot.nodes}
    steps = {pool.id: pool.slice_step for pool in snapshot.pools}
    parts = [
        slice_milli(memory, chip.memory, steps[pool_of[chip.node]])
        for chip in snapshot.chips
        if chip.memory >= memory and (not resources["chip_types"] or chip.type in resources["chip_types"])
    ]
    if parts and max(parts) < asked:
        part = max(parts)
        patch = {"resources": {"fraction": part / 1000}}
        yield _Change(
            patch, f"With `fraction: {plain(part)}`, which holds its {memory} MiB,", may_cost_less=True
        )


def _fewer_replicas(effective: Mapping[str, Any]) -> Iterator[_Change]:
    """A smaller least size of an elastic gang."""
    least, most = effective["replicas"]["min"], effective["replicas"]["max"]
    if least == most:
        return
    for fewer in dict.fromkeys((least // 2, 1)):
        if 0 < fewer < least:
            patch = {"nodes": {"min": fewer, "max": most}}
            yield _Change(patch, f"With {fewer} to {most} replicas", then=", and grow later")


def _preemptible(effective: Mapping[str, Any]) -> Iterator[_Change]:
    if not effective["preemptible"]:
        loses = "" if effective["checkpoint_path"] else " and begins anew, as it saves no checkpoint"
        yield _Change({"preemptible": True}, "If it were preemptible", then=f"; it may be taken back{loses}")


def _shorter(effective: Mapping[str, Any], run: Run) -> Iterator[_Change]:
    """A shorter bound, in which such jobs end: with it the job may go before what is reserved (B2)."""
    bound = effective["max_duration_ms"]
    known = None if run.p90 is None or run.p90 == bound else run.p90
    for length in _DURATIONS:
        if (bound is None or length < bound) and (known is None or length >= known):
            words = f"With `max_duration: {length // _MINUTE_MS}m` ({duration_words(length)})"
            yield _Change({"max_duration": f"{length // _MINUTE_MS}m"}, words)
