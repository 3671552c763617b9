"""What contact with nodes means for the work on them: lost, found again, started anew, provably over (law 5).

"Unreachable" is a contact state: the work may well go on. It ends without its agent's word only when the node has
booted since, when its lease is provably over, or when an operator declared the node dead.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction

from flexai.cluster import services
from flexai.cluster.leases import Watch, is_over, look
from flexai.cluster.models import NodeContact
from flexai.common import clock
from flexai.common.database import Cursor, as_rows, prepared_cursor
from flexai.common.errors import FlexaiError, InvalidInput, Unauthenticated
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.history import Happened, write_history
from flexai.jobs.locking import LockedAttempt, lock_attempts
from flexai.jobs.reports import end_replicas
from node_agent import protocol
from scheduler_core.lifecycle import Outcome, status_word

SILENT_AFTER = timedelta(seconds=30)
"""Three heartbeats: a node that nobody has heard for so long is unreachable, whichever process held its socket."""
BATCH = 500
"""Attempts handled in one transaction."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a node's Hello came to."""

    name: str
    node_id: str
    missing: frozenset[tuple[str, int]]
    """Replicas that had started, by the server's rows, and that the node does not have. Each is wanted stopped:
    either its end is already on the way, or the agent answers that there is nothing, and it ends as `node_lost`."""


def arrive(node_pk: int, hello: protocol.Hello, peer: str) -> Arrival:
    """The node is registered, reachable and renewed; what cannot have survived a boot is ended.

    Raises InvalidInput for an inventory that breaks the protocol's bounds; nothing is changed then.
    """
    [arrival] = arrive_together([services.Comer(node_pk, hello, peer)])
    if isinstance(arrival, FlexaiError):
        raise arrival
    return arrival


def arrive_together(comers: Sequence[services.Comer]) -> list[Arrival | FlexaiError]:
    """The same of many nodes, in their order: an arrival, or why it is refused. Of a node that comes twice the last
    Hello counts."""
    refused = _refused(comers)
    last = {comer.node_pk: comer for comer, error in zip(comers, refused, strict=True) if error is None}
    if not last:
        return [error or _gone() for error in refused]
    boots = dict(NodeContact.objects.filter(node_id__in=last).values_list("node_id", "boot_id"))
    booted = [pk for pk, comer in last.items() if boots.get(pk) and boots[pk] != comer.hello.boot_id]
    if booted:
        _end_all_on(
            booted,
            reason_code="node_rebooted",
            sentence="The node started anew; nothing of before runs on it.",
            actor="platform",
        )
    nodes = services.register(list(last.values()))
    if away := _away(list(nodes)):
        regain_contact(away)
    started = _started_on(list(nodes))
    arrivals = {
        pk: Arrival(node.name, node.public_id, frozenset(started[pk] - set(last[pk].hello.live)))
        for pk, node in nodes.items()
    }
    return [
        error or arrivals.get(comer.node_pk) or _gone() for comer, error in zip(comers, refused, strict=True)
    ]


def _gone() -> FlexaiError:
    return Unauthenticated("This node is not known here any more; enrol the agent again.")


def _refused(comers: Sequence[services.Comer]) -> list[InvalidInput | None]:
    found: list[InvalidInput | None] = []
    for comer in comers:
        try:
            services.check_hello(comer.hello)
            found.append(None)
        except InvalidInput as error:
            found.append(error)
    return found


def lose_contact(node_pks: Collection[int], *, silent_since: datetime) -> list[int]:
    """Those of the nodes that nobody has heard since are unreachable, and so are the attempts on them.

    Returns the nodes that became unreachable now. Nothing is stopped and nothing restarts.
    """
    with transaction.atomic(), prepared_cursor() as cursor:
        attempts = lock_attempts(cursor, _attempts_on(cursor, node_pks))
        lost = services.mark_unreachable(node_pks, silent_since=silent_since)
        affected = [
            one for one in attempts if any(r.node_pk in lost for r in one.replicas if r.state != "ended")
        ]
        _set_contact(cursor, affected, ok=False, at=clock.now())
    return lost


def regain_contact(node_pks: Collection[int]) -> None:
    """The nodes are reachable; attempts all of whose nodes are so have contact again."""
    with transaction.atomic(), prepared_cursor() as cursor:
        attempts = lock_attempts(cursor, _attempts_on(cursor, node_pks))
        services.mark_reachable(node_pks)
        others = {r.node_pk for one in attempts for r in one.replicas if r.state != "ended"}
        unreachable = {
            row[0]
            for row in cursor.execute(
                "SELECT id FROM cluster_node WHERE id = ANY(%s) AND NOT reachable", [sorted(others)]
            )
        }
        found = [
            one
            for one in attempts
            if not any(r.node_pk in unreachable for r in one.replicas if r.state != "ended")
        ]
        _set_contact(cursor, found, ok=True, at=clock.now())


def expire_leases(watch: Watch) -> int:
    """Replicas on unreachable nodes whose lease is over, and all on dead nodes, are ended; returns how many."""
    ended = 0
    with connection.cursor() as cursor:
        cursor.execute(_UNREACHABLE)
        rows = cursor.fetchall()
    over: dict[int, list[int]] = defaultdict(list)
    dead: dict[int, list[int]] = defaultdict(list)
    for attempt_pk, index, node_state, lease_ms, placed_at, renewed_at in rows:
        if node_state == "dead":
            dead[attempt_pk].append(index)
            continue
        renewed_ms = clock.to_ms(renewed_at or placed_at)
        if is_over(watch, renewed_ms=renewed_ms, placed_ms=clock.to_ms(placed_at), lease_ms=lease_ms):
            over[attempt_pk].append(index)
    for ends, code, sentence in (
        (over, "lease_over", "No contact with the node for longer than the lease; the node has stopped it."),
        (dead, "node_dead", "An operator declared the node dead."),
    ):
        for batch in _batches(ends):
            ended += end_replicas(
                batch,
                outcome=Outcome.NODE_LOST,
                reason_code=code,
                sentence=sentence,
                actor="platform",
                at=clock.now(),
            )
    return ended


def sweep_silent_nodes() -> list[int]:
    """Reachable nodes that no process has heard for `SILENT_AFTER` are unreachable; returns them."""
    since = clock.now() - SILENT_AFTER
    silent = services.silent_nodes(since)
    return lose_contact(silent, silent_since=since) if silent else []


def look_at_clocks(before: Watch | None) -> Watch:
    """One more look at this machine's clocks."""
    boot_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    return look(before, wall_ms=clock.to_ms(clock.now()), boot_ms=boot_ms)


_UNREACHABLE = """
SELECT r.attempt_id, r.index, n.state, a.lease_ms, a.placed_at, c.renewed_at
FROM cluster_node n JOIN jobs_replica r ON r.node_id = n.id AND r.state <> 'ended'
JOIN jobs_attempt a ON a.id = r.attempt_id AND a.state <> 'ended'
LEFT JOIN cluster_nodecontact c ON c.node_id = n.id
WHERE NOT n.reachable OR n.state = 'dead'
ORDER BY r.attempt_id, r.index
"""
_ATTEMPTS_ON = """
SELECT DISTINCT r.attempt_id FROM jobs_replica r JOIN jobs_attempt a ON a.id = r.attempt_id
WHERE r.node_id = ANY(%s) AND r.state <> 'ended' AND a.state <> 'ended'
"""
_STARTED = """
SELECT r.node_id, a.public_id, r.index FROM jobs_replica r JOIN jobs_attempt a ON a.id = r.attempt_id
WHERE r.node_id = ANY(%s) AND r.state NOT IN ('placed', 'ended') AND a.state <> 'ended'
"""
_AWAY = """
SELECT n.id FROM cluster_node n WHERE n.id = ANY(%s) AND (NOT n.reachable OR EXISTS (
    SELECT FROM jobs_replica r JOIN jobs_attempt a ON a.id = r.attempt_id
    WHERE r.node_id = n.id AND r.state <> 'ended' AND a.state <> 'ended' AND NOT a.contact_ok))
"""
_LIVE_ON = """
SELECT r.attempt_id, r.index FROM jobs_replica r JOIN jobs_attempt a ON a.id = r.attempt_id
WHERE r.node_id = ANY(%s) AND r.state <> 'ended' AND a.state <> 'ended' ORDER BY 1, 2
"""
_SET_ATTEMPTS = """
UPDATE jobs_attempt SET contact_ok = %s, version = version + 1 WHERE id = ANY(%s)
"""
_SET_JOBS = """
UPDATE jobs_job j SET status = u.status, version = u.version
FROM json_to_recordset(%s::json) AS u(id bigint, status text, version int) WHERE j.id = u.id
"""


def _attempts_on(cursor: Cursor, node_pks: Collection[int]) -> list[int]:
    return [row[0] for row in cursor.execute(_ATTEMPTS_ON, [sorted(node_pks)])]


def _away(node_pks: Sequence[int]) -> list[int]:
    """Those of the nodes that count as unreachable, themselves or in an attempt."""
    with prepared_cursor() as cursor:
        return [pk for (pk,) in cursor.execute(_AWAY, [sorted(node_pks)])]


def _started_on(node_pks: Sequence[int]) -> defaultdict[int, set[tuple[str, int]]]:
    """By node, the replicas that have started there and not ended."""
    found: defaultdict[int, set[tuple[str, int]]] = defaultdict(set)
    with prepared_cursor() as cursor:
        for node, attempt, index in cursor.execute(_STARTED, [sorted(node_pks)]):
            found[node].add((attempt, index))
    return found


def _end_all_on(node_pks: Sequence[int], *, reason_code: str, sentence: str, actor: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_LIVE_ON, [list(node_pks)])
        ends: dict[int, list[int]] = defaultdict(list)
        for attempt_pk, index in cursor.fetchall():
            ends[attempt_pk].append(index)
    for batch in _batches(ends):
        end_replicas(
            batch,
            outcome=Outcome.NODE_LOST,
            reason_code=reason_code,
            sentence=sentence,
            actor=actor,
            at=clock.now(),
        )


def _batches(ends: dict[int, list[int]]) -> Iterable[dict[int, list[int]]]:
    pks = sorted(ends)
    for first in range(0, len(pks), BATCH):
        yield {pk: ends[pk] for pk in pks[first : first + BATCH]}


def _set_contact(cursor: Cursor, attempts: Sequence[LockedAttempt], *, ok: bool, at: datetime) -> None:
    changed = [attempt for attempt in attempts if attempt.contact_ok is not ok]
    if not changed:
        return
    cursor.execute(_SET_ATTEMPTS, [ok, [attempt.pk for attempt in changed]])
    words = [status_word(one.job_state, one.state, ok, one.cancel_requested) for one in changed]
    rows = [
        {"id": one.job_pk, "status": word, "version": one.job_version + 1}
        for one, word in zip(changed, words, strict=True)
    ]
    cursor.execute(_SET_JOBS, [as_rows(rows)])
    kind, sentence = _CONTACT[ok]
    write_history(
        cursor,
        [
            Happened(
                at=at,
                kind=kind,
                sentence=sentence,
                actor="platform",
                organization=one.organization_pk,
                job=one.job_pk,
                attempt=one.number,
                from_state=one.state,
                to_state=one.state,
                reason_code=kind[8:],
            )
            for one in changed
        ],
    )
    publish_on_commit(
        hints=[
            Hint("job", one.job_id, one.job_version + 1, one.team_id, {"status": word})
            for one, word in zip(changed, words, strict=True)
        ]
    )


_CONTACT = {
    True: ("attempt.reachable", "Contact with its nodes is back."),
    False: (
        "attempt.unreachable",
        "No contact with a node it runs on; it goes on there for as long as its lease.",
    ),
}
