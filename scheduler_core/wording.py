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


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 node", "3 nodes"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def have(number: int) -> str:
    """How many have something: "none has", "1 has", "3 have"."""
    if number == 0:
        return "none has"
    return "1 has" if number == 1 else f"{number} have"


def capital(text: str) -> str:
    """The text as a sentence begins."""
    return text[:1].upper() + text[1:]


REJECTED = {
    "other_pool": "in other pools",
    "no_images": "that run no images",
    "no_such_chips": "without such chips",
    "too_few_chips": "with too few chips",
    "chips_too_small": "with chips too small",
    "isolation": "without that isolation",
    "host_cpu_too_small": "with too little host CPU",
    "host_memory_too_small": "with too little host memory",
    "not_ready": "not ready",
    "unhealthy": "with unhealthy chips",
    "busy": "with too few free chips",
    "held_by_strangers": "held by work that does not share",
    "cpu_busy": "with too little host CPU free",
    "memory_busy": "with too little host memory free",
    "fits": "with room for one replica",
}
"""Why nodes are rejected (P1), after "3 nodes"."""
