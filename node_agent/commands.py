"""`flexai agent`: runs the agent on this machine."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Annotated, NoReturn

import typer

MISSING_EXTRA = 3
CANNOT_BEGIN = 1
WRONG_USE = 2


def agent(
    server: Annotated[
        str,
        typer.Option(
            envvar="FLEXAI_SERVER_URL", help="Where the platform is, e.g. https://flexai.example.org."
        ),
    ] = "",
    enrol_token: Annotated[
        str, typer.Option(envvar="FLEXAI_ENROL_TOKEN", help="One-time token; needed at the first start only.")
    ] = "",
    name: Annotated[str, typer.Option(help="The node's name; by default the host's.")] = "",
    data_dir: Annotated[
        Path | None, typer.Option(help="Where credential, spool and job directories are kept.")
    ] = None,
    simulate: Annotated[
        str, typer.Option(help="Simulated nodes instead of this machine, e.g. 16x8:H100-80GB.")
    ] = "",
    supervisor_fd: Annotated[
        int | None, typer.Option(help="Read end of a pipe; when it closes, agent and replicas end.")
    ] = None,
    topology: Annotated[
        str, typer.Option(help="Where the node stands, outermost first: zone/block/rack.")
    ] = "",
    cpu_chips: Annotated[
        bool, typer.Option(help="Offer the cores as chips even if there are accelerators.")
    ] = False,
    cdi_dir: Annotated[
        list[str] | None,
        typer.Option(help="Where CDI files lie; may be repeated. By default /etc/cdi and /var/run/cdi."),
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve this machine's chips to the platform. Ends on SIGTERM; running replicas live on and are found again."""
    _set_up_logging(log_level)
    if not server:
        _fail("Missing --server (or FLEXAI_SERVER_URL): the address of the platform.", WRONG_USE)
    if not server.startswith(("http://", "https://")):
        _fail(f"--server {server!r} must begin with http:// or https://.", WRONG_USE)
    try:
        from node_agent import cdi, daemon, datadir, enrol, forking
        from node_agent.drivers.simulated import Shape
    except ModuleNotFoundError as error:
        _fail(f"The agent needs {error.name}: pip install 'flexai[agent]'.", MISSING_EXTRA)
    try:
        shape = Shape.parse(simulate) if simulate else None
    except ValueError as error:
        _fail(f"--simulate: {error}.", WRONG_USE)
    settings = daemon.Settings(
        server=server.rstrip("/"),
        data_dir=data_dir or _default_data_dir(),
        name=name or socket.gethostname(),
        enrol_token=enrol_token or None,
        simulate=shape,
        supervisor_fd=_checked_descriptor(supervisor_fd),
        cpu_chips=cpu_chips,
        topology=tuple(part for part in topology.split("/") if part),
        cdi_folders=tuple(cdi_dir) if cdi_dir else cdi.FOLDERS,
    )
    try:
        daemon.run(settings)
    except (datadir.DataDirError, enrol.EnrolRefusedError, forking.ForkServerError) as error:
        _fail(str(error), CANNOT_BEGIN)


def _default_data_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/flexai-agent")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "flexai-agent"


def _checked_descriptor(fd: int | None) -> int | None:
    if fd is None:
        return None
    try:
        os.fstat(fd)
    except OSError:
        _fail(f"--supervisor-fd {fd} is not an open descriptor.", WRONG_USE)
    return fd


def _set_up_logging(level: str) -> None:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        _fail(f"--log-level {level!r} is none of debug, info, warning, error.", WRONG_USE)
    logging.basicConfig(level=number, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("websockets").setLevel(max(number or 0, logging.WARNING))


def _fail(sentence: str, code: int) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(code)
