"""Loops over whole columns, compiled to machine code where there is much to loop over (Numba).

What is compiled is plain Python over arrays of whole numbers: uncompiled it gives the same numbers. The compiler
takes more than a second and 70 MiB to load; in a cell of a few dozen nodes the plain loop takes less than that in
a day. So it is loaded when the first long loop comes.

A plain loop reads arrays as memoryviews: one number of an array is an object of NumPy's, slow to make and slow to
count with; one of a memoryview is a plain whole number.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, update_wrapper
from hashlib import sha256
from importlib import import_module
from types import CodeType, FunctionType
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast

import numpy as np

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

LONG: Final = 256
"""Rows of the longest array from which on a loop is compiled: fewer take about a millisecond as they are."""


def compiled(function: Callable[Arguments, Result]) -> Loop[Arguments, Result]:
    """The same function, compiled when it first meets an array of `LONG` rows, and kept beside its source or where
    the user's caches are; where neither can be written, compiled anew in every process. It may call other compiled
    ones only.
    """
    return Loop(function)


def inlined(function: Callable[Arguments, Result]) -> Loop[Arguments, Result]:
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
        self._compiled = False

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if not self._compiled and not any(isinstance(arg, np.ndarray) and len(arg) >= LONG for arg in args):
            return self.plain(*[readable(arg) for arg in args], **kwargs)
        return self.machine(*args, **kwargs)

    @cached_property
    def plain(self) -> Callable[Arguments, Result]:
        """The function as it is written, with all that it calls."""
        return self._with({name: loop.plain for name, loop in self._called()})

    @cached_property
    def machine(self) -> Callable[Arguments, Result]:
        """The function as Numba has it, with all that it calls."""
        self._compiled = True
        made = self._with({name: loop.machine for name, loop in self._called()})
        made.__qualname__ = f"{made.__qualname__}.{self.digest[:16]}"
        return _compile(made, self._options)

    @cached_property
    def digest(self) -> str:
        """Of all that the machine code is made of: this function, what it calls, and the constants that they name. The
        kept code bears it in its name, for the compiler itself looks at the file of this function alone.
        """
        parts = [_text(self._function.__code__), repr(sorted(self._options.items()))]
        for name in self._function.__code__.co_names:
            value = self._function.__globals__.get(name)
            if isinstance(value, Loop):
                parts.append(f"{name}={value.digest}")
            elif isinstance(value, int | float | str | tuple):
                parts.append(f"{name}={value!r}")
        return sha256("\n".join(parts).encode()).hexdigest()

    def _called(self) -> list[tuple[str, Loop[Any, Any]]]:
        scope = self._function.__globals__
        names = self._function.__code__.co_names
        return [(name, scope[name]) for name in names if isinstance(scope.get(name), Loop)]

    def _with(self, loops: dict[str, Callable[..., Any]]) -> FunctionType:
        """The function with these in the place of the loops that it calls."""
        plain = self._function
        scope = {**plain.__globals__, **loops}
        own = FunctionType(plain.__code__, scope, plain.__name__, plain.__defaults__, plain.__closure__)
        own.__qualname__, own.__module__ = plain.__qualname__, plain.__module__
        return own


_not_kept: list[str] = []


def _text(code: CodeType) -> str:
    """What the code does, whichever file and line it stands in."""
    constants = [_text(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {constants}"


def is_kept() -> bool:
    """Whether all machine code of this process is kept for others."""
    return not _not_kept


def readable(value: Any) -> Any:
    """An array as plain loops read it quickest; anything else as it is."""
    return value.data if isinstance(value, np.ndarray) and value.size else value


def _compile(function: FunctionType, options: dict[str, Any]) -> Callable[..., Any]:
    numba = import_module("numba")
    try:
        made: Callable[..., Any] = numba.njit(cache=True, error_model="numpy", **options)(function)
    except RuntimeError:  # there is no place for the cache
        _not_kept.append(function.__qualname__)
        made = numba.njit(error_model="numpy", **options)(function)
    _constants_as_numbers(made)
    return made


def _constants_as_numbers(made: Any) -> None:
    """A constant argument is to Numba a type of its own at first, for which it would compile the whole loop once more,
    and use it nowhere. Here a constant is a number like any.
    """
    unliteral, compile_for = import_module("numba").types.unliteral, made.compile
    made.compile = lambda kinds: compile_for(tuple(map(unliteral, kinds)))
