"""Which server, and as whom: the environment, then the login, then a platform on this machine.

A token is only ever sent to the server that it was stored for.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from flexai.cli import output
from flexai.cli.exits import NOT_ALLOWED, Refusal
from flexai.client import Client


@dataclass(frozen=True, slots=True)
class Login:
    """A server and a token; `source` says where they were found, for messages."""

    url: str
    token: str
    source: str


def connect(*, timeout: float = 30.0) -> Client:
    """A client for the current login. Raises Refusal when there is none."""
    login = current_login()
    return Client(login.url, login.token, timeout=timeout)


def current_login() -> Login:
    """Where this command goes. Raises Refusal with what to do when nobody is signed in."""
    url, token = os.environ.get("FLEXAI_URL"), os.environ.get("FLEXAI_TOKEN")
    if url and token:
        return Login(url, token, "the environment")
    stored = [
        login for login in (_read(config_file(), "the login"), _read(local_file(), "flexai up")) if login
    ]
    if url:
        stored = [login for login in stored if login.url.rstrip("/") == url.rstrip("/")]
    if stored:
        return Login(stored[0].url, token, "the environment") if token else stored[0]
    where = f" at {url}" if url else ""
    raise Refusal(
        f"Not signed in{where}.",
        hint="Sign in with `flexai login URL`, or start a platform here with `flexai up`.",
        exit_code=NOT_ALLOWED,
        code="not_signed_in",
    )


def store(url: str, token: str) -> Path:
    """The login is on disk afterwards, readable by its owner alone; the file's path."""
    path = config_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"url": url.rstrip("/"), "token": token}, file)
    unfinished.replace(path)
    return path


def forget() -> bool:
    """No login is on disk afterwards; True when there was one."""
    existed = config_file().exists()
    config_file().unlink(missing_ok=True)
    return existed


def config_file() -> Path:
    """Where `flexai login` keeps its answer."""
    return _folder() / "login.json"


def local_file() -> Path:
    """Where a running `flexai up` says how to reach it: a link to `client.json` in its data directory."""
    return _folder() / "local.json"


def told_file() -> Path:
    """Where it is kept which announcements were said here."""
    return _folder() / "announcements.json"


def _folder() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "flexai"


def _read(path: Path, source: str) -> Login | None:
    try:
        mode = path.stat().st_mode
        content = json.loads(path.read_text(encoding="utf-8"))
        login = Login(str(content["url"]), str(content["token"]), source)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise Refusal(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(
            f"{path} is damaged.", hint="Delete it and sign in again with `flexai login URL`."
        ) from error
    if stat.S_IMODE(mode) & 0o077:
        output.say(f"Warning: others on this machine can read {path}; run `chmod 600 {path}`.", "yellow")
    return login
