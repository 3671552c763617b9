"""`flexai outputs`: the files that a job left, listed, brought here, or removed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from flexai.cli import options, output
from flexai.cli.exits import FAILED, OK, USAGE, Refusal
from flexai.cli.references import job_id_of
from flexai.cli.session import connect
from flexai.client import Client
from flexai.client.types import Outputs, is_final

Folder = Annotated[
    Path | None, typer.Option("--download", "-d", help="Bring all files here, into this folder.")
]


def outputs(
    job: Annotated[str, typer.Argument(help="Id or name.")],
    download: Folder = None,
    attempt: Annotated[int | None, typer.Option(min=1, help="An earlier attempt.")] = None,
    timeout: Annotated[
        str, typer.Option(help="How long to wait for files that the node still sends (90s, 10m).")
    ] = "10m",
    remove: Annotated[bool, typer.Option("--remove", help="Keep none of them, of all attempts.")] = False,
    as_json: options.Json = False,
) -> None:
    """List the files that a job left (`outputs` in its spec), or download them."""
    if remove and (download is not None or attempt is not None):
        raise Refusal(
            "--remove stands alone: it removes the files of all attempts.", exit_code=USAGE, code="usage"
        )
    patience = options.seconds(timeout)
    with connect() as client:
        job_id = job_id_of(client, job)
        if remove:
            client.jobs.remove_outputs(job_id)
            output.say("Removed.")
            return
        ended = is_final(client.jobs.get(job_id)["status"])
        found = client.jobs.outputs(job_id, attempt=attempt, patience=patience if ended else 0)
        if download is not None:
            raise typer.Exit(bring(client, job_id, found, download, as_json=as_json))
        if as_json:
            output.emit_json(found)
        else:
            _show(found)


def bring(client: Client, job_id: str, found: Outputs, folder: Path, *, as_json: bool = False) -> int:
    """The files that there are stand in the folder; the exit code says whether they are all."""
    if found["files"]:
        client.jobs.download_outputs(job_id, folder, attempt=found["attempt"], patience=0)
        output.say(f"{_count(found)} in {output.printable(str(folder))}")
    _say(found)
    if as_json:
        output.emit_json(found)
    return OK if found["state"] == "complete" else FAILED


def _show(found: Outputs) -> None:
    if found["files"]:
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("FILE", overflow="fold")
        table.add_column("SIZE", justify="right")
        for file in found["files"]:
            table.add_row(Text(output.printable(file["path"])), output.size(file["size"]))
        output.out().print(table)
        output.say(_count(found), "dim")
    _say(found)


def _say(found: Outputs) -> None:
    for sentence in [*found["said"], *([found["sentence"]] if found["sentence"] else [])]:
        output.say(output.printable(sentence))


def _count(found: Outputs) -> str:
    count = len(found["files"])
    return f"{count} file{'' if count == 1 else 's'}, {output.size(found['bytes'])}"
