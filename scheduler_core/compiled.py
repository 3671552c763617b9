"""Loops over whole columns, compiled to machine code on first use (Numba).

What is compiled is plain Python over arrays of whole numbers: uncompiled it gives the same numbers.
"""

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
