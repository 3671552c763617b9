"""Whom the server's processes run as when root starts the platform: `nobody`, as PostgreSQL does.

What faces people and their data (web, scheduler, worker, Valkey) needs no privilege: its socket was bound, its logs
were opened and its secrets were read by the supervisor. The agent stays root: it gives every organization a user of its
own and holds jobs to their limits. The account has to reach the installed code; where that lies behind a folder closed
to others (below `/root`), its processes get mounts of their own that show it, and nothing else, there (`launch.py`).
"""

from __future__ import annotations

import compileall
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ACCOUNT = "nobody"
PROBE_SECONDS = 20
_LAUNCH = Path(__file__).with_name("launch.py")
_ROOTS = tuple(Path(__file__).resolve().parents[index] for index in (2, 3))
"""Where the packages lie: `platform/` and the checkout, or the folder of installed packages."""
_PROBE = """
import importlib.util
import flexai, node_agent.protocol
for name in ("django", "redis", "uvicorn"):
    open(importlib.util.find_spec(name).origin).close()
"""
"""Reads one file of each corner of what is installed, and loads a compiled one: imports of it all would take long."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user and group to take (-1: stay who we are), and the folders that it has to reach."""

    uid: int = -1
    gid: int = -1
    needed: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """What differs in the environment: no home, so that nothing is looked for in ours."""
        return {"HOME": "/nonexistent", "USER": ACCOUNT, "LOGNAME": ACCOUNT} if self.uid >= 0 else {}

    def own(self, folder: Path, mode: int = 0o750) -> None:
        """The folder exists afterwards and is the account's, whosever it was before."""
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(folder, max(self.uid, 0), max(self.gid, 0))
        folder.chmod(mode)


AS_WE_ARE = Account()


def server_account(say: Callable[[str], None]) -> Account:
    """`nobody` under root, if it can run what is installed; else who we are, and `say` is told why."""
    if os.geteuid() != 0:
        return AS_WE_ARE
    found = pwd.getpwnam(ACCOUNT)
    account = Account(found.pw_uid, found.pw_gid, _needed())
    why = _why_not(account)
    if why:
        say(
            f"Web, scheduler, worker and Valkey run as root: {ACCOUNT} cannot run what is installed in {sys.prefix} "
            f"({why}). "
            "Install Flexai where every user may read it, such as below /opt."
        )
        return AS_WE_ARE
    for package in {root / name for root in _ROOTS for name in ("flexai", "scheduler_core", "node_agent")}:
        if package.is_dir() and os.access(package, os.W_OK):
            compileall.compile_dir(package, quiet=2)  # the account cannot keep what it compiles
    return account


def _needed() -> tuple[str, ...]:
    paths = [
        sys.prefix,
        sys.base_prefix,
        os.path.dirname(os.path.realpath(sys.executable)),
        *map(str, _ROOTS),
    ]
    return tuple(dict.fromkeys(paths))


def launch_command(account: Account, death_signal: int, command: Sequence[str]) -> list[str]:
    """The command line that becomes `command` under the account, and ends when its parent, this process, does."""
    settings = [
        str(os.getpid()),
        str(int(death_signal)),
        str(account.uid),
        str(account.gid),
        ":".join(account.needed),
    ]
    return [sys.executable, "-I", "-S", str(_LAUNCH), *settings, *command]


def _why_not(account: Account) -> str:
    """The last line that the account's Python says when it cannot load the platform's code; empty when it can."""
    command = launch_command(account, 9, [sys.executable, "-c", _PROBE])
    try:
        done = subprocess.run(
            command,
            check=False,
            env=os.environ | account.environment,
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "it did not answer in time"
    return (
        "" if done.returncode == 0 else (done.stderr.strip().rpartition("\n")[2] or f"code {done.returncode}")
    )
