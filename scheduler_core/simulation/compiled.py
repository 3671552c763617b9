"""Hot loops compiled to machine code on first use and kept beside their source (Numba)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

from scheduler_core.compiled import compiled

__all__ = ["compiled", "compiled_afresh", "compiled_within"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compiled_afresh(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The same, compiled in every process anew: for a function that calls compiled ones of other files, for what
    is kept beside a source does not notice that another source has changed.
    """
    fast: Callable[Arguments, Result] = numba.njit()(function)
    return fast


def compiled_within(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function itself, plain as it is; compiled ones may call it from now on."""
    plain: Callable[Arguments, Result] = numba.extending.register_jitable(function)
    return plain
