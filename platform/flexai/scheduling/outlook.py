"""What would become of a spec that is not submitted yet: when it would start, what it would cost, and what its team and
those above it would hold then (X4, F1, F2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.conf import settings

from flexai.jobs.creation import Prepared
from flexai.jobs.quantities import duration_words
from flexai.jobs.requests import gangs_from
from flexai.scheduling.lateness import Run, run_of, warnings_of
from flexai.scheduling.trials import Starts, Trial
from flexai.tenancy.askable import money_of
from flexai.tenancy.models import Quota, Team, TeamUse, UserCap
from flexai.tenancy.prices import prices_on
from flexai.tenancy.principals import Principal, TeamSeat

CHIP: Final = 1000
_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one way to run the job, with the least of its replicas."""

    chip_type: str
    milli: int
    micro_per_chip_hour: int | None
    """None: the type has no price."""
    micro: int | None
    """For as long as such a job runs; None where that or the price is not known."""

    @property
    def micro_per_hour(self) -> int:
        """0 where it has no price."""
        return (self.micro_per_chip_hour or 0) * self.milli // CHIP


@dataclass(frozen=True, slots=True)
class Holding:
    """What a team holds of a chip type, and would hold with the job."""

    team: TeamSeat
    chip_type: str
    used_milli: int
    asked_milli: int
    guaranteed_milli: int | None
    """None: the team has no quota, so no guarantee is kept for it and no limit holds."""
    limit_milli: int | None

    @property
    def sentence(self) -> str:
        """What that means for the job."""
        then = self.used_milli + self.asked_milli
        says = f"Team {self.team.name} would hold {_chips(then)} {self.chip_type}"
        if self.limit_milli is not None and then > self.limit_milli:
            return (
                f"{says}, more than its limit of {_chips(self.limit_milli)}: it waits until others of it end."
            )
        if self.guaranteed_milli is None:
            return f"{says}; it has no quota."
        if then > self.guaranteed_milli:
            borrowed = min(self.asked_milli, then - self.guaranteed_milli)
            return f"{says}; {_chips(borrowed)} of them beyond its guarantee, which others may claim back."
        return f"{says} of {_chips(self.guaranteed_milli)} guaranteed."


@dataclass(frozen=True, slots=True)
class Outlook:
    """What would become of it."""

    starts: Starts | None
    """None: somebody else says when, it is not in sight, or too much waits to say."""
    run: Run
    costs: tuple[Cost, ...]
    holdings: tuple[Holding, ...]
    warnings: tuple[str, ...]

    def sentences(self, now: datetime) -> list[str]:
        """The same in words."""
        return [*self._start_in_words(now), *self._costs_in_words(), *(one.sentence for one in self.holdings)]

    def _start_in_words(self, now: datetime) -> Iterator[str]:
        if self.starts is not None:
            yield f"It would start {start_in_words(self.starts, now)}."

    def _costs_in_words(self) -> Iterator[str]:
        for one in self.costs:
            if one.micro_per_chip_hour is not None:
                hourly = f"{_chips(one.milli)} {one.chip_type} cost {money(one.micro_per_hour)} an hour"
                whole = "" if one.micro is None or self.run.p50 is None else (
                    f", {money(one.micro)} for the {duration_words(self.run.p50)} that such a job runs"
                )  # fmt: skip
                yield f"{hourly}{whole}."


def outlook_of(principal: Principal, prepared: Prepared, now: datetime, trial: Trial | None) -> Outlook:
    """What would become of the job, or of each of an array, were it submitted now; of its start nothing without a
    trial."""
    effective = prepared.effective
    run = run_of(prepared.cell, principal.user.pk, prepared.team.pk, effective["name"], effective)
    starts = None if trial is None else trial.starts_of(principal, prepared)
    asked = _asked(effective)
    return Outlook(
        starts,
        run,
        costs_of(effective, run, now.date()),
        tuple(_holdings(principal, prepared, asked)),
        (*warnings_of(prepared, starts, run, now), *_bounded(principal, prepared, asked)),
    )


def start_in_words(starts: Starts, now: datetime) -> str:
    """When that is, after "it would start"."""
    soon, late = starts
    if (late - now).total_seconds() < 1:
        return "at once"
    within, at_most = (duration_words((at - now) // timedelta(milliseconds=1)) for at in (soon, late))
    likely = f"in {within} ({soon:%Y-%m-%d %H:%M} UTC)"
    return likely if within == at_most else f"{likely}, in nine cases of ten within {at_most}"


def costs_of(effective: Mapping[str, Any], run: Run, today: date) -> tuple[Cost, ...]:
    """Of each way to run it."""
    return tuple(_costs(_asked(effective), run, today))


def _asked(effective: Mapping[str, Any]) -> dict[str, int]:
    """Milli-chips by type, of the least replicas, in each way to run it; a type that is not named is nobody's."""
    asked = {}
    for gang in gangs_from(effective):
        milli = gang.minimum * (gang.request.milli or gang.request.chips * CHIP)
        asked.update({chip_type: milli for chip_type in gang.request.chip_types if milli})
    return asked


def _costs(asked: Mapping[str, int], run: Run, today: date) -> Iterator[Cost]:
    prices = prices_on(today)
    for chip_type, milli in asked.items():
        hourly = prices.get(chip_type)
        known = None if hourly is None or run.p50 is None else hourly * milli * run.p50 // (CHIP * _HOUR_MS)
        yield Cost(chip_type, milli, hourly, known)


def _line(principal: Principal, team: TeamSeat) -> list[TeamSeat]:
    """The team that pays, and those above it as far as the principal sees them."""
    seats = {seat.pk: seat for seat in principal.teams}
    line: list[TeamSeat] = []
    seat: TeamSeat | None = team
    while seat is not None and seat not in line:
        line.append(seat)
        seat = seats.get(seat.parent) if seat.parent is not None else None
    return line


def _bounded(principal: Principal, prepared: Prepared, asked: Mapping[str, int]) -> Iterator[str]:
    """Which budget is spent, and what of it a single user may never hold (F5)."""
    teams = [one.pk for one in _line(principal, prepared.team)] if asked else []
    for team in Team.objects.filter(pk__in=teams, budget__hard=True, budget__is_spent=True).order_by("pk"):
        yield f"The budget of team {team.name} is spent: nothing with chips starts in it."
    for cap in UserCap.objects.filter(team=prepared.team.pk, cell=prepared.cell, chip_type__in=list(asked)):
        if asked[cap.chip_type] > cap.limit_milli:
            yield f"Team {prepared.team.name} lets a user hold {_chips(cap.limit_milli)} {cap.chip_type} at most."


def _holdings(principal: Principal, prepared: Prepared, asked: Mapping[str, int]) -> Iterator[Holding]:
    """Of the team that pays, and of those above it."""
    line = _line(principal, prepared.team)
    of_them = {"team__in": [one.pk for one in line], "cell": prepared.cell, "chip_type__in": list(asked)}
    uses = {(one.team_id, one.chip_type): one.used_milli for one in TeamUse.objects.filter(**of_them)}
    quotas = {(one.team_id, one.chip_type): one for one in Quota.objects.filter(**of_them)}
    for chip_type, milli in asked.items():
        for one in line:
            quota = quotas.get((one.pk, chip_type))
            yield Holding(
                one, chip_type, uses.get((one.pk, chip_type), 0), milli,
                quota.guaranteed_milli if quota else None, quota.limit_milli if quota else None,
            )  # fmt: skip


def _chips(milli: int) -> str:
    return f"{milli / CHIP:g}"


def money(micro: int) -> str:
    """Millionths as an amount of the installation's currency."""
    return money_of(micro, settings.CURRENCY)
