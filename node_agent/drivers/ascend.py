"""The `ascend` driver: detects and reports Huawei Ascend NPUs by reading the table that `npu-smi info` prints.

Each chip has two lines in it, and each process one in a second table below. Instances (vNPU) are not read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from node_agent.drivers.keeping import kept, nominal_gib
from node_agent.protocol import UNHEALTHY, ChipInfo, ChipSample

COMMAND = ("npu-smi", "info")
MAX_SECONDS = 10
"""How long the tool may take; it asks every chip in turn."""
DEV = "/dev"
_NODE = re.compile(r"davinci\d+")
_WELL = ("OK", "Warning")
_OF = re.compile(r"(\d+)\s*/\s*(\d+)")
_BUS = re.compile(r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]")


class UnreadableError(Exception):
    """The tool failed or printed something else."""


@dataclass(frozen=True, slots=True)
class Npu:
    """One chip of the table."""

    bus: str
    device: int | None
    """The driver's number of it; None where the table does not tell it."""
    name: str
    health: str
    watts_tenths: int
    celsius: int
    use_percent: int
    used_mib: int
    memory_mib: int
    pids: tuple[int, ...]


class AscendDriver:
    """All Ascend chips of the node, or none and a note that says why."""

    name = "ascend"

    def __init__(self, read: Callable[[], str] | None = None) -> None:
        """`read` gives the text that the tool prints (tests give a recorded one)."""
        self.chips: list[ChipInfo] = []
        self.notes: list[str] = []
        self._npus: dict[str, tuple[int, Npu]] = {}
        self._missing_tool = read is None and shutil.which(COMMAND[0]) is None
        self._read = read or _run
        self.look_again()

    def look_again(self) -> None:
        """A chip that is not in the table any more stays, not healthy; one that is new comes last."""
        self.notes = []
        if self._missing_tool:
            if os.path.exists("/dev/davinci_manager"):
                self.notes.append("Ascend chips seem to be present but npu-smi is not on the agent's PATH.")
            return
        try:
            self._npus = {npu.bus: (number, npu) for number, npu in enumerate(parsed(self._read()))}
        except UnreadableError as error:
            self._npus = {}
            if os.path.exists("/dev/davinci_manager") or self.chips:
                self.notes.append(f"The Ascend driver does not answer: {error}.")
        self.chips = kept(self.chips, [_chip(number, npu) for number, npu in self._npus.values()])

    def sample(self, memory_mib: Mapping[int, int]) -> list[ChipSample]:
        """All chips now; one that is not in the table is unhealthy."""
        if not self._missing_tool:
            try:
                self._npus = {npu.bus: (number, npu) for number, npu in enumerate(parsed(self._read()))}
            except UnreadableError:
                self._npus = {}
        return [self._sample_one(chip) for chip in self.chips]

    def processes(self) -> dict[int, list[int]]:
        """Ids of the processes on each chip, by index."""
        return {
            chip.index: list(self._npus[chip.uuid][1].pids) for chip in self.chips if chip.uuid in self._npus
        }

    def environment(self, indexes: Sequence[int]) -> dict[str, str]:
        """`ASCEND_RT_VISIBLE_DEVICES` by the place in the table; -1 hides all."""
        places = [str(self._npus[self.chips[index].uuid][0]) for index in indexes]
        return {"ASCEND_RT_VISIBLE_DEVICES": ",".join(places) or "-1"}

    def nodes(self, index: int) -> Sequence[str]:
        """`/dev/davinciN`. Where the table does not tell N, the chips of the table are those of /dev, in order; were
        these not equally many, none is known."""
        found = self._npus.get(self.chips[index].uuid)
        if found is None:
            return ()
        place, npu = found
        if npu.device is not None:
            return (f"/dev/davinci{npu.device}",)
        numbers = sorted(
            int(name.removeprefix("davinci")) for name in os.listdir(DEV) if _NODE.fullmatch(name)
        )
        return (f"/dev/davinci{numbers[place]}",) if len(numbers) == len(self._npus) else ()

    def cores(self, indexes: Sequence[int]) -> list[int]:
        """Not pinned."""
        return []

    def _sample_one(self, chip: ChipInfo) -> ChipSample:
        if chip.uuid not in self._npus:
            return ChipSample(index=chip.index, use_permille=0, memory_mib=0, flags=UNHEALTHY)
        npu = self._npus[chip.uuid][1]
        return ChipSample(
            index=chip.index,
            use_permille=npu.use_percent * 10,
            memory_mib=npu.used_mib,
            temperature_c=npu.celsius,
            power_mw=npu.watts_tenths * 100,
            flags=0 if npu.health in _WELL else UNHEALTHY,
        )


def parsed(table: str) -> list[Npu]:
    """The chips in the order of the table, which is that of their logical numbers. Raises `UnreadableError`."""
    rows = [_cells(line) for line in table.splitlines() if line.lstrip().startswith("|")]
    if not any(cells and cells[0].startswith("NPU") for cells in rows):
        raise UnreadableError(f"npu-smi printed no table of chips: {table.strip()[:80]!r}")
    processes = list(_processes(rows))
    found = []
    for first, second in pairwise(rows):
        if len(first) == 3 and len(second) == 3 and _BUS.fullmatch(second[1]):
            npu = first[0].split()[0]
            chip = second[0].split()[0]
            found.append(_npu(first, second, [pid for at, pid in processes if at == (npu, chip)]))
    return found


def _npu(first: Sequence[str], second: Sequence[str], pids: Sequence[int]) -> Npu:
    _, _, name = first[0].partition(" ")
    power, temperature, *_ = [*first[2].split(), "0", "0"]
    pairs = [(int(used), int(total)) for used, total in _OF.findall(second[2]) if int(total)]
    used_mib, memory_mib = pairs[-1] if pairs else (0, 0)
    numbers = second[0].split()
    return Npu(
        bus=second[1].upper(),
        device=int(numbers[1]) if len(numbers) > 1 and numbers[1].isdigit() else None,
        name=name.strip(),
        health=first[1],
        watts_tenths=_tenths(power),
        celsius=_tenths(temperature) // 10,
        use_percent=_tenths(second[2].split()[0]) // 10,
        used_mib=used_mib,
        memory_mib=memory_mib,
        pids=tuple(pids),
    )


def _processes(rows: Sequence[Sequence[str]]) -> Iterator[tuple[tuple[str, str], int]]:
    """((NPU, chip), process id) of the second table."""
    below = False
    for cells in rows:
        below = below or (len(cells) > 1 and cells[1] == "Process id")
        if below and len(cells) >= 3 and cells[1].isdigit() and len(cells[0].split()) == 2:
            npu, chip = cells[0].split()
            yield (npu, chip), int(cells[1])


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _tenths(text: str) -> int:
    """Of a number with at most one decimal; 0 for `NA` and `-`."""
    whole, _, tenth = text.partition(".")
    return int(whole) * 10 + int(tenth[:1] or 0) if whole.isdigit() and (tenth or "0").isdigit() else 0


def _chip(number: int, npu: Npu) -> ChipInfo:
    well = npu.health in _WELL
    return ChipInfo(
        index=number,
        type=f"Ascend-{npu.name.replace(' ', '-')}-{nominal_gib(npu.memory_mib << 20)}GB",
        memory_mib=npu.memory_mib,
        uuid=npu.bus,
        driver="ascend",
        healthy=well,
        health_note="" if well else f"npu-smi says: {npu.health}."[:200],
        isolation=["exclusive", "cooperative"],
    )


def _run() -> str:
    try:
        done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=MAX_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreadableError(f"{error}") from error
    if done.returncode:
        raise UnreadableError(
            f"npu-smi ended with {done.returncode}: {(done.stderr or done.stdout).strip()[:80]}"
        )
    return done.stdout
