"""Which of the chip types that are registered a spec means: one by its name, a family, or any that fits.

`accelerators: A100` means the type of that name, else all of its family (`A100-40GB`, `A100-80GB`); `{vendor: nvidia,
memory: 40GB..}` means every type of that vendor and size. Of several, none is preferred to another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

SIMULATED: Final = "simulated"
"""The vendor of simulated chips."""
NOMINAL_PERMILLE: Final = 925
"""So much of its nominal size a chip tells at least: vendors count 1000 for 1024, and drivers keep a part (a T4 of
16 GB tells 15 GiB, an L40S of 48 GB 45)."""


class RegisteredType(NamedTuple):
    """A chip type of the cell: its vendor in small letters, none for the cores of a machine, and the sizes of its chips
    in MiB as they tell it."""

    name: str
    vendor: str
    sizes: frozenset[int]


def with_registered_types(
    asked: Sequence[dict[str, Any]], there: Sequence[RegisteredType]
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The same resources with the types that each of them means, and what to tell whoever asked."""
    meant: list[dict[str, Any]] = []
    told: dict[str, None] = {}
    for resources in asked:
        fits, wanted = resources.get("fits"), list(resources["chip_types"])
        if fits is None:
            said, types = ", ".join(wanted), [name for one in wanted for name in _of_name(one, there)]
        else:
            said = in_words(fits)
            types = _fitting(fits, there) or [said]
        if types not in (wanted, [said]):
            told[f"{said} means {' or '.join(types)} here."] = None
        meant.append(_meaning(resources, types))
    return meant, tuple(told)


def in_words(fits: Mapping[str, Any]) -> str:
    """What is asked of a chip, as one writes it: "nvidia 40GB..", "24GB..48GB"; "any" for nothing."""
    least, most = fits["least_mib"], fits["most_mib"]
    size = _size(least) if least == most else f"{_size(least)}..{_size(most)}"
    return " ".join(part for part in (fits["vendor"], size) if part) or "any"


def _meaning(resources: Mapping[str, Any], types: list[str]) -> dict[str, Any]:
    kept = {key: value for key, value in resources.items() if key != "fits"}
    return {**kept, "chip_types": types, **({"in_order": False} if len(types) > 1 else {})}


def _of_name(wanted: str, there: Iterable[RegisteredType]) -> list[str]:
    """The registered type of this name in any case, else those of this family, else the name itself."""
    lower, names = wanted.lower(), [one.name for one in there]
    same = [name for name in names if name.lower() == lower]
    family = [name for name in names if name.lower().startswith(f"{lower}-")]
    return ([wanted] if wanted in same else same[:1]) or family or [wanted]


def _fitting(fits: Mapping[str, Any], there: Iterable[RegisteredType]) -> list[str]:
    """A core is nobody's chip and fits nothing; a simulated chip may be anybody's."""
    vendors = {fits["vendor"], SIMULATED} if fits["vendor"] else {one.vendor for one in there}
    least, most = fits["least_mib"], fits["most_mib"]
    return [
        one.name
        for one in there
        if one.vendor
        and one.vendor in vendors
        and all(1000 * size >= NOMINAL_PERMILLE * least and (not most or size <= most) for size in one.sizes)
    ]


def _size(mib: int) -> str:
    return "" if not mib else f"{mib // 1024}GB" if mib % 1024 == 0 else f"{mib}MB"
