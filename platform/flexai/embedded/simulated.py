"""The notation for simulated nodes: `16x8:H100-80GB` is 16 nodes of 8 chips each; with `,slow=2/0:60%` behind it chip 0
of the second node runs at 60 % of its clock."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_NODES = 1000
"""As many as one enrolment token admits."""
MOST_CHIPS = 256
"""On one node."""
_NOTATION = re.compile(
    r"(\d{1,6})x(\d{1,6}):([A-Za-z0-9][A-Za-z0-9._/-]{0,62})(?:,slow=(\d{1,6})/(\d{1,6}):(\d{1,3})%)?"
)


class InvalidSimulation(ValueError):  # noqa: N818 - named like the other refusals of input
    """Says what the notation is."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """Nodes to simulate, all alike."""

    nodes: int
    chips: int
    """On each node."""
    chip_type: str


def parse_simulation(text: str) -> Simulation | None:
    """None for the empty text. Raises `InvalidSimulation`."""
    if not text:
        return None
    match = _NOTATION.fullmatch(text)
    if match is None:
        raise InvalidSimulation(f"--simulate {text}: expected NODESxCHIPS:TYPE, such as 16x8:H100-80GB.")
    found = Simulation(nodes=int(match[1]), chips=int(match[2]), chip_type=match[3])
    if not (1 <= found.nodes <= MOST_NODES and 1 <= found.chips <= MOST_CHIPS):
        raise InvalidSimulation(
            f"--simulate {text}: 1 to {MOST_NODES:,} nodes of 1 to {MOST_CHIPS} chips each can be simulated."
        )
    if match[4] is not None:
        node, chip, percent = (int(part) for part in match.groups()[3:])
        if not (1 <= node <= found.nodes and chip < found.chips and 1 <= percent <= 100):
            raise InvalidSimulation(
                f"--simulate {text}: there is no chip {chip} of node {node} to run at {percent}%."
            )
    return found
