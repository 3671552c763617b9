"""The `simulated` driver: any number of chips that nobody has, with a declared load profile; always said to be so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from node_agent.protocol import SLOWED, ChipInfo, ChipSample

IDLE_MW = 60_000
FULL_MW = 700_000
IDLE_C = 32
FULL_C = 72
MAX_NODES = 10_000
MAX_CHIPS = 256
FULL_CLOCK: Final = 1000
_SHAPE = re.compile(
    r"(\d{1,6})x(\d{1,4}):([A-Za-z0-9][A-Za-z0-9_./-]{0,60})(?:,slow=(\d{1,6})/(\d{1,4}):(\d{1,3})%)?"
)
_GIB = re.compile(r"-(\d{1,4})GB")
_CURVE = (0, 350, 700, 860, 900, 880, 910, 870, 900, 890)
"""The declared profile where a job names none: warm-up, then steady with a ripple, in permille; one step a second."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How many nodes, of how many chips, of which type; and one chip that is slower than the others."""

    nodes: int
    chips: int
    type: str
    slow: tuple[int, int, int] | None = None
    """Number of its node, from 1, its index, and its clock in permille."""

    @classmethod
    def parse(cls, text: str) -> Shape:
        """`16x8:H100-80GB`, or `16x8:H100-80GB,slow=2/0:60%`. Raises `ValueError` that shows an example."""
        match = _SHAPE.fullmatch(text)
        if match is None:
            example = "16x8:H100-80GB, or with a slow chip 16x8:H100-80GB,slow=2/0:60%"
            raise ValueError(f"{text!r} is not NODESxCHIPS:TYPE, for example {example}")
        nodes, chips = int(match[1]), int(match[2])
        if not 1 <= nodes <= MAX_NODES or not 1 <= chips <= MAX_CHIPS:
            raise ValueError(f"{text!r}: 1 to {MAX_NODES} nodes and 1 to {MAX_CHIPS} chips can be simulated")
        if match[4] is None:
            return cls(nodes, chips, match[3])
        node, chip, percent = (int(part) for part in match.groups()[3:])
        if not 1 <= node <= nodes or chip >= chips or not 1 <= percent <= 100:
            raise ValueError(f"{text!r}: there is no chip {chip} of node {node} to run at {percent}%")
        return cls(nodes, chips, match[3], (node, chip, percent * 10))


def declared_use(age_ms: int) -> int:
    """Permille that a simulated job uses of its chips at this age, when its environment says nothing else."""
    step = age_ms // 1000
    return _CURVE[step] if step < len(_CURVE) else _CURVE[4 + step % 6]


def power_mw(use_permille: int) -> int:
    """What a simulated chip seems to draw at this use."""
    return IDLE_MW + (FULL_MW - IDLE_MW) * use_permille // 1000


class SimulatedDriver:
    """The chips of one simulated node. `set_load` says what they seem to do."""

    name = "simulated"

    def __init__(self, shape: Shape, number: int = 0) -> None:
        """`number`: of the node, from 1."""
        gib = _GIB.search(shape.type)
        memory_mib = int(gib[1]) * 1024 if gib else 16 * 1024
        self.notes = ["This node is simulated: nothing really runs on it."]
        self.chips = [
            ChipInfo(
                index=index,
                type=shape.type,
                memory_mib=memory_mib,
                uuid=f"simulated-{index}",
                driver="simulated",
                isolation=["exclusive", "enforced", "cooperative"],
                link_domain="simulated",
            )
            for index in range(shape.chips)
        ]
        self._use = [0] * shape.chips
        self._clocks = [FULL_CLOCK] * shape.chips
        if shape.slow is not None and shape.slow[0] == number:
            self._clocks[shape.slow[1]] = shape.slow[2]

    def look_again(self) -> None:
        """What nobody has cannot break."""

    def set_load(self, use_permille: Mapping[int, int]) -> None:
        """Use per chip index from now on; chips that are left out idle."""
        self._use = [min(1000, use_permille.get(chip.index, 0)) for chip in self.chips]

    def sample(self, memory_mib: Mapping[int, int]) -> list[ChipSample]:
        """All chips: temperature and power follow the use; a slow one is braked by its hardware when it is used."""
        return [
            ChipSample(
                index=index,
                use_permille=use,
                memory_mib=memory_mib.get(index, 0),
                temperature_c=IDLE_C + (FULL_C - IDLE_C) * use // 1000,
                power_mw=power_mw(use),
                clock_permille=clock,
                flags=SLOWED if use and clock < FULL_CLOCK else 0,
            )
            for index, (use, clock) in enumerate(zip(self._use, self._clocks, strict=True))
        ]

    def processes(self) -> Mapping[int, Sequence[int]]:
        """Nobody uses them: none is told."""
        return {}

    def environment(self, indexes: Sequence[int]) -> dict[str, str]:
        """Nothing sees it."""
        return {}

    def nodes(self, index: int) -> Sequence[str]:
        """None: no chip is real here."""
        return ()

    def cores(self, indexes: Sequence[int]) -> list[int]:
        """None: no core is real here."""
        return []
