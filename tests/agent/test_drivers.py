"""Chips: the node's cores, NVIDIA chips by a recorded NVML, and the declared shapes of simulated ones."""

from __future__ import annotations

import os
import subprocess
import time
from types import ModuleType
from typing import cast

import pytest

from node_agent.drivers.cpu import CpuDriver
from node_agent.drivers.nvidia import NvidiaDriver, chip_type
from node_agent.drivers.simulated import Shape, SimulatedDriver, declared_use
from node_agent.host import CoreTimes, memory_total_mib, memory_used_mib, process_trees, read_core_times
from node_agent.node import foreign_processes
from node_agent.protocol import FOREIGN, HOT, POWER_CAPPED, SLOWED, UNHEALTHY, ChipErrors
from node_agent.telemetry import Sampler
from tests.agent.recorded_nvml import Nvml


def nvidia(**changes: bool | int) -> NvidiaDriver:
    return NvidiaDriver(cast(ModuleType, Nvml(**changes)))  # type: ignore[arg-type]


def test_every_core_is_a_chip() -> None:
    driver = CpuDriver(enforced=True)
    cores = sorted(os.sched_getaffinity(0))
    assert [chip.uuid for chip in driver.chips] == [f"core-{core}" for core in cores]
    assert {chip.memory_mib for chip in driver.chips} == {memory_total_mib() // len(cores)}
    assert driver.chips[0].isolation == ["exclusive", "enforced", "cooperative"]
    assert CpuDriver(enforced=False).chips[0].isolation == ["exclusive", "cooperative"]
    assert driver.cores([0]) == [cores[0]]
    assert driver.environment([]) == {"FLEXAI_CPUS": ""}


def test_the_use_of_a_core_is_measured() -> None:
    driver = CpuDriver(enforced=False)
    core = sorted(os.sched_getaffinity(0))[0]
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        until = time.process_time() + 0.4
        while time.process_time() < until:
            pass
    finally:
        os.sched_setaffinity(0, before)
    sample = driver.sample({0: 77})
    assert sample[0].use_permille > 500
    assert sample[0].memory_mib == 77
    assert all(0 <= chip.use_permille <= 1000 for chip in sample)


def test_use_never_leaves_its_range() -> None:
    assert CoreTimes(5, 10).use_permille_since(None) == 0
    assert CoreTimes(5, 10).use_permille_since(CoreTimes(5, 10)) == 0
    assert CoreTimes(5, 10).use_permille_since(CoreTimes(9, 4)) == 0
    assert CoreTimes(20, 30).use_permille_since(CoreTimes(0, 10)) == 1000


def test_the_host_is_read() -> None:
    assert 0 < memory_used_mib() < memory_total_mib()
    assert len(read_core_times()) == 1 + (os.cpu_count() or 0)
    trees = process_trees([os.getppid(), 999_999_999])
    assert set(trees) <= {os.getppid()}


def test_nvidia_chips_are_reported() -> None:
    driver = nvidia()
    assert [chip.type for chip in driver.chips] == ["H100-80GB"] * 3
    assert driver.chips[1].uuid == "GPU-1"
    assert driver.chips[0].memory_mib == 81559
    assert driver.chips[0].isolation == ["exclusive", "cooperative"]
    assert all(chip.healthy for chip in driver.chips)
    assert driver.environment([0, 2]) == {"CUDA_VISIBLE_DEVICES": "GPU-0,GPU-2"}
    assert driver.environment([]) == {"CUDA_VISIBLE_DEVICES": ""}
    first, second, _ = driver.sample({})
    assert (first.use_permille, first.memory_mib, first.temperature_c, first.power_mw) == (
        870,
        3072,
        61,
        512_345,
    )
    assert second.temperature_c == 0, "this chip does not tell"


def test_an_nvidia_chip_that_does_not_answer_is_left_out_and_said() -> None:
    driver = nvidia(broken=1)
    assert [chip.uuid for chip in driver.chips] == ["GPU-0", "GPU-2"]
    assert [chip.index for chip in driver.chips] == [0, 1]
    assert driver.notes == ["NVIDIA chip 1 does not answer and is left out: GPU is lost."]


def test_q5_an_nvidia_chip_in_mig_mode_is_offered_as_its_instances() -> None:
    driver = nvidia(mig=2)
    parent, small, large = driver.chips[2:]
    assert (parent.uuid, parent.healthy) == ("GPU-2", False)
    assert "divided" in parent.health_note
    assert (small.type, small.parent, small.slices, small.of) == ("H100-80GB/1g.10gb", "GPU-2", 1, 7)
    assert (large.type, large.slices, large.isolation) == ("H100-80GB/3g.40gb", 3, ["exclusive", "hardware"])
    assert driver.environment([small.index]) == {"CUDA_VISIBLE_DEVICES": "MIG-2-0"}
    assert [sample.index for sample in driver.sample({})] == [0, 1, 2], "of an instance no use is told"


def test_t4_an_nvidia_chip_tells_what_its_hardware_counted() -> None:
    recorded = Nvml(ecc_errors=4)
    recorded.remapped = (2, 1, 1, 0)
    driver = NvidiaDriver(cast(ModuleType, recorded))
    recorded.waiting_xids, recorded.links = [(0, 79), (0, 13)], 17
    driver.look_again()
    first, second, _ = driver.chips
    assert first.healthy, "what follows is the server's to decide"
    assert first.errors == ChipErrors(
        uncorrected=4, corrected=4000, remapped_rows=1, remap_pending=True, xids=[79, 13], links_down=1
    )
    assert second.errors == ChipErrors(links_down=1)
    recorded.links = 18
    driver.look_again()
    assert driver.chips[1].errors is None


@pytest.mark.parametrize(
    ("reasons", "flags"),
    [(0, 0), (0x1, 0), (0x4, POWER_CAPPED), (0x20, HOT), (0x8 | 0x40, HOT), (0x8, SLOWED), (0x80, SLOWED)],
)
def test_t4_an_nvidia_chip_tells_why_it_is_slow(reasons: int, flags: int) -> None:
    recorded = Nvml()
    recorded.reasons = reasons
    [sample, *_] = NvidiaDriver(cast(ModuleType, recorded)).sample({})
    assert (sample.flags, sample.clock_permille, sample.memory_use_permille) == (flags, 886, 400)


def test_foreign_processes_are_seen_and_our_own_are_not_foreign() -> None:
    recorded = Nvml()
    driver = NvidiaDriver(cast(ModuleType, recorded))
    with subprocess.Popen(["sleep", "60"]) as ours:
        recorded.pids = {0: [ours.pid], 1: [ours.pid, os.getppid()], 2: [999_999_999]}
        assert foreign_processes(driver, {os.getpid()}) == {1: [os.getppid()]}
        [marked] = Sampler(driver).sample([], {1}).chips[1:2]
        assert marked.flags == FOREIGN
        ours.kill()


def test_a_second_look_keeps_every_index() -> None:
    recorded = Nvml(broken=1)
    driver = NvidiaDriver(cast(ModuleType, recorded))
    before = driver.chips
    driver.look_again()
    assert driver.chips == before
    recorded.broken = 0
    driver.look_again()
    assert [(chip.index, chip.uuid, chip.healthy) for chip in driver.chips] == [
        (0, "GPU-0", False),
        (1, "GPU-2", True),
        (2, "GPU-1", True),
    ]
    assert "not offered any more" in driver.chips[0].health_note
    assert driver.environment([2]) == {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    recorded.broken = -1
    driver.look_again()
    assert all(chip.healthy for chip in driver.chips)
    recorded.installed = False
    driver.look_again()
    assert [chip.index for chip in driver.chips] == [0, 1, 2]
    assert not any(chip.healthy for chip in driver.chips)


def test_a_chip_that_is_lost_later_is_unhealthy_and_the_others_go_on() -> None:
    recorded = Nvml()
    driver = NvidiaDriver(cast(ModuleType, recorded))

    def lost(handle: int) -> None:
        raise recorded.NVMLError("GPU is lost")

    recorded.nvmlDeviceGetMemoryInfo = lost  # type: ignore[method-assign,assignment]
    assert [sample.flags for sample in driver.sample({})] == [UNHEALTHY] * 3


def test_without_a_driver_there_are_no_nvidia_chips() -> None:
    assert list(nvidia(installed=False).chips) == []


@pytest.mark.parametrize(
    ("name", "gib", "type_"),
    [
        ("NVIDIA H100 80GB HBM3", 79.6, "H100-80GB"),
        ("NVIDIA A100-SXM4-40GB", 39.5, "A100-40GB"),
        ("Tesla V100-SXM2-32GB", 31.7, "V100-32GB"),
        ("NVIDIA GeForce RTX 4090", 23.9, "RTX-4090-24GB"),
        ("NVIDIA L40S", 44.9, "L40S-48GB"),
        ("NVIDIA H200", 140.4, "H200-141GB"),
        ("Tesla T4", 14.7, "T4-16GB"),
    ],
)
def test_chip_types_are_named(name: str, gib: float, type_: str) -> None:
    assert chip_type(name, int(gib * (1 << 30))) == type_


def test_shapes_are_read() -> None:
    assert Shape.parse("16x8:H100-80GB") == Shape(16, 8, "H100-80GB")
    driver = SimulatedDriver(Shape.parse("1x2:A100-40GB"))
    assert [chip.memory_mib for chip in driver.chips] == [40 * 1024] * 2
    driver.set_load({1: 500})
    idle, busy = driver.sample({1: 9})
    assert (idle.use_permille, busy.use_permille, busy.memory_mib) == (0, 500, 9)
    assert busy.temperature_c > idle.temperature_c
    assert busy.power_mw > idle.power_mw


@pytest.mark.parametrize(
    "text", ["", "8:H100", "0x8:H100", "1x0:H100", "1x257:H100", "20000x1:X", "1x1:", "-1x1:X"]
)
def test_shapes_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="x"):
        Shape.parse(text)


def test_the_declared_curve_is_a_load() -> None:
    curve = [declared_use(ms) for ms in range(0, 60_000, 500)]
    assert all(0 <= use <= 1000 for use in curve)
    assert min(curve[20:]) > 800
