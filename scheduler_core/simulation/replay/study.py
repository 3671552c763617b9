"""Figure 2: whole traces replayed in time, every policy in one table, at several loads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

from scheduler_core.simulation.driven import Engine, Keeping, drive
from scheduler_core.simulation.replay import metrics
from scheduler_core.simulation.replay.in_line import EASY
from scheduler_core.simulation.replay.metrics import Summary
from scheduler_core.simulation.replay.policies import LEARNED_MEDIAN, InLine, Manner, Policy
from scheduler_core.simulation.replay.running import replay
from scheduler_core.simulation.replay.sharing import Alone, Incentive, incentives, teams_alone
from scheduler_core.simulation.replay.state import equal_nodes
from scheduler_core.simulation.workload import NODE_CHIPS, Workload

RIVALS = ("easy", "tiresias")
"""Mean completion is held against the best of the policies whose names begin so, oracles too."""
WANTED = 0.9
WANTED_WAIT = 1.1


@dataclass(frozen=True, slots=True)
class Row:
    """One policy at one load."""

    summary: Summary
    incentives: list[Incentive]
    efforts: tuple[int, int] | None = None
    """The least and the most effort of the engine's decisions (S4)."""

    @property
    def violations(self) -> list[Incentive]:
        return [incentive for incentive in self.incentives if incentive.violated]


@dataclass(frozen=True, slots=True)
class Table:
    """All policies at one offered load (percent) of one trace; the first row is the no-queue floor."""

    trace: str
    load: int
    nodes: int
    offered: float
    """The load that whole nodes really give, in percent."""
    rows: list[Row]

    def row(self, policy: str) -> Row | None:
        return next((row for row in self.rows if row.summary.policy == policy), None)

    @property
    def bar(self) -> float | None:
        """0.9 x the best mean completion of the rivals that ran, in hours."""
        means = [row.summary.mean_completion for row in self.rows if row.summary.policy.startswith(RIVALS)]
        return WANTED * min(means) if means else None

    @property
    def bar_below_floor(self) -> bool:
        """True where no policy can pass the bar: it lies below the mean run time."""
        return self.bar is not None and self.bar < self.rows[0].summary.mean_completion

    def as_json(self) -> dict[str, object]:
        """The table as plain values."""
        return {
            "trace": self.trace,
            "load": self.load,
            "nodes": self.nodes,
            "offered": self.offered,
            "bar_mean_completion": self.bar,
            "bar_below_floor": self.bar_below_floor,
            "rows": [
                {
                    **asdict(row.summary),
                    "efforts": row.efforts,
                    "incentive_violations": [
                        {
                            "team": one.team,
                            "shared": one.shared,
                            "alone": one.alone,
                            "guarantee": one.guarantee,
                        }
                        for one in row.violations
                    ],
                }
                for row in self.rows
            ],
        }


def nodes_for(work: Workload, load: int) -> int:
    """Nodes on which the trace's chip-time is `load` percent of the chip-time there is over its span."""
    return max(1, round(100 * work.chip_time / (work.span * load * NODE_CHIPS)))


def study(
    work: Workload,
    load: int,
    policies: list[Policy | Engine],
    *,
    progress: Callable[[str, int], None] = lambda policy, came: None,
) -> Table:
    """Every policy on the whole trace at this load, and how each keeps the sharing incentive."""
    nodes = nodes_for(work, load)
    cluster = equal_nodes(nodes, NODE_CHIPS)
    alone = teams_alone(work, cluster.chips, own_easy)
    rows = [Row(metrics.floor(work), [])]
    for policy in policies:
        rows.append(_row(work, cluster.chips, policy, alone, progress))
    offered = 100 * work.chip_time / (work.span * cluster.chips)
    return Table(work.name, load, nodes, offered, rows)


def own_easy() -> InLine:
    """The policy of a team's own cluster: EASY with the same learned run times."""
    return InLine("own easy", Manner(EASY, estimate=LEARNED_MEDIAN))


def _row(
    work: Workload,
    chips: int,
    policy: Policy | Engine,
    alone: list[Alone],
    progress: Callable[[str, int], None],
) -> Row:
    cluster = equal_nodes(chips // NODE_CHIPS, NODE_CHIPS)
    if isinstance(policy, Engine):
        title = f"{work.name}, {len(work)} jobs, {chips} chips" + (", mix told" if policy.tells_mix else "")
        folder = policy.keep_in
        kept = None if folder is None else Keeping(folder / f"{work.name}-{chips}.run", title)
        tell = partial(progress, policy.name)
        driven = drive(work, cluster, policy.policy, tells_mix=policy.tells_mix, keeping=kept, progress=tell)
        outcome, efforts = driven.outcome, driven.efforts
    else:
        outcome, efforts = replay(work, cluster, policy, progress=partial(progress, policy.name)), None
    return Row(metrics.summary(outcome), incentives(outcome, alone), efforts)
