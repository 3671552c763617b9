"""Which connection is its node's: the last one, in whatever order the processes hear of it."""

from __future__ import annotations

import json

from flexai.realtime.hub import Hub


class Connection:
    """What the hub sees of a connection."""

    def __init__(self) -> None:
        self.closed: list[tuple[int, str]] = []

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))


def heard(hub: Hub, connection: Connection, announced_by: str) -> None:
    hub.agents[7] = connection  # type: ignore[assignment]
    hub._on_connection(json.dumps({"nodes": [3, 7], "hub": announced_by}).encode())


def test_a_node_that_went_to_another_process_is_let_go() -> None:
    hub, connection = Hub(), Connection()
    heard(hub, connection, Hub().id)
    assert [code for code, _ in connection.closed] == [4409]


def test_the_late_announcement_of_an_earlier_connection_does_not_close_the_one_after_it() -> None:
    hub, connection = Hub(), Connection()
    heard(hub, connection, hub.id)
    assert connection.closed == []
