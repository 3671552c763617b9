"""Whether an answer of the API is one that its description tells of."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

COMMITTED = Path(__file__).parents[2] / "frontend" / "openapi.json"
"""What the server describes, as `test_openapi` holds."""


def as_told(answer: Any) -> Any:
    """The answer, of Django's test client; its operation has this status, where there is an operation."""
    statuses = _statuses(answer.wsgi_request.path, answer.wsgi_request.method)
    assert statuses is None or str(answer.status_code) in statuses, (
        f"{answer.wsgi_request.method} {answer.wsgi_request.path} answers {answer.status_code}, "
        f"which its description leaves out: {answer.content!r}"
    )
    return answer


def _statuses(path: str, method: str) -> frozenset[str] | None:
    for pattern, operations in _told():
        if pattern.fullmatch(path):
            return operations.get(method.lower())
    return None


@cache
def _told() -> list[tuple[re.Pattern[str], dict[str, frozenset[str]]]]:
    """Paths without parameters come first, as they do in the URL conf."""
    paths = json.loads(COMMITTED.read_text())["paths"]
    return [
        (
            re.compile(re.sub(r"\\{[^}]+\\}", "[^/]+", re.escape(path))),
            {method: frozenset(told["responses"]) for method, told in paths[path].items()},
        )
        for path in sorted(paths, key=lambda path: path.count("{"))
    ]
