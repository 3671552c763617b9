"""A small real HTTP server that speaks the API's contract from memory, for the client and the command."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "flx_" + "t" * 40
PASSWORD = "correct horse"
FINAL = {"succeeded", "failed", "cancelled", "timed_out"}


@dataclass
class Log:
    """One attempt's log: what is written so far, and whether it is complete."""

    content: bytes = b""
    ended: bool = False


@dataclass
class Stub:
    """What the server holds, changed by tests; `seen` lists (method, path, body, headers)."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    batches: dict[str, list[str]] = field(default_factory=dict)
    logs: dict[tuple[str, int], Log] = field(default_factory=dict)
    nodes: list[dict[str, Any]] = field(default_factory=list)
    teams: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[dict[str, Any]] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    """Of the first team: values by name."""
    seen: list[tuple[str, str, Any, dict[str, str]]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Done to the next requests, in order: `drop` (after handling), `refuse` (503), `page` (HTML)."""
    refused_tokens: str = ""
    """Why no token can be made; empty when one can."""
    sign_in: list[str] = field(default_factory=list)
    """What a terminal that waits is answered, in order: the code of a problem, or `granted`."""
    announcements: list[dict[str, str]] = field(default_factory=list)
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Jobs as they were when somebody last read them."""
    waits: bool = True
    """False: as a server that knows no `wait`."""
    page_size: int = 50
    on_submit: Callable[[dict[str, Any]], None] | None = None
    on_read: Callable[[str], None] | None = None
    url: str = ""

    def add_job(self, name: str = "train", status: str = "queued", **fields: Any) -> dict[str, Any]:
        """A job that was submitted by somebody."""
        job_id = f"job-{len(self.jobs) + 1:020d}"
        job = {
            "id": job_id,
            "name": name,
            "type": "task",
            "status": status,
            "sentence": "",
            "team": TEAM,
            "user": "ana",
            "priority": 50,
            "preemptible": False,
            "set": None,
            "index": None,
            "labels": {},
            "chips": {
                "type": "cpu",
                "milli_per_replica": 1000,
                "replicas": 1,
                "min_replicas": 1,
                "max_replicas": 1,
                "total_milli": 1000,
            },
            "cpu_milli": 0,
            "memory_mib": 512,
            "attempt": 0,
            "exit_code": None,
            "outcome": "",
            "reason_code": "",
            "submitted_at": "2026-01-02T03:04:05+00:00",
            "started_at": None,
            "ended_at": None,
            "deadline": None,
            "wait_ms": None,
            "run_ms": None,
            "nodes": [],
            "use_permille": None,
            "progress": None,
            "memory_peak_mib": None,
            "version": 1,
            "url": "",
            **fields,
        }
        self.jobs[job_id] = job
        return job

    def start(self, job: dict[str, Any]) -> Log:
        """The job runs; its next attempt's log."""
        job.update(
            status="running", attempt=job["attempt"] + 1, started_at="2026-01-02T03:04:06+00:00", nodes=["n1"]
        )
        return self.logs.setdefault((job["id"], job["attempt"]), Log())

    def end(self, job: dict[str, Any], exit_code: int | None = 0, status: str = "") -> None:
        """The job has ended, its log is complete."""
        job.update(
            status=status or ("failed" if exit_code else "succeeded"), exit_code=exit_code, run_ms=1200
        )
        if (job["id"], job["attempt"]) in self.logs:
            self.logs[job["id"], job["attempt"]].ended = True


TEAM = {"id": "team-1", "name": "vision"}


class Refused(Exception):  # noqa: N818 - what the server does
    def __init__(
        self, status: int, code: str, detail: str, errors: list[dict[str, str]] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.body = {
            "type": "about:blank",
            "title": code,
            "status": status,
            "code": code,
            "detail": detail,
            "errors": errors or [],
        }


def serve(stub: Stub) -> ThreadingHTTPServer:
    """A running server; `stub.url` is its address. The caller shuts it down."""

    class Handler(_Handler):
        state = stub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    state: Stub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the base class names them

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

    def _handle(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        parts = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        self.state.seen.append((self.command, self.path, body, dict(self.headers)))
        fault = self.state.faults.pop(0) if self.state.faults else ""
        if fault == "refuse":
            self._answer(503, {"code": "unavailable", "detail": "Starting."}, {"Retry-After": "0"})
        elif fault == "page":
            self._answer(200, None, {"Content-Type": "text/html"}, b"<html>a proxy</html>")
        else:
            self._respond(parts.path.removeprefix("/api/v1"), body, drop=fault == "drop")

    def _respond(self, path: str, body: Any, *, drop: bool) -> None:
        try:
            status, answer = self._route(path.strip("/").split("/"), body)
        except Refused as refused:
            status, answer = refused.status, refused.body
        if drop:
            self.close_connection = True
            self.connection.close()
            return
        cookies = {"Set-Cookie": "flexai_csrf=abc; Path=/"} if path == "/session" else {}
        self._answer(status, answer, cookies)

    def _answer(self, status: int, answer: Any, headers: dict[str, str], raw: bytes | None = None) -> None:
        content = raw if raw is not None else b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        kind = "application/problem+json" if status >= 400 else "application/json"
        for key, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)

    def _route(self, path: list[str], body: Any) -> tuple[int, Any]:
        if path[0] == "session":
            return self._session(body)
        if path[0] == "sign-ins":
            return self._sign_in(path[1:], body)
        self._authenticate()
        name = "_".join([self.command.lower(), path[0].replace("-", "_")])
        return getattr(self, name, self._nothing)(path[1:], body)

    def _nothing(self, path: list[str], body: Any) -> tuple[int, Any]:
        raise Refused(404, "not_found", f"There is no {self.path}.")

    def _sign_in(self, path: list[str], body: Any) -> tuple[int, Any]:
        if not self.state.sign_in:
            raise Refused(404, "not_found", "There is no such path.")
        if not path:
            page = f"{self.state.url}/connect"
            codes = {"device_code": "of-the-terminal", "user_code": "BCDF-GHJK", "verification_uri": page}
            return 201, {**codes, "expires_in": 600, "interval": 1}
        assert body == {"device_code": "of-the-terminal"}
        answer = self.state.sign_in.pop(0) if len(self.state.sign_in) > 1 else self.state.sign_in[0]
        if answer != "granted":
            raise Refused(400, answer, f"The answer is {answer}.")
        return 200, {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 1, "scope": "read write"}

    def get_announcements(self, path: list[str], body: Any) -> tuple[int, Any]:
        return 200, {"items": self.state.announcements}

    def _session(self, body: Any) -> tuple[int, Any]:
        if self.command == "POST" and (
            self.headers.get("X-CSRFToken") != "abc" or body["password"] != PASSWORD
        ):
            raise Refused(401, "unauthenticated", "Wrong username or password.")
        return 200, {"authenticated": self.command == "POST"}

    def _authenticate(self) -> None:
        by_session = self.headers.get("X-CSRFToken") == "abc" and "flexai_csrf=abc" in self.headers.get(
            "Cookie", ""
        )
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" and not by_session:
            raise Refused(401, "unauthenticated", "This token is not valid.")

    def _list(self, items: list[Any]) -> tuple[int, Any]:
        start = int(self.query.get("cursor", 0))
        end = start + min(int(self.query.get("limit", 50)), self.state.page_size)
        return 200, {"items": items[start:end], "next_cursor": str(end) if end < len(items) else None}

    def get_me(self, path: list[str], body: Any) -> tuple[int, Any]:
        return 200, {
            "user": {"username": "ana", "email": "", "is_operator": True},
            "teams": [TEAM],
            "version": "0.1.0",
            "organization": {"id": "org-1", "name": "Acme", "slug": "acme"},
            "currency": "CHF",
            "notices": ["One user runs all jobs."],
        }

    def get_quota_requests(self, path: list[str], body: Any) -> tuple[int, Any]:
        asked = {"chip_hours": 2000, "money_micro": 1_250_500_000}
        request = {
            "id": "qreq-1", "team": {"id": "team-1", "name": "vision"}, "chip_type": None, "asked": asked,
            "granted": None, "until": None, "state": "open", "asked_by": "ana", "decided_by": None,
            "answer": "", "note": "",
        }  # fmt: skip
        return self._list([request])

    def post_jobs(self, path: list[str], body: Any) -> tuple[int, Any]:
        if path == ["batch"]:
            key = self.headers.get("Idempotency-Key", "")
            if key not in self.state.batches:
                made = [self.state.add_job(spec.get("name", "x"))["id"] for spec in body["jobs"]]
                self.state.batches[key] = made
            return 201, {"ids": self.state.batches[key]}
        if path:
            return self._change(path[0], path[1], body)
        self._check(body)
        if self.query.get("dry_run"):
            fits = body.get("resources", {}).get("accelerators") != "cpu:999"
            said = "It starts now." if fits else "Needs 999 chips; the largest node has 8."
            return 200, {
                "fits": fits,
                "sentence": said,
                "outlook": {"sentences": ["It would start at once."]} if fits else None,
                "alternatives": [
                    {
                        "patch": {"resources": {"accelerators": "A100:1"}},
                        "sentence": "On A100 it would cost less.",
                    }
                ],
                "roundings": ["memory 1000MB → 954 MiB"],
                "warnings": [
                    "It may miss its deadline, 2026-01-31 18:00 UTC: it starts at 2026-01-31 17:00 UTC."
                ],
                "spec": body,
            }
        key = self.headers.get("Idempotency-Key", "")
        if key in self.state.keys:
            return 201, self.state.jobs[self.state.keys[key]]
        return 201, self._made(body, key)

    def _made(self, body: Any, key: str) -> Any:
        if "array" in body:
            first, last = (int(end) for end in body["array"].split("-"))
            jobs = [self.state.add_job(body["name"], set="set-1", index=i) for i in range(first, last + 1)]
            answer: Any = {"set": "set-1", "count": len(jobs), "jobs": jobs[:10]}
        else:
            jobs = [self.state.add_job(body.get("name", "job"), spec=body, labels=body.get("labels", {}))]
            answer = jobs[0]
        self.state.keys[key] = jobs[0]["id"]
        for job in jobs:
            if self.state.on_submit:
                self.state.on_submit(job)
        return answer

    def _check(self, body: Any) -> None:
        if "acelerators" in body.get("resources", {}):
            wrong = {
                "field": "resources.acelerators",
                "message": "unknown key",
                "hint": "did you mean accelerators?",
            }
            raise Refused(400, "invalid", "The spec has 1 wrong field.", [wrong])

    def _change(self, job_id: str, action: str, body: Any) -> tuple[int, Any]:
        job = self._job(job_id)
        if action == "stop":
            if job["status"] in FINAL:
                raise Refused(409, "conflict", f"The job has already {job['status']}.")
            job["status"] = "cancelling" if job["attempt"] else "cancelled"
        else:
            job["status"] = "queued"
        return 200, job

    def _job(self, job_id: str) -> dict[str, Any]:
        if job_id not in self.state.jobs:
            raise Refused(404, "not_found", f"There is no job {job_id}.")
        return self.state.jobs[job_id]

    def get_jobs(self, path: list[str], body: Any) -> tuple[int, Any]:
        if not path:
            return self._list([job for job in reversed(self.state.jobs.values()) if self._fits(job)])
        if path == ["counts"]:
            statuses = [job["status"] for job in self.state.jobs.values()]
            return 200, {status: statuses.count(status) for status in set(statuses)}
        job = self._job(path[0])
        if path[1:] == ["logs"]:
            return self._log_when_there_is_more(job)
        if path[1:] == ["explain"]:
            return 200, EXPLANATION | {"forecast": _forecast()}
        if path[1:] == ["events"]:
            return self._list(EVENTS)
        return self._when_changed(job)

    def _when_changed(self, job: dict[str, Any]) -> tuple[int, Any]:
        """The job; with `version` and `wait`, once it is another, or 304. Tests change jobs as they like: the version
        follows."""
        ends_at = time.monotonic() + int(self.query.get("wait", 0))
        while True:
            if self.state.on_read:
                self.state.on_read(job["id"])
            if self._is_another(job) or not self.state.waits:
                return 200, {**job, "attempts": [], "allowed_actions": ["stop"]}
            if time.monotonic() >= ends_at:
                return 304, None
            time.sleep(0.01)

    def _is_another(self, job: dict[str, Any]) -> bool:
        """Than the one whose version is named."""
        content = {key: value for key, value in job.items() if key != "version"}
        if self.state.told.setdefault(job["id"], content) != content:
            job["version"], self.state.told[job["id"]] = job["version"] + 1, content
        return bool(self.query.get("version") != str(job["version"]))

    def _log_when_there_is_more(self, job: dict[str, Any]) -> tuple[int, Any]:
        """Of the log, or the job is another, or it has ended; else 304."""
        ends_at = time.monotonic() + int(self.query.get("wait", 0))
        while True:
            here = self._log(job)
            if self._is_another(job) or not self.state.waits or here["text"] or here["ended"]:
                return 200, here
            if time.monotonic() >= ends_at:
                return 304, None
            time.sleep(0.01)

    def _fits(self, job: dict[str, Any]) -> bool:
        statuses = self.query.get("status", "")
        named = self.query.get("name", job["name"]) == job["name"]
        in_set = self.query.get("set", job["set"]) == job["set"]
        return named and in_set and (not statuses or job["status"] in statuses.split(","))

    def _log(self, job: dict[str, Any]) -> dict[str, Any]:
        attempt = int(self.query.get("attempt", job["attempt"]))
        log = self.state.logs.get((job["id"], attempt), Log(ended=job["status"] in FINAL))
        tail = self.query.get("tail_bytes")
        offset = max(0, len(log.content) - int(tail)) if tail else int(self.query.get("offset", 0))
        text = log.content[offset : offset + int(self.query["limit_bytes"])]
        return {
            "attempt": attempt,
            "replica": 0,
            "offset": offset,
            "next_offset": offset + len(text),
            "ended": log.ended,
            "size": len(log.content),
            "text": text.decode(errors="replace"),
            "replicas": [],
        }

    def get_nodes(self, path: list[str], body: Any) -> tuple[int, Any]:
        return self._list(self.state.nodes)

    def post_nodes(self, path: list[str], body: Any) -> tuple[int, Any]:
        node = next(node for node in self.state.nodes if node["id"] == path[0])
        node["status"] = {
            "cordon": "cordoned", "drain": "draining", "return": "ready", "revoke-credential": node["status"],
        }[path[1]]  # fmt: skip
        return 200, node

    def get_chips(self, path: list[str], body: Any) -> tuple[int, Any]:
        return self._list(
            [{**chip, "node": node["name"]} for node in self.state.nodes for chip in node["chips"]]
        )

    def get_cluster(self, path: list[str], body: Any) -> tuple[int, Any]:
        chips = {
            "total": 2,
            "allocated_milli": 1500,
            "busy": 1,
            "idle": 1,
            "offline": 0,
            "mean_use_permille": 310,
        }
        return 200, {"cell": "default", "nodes": {"ready": 1, "connected": 1, "total": 1}, "chips": chips}

    def get_usage(self, path: list[str], body: Any) -> tuple[int, Any]:
        amounts = {
            "chip_ms": 5_400_000, "starting_ms": 0, "running_ms": 5_400_000, "stopping_ms": 0, "borrowed_ms": 0,
            "used_ms": 2_700_000, "measured_ms": 5_400_000, "energy_mj": 1_800_000_000,
            "metered_ms": 5_400_000, "attempts": 3, "cost_micro": 3_750_000,
        }  # fmt: skip
        return 200, {
            "from": "2026-03-01", "to": "2026-03-31", "by": ["team"], "currency": "EUR",
            "rows": [{"team": "vision\x1b[31m", **amounts}], "total": amounts,
        }  # fmt: skip

    def _secrets(self, names: list[str], body: Any) -> tuple[int, Any]:
        if self.command == "PUT":
            self.state.secrets[names[0]] = body["value"]
        elif self.command == "DELETE" and self.state.secrets.pop(names[0], None) is None:
            raise Refused(404, "not_found", f"There is no secret {names[0]}.")
        at = "2026-01-02T03:04:05+00:00"
        shown = [
            {"id": "secret-1", "name": name, "team": "vision", "set_by": "ana", "set_at": at, "used_at": None}
            for name in self.state.secrets
        ]
        if self.command == "DELETE":
            return 204, None
        return (
            self._list(shown) if not names else (200, next(one for one in shown if one["name"] == names[0]))
        )

    def delete_teams(self, path: list[str], body: Any) -> tuple[int, Any]:
        return self._secrets(path[2:], body)

    def get_teams(self, path: list[str], body: Any) -> tuple[int, Any]:
        if path[1:2] == ["secrets"]:
            return self._secrets(path[2:], body)
        if path:
            return 200, next(team for team in self.state.teams if team["id"] == path[0])
        return self._list(self.state.teams)

    def put_teams(self, path: list[str], body: Any) -> tuple[int, Any]:
        if path[1] == "secrets":
            return self._secrets(path[2:], body)
        team = next(team for team in self.state.teams if team["id"] == path[0])
        team["quotas"] = [{"used_milli": 0, "over_quota_weight": 1, **quota} for quota in body["quotas"]]
        return 200, team

    def get_tokens(self, path: list[str], body: Any) -> tuple[int, Any]:
        return self._list(self.state.tokens)

    def post_tokens(self, path: list[str], body: Any) -> tuple[int, Any]:
        if self.state.refused_tokens:
            raise Refused(400, "invalid", self.state.refused_tokens)
        made = {
            **body,
            "id": "tok-1",
            "created_at": "2026-01-02T03:04:05+00:00",
            "last_used_at": None,
            "expires_at": "2026-04-02T03:04:05+00:00",
        }
        self.state.tokens.append(made)
        return 201, {**made, "token": TOKEN}

    def delete_tokens(self, path: list[str], body: Any) -> tuple[int, Any]:
        self.state.tokens = [token for token in self.state.tokens if token["id"] != path[0]]
        return 204, None


def _forecast() -> dict[str, str]:
    """A start in 12 to 45 minutes."""
    now = datetime.now(UTC) + timedelta(seconds=30)
    return {
        "p50": (now + timedelta(minutes=12)).isoformat(),
        "p90": (now + timedelta(minutes=45)).isoformat(),
        "made_at": now.isoformat(),
    }


EXPLANATION = {
    "status": "queued",
    "since": "2026-01-02T03:04:05+00:00",
    "queue_position": 2,
    "ahead": 1,
    "sentence": "Needs 8 chips on one node; the emptiest node of pool default has 5 free.",
    "reasons": [{"code": "not_enough_chips", "sentence": "5 of 8 chips are free.", "facts": {"free": 5}}],
}
EVENTS = [
    {
        "id": 2,
        "at": "2026-01-02T03:04:06+00:00",
        "kind": "verdict",
        "from_state": "",
        "to_state": "",
        "attempt": None,
        "reason_code": "",
        "sentence": "5 of 8 chips are free.",
        "facts": {},
        "actor": "scheduler",
    },
    {
        "id": 1,
        "at": "2026-01-02T03:04:05+00:00",
        "kind": "job",
        "from_state": "",
        "to_state": "queued",
        "attempt": None,
        "reason_code": "submitted",
        "sentence": "Submitted by ana.",
        "facts": {},
        "actor": "user:ana",
    },
]


def a_node(name: str = "n1", *, chips: int = 2, simulated: bool = False) -> dict[str, Any]:
    """A node as the API shows it."""
    return {
        "id": f"node-{name}",
        "name": name,
        "pool": "default",
        "state": "ready",
        "status": "ready",
        "contact": "ok",
        "simulated": simulated,
        "images": True,
        "trust": "separate_users",
        "cpu_milli": 2000,
        "used_cpu_milli": 500,
        "memory_mib": 7900,
        "used_memory_mib": 512,
        "use": {"cpu_permille": 310, "memory_mib": 900},
        "topology": [],
        "agent_version": "0.1.0",
        "last_seen_at": "2026-01-02T03:04:05+00:00",
        "chips": [_chip(name, index) for index in range(chips)],
    }


def _chip(node: str, index: int) -> dict[str, Any]:
    job = {"id": "job-1", "name": "train"} if index == 0 else None
    return {
        "id": f"chip-{node}-{index}",
        "index": index,
        "type": "cpu",
        "memory_mib": 3950,
        "healthy": True,
        "health": 100,
        "health_note": "",
        "part_of": None,
        "isolation": ["cooperative"],
        "used_milli": 1000 if job else 0,
        "used_memory_mib": 0,
        "use_permille": 493 if job else 0,
        "live_memory_mib": 812 if job else None,
        "temperature_c": None,
        "power_mw": None,
        "job": job,
    }


def a_team() -> dict[str, Any]:
    """A team as the API shows it."""
    quotas = [
        {
            "chip_type": "cpu",
            "guaranteed_milli": 2000,
            "limit_milli": None,
            "over_quota_weight": 1,
            "used_milli": 2500,
        }
    ]
    return {
        **TEAM,
        "organization": "org-1",
        "role": "owner",
        "quotas": quotas,
        "members": [{"username": "ana", "role": "owner"}],
    }
