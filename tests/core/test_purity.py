"""The engine decides from its arguments alone: no clock, no chance, no files, no network, no Django (S1)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import scheduler_core

CORE = Path(scheduler_core.__file__).parent
MODULES = sorted(CORE.rglob("*.py"))
PURE = [path for path in MODULES if CORE / "simulation" not in path.parents]
"""The simulator reads traces and prints; it decides nothing."""
ALLOWED = {
    "__future__",
    "abc",
    "bisect",
    "collections",
    "collections.abc",
    "dataclasses",
    "enum",
    "functools",
    "heapq",
    "itertools",
    "numpy",
    "numpy.typing",
    "operator",
    "typing",
}
ALLOWED_IN = {
    "compiled.py": {"hashlib", "importlib", "types"},
    "recording.py": {"hashlib", "msgspec", "zlib"},
    "value.py": {"numpy", "numpy.typing"},
}
"""What single modules need beside: packing values into bytes, tables of whole numbers."""
WHOLE_NUMBERS = {"isqrt", "gcd", "lcm", "comb"}
"""What of `math` takes and gives whole numbers only."""
BY_IDENTITY = {"bulk.py"}
"""Where objects may be told apart by what they are: to compare fewer of them, never to decide."""
FORBIDDEN_CALLS = {"open", "print", "input", "eval", "exec", "hash_seed", "id", "float"}


@pytest.mark.parametrize("path", PURE, ids=[str(path.relative_to(CORE)) for path in PURE])
def test_s1_a_module_imports_only_values_and_containers(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports say where from"
            whole_numbers = node.module == "math" and {alias.name for alias in node.names} <= WHOLE_NUMBERS
            imported |= set() if whole_numbers else {node.module or ""}
    allowed = ALLOWED | ALLOWED_IN.get(path.name, set())
    foreign = {name for name in imported if name not in allowed and name.split(".")[0] != "scheduler_core"}
    assert foreign == set()


@pytest.mark.parametrize("path", PURE, ids=[str(path.relative_to(CORE)) for path in PURE])
def test_q1_no_float_and_no_way_out(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, float), f"line {node.lineno}: a float"
        if isinstance(node, ast.BinOp):
            assert not isinstance(node.op, ast.Div), f"line {node.lineno}: true division makes floats"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"line {node.lineno}: {node.func.id}()"
            by_identity = any(isinstance(given, ast.Name) and given.id == "id" for given in node.args)
            assert not (node.func.id == "map" and by_identity) or path.name in BY_IDENTITY, "by identity"


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(CORE)) for path in MODULES])
def test_a_file_fits_in_the_head_and_a_function_on_a_screen(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 500
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 45, node.name
