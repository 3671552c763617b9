"""What a node says it has: checked against the protocol's bounds, then laid down in the rows.

A chip that is in use keeps its type, its host CPU claim and its place in the counters until its allocations end: what
was charged is what is freed (law 8).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from flexai.cluster.models import Node
from flexai.common.database import Cursor, as_rows
from flexai.common.errors import FieldError, InvalidInput
from node_agent.protocol import ChipErrors, ChipInfo, Inventory

MAX_CHIPS = 256
"""So many fit a telemetry frame."""
MAX_CHIP_INDEX = 1023
MAX_AMOUNT = 2**31 - 1
MAX_COUNT = 2**53
MAX_XIDS = 16
MAX_SLICES = 64
MAX_NOTES = 20
MAX_TOPOLOGY = 8
ISOLATION = frozenset({"exclusive", "hardware", "enforced", "cooperative"})
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/+-]{0,63}")
_ADDRESS = re.compile(r"[A-Za-z0-9_.:%-]{0,64}")
_VENDORS = {"nvidia": "NVIDIA", "amd": "AMD", "ascend": "Huawei", "cpu": "", "simulated": "simulated"}


def check_inventory(inventory: Inventory) -> None:
    """Raises InvalidInput naming everything that breaks a bound."""
    errors = list(_errors(inventory))
    if errors:
        raise InvalidInput(f"The inventory is refused: {errors[0].field} {errors[0].message}.", errors=errors)


def _errors(inventory: Inventory) -> Sequence[FieldError]:
    errors = []
    for name in ("cpu_milli", "memory_mib"):
        if not 0 <= getattr(inventory, name) <= MAX_AMOUNT:
            errors.append(FieldError(name, f"must be 0 to {MAX_AMOUNT}"))
    if not _ADDRESS.fullmatch(inventory.address):
        errors.append(FieldError("address", "must be a host name or IP address of at most 64 characters"))
    if len(inventory.notes) > MAX_NOTES:
        errors.append(FieldError("notes", f"has {len(inventory.notes)} entries; at most {MAX_NOTES}"))
    if len(inventory.topology) > MAX_TOPOLOGY or any(len(part) > 63 for part in inventory.topology):
        errors.append(
            FieldError("topology", f"must be at most {MAX_TOPOLOGY} names of at most 63 characters")
        )
    if any("\x00" in text for text in (*inventory.notes, *inventory.topology)):
        errors.append(FieldError("notes", "must not contain NUL"))
    if len(inventory.chips) > MAX_CHIPS:
        errors.append(FieldError("chips", f"has {len(inventory.chips)} entries; at most {MAX_CHIPS}"))
    if len({chip.index for chip in inventory.chips}) != len(inventory.chips):
        errors.append(FieldError("chips", "has two chips of the same index"))
    for chip in inventory.chips:
        errors += _chip_errors(chip)
    return errors


def _chip_errors(chip: ChipInfo) -> list[FieldError]:
    path = f"chips.{chip.index}"
    errors = []
    if not 0 <= chip.index <= MAX_CHIP_INDEX:
        errors.append(FieldError(path, f"index must be 0 to {MAX_CHIP_INDEX}"))
    if not _TYPE.fullmatch(chip.type):
        errors.append(FieldError(f"{path}.type", "must be 1 to 64 letters, digits and . _ / + -"))
    if not 0 <= chip.memory_mib <= MAX_AMOUNT or not 0 <= chip.host_cpu_milli <= MAX_AMOUNT:
        errors.append(FieldError(path, f"amounts must be 0 to {MAX_AMOUNT}"))
    if not set(chip.isolation) <= ISOLATION:
        errors.append(FieldError(f"{path}.isolation", f"must be of {', '.join(sorted(ISOLATION))}"))
    if not 0 <= chip.slices <= chip.of <= MAX_SLICES or (chip.slices == 0) != (chip.of == 0):
        errors.append(FieldError(path, f"slices must be 1 to `of`, and that at most {MAX_SLICES}; or both 0"))
    if (chip.slices == 0) != (chip.parent == "") or chip.parent == chip.uuid != "":
        errors.append(
            FieldError(f"{path}.parent", "an instance, and it alone, names its parent and its slices")
        )
    if chip.errors is not None:
        errors += _counter_errors(path, chip.errors)
    texts = (chip.uuid, chip.driver, chip.link_domain, chip.health_note, chip.parent)
    if any("\x00" in text for text in texts) or len(chip.uuid) > 64 or len(chip.driver) > 16:
        errors.append(FieldError(path, "uuid, driver or note is too long or contains NUL"))
    return errors


def _counter_errors(path: str, counted: ChipErrors) -> list[FieldError]:
    numbers = (
        counted.uncorrected,
        counted.corrected,
        counted.remapped_rows,
        counted.links_down,
        *counted.xids,
    )
    if len(counted.xids) > MAX_XIDS or not all(0 <= number <= MAX_COUNT for number in numbers):
        return [FieldError(f"{path}.errors", f"must be 0 to {MAX_COUNT} each, with at most {MAX_XIDS} xids")]
    return []


_NODES = """
UPDATE cluster_node n SET
    cpu_milli = u.cpu, memory_mib = u.memory, address = u.address, topology = u.topology, notes = u.notes,
    simulated = u.simulated, separate_users = u.separate_users, images = u.images, agent_version = u.agent_version,
    cpu_ceiling_milli = greatest(u.cpu, n.used_cpu_milli), memory_ceiling_mib = greatest(u.memory, n.used_memory_mib),
    version = n.version + 1
FROM json_to_recordset(%s::json) AS u(node bigint, cpu int, memory int, address text, topology text[], notes text[],
     simulated bool, separate_users bool, images bool, agent_version text)
WHERE n.id = u.node AND
    (n.cpu_milli, n.memory_mib, n.address::text, n.topology::text[], n.notes::text[], n.simulated, n.separate_users,
     n.images, n.agent_version::text)
    IS DISTINCT FROM
    (u.cpu, u.memory, u.address, u.topology, u.notes, u.simulated, u.separate_users, u.images, u.agent_version)
RETURNING n.id
"""

_LOCK_CHIPS = "SELECT 1 FROM cluster_chip WHERE node_id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"

_CHIPS = """
INSERT INTO cluster_chip AS c
    (public_id, node_id, cell_id, index, type, uuid, driver, memory_mib, memory_ceiling_mib, present, answers, healthy,
     health, health_note, isolation, host_cpu_milli, link_domain, errors, slices, "of", health_reason, used_milli,
     used_memory_mib, guest_milli, guest_memory_mib, changed)
SELECT u.public_id, u.node, u.cell, u.index, u.type, u.uuid, u.driver, u.memory, u.memory, true, u.healthy, u.healthy,
       CASE WHEN u.healthy THEN 100 ELSE 0 END, u.note, ARRAY(SELECT json_array_elements_text(u.isolation)),
       u.host_cpu, u.link_domain, u.errors, u.slices, u."of", '', 0, 0, 0, 0, 0
FROM json_to_recordset(%s::json) AS u(public_id text, node bigint, cell bigint, index int, type text, uuid text,
     driver text, memory int, healthy bool, note text, isolation json, host_cpu int, link_domain text, errors jsonb,
     slices int, "of" int)
ORDER BY u.node, u.index
ON CONFLICT (node_id, index) DO UPDATE SET
    type = CASE WHEN c.used_milli + c.guest_milli > 0 THEN c.type ELSE excluded.type END,
    host_cpu_milli = CASE WHEN c.used_milli + c.guest_milli > 0 THEN c.host_cpu_milli ELSE excluded.host_cpu_milli END,
    uuid = excluded.uuid, driver = excluded.driver, memory_mib = excluded.memory_mib,
    memory_ceiling_mib = greatest(excluded.memory_mib, c.used_memory_mib + c.guest_memory_mib), present = true,
    answers = excluded.healthy,
    healthy = excluded.healthy AND c.drained_at IS NULL
        AND (c.type = excluded.type OR c.used_milli + c.guest_milli = 0),
    health = CASE WHEN NOT excluded.healthy OR c.drained_at IS NOT NULL THEN 0 WHEN c.health = 0 THEN 100
        ELSE c.health END,
    health_note = CASE WHEN c.type <> excluded.type AND c.used_milli + c.guest_milli > 0
        THEN 'Now a ' || excluded.type || '; counted as before until its work ends.' ELSE excluded.health_note END,
    isolation = excluded.isolation, link_domain = excluded.link_domain, errors = excluded.errors,
    slices = excluded.slices, "of" = excluded."of"
WHERE (c.type, c.uuid, c.driver, c.memory_mib, c.present, c.answers, c.health_note, c.isolation::text[],
       c.host_cpu_milli, c.link_domain, c.errors, c.slices, c."of",
       c.healthy OR c.drained_at IS NOT NULL)
    IS DISTINCT FROM (excluded.type, excluded.uuid, excluded.driver, excluded.memory_mib, true, excluded.healthy,
       excluded.health_note, excluded.isolation::text[], excluded.host_cpu_milli, excluded.link_domain,
       excluded.errors, excluded.slices, excluded."of", excluded.healthy OR c.drained_at IS NOT NULL)
RETURNING c.node_id
"""

_PARENTS = """
UPDATE cluster_chip c SET parent_id = p.id
FROM json_to_recordset(%s::json) AS u(node bigint, index int, parent text)
LEFT JOIN cluster_chip p ON p.node_id = u.node AND p.uuid = u.parent AND u.parent <> ''
WHERE c.node_id = u.node AND c.index = u.index AND c.parent_id IS DISTINCT FROM p.id
RETURNING c.node_id
"""

_GONE = """
UPDATE cluster_chip c SET present = false FROM json_to_recordset(%s::json) AS u(node bigint, indexes int[])
WHERE c.node_id = u.node AND c.present AND NOT c.index = ANY(u.indexes)
RETURNING c.node_id
"""

_TYPES = """
INSERT INTO cluster_chiptype (name, vendor, nominal_memory_mib, speed)
SELECT u.name, u.vendor, u.memory, 1000 FROM json_to_recordset(%s::json) AS u(name text, vendor text, memory int)
ORDER BY u.name ON CONFLICT (name) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Laid:
    """What one node has, to be laid down."""

    node: Node
    """Locked."""
    inventory: Inventory
    """Checked."""
    agent_version: str
    peer: str
    """Its address, where the inventory names none."""
    chip_ids: Sequence[str]
    """Fresh public ids, one a chip, for those that are new."""


def lay_down(cursor: Cursor, nodes: Sequence[Laid]) -> set[int]:
    """The rows say what the inventories say, each of another node; the primary keys of nodes of which something
    changed."""
    pks = sorted(one.node.pk for one in nodes)
    types = {chip.type: _type_row(chip) for one in nodes for chip in one.inventory.chips}
    chips = [
        _chip_row(one.node, chip, fresh)
        for one in nodes
        for chip, fresh in zip(one.inventory.chips, one.chip_ids, strict=True)
    ]
    staying = [
        {"node": one.node.pk, "indexes": [chip.index for chip in one.inventory.chips]} for one in nodes
    ]
    changed = cursor.execute(_NODES, [as_rows([_node_row(one) for one in nodes])]).fetchall()
    cursor.execute(_TYPES, [as_rows(list(types.values()))])
    cursor.execute(_LOCK_CHIPS, [pks])
    changed += cursor.execute(_CHIPS, [as_rows(chips)]).fetchall()
    if any(chip["parent"] for chip in chips):
        changed += cursor.execute(_PARENTS, [as_rows(chips)]).fetchall()
    changed += cursor.execute(_GONE, [as_rows(staying)]).fetchall()
    return {pk for (pk,) in changed}


def _node_row(laid: Laid) -> dict[str, object]:
    inventory = laid.inventory
    return {
        "node": laid.node.pk,
        "cpu": inventory.cpu_milli,
        "memory": inventory.memory_mib,
        "address": (inventory.address or laid.peer)[:64],
        "topology": inventory.topology,
        "notes": [note[:500] for note in inventory.notes],
        "simulated": inventory.simulated,
        "separate_users": inventory.separate_users,
        "images": inventory.images,
        "agent_version": laid.agent_version[:32],
    }


def _type_row(chip: ChipInfo) -> dict[str, object]:
    return {"name": chip.type, "vendor": _VENDORS.get(chip.driver, chip.driver), "memory": chip.memory_mib}


def _chip_row(node: Node, chip: ChipInfo, fresh: str) -> dict[str, object]:
    return {
        "public_id": fresh,
        "node": node.pk,
        "cell": node.cell_id,
        "index": chip.index,
        "type": chip.type,
        "uuid": chip.uuid,
        "driver": chip.driver,
        "memory": chip.memory_mib,
        "healthy": chip.healthy,
        "note": chip.health_note[:200],
        "isolation": chip.isolation,
        "host_cpu": chip.host_cpu_milli,
        "link_domain": chip.link_domain[:63],
        "errors": chip.errors,
        "slices": chip.slices,
        "of": chip.of,
        "parent": chip.parent,
    }
