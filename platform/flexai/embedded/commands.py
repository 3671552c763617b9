"""`flexai up` and `flexai demo` as the command line calls them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from flexai.embedded.demo import TEAMS, Demo
from flexai.embedded.demo import as_json as demo_as_json
from flexai.embedded.demo_lending import Scene
from flexai.embedded.demo_screen import show, summary
from flexai.embedded.doors import Door, DoorError, open_door
from flexai.embedded.home import Home, HomeError, default_folder
from flexai.embedded.local_login import announce, withdraw
from flexai.embedded.postgres import PostgresError
from flexai.embedded.programs import Options
from flexai.embedded.simulated import InvalidSimulation, parse_simulation
from flexai.embedded.starting import Platform, bring_up
from flexai.embedded.supervisor import StartError, StopAsked, Supervisor
from flexai.embedded.valkey import ValkeyError

Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network of this machine.")]
Port = Annotated[
    int | None,
    typer.Option(min=1, max=65535, help="Port of the dashboard and API. [default: the first free from 8000]"),
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where everything is kept. [default: ~/.local/share/flexai, as root /var/lib/flexai]"),
]
NoAgent = Annotated[bool, typer.Option("--no-agent", help="Do not make this machine a node.")]
Simulate = Annotated[
    str, typer.Option(metavar="NODESxCHIPS:TYPE", help="Add simulated nodes, such as 16x8:H100-80GB.")
]
TrustTenants = Annotated[
    bool,
    typer.Option(
        "--trust-tenants", help="Without root: allow several organizations, whose jobs all run as one user."
    ),
]


LAST_REQUEST_SECONDS = 3
"""After Ctrl-C: how long the demo's last request may take; its server may be gone already."""


def up(
    host: Host = "127.0.0.1",
    port: Port = None,
    data_dir: DataDir = None,
    no_agent: NoAgent = False,
    simulate: Simulate = "",
    trust_tenants: TrustTenants = False,
) -> None:
    """Start the whole platform on this machine; Ctrl-C stops it.

    DATABASE_URL and REDIS_URL, when set, name servers to use instead of embedded ones.
    """
    options = Options(
        host=host, port=port, with_agent=not no_agent, simulate=simulate, trust_tenants=trust_tenants,
        database_url=os.environ.get("DATABASE_URL", ""), redis_url=os.environ.get("REDIS_URL", ""),
    )  # fmt: skip
    console = Console(highlight=False)
    with running(options, data_dir, console) as session:
        tell_address(session.platform, console)
        console.print("Ctrl-C stops it.")
        session.supervisor.run()


def demo(
    host: Host = "127.0.0.1",
    port: Port = None,
    data_dir: DataDir = None,
    stop_after: Annotated[
        bool,
        typer.Option("--exit", help="Stop after the summary; code 0 only if every job ended as expected."),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Put one JSON object on the last line of standard output, prose on stderr."
        ),
    ] = False,
) -> None:
    """Start the platform and run sample jobs through it; the dashboard stays open until Ctrl-C."""
    console = Console(highlight=False, stderr=as_json)
    options = Options(
        host=host, port=port, cpu_chips=True, teams=TEAMS,
        database_url=os.environ.get("DATABASE_URL", ""), redis_url=os.environ.get("REDIS_URL", ""),
    )  # fmt: skip
    with running(options, data_dir, console) as session:
        tell_address(session.platform, console)
        ended = _run_demo(session, console)
        if as_json:
            print(json.dumps(demo_as_json(ended)), flush=True)
        if not stop_after and not session.supervisor.is_asked_to_stop:
            tell_address(session.platform, console)
            console.print("The dashboard stays open. Ctrl-C stops it.")
            _lend_a_chip(session, console)
            session.supervisor.run()
    if not ended.ok:
        raise typer.Exit(1)


def _run_demo(session: Session, console: Console) -> Demo:
    """The jobs run in one thread and the table in another; this one keeps the platform running."""
    started = Demo(session.platform.url, session.platform.token)
    screen = threading.Thread(target=show, args=(started, console, time.sleep), daemon=True)
    jobs = threading.Thread(target=started.run, args=(session.supervisor.wake,), daemon=True)
    screen.start()
    jobs.start()
    session.supervisor.run(until=started.done.is_set)
    started.stopping.set()
    jobs.join(LAST_REQUEST_SECONDS)
    screen.join(LAST_REQUEST_SECONDS)
    console.print(summary(started))
    return started


def _lend_a_chip(session: Session, console: Console) -> None:
    """The second act runs in a thread, beside the platform that this one keeps running."""
    scene = Scene(lambda line: console.print(escape(line), soft_wrap=True))
    about = (session.platform.url, session.platform.token)
    threading.Thread(target=scene.play, args=about, daemon=True).start()


@dataclass(frozen=True, slots=True)
class Session:
    """A platform that is up, and the supervisor that keeps it so."""

    platform: Platform
    supervisor: Supervisor


@contextmanager
def running(options: Options, data_dir: Path | None, console: Console) -> Iterator[Session]:
    """A platform that runs inside the `with`, and is stopped in order after it. What keeps it from running is
    said, and ends the command with code 1."""
    home = Home((data_dir or default_folder()).expanduser().absolute())
    try:
        parse_simulation(options.simulate)
        home.prepare()
        held = _hold(home)
        door = open_door(options.host, options.port)
    except (HomeError, DoorError, InvalidSimulation) as error:
        raise _refused(error, console) from error
    supervisor = Supervisor(home, say=lambda sentence: console.print(f"[yellow]![/] {escape(sentence)}"))
    supervisor.listen_to_signals()
    try:
        session = Session(_brought_up(supervisor, home, options, door, console), supervisor)
        announce(home, session.platform.url, session.platform.token)
        yield session
    except StopAsked:
        raise typer.Exit(130) from None
    except (StartError, PostgresError, ValkeyError) as error:
        raise _refused(error, console) from error
    finally:
        console.print("Stopping …")
        withdraw(home)
        supervisor.stop()
        door.listener.close()
        os.close(held)
        console.print("Stopped.")


def _hold(home: Home) -> int:
    descriptor = home.lock()
    if descriptor is None:
        other = home.running()
        where = f" at {other.url} (process {other.pid})" if other else ""
        raise HomeError(
            f"Flexai already runs on {home.folder}{where}. Use that one, or give another --data-dir."
        )
    return descriptor


def _brought_up(
    supervisor: Supervisor, home: Home, options: Options, door: Door, console: Console
) -> Platform:
    began = time.monotonic()

    def step(text: str) -> None:
        console.print(f"[green]✓[/] {text} [dim]{time.monotonic() - began:.1f} s[/]")

    with console.status(f"Starting Flexai in {home.folder} …"):
        return bring_up(supervisor, home, options, door, step)


def tell_address(platform: Platform, console: Console) -> None:
    """Where the platform is and how to sign in."""
    console.print()
    console.print(f"  Dashboard  [bold]{platform.url}[/]")
    console.print(f"  User       [bold]{platform.username}[/]")
    if not platform.password:
        console.print("  Password   [dim]as it was: this user was in the database before[/]", soft_wrap=True)
    elif platform.is_new:
        where = f"[dim]also in {platform.home.password_file}[/]"
        console.print(f"  Password   [bold]{platform.password}[/]  {where}", soft_wrap=True)
    else:
        console.print(
            f"  Password   [dim]the first one is in[/] {platform.home.password_file}", soft_wrap=True
        )
    console.print()


def _refused(error: Exception, console: Console) -> typer.Exit:
    console.print(f"[red]✗[/] {escape(str(error))}", soft_wrap=True)
    return typer.Exit(1)
