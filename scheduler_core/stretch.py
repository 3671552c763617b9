"""A stretch of the line in one loop: the turns of simple jobs, one after another, over columns (F3, P2, F1, F4).

A job is simple when it is one replica and nothing but room and quota decides whether it starts: most are. Whose turn it
is, where the job sits, what its team is charged and where that puts the team in line is all counted here in whole
numbers, just as `ordering`, `placement` and `fairness` say it. At the first turn that is not simple, or that finds no
place, the stretch ends, and whoever reads on does that turn.
"""

from __future__ import annotations

from scheduler_core.census import KIND, SLICE, WANTED, WANTED_CPU, WANTED_HOST_MEMORY, WHOLE, next_chip
from scheduler_core.columns import (
    ACCEPTS,
    CHIP_FIELDS,
    CHIP_MEMORY,
    HELD,
    HOLDER,
    LOG,
    NOBODY,
    NODE_FIELDS,
    OTHERS_ACCEPT,
    Ints,
    put,
    sum_up,
)
from scheduler_core.compiled import compiled
from scheduler_core.model import WHOLE_CHIP
from scheduler_core.seats import AT, CHARGE, ROW, SCRATCH, SHARE, SHARE_MEMORY, has_seat
from scheduler_core.shelves import best_on_shelves, put_row

(
    TEAM, MINUS_PRIORITY, LEVEL, SUBMITTED, JOB, SMALLER, LARGER, NEXT, LOADED, SIMPLE, TRIES, TRIES_END,
    ORGANIZATION, ACCEPTED, FIRM_WORK, OWED_TYPE, OWED, LONGEST, CLASS_FIELDS,
) = range(19)  # fmt: skip
"""Columns of a class in line: its team; its next job's place; the classes that stand below it in its team's heap; where
in the table of jobs its next one is, and where those end that are there; whether its jobs are simple; where its needs
begin and end among the tries; who asks, and what isolation it accepts; whether it is not preemptible; the type and the
milli-chips by which it is inside its guarantee; how long it may well run, or `ENDLESS`."""
ENDLESS = 1 << 60

JOB_SUBMITTED, JOB_ID, JOB_INDEX, JOB_FIELDS = range(4)
"""Columns of a job in line; last its index in its class."""

TRY_NEED, TRY_TYPE, TRY_FIELDS = range(3)
"""Columns of a try: the need, and the chip type that quota is asked for, or `NO_TYPE`."""
NO_TYPE = -1

TEAM_ID, TOP, TEAM_LEVEL, UNFAIR, HAS, OF_SHARE, TEAM_FIELDS = range(7)
"""Columns of a team: the class whose turn it would be, and the team's place among teams; its dominant share is `HAS`
of `OF_SHARE`."""

OWN, USED, FIRM, LIMIT, GUARANTEED, ENTITLED, PAST, GUESTS, SUM_FIELDS = range(9)
"""Of a team and a chip type: what is charged, what bounds it (or `NO_BOUND`), and what places the team in line."""
NO_BOUND = -1

KEPT_TEAM, KEPT_PRIORITY, KEPT_LEVEL, KEPT_TYPE, KEPT_OWED, KEPT_UNTIL, KEPT_FIELDS = range(7)
"""Columns of a reservation that stands, as `Backfill.may_pass` asks about it: of its class the team, priority
(negative) and level, the chip type and what it would be charged; in how long it is served."""

START_CLASS, START_JOB, START_ROW, START_AT, START_MILLI, START_MEMORY, START_CHIPS, START_FIELDS = range(8)
"""Columns of a start: its class and its place in the table of jobs; its node's row; of a slice its chip's place and
the share; where its whole chips begin among those taken."""

CHANGES, STARTS, TAKEN, SAVED, LEFT, STAMP, MOST, CLASS, FINAL, FULL_SINCE, HEAD_FIELDS = range(11)
"""Of a stretch: the last change of a row; how many starts there are, whole chips taken, rows saved, and
classes that left the line; its number; how many starts there may be; whose turn ended it; whether who finds no place
leaves the line, unless it may pass a reservation; the first stretch since which room has only become less."""

EMPTY, TURN, NO_PLACE, MORE_JOBS, FULL = range(5)
"""Why a stretch ends: nobody is in line; the turn is not simple; there is no place for it; the class has jobs that are
not in the table; there may be no more starts."""

NOBODY_IN_LINE = -1

NO_SEAT, NO_QUOTA = -1, -2
"""In the place of a need: no node can take the replica; some could, and quota does not let it start there."""


# fmt: off
@compiled
def serve_stretch(
    nodes: Ints, chips: Ints, changed: Ints, log: Ints, shelves: Ints, ends: int, unlike: Ints, asked: Ints,
    pools: Ints, seats: Ints, classes: Ints, jobs: Ints, tries: Ints, full: Ints, teams: Ints, sums: Ints,
    payers: Ints, kept: Ints, owes: Ints, kept_nodes: Ints, kept_chips: Ints, starts: Ints, taken: Ints,
    left: Ints, saved: Ints, saved_nodes: Ints, saved_chips: Ints, touched: Ints, head: Ints,
) -> int:
# fmt: on
    """Simple turns are served until one is not; why it ended. Rows are saved as they were before."""
    while head[STARTS] < head[MOST]:
        team = next_team(teams, classes)
        if team < 0:
            return EMPTY
        head[CLASS] = which = teams[team, TOP]
        if not classes[which, SIMPLE]:
            return TURN
        need = _find(
            nodes, chips, shelves, ends, unlike, asked, pools, seats, classes, which, tries, full,
            head[FULL_SINCE], sums, payers,
        )  # fmt: skip
        if need < 0:
            if not head[FINAL]:
                return NO_PLACE
            if _may_pass(classes, which, sums, kept, owes) and (
                need == NO_QUOTA
                or _fits_on(kept_nodes, kept_chips, asked, pools, seats, classes, which, tries)
            ):
                return NO_PLACE
            left[head[LEFT]] = which
            head[LEFT] += 1
            leave(classes, teams, sums, team)
            continue
        if touched[seats[0, ROW]] != head[STAMP]:
            _save(nodes, chips, seats[0, ROW], saved, saved_nodes, saved_chips, touched, head)
        _note(starts, head[STARTS], which, classes[which, NEXT], seats, head[TAKEN])
        head[TAKEN] = _hold(nodes, chips, asked, need, seats, classes, which, taken, head[TAKEN])
        put_row(nodes, chips, seats[0, ROW], shelves, ends)
        head[CHANGES] += 1
        log[head[CHANGES] % LOG] = seats[0, ROW]
        changed[seats[0, ROW]] = head[CHANGES]
        head[STARTS] += 1
        classes[which, NEXT] += 1
        if classes[which, NEXT] == classes[which, LOADED]:
            return MORE_JOBS
        go_on(classes, jobs, teams, sums, which)
    return FULL


@compiled
def _find(
    nodes: Ints,
    chips: Ints,
    shelves: Ints,
    ends: int,
    unlike: Ints,
    asked: Ints,
    pools: Ints,
    seats: Ints,
    classes: Ints,
    which: int,
    tries: Ints,
    full: Ints,
    since: int,
    sums: Ints,
    payers: Ints,
) -> int:
    """The need on the first chip type that has a place which the team may be charged for, its seat first in `seats` and
    charged; `NO_SEAT` or `NO_QUOTA` where there is none. Needs without a place have none while room only becomes
    less.
    """
    found = NO_SEAT
    for at in range(classes[which, TRIES], classes[which, TRIES_END]):
        need, chip_type = tries[at, TRY_NEED], tries[at, TRY_TYPE]
        if full[need] > since:
            continue
        if not best_on_shelves(nodes, chips, shelves, ends, unlike, asked, need, pools, seats):
            full[need] = since + 1
            continue
        if chip_type == NO_TYPE:
            return int(need)
        found = NO_QUOTA
        if _may(sums, payers, classes, which, chip_type, seats[0, CHARGE]):
            _charge(sums, payers, classes, which, chip_type, seats[0, CHARGE])
            return int(need)
    return found


@compiled
def _may(sums: Ints, payers: Ints, classes: Ints, which: int, chip_type: int, charge: int) -> bool:
    """Whether the team may be charged so much more (F1, F4)."""
    if charge == 0:
        return True
    team = classes[which, TEAM]
    for at in range(payers.shape[1]):
        payer = payers[team, at]
        if payer < 0 or sums[payer, chip_type, LIMIT] == NO_BOUND:
            continue
        if sums[payer, chip_type, USED] + charge > sums[payer, chip_type, LIMIT]:
            return False
    if classes[which, FIRM_WORK] and sums[team, chip_type, GUARANTEED] != NO_BOUND:
        return bool(sums[team, chip_type, FIRM] + charge <= sums[team, chip_type, GUARANTEED])
    return True


@compiled
def _charge(sums: Ints, payers: Ints, classes: Ints, which: int, chip_type: int, charge: int) -> None:
    team = classes[which, TEAM]
    for at in range(payers.shape[1]):
        if payers[team, at] >= 0:
            sums[payers[team, at], chip_type, USED] += charge
    sums[team, chip_type, OWN] += charge
    if classes[which, FIRM_WORK]:
        sums[team, chip_type, FIRM] += charge


@compiled
def _may_pass(classes: Ints, which: int, sums: Ints, kept: Ints, owes: Ints) -> bool:
    """Whether the class may use what some reservation keeps, as `Backfill.may_pass` says it (B2, F3)."""
    for at in range(len(kept)):
        if classes[which, LONGEST] <= kept[at, KEPT_UNTIL]:
            return True
        level, chip_type = classes[which, LEVEL], kept[at, KEPT_TYPE]
        if classes[which, TEAM] == kept[at, KEPT_TEAM]:
            mine, others = classes[which, MINUS_PRIORITY], kept[at, KEPT_PRIORITY]
            if mine < others or (mine == others and level < kept[at, KEPT_LEVEL]):
                return True
        elif not _is_inside(sums, kept[at, KEPT_TEAM], chip_type, kept[at, KEPT_OWED]):
            if level < kept[at, KEPT_LEVEL]:
                return True
            if chip_type != NO_TYPE and _is_inside(
                sums, classes[which, TEAM], chip_type, owes[which, chip_type]
            ):
                return True
    return False


@compiled
def _fits_on(
    nodes: Ints,
    chips: Ints,
    asked: Ints,
    pools: Ints,
    seats: Ints,
    classes: Ints,
    which: int,
    tries: Ints,
) -> bool:
    """Whether one of these nodes could take a replica of the class."""
    for at in range(classes[which, TRIES], classes[which, TRIES_END]):
        for row in range(len(nodes)):
            if has_seat(nodes, chips, row, asked, tries[at, TRY_NEED], pools, seats, SCRATCH):
                return True
    return False


@compiled
def _is_inside(sums: Ints, team: int, chip_type: int, more: int) -> bool:
    """Whether the team is within its guarantee with so much more."""
    if chip_type == NO_TYPE:
        return False
    guaranteed = sums[team, chip_type, GUARANTEED]
    return bool(guaranteed > 0 and sums[team, chip_type, OWN] + more <= guaranteed)


# -- what is held ---------------------------------------------------------------------------------------------


@compiled
def _save(
    nodes: Ints,
    chips: Ints,
    row: int,
    saved: Ints,
    saved_nodes: Ints,
    saved_chips: Ints,
    touched: Ints,
    head: Ints,
) -> None:
    """The row as it is now, before this stretch changes it."""
    at = head[SAVED]
    touched[row] = head[STAMP]
    head[SAVED] += 1
    saved[at] = row
    for column in range(NODE_FIELDS):
        saved_nodes[at, column] = nodes[row, column]
    for place in range(chips.shape[1]):
        for column in range(CHIP_FIELDS):
            saved_chips[at, place, column] = chips[row, place, column]


@compiled
def _note(starts: Ints, at: int, which: int, job: int, seats: Ints, taken: int) -> None:
    starts[at, START_CLASS], starts[at, START_JOB], starts[at, START_ROW] = which, job, seats[0, ROW]
    starts[at, START_AT], starts[at, START_MILLI] = seats[0, AT], seats[0, SHARE]
    starts[at, START_MEMORY], starts[at, START_CHIPS] = seats[0, SHARE_MEMORY], taken


@compiled
def _hold(
    nodes: Ints,
    chips: Ints,
    asked: Ints,
    need: int,
    seats: Ints,
    classes: Ints,
    which: int,
    taken: Ints,
    count: int,
) -> int:
    """The replica sits there; its whole chips are among those taken, and so many there are then."""
    row = seats[0, ROW]
    who, accepts = classes[which, ORGANIZATION], classes[which, ACCEPTED]
    cpu, last = asked[need, WANTED_CPU], -1
    if asked[need, KIND] == WHOLE:
        for place in range(asked[need, WANTED]):
            last = next_chip(nodes, chips, row, asked, need, True, last)
            taken[count + place] = last
        for place in range(asked[need, WANTED]):
            at = taken[count + place]
            cpu += put(chips, row, at, 1, WHOLE_CHIP, chips[row, at, CHIP_MEMORY], 1, who, accepts, NOBODY)
        count += asked[need, WANTED]
    elif asked[need, KIND] == SLICE:
        at = seats[0, AT]
        holder, least, others = _with(chips, row, at, who, accepts)
        cpu += put(chips, row, at, 1, seats[0, SHARE], seats[0, SHARE_MEMORY], 1, holder, least, others)
    sum_up(nodes, chips, row, cpu, asked[need, WANTED_HOST_MEMORY])
    return count


@compiled
def _with(chips: Ints, row: int, at: int, who: int, accepts: int) -> tuple[int, int, int]:
    """Who holds the chip once this one does too, as `Columns` counts its holders."""
    if not chips[row, at, HELD]:
        return who, accepts, NOBODY
    holder, least, others = chips[row, at, HOLDER], chips[row, at, ACCEPTS], chips[row, at, OTHERS_ACCEPT]
    if who == holder:
        return holder, max(least, accepts), others
    if accepts > least:
        return who, accepts, least
    return holder, least, max(others, accepts)


# -- the line -------------------------------------------------------------------------------------------------


@compiled
def next_team(teams: Ints, classes: Ints) -> int:
    """The team whose turn it is; -1 where nobody is in line."""
    best = -1
    for team in range(len(teams)):
        if teams[team, TOP] >= 0 and (best < 0 or _team_before(teams, classes, team, best)):
            best = team
    return best


@compiled
def _team_before(teams: Ints, classes: Ints, one: int, other: int) -> bool:
    if teams[one, TEAM_LEVEL] != teams[other, TEAM_LEVEL]:
        return bool(teams[one, TEAM_LEVEL] < teams[other, TEAM_LEVEL])
    if teams[one, UNFAIR] != teams[other, UNFAIR]:
        return bool(teams[one, UNFAIR] < teams[other, UNFAIR])
    mine = teams[one, HAS] * teams[other, OF_SHARE]
    others = teams[other, HAS] * teams[one, OF_SHARE]
    if mine != others:
        return bool(mine < others)
    return class_before(classes, teams[one, TOP], teams[other, TOP])


@compiled
def class_before(classes: Ints, one: int, other: int) -> bool:
    """Whether the one class's next job comes before the other's."""
    for column in range(MINUS_PRIORITY, JOB + 1):
        if classes[one, column] != classes[other, column]:
            return bool(classes[one, column] < classes[other, column])
    return False


@compiled
def enter(classes: Ints, jobs: Ints, teams: Ints, which: int) -> None:
    """The class stands in its team's line with its next job."""
    job, team = classes[which, NEXT], classes[which, TEAM]
    classes[which, SUBMITTED], classes[which, JOB] = jobs[job, JOB_SUBMITTED], jobs[job, JOB_ID]
    classes[which, SMALLER] = classes[which, LARGER] = -1
    teams[team, TOP] = _merged(classes, teams[team, TOP], which)


@compiled
def enter_all(classes: Ints, jobs: Ints, teams: Ints, sums: Ints) -> None:
    """Every class that has a job in the tables stands in line with it; nobody did."""
    for which in range(len(classes)):
        if classes[which, NEXT] < classes[which, LOADED]:
            enter(classes, jobs, teams, which)
    for team in range(len(teams)):
        take_place(classes, teams, sums, team)


@compiled
def leave(classes: Ints, teams: Ints, sums: Ints, team: int) -> None:
    """The team's first class is in line no more; the team's place is taken anew."""
    top = teams[team, TOP]
    teams[team, TOP] = _merged(classes, classes[top, SMALLER], classes[top, LARGER])
    take_place(classes, teams, sums, team)


@compiled
def go_on(classes: Ints, jobs: Ints, teams: Ints, sums: Ints, which: int) -> None:
    """The class, the first of its team, stays in line with its next job; the team's place is taken anew."""
    team = classes[which, TEAM]
    teams[team, TOP] = _merged(classes, classes[which, SMALLER], classes[which, LARGER])
    if classes[which, NEXT] < classes[which, LOADED]:
        enter(classes, jobs, teams, which)
    take_place(classes, teams, sums, team)


@compiled
def _merged(classes: Ints, one: int, other: int) -> int:
    """The top of both heaps as one: a skew heap (Sleator and Tarjan, 1986)."""
    if one < 0 or other < 0:
        return max(one, other)
    if class_before(classes, other, one):
        one, other = other, one
    top = one
    while True:
        below = classes[one, LARGER]
        classes[one, LARGER] = classes[one, SMALLER]
        if below < 0:
            classes[one, SMALLER] = other
            return int(top)
        if class_before(classes, other, below):
            below, other = other, below
        classes[one, SMALLER] = below
        one = below


@compiled
def take_place(classes: Ints, teams: Ints, sums: Ints, team: int) -> None:
    """The team stands where what it has now puts it, with whom it would send next (F3)."""
    which = teams[team, TOP]
    if which < 0:
        return
    level, owed = classes[which, LEVEL], classes[which, OWED_TYPE]
    if level and owed != NO_TYPE and _is_inside(sums, team, owed, classes[which, OWED]):
        level = 0
    unfair, has, share = 0, 0, 1
    for chip_type in range(sums.shape[1]):
        used = sums[team, chip_type, OWN] + sums[team, chip_type, GUESTS]
        entitled = sums[team, chip_type, ENTITLED]
        if entitled <= 0:
            unfair += used
            continue
        used += sums[team, chip_type, PAST]
        if used > 0 and used * share > has * entitled:
            has, share = used, entitled
    teams[team, TEAM_LEVEL], teams[team, UNFAIR] = level, unfair
    teams[team, HAS], teams[team, OF_SHARE] = has, share
