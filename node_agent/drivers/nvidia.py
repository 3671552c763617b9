"""The `nvidia` driver: detects and reports NVIDIA chips through NVML (the optional package `nvidia-ml-py`).

A chip in MIG mode is offered as its instances, each a chip with a parent (Q5); nobody is given the parent. Of an
instance NVML tells no use: it is not sampled, and what is not measured is not idle (T1).
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from node_agent.drivers.keeping import kept, leading_digit, nominal_gib
from node_agent.protocol import (
    HOT,
    POWER_CAPPED,
    SLOWED,
    UNHEALTHY,
    ChipErrors,
    ChipInfo,
    ChipSample,
)

DIVIDED = "It is divided into instances, which are offered instead."
MAX_XIDS = 16
_POWER_CAP = 0x4
_HARDWARE_SLOWDOWN = 0x8
_HEAT = 0x20 | 0x40
_POWER_BRAKE = 0x80
"""Bits of NVML's reasons for lower clocks."""
_PROFILE = re.compile(r"(\d+)g\.\d+gb\S*$")
_SLICES = {"A30": 4}
"""Of the chips that have another number than 7."""
_MOST_SLICES = 7


class NvidiaDriver:
    """All NVIDIA chips of the node, or none and a note that says why."""

    name = "nvidia"

    def __init__(self, nvml: ModuleType | None = None) -> None:
        """`nvml` stands in for the `pynvml` module (tests give a recorded one)."""
        self.chips: list[ChipInfo] = []
        self.notes: list[str] = []
        self._handles: dict[str, Any] = {}
        self._nodes: dict[str, tuple[str, ...]] = {}
        self._most_links: dict[str, int] = {}
        self._xids: dict[str, list[int]] = {}
        self._events: Any = None
        self._missing_module: list[str] = []
        self._nvml: Any = nvml or self._import()
        self.look_again()

    def look_again(self) -> None:
        """A chip that does not answer any more stays, not healthy; one that is new comes last."""
        notes = list(self._missing_module)
        found = list(self._detect(notes)) if self._nvml is not None else []
        self._handles |= {chip.uuid: handle for chip, handle in found}
        self.chips, self.notes = kept(self.chips, [chip for chip, _ in found]), notes

    def sample(self, memory_mib: Mapping[int, int]) -> list[ChipSample]:
        """All chips now. A value that a chip does not report is 0; a chip that does not answer is unhealthy."""
        samples = (self._sample_one(chip, self._handles[chip.uuid]) for chip in self.chips)
        return [sample for sample in samples if sample is not None]

    def processes(self) -> dict[int, list[int]]:
        """Ids of the processes that compute on each chip, by index."""
        found = {}
        for chip in self.chips:
            handle = self._handles[chip.uuid]
            running = self._ask(lambda: self._nvml.nvmlDeviceGetComputeRunningProcesses(handle), [])  # noqa: B023
            found[chip.index] = [int(process.pid) for process in running]
        return found

    def environment(self, indexes: Sequence[int]) -> dict[str, str]:
        """`CUDA_VISIBLE_DEVICES` by uuid, which no renumbering can confuse; empty hides all."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.chips[index].uuid for index in indexes)}

    def nodes(self, index: int) -> Sequence[str]:
        """`/dev/nvidiaN` by the driver's own number of the chip; an instance has none that no other instance needs."""
        return self._nodes.get(self.chips[index].uuid, ())

    def cores(self, indexes: Sequence[int]) -> list[int]:
        """Not pinned."""
        return []

    def _import(self) -> ModuleType | None:
        try:
            return importlib.import_module("pynvml")
        except ImportError:
            if os.path.exists("/proc/driver/nvidia") or os.path.exists("/dev/nvidiactl"):
                self._missing_module.append(
                    "NVIDIA chips seem to be present but cannot be read: pip install 'flexai[nvidia]'."
                )
            return None

    def _detect(self, notes: list[str]) -> Iterator[tuple[ChipInfo, Any]]:
        """All that answer and can be offered, with their handles; `notes` gets a sentence for each other."""
        try:
            self._nvml.nvmlInit()
            count = self._nvml.nvmlDeviceGetCount()
        except self._nvml.NVMLError as error:
            if os.path.exists("/proc/driver/nvidia"):
                notes.append(f"The NVIDIA driver does not answer: {error}.")
            return
        self._take_xids()
        for number in range(count):
            yield from self._detect_one(number, notes)

    def _detect_one(self, number: int, notes: list[str]) -> Iterator[tuple[ChipInfo, Any]]:
        try:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(number)
            name = _text(self._nvml.nvmlDeviceGetName(handle))
            memory_bytes = self._nvml.nvmlDeviceGetMemoryInfo(handle).total
            uuid = _text(self._nvml.nvmlDeviceGetUUID(handle))
        except self._nvml.NVMLError as error:
            notes.append(f"NVIDIA chip {number} does not answer and is left out: {error}.")
            return
        if uuid not in self._handles:
            self._listen(handle)
        minor = self._ask(lambda: self._nvml.nvmlDeviceGetMinorNumber(handle), None)
        self._nodes[uuid] = () if minor is None else (f"/dev/nvidia{minor}",)
        divided = bool(self._ask(lambda: self._nvml.nvmlDeviceGetMigMode(handle)[0], 0))
        chip = ChipInfo(
            index=number,
            type=chip_type(name, memory_bytes),
            memory_mib=memory_bytes >> 20,
            uuid=uuid,
            driver="nvidia",
            healthy=not divided,
            health_note=DIVIDED if divided else "",
            isolation=["exclusive", "cooperative"],
            errors=self._errors(uuid, handle),
        )
        yield chip, handle
        if divided:
            yield from self._instances(chip, handle, name)

    def _instances(self, parent: ChipInfo, handle: Any, name: str) -> Iterator[tuple[ChipInfo, Any]]:
        of = next((count for kind, count in _SLICES.items() if kind in name.split()), _MOST_SLICES)
        for number in range(self._ask(lambda: self._nvml.nvmlDeviceGetMaxMigDeviceCount(handle), 0)):
            try:
                instance = self._nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
                profile = _PROFILE.search(_text(self._nvml.nvmlDeviceGetName(instance)))
                uuid = _text(self._nvml.nvmlDeviceGetUUID(instance))
                memory_mib = self._nvml.nvmlDeviceGetMemoryInfo(instance).total >> 20
            except self._nvml.NVMLError:
                continue  # no instance has this number
            if profile is not None:
                chip = ChipInfo(
                    index=number, type=f"{parent.type}/{profile[0]}", memory_mib=memory_mib, uuid=uuid,
                    driver="nvidia", isolation=["exclusive", "hardware"], parent=parent.uuid,
                    slices=min(int(profile[1]), of), of=of, errors=parent.errors,
                )  # fmt: skip
                yield chip, instance

    # --- errors

    def _errors(self, uuid: str, handle: Any) -> ChipErrors | None:
        """None where nothing was counted."""
        nvml = self._nvml
        corrected, uncorrected = (
            self._ask(lambda: nvml.nvmlDeviceGetTotalEccErrors(handle, kind, nvml.NVML_VOLATILE_ECC), 0)  # noqa: B023
            for kind in (nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED)
        )
        _, remapped, pending, failed = self._ask(lambda: nvml.nvmlDeviceGetRemappedRows(handle), (0, 0, 0, 0))
        errors = ChipErrors(
            uncorrected=uncorrected,
            corrected=leading_digit(corrected),
            remapped_rows=remapped,
            remap_pending=bool(pending),
            remap_failed=bool(failed),
            xids=list(self._xids.get(uuid, [])),
            links_down=self._links_down(uuid, handle),
        )
        return errors if errors != ChipErrors() else None

    def _links_down(self, uuid: str, handle: Any) -> int:
        """Links that were up since the agent started and are not: how many there should be, nobody says."""
        up: int = sum(
            self._ask(lambda: self._nvml.nvmlDeviceGetNvLinkState(handle, link), 0)  # noqa: B023
            for link in range(self._nvml.NVML_NVLINK_MAX_LINKS)
        )
        self._most_links[uuid] = max(up, self._most_links.get(uuid, 0))
        return self._most_links[uuid] - up

    def _listen(self, handle: Any) -> None:
        """From now on the chip's XIDs are told; where that is not supported there are none."""
        nvml = self._nvml
        try:
            self._events = self._events or nvml.nvmlEventSetCreate()
            nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, self._events)
        except nvml.NVMLError:
            return

    def _take_xids(self) -> None:
        while self._events is not None:
            try:
                event = self._nvml.nvmlEventSetWait(self._events, 0)
                uuid = _text(self._nvml.nvmlDeviceGetUUID(event.device))
            except self._nvml.NVMLError:
                return  # nothing waits
            self._xids[uuid] = [*self._xids.get(uuid, []), int(event.eventData)][-MAX_XIDS:]

    # --- samples

    def _sample_one(self, chip: ChipInfo, handle: Any) -> ChipSample | None:
        nvml = self._nvml
        try:
            used_bytes = nvml.nvmlDeviceGetMemoryInfo(handle).used
        except nvml.NVMLError:
            return ChipSample(index=chip.index, use_permille=0, memory_mib=0, flags=UNHEALTHY)
        rates = self._ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle), None)
        if rates is None and chip.parent:
            return None
        return ChipSample(
            index=chip.index,
            use_permille=0 if rates is None else rates.gpu * 10,
            memory_mib=used_bytes >> 20,
            temperature_c=self._ask(
                lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU), 0
            ),
            power_mw=self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle), 0),
            flags=self._flags(handle),
            clock_permille=self._clock_permille(handle),
            memory_use_permille=0 if rates is None else rates.memory * 10,
        )

    def _flags(self, handle: Any) -> int:
        reasons = self._ask(lambda: self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle), 0)
        hot = HOT if reasons & _HEAT else 0
        slowed = SLOWED if reasons & _POWER_BRAKE or (reasons & _HARDWARE_SLOWDOWN and not hot) else 0
        return hot | slowed | (POWER_CAPPED if reasons & _POWER_CAP else 0)

    def _clock_permille(self, handle: Any) -> int:
        nvml = self._nvml
        most = self._ask(lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM), 0)
        now = self._ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM), 0)
        return min(1000, now * 1000 // most) if most else 0

    def _ask(self, question: Callable[[], Any], otherwise: Any) -> Any:
        """The answer, or `otherwise` where this chip does not support the question."""
        try:
            return question()
        except self._nvml.NVMLError:
            return otherwise


def chip_type(name: str, memory_bytes: int) -> str:
    """The platform's name of a chip type: "NVIDIA H100 80GB HBM3" → "H100-80GB"."""
    words = [
        word
        for word in name.replace("-", " ").split()
        if word
        not in ("NVIDIA", "Tesla", "GeForce", "Quadro", "PCIe", "PCIE", "SXM", "SXM2", "SXM3", "SXM4", "SXM5")
        and not word.startswith("HBM")
        and not (word[:1].isdigit() and word.upper().endswith(("GB", "G")))
    ]
    return f"{'-'.join(words) or 'NVIDIA'}-{nominal_gib(memory_bytes)}GB"


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
