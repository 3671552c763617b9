"""Group commit: what threads want written at the same moment is written by one of them, in one transaction.

A commit costs round trips and a wait for the disk whatever it carries. While one thread writes, others put what
they bring in line; whoever is first in line then writes for all of them. Nobody waits for company: a thread that
comes alone writes at once. The technique is as old as transaction processing (DeWitt et al., "Implementation
Techniques for Main Memory Database Systems", SIGMOD 1984, section 5.2).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class GroupCommit(Generic[Item, Result]):
    """Writes items of many threads together; one group at a time.

    `write` makes all items durable or none, and returns a result for each, in order. When it raises one of
    `refusals`, nothing of the group was written and every thread writes its own item by itself, so that an error
    is met by who brought it. Any other error means that nobody knows, and is raised in every thread of the group.
    `written` is called with the items after their threads have their results; it must not raise.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        refusals: tuple[type[Exception], ...],
        written: Callable[[Sequence[Item]], None],
        most: int,
    ) -> None:
        self._write = write
        self._refusals = refusals
        self._written = written
        self._most = most
        self._lock = threading.Lock()
        self._line: list[_Waiting[Item, Result]] = []
        self._busy = False

    def submit(self, item: Item) -> Result:
        """The item is written; its result. Raises what `write` raises."""
        mine: _Waiting[Item, Result] = _Waiting(item)
        with self._lock:
            in_line = self._busy
            self._busy = True
            if in_line:
                self._line.append(mine)
            else:
                mine.group = [mine]
        if in_line:
            mine.turn.acquire()
        if mine.group is not None:
            self._lead(mine.group, mine)
        if mine.alone:
            [result] = self._write([item])
            self._written([item])
            return result
        if mine.error is not None:
            raise mine.error
        return mine.results[0]

    def _lead(self, group: list[_Waiting[Item, Result]], mine: _Waiting[Item, Result]) -> None:
        """The group is written, its threads go on, and the first in line leads the next group."""
        items = [waiting.item for waiting in group]
        wrote = False
        try:
            for waiting, result in zip(group, self._write(items), strict=True):
                waiting.results.append(result)
            wrote = True
        except self._refusals as error:
            for waiting in group:
                waiting.alone, waiting.error = len(group) > 1, error
        except BaseException as error:
            for waiting in group:
                waiting.error = error
        finally:
            self._hand_over()
            for waiting in group:
                if waiting is not mine:
                    waiting.turn.release()
        if wrote:
            self._written(items)

    def _hand_over(self) -> None:
        with self._lock:
            group, self._line = self._line[: self._most], self._line[self._most :]
            self._busy = bool(group)
        if group:
            group[0].group = group
            group[0].turn.release()


class _Waiting(Generic[Item, Result]):
    """One thread's item, and what became of it."""

    __slots__ = ("alone", "error", "group", "item", "results", "turn")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.results: list[Result] = []
        self.error: BaseException | None = None
        self.alone = False
        """Writes by itself."""
        self.group: list[_Waiting[Item, Result]] | None = None
        """Set when it is this thread's turn to write: for whom."""
        self.turn = threading.Lock()
        self.turn.acquire()
