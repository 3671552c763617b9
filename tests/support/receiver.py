"""A receiver of webhooks, and a mail server: real servers that can be made to misbehave."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.waiting import wait_for

WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Got:
    """One message as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def told(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """What it was sent, and what it answers: by path, a list of (status, headers, body) of which the last stays."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answers: dict[str, list[tuple[int, dict[str, str], bytes]]] = field(default_factory=dict)
    hangs: threading.Event | None = None
    """While it is there and not set, requests are read and not answered."""
    began: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released for each request that arrived."""

    def wait_for(self, count: int) -> list[Got]:
        """The messages, once there are so many."""
        wait_until(lambda: len(self.got) >= count)
        return self.got

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append(Got(request.path, headers, body))
        self.began.release()
        if self.hangs is not None:
            self.hangs.wait(WAIT_SECONDS)
        planned = self.answers.get(request.path, [(204, {}, b"")])
        status, extra, content = planned.pop(0) if len(planned) > 1 else planned[0]
        request.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **extra}.items():
            request.send_header(name, value)
        request.end_headers()
        try:
            request.wfile.write(content)
        except OSError:
            return  # it did not want to read all of it


@contextmanager
def a_receiver() -> Iterator[Receiver]:
    """Runs on a port of 127.0.0.1 until the test is over."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.answer(self)

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield receiver
    finally:
        if receiver.hangs is not None:
            receiver.hangs.set()
        server.shutdown()
        server.server_close()
        thread.join(20)


@dataclass
class MailServer:
    """What it was given; `refuses` answers every recipient with 550."""

    port: int = 0
    taken: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    refuses: bool = False


@contextmanager
def a_mail_server() -> Iterator[MailServer]:
    """Speaks as much SMTP as a client needs (RFC 5321), on a port of 127.0.0.1."""
    mail = MailServer()

    class Handler(socketserver.StreamRequestHandler):
        timeout = WAIT_SECONDS

        def handle(self) -> None:
            self._say("220 test")
            recipients: list[str] = []
            while line := self.rfile.readline().decode().strip():
                verb = line.upper()
                if verb == "QUIT":
                    self._say("221 bye")
                    return
                if verb.startswith("RCPT TO:"):
                    recipients.append(line[8:].strip("<> "))
                    self._say("550 nobody" if mail.refuses else "250 ok")
                elif verb == "DATA":
                    self._say("354 go on")
                    message = message_from_bytes(self._content(), policy=policy.default)
                    assert isinstance(message, EmailMessage)
                    mail.taken.append((recipients, message))
                    recipients = []
                    self._say("250 ok")
                else:
                    self._say("250 ok")

        def _content(self) -> bytes:
            lines = []
            while (line := self.rfile.readline()) not in (b".\r\n", b""):
                lines.append(line[1:] if line.startswith(b"..") else line)
            return b"".join(lines)

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    mail.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield mail
    finally:
        server.shutdown()
        server.server_close()
        thread.join(20)


def wait_until(true: Callable[[], bool], *, seconds: float = WAIT_SECONDS) -> None:
    """Returns once it is so; fails where it does not come true."""
    wait_for(true, "it to come true", seconds)
