"""The examples that ship with Flexai: specs in YAML with the scripts beside them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

_PACKAGE = Path(__file__).resolve().parent.parent
DEMO = (
    "slices/slice-a.yaml",
    "slices/slice-b.yaml",
    "language_model/language-model.yaml",
    "language_model/bigram.yaml",
    "digits/digits.yaml",
    "retry.yaml",
    "word-count.yaml",
    "sweep/sweep.yaml",
    "all_reduce/all-reduce.yaml",
)
"""What `flexai demo` submits, in this order: the slices first, so that both find an empty chip; the gang
last, so that it has something to wait for."""


class ExamplesMissingError(RuntimeError):
    """Says where the examples were looked for, or what they need."""


def folder() -> Path:
    """Where the examples lie: in a clone, or in the installed package. Raises `ExamplesMissingError`."""
    places = (_PACKAGE.parent.parent / "examples", _PACKAGE / "examples")
    for place in places:
        if (place / DEMO[0]).is_file():
            return place
    raise ExamplesMissingError(
        f"The examples are missing; they were looked for in {places[0]} and {places[1]}."
    )


def needed_packages() -> list[str]:
    """Distributions that the examples need and this Python does not have."""
    from importlib.util import find_spec

    needed = {"numpy": "numpy", "sklearn": "scikit-learn"}
    return [distribution for module, distribution in needed.items() if find_spec(module) is None]


def load(names: Sequence[str] = DEMO) -> list[dict[str, Any]]:
    """The specs, with the text of each file that they name. Raises `ExamplesMissingError`."""
    if missing := needed_packages():
        raise ExamplesMissingError(
            f"The examples need {' and '.join(missing)}. "
            f"Install with: {sys.executable} -m pip install {' '.join(missing)}"
        )
    home = folder()
    return [_with_files((home / name).parent, yaml.safe_load((home / name).read_text())) for name in names]


def _with_files(beside: Path, spec: dict[str, Any]) -> dict[str, Any]:
    files = {name: (beside / entry["path"]).read_text() for name, entry in (spec.get("files") or {}).items()}
    return {**spec, **({"files": files} if files else {})}
