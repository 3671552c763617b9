"""Energy of a run: an estimate, and the model it comes from.

A chip draws its idle power as long as the last job has not ended, and while it works, in proportion, the rest up to
its board power: the linear model of Fan, Weber and Barroso (ISCA'07). Board powers are those of the makers' data
sheets. Idle power is taken as 15 % of board power, an assumption. Hosts, networks and cooling are not counted.
"""

from __future__ import annotations

from scheduler_core.simulation.replay.state import CHIPS
from scheduler_core.simulation.simulate.scenario import Scenario

BOARD_WATTS = {
    "B200": 1000, "H200": 700, "H100": 700, "H800": 700, "A100": 400, "A800": 400, "V100": 300, "P100": 250,
    "L40S": 350, "L40": 300, "L4": 72, "A40": 300, "A10": 150, "T4": 70,
}  # fmt: skip
"""Data-sheet board power; SXM boards where a type has several, PCIe for P100."""
UNKNOWN_WATTS = 300
"""Of a type that is not listed."""
IDLE_PERCENT = 15

MODEL = (
    "Energy is an estimate of the chips alone: idle power (15 % of board power, an assumption) until the last end, "
    "and in proportion to useful and restarting work the rest up to board power (linear model: Fan, Weber and "
    "Barroso, ISCA'07; board powers from data sheets, 300 W for types not known). The mean chip of the cluster "
    "stands for all."
)


def board_watts(chip_type: str) -> int:
    """The board power of a chip type by the longest listed name that it begins with."""
    names = [name for name in BOARD_WATTS if chip_type.upper().startswith(name)]
    return BOARD_WATTS[max(names, key=len)] if names else UNKNOWN_WATTS


def energy_kwh(scenario: Scenario, *, worked: int, makespan_ms: int) -> float:
    """Kilowatt-hours of all chips until the last end; `worked` in milli-chip-ms."""
    cluster, names = scenario.cluster, scenario.work.type_names
    watts = sum(
        chips * board_watts(names[bit.bit_length() - 1])
        for chips, bit in zip(cluster.capacity[:, CHIPS].tolist(), cluster.types.tolist(), strict=True)
    )
    idle = watts * IDLE_PERCENT / 100 * makespan_ms
    busy = watts / cluster.chips * (100 - IDLE_PERCENT) / 100 * worked / 1000
    return float(idle + busy) / 3_600_000 / 1000
