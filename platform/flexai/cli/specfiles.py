"""Job specs from files: YAML or JSON, several in one; `files` entries given as `{path: …}` are read here."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from flexai.cli.exits import USAGE, Refusal

MAX_BYTES = 8 * 1024 * 1024
"""Of one spec file, and of one file that it names; the server's own bound on a spec is 1 MiB."""
MERGE = "tag:yaml.org,2002:merge"


def read_specs(source: str) -> list[tuple[str, dict[str, Any]]]:
    """Every document of the file (`-`: standard input), each with a name for messages. Raises Refusal."""
    name, folder = ("standard input", Path()) if source == "-" else (source, Path(source).parent)
    text = sys.stdin.read(MAX_BYTES + 1) if source == "-" else read_text(Path(source), "The spec")
    if len(text) > MAX_BYTES:
        raise _refused(f"{name} is larger than {MAX_BYTES // 1024 // 1024} MiB.")
    try:
        documents = [document for document in yaml.load_all(text, _Loader) if document is not None]
        json.dumps(documents, allow_nan=False)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise _refused(f"{name} is neither YAML nor JSON: {error}") from error
    if not documents:
        raise _refused(f"{name} holds no job.")
    specs = []
    for number, document in enumerate(documents, 1):
        where = f"{name}, document {number}" if len(documents) > 1 else name
        if not isinstance(document, dict):
            raise _refused(f"{where} is not a job: it must be a mapping of fields.")
        specs.append((where, with_files_read(document, folder, where)))
    return specs


def with_files_read(spec: dict[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """The spec with the text of each local file in place of its `{path: …}`. Raises Refusal."""
    files = spec.get("files")
    if not isinstance(files, dict):
        return spec
    read = {name: _content(value, folder, f"{where}, files.{name}") for name, value in files.items()}
    return {**spec, "files": read}


def read_text(path: Path, what: str) -> str:
    """The file's UTF-8 text, at most `MAX_BYTES`. Raises Refusal."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode()
    except UnicodeDecodeError:
        raise _refused(f"{what} {path} is not UTF-8 text.") from None
    except OSError as error:
        raise _refused(f"{what} {path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise _refused(f"{what} {path} is larger than {MAX_BYTES // 1024 // 1024} MiB.")
    return text


def _content(value: object, folder: Path, where: str) -> object:
    if not isinstance(value, dict) or set(value) != {"path"}:
        return value
    return read_text(folder / str(value["path"]), f"{where}:")


class _Loader(yaml.SafeLoader):
    """Plain values of YAML 1.2: `on`, `yes` and dates are text (`retry.on` needs it). No key twice."""

    yaml_implicit_resolvers = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != MERGE]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


_INTEGER = re.compile(r"(?:[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)$")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_Loader.add_implicit_resolver(MERGE, re.compile(r"<<$"), ["<"])


def _refused(sentence: str) -> Refusal:
    return Refusal(sentence, exit_code=USAGE, code="invalid")
