"""The history of nodes, written by the batch in the transaction that changes them (law 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from flexai.common.database import Cursor, as_rows, prepared_cursor

MAX_SENTENCE = 2000
"""Characters of a sentence that is kept; an agent chooses some of its words."""

_INSERT = """
INSERT INTO cluster_nodeevent (at, node_id, kind, reason_code, sentence, facts, actor)
SELECT at, node, kind, reason_code, sentence, facts, actor FROM json_to_recordset(%s::json) AS u(
    at timestamptz, node bigint, kind text, reason_code text, sentence text, facts jsonb, actor text)
"""


class NodeHappened(msgspec.Struct, frozen=True):
    """One row of a node's history."""

    at: datetime
    node: int
    kind: str
    """`node.unreachable`, `agent.refused` …"""
    sentence: str
    actor: str
    reason_code: str = ""
    facts: Mapping[str, object] = {}


def write_node_history(cursor: Cursor, rows: Sequence[NodeHappened]) -> None:
    """The rows are in the history once the transaction commits."""
    if rows:
        cursor.execute(_INSERT, [as_rows(rows)], prepare=True)


def note_refusal(node_pk: int, code: str, sentence: str, count: int, at: datetime) -> None:
    """The node's history says that its agent was refused, and how often since the last such note."""
    row = NodeHappened(
        at=at,
        node=node_pk,
        kind="agent.refused",
        sentence=sentence[:MAX_SENTENCE],
        actor="platform",
        reason_code=code,
        facts={"count": count},
    )
    with prepared_cursor() as cursor:
        write_node_history(cursor, [row])
