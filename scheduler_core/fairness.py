"""What a team may still start, and how much of its own it already has (F1, F3, F4).

A limit bounds a team together with all teams below it. Guarantee and share are of the team's own work alone:
the fair shares of a tree, level by level (F2), are still to come (ADR 0002).
"""

from __future__ import annotations

from scheduler_core.ledger import Ledger
from scheduler_core.model import Id


def room(ledger: Ledger, team: Id, chip_type: str, *, preemptible: bool) -> int | None:
    """Milli-chips of this type that the team may still start; None where nothing bounds it.

    Its limit and those of all teams above it bound all work (F1). Its guarantee bounds work that is not
    preemptible (F4). A type without a quota row is unlimited and unguaranteed (ADR 0002). Negative where an
    excess already stands.
    """
    bounds = []
    for payer in ledger.payers(team):
        quota = ledger.quotas.get((payer, chip_type))
        if quota is not None and quota.limit is not None:
            bounds.append(quota.limit - ledger.used.get((payer, chip_type), 0))
    quota = ledger.quotas.get((team, chip_type))
    if quota is not None and not preemptible:
        bounds.append(quota.guaranteed - ledger.firm.get((team, chip_type), 0))
    return min(bounds, default=None)


class Share:
    """A share `used / of`, compared by cross-multiplication: whole numbers decide (Q1)."""

    __slots__ = ("of", "used")

    def __init__(self, used: int, of: int) -> None:
        self.used, self.of = used, of

    def __lt__(self, other: Share) -> bool:
        return self.used * other.of < other.used * self.of

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Share) and self.used * other.of == other.used * self.of

    def __hash__(self) -> int:
        raise TypeError("equal shares can be written differently; they are for comparing")

    def __repr__(self) -> str:
        return f"Share({self.used}/{self.of})"


def dominant_share(ledger: Ledger, team: Id) -> Share:
    """The largest share over chip types of what the team uses to what it is guaranteed (F3, simplified).

    Without a guarantee one milli-chip stands in for it, so that borrowed use sorts behind guaranteed use.
    """
    worst = Share(0, 1)
    for chip_type in ledger.chip_types():
        used = ledger.own.get((team, chip_type), 0)
        if used:
            quota = ledger.quotas.get((team, chip_type))
            worst = max(worst, Share(used, max(quota.guaranteed, 1) if quota else 1))
    return worst
