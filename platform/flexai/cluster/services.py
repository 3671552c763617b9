"""What changes about nodes: enrolment, registration, contact, and the operator's word on them.

Leaves to `jobs.contact` what each of these means for the work on the node.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction

from flexai.cluster.history import NodeHappened, write_node_history
from flexai.cluster.inventory import Laid, check_inventory, lay_down
from flexai.cluster.models import EnrolmentToken, Node, NodeContact, NodeState, Pool
from flexai.common import clock
from flexai.common.database import as_rows, prepared_cursor
from flexai.common.errors import (
    Conflict,
    FieldError,
    FlexaiError,
    Forbidden,
    InvalidInput,
    NotFound,
    Unauthenticated,
)
from flexai.common.events import Hint, publish_on_commit
from flexai.common.ids import new_id
from flexai.tenancy.models import AuditEntry
from node_agent import protocol

TOKEN_PREFIX = "flxe_"  # noqa: S105 - a prefix, not a secret
DEFAULT_TTL = timedelta(hours=1)
MAX_TTL = timedelta(days=30)
MAX_USES = 10_000
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_CREDENTIAL = re.compile(protocol.CREDENTIAL_PREFIX + r"[A-Za-z0-9_-]{43,100}")
_BOOT_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
MAX_LIVE = 100_000
"""Replicas that one Hello may list."""


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


# --- enrolment ------------------------------------------------------------------------------------------------------


def create_enrolment_token(pool: Pool, *, ttl: timedelta = DEFAULT_TTL, uses: int = 1) -> str:
    """A secret with which so many agents may enrol into the pool until `ttl` is over; it is nowhere else from now on.

    Raises InvalidInput for a lifetime or number of uses out of bounds.
    """
    if not timedelta(0) < ttl <= MAX_TTL or not 1 <= uses <= MAX_USES:
        raise InvalidInput(f"A token lives at most {MAX_TTL.days} days and serves 1 to {MAX_USES} agents.")
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    EnrolmentToken.objects.create(hash=_hash(secret), pool=pool, expires_at=clock.now() + ttl, uses_left=uses)
    return secret


@transaction.atomic
def enrol(secret: str, name: str, credential: str) -> Node:
    """A node of this name exists in the token's pool and has that credential, its only one.

    An agent makes its credential itself and keeps it before it asks: where the answer is lost, or the agent ends before
    it comes, asking again gives the same node and uses no token up. Any other existing name is refused (Conflict),
    unless an operator has declared that node dead and it is unreachable: then it is the same node with a new
    credential. Raises Unauthenticated for a token that is unknown, used up or expired.
    """
    _check_name(name)
    if not _CREDENTIAL.fullmatch(credential):
        message = (
            f"must be {protocol.CREDENTIAL_PREFIX} and 43 to 100 letters, digits, dashes and underscores"
        )
        raise InvalidInput("The credential is refused.", errors=[FieldError("credential", message)])
    known = Node.objects.filter(
        name=name, credential_hash=_hash(credential), credential_revoked_at=None
    ).first()
    if known is not None:
        return known
    token = (
        EnrolmentToken.objects.select_for_update(of=("self",))
        .select_related("pool__cell")
        .filter(hash=_hash(secret))
        .first()
    )
    if token is None:
        raise Unauthenticated("This enrolment token is not known here.")
    if token.expires_at <= clock.now():
        raise Unauthenticated(f"This enrolment token expired on {token.expires_at:%Y-%m-%d %H:%M} UTC.")
    if token.uses_left < 1:
        raise Unauthenticated("This enrolment token was used already.")
    node = _enrolled(token.pool, name, _hash(credential))
    token.uses_left -= 1
    token.save(update_fields=["uses_left"])
    _audit("agent", node.public_id, "node.enrolled", node, after={"name": name, "pool": token.pool.name})
    _announce(node)
    return node


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        message = "must be 1 to 63 lower-case letters, digits, dots and dashes"
        raise InvalidInput("The node's name is refused.", errors=[FieldError("name", message)])


def _enrolled(pool: Pool, name: str, credential_hash: str) -> Node:
    existing = Node.objects.select_for_update().filter(cell=pool.cell, name=name).first()
    if existing is None:
        node = Node.objects.create(cell=pool.cell, pool=pool, name=name, credential_hash=credential_hash)
        NodeContact.objects.create(node=node)
        return node
    if existing.state != NodeState.DEAD or existing.reachable:
        raise Conflict(
            f"There is a node {name!r} already. Enrol under another name, or have an operator declare it dead."
        )
    Node.objects.filter(pk=existing.pk).update(
        pool=pool,
        credential_hash=credential_hash,
        credential_revoked_at=None,
        state=NodeState.READY,
        state_reason="",
        version=existing.version + 1,
    )
    existing.refresh_from_db()
    return existing


def node_for_credential(credential: str) -> Node:
    """Whose credential this is. Raises Unauthenticated when nobody's, Forbidden when it was revoked."""
    [found] = nodes_for_credentials([credential])
    if isinstance(found, FlexaiError):
        raise found
    return found


def nodes_for_credentials(credentials: Sequence[str]) -> list[Node | FlexaiError]:
    """Whose credentials these are, in their order: a node, or why it is refused."""
    hashes = [_hash(secret) if _looks_like_credential(secret) else "" for secret in credentials]
    nodes = {node.credential_hash: node for node in Node.objects.filter(credential_hash__in=set(hashes))}
    return [_whose(nodes.get(one)) if one else _not_a_credential() for one in hashes]


def _not_a_credential() -> FlexaiError:
    return Unauthenticated("This is not the credential of an agent.")


def _looks_like_credential(secret: str) -> bool:
    return secret.startswith(protocol.CREDENTIAL_PREFIX) and len(secret) <= 128


def _whose(node: Node | None) -> Node | FlexaiError:
    if node is None:
        return Unauthenticated("This credential is not known here; enrol the agent again.")
    if node.credential_revoked_at is not None:
        return Forbidden(f"The credential of node {node.name!r} was revoked; ask an operator.")
    return node


def revoke_credential(principal_label: str, node: Node, reason: str = "") -> None:
    """The agent is refused from now on; its connection is closed at its next heartbeat at the latest."""
    with transaction.atomic():
        changed = Node.objects.filter(pk=node.pk, credential_revoked_at=None).update(
            credential_revoked_at=clock.now()
        )
        if changed:
            _audit("user", principal_label, "node.credential_revoked", node, reason=reason)
            _announce(node)


# --- registration and contact ---------------------------------------------------------------------------------------


def check_hello(hello: protocol.Hello) -> None:
    """Raises InvalidInput when the Hello breaks the protocol's bounds."""
    if not _BOOT_ID.fullmatch(hello.boot_id):
        raise InvalidInput("boot_id must be 1 to 64 letters, digits and dashes.")
    if len(hello.live) > MAX_LIVE or "\x00" in hello.agent_version:
        raise InvalidInput(f"live lists {len(hello.live)} replicas; at most {MAX_LIVE} are accepted.")
    check_inventory(hello.inventory)


class Comer(NamedTuple):
    """A node whose agent has connected, what it says, and from where."""

    node_pk: int
    hello: protocol.Hello
    peer: str


def register(comers: Sequence[Comer]) -> dict[int, Node]:
    """The rows have the inventories and boot ids of these nodes, of each one; they count as heard and renewed now.

    The Hellos are checked. Returns the nodes by primary key; one that is there no more is left out.
    """
    now = clock.now()
    with transaction.atomic(), prepared_cursor() as cursor:
        pks = [comer.node_pk for comer in comers]
        nodes = {
            node.pk: node
            for node in Node.objects.select_for_update(no_key=True).filter(pk__in=pks).order_by("pk")
        }
        there = [comer for comer in comers if comer.node_pk in nodes]
        changed = lay_down(cursor, [_laid(nodes[pk], hello, peer) for pk, hello, peer in there])
        contacts = [{"node": pk, "boot": hello.boot_id, "at": now} for pk, hello, _ in there]
        cursor.execute(_CONTACTS, [as_rows(contacts)])
        for pk in sorted(changed):
            _announce(nodes[pk])
    return nodes


def _laid(node: Node, hello: protocol.Hello, peer: str) -> Laid:
    fresh = [new_id("chip") for _ in hello.inventory.chips]
    return Laid(node, hello.inventory, hello.agent_version, peer, fresh)


_CONTACTS = """
INSERT INTO cluster_nodecontact (node_id, boot_id, seen_at, renewed_at)
SELECT node, boot, at, at FROM json_to_recordset(%s::json) AS u(node bigint, boot text, at timestamptz) ORDER BY node
ON CONFLICT (node_id) DO UPDATE SET boot_id = excluded.boot_id, seen_at = excluded.seen_at,
    renewed_at = excluded.renewed_at
"""


def change_inventory(node_pk: int, inventory: protocol.Inventory, peer: str) -> None:
    """The rows say what the node has now. Raises InvalidInput when the inventory breaks a bound."""
    check_inventory(inventory)
    with transaction.atomic(), prepared_cursor() as cursor:
        node = Node.objects.select_for_update(no_key=True).get(pk=node_pk)
        fresh = [new_id("chip") for _ in inventory.chips]
        if lay_down(cursor, [Laid(node, inventory, node.agent_version, peer, fresh)]):
            _announce(node)


def renew(node_pks: Collection[int], *, at: datetime) -> dict[int, tuple[bool, bool]]:
    """Every lease on the nodes runs from `at`, committed. Returns node → (reachable, credential revoked)."""
    with transaction.atomic(), prepared_cursor() as cursor:
        rows = cursor.execute(_RENEW, [at, at, sorted(node_pks)], prepare=True).fetchall()
    return {node: (reachable, revoked) for node, reachable, revoked in rows}


def heard(node_pks: Collection[int], *, at: datetime) -> None:
    """The nodes were heard until now; called when their sockets close."""
    NodeContact.objects.filter(node_id__in=sorted(node_pks)).update(seen_at=at)


def silent_nodes(since: datetime) -> list[int]:
    """Reachable nodes that nobody has heard since."""
    silent = Node.objects.filter(reachable=True).exclude(contact__seen_at__gte=since)
    return list(silent.order_by("pk").values_list("pk", flat=True))


def mark_unreachable(node_pks: Collection[int], *, silent_since: datetime) -> list[int]:
    """Those of the nodes that are reachable and were not heard since become unreachable; returns them."""
    return _set_reachable(_LOSE, node_pks, silent_since, "node.unreachable", "No contact with its agent.")


def mark_reachable(node_pks: Collection[int]) -> list[int]:
    """Those of the nodes that were unreachable are reachable; returns them."""
    return _set_reachable(_REGAIN, node_pks, None, "node.reachable", "Its agent is connected.")


_RENEW = """
UPDATE cluster_nodecontact c SET seen_at = %s, renewed_at = %s FROM cluster_node n
WHERE n.id = c.node_id AND c.node_id = ANY(%s)
RETURNING c.node_id, n.reachable, n.credential_revoked_at IS NOT NULL
"""
_LOSE = """
WITH lost AS (
    SELECT n.id FROM cluster_node n LEFT JOIN cluster_nodecontact c ON c.node_id = n.id
    WHERE n.id = ANY(%(nodes)s) AND n.reachable AND (c.seen_at IS NULL OR c.seen_at <= %(since)s)
    ORDER BY n.id FOR NO KEY UPDATE OF n)
UPDATE cluster_node n SET reachable = false, version = n.version + 1 FROM lost WHERE n.id = lost.id
RETURNING n.id, n.public_id, n.version, n.cell_id
"""
_REGAIN = """
WITH found AS (
    SELECT n.id FROM cluster_node n WHERE n.id = ANY(%(nodes)s) AND NOT n.reachable
    ORDER BY n.id FOR NO KEY UPDATE OF n)
UPDATE cluster_node n SET reachable = true, version = n.version + 1 FROM found WHERE n.id = found.id
RETURNING n.id, n.public_id, n.version, n.cell_id
"""


def _set_reachable(
    statement: str, node_pks: Collection[int], since: datetime | None, kind: str, sentence: str
) -> list[int]:
    with transaction.atomic(), prepared_cursor() as cursor:
        rows = cursor.execute(statement, {"nodes": sorted(node_pks), "since": since}).fetchall()
        changed = [row[0] for row in rows]
        now = clock.now()
        write_node_history(
            cursor,
            [
                NodeHappened(at=now, node=node_pk, kind=kind, sentence=sentence, actor="platform")
                for node_pk in changed
            ],
        )
        publish_on_commit(hints=[Hint("node", public_id, version) for _, public_id, version, _ in rows])
        for cell in {row[3] for row in rows}:
            publish_on_commit(cell=cell)
    return changed


# --- the operator's word --------------------------------------------------------------------------------------------


def cordon_node(principal_label: str, node: Node, reason: str = "") -> None:
    """No new work is placed on the node; what is there goes on."""
    _set_state(principal_label, node, NodeState.CORDONED, "node.cordoned", reason)


def drain_node(principal_label: str, node: Node, reason: str = "") -> None:
    """The node is being emptied: no new work is placed on it, work already there may finish."""
    _set_state(principal_label, node, NodeState.DRAINING, "node.draining", reason)


def return_node(principal_label: str, node: Node, reason: str = "") -> None:
    """The node takes work again."""
    _set_state(principal_label, node, NodeState.READY, "node.returned", reason)


def declare_dead(principal_label: str, node: Node, reason: str = "") -> None:
    """What is on the node is over: `jobs.contact.expire_leases` ends it at its next run, within seconds.

    Only for a node that is unreachable (Conflict otherwise): one that answers can be drained. Whoever declares this
    vouches that the machine is off; work with a lease of `never` runs twice if it is not.
    """
    if Node.objects.filter(pk=node.pk, reachable=True).exists():
        raise Conflict(f"Node {node.name!r} is in contact; drain it instead, or stop its agent first.")
    _set_state(principal_label, node, NodeState.DEAD, "node.declared_dead", reason)


_SENTENCES = {
    NodeState.CORDONED: "Takes no new work.",
    NodeState.DRAINING: "Takes no new work; what runs may finish.",
    NodeState.READY: "Takes work.",
    NodeState.DEAD: "Declared dead; its work is over.",
}


@transaction.atomic
def _set_state(label: str, node: Node, state: NodeState, action: str, reason: str) -> None:
    current = Node.objects.select_for_update(no_key=True).filter(pk=node.pk).first()
    if current is None:
        raise NotFound("There is no such node.")
    if current.state == state:
        return
    before = current.state
    Node.objects.filter(pk=node.pk).update(
        state=state, state_reason=reason[:200], version=current.version + 1
    )
    node.state, node.state_reason, node.version = state, reason[:200], current.version + 1
    _audit("user", label, action, node, reason=reason, before={"state": before}, after={"state": state.value})
    sentence = f"{_SENTENCES[state]} {reason}".strip()
    happened = NodeHappened(at=clock.now(), node=node.pk, kind=action, sentence=sentence, actor=label)
    with prepared_cursor() as cursor:
        write_node_history(cursor, [happened])
    _announce(node)


def _audit(
    kind: str,
    label: str,
    action: str,
    node: Node,
    *,
    reason: str = "",
    before: dict[str, str] | None = None,
    after: dict[str, str] | None = None,
) -> None:
    AuditEntry.objects.create(
        actor_kind=kind,
        actor=label.removeprefix("user:"),
        action=action,
        object_kind="node",
        object_id=node.public_id,
        before=before,
        after=after,
        reason=reason,
    )


def _announce(node: Node) -> None:
    publish_on_commit(hints=[Hint("node", node.public_id, node.version)], cell=node.cell_id)
