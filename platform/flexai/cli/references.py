"""What people type for things, and things in the order that people expect: jobs by id or name (the newest of that
name; `name[3]` is a task of an array, `set-…` is all its jobs), nodes and teams by name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from flexai.cli.exits import NOT_FOUND, Refusal
from flexai.client import Client
from flexai.client.types import Chip, Job, Node, Team, is_final

_TASK = re.compile(r"(?P<name>.+)\[(?P<index>\d{1,9})\]")


def job_id_of(client: Client, reference: str) -> str:
    """The id of this job. Raises Refusal when no job has the name."""
    if reference.startswith("job-"):
        return reference
    for job in client.jobs.list(name=reference, limit=1):
        if job["name"] == reference:
            return job["id"]
    if task := _TASK.fullmatch(reference):
        for job in client.jobs.list(name=task["name"]):
            if job["index"] == int(task["index"]):
                return job["id"]
    raise _none("job", reference, "`flexai ps` lists them")


def live_job_ids(client: Client, references: Iterable[str]) -> list[str]:
    """The ids, each set replaced by its jobs that have not ended."""
    found = []
    for reference in references:
        if reference.startswith("set-"):
            found += [job["id"] for job in jobs_of_set(client, reference) if not is_final(job["status"])]
        else:
            found.append(job_id_of(client, reference))
    return found


def jobs_of_set(client: Client, set_id: str) -> list[Job]:
    """Every job of the set, by index."""
    return sorted(client.jobs.list(set_id=set_id), key=lambda job: job["index"] or 0)


def node_of(client: Client, reference: str) -> Node:
    """The node with this name or id. Raises Refusal."""
    for node in client.nodes.list():
        if reference in (node["id"], node["name"]):
            return node
    raise _none("node", reference, "`flexai nodes` lists them")


def team_of(client: Client, reference: str) -> Team:
    """The team with this name or id. Raises Refusal."""
    for team in client.teams.list():
        if reference in (team["id"], team["name"]):
            return team
    raise _none("team", reference, "`flexai quota` lists them")


def _none(noun: str, reference: str, hint: str) -> Refusal:
    return Refusal(
        f"There is no {noun} {reference!r}.", hint=f"{hint}.", exit_code=NOT_FOUND, code="not_found"
    )


def chips_in_order(client: Client) -> list[Chip]:
    """Every chip, node by node."""
    return sorted(client.chips.list(), key=lambda chip: (chip.get("node", ""), chip["index"]))
