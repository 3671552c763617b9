"""How the API may refuse: each operation's description says with which statuses, each with its body and its codes.

Which they are follows from what the operation is (whom it asks for, what it reads, what its path names), by the rules
below, and is written nowhere else. What an operation answers beside them is wrong: the fuzzing demands it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flexai.api.problems import CONTENT_TYPE
from flexai.common.errors import Code

WRITES: Final = ("post", "put", "patch", "delete")
_NAMES: Final = frozenset({"team", "account", "organization"})
"""Fields and parameters that name an object."""
_ALSO: Final[Mapping[str, frozenset[int]]] = {
    "session_open": frozenset({401, 403}),
    "auth_exchange": frozenset({401, 403, 409}),
    "agent_enrol": frozenset({401, 409}),
    "sign_in_collect": frozenset({401, 403}),
    "sign_in_look": frozenset({404}),
    "sign_in_decide": frozenset({404}),
    "job_policy_remove": frozenset({404}),
    "agent_outputs_piece": frozenset({507}),
}
"""By operation id: what follows from nothing but the operation's purpose."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the description."""

    method: str
    told: Mapping[str, Any]
    schemas: Mapping[str, Any]

    @property
    def is_write(self) -> bool:
        return self.method in WRITES

    @property
    def has_body(self) -> bool:
        """Whether a body is read, be it an empty object."""
        return "requestBody" in self.told or self.method in ("post", "put", "patch")

    @property
    def asks_who(self) -> bool:
        """Whether a caller's token or session is looked at."""
        return bool(self.told.get("security"))

    def reads(self, place: str) -> frozenset[str]:
        """Names of its parameters in the path, the query or the headers."""
        return frozenset(one["name"] for one in self.told.get("parameters", ()) if one["in"] == place)

    @property
    def names_an_object(self) -> bool:
        """Whether what is sent names one that may not be there."""
        return bool(self.reads("path") or _NAMES & (self.reads("query") | self._fields))

    @property
    def takes_a_spec(self) -> bool:
        """Whether the body says what a job needs."""
        return bool(self._fields & {"commands", "jobs"})

    @property
    def _fields(self) -> frozenset[str]:
        content = self.told.get("requestBody", {}).get("content", {}).get("application/json", {})
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        return frozenset(self.schemas.get(name, {}).get("properties", ()))


_RULES: Final[Mapping[int, Callable[[Operation], bool]]] = {
    400: lambda one: one.has_body or bool(one.reads("query") | one.reads("header")),
    401: lambda one: one.asks_who,
    403: lambda one: one.asks_who,
    404: lambda one: one.names_an_object,
    409: lambda one: one.is_write and one.asks_who,
    412: lambda one: "If-Match" in one.reads("header"),
    413: lambda one: one.has_body,
    415: lambda one: one.has_body,
    422: lambda one: one.takes_a_spec,
    429: lambda one: True,
    500: lambda one: True,
    503: lambda one: True,
    507: lambda one: False,
}


def told(result: Any, generator: object, request: object, public: bool) -> Any:
    """The API's description, with the refusals of every operation."""
    components = result["components"]
    components["schemas"] |= _SCHEMAS
    components["responses"] = {_name(status): _response(status) for status in _RULES}
    for operations in result["paths"].values():
        for method, described in operations.items():
            one = Operation(method, described, components["schemas"])
            for status in sorted(statuses_of(one)):
                reference = {"$ref": f"#/components/responses/{_name(status)}"}
                described["responses"].setdefault(str(status), reference)
    return result


def statuses_of(one: Operation) -> frozenset[int]:
    """The statuses with which it may refuse."""
    by_rule = frozenset(status for status, applies in _RULES.items() if applies(one))
    return by_rule | _ALSO.get(one.told["operationId"], frozenset())


def codes_of(status: int) -> list[str]:
    """The words that go with a status."""
    return [code.value for code in Code if code.status == status]


def _name(status: int) -> str:
    """Of the component: after the first of its codes."""
    return codes_of(status)[0].title().replace("_", "")


def _response(status: int) -> dict[str, Any]:
    codes = codes_of(status)
    narrowed = {
        "type": "object",
        "properties": {"status": {"const": status}, "code": {"type": "string", "enum": codes}},
    }
    means = " ".join(f"`{code.value}`: {code.means}" for code in Code if code.status == status)
    described: dict[str, Any] = {
        "description": means,
        "content": {
            CONTENT_TYPE: {"schema": {"allOf": [{"$ref": "#/components/schemas/Problem"}, narrowed]}}
        },
    }
    headers = _HEADERS.get(status)
    return {**described, "headers": headers} if headers else described


_WAIT: Final = {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds, as a whole number."}}
_HEADERS: Final[Mapping[int, Mapping[str, Any]]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "How to say who you are."}},
    429: _WAIT,
    503: _WAIT,
}
_TEXT: Final = {"type": "string"}
_SCHEMAS: Final[Mapping[str, Any]] = {
    "Problem": {
        "type": "object",
        "description": "Why a request was refused (RFC 9457).",
        "properties": {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "code": {"$ref": "#/components/schemas/ProblemCode"},
            "detail": {**_TEXT, "description": "One sentence for people."},
            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/ProblemField"}},
            "request_id": {**_TEXT, "description": "Name it to the operators."},
        },
        "required": ["type", "title", "status", "code", "detail", "errors", "request_id"],
    },
    "ProblemCode": {
        "type": "string",
        "enum": [code.value for code in Code],
        "description": "Stable word for programs.\n\n"
        + "\n".join(f"* `{code.value}` ({code.status}) - {code.means}" for code in Code),
    },
    "ProblemField": {
        "type": "object",
        "description": "One wrong field: where, what, and what would be right.",
        "properties": {
            "field": {**_TEXT, "description": "Path with dots, such as resources.memory."},
            "message": _TEXT,
            "hint": _TEXT,
        },
        "required": ["field", "message"],
    },
}
