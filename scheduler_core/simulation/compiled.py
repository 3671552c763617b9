"""Hot loops of the simulator, compiled to machine code on first use (Numba), however little there is to loop over."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The same function, compiled when it is first called and kept beside its source, or where the user's caches
    are; where neither can be written, compiled anew in every process. It may call other compiled ones only.
    """
    fast: Callable[Arguments, Result]
    try:
        fast = numba.njit(cache=True)(function)
    except RuntimeError:  # there is no place for the cache
        fast = numba.njit()(function)
    return fast


def compiled_afresh(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The same, compiled in every process anew: for a function that calls compiled ones of other files, for what
    is kept beside a source does not notice that another source has changed.
    """
    fast: Callable[Arguments, Result] = numba.njit()(function)
    return fast
