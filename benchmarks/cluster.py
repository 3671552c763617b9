"""A PostgreSQL, a Valkey and a web process of one's own."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flexai.embedded.accounts import Account
from flexai.embedded.postgres import Postgres
from flexai.embedded.valkey import Valkey

START_SECONDS = 60
STOP_SECONDS = 60


@contextmanager
def servers(folder: Path) -> Iterator[int]:
    """PostgreSQL, with the schema, and Valkey run inside the block; Django is set up for them. The process id of
    PostgreSQL."""
    postgres, valkey = Postgres(folder / "postgres"), Valkey(folder / "valkey")
    postgres.prepare()
    Account(*postgres.owner()).own(valkey.folder)
    running = []
    try:
        for command in (postgres.command(), valkey.command()):
            with (folder / f"{Path(command[0]).name}.log").open("ab") as log:
                running.append(
                    subprocess.Popen(command, stdout=log, stderr=log, **postgres.spawn_options())  # type: ignore[call-overload]
                )
        postgres.wait_ready(running[0])
        valkey.wait_ready(running[1])
        os.environ |= {
            "DATABASE_URL": postgres.url, "REDIS_URL": valkey.url, "FLEXAI_SECRET_KEY": "only-here-" * 6,
            "FLEXAI_DATA_DIR": str(folder / "data"), "DJANGO_SETTINGS_MODULE": "flexai.config.settings",
        }  # fmt: skip
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
            cwd=Path(__file__).parents[1], check=True,
        )  # fmt: skip
        import django

        django.setup()
        yield running[0].pid
    finally:
        for process in reversed(running):
            process.send_signal(signal.SIGINT)
            process.wait(30)


def cpu_ms(*processes: int) -> float:
    """Processor time that these and their children, as far as they live, have had, in milliseconds."""
    everybody = [pid for one in processes for pid in (one, *children_of(one))]
    return sum(_ran_ns(pid) for pid in everybody) / 1e6


def children_of(process: int) -> list[int]:
    """Process ids."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == process:
                found.append(int(stat.parent.name))
    return found


def _ran_ns(process: int) -> int:
    """Of all its threads."""
    with suppress(OSError):
        tasks = Path(f"/proc/{process}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
    return 0


@contextmanager
def web(said: Path) -> Iterator[tuple[int, int, Callable[[], float]]]:
    """One web process, set up as `flexai up` does it, that also notes how late its event loop is: port, process id, and
    what stops it."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
        port = listening.getsockname()[1]
        descriptor = listening.fileno()
        os.set_inheritable(descriptor, True)
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.web_process", str(descriptor), str(said)],
            pass_fds=[descriptor], env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip

        def stop() -> float:
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)
            return time.monotonic() - began

        try:
            _wait_answering(port)
            yield port, process.pid, stop
        finally:
            process.kill()
            process.wait()


def _wait_answering(port: int) -> None:
    """Whatever it answers: until it serves, the request waits in the socket's line."""
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=180)
    asking.request("GET", "/")
    asking.getresponse().read()
    asking.close()
