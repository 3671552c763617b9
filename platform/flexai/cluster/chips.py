"""The operator's word on single chips: kept from new work whatever their health is, and back (T4)."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F

from flexai.cluster.history import NodeHappened, write_node_history
from flexai.cluster.models import Chip, ChipHealth, Node
from flexai.common import clock
from flexai.common.database import prepared_cursor
from flexai.common.errors import FieldError, InvalidInput, NotFound
from flexai.common.events import Hint, publish_on_commit
from flexai.tenancy.models import AuditEntry

MAX_REASON = 200
WELL = 100


def chip_named(public_id: str) -> Chip:
    """Raises NotFound."""
    chip = Chip.objects.filter(public_id=public_id).first()
    if chip is None:
        raise NotFound("There is no such chip.")
    return chip


@transaction.atomic
def cordon_chip(principal_label: str, chip: Chip, reason: str) -> None:
    """No new work is placed on the chip until somebody returns it; what is there goes on. Raises InvalidInput without
    a reason. Cordoning twice changes the reason."""
    reason = reason.strip()[:MAX_REASON]
    if not reason:
        raise InvalidInput(
            "Say why: `reason` is kept in the node's history.", errors=[FieldError("reason", "is missing")]
        )
    node, chip = _locked(chip)
    if chip.cordoned_because == reason:
        return
    Chip.objects.filter(pk=chip.pk).update(cordoned_because=reason)
    _write_down(principal_label, node, chip, "chip.cordoned", f"takes no new work: {reason}", reason)


@transaction.atomic
def return_chip(principal_label: str, chip: Chip, reason: str = "") -> None:
    """The chip takes work again: it is cordoned no more, and a drain is over before its burn-in is. What stands against
    it still, or is counted anew, drains it again at the next look. Nothing happens to a chip that takes work."""
    node, chip = _locked(chip)
    if not chip.cordoned_because and chip.drained_at is None:
        return
    Chip.objects.filter(pk=chip.pk).update(
        cordoned_because="", drained_at=None, health_reason="", healthy=chip.answers,
        health=WELL if chip.answers else 0,
    )  # fmt: skip
    ChipHealth.objects.filter(chip=chip).update(score=WELL, rises_at=0, drained_at=None, quiet_since=None)
    _write_down(principal_label, node, chip, "chip.returned", "takes work again", reason.strip()[:MAX_REASON])


def _locked(chip: Chip) -> tuple[Node, Chip]:
    node = Node.objects.select_for_update(no_key=True).get(pk=chip.node_id)
    return node, Chip.objects.select_for_update(no_key=True).get(pk=chip.pk)


def _write_down(label: str, node: Node, chip: Chip, action: str, what: str, reason: str) -> None:
    Node.objects.filter(pk=node.pk).update(version=F("version") + 1)
    before = {
        "cordoned_because": chip.cordoned_because,
        "drained_at": None if chip.drained_at is None else chip.drained_at.isoformat(),
    }
    AuditEntry.objects.create(
        actor_kind="user", actor=label.removeprefix("user:"), action=action,
        object_kind="chip", object_id=chip.public_id, before=before,
        after={"cordoned_because": reason if action == "chip.cordoned" else ""}, reason=reason,
    )  # fmt: skip
    told = NodeHappened(
        at=clock.now(), node=node.pk, kind=action, sentence=f"Chip {chip.index} ({chip.type}) {what}.", actor=label,
        reason_code="operator", facts={"chip": chip.index},
    )  # fmt: skip
    with prepared_cursor() as cursor:
        write_node_history(cursor, [told])
    publish_on_commit(hints=[Hint("node", node.public_id, node.version + 1)], cell=node.cell_id)
