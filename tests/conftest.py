"""What needs root is skipped aloud without it. The servers are started by `tests.support.session`."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from django.conf import settings

from tests.support.emptying import empty_quickly

hypothesis.settings.register_profile("flexai", deadline=None)  # no timing decides a test
hypothesis.settings.load_profile("flexai")

# A shell that starts a command with `&` has it ignore this one, and whatever the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root: not tested here, CI tests it"))


def pytest_collection_finish() -> None:
    """What the whole session keeps is no garbage: to look for some in it took a tenth of the processor's time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Where everybody may write, as on storage that nodes share."""
    folder = Path(tempfile.mkdtemp(prefix="flexai-shared-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> None:
    """A real hash takes longer than most tests, and nearly all make users. Live platforms keep the real ones."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session", autouse=True)
def quick_endings() -> None:
    """See `tests.support.emptying`."""
    empty_quickly()
