"""A stand-in for the `pynvml` module that answers as three H100s would, by NVML's reference and `nvidia-ml-py` 12+.

Not a real NVML, and not recorded from hardware: it shows that the driver asks the right questions and survives chips
that do not answer. Functions, argument orders, tuples and constants are those of the published module.
"""

from __future__ import annotations

from types import SimpleNamespace

NVML_TEMPERATURE_GPU = 0
NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
NVML_VOLATILE_ECC = 0
GIB = 1 << 30


class NVMLError(Exception):
    """As in pynvml."""


class Nvml:
    """Behaves like the module."""

    NVML_TEMPERATURE_GPU = NVML_TEMPERATURE_GPU
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = NVML_MEMORY_ERROR_TYPE_UNCORRECTED
    NVML_VOLATILE_ECC = NVML_VOLATILE_ECC
    NVMLError = NVMLError

    NVML_MEMORY_ERROR_TYPE_CORRECTED = 0
    NVML_NVLINK_MAX_LINKS = 18
    NVML_CLOCK_SM = 1
    nvmlEventTypeXidCriticalError = 8  # noqa: N815

    def __init__(
        self, *, installed: bool = True, broken: int = -1, mig: int = -1, ecc_errors: int = 0
    ) -> None:
        self.reasons = 0
        self.remapped = (0, 0, 0, 0)
        self.links = 18
        self.waiting_xids: list[tuple[int, int]] = []
        self.pids: dict[int, list[int]] = {}
        self.clock_mhz = 1755
        self.installed = installed
        self.broken = broken
        self.mig = mig
        self.ecc_errors = ecc_errors

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.installed:
            raise NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if index == self.broken:
            raise NVMLError("GPU is lost")
        return index

    def nvmlDeviceGetName(self, handle: int | Instance) -> str:  # noqa: N802
        if isinstance(handle, Instance):
            return f"NVIDIA H100 80GB HBM3 MIG {('1g.10gb', '3g.40gb')[handle.number == 3]}"
        return "NVIDIA H100 80GB HBM3"

    def nvmlDeviceGetUUID(self, handle: int | Instance) -> bytes:  # noqa: N802
        if isinstance(handle, Instance):
            return f"MIG-{handle.parent}-{handle.number}".encode()
        return f"GPU-{handle}".encode()

    def nvmlDeviceGetMemoryInfo(self, handle: int | Instance) -> SimpleNamespace:  # noqa: N802
        if isinstance(handle, Instance):
            return SimpleNamespace(total=10 * GIB, used=GIB)
        return SimpleNamespace(total=85_520_809_984, used=3 * GIB)

    def nvmlDeviceGetMinorNumber(self, handle: int) -> int:  # noqa: N802
        return handle

    def nvmlDeviceGetMigMode(self, handle: int) -> tuple[int, int]:  # noqa: N802
        return (int(handle == self.mig), 0)

    def nvmlDeviceGetTotalEccErrors(self, handle: int, kind: int, counter: int) -> int:  # noqa: N802
        return (self.ecc_errors if kind == NVML_MEMORY_ERROR_TYPE_UNCORRECTED else 4321) if handle == 0 else 0

    def nvmlDeviceGetUtilizationRates(self, handle: int | Instance) -> SimpleNamespace:  # noqa: N802
        if isinstance(handle, Instance):
            raise NVMLError("Not Supported")
        return SimpleNamespace(gpu=87, memory=40)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:  # noqa: N802
        if handle == 1:
            raise NVMLError("Not Supported")
        return 61

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        return 512_345

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:  # noqa: N802
        return self.reasons

    def nvmlDeviceGetRemappedRows(self, handle: int) -> tuple[int, int, int, int]:  # noqa: N802
        if handle != 0:
            raise NVMLError("Not Supported")
        return self.remapped

    def nvmlDeviceGetNvLinkState(self, handle: int, link: int) -> int:  # noqa: N802
        return int(link < self.links)

    def nvmlDeviceGetMaxClockInfo(self, handle: int, kind: int) -> int:  # noqa: N802
        return 1980

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:  # noqa: N802
        return self.clock_mhz

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[SimpleNamespace]:  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=GIB) for pid in self.pids.get(handle, [])]

    def nvmlEventSetCreate(self) -> object:  # noqa: N802
        return object()

    def nvmlDeviceRegisterEvents(self, handle: int, kinds: int, events: object) -> None:  # noqa: N802
        assert kinds == self.nvmlEventTypeXidCriticalError

    def nvmlEventSetWait(self, events: object, timeout_ms: int) -> SimpleNamespace:  # noqa: N802
        if not self.waiting_xids:
            raise NVMLError("Timeout")
        device, xid = self.waiting_xids.pop(0)
        return SimpleNamespace(device=device, eventType=8, eventData=xid)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: int) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: int, number: int) -> Instance:  # noqa: N802
        if number not in (0, 3):
            raise NVMLError("Not Found")
        return Instance(handle, number)


class Instance:
    """The handle of a MIG instance."""

    def __init__(self, parent: int, number: int) -> None:
        self.parent, self.number = parent, number
