"""Trace files, read row by row: every refusal names the file, the row and the column."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class TraceError(ValueError):
    """A trace that cannot be used as it is; says where."""

    def __init__(self, path: Path, row: int | None, column: str | None, problem: str) -> None:
        where = path.name
        if row is not None:
            where += f", row {row}"
        if column is not None:
            where += f", column {column!r}"
        super().__init__(f"{where}: {problem}")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table; `number` counts from 2, as an editor shows it (the header is row 1)."""

    path: Path
    number: int
    cells: dict[str, str]

    def text(self, column: str) -> str:
        return self.cells[column].strip()

    def whole(self, column: str, *, at_least: int, at_most: int) -> int:
        """The cell as a whole number within these bounds. Raises `TraceError`."""
        return int(self.number_in(column, at_least=at_least, at_most=at_most, whole=True))

    def milliseconds(self, column: str, *, at_most_s: int) -> int:
        """The cell, in seconds, as milliseconds. Raises `TraceError`."""
        return round(1000 * self.number_in(column, at_least=0, at_most=at_most_s, whole=False))

    def number_in(self, column: str, *, at_least: int, at_most: int, whole: bool) -> float:
        cell = self.text(column)
        try:
            value = float(cell)
        except ValueError:
            raise self.error(column, f"{cell!r} is not a number") from None
        if whole and not value.is_integer():
            raise self.error(column, f"{cell!r} is not a whole number")
        if not at_least <= value <= at_most:
            raise self.error(column, f"{cell} is not between {at_least} and {at_most}")
        return value

    def error(self, column: str, problem: str) -> TraceError:
        return TraceError(self.path, self.number, column, problem)


def rows_of(path: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    """The rows of a CSV file, gzipped or not. Raises `TraceError` where the file or one of the columns is
    missing, or where a row has too few or too many cells.
    """
    if not path.is_file():
        raise TraceError(path, None, None, f"there is no such file in {path.parent}")
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as stream:
        table = csv.reader(stream)
        header = next(table, [])
        for column in columns:
            if column not in header:
                raise TraceError(path, 1, column, f"missing; the file has {', '.join(header) or 'no header'}")
        for number, cells in enumerate(table, start=2):
            if not cells:
                continue  # an empty line at the end of a file is no row
            if len(cells) != len(header):
                raise TraceError(path, number, None, f"{len(cells)} cells under {len(header)} columns")
            yield Row(path, number, dict(zip(header, cells, strict=True)))
