"""Quantities as people say them."""

from __future__ import annotations


def milli(amount: int) -> str:
    """Milli-chips as a number of chips: 8000 is "8", 2500 is "2.5"."""
    whole, rest = divmod(amount, 1000)
    return f"{whole}.{rest:03d}".rstrip("0") if rest else f"{whole}"


def chips(amount: int, chip_type: str = "") -> str:
    """Milli-chips with their noun: "8 A100 chips", "0.5 chips"."""
    return f"{milli(amount)} {f'{chip_type} ' if chip_type else ''}chip{'' if amount == 1000 else 's'}"


def cores(millicores: int) -> str:
    """Millicores as cores: 2500 is "2.5 cores"."""
    return f"{milli(millicores)} core{'' if millicores == 1000 else 's'}"


def memory(mib: int) -> str:
    """MiB, or whole GiB where it is some: "512 MiB", "64 GiB"."""
    return f"{mib // 1024} GiB" if mib and mib % 1024 == 0 else f"{mib} MiB"


def pools(names: tuple[str, ...]) -> str:
    """Pool names with their noun: "pool a100", "pools a100 and h100"."""
    if len(names) == 1:
        return f"pool {names[0]}"
    return f"pools {', '.join(names[:-1])} and {names[-1]}"


def clock(instant: int) -> str:
    """The time of day: "14:05 UTC"."""
    hours, minutes = divmod(instant // 60_000 % 1440, 60)
    return f"{hours:02}:{minutes:02} UTC"
