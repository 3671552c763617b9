"""`flexai run` and `flexai apply`: make specs, submit them, wait if asked."""

from __future__ import annotations

import os
import shlex
import sys
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.text import Text

from flexai.cli import keeping, options, ordering, output, schedules, waiting
from flexai.cli.exits import FAILED, INTERRUPTED, NOT_STARTED, OK, USAGE, Refusal
from flexai.cli.session import connect
from flexai.cli.specfiles import read_specs, read_text
from flexai.client import Client
from flexai.client.outputs import PATIENCE_SECONDS
from flexai.client.types import DryRun, Spec, Submitted

Wait = Annotated[bool, typer.Option("--wait", "-w", help="Stream the log; exit with the run's exit code.")]
Timeout = Annotated[
    str | None,
    typer.Option(
        help="With --wait: stop the job when it has not started after this long (90s, 10m); exit code 75."
    ),
]
DryRunFlag = Annotated[
    bool, typer.Option("--dry-run", help="Only say whether it fits and what would be submitted.")
]
Key = Annotated[
    str | None,
    typer.Option("--idempotency-key", help="The same key is the same job, however often it is sent."),
]
Download = Annotated[
    Path | None,
    typer.Option("--download", "-d", help="With --wait: bring the files that the job left into this folder."),
]


def run(
    command: Annotated[
        list[str], typer.Argument(help="What to run, after `--`.", metavar="-- COMMAND [ARG]...")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the job.")] = None,
    team: Annotated[str | None, typer.Option(help="Team that pays.", envvar="FLEXAI_TEAM")] = None,
    accelerators: Annotated[
        str | None, typer.Option("--accelerators", "-a", help="Chips per replica: H100:8.")
    ] = None,
    fraction: Annotated[str | None, typer.Option(help="A slice of one chip: 0.5.")] = None,
    chip_memory: Annotated[str | None, typer.Option(help="A slice by its memory: 10GB.")] = None,
    cpus: Annotated[str | None, typer.Option(help="Host cores per replica: 4 or 0.5.")] = None,
    memory: Annotated[str | None, typer.Option(help="Host memory per replica: 16GB.")] = None,
    shm_size: Annotated[
        str | None, typer.Option(help="Room in /dev/shm, with --image: 8GB. By default as much as --memory.")
    ] = None,
    nodes: Annotated[str | None, typer.Option(help="Replicas: 4.")] = None,
    same_node: Annotated[bool, typer.Option("--same-node", help="Replicas may share a node.")] = False,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", help="K=V, or K to take its value from here. Repeatable."),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            help="A secret of the team as a variable: HF_TOKEN, or WANDB_API_KEY=wandb. Repeatable."
        ),
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Run it in this image: docker.io/library/python:3.12.")
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option("--file", help="Local text file to send along: train.py or sub/x.py=./x.py."),
    ] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="K=V. Repeatable.")] = None,
    pool: Annotated[list[str] | None, typer.Option(help="Allowed node pool. Repeatable.")] = None,
    array: Annotated[str | None, typer.Option(help="Indices and how many at once: 0-99%10.")] = None,
    matrix: Annotated[
        list[str] | None,
        typer.Option(help="A task for each combination: lr=0.1,0.01. Repeatable."),
    ] = None,
    priority: Annotated[str | None, typer.Option(help="low, normal, high, or 0 to 100.")] = None,
    preemptible: Annotated[bool, typer.Option("--preemptible", help="May be taken back.")] = False,
    max_duration: Annotated[str | None, typer.Option(help="Longest run time: 2h.")] = None,
    deadline: Annotated[
        str | None, typer.Option(help="Over by then: 4h from now, or 2026-01-31T18:00Z.")
    ] = None,
    retries: Annotated[int | None, typer.Option(help="New attempts after a failure.")] = None,
    after: Annotated[
        list[str] | None,
        typer.Option(help="Start when this job has succeeded; afterany:JOB, afternotok:JOB. Repeatable."),
    ] = None,
    outputs: Annotated[
        list[str] | None, typer.Option("--outputs", help="Files to keep: results/**, junit.xml. Repeatable.")
    ] = None,
    hold: Annotated[bool, typer.Option("--hold", help="Wait for `flexai resume`.")] = False,
    wait: Wait = False,
    timeout: Timeout = None,
    download: Download = None,
    dry_run: DryRunFlag = False,
    idempotency_key: Key = None,
    as_json: options.Json = False,
) -> None:
    """Submit a command as a job: flexai run -a H100:8 --wait -- python train.py --epochs 3"""
    resources = {
        "accelerators": accelerators,
        "fraction": fraction and options.number(fraction),
        "chip_memory": chip_memory,
        "cpus": cpus and options.number(cpus),
        "memory": memory,
        "shm_size": shm_size,
    }
    spec = {
        "name": name,
        "team": team,
        "image": image,
        "commands": [_command_line(command)],
        "env": dict(_variable(item) for item in env or []),
        "secrets": dict(_secret(item) for item in secret or []),
        "files": dict(_file(item) for item in file or []),
        "labels": dict(options.pair(item, "a label") for item in label or []),
        "resources": _given(resources),
        "nodes": nodes and _nodes(nodes),
        "spread": False if same_node else None,
        "node_pools": pool or [],
        "array": array,
        "matrix": {name: values.split(",") for name, values in (_list(item) for item in matrix or [])},
        "priority": int(priority) if priority and priority.isdecimal() else priority,
        "preemptible": preemptible or None,
        "max_duration": max_duration,
        "deadline": deadline,
        "retry": None if retries is None else {"limit": retries},
        "depends_on": [_after(item) for item in after or []],
        "hold": hold or None,
        "outputs": outputs or [],
    }
    seconds = _timeout(timeout, wait)
    _check_download(download, wait, [_given(spec)])
    with connect() as client:
        if dry_run:
            raise typer.Exit(_tell_dry_run(client, [("", _given(spec))], as_json))
        made = client.jobs.submit_array(_given(spec), idempotency_key=idempotency_key)
        code = _after_submit(client, [made], wait=wait, timeout=seconds, as_json=as_json, single=True)
        raise typer.Exit(_with_files(client, made, code, download))


def apply(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="YAML or JSON, several documents too; - is stdin."),
    ] = None,
    file: Annotated[list[str] | None, typer.Option("--file", "-f", help="The same.")] = None,
    wait: Wait = False,
    timeout: Timeout = None,
    download: Download = None,
    dry_run: DryRunFlag = False,
    idempotency_key: Key = None,
    as_json: options.Json = False,
) -> None:
    """Submit the jobs that files describe. When one of several is wrong, none is submitted."""
    sources = [*(files or ()), *(file or ())]
    if not sources:
        hint = "Give a file: flexai apply job.yaml, or - for standard input."
        raise Refusal("Nothing was submitted: no file is named.", hint=hint, exit_code=USAGE, code="usage")
    specs = [spec for source in sources for spec in read_specs(source)]
    ordering.check_order(specs)
    seconds = _timeout(timeout, wait)
    _check_download(download, wait, [spec for _, spec in specs])
    with connect() as client:
        if dry_run:
            raise typer.Exit(_tell_dry_run(client, specs, as_json))
        planned = [spec for _, spec in specs if spec.get("schedule") is not None]
        if planned:
            _make_schedules(client, specs, planned, as_json)
            return
        if len(specs) > 1:
            _check_all(client, specs)
        made = _submit_all(client, specs, idempotency_key or str(uuid.uuid4()))
        code = _after_submit(client, made, wait=wait, timeout=seconds, as_json=as_json, single=False)
        raise typer.Exit(_with_files(client, made[0], code, download))


def _check_download(folder: Path | None, wait: bool, specs: list[Spec]) -> None:
    if folder is None:
        return
    why = "" if wait else "comes after --wait: give both"
    if len(specs) > 1 or any(spec.get(key) for spec in specs for key in ("array", "matrix", "schedule")):
        why = "is for one job; `flexai outputs JOB --download` brings the files of any"
    elif not specs[0].get("outputs"):
        why = "finds nothing: the spec names no `outputs`"
    if why:
        raise Refusal(f"--download {why}.", exit_code=USAGE, code="usage")


def _with_files(client: Client, made: Submitted, code: int, folder: Path | None) -> int:
    """The files are here too, where somebody asked for them; the job's exit code comes before that of the download."""
    if folder is None or code in (INTERRUPTED, NOT_STARTED):
        return code
    job_id = made["jobs"][0]["id"]
    found = client.jobs.outputs(job_id, patience=PATIENCE_SECONDS)
    brought = keeping.bring(client, job_id, found, folder)
    return code or brought


def _make_schedules(
    client: Client, specs: list[tuple[str, Spec]], planned: list[Spec], as_json: bool
) -> None:
    if len(planned) < len(specs):
        raise Refusal(
            "Some of the specs have a `schedule` and some have none.",
            hint="Put them into files of their own; nothing was submitted.",
            exit_code=USAGE,
            code="usage",
        )
    made = [client.schedules.create(spec) for spec in planned]
    if as_json:
        output.emit_json(made)
        return
    for one in made:
        schedules.tell(one, as_json=False)
        sys.stdout.write(one["id"] + "\n")


def _submit_all(client: Client, specs: list[tuple[str, Spec]], key: str) -> list[Submitted]:
    """One by one, in their order: what waits for an earlier one waits for exactly that one."""
    made: list[Submitted] = []
    ids: dict[object, str] = {}
    for number, (_, spec) in enumerate(specs):
        own = key if len(specs) == 1 else f"{key}-{number}"
        submitted = client.jobs.submit_array(ordering.with_ids(spec, ids), idempotency_key=own)
        made.append(submitted)
        ids[spec.get("name")] = submitted["set"] or submitted["jobs"][0]["id"]
    return made


def _after_submit(
    client: Client, made: list[Submitted], *, wait: bool, timeout: float | None, as_json: bool, single: bool
) -> int:
    for submitted in made:
        _tell_submitted(submitted)
    code = OK
    if wait:
        code = _wait_for_all(client, made, timeout, as_json)
    if as_json:
        answers = [_as_json(client, submitted, fresh=wait) for submitted in made]
        output.emit_json(answers[0] if single else answers)
    elif not wait:
        for submitted in made:
            sys.stdout.write((submitted["set"] or submitted["jobs"][0]["id"]) + "\n")
    return code


def _wait_for_all(client: Client, made: list[Submitted], timeout: float | None, as_json: bool) -> int:
    """The first exit code that is not 0, in the order of the specs."""
    write = _to_stderr if as_json else output.write_log
    codes = []
    try:
        for submitted in made:
            if submitted["set"]:
                codes.append(waiting.wait_for_set(client, submitted, timeout=timeout))
            else:
                job = submitted["jobs"][0]
                codes.append(waiting.wait_and_exit_code(client, job, timeout=timeout, write=write))
    except KeyboardInterrupt:
        job_id = made[len(codes)]["jobs"][0]["id"]
        output.say(
            f"\nThe job goes on. See it with `flexai logs -f {job_id}`, end it with `flexai stop {job_id}`."
        )
        return INTERRUPTED
    return next((code for code in codes if code), OK)


def _tell_submitted(made: Submitted) -> None:
    job = made["jobs"][0]
    text = Text.assemble(("Submitted ", "bold"), output.printable(job["name"]))
    if made["set"]:
        text.append(f": {made['count']} jobs in {made['set']}")
    if job["sentence"]:
        text.append(f"\n{output.printable(job['sentence'])}", style="dim")
    output.err().print(text)


def _as_json(client: Client, made: Submitted, *, fresh: bool) -> object:
    if made["set"]:
        return made
    return client.jobs.get(made["jobs"][0]["id"]) if fresh else made["jobs"][0]


def _check_all(client: Client, specs: list[tuple[str, Spec]]) -> None:
    """Raises Refusal, naming the document, when one would not be accepted."""
    for place, (where, spec) in enumerate(specs):
        answer = _dry_run(client, where, ordering.without(spec, _names(specs[:place])))
        if not answer["fits"]:
            raise Refusal(f"{where}: {answer['sentence']}", hint="Nothing was submitted.", code="never_fits")


def _names(specs: list[tuple[str, Spec]]) -> set[object]:
    return {spec["name"] for _, spec in specs if isinstance(spec.get("name"), str)}


def _dry_run(client: Client, where: str, spec: Spec) -> DryRun:
    try:
        return client.jobs.dry_run(spec)
    except Exception as error:
        if where:
            error.add_note(f"{where}; nothing was submitted.")
        raise


def _tell_dry_run(client: Client, specs: list[tuple[str, Spec]], as_json: bool) -> int:
    answers = [
        _dry_run(client, where, ordering.without(spec, _names(specs[:place])))
        for place, (where, spec) in enumerate(specs)
    ]
    if as_json:
        output.emit_json(answers[0] if len(answers) == 1 else answers)
    for (where, _), answer in zip(specs, answers, strict=True):
        status, said = ("succeeded", "fits") if answer["fits"] else ("failed", "does not fit")
        word = output.status_text(status, word=said)
        prefix = f"  {where}: " if len(specs) > 1 else "  "
        output.err().print(Text.assemble(word, prefix, output.printable(answer["sentence"])))
        for sentence in (answer["outlook"] or {"sentences": []})["sentences"]:
            output.say(f"  {output.printable(sentence)}")
        for alternative in answer["alternatives"]:
            output.say(f"  Or: {output.printable(alternative['sentence'])}")
            output.say(f"      {output.printable(_as_yaml(alternative['patch']))}", "dim")
        for rounding in answer["roundings"]:
            output.say(f"  {output.printable(rounding)}", "dim")
        for warning in answer["warnings"]:
            output.say(f"  {output.printable(warning)}", "yellow")
    return OK if all(answer["fits"] for answer in answers) else FAILED


def _as_yaml(patch: Spec) -> str:
    """In one line, as it would stand in a spec."""
    return (
        yaml.safe_dump(patch, default_flow_style=True, width=1000).strip().removeprefix("{").removesuffix("}")
    )


def _timeout(text: str | None, wait: bool) -> float | None:
    if text is None:
        return None
    if not wait:
        raise Refusal("--timeout says how long --wait waits: give both.", exit_code=USAGE, code="usage")
    return options.seconds(text)


def _command_line(words: list[str]) -> str:
    """One word is a line for the shell as it stands; several are quoted, to arrive as given."""
    return words[0] if len(words) == 1 else shlex.join(words)


def _secret(text: str) -> tuple[str, str]:
    """The variable, and the secret's name."""
    return options.pair(text, "a secret") if "=" in text else (text, text)


def _variable(text: str) -> tuple[str, str]:
    if "=" in text:
        return options.pair(text, "a variable")
    if text not in os.environ:
        raise typer.BadParameter(f"{text} is not set here: write {text}=VALUE.")
    return text, os.environ[text]


def _file(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    local = Path(path or name)
    if not path and local.is_absolute():
        name = local.name
    return name, read_text(local, "The file")


def _nodes(text: str) -> int | dict[str, int]:
    least, dash, most = text.partition("-")
    if not least.isdecimal() or (dash and not most.isdecimal()):
        raise typer.BadParameter(f"{text!r} is not a number of replicas: write 4 or 2-8.")
    return {"min": int(least), "max": int(most)} if dash else int(least)


def _after(text: str) -> dict[str, str]:
    """`afterany:JOB` as Slurm writes it; a job alone has to succeed."""
    word, colon, job = text.partition(":")
    return {"job": job, "on": word} if colon and word.startswith("after") else {"job": text}


def _list(text: str) -> tuple[str, str]:
    return options.pair(text, "a list of values")


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what was not given: the server knows the defaults."""
    return {key: value for key, value in fields.items() if value is not None and value not in ("", {}, [])}


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
