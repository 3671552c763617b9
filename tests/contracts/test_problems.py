"""The words of refusals are those of one registry, and what an operation is says how it may refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.urls import get_resolver

from flexai.api import problems, refusals
from flexai.api.refusals import Operation, statuses_of
from flexai.common.errors import Code, FlexaiError
from tests.support.told import COMMITTED

DOCS = Path(__file__).parents[2] / "docs" / "api.md"


def _errors(kind: type[FlexaiError] = FlexaiError) -> Iterator[type[FlexaiError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _errors(below)


def test_every_refusal_has_a_word_of_the_registry_and_every_word_is_used() -> None:
    get_resolver("flexai.api.urls").url_patterns  # noqa: B018 - whatever may raise is there
    raised = [kind.code for kind in _errors() if kind.__module__.startswith("flexai.")]
    assert all(isinstance(code, Code) for code in raised)
    assert {*raised, *problems._CODES.values()} == set(Code)


def test_the_docs_have_every_word_with_its_status_and_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.+) \|$", DOCS.read_text(), re.MULTILINE)
    assert rows == [(code.value, str(code.status), code.means) for code in Code]


def test_every_status_of_a_word_is_described_or_of_no_operation() -> None:
    of_none = {405}
    assert {code.status for code in Code} == {*refusals._RULES, *of_none}


def test_what_follows_from_no_rule_is_of_operations_that_are_there() -> None:
    told = json.loads(COMMITTED.read_text())["paths"]
    ids = {one["operationId"] for operations in told.values() for one in operations.values()}
    assert set(refusals._ALSO) <= ids


BODY = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Sent"}}}}
KNOWN = {"security": [{"token": []}]}
ALWAYS = {429, 500, 503}


@pytest.mark.parametrize(
    ("method", "told", "fields", "expected"),
    [
        ("get", {}, [], set()),
        ("get", {"parameters": [{"name": "limit", "in": "query"}]}, [], {400}),
        ("get", {"parameters": [{"name": "id", "in": "path"}], **KNOWN}, [], {401, 403, 404}),
        ("post", {"requestBody": BODY}, [], {400, 413, 415}),
        ("post", {"requestBody": BODY, **KNOWN}, ["name"], {400, 401, 403, 409, 413, 415}),
        ("post", {"requestBody": BODY, **KNOWN}, ["team"], {400, 401, 403, 404, 409, 413, 415}),
        ("post", {"requestBody": BODY, **KNOWN}, ["commands"], {400, 401, 403, 409, 413, 415, 422}),
        ("delete", {"parameters": [{"name": "If-Match", "in": "header"}], **KNOWN}, [], {400, 401, 403, 409, 412}),
    ],
)  # fmt: skip
def test_how_an_operation_may_refuse_follows_from_what_it_is(
    method: str, told: dict[str, Any], fields: list[str], expected: set[int]
) -> None:
    schemas = {"Sent": {"properties": dict.fromkeys(fields)}}
    assert statuses_of(Operation(method, {"operationId": "x", **told}, schemas)) == expected | ALWAYS
