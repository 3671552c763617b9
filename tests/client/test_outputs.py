"""Outputs as the client brings them: whole, over cut connections, and never outside the folder that was named."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from flexai.client import Client, NotReached, UnexpectedAnswer, WaitTimeout
from flexai.client.aio import AsyncClient
from flexai.client.outputs import TRIES

CONTENT = bytes(range(250)) * 40


class Desk(ThreadingHTTPServer):
    """Lists files, and sends `piece` bytes of one before it hangs up."""

    state = "complete"
    piece = 1 << 30
    ignores_range = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Desk

    def do_GET(self) -> None:
        found = urlsplit(self.path)
        if found.path.endswith("/outputs"):
            files = [{"path": path, "size": len(content)} for path, content in self.server.files.items()]
            told = {"attempt": 1, "state": self.server.state, "sentence": "They are arriving.", "said": [],
                    "bytes": 0, "kept_until": None, "files": files}  # fmt: skip
            self._send(200, json.dumps(told).encode())
            return
        content = self.server.files[parse_qs(found.query)["path"][0]]
        asked = self.headers.get("Range", "")
        self.server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if self.server.ignores_range:
            start = 0
        self._send(206 if start else 200, content[start:], self.server.piece)

    def _send(self, status: int, content: bytes, most: int = 1 << 30) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:most])
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr("flexai.client.outputs.LONGEST_PAUSE_SECONDS", 0.01)
    server = Desk()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def client(desk: Desk) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{desk.server_port}", "token", timeout=10) as made:
        yield made


def test_all_files_come_whole_over_a_connection_that_is_cut(
    desk: Desk, client: Client, tmp_path: Path
) -> None:
    desk.files = {"junit.xml": b"<ok/>", "results/deep/big": CONTENT, "results/empty": b""}
    desk.piece = 3000
    made = client.jobs.download_outputs("job-1", tmp_path / "to")
    assert [path.relative_to(tmp_path / "to").as_posix() for path in made] == list(desk.files)
    assert {path: (tmp_path / "to" / path).read_bytes() for path in desk.files} == desk.files
    assert desk.asked == ["", "", "bytes=3000-", "bytes=6000-", "bytes=9000-"]
    desk.files = {"junit.xml": b"<new/>"}
    client.jobs.download_outputs("job-1", tmp_path / "to")
    assert (tmp_path / "to/junit.xml").read_bytes() == b"<new/>"


def test_a_file_that_never_comes_is_given_up_and_leaves_nothing(
    desk: Desk, client: Client, tmp_path: Path
) -> None:
    desk.files, desk.piece = {"x": CONTENT}, 0
    with pytest.raises(NotReached, match="x was cut off"):
        client.jobs.download_outputs("job-1", tmp_path)
    assert len(desk.asked) == TRIES
    assert not list(tmp_path.iterdir())


def test_a_server_without_ranges_makes_no_wrong_file(desk: Desk, client: Client, tmp_path: Path) -> None:
    desk.files, desk.piece, desk.ignores_range = {"x": CONTENT}, 3000, True
    with pytest.raises(UnexpectedAnswer):
        client.jobs.download_outputs("job-1", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "path", ["/etc/cron.d/x", "../x", "a/../../x", "a\\b", "a\nb", "\x1b[2Jx", "", ".", "..", "a/.."]
)
def test_a_path_out_of_the_folder_is_refused_before_anything_is_written(
    desk: Desk, client: Client, tmp_path: Path, path: str
) -> None:
    desk.files = {"fine": b"x", path: b"evil"}
    with pytest.raises(UnexpectedAnswer):
        client.jobs.download_outputs("job-1", tmp_path / "to")
    assert [one.name for one in tmp_path.rglob("*")] == ["to"]


def test_a_link_in_the_folder_leads_nothing_out_of_it(desk: Desk, client: Client, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "to" / "results").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "to" / "mine").symlink_to(tmp_path / "elsewhere" / "mine")
    desk.files = {"mine": b"x"}
    client.jobs.download_outputs("job-1", tmp_path / "to")
    desk.files = {"results/x": b"x"}
    with pytest.raises(UnexpectedAnswer, match="there is a link in its way"):
        client.jobs.download_outputs("job-1", tmp_path / "to")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_what_is_awaited_is_waited_for(desk: Desk, client: Client, tmp_path: Path) -> None:
    desk.state = "awaited"
    assert client.jobs.outputs("job-1")["state"] == "awaited"
    with pytest.raises(WaitTimeout, match="They are arriving"):
        client.jobs.outputs("job-1", patience=0.05)
    threading.Timer(0.2, lambda: setattr(desk, "state", "complete")).start()
    assert client.jobs.outputs("job-1", patience=30)["state"] == "complete"


async def test_the_client_for_asyncio_brings_them_over_cut_connections_too(
    desk: Desk, tmp_path: Path
) -> None:
    desk.files, desk.piece = {"a/b.bin": CONTENT}, 3000
    async with AsyncClient(f"http://127.0.0.1:{desk.server_port}", "token", timeout=10) as flexai:
        [target] = await flexai.jobs.download_outputs("job-1", tmp_path)
    assert target.read_bytes() == CONTENT
    assert desk.asked == ["", "bytes=3000-", "bytes=6000-", "bytes=9000-"]
