"""Where the bytes of outputs lie: pieces of `OUTPUT_PIECE` bytes, one object each, in whatever store Django is given.

A piece is written whole or not at all, and again under the same name where that went wrong: no store needs to append,
and a file of any size passes through with one piece in memory. Names are ATTEMPT/NUMBER.OFFSET: nothing in them is a
tenant's.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator

from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages

from flexai.common.errors import StoreFull, Unavailable
from node_agent.protocol_outputs import OUTPUT_PIECE

log = logging.getLogger(__name__)


def put_piece(attempt: str, number: int, offset: int, data: bytes) -> None:
    """The piece is stored, in place of an earlier one. Raises StoreFull and Unavailable; nothing of it is left then."""
    name = _name(attempt, number, offset)
    try:
        saved = _store().save(name, ContentFile(data))
    except Exception as error:
        log.exception("a piece of outputs was not stored: %s", name)
        _discard(name)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(
                "The server's store for outputs is full: what is missing was not kept."
            ) from error
        raise Unavailable("The store for outputs cannot be reached; try again.") from error
    if saved != name:
        raise RuntimeError(f"the store for outputs wrote {saved} in place of {name}: it must overwrite")


def read(attempt: str, number: int, start: int, end: int) -> Iterator[bytes]:
    """The bytes from `start` up to `end`, which are all stored, a piece at a time."""
    while start < end:
        first = start - start % OUTPUT_PIECE
        with _store().open(_name(attempt, number, first)) as piece:
            data = piece.read()
        data = data[start - first : end - first]
        if not data:
            raise RuntimeError(f"a piece of {attempt}/{number} at {first} is shorter than it was")
        yield data
        start += len(data)


def remove_file(attempt: str, number: int, stored: int) -> None:
    """One file's pieces are gone; failing to is logged, and made up for when all of the attempt's are removed."""
    for offset in range(0, stored, OUTPUT_PIECE):
        _discard(_name(attempt, number, offset))


def remove_all(attempt: str) -> None:
    """Nothing of the attempt is in the store. Raises whatever the store does."""
    store = _store()
    try:
        _, names = store.listdir(attempt)
    except FileNotFoundError:
        return
    for name in names:
        store.delete(f"{attempt}/{name}")
    store.delete(attempt)  # the folder, where the store has folders


def _store() -> Storage:
    return storages["outputs"]


def _name(attempt: str, number: int, offset: int) -> str:
    return f"{attempt}/{number}.{offset}"


def _discard(name: str) -> None:
    try:
        _store().delete(name)
    except Exception:
        log.exception("a piece of outputs was not removed: %s", name)
