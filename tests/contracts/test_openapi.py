"""The API's description that the dashboard's types are made from is the one that this server gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import is_typeddict

from flexai.api.schema import document
from flexai.client import types

COMMITTED = Path(__file__).parents[2] / "frontend" / "openapi.json"


def test_the_committed_description_is_what_the_server_says() -> None:
    said = json.loads(json.dumps(document()))
    kept = json.loads(COMMITTED.read_text())
    parts = [("paths", path) for path in {*said["paths"], *kept["paths"]}]
    parts += [("schemas", name) for name in {*said["components"]["schemas"], *kept["components"]["schemas"]}]
    differ = sorted(
        f"{kind} {name}" for kind, name in parts if _part(said, kind, name) != _part(kept, kind, name)
    )
    assert not differ, "run `make types` and commit frontend/openapi.json and frontend/src/api/schema.d.ts"
    assert said == kept


def test_the_clients_types_have_what_the_schema_has() -> None:
    schemas = document()["components"]["schemas"]
    both = {name: kind for name, kind in vars(types).items() if is_typeddict(kind) and name in schemas}
    assert len(both) > 20
    keys = {(name, key) for name in both for key in schemas[name].get("properties", ())}
    assert not {(name, key) for name, key in keys if key not in both[name].__annotations__}


def _part(document: dict, kind: str, name: str) -> object:  # type: ignore[type-arg]
    found = document["paths"] if kind == "paths" else document["components"]["schemas"]
    return found.get(name)
