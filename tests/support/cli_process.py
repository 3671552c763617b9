"""`flexai …` in a process of its own, forked from one that has loaded it: loading is most of the cost."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

SECONDS = 60
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.support.cli_process", "flexai.cli.main"])


def run(
    arguments: tuple[str, ...], *, environment: Mapping[str, str], cwd: Path, stdin: str
) -> tuple[int, str, str]:
    """Exit code, output, errors. Nothing of the caller's environment reaches it."""
    with tempfile.TemporaryDirectory() as folder:
        streams = [f"{folder}/{name}" for name in ("in", "out", "err")]
        Path(streams[0]).write_text(stdin)
        process = _context.Process(target=_become, args=(arguments, dict(environment), str(cwd), streams))
        process.start()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
            raise AssertionError(f"flexai {' '.join(arguments)} did not end within {SECONDS} s")
        out, err = (Path(path).read_text() for path in streams[1:])
        assert process.exitcode is not None
        return process.exitcode, out, err


def _become(arguments: tuple[str, ...], environment: dict[str, str], cwd: str, streams: list[str]) -> None:
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT), number)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = ["flexai", *arguments]
    from flexai.cli.main import main  # loaded before the fork

    main()
