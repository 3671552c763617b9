"""Starts the servers before Django's settings are read, unless only tests that need none were asked for. Says where
machine code is kept, and that it need not be fast.

Named in `addopts` with `-p`: plugins are loaded before pytest-django looks at the
settings, conftest files after.
"""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(_ROOT / "platform"), str(_ROOT)]

_NEED_NO_SERVER = (
    "tests/core",
    "tests/agent",
    "tests/simulation",
    "tests/faults",
    "tests/architecture",
    "tests/client",
    "tests/cli",
)
_servers = None


def _asked_for_servers(arguments: list[str]) -> bool:
    paths = [path for path in arguments if not path.startswith("-") and Path(path.split("::")[0]).exists()]
    return not paths or not all(
        any(folder in os.path.relpath(path) for folder in _NEED_NO_SERVER) for path in paths
    )


def _start() -> None:
    """The servers run, and end with this process, however far the session comes: a settings module that does not
    import ends it before any hook. Forked children leave them alone.
    """
    global _servers
    from tests.support.servers import TestServers

    _servers = TestServers()
    _servers.start()
    atexit.register(_stop, os.getpid())


def _stop(owner: int) -> None:
    global _servers
    if _servers is not None and os.getpid() == owner:
        _servers.stop()
        _servers = None


os.environ.setdefault("FLEXAI_SECRET_KEY", "only-for-tests-" * 4)
# At its highest level the compiler takes two thirds longer, which the short runs of tests never earn back. What it
# makes here is not kept where commands and benchmarks would find it.
_level = os.environ.setdefault("NUMBA_OPT", "1")
os.environ.setdefault("NUMBA_CACHE_DIR", str(_ROOT / ".pytest_cache" / f"machine-code-{_level}"))
if _asked_for_servers(sys.argv[1:]):
    _start()


def pytest_unconfigure(config: pytest.Config) -> None:
    """The servers have ended."""
    _stop(os.getpid())
