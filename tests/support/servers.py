"""A real PostgreSQL and a real Valkey for one test session, in a folder of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from flexai.embedded.accounts import Account
from flexai.embedded.postgres import Postgres
from flexai.embedded.valkey import Valkey


class TestServers:
    """Started by `start()`, which sets DATABASE_URL and REDIS_URL; stopped by `stop()`."""

    __test__ = False

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="flexai-test-"))
        self.folder.chmod(0o755)
        self.postgres = Postgres(self.folder / "postgres")
        self.valkey = Valkey(self.folder / "valkey")
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self.postgres.prepare()
        Account(*self.postgres.owner()).own(self.valkey.folder)
        database = self._spawn([*self.postgres.command(), "-c", "fsync=off"], self.postgres.spawn_options())
        broker = self._spawn(self.valkey.command(), self.postgres.spawn_options())
        self.postgres.wait_ready(database)
        self.valkey.wait_ready(broker)
        os.environ["DATABASE_URL"] = self.postgres.url
        os.environ["REDIS_URL"] = self.valkey.url
        os.environ.setdefault("FLEXAI_SECRET_KEY", "only-for-tests-" * 4)
        os.environ["FLEXAI_DATA_DIR"] = str(self.folder / "data")

    def _spawn(self, command: list[str], options: dict[str, object]) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{Path(command[0]).name}.log").open("ab")
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **options)  # type: ignore[call-overload]
        self._processes.append(process)
        return process

    def stop(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGINT if "postgres" in str(process.args[0]) else signal.SIGTERM)
        for process in self._processes:
            process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)
