"""How many jobs one web process accepts: single creates over four connections, and batches of 1,000.

The jobs are held, so nothing but the API works. Requests are as those of the Python client, each with an idempotency
key of its own, but with a ready body, over plain sockets, and answers are parsed by the parser of web servers: the
client shares the machine, and its own cost is not what is measured. Every answer's status is checked.

The CPU time of one create is told beside: of the busiest process (the web process, which the rate cannot exceed
one core of) and of all together. It says more than the rate where the machine has other work.
"""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from http import HTTPStatus
from urllib.parse import urlsplit

from httptools import HttpResponseParser

from benchmarks.live import Live, platform
from benchmarks.reporting import Benchmark, Result, Target, main

CONNECTIONS = 4
CREATES = 2000
BATCHES = 10
BATCH_SIZE = 1000
SPEC = {"name": "held", "commands": ["true"], "resources": {"cpus": 0.05}, "hold": True}


def measure() -> Result:
    """Creates a second, single and in batches, on one web process."""
    with platform("--no-agent", "--simulate", "1x8:H100-80GB") as live, live.client() as client:
        _single(live, CREATES // 10)
        before = live.cpu_seconds()
        creates = CREATES / _single(live, CREATES)
        used = {pid: seconds - before.get(pid, 0.0) for pid, seconds in live.cpu_seconds().items()}
        connection, body = Connection(live), json.dumps({"jobs": [SPEC] * BATCH_SIZE}).encode()
        connection.post("/api/v1/jobs/batch", body)
        before = live.cpu_seconds()
        began = time.perf_counter()
        for _ in range(BATCHES):
            connection.post("/api/v1/jobs/batch", body)
        batch = BATCHES * BATCH_SIZE / (time.perf_counter() - began)
        batched = sum(seconds - before.get(pid, 0.0) for pid, seconds in live.cpu_seconds().items())
        connection.close()
        held = client.jobs.counts()["held"]
    expected = CREATES + CREATES // 10 + (BATCHES + 1) * BATCH_SIZE
    if held != expected:
        raise RuntimeError(f"{expected} jobs were accepted, and {held} are there")
    return {
        "creates_per_second": round(creates, 1),
        "batch_jobs_per_second": round(batch, 1),
        "busiest_process_cpu_us_per_create": round(max(used.values()) / CREATES * 1e6),
        "platform_cpu_us_per_create": round(sum(used.values()) / CREATES * 1e6),
        "platform_cpu_us_per_batched_job": round(batched / (BATCHES * BATCH_SIZE) * 1e6, 1),
    }


class Connection:
    """HTTP to the platform, as the operator, one request after the other."""

    def __init__(self, live: Live) -> None:
        place = urlsplit(live.url)
        self._socket = socket.create_connection((place.hostname, place.port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        credential = f"Authorization: Bearer {live.token}"
        self._headers = f"Host: {place.netloc}\r\n{credential}\r\nContent-Type: application/json\r\n"
        self._parser = HttpResponseParser(self)
        self._content = b""
        self._is_complete = False

    def post(self, path: str, body: bytes) -> bytes:
        """The answer. Raises RuntimeError unless something was made."""
        head = f"Idempotency-Key: {uuid.uuid4()}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(f"POST {path} HTTP/1.1\r\n{self._headers}{head}".encode() + body)
        self._content, self._is_complete = b"", False
        while not self._is_complete:
            received = self._socket.recv(1 << 16)
            if not received:
                raise RuntimeError("The platform closed the connection.")
            self._parser.feed_data(received)
        status = self._parser.get_status_code()
        if status != HTTPStatus.CREATED:
            raise RuntimeError(f"{status} {self._content[:200]!r}")
        return self._content

    def on_body(self, part: bytes) -> None:
        """Of the parser."""
        self._content += part

    def on_message_complete(self) -> None:
        """Of the parser."""
        self._is_complete = True

    def close(self) -> None:
        """It is closed afterwards."""
        self._socket.close()


def _single(live: Live, creates: int) -> float:
    """Seconds for so many creates over all connections."""
    failures: list[RuntimeError] = []
    share = creates // CONNECTIONS
    threads = [threading.Thread(target=_create, args=(live, share, failures)) for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"Of {CONNECTIONS} connections {len(failures)} failed.") from failures[0]
    return time.perf_counter() - began


def _create(live: Live, creates: int, failures: list[RuntimeError]) -> None:
    connection, body = Connection(live), json.dumps(SPEC).encode()
    try:
        for _ in range(creates):
            connection.post("/api/v1/jobs", body)
    except RuntimeError as failure:
        failures.append(failure)
    finally:
        connection.close()


BENCHMARK = Benchmark(
    "api",
    measure,
    {
        "creates_per_second": Target(400, at_least=True, unit="/s"),
        "batch_jobs_per_second": Target(10_000, at_least=True, unit="/s"),
    },
)

if __name__ == "__main__":
    main(BENCHMARK)
