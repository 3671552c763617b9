"""What a team may still start, what is its fair share, and how much of it it has had (F1 to F5).

A limit bounds a team together with all teams below it; a guarantee is of the team's own work. Fair shares are
taken level by level over the tree of teams (F2); a team's own work stands beside its sub-teams, as if it were
one more of them. `division` knows how one level shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from scheduler_core.division import Claim, divide
from scheduler_core.ledger import Ledger
from scheduler_core.model import WHOLE_CHIP, Id, PastUse, Quota, Request, Team
from scheduler_core.policy import MINUTE
from scheduler_core.slices import charge, slice_milli
from scheduler_core.trial import Use

UNQUOTED: Final = Quota("")
"""What stands in for a missing quota row: no guarantee, no limit, weight 1 (ADR 0002)."""

HALVING: Final = (
    4294967296, 4112874773, 3938502376, 3771522796, 3611622603, 3458501653, 3311872529, 3171459999,
    3037000500, 2908241642, 2784941738, 2666869345, 2553802834, 2445529972, 2341847524, 2242560872,
    2147483648,
)  # fmt: skip
"""2³² × 2^(-i/16): the fixed table of the half-life (Q1). Between its steps it is followed in straight lines."""

LN2_MILLIONTHS: Final = 693_147
"""A constant use of n chips leaves a decayed service of n × half-life / ln 2 behind."""


def room(
    ledger: Ledger, team: Id, chip_type: str, *, preemptible: bool, user: Id | None = None
) -> int | None:
    """Milli-chips of this type that the team may still start; None where nothing bounds it.

    Its limit and those of all teams above it bound all work (F1). Its guarantee bounds work that is not
    preemptible (F4). A cap per user bounds what this user, if one is named, has in the team (F5). A type
    without a quota row is unlimited and unguaranteed (ADR 0002). Negative where an excess already stands.
    """
    bounds = [
        limit - ledger.used.get((payer, chip_type), 0) for payer, limit in limits_of(ledger, team, chip_type)
    ]
    quota = ledger.quotas.get((team, chip_type))
    if quota is not None and not preemptible:
        bounds.append(quota.guaranteed - ledger.firm.get((team, chip_type), 0))
    if user is not None and (cap := user_cap(ledger, team, chip_type)) is not None:
        bounds.append(cap - ledger.of_user.get((team, user, chip_type), 0))
    return min(bounds, default=None)


def limits_of(ledger: Ledger, team: Id, chip_type: str) -> tuple[tuple[Id, int], ...]:
    """The limits that bound the team's work on this chip type: its own and those above it, the nearest first (F1)."""
    known = ledger.on_terms.get((team, chip_type))
    if known is None:
        rows = ((payer, ledger.quotas.get((payer, chip_type))) for payer in ledger.payers(team))
        known = tuple((payer, row.limit) for payer, row in rows if row is not None and row.limit is not None)
        ledger.on_terms[team, chip_type] = known
    return known


def is_bounded(ledger: Ledger, team: Id, *, preemptible: bool, user: Id | None) -> bool:
    """Whether anything may bound such work of the team, on any chip type: else `room` is None for all of them."""
    if not preemptible or user is not None:
        return True
    known = ledger.on_terms.get((team,))
    if known is None:
        payers = set(ledger.payers(team))
        known = any(of in payers and row.limit is not None for (of, _), row in ledger.quotas.items())
        ledger.on_terms[team,] = known
    return bool(known)


def user_cap(ledger: Ledger, team: Id, chip_type: str) -> int | None:
    """The most milli-chips of the type that each user of the team may hold in it; None without a cap (F5)."""
    row = ledger.teams.get(team)
    caps = (cap.limit for cap in (row.user_caps if row else ()) if cap.chip_type == chip_type)
    return min(caps, default=None)


def budget_spent(ledger: Ledger, team: Id) -> Team | None:
    """The nearest team, this one or one above it, whose budget is spent: it starts nothing with chips (F5)."""
    known = ledger.on_terms.get(team, False)
    if known is False:
        rows = (ledger.teams.get(payer) for payer in ledger.payers(team))
        spent = (
            row for row in rows if row is not None and row.budget_left is not None and row.budget_left <= 0
        )
        known = ledger.on_terms[team] = next(spent, None)
    return known  # type: ignore[no-any-return]


def least_charge(ledger: Ledger, request: Request, chip_type: str) -> int:
    """The least milli-chips that quota would charge for one replica on chips of this type (Q3)."""
    if request.chips:
        return request.chips * WHOLE_CHIP
    if not request.chip_memory:
        return request.milli
    step = min((pool.slice_step for pool in ledger.pools.values()), default=1)
    return min(
        (
            charge(request.milli or slice_milli(request.chip_memory, size, step), request.chip_memory, size)
            for size in ledger.chip_memories(chip_type)
            if size >= request.chip_memory
        ),
        default=request.milli,
    )


@dataclass(slots=True)
class FairShares:
    """The shares of one cycle, in milli-chips by team and chip type; fixed at its start (R2)."""

    fair: dict[Use, int] = field(default_factory=dict)
    """Of the team with all teams below it, capped by what they ask for: compare with `Ledger.used`."""
    own: dict[Use, int] = field(default_factory=dict)
    """The part of `fair` for the team's own work: compare with `Ledger.own`."""
    entitled: dict[Use, int] = field(default_factory=dict)
    """Of the team's own work if it asked for more than it does: what F3 divides use by."""


class Sharing:
    """The fair shares of one cycle after another: what decides them seldom changes, and then they stay."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._asked: Mapping[Use, int] | None = None
        self._terms = -1
        self._shares = FairShares()
        self._tree: _Tree | None = None
        self._unknown: set[Id] = set()
        """Teams of which there is work, and nothing else is known."""

    def shares(self, waiting: Mapping[Use, int]) -> FairShares:
        """The fair share of every team, and of every team above it, per chip type (F2).

        `waiting` is what each team's own waiting work asks for. What already runs asks for what it has, and so
        does work that is leaving: it will wait again (R2).
        """
        ledger, asked = self._ledger, _asked(self._ledger, waiting)
        if asked == self._asked and self._terms == ledger.terms:
            return self._shares
        unknown = {team for team, _ in asked if team not in ledger.teams}
        if self._tree is None or self._terms != ledger.terms or unknown != self._unknown:
            self._tree, self._unknown = _Tree(ledger, unknown), unknown
        self._asked, self._terms, self._shares = asked, ledger.terms, FairShares()
        for chip_type in sorted({chip_type for _, chip_type in asked} | set(ledger.chip_types())):
            _share_out(ledger, self._tree, chip_type, asked, self._shares)
        return self._shares


def fair_shares(ledger: Ledger, waiting: Mapping[Use, int]) -> FairShares:
    """The fair shares of one cycle alone."""
    return Sharing(ledger).shares(waiting)


class Standing:
    """How each team stands in the order of one cycle (F3)."""

    def __init__(
        self,
        ledger: Ledger,
        shares: FairShares,
        now: int,
        half_life: int,
        guests: Mapping[Use, int] | None = None,
    ) -> None:
        """`guests`: milli-chips that each team's guests count for (T3)."""
        self._ledger = ledger
        self._guests = guests or {}
        self._shares = shares
        self._now, self._half_life = last_fading(now), half_life
        self._past: dict[Id, dict[str, int]] = {}

    def __call__(self, team: Id) -> tuple[int, int]:
        """The team's place among teams; less is earlier.

        First what it has of types that it has no share of at all, then its dominant share: the largest of
        (used + past use) / share, times 2⁶⁴ and rounded down. Two different fractions of whole numbers below
        2³² stay different, so that this compares as cross-multiplication does (Q1).
        """
        past = self._past.get(team)
        if past is None:
            past = self._past[team] = self._past_of(team)
        unfair = worst = 0
        own, entitled = self._ledger.own, self._shares.entitled
        for chip_type in self._ledger.chip_types():
            used = own.get((team, chip_type), 0)
            if self._guests:
                used += self._guests.get((team, chip_type), 0)
            share = entitled.get((team, chip_type), 0)
            if share > 0:
                if (used := used + past.get(chip_type, 0)) > 0:
                    worst = max(worst, (used << 64) // share)
            else:
                unfair += used
        return unfair, worst

    def numbers(self, team: Id, chip_type: str) -> tuple[int, int, int]:
        """What places the team beside what it has of this type: its share, its past use, its guests' use."""
        past = self._past.get(team)
        if past is None:
            past = self._past[team] = self._past_of(team)
        use = (team, chip_type)
        return self._shares.entitled.get(use, 0), past.get(chip_type, 0), self._guests.get(use, 0)

    def _past_of(self, team: Id) -> dict[str, int]:
        row = self._ledger.teams.get(team)
        return {
            use.chip_type: average_use(use, self._now, self._half_life)
            for use in (row.past_use if row else ())
        }


def last_fading(now: int) -> int:
    """Past use fades in steps: as of the last whole minute (S6)."""
    return now - now % MINUTE


def average_use(use: PastUse, now: int, half_life: int) -> int:
    """Past use on the scale of present use: the milli-chips that a team which always used so much would hold.

    Decayed service × ln 2 / half-life: the mean of what it held, weighted by 2^(-age / half-life).
    """
    return decayed(use.service, now - use.as_of, half_life) * 1000 * LN2_MILLIONTHS // (half_life * 1_000_000)


def decayed(service: int, elapsed: int, half_life: int) -> int:
    """What is left of this service after so many milliseconds, rounded down. Time never runs backwards."""
    halvings, rest = divmod(max(elapsed, 0), half_life)
    step, within = divmod(rest * 16, half_life)
    factor = HALVING[step] - (HALVING[step] - HALVING[step + 1]) * within // half_life
    return service * factor >> (32 + halvings)


def _asked(ledger: Ledger, waiting: Mapping[Use, int]) -> dict[Use, int]:
    """What each team's own work asks for: running, leaving and waiting."""
    asked = dict(ledger.own)
    for use, milli in waiting.items():
        asked[use] = asked.get(use, 0) + milli
    promised = {attempt_id for promise in ledger.promises.values() for attempt_id in promise.attempts}
    for attempt in filter(None, map(ledger.running.get, promised)):
        for placement in attempt.departing:
            for chip_type, milli in ledger.charges(placement):
                use = (attempt.team, chip_type)
                asked[use] = asked.get(use, 0) + milli
    return asked


class _Tree:
    """Who is under whom. A team whose parent is unknown is a top; of a ring, its lowest id is."""

    def __init__(self, ledger: Ledger, busy: Iterable[Id]) -> None:
        teams = sorted({*ledger.teams, *busy})
        self.parents: dict[Id, Id | None] = {}
        for team in teams:
            row = ledger.teams.get(team)
            parent = row.parent if row else None
            self.parents[team] = parent if parent in ledger.teams else None
        for team in teams:
            self._cut_ring_above(team)
        self.children: dict[Id | None, list[Id]] = {}
        for team, parent in self.parents.items():
            self.children.setdefault(parent, []).append(team)
        self.downwards: list[Id] = []
        """Every team after the one above it."""
        level = self.children.get(None, [])
        while level:
            self.downwards += level
            level = [child for team in level for child in self.children.get(team, ())]

    def _cut_ring_above(self, team: Id) -> None:
        line = [team]
        while (above := self.parents[line[-1]]) is not None:
            if above in line:
                self.parents[min(line[line.index(above) :])] = None
                return
            line.append(above)


def _share_out(
    ledger: Ledger, tree: _Tree, chip_type: str, asked: Mapping[Use, int], shares: FairShares
) -> None:
    """One chip type: what teams ask for and are promised, summed upwards; then shares, downwards."""
    whole: dict[Id, Claim] = {}
    own: dict[Id, Claim] = {}
    for team in reversed(tree.downwards):
        quota = ledger.quotas.get((team, chip_type), UNQUOTED)
        below = [whole[child] for child in tree.children.get(team, ())]
        promised = sum(claim.guaranteed for claim in below)
        mine = asked.get((team, chip_type), 0)
        wanted = mine + sum(claim.wanted for claim in below)
        if quota.limit is not None:
            wanted = min(wanted, quota.limit)
        guaranteed = max(quota.guaranteed, promised)
        whole[team] = Claim(team, guaranteed, quota.over_quota_weight, wanted, quota.limit)
        own[team] = Claim(team, max(quota.guaranteed - promised, 0), 1, mine, quota.limit)
    tops = tree.children.get(None, [])
    amounts = dict(
        zip(
            tops,
            divide(ledger.capacity.get(chip_type, 0), [whole[top] for top in tops]),
            strict=True,
        )
    )
    for team in tree.downwards:
        got = amounts[team]
        shares.fair[team, chip_type] = got.fair
        children = tree.children.get(team, [])
        if not children:
            shares.own[team, chip_type], shares.entitled[team, chip_type] = got.fair, got.entitled
            continue
        mine_got, *below_got = divide(got.entitled, [own[team], *(whole[child] for child in children)])
        shares.own[team, chip_type], shares.entitled[team, chip_type] = mine_got.fair, mine_got.entitled
        amounts.update(zip(children, below_got, strict=True))
