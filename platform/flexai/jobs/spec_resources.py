"""The `resources` of a spec: whole chips, a slice of one, or CPU only (Q2, Q3)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from flexai.jobs import quantities
from flexai.jobs.quantities import Wrong, said
from flexai.jobs.spec_reader import Reader

ISOLATION = ("exclusive", "hardware", "enforced", "cooperative")
CHOOSE = ("earliest_finish", "ordered")
MAX_ALTERNATIVES = 16
MAX_CHIPS = 100_000
"""Chips of one replica that can be written down; whether so many fit is for admission to say."""
MAX_CPU_MILLI = 10_000_000
DEFAULT_CPU_MILLI = 1000
"""CPU of a job without chips."""
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,63}")
_SHOWN = "write TYPE:COUNT, such as H100:8"
_FITS = ("vendor", "memory", "count")
_FITS_SHOWN = "such as {vendor: nvidia, memory: 40GB.., count: 2}"
Chip: TypeAlias = str | dict[str, Any]
"""A type's name, empty for none; or what a chip of any type must have."""
_NONE: tuple[Chip, int] = ("", 0)


@dataclass(frozen=True, slots=True)
class Asked:
    """What each replica asks for: one of several (P5), most of the time of one. Each has chips, chip_types, milli,
    chip_memory_mib, cpu_milli, memory_mib and isolation; and `fits` where no type is named but what one must have."""

    first: dict[str, Any]
    others: list[dict[str, Any]]
    choose: str
    shm_mib: int | None
    """Room in /dev/shm, whichever it gets; None: as much as its memory."""


def read_resources(reader: Reader) -> Asked:
    """The alternatives of `resources`: those of `any_of`, each over what stands beside it, or of a list of
    `accelerators`."""
    inner = reader.inside("resources")
    items, choose = _alternatives(inner)
    if items is None:
        items = [inner]
    first, *others = read = [_read_one(item) for item in items]
    return Asked(first, others, choose, _shm(inner, read))


def asks_for_chips(resources: Mapping[str, Any]) -> bool:
    """Whether a replica that asks so holds chips, or a part of one."""
    return bool(resources["chips"] or resources["milli"] or resources["chip_memory_mib"])


def _alternatives(inner: Reader) -> tuple[list[Reader] | None, str]:
    """A reader for each alternative, None where there is only one; and how one is chosen."""
    any_of, accelerators = inner.raw.get("any_of"), inner.raw.get("accelerators")
    beside = {key: value for key, value in inner.raw.items() if key not in ("any_of", "choose")}
    if isinstance(accelerators, list):
        if any_of is not None:
            inner.wrong("accelerators", "is a list, and so is `any_of`", "give one of them")
        choose = inner.choice("choose", CHOOSE, "ordered")
        if not _is_list(inner, "accelerators", accelerators):
            return [Reader({}, "resources", inner)], choose
        wrong = len(inner.errors)
        for place, item in enumerate(accelerators):
            inner.checked(f"accelerators.{place}", item, _type_and_count, _NONE)
        named = accelerators if len(inner.errors) == wrong else []
        readers = [Reader({**beside, "accelerators": item}, "resources", inner) for item in named]
        return readers or [Reader({}, "resources", inner)], choose
    if any_of is None:
        if inner.raw.get("choose") is not None:
            inner.wrong(
                "choose", "says how one of several is taken, and there is only one", "see `resources.any_of`"
            )
        return None, CHOOSE[0]
    choose = inner.choice("choose", CHOOSE, CHOOSE[0])
    if not _is_list(inner, "any_of", any_of):
        return None, choose
    readers = []
    for place, item in enumerate(any_of):
        where = f"resources.any_of.{place}"
        if not isinstance(item, Mapping):
            inner.wrong(
                f"any_of.{place}", f"must be an object, not {said(item)}", "such as {accelerators: H100:8}"
            )
            continue
        Reader(item, where, inner, "resources.any_of").only_known()
        readers.append(Reader({**beside, **item}, where, inner, "resources.any_of"))
    return readers or None, choose


def _is_list(inner: Reader, key: str, given: object) -> bool:
    if isinstance(given, list) and 1 <= len(given) <= MAX_ALTERNATIVES:
        return True
    inner.wrong(key, f"must be a list of 1 to {MAX_ALTERNATIVES} alternatives")
    return False


def _read_one(inner: Reader) -> dict[str, Any]:
    chip, count = _accelerators(inner)
    milli = inner.read("fraction", lambda value: quantities.milli(value, least=1, most=1000)) or 0
    chip_memory = inner.read("chip_memory", quantities.memory_mib) or 0
    isolation = inner.choice("isolation", ISOLATION, "") or None
    slice_given = inner.raw.get("fraction") is not None or inner.raw.get("chip_memory") is not None
    if slice_given and count > 1:
        inner.wrong(
            "accelerators", f"a slice is of one chip, and {count} are asked for", "leave the count out"
        )
    _note_fraction(inner, milli)
    if milli == 1000:
        milli, chip_memory, slice_given, count = 0, 0, False, 1
        inner.rounded("A fraction of 1 is one whole chip.")
    chips = 0 if slice_given else count
    if isolation and not (slice_given or chips):
        inner.wrong("isolation", "says how a chip is shared, and this job asks for none", "give accelerators")
    return {
        "chips": chips,
        "chip_types": [chip] if chip and isinstance(chip, str) else [],
        **({} if isinstance(chip, str) else {"fits": chip}),
        "milli": milli,
        "chip_memory_mib": chip_memory,
        "cpu_milli": _cpus(inner, bool(slice_given or chips)),
        "memory_mib": _memory(inner),
        "isolation": isolation,
    }


def _shm(inner: Reader, asked: Sequence[Mapping[str, Any]]) -> int | None:
    """What lies in /dev/shm counts as the job's memory, so more than that would be no room but a trap."""
    size: int | None = inner.read("shm_size", quantities.memory_mib)
    memory = min((one["memory_mib"] for one in asked if one["memory_mib"]), default=0)
    if size and memory and size > memory:
        inner.wrong(
            "shm_size", f"has {size} MiB, and what is in it counts as the job's memory, of {memory} MiB",
            "give at most so much, or more `memory`",
        )  # fmt: skip
    return size


def _accelerators(reader: Reader) -> tuple[Chip, int]:
    given = reader.raw.get("accelerators")
    if given is None:
        return _NONE
    return reader.checked("accelerators", given, _type_and_count, _NONE)


def _type_and_count(given: object) -> tuple[Chip, int]:
    if isinstance(given, str):
        name, colon, number = given.strip().partition(":")
        return _type(name), _count(number.strip()) if colon else 1
    if not isinstance(given, Mapping):
        raise Wrong(f"must name a chip type, not {said(given)}", _SHOWN)
    if set(_FITS) & set(given):
        return _what_fits(given), _count(given.get("count", 1))
    if len(given) != 1:
        raise Wrong("names several chip types", "give a list, the first choice first, or `resources.any_of`")
    name, number = next(iter(given.items()))
    return _type(name), _count(number)


def _what_fits(given: Mapping[object, object]) -> dict[str, Any]:
    """Any chip of this vendor, and of a size between these; 0 where there is no bound."""
    if others := [str(key) for key in given if key not in _FITS]:
        raise Wrong(f"does not know {said(others[0])} beside `vendor`, `memory` and `count`", _FITS_SHOWN)
    vendor = given.get("vendor", "")
    if not isinstance(vendor, str) or (vendor and not _TYPE.fullmatch(vendor)):
        raise Wrong(f"has no vendor {said(vendor)}", _FITS_SHOWN)
    memory = given.get("memory")
    least, most = (0, 0) if memory is None else _sizes(memory)
    return {"vendor": vendor.lower(), "least_mib": least, "most_mib": most}


def _sizes(given: object) -> tuple[int, int]:
    """From and to, in MiB: "40GB.." or "40GB+", "..24GB", "24GB..48GB", or "80GB" for just that."""
    text = given.strip() if isinstance(given, str) else ""
    first, dots, last = text.replace("+", "..").partition("..")
    if not dots:
        last = first
    if not first.strip() and not last.strip():
        raise Wrong(f"{said(given)} is no size of chips", _FITS_SHOWN)
    least = quantities.memory_mib(first) if first.strip() else 0
    most = quantities.memory_mib(last) if last.strip() else 0
    if most and least > most:
        raise Wrong(f"{said(given)} is no range: it ends below where it begins", _FITS_SHOWN)
    return least, most


def _type(name: object) -> str:
    if not isinstance(name, str) or not _TYPE.fullmatch(name.strip()):
        raise Wrong(f"{said(name)} is no chip type", _SHOWN)
    return name.strip()


def _count(given: object) -> int:
    if isinstance(given, str) and re.fullmatch(r"-?\d{1,30}", given):
        given = int(given)
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, int):
        raise Wrong(f"{said(given)} is no whole number of chips", _SHOWN)
    if given < 1:
        raise Wrong(
            f"asks for {said(given)} chips; give 1 or more",
            "leave `accelerators` out for a job without chips",
        )
    if given > MAX_CHIPS:
        raise Wrong(f"asks for {said(given)} chips; a replica has at most {MAX_CHIPS}")
    return given


def _note_fraction(reader: Reader, milli: int) -> None:
    given = reader.raw.get("fraction")
    if not milli or not isinstance(given, float | str):
        return
    text = given.strip() if isinstance(given, str) else str(given)
    exact = quantities.decimal(text.rstrip("%")) * (10 if text.endswith("%") else 1000)
    if exact != milli:
        reader.rounded(
            f"A fraction of {text} is {quantities.plain(milli)} of a chip, rounded up to a thousandth."
        )


def _cpus(reader: Reader, has_chips: bool) -> int:
    given = reader.raw.get("cpus")
    if given is None:
        return 0 if has_chips else DEFAULT_CPU_MILLI
    if isinstance(given, str) and any(mark in given for mark in ("..", "+")):
        reader.wrong("cpus", "a range of `cpus` is not built yet", "give one number, such as 4 or 0.5")
        return 0
    least = 0 if has_chips else 1
    return reader.checked(
        "cpus",
        given,
        lambda value: quantities.milli(value, least=least, most=MAX_CPU_MILLI),
        DEFAULT_CPU_MILLI,
    )


def _memory(reader: Reader) -> int:
    given = reader.raw.get("memory")
    if given is None:
        return 0
    if isinstance(given, str) and (".." in given or given.strip().endswith("+")):
        reader.wrong("memory", "a range of `memory` is not built yet", "give one amount, such as 16GB")
        return 0
    return reader.checked("memory", given, quantities.memory_mib, 0)
