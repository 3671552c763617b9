"""The `nvidia` driver: detects and reports NVIDIA chips through NVML (the optional package `nvidia-ml-py`)."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import msgspec

from node_agent.protocol import ChipInfo, ChipSample

UNHEALTHY = 1
"""Bit 0 of a sample's flags."""
_NOMINAL_GIB = (4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 80, 94, 96, 141, 144, 180, 192, 288)
"""Sizes that the chips are sold as; measured memory is a little more or less."""


class NvidiaDriver:
    """All NVIDIA chips of the node, or none and a note that says why."""

    name = "nvidia"

    def __init__(self, nvml: ModuleType | None = None) -> None:
        """`nvml` stands in for the `pynvml` module (tests give a recorded one)."""
        self.chips: list[ChipInfo] = []
        self.notes: list[str] = []
        self._handles: list[Any] = []
        self._missing_module: list[str] = []
        self._nvml: Any = nvml or self._import()
        self.look_again()

    def look_again(self) -> None:
        """A chip that does not answer any more stays, not healthy; one that is new comes last."""
        notes = list(self._missing_module)
        found = dict(self._detect(notes)) if self._nvml is not None else {}
        chips, handles = [], []
        for known, handle in zip(self.chips, self._handles, strict=True):
            chip, new_handle = found.pop(known.uuid, (None, handle))
            chips.append(_at(chip, known.index) if chip is not None else _gone(known))
            handles.append(new_handle)
        for chip, handle in found.values():
            chips.append(_at(chip, len(chips)))
            handles.append(handle)
        self._handles, self.chips, self.notes = handles, chips, notes

    def sample(self, memory_mib: Mapping[int, int]) -> list[ChipSample]:
        """All chips now. A value that a chip does not report is 0; a chip that does not answer is unhealthy."""
        return [self._sample_one(index, handle) for index, handle in enumerate(self._handles)]

    def environment(self, indexes: Sequence[int]) -> dict[str, str]:
        """`CUDA_VISIBLE_DEVICES` by uuid, which no renumbering can confuse; empty hides all."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.chips[index].uuid for index in indexes)}

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

    def _detect(self, notes: list[str]) -> Iterator[tuple[str, tuple[ChipInfo, Any]]]:
        """(uuid, (chip, handle)) of all that answer and can be offered; `notes` gets a sentence for each other."""
        try:
            self._nvml.nvmlInit()
            count = self._nvml.nvmlDeviceGetCount()
        except self._nvml.NVMLError as error:
            if os.path.exists("/proc/driver/nvidia"):
                notes.append(f"The NVIDIA driver does not answer: {error}.")
            return
        for number in range(count):
            found = self._detect_one(number, notes)
            if found is not None:
                yield found[0].uuid, found

    def _detect_one(self, number: int, notes: list[str]) -> tuple[ChipInfo, Any] | None:
        try:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(number)
            name = _text(self._nvml.nvmlDeviceGetName(handle))
            memory_bytes = self._nvml.nvmlDeviceGetMemoryInfo(handle).total
            uuid = _text(self._nvml.nvmlDeviceGetUUID(handle))
        except self._nvml.NVMLError as error:
            notes.append(f"NVIDIA chip {number} does not answer and is left out: {error}.")
            return None
        if self._is_partitioned(handle):
            notes.append(f"NVIDIA chip {number} is in MIG mode; its instances are not offered yet.")
            return None
        note = self._health_note(handle)
        chip = ChipInfo(
            index=number,
            type=chip_type(name, memory_bytes),
            memory_mib=memory_bytes >> 20,
            uuid=uuid,
            driver="nvidia",
            healthy=not note,
            health_note=note,
            isolation=["exclusive", "cooperative"],
        )
        return chip, handle

    def _is_partitioned(self, handle: Any) -> bool:
        mode = self._ask(lambda: self._nvml.nvmlDeviceGetMigMode(handle)[0], 0)
        return bool(mode)

    def _health_note(self, handle: Any) -> str:
        uncorrected = self._ask(
            lambda: self._nvml.nvmlDeviceGetTotalEccErrors(
                handle, self._nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, self._nvml.NVML_VOLATILE_ECC
            ),
            0,
        )
        return f"{uncorrected} uncorrected memory errors since the driver was loaded." if uncorrected else ""

    def _sample_one(self, index: int, handle: Any) -> ChipSample:
        nvml = self._nvml
        try:
            used_bytes = nvml.nvmlDeviceGetMemoryInfo(handle).used
        except nvml.NVMLError:
            return ChipSample(index=index, use_permille=0, memory_mib=0, flags=UNHEALTHY)
        return ChipSample(
            index=index,
            use_permille=self._ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu, 0) * 10,
            memory_mib=used_bytes >> 20,
            temperature_c=self._ask(
                lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU), 0
            ),
            power_mw=self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle), 0),
            flags=UNHEALTHY if self._health_note(handle) else 0,
        )

    def _ask(self, question: Callable[[], int], otherwise: int) -> int:
        """The answer, or `otherwise` where this chip does not support the question."""
        try:
            return int(question())
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
    gib = memory_bytes / (1 << 30)
    nominal = min(_NOMINAL_GIB, key=lambda size: abs(size - gib))
    return f"{'-'.join(words) or 'NVIDIA'}-{nominal}GB"


def _at(chip: ChipInfo, index: int) -> ChipInfo:
    return msgspec.structs.replace(chip, index=index)


def _gone(chip: ChipInfo) -> ChipInfo:
    note = "It is not offered any more: it does not answer, or was divided."
    return msgspec.structs.replace(chip, healthy=False, health_note=note)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
