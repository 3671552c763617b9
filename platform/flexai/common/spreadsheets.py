"""Tables for spreadsheets: CSV in which no text is taken for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from django.http import HttpResponse

_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_answer(name: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> HttpResponse:
    """A download of this name. Texts that come from people pass through `as_text`."""
    text = io.StringIO()
    csv.writer(text).writerows([headings, *rows])
    answer = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return answer


def as_text(cell: str) -> str:
    """The cell, with ' before it where a spreadsheet would take it for a formula."""
    return f"'{cell}" if cell.startswith(_RISKY) else cell
