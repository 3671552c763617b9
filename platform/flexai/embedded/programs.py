"""What each process of the platform is run with: command, environment, user, and how it is stopped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flexai.embedded.accounts import AS_WE_ARE, Account
from flexai.embedded.children import Program
from flexai.embedded.doors import Door
from flexai.embedded.forking import ForkServer
from flexai.embedded.home import Home
from flexai.embedded.postgres import Postgres
from flexai.embedded.valkey import Valkey

CELL = 1
"""The embedded platform has one cell, made by migration with this key."""
SERVER_SECRETS = frozenset(
    {
        "DATABASE_URL",
        "REDIS_URL",
        "FLEXAI_SECRET_KEY",
        "FLEXAI_SECRET_KEY_FALLBACKS",
        "FLEXAI_MAIL_URL",
        "FLEXAI_OIDC_CLIENT_SECRET",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    }
)
_LEAN = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "PYTHONUNBUFFERED": "1",
    "PYTHONSAFEPATH": "1",
}
"""One machine: no process needs a BLAS pool of its own or an arena for every thread."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `flexai up` was asked for."""

    host: str = "127.0.0.1"
    port: int | None = None
    with_agent: bool = True
    cpu_chips: bool = False
    """Offer the cores as chips even where there are accelerators."""
    simulate: str = ""
    trust_tenants: bool = False
    database_url: str = ""
    """Empty: an embedded server."""
    redis_url: str = ""
    organization: str = "lab"
    teams: tuple[str, ...] = ("research",)
    username: str = "admin"


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of one installation."""

    home: Home
    options: Options
    door: Door
    jobs_pipe: int
    forkserver: ForkServer
    account: Account = AS_WE_ARE
    """Of Valkey, the fork server, and whoever is forked by it."""

    @property
    def postgres(self) -> Postgres:
        elsewhere = None if self.home.sockets == self.home.folder else self.home.sockets / "postgres"
        return Postgres(self.home.folder / "postgres", elsewhere)

    @property
    def valkey(self) -> Valkey:
        return Valkey(self.home.sockets / "valkey")

    @property
    def machine_code(self) -> Path:
        """Where the engine's loops are kept once they are compiled: nobody may write beside their source."""
        return self.home.folder / "compiled"

    @property
    def outputs(self) -> Path:
        """Where web and worker keep the files that jobs leave, unless a bucket is named."""
        return Path(os.environ.get("FLEXAI_OUTPUTS_DIR") or self.home.folder / "outputs")

    def for_postgres(self) -> Program:
        """Dies by an immediate shutdown, which takes its backends along; stops by a fast one."""
        uid, gid = self.postgres.owner()
        return Program(
            name="postgres",
            command=tuple(self.postgres.command()),
            log=self._log("postgres"),
            stop_signal=signal.SIGINT,
            stop_seconds=30,
            death_signal=signal.SIGQUIT,
            account=Account(uid, gid),
            secret_environment=SERVER_SECRETS,
        )

    def for_valkey(self) -> Program:
        return Program(
            name="valkey",
            command=tuple(self.valkey.command()),
            log=self._log("valkey"),
            account=self.account,
            secret_environment=SERVER_SECRETS,
        )

    def for_forkserver(self) -> Program:
        """Loads the code of all who are forked by it, and has their environment."""
        return self._python(
            "forkserver",
            "flexai.embedded.forkserver",
            str(self.forkserver.line),
            environment=self._server_environment(),
            descriptors=(self.forkserver.line,),
            account=self.account,
        )

    def for_bootstrap(self, line: int) -> Program:
        """Migrations, people, the operator's token; asked and answered over the line."""
        return self._forked("bootstrap", "flexai.embedded.bootstrap:answer", descriptors=(line,))

    def for_web(self) -> Program:
        return self._forked("web", "flexai.embedded.web:main", descriptors=(self.door.listener.fileno(),))

    def for_scheduler(self) -> Program:
        """Runs the cell's loop."""
        return self._forked("scheduler", "flexai.embedded.worker:main", f"cell.{CELL}")

    def for_worker(self) -> Program:
        """Takes all other tasks, and ticks."""
        return self._forked("worker", "flexai.embedded.worker:main", "platform")

    def for_agent(self, name: str, folder: Path, *, enrolment_token: str, simulate: str) -> Program:
        """An agent gets none of the server's secrets, and no way to the database or the broker."""
        arguments = [
            "--server",
            self.door.url,
            "--data-dir",
            str(folder),
            "--supervisor-fd",
            str(self.jobs_pipe),
        ]
        if simulate:
            arguments += ["--simulate", simulate]
        elif self.options.cpu_chips:
            arguments.append("--cpu-chips")
        return self._python(
            name,
            "node_agent",
            *arguments,
            environment=_LEAN | ({"FLEXAI_ENROL_TOKEN": enrolment_token} if enrolment_token else {}),
            descriptors=(self.jobs_pipe,),
            secret_environment=SERVER_SECRETS,
        )

    def _python(
        self,
        name: str,
        module: str,
        *arguments: str,
        environment: Mapping[str, str],
        descriptors: tuple[int, ...] = (),
        secret_environment: frozenset[str] = frozenset(),
        account: Account = AS_WE_ARE,
    ) -> Program:
        return Program(
            name=name,
            command=(sys.executable, "-m", module, *arguments),
            log=self._log(name),
            environment=environment,
            descriptors=descriptors,
            secret_environment=secret_environment,
            account=account,
        )

    def _forked(self, name: str, *command: str, descriptors: tuple[int, ...] = ()) -> Program:
        return Program(
            name=name,
            command=command,
            log=self._log(name),
            descriptors=descriptors,
            forked_by=self.forkserver,
        )

    def _server_environment(self) -> dict[str, str]:
        separate_users = os.geteuid() == 0
        return _LEAN | {
            "DJANGO_SETTINGS_MODULE": "flexai.config.settings",
            "DATABASE_URL": self.options.database_url or self.postgres.url,
            "REDIS_URL": self.options.redis_url or self.valkey.url,
            "FLEXAI_SECRET_KEY": self.home.secret("secret-key"),
            "FLEXAI_DATA_DIR": str(self.home.folder),
            "FLEXAI_OUTPUTS_DIR": str(self.outputs),
            "NUMBA_CACHE_DIR": str(self.machine_code),
            "FLEXAI_ALLOWED_HOSTS": os.environ.get("FLEXAI_ALLOWED_HOSTS")
            or ",".join(self.door.allowed_hosts()),
            "FLEXAI_PUBLIC_URL": os.environ.get("FLEXAI_PUBLIC_URL") or self.door.url,
            "FLEXAI_SINGLE_ORGANIZATION": "0" if separate_users or self.options.trust_tenants else "1",
        }

    def _log(self, name: str) -> Path:
        return self.home.logs / f"{name}.log"
