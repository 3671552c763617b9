"""What a request says about itself (Q2): which kind it is, and whether it makes sense at all."""

from __future__ import annotations

from scheduler_core.model import WHOLE_CHIP, Gang, Request


def wants_slice(request: Request) -> bool:
    """Whether a replica holds a part of one chip (Q3)."""
    return not request.chips and bool(request.milli or request.chip_memory)


def wants_chips(request: Request) -> bool:
    """Whether a replica holds chips or a part of one, or host CPU and memory only."""
    return bool(request.chips or request.milli or request.chip_memory)


def types_to_try(request: Request, there: tuple[str, ...]) -> tuple[str, ...]:
    """The chip types that a replica may have, in the order to try, where these are there, the fastest first. Those that
    it names are among them, there or not.
    """
    named = request.chip_types
    if not named:
        return there
    if request.in_order:
        return tuple(dict.fromkeys(named))
    return (*(name for name in there if name in named), *sorted(set(named) - set(there)))


def problem_with(gang: Gang) -> str:
    """What is wrong with a request that nothing could ever meet, in words; empty when it makes sense."""
    request = gang.request
    amounts = {
        "chips": request.chips,
        "milli-chips": request.milli,
        "chip memory": request.chip_memory,
        "host CPU": request.cpu,
        "host memory": request.memory,
    }
    for what, amount in amounts.items():
        if amount < 0:
            return f"{what} cannot be {amount}"
    if request.chips and (request.milli or request.chip_memory):
        return "a replica takes whole chips or one slice, not both"
    if request.milli > WHOLE_CHIP:
        return f"a slice of {request.milli} milli-chips is more than one chip"
    if not 1 <= gang.minimum <= gang.maximum:
        return f"{gang.minimum} to {gang.maximum} replicas is no range"
    return ""
