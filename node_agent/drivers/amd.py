"""The `amd` driver: detects and reports AMD Instinct and Radeon chips through AMD SMI's Python module (`amdsmi`).

The module comes with ROCm. It answers `N/A` where a chip does not support a question.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from node_agent.drivers.keeping import kept, leading_digit, nominal_gib
from node_agent.protocol import UNHEALTHY, ChipErrors, ChipInfo, ChipSample

_NO_NODE = 0xFFFF_FFFF
"""What AMD SMI says in place of a number that there is not."""
_MAKER = ("AMD", "Advanced", "Micro", "Devices,", "Inc.", "[AMD/ATI]", "Instinct", "Radeon", "OAM", "PCIe")


class AmdDriver:
    """All AMD chips of the node, or none and a note that says why."""

    name = "amd"

    def __init__(self, amdsmi: ModuleType | None = None) -> None:
        """`amdsmi` stands in for the module (tests give a recorded one)."""
        self.chips: list[ChipInfo] = []
        self.notes: list[str] = []
        self._handles: dict[str, Any] = {}
        self._nodes: dict[str, tuple[str, ...]] = {}
        self._missing_module: list[str] = []
        self._smi: Any = amdsmi or self._import()
        self._started = False
        self.look_again()

    def look_again(self) -> None:
        """A chip that does not answer any more stays, not healthy; one that is new comes last."""
        notes = list(self._missing_module)
        found = list(self._detect(notes)) if self._smi is not None else []
        self._handles |= {chip.uuid: handle for chip, handle in found}
        self.chips, self.notes = kept(self.chips, [chip for chip, _ in found]), notes

    def sample(self, memory_mib: Mapping[int, int]) -> list[ChipSample]:
        """All chips now. A value that a chip does not report is 0; a chip that does not answer is unhealthy."""
        return [self._sample_one(chip, self._handles[chip.uuid]) for chip in self.chips]

    def processes(self) -> dict[int, list[int]]:
        """Ids of the processes that compute on each chip, by index."""
        found = {}
        for chip in self.chips:
            handle = self._handles[chip.uuid]
            running = self._ask(lambda: self._smi.amdsmi_get_gpu_process_list(handle), [])  # noqa: B023
            found[chip.index] = [int(process["pid"]) for process in running]
        return found

    def environment(self, indexes: Sequence[int]) -> dict[str, str]:
        """`ROCR_VISIBLE_DEVICES` by ROCm's own unique name, which no renumbering can confuse; -1 hides all."""
        return {"ROCR_VISIBLE_DEVICES": ",".join(self.chips[index].uuid for index in indexes) or "-1"}

    def nodes(self, index: int) -> Sequence[str]:
        """Its render node, and its card; none where AMD SMI (ROCm 6.4 and later) does not tell them."""
        return self._nodes.get(self.chips[index].uuid, ())

    def cores(self, indexes: Sequence[int]) -> list[int]:
        """Not pinned."""
        return []

    def _import(self) -> ModuleType | None:
        try:
            return importlib.import_module("amdsmi")
        except (
            ImportError,
            OSError,
            KeyError,
        ) as error:  # it loads ROCm's library by the environment's paths
            if os.path.exists("/dev/kfd"):
                self._missing_module.append(
                    f"AMD chips seem to be present but cannot be read: install ROCm's amdsmi module ({error})."
                )
            return None

    def _detect(self, notes: list[str]) -> Iterator[tuple[ChipInfo, Any]]:
        try:
            if not self._started:
                self._smi.amdsmi_init()
                self._started = True
            handles = self._smi.amdsmi_get_processor_handles()
        except self._smi.AmdSmiException as error:
            if os.path.exists("/dev/kfd"):
                notes.append(f"The AMD driver does not answer: {error}.")
            return
        for number, handle in enumerate(handles):
            try:
                asic = self._smi.amdsmi_get_gpu_asic_info(handle)
                name, uuid = str(asic["market_name"]), _unique_name(str(asic["asic_serial"]))
                memory_mib = _whole(self._smi.amdsmi_get_gpu_vram_usage(handle)["vram_total"])
            except self._smi.AmdSmiException as error:
                notes.append(f"AMD chip {number} does not answer and is left out: {error}.")
                continue
            chip = ChipInfo(
                index=number, type=chip_type(name, memory_mib), memory_mib=memory_mib, uuid=uuid, driver="amd",
                isolation=["exclusive", "cooperative"], errors=self._errors(handle),
            )  # fmt: skip
            self._nodes[uuid] = self._nodes_of(handle)
            yield chip, handle

    def _nodes_of(self, handle: Any) -> tuple[str, ...]:
        told = self._ask(lambda: self._smi.amdsmi_get_gpu_enumeration_info(handle), {})
        named = (("renderD", _whole(told.get("drm_render"))), ("card", _whole(told.get("drm_card"))))
        return tuple(f"/dev/dri/{kind}{number}" for kind, number in named if told and number < _NO_NODE)

    def _errors(self, handle: Any) -> ChipErrors | None:
        counted = self._ask(lambda: self._smi.amdsmi_get_gpu_total_ecc_count(handle), {})
        errors = ChipErrors(
            uncorrected=_whole(counted.get("uncorrectable_count")),
            corrected=leading_digit(_whole(counted.get("correctable_count"))),
        )
        return errors if errors != ChipErrors() else None

    def _sample_one(self, chip: ChipInfo, handle: Any) -> ChipSample:
        smi = self._smi
        try:
            used = smi.amdsmi_get_gpu_vram_usage(handle)["vram_used"]
        except smi.AmdSmiException:
            return ChipSample(index=chip.index, use_permille=0, memory_mib=0, flags=UNHEALTHY)
        activity = self._ask(lambda: smi.amdsmi_get_gpu_activity(handle), {})
        power = self._ask(lambda: smi.amdsmi_get_power_info(handle), {})
        watts = _whole(power.get("current_socket_power")) or _whole(power.get("average_socket_power"))
        clock = self._ask(lambda: smi.amdsmi_get_clock_info(handle, smi.AmdSmiClkType.GFX), {})
        most = _whole(clock.get("max_clk"))
        return ChipSample(
            index=chip.index,
            use_permille=_whole(activity.get("gfx_activity")) * 10,
            memory_mib=_whole(used),
            temperature_c=self._temperature(handle),
            power_mw=watts * 1000,
            clock_permille=min(1000, _whole(clock.get("clk")) * 1000 // most) if most else 0,
            memory_use_permille=_whole(activity.get("umc_activity")) * 10,
        )

    def _temperature(self, handle: Any) -> int:
        """Of the hottest spot, else of the edge."""
        smi = self._smi
        for sensor in (smi.AmdSmiTemperatureType.JUNCTION, smi.AmdSmiTemperatureType.EDGE):
            degrees = _whole(
                self._ask(
                    lambda: smi.amdsmi_get_temp_metric(handle, sensor, smi.AmdSmiTemperatureMetric.CURRENT),  # noqa: B023
                    0,
                )
            )
            if degrees:
                return degrees
        return 0

    def _ask(self, question: Callable[[], Any], otherwise: Any) -> Any:
        """The answer, or `otherwise` where this chip does not support the question."""
        try:
            return question()
        except (self._smi.AmdSmiException, AttributeError):  # an older module lacks the question
            return otherwise


def chip_type(name: str, memory_mib: int) -> str:
    """The platform's name of a chip type: "AMD Instinct MI300X OAM" → "MI300X-192GB"."""
    words = [word for word in name.replace("/", " ").split() if word not in _MAKER]
    return f"{'-'.join(words) or 'AMD'}-{nominal_gib(memory_mib << 20)}GB"


def _unique_name(serial: str) -> str:
    """What ROCm's runtime calls the chip with this serial number: "0x1a2b3c" → "GPU-00000000001a2b3c"."""
    return f"GPU-{serial.lower().removeprefix('0x').zfill(16)}"


def _whole(value: object) -> int:
    """A number, or 0 where the answer is `N/A`."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else 0
