"""What threads bring at the same moment is written together, and each gets its own result or error."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from flexai.common.grouping import GroupCommit

PATIENCE = 10


class RefusedError(ValueError):
    """The store takes nothing of a group with this item."""


class Store:
    """Notes the groups that it is given. The first write waits until `gate` is open, so that others line up."""

    def __init__(self, *, most: int = 64, waits: bool = True) -> None:
        self.groups: list[list[int]] = []
        self.told: list[int] = []
        self.gate = threading.Event()
        self.writing = threading.Event()
        if not waits:
            self.gate.set()
        self.group: GroupCommit[int, int] = GroupCommit(
            self._write, refusals=(RefusedError,), written=self.told.extend, most=most
        )

    def _write(self, items: Sequence[int]) -> list[int]:
        self.groups.append(list(items))
        self.writing.set()
        assert self.gate.wait(PATIENCE)
        if any(item < 0 for item in items):
            raise RefusedError(f"{min(items)} is refused")
        if 0 in items:
            raise ConnectionError("nobody knows")
        return [item * 10 for item in items]

    def together(self, first: int, *others: int) -> dict[int, int | str]:
        """`first` is being written when all others come; what each thread got, by its item."""
        got: dict[int, int | str] = {}

        def submit(item: int) -> None:
            try:
                got[item] = self.group.submit(item)
            except (RefusedError, ConnectionError) as error:
                got[item] = str(error)

        threads = [threading.Thread(target=submit, args=[item]) for item in (first, *others)]
        threads[0].start()
        assert self.writing.wait(PATIENCE)
        for number, thread in enumerate(threads[1:], 1):
            thread.start()
            while len(self.group._line) < number:
                assert thread.is_alive()
        self.gate.set()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        return got


def test_who_comes_alone_writes_at_once() -> None:
    store = Store(waits=False)
    assert [store.group.submit(item) for item in (1, 2)] == [10, 20]
    assert (store.groups, store.told) == ([[1], [2]], [1, 2])


def test_those_that_come_meanwhile_share_one_write_and_each_has_its_own_result() -> None:
    store = Store()
    assert store.together(1, 2, 3, 4) == {1: 10, 2: 20, 3: 30, 4: 40}
    assert store.groups == [[1], [2, 3, 4]]
    assert sorted(store.told) == [1, 2, 3, 4]
    assert store.group.submit(5) == 50, "nobody is left writing"


def test_a_group_has_a_bound() -> None:
    store = Store(most=2)
    assert store.together(1, 2, 3, 4, 5, 6) == {item: item * 10 for item in range(1, 7)}
    assert store.groups == [[1], [2, 3], [4, 5], [6]]


def test_a_refused_item_fails_by_itself_and_its_neighbours_are_written() -> None:
    store = Store()
    got = store.together(1, 2, -3, 4)
    assert got == {1: 10, 2: 20, -3: "-3 is refused", 4: 40}
    assert store.groups[:2] == [[1], [2, -3, 4]]
    assert sorted(store.groups[2:]) == [[-3], [2], [4]]
    assert sorted(store.told) == [1, 2, 4], "told of what was written, once"


def test_who_is_refused_alone_is_not_written_again() -> None:
    store = Store(waits=False)
    with pytest.raises(RefusedError):
        store.group.submit(-1)
    assert (store.groups, store.told) == ([[-1]], [])


def test_an_error_that_leaves_it_open_what_was_written_reaches_everybody_once() -> None:
    store = Store()
    got = store.together(1, 0, 2)
    assert got == {1: 10, 0: "nobody knows", 2: "nobody knows"}
    assert store.groups == [[1], [0, 2]], "never written a second time"
    assert store.group.submit(3) == 30
