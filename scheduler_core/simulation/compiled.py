"""Hot loops compiled to machine code on first use and kept beside their source (Numba)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba  # type: ignore[import-untyped]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The same function, compiled when it is first called. It may call other compiled ones only."""
    fast: Callable[Arguments, Result] = numba.njit(cache=True)(function)
    return fast
