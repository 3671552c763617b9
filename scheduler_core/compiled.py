"""Loops over whole columns, compiled to machine code where there is much to loop over (Numba).

What is compiled is plain Python over arrays of whole numbers: uncompiled it gives the same numbers. The compiler
takes more than a second and 70 MiB to load; in a cell of a few dozen nodes the plain loop takes less than that in
a day. So it is loaded when the first long loop comes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from importlib import import_module
from types import FunctionType
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast

import numpy as np

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

LONG: Final = 256
"""Rows of the longest array from which on a loop is compiled: fewer take about a millisecond as they are."""


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The same function, compiled when it first meets an array of `LONG` rows, and kept beside its source or where
    the user's caches are; where neither can be written, compiled anew in every process. It may call other compiled
    ones only.
    """
    return Loop(function)


def inlined(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The same, made a part of the compiled ones that call it: a call with arrays costs more than a few
    comparisons.
    """
    return Loop(function, inline="always")


class Loop(Generic[Arguments, Result]):
    """A function that is plain until it has much to do, and machine code from then on."""

    def __init__(self, function: Callable[Arguments, Result], **options: Any) -> None:
        update_wrapper(self, function)
        self._function = cast("FunctionType", function)
        self._options = options
        self._machine: Callable[Arguments, Result] | None = None

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if self._machine is None and not any(
            isinstance(arg, np.ndarray) and len(arg) >= LONG for arg in args
        ):
            return cast("Result", self._function(*args, **kwargs))
        return self.machine(*args, **kwargs)

    @property
    def machine(self) -> Callable[Arguments, Result]:
        """The function as Numba has it, with all that it calls."""
        if self._machine is None:
            plain = self._function
            scope = dict(plain.__globals__)
            for name in plain.__code__.co_names:
                if isinstance(scope.get(name), Loop):
                    scope[name] = scope[name].machine
            own = FunctionType(plain.__code__, scope, plain.__name__, plain.__defaults__, plain.__closure__)
            own.__qualname__, own.__module__ = plain.__qualname__, plain.__module__
            self._machine = _compile(own, self._options)
        return self._machine


def _compile(function: FunctionType, options: dict[str, Any]) -> Callable[..., Any]:
    numba = import_module("numba")
    try:
        made: Callable[..., Any] = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # there is no place for the cache
        made = numba.njit(**options)(function)
    return made
