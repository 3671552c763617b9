"""Bringing a platform up, step by step, and the address and secrets under which it is then found."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flexai.embedded.accounts import server_account
from flexai.embedded.doors import Door
from flexai.embedded.forking import ForkServer
from flexai.embedded.home import Home, write_private
from flexai.embedded.programs import Options, Programs
from flexai.embedded.supervisor import StartError, Supervisor

READY_SECONDS = 180
"""How long any one part may take to answer; a loaded machine is the slow case."""
BOOTSTRAP_SECONDS = 300
"""How long migrations may take; those of a large database are the slow case."""
REQUEST_SECONDS = 5
_PACKAGE = Path(__file__).resolve().parent.parent

Step = Callable[[str], None]
"""Called with the name of each part as it becomes ready."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform that is up."""

    url: str
    username: str
    password: str
    """Empty when it is not known: the operator was in that database before, with another one."""
    token: str
    """API token of the operator."""
    home: Home
    is_new: bool
    """True when the operator was created by this start."""


def bring_up(supervisor: Supervisor, home: Home, options: Options, door: Door, step: Step) -> Platform:
    """Every process runs and answers, and the nodes asked for are connected. Raises `StartError`,
    `PostgresError`."""
    supervisor.url = door.url
    account = server_account(supervisor.say)
    programs = Programs(home, options, door, supervisor.jobs_pipe, ForkServer(), account)
    supervisor.start(programs.for_forkserver())
    _start_servers(supervisor, programs, step)
    is_new = _bootstrap(supervisor, programs, step)
    for folder in (programs.outputs, programs.machine_code):
        programs.account.own(folder)
    for program in (programs.for_web(), programs.for_scheduler(), programs.for_worker()):
        supervisor.start(program)
    known = _start_known_agents(supervisor, programs)
    health = _Health(door)
    supervisor.wait_until(
        lambda: health.is_good() and supervisor.is_complete,
        what="The web process or the worker",
        seconds=READY_SECONDS,
    )
    step("Web, scheduler and worker")
    token = _working_token(supervisor, programs)
    _start_new_agents(supervisor, programs, token, known)
    expected = _agents(programs)
    if expected:
        nodes = _Nodes(door, token, real=options.with_agent, simulated=_node_count(options.simulate))
        supervisor.wait_until(nodes.are_ready, what="The node agent", seconds=READY_SECONDS)
        step(nodes.sentence())
    return Platform(
        url=door.url,
        username=options.username,
        password=_working_password(home),
        token=token,
        home=home,
        is_new=is_new,
    )


def _start_servers(supervisor: Supervisor, programs: Programs, step: Step) -> None:
    options = programs.options
    database = broker = None
    if not options.database_url:
        programs.postgres.prepare()
        programs.postgres.end_stray_server()
        database = supervisor.start(programs.for_postgres())
    if not options.redis_url:
        programs.account.own(programs.valkey.folder)
        broker = supervisor.start(programs.for_valkey())
    if database is not None:
        programs.postgres.wait_ready(database)
        step("PostgreSQL")
    if broker is not None:
        programs.valkey.wait_ready(broker)
        step("Valkey")


def _bootstrap(supervisor: Supervisor, programs: Programs, step: Step) -> bool:
    """Runs the bootstrap unless it ran before with the same outcome; True when the operator is new."""
    home = programs.home
    home.secret("admin-password", nbytes=15)
    record = home.folder / "bootstrap.json"
    is_new = not record.exists()
    wanted = _fingerprint(programs)
    if not programs.options.database_url and home.token_file.exists() and _recorded(record) == wanted:
        return is_new
    _run_bootstrap(supervisor, programs)
    write_private(record, json.dumps({"fingerprint": wanted}) + "\n")
    step("Database schema")
    return is_new


def _run_bootstrap(supervisor: Supervisor, programs: Programs) -> None:
    """What it was told and what it found are known to nobody else: it may read and write no secrets."""
    home, options = programs.home, programs.options
    asked = {
        "organization": options.organization,
        "teams": list(options.teams),
        "username": options.username,
        "password": home.secret("admin-password"),
    }
    ours, its = socket.socketpair()
    with ours, its:
        ours.sendall(json.dumps(asked).encode())
        ours.shutdown(socket.SHUT_WR)
        supervisor.run_once(programs.for_bootstrap(its.fileno()), seconds=BOOTSTRAP_SECONDS)
        its.close()
        with ours.makefile() as answer:
            keep_outcome(home, json.load(answer))


def keep_outcome(home: Home, found: Mapping[str, object]) -> None:
    """What a bootstrap found is known to later starts."""
    write_private(home.outcome_file, json.dumps({"password_opens": found["password_opens"]}) + "\n")
    write_private(home.token_file, f"{found['token']}\n")


def _fingerprint(programs: Programs) -> str:
    """Changes whenever a migration, a library with migrations, the database, or what is asked for changes."""
    digest = hashlib.sha256()
    for file in sorted(_PACKAGE.glob("*/migrations/*.py")):
        digest.update(str(file.relative_to(_PACKAGE)).encode() + b"\0" + file.read_bytes())
    options = programs.options
    birth = programs.postgres.data / "PG_VERSION"
    parts = [version("django"), options.organization, options.username, *options.teams]
    digest.update(json.dumps([*parts, birth.stat().st_ino if birth.exists() else 0]).encode())
    return digest.hexdigest()


def _recorded(record: Path) -> str:
    try:
        return str(json.loads(record.read_text())["fingerprint"])
    except (OSError, ValueError, KeyError):
        return ""


def _working_password(home: Home) -> str:
    """The one that was given to the operator; empty, and no file says otherwise, when the operator has another."""
    try:
        opens = json.loads(home.outcome_file.read_text())["password_opens"] is True
    except FileNotFoundError:
        opens = True  # the bootstrap of an earlier version made the operator
    if not opens:
        home.password_file.unlink(missing_ok=True)
        return ""
    return home.secret("admin-password")


def _working_token(supervisor: Supervisor, programs: Programs) -> str:
    """The operator's API token; a fresh one when the last has expired or was revoked."""
    home = programs.home
    token = home.token_file.read_text().strip()
    if _ask(programs.door, "GET", "/me", token)[0] == http.client.UNAUTHORIZED:
        _run_bootstrap(supervisor, programs)
        token = home.token_file.read_text().strip()
    return token


# --- agents ---------------------------------------------------------------------------------------------


def _agents(programs: Programs) -> dict[str, str]:
    """Name of each agent asked for, and what it simulates."""
    real = {"agent": ""} if programs.options.with_agent else {}
    return real | ({"agent-simulated": programs.options.simulate} if programs.options.simulate else {})


def _start_known_agents(supervisor: Supervisor, programs: Programs) -> set[str]:
    """Agents that have enrolled at this address need no token: they start beside the web process, whose
    socket already listens."""
    known = {name for name in _agents(programs) if _has_enrolled(programs, name)}
    for name in known:
        _start_agent(supervisor, programs, name, "")
    return known


def _has_enrolled(programs: Programs, name: str) -> bool:
    count = _node_count(programs.options.simulate) if name == "agent-simulated" else 0
    files = [f"sim-{number:03d}.json" for number in range(1, count + 1)] or ["credential.json"]
    return all(_enrolled_at(_folder(programs, name) / file) == programs.door.url for file in files)


def _enrolled_at(credential: Path) -> str:
    try:
        return str(json.loads(credential.read_text())["server"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _start_new_agents(supervisor: Supervisor, programs: Programs, token: str, known: set[str]) -> None:
    for name in _agents(programs):
        if name not in known:
            uses = _node_count(programs.options.simulate) if name == "agent-simulated" else 1
            status, answer = _ask(programs.door, "POST", "/enrolment-tokens", token, body={"uses": uses})
            if status != http.client.CREATED:
                raise StartError(
                    f"The server gave no enrolment token for the {name} (status {status}): {answer}"
                )
            _start_agent(supervisor, programs, name, str(answer["token"]))


def _start_agent(supervisor: Supervisor, programs: Programs, name: str, enrolment_token: str) -> None:
    folder = _folder(programs, name)
    folder.mkdir(exist_ok=True)
    simulate = _agents(programs)[name]
    supervisor.start(programs.for_agent(name, folder, enrolment_token=enrolment_token, simulate=simulate))


def _folder(programs: Programs, name: str) -> Path:
    return programs.home.folder / name


def _node_count(simulate: str) -> int:
    """`16x8:H100-80GB` is 16 nodes."""
    return int(simulate.split("x", 1)[0]) if simulate else 0


class _Nodes:
    """Whether the nodes asked for are connected."""

    def __init__(self, door: Door, token: str, *, real: bool, simulated: int) -> None:
        self._door = door
        self._token = token
        self._real = int(real)
        self._simulated = simulated
        self._next = 0.0
        self._connected = self._chips = 0

    def are_ready(self) -> bool:
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + 0.2
        status, answer = _ask(self._door, "GET", "/cluster", self._token)
        if status != http.client.OK:
            return False
        self._connected, self._chips = answer["nodes"]["connected"], answer["chips"]["total"]
        return self._connected >= self._real + self._simulated

    def sentence(self) -> str:
        """Of all that are connected, whoever brought them."""
        note = f", {self._simulated} of them simulated" if self._simulated else ""
        return f"{_counted(self._connected, 'node')}{note}, {_counted(self._chips, 'chip')}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


class _Health:
    """Whether the platform says that all of it works."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._next = 0.0

    def is_good(self) -> bool:
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + 0.05
        status, answer = _ask(self._door, "GET", "/health", "", seconds=2)
        return status == http.client.OK and answer.get("ok") is True


def _ask(
    door: Door, method: str, path: str, token: str, *, body: object = None, seconds: float = REQUEST_SECONDS
) -> tuple[int, dict[str, Any]]:
    """Status and JSON of one request; status 0 when nobody answered in time. Never raises for a failed
    request."""
    host = door.url.removeprefix("http://").rsplit(":", 1)[0].strip("[]")
    connection = http.client.HTTPConnection(host, door.port, timeout=seconds)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        found = json.loads(response.read())
        return response.status, found if isinstance(found, dict) else {}
    except (OSError, http.client.HTTPException, ValueError):
        return 0, {}
    finally:
        connection.close()
