"""AMD and Ascend chips, and drivers that hang.

No such hardware was at hand. What `amdsmi` answers has the fields of AMD SMI's published Python reference (ROCm 6.3);
the table of `npu-smi info` is laid out as releases 23 to 25 print it in Huawei's manuals and in public logs, with
values of our own.
"""

from __future__ import annotations

import threading
import time
from enum import Enum
from types import ModuleType
from typing import Any, cast

import pytest

from node_agent.drivers import ascend, contained
from node_agent.drivers.amd import AmdDriver
from node_agent.drivers.amd import chip_type as amd_type
from node_agent.drivers.ascend import AscendDriver, UnreadableError, parsed
from node_agent.drivers.contained import Contained, found_in_time
from node_agent.drivers.keeping import leading_digit
from node_agent.drivers.simulated import Shape, SimulatedDriver
from node_agent.protocol import UNHEALTHY, ChipErrors, ChipSample


class AmdSmiException(Exception):  # noqa: N818 - its name there
    """As in amdsmi."""


class AmdSmi:
    """Behaves like the module, with two MI300X."""

    AmdSmiException = AmdSmiException
    AmdSmiTemperatureType = Enum("AmdSmiTemperatureType", "EDGE JUNCTION")
    AmdSmiTemperatureMetric = Enum("AmdSmiTemperatureMetric", "CURRENT")
    AmdSmiClkType = Enum("AmdSmiClkType", "GFX")

    def __init__(self) -> None:
        self.broken: set[int] = set()
        self.present = True
        self.uncorrectable = 0

    def amdsmi_init(self) -> None:
        if not self.present:
            raise AmdSmiException("AMDSMI_STATUS_NOT_INIT")

    def amdsmi_get_processor_handles(self) -> list[int]:
        return [0, 1]

    def amdsmi_get_gpu_asic_info(self, handle: int) -> dict[str, Any]:
        return {
            "market_name": "AMD Instinct MI300X OAM",
            "vendor_id": "0x1002",
            "asic_serial": f"0x1A2B3C{handle}",
        }

    def amdsmi_get_gpu_vram_usage(self, handle: int) -> dict[str, int]:
        if handle in self.broken:
            raise AmdSmiException("AMDSMI_STATUS_IO")
        return {"vram_total": 196_592, "vram_used": 1_285}

    def amdsmi_get_gpu_activity(self, handle: int) -> dict[str, Any]:
        return {"gfx_activity": 97, "umc_activity": 41, "mm_activity": "N/A"}

    def amdsmi_get_power_info(self, handle: int) -> dict[str, Any]:
        return {"current_socket_power": 612 if handle == 0 else "N/A", "average_socket_power": "N/A"}

    def amdsmi_get_clock_info(self, handle: int, kind: object) -> dict[str, Any]:
        if handle == 1:
            raise AmdSmiException("AMDSMI_STATUS_NOT_SUPPORTED")
        return {"clk": 1890, "min_clk": 132, "max_clk": 2100, "clk_locked": False, "clk_deep_sleep": False}

    def amdsmi_get_temp_metric(self, handle: int, sensor: Enum, metric: object) -> int:
        if handle == 1 and sensor is self.AmdSmiTemperatureType.JUNCTION:
            raise AmdSmiException("AMDSMI_STATUS_NOT_SUPPORTED")
        return 63

    def amdsmi_get_gpu_total_ecc_count(self, handle: int) -> dict[str, int]:
        return {"correctable_count": 0, "uncorrectable_count": self.uncorrectable, "deferred_count": 0}

    def amdsmi_get_gpu_process_list(self, handle: int) -> list[dict[str, Any]]:
        return [{"name": "python3", "pid": 4711, "mem": 1 << 30}] if handle == 0 else []


def test_amd_chips_are_reported() -> None:
    smi = AmdSmi()
    driver = AmdDriver(cast(ModuleType, smi))
    assert [(chip.type, chip.uuid) for chip in driver.chips] == [
        ("MI300X-192GB", "GPU-0000000001a2b3c0"),
        ("MI300X-192GB", "GPU-0000000001a2b3c1"),
    ]
    first, second = driver.sample({})
    assert first == ChipSample(0, 970, 1_285, 63, 612_000, 0, 900, 410)
    assert (second.temperature_c, second.power_mw, second.clock_permille) == (63, 0, 0)
    assert driver.processes() == {0: [4711], 1: []}
    assert driver.environment([1]) == {"ROCR_VISIBLE_DEVICES": "GPU-0000000001a2b3c1"}
    assert driver.environment([]) == {"ROCR_VISIBLE_DEVICES": "-1"}
    assert driver.chips[0].errors is None
    smi.uncorrectable = 3
    driver.look_again()
    assert driver.chips[0].errors == ChipErrors(uncorrected=3)


def test_an_amd_chip_that_is_lost_is_unhealthy_and_the_other_goes_on() -> None:
    smi = AmdSmi()
    driver = AmdDriver(cast(ModuleType, smi))
    smi.broken = {0}
    assert [sample.flags for sample in driver.sample({})] == [UNHEALTHY, 0]
    driver.look_again()
    assert [chip.healthy for chip in driver.chips] == [False, True]
    assert driver.notes == ["AMD chip 0 does not answer and is left out: AMDSMI_STATUS_IO."]


def test_without_a_library_or_a_chip_there_are_none_and_nothing_breaks() -> None:
    smi = AmdSmi()
    smi.present = False
    assert list(AmdDriver(cast(ModuleType, smi)).chips) == []
    assert list(AmdDriver().chips) == []
    assert list(AscendDriver().chips) == []


@pytest.mark.parametrize(
    ("name", "mib", "kind"),
    [
        ("AMD Instinct MI250X / MI250", 65_520, "MI250X-MI250-64GB"),
        ("AMD Radeon PRO W7900", 46_064, "PRO-W7900-48GB"),
    ],
)
def test_amd_chip_types_are_named(name: str, mib: int, kind: str) -> None:
    assert amd_type(name, mib) == kind


TABLE = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.rc2                 Version: 24.1.rc2                                             |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 97.3        41                0    / 0             |
| 0                         | 0000:C1:00.0  | 64          0    / 0          31022/ 65536         |
+===========================+===============+====================================================+
| 1     910B3               | Alarm         | NA          39                0    / 0             |
| 0                         | 0000:01:00.0  | 0           0    / 0          3201 / 65536         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| 0       0                 | 52114         | python3                  | 27641                   |
+===========================+===============+====================================================+
| No running processes found in NPU 1                                                            |
+===========================+===============+====================================================+
"""
INFERENCE = """\
+--------------------------------------------------------------------------------------------------------+
| npu-smi 23.0.rc3                                 Version: 23.0.rc3                                     |
+-------------------------------+-----------------+------------------------------------------------------+
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===============================+=================+======================================================+
| 8       310P3                 | OK              | NA           51                0     / 0             |
| 0       0                     | 0000:86:00.0    | 7            1821 / 21527                            |
+-------------------------------+-----------------+------------------------------------------------------+
"""


def test_ascend_chips_are_read_from_the_table() -> None:
    text = [TABLE]
    driver = AscendDriver(lambda: text[0])
    well, ill = driver.chips
    assert (well.type, well.memory_mib, well.uuid, well.healthy) == (
        "Ascend-910B3-64GB",
        65_536,
        "0000:C1:00.0",
        True,
    )
    assert (ill.healthy, ill.health_note) == (False, "npu-smi says: Alarm.")
    assert driver.sample({}) == [
        ChipSample(0, 640, 31_022, 41, 97_300),
        ChipSample(1, 0, 3_201, 39, 0, UNHEALTHY),
    ]
    assert driver.processes() == {0: [52_114], 1: []}
    assert driver.environment([1]) == {"ASCEND_RT_VISIBLE_DEVICES": "1"}
    assert driver.environment([]) == {"ASCEND_RT_VISIBLE_DEVICES": "-1"}
    text[0] = "dcmi module initialize failed. ret is -8005"
    driver.look_again()
    assert [chip.healthy for chip in driver.chips] == [False, False]
    assert [sample.flags for sample in driver.sample({})] == [UNHEALTHY] * 2
    assert "dcmi module initialize failed" in driver.notes[0]


def test_an_ascend_chip_without_hbm_is_read_too() -> None:
    [npu] = parsed(INFERENCE)
    assert (npu.name, npu.use_percent, npu.used_mib, npu.memory_mib, npu.celsius) == (
        "310P3",
        7,
        1_821,
        21_527,
        51,
    )


@pytest.mark.parametrize("table", ["", "command not found", "| Device | Status |\n| 0 | fine |", "|" * 5000])
def test_what_is_no_table_is_refused(table: str) -> None:
    with pytest.raises(UnreadableError):
        parsed(table)


def test_a_tool_that_hangs_or_fails_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ascend, "MAX_SECONDS", 0.2)
    monkeypatch.setattr(ascend, "COMMAND", ("sleep", "60"))
    with pytest.raises(UnreadableError, match="timed out"):
        ascend._run()
    monkeypatch.setattr(ascend, "COMMAND", ("false",))
    with pytest.raises(UnreadableError, match="ended with 1"):
        ascend._run()


class Hanging(SimulatedDriver):
    """Stops answering when told to."""

    def __init__(self) -> None:
        super().__init__(Shape.parse("1x2:H100-80GB"))
        self.may_answer = threading.Event()
        self.may_answer.set()

    def look_again(self) -> None:
        self.may_answer.wait()


def test_a_driver_that_hangs_costs_its_readings_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contained, "HANG_SECONDS", 0.3)
    monkeypatch.setattr(contained, "SAMPLE_SECONDS", 0.02)
    monkeypatch.setattr(contained, "LOOK_SECONDS", 0.02)
    driver = Hanging()
    held = Contained(driver)
    until(lambda: len(held.sample({})) == 2 and all(chip.healthy for chip in held.chips))
    driver.may_answer.clear()
    until(lambda: not any(chip.healthy for chip in held.chips))
    began = time.monotonic()
    assert [sample.flags for sample in held.sample({})] == [UNHEALTHY] * 2
    held.look_again()
    assert "has not answered" in held.chips[0].health_note
    assert time.monotonic() - began < 0.2
    driver.may_answer.set()
    until(lambda: all(chip.healthy for chip in held.chips))


def test_a_driver_that_hangs_at_the_start_or_raises_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contained, "START_SECONDS", 0.1)
    for_ever = threading.Event()
    found, notes = found_in_time(lambda: cast(Any, for_ever.wait()), "nvidia")
    assert found is None
    assert notes == ["The nvidia driver did not answer within 0 s; its chips are left out."]
    for_ever.set()

    def breaks() -> Any:
        raise ValueError("unexpected answer")

    monkeypatch.setattr(contained, "START_SECONDS", 5)
    assert found_in_time(breaks, "amd") == (
        None, ["The amd driver failed and its chips are left out: unexpected answer."],
    )  # fmt: skip


def test_counters_that_run_are_seldom_news() -> None:
    assert [leading_digit(count) for count in (-1, 0, 7, 19, 4_321)] == [0, 0, 7, 10, 4_000]


def until(holds: Any) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)
