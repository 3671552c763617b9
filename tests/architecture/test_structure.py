"""The house stands as `docs/architecture.md` draws it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout: the list of the project's files is not to be had")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def test_platform_is_a_source_root_and_no_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists(), "it would shadow Python's own module `platform`"


def test_no_module_is_called_utils_helpers_managers_or_signals() -> None:
    banned = {"utils", "helpers", "managers", "signals"}
    assert [path for path in tracked_files() if path.suffix == ".py" and path.stem in banned] == []


def test_lock_files_hold_hashes_and_no_addresses() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "--hash=sha256:" in lock
    assert not re.search(r"https?://", lock)
    package_lock = ROOT / "frontend" / "package-lock.json"
    assert '"integrity"' in package_lock.read_text()
    assert '"resolved": "http' not in package_lock.read_text()


def test_every_pinned_requirement_has_a_hash() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    blocks = re.split(r"\n(?=\S)", lock.strip())
    pins = [block for block in blocks if re.match(r"[a-z0-9].*==", block)]
    assert len(pins) > 50
    assert [block.split()[0] for block in pins if "--hash=" not in block] == []


def test_no_file_carries_a_path_of_somebodys_machine() -> None:
    home = str(ROOT.parent) + "/"
    if home in {"/", "/tmp/"}:
        pytest.skip("the checkout lies in a folder whose name says nothing")
    text = [
        p
        for p in tracked_files()
        if p.suffix in {".py", ".ts", ".tsx", ".md", ".toml", ".yml", ".json", ".lock"}
    ]
    assert [str(p.relative_to(ROOT)) for p in text if home in p.read_text(errors="replace")] == []


APPS_UPWARDS = ("common", "tenancy", "notifications", "cluster", "jobs", "scheduling")


@pytest.mark.parametrize("app", APPS_UPWARDS)
def test_no_app_names_a_table_of_an_app_above_it(app: str) -> None:
    """Imports point downwards, and so does SQL: what an import contract cannot see."""
    above = APPS_UPWARDS[APPS_UPWARDS.index(app) + 1 :]
    table = re.compile(rf"\b(?:{'|'.join(above)})_[a-z]+\b") if above else re.compile(r"(?!)")
    sources = (ROOT / "platform" / "flexai" / app).rglob("*.py")
    named = {path.name: table.findall(path.read_text()) for path in sources}
    assert {name: tables for name, tables in named.items() if tables} == {}
