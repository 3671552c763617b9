"""Starts the servers before Django's settings are read, unless only tests that need none were asked for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "platform"))

_NEED_NO_SERVER = ("tests/core", "tests/agent", "tests/simulation", "tests/architecture")
_servers = None


def _asked_for_servers(arguments: list[str]) -> bool:
    paths = [argument for argument in arguments if not argument.startswith("-")]
    return not paths or not all(
        any(folder in os.path.relpath(path) for folder in _NEED_NO_SERVER) for path in paths
    )


def pytest_load_initial_conftests(args: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flexai.config.settings")


def _start() -> None:
    global _servers
    from tests.support.servers import TestServers

    _servers = TestServers()
    _servers.start()


os.environ.setdefault("FLEXAI_SECRET_KEY", "only-for-tests-" * 4)
if _asked_for_servers(sys.argv[1:]):
    _start()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _servers is not None:
        _servers.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root: not tested here, CI tests it"))
