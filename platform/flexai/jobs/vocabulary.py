"""The words of the job spec: those built, those known but not built yet, and what people write instead.

A field that is not built is refused by name, never ignored; an unknown key names the nearest known one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from flexai.common.errors import FieldError

BUILT: Mapping[str, frozenset[str]] = {
    "": frozenset(
        {
            "name", "team", "type", "image", "commands", "working_dir", "files", "env", "resources", "nodes", "spread",
            "node_pools", "priority", "preemptible", "min_runtime", "lend", "hold", "start_after",
            "max_duration", "deadline",
            "retry", "lease", "checkpoint", "array", "labels", "utilization_policy", "idle_timeout", "depends_on",
            "matrix", "schedule", "right_size", "outputs", "notify", "stragglers", "secrets",
        }
    ),
    "resources": frozenset(
        {
            "accelerators", "fraction", "chip_memory", "isolation", "cpus", "memory", "any_of", "choose", "shm_size",
        }
    ),
    "resources.any_of": frozenset(
        {"accelerators", "fraction", "chip_memory", "isolation", "cpus", "memory"}
    ),
    "retry": frozenset({"limit", "on", "exit_codes"}),
    "checkpoint": frozenset({"path", "signal", "grace_period"}),
    "nodes": frozenset({"min", "max"}),
    "utilization_policy": frozenset({"min_utilization", "window", "action"}),
    "stragglers": frozenset({"action", "below", "window", "moves"}),
    "schedule": frozenset({"cron", "timezone", "catch_up", "overlap"}),
    "depends_on": frozenset({"job", "on", "otherwise"}),
    "lend": frozenset({"to", "after"}),
    "notify": frozenset({"on", "mail", "webhook"}),
}  # fmt: skip
"""Keys by the object they stand in."""

NOT_BUILT: Mapping[str, frozenset[str]] = {
    "": frozenset(
        {
            "setup", "topology", "ports",
            "instances", "scaling", "probes", "volumes",
        }
    ),
    "resources": frozenset({"disk"}),
}  # fmt: skip

SAID_ELSEWHERE: Mapping[str, str] = {
    "gpus": "resources.accelerators",
    "gpu": "resources.accelerators",
    "chips": "resources.accelerators",
    "npus": "resources.accelerators",
    "cmd": "commands",
    "run": "commands",
    "script": "commands",
    "args": "commands",
    "project": "team",
    "account": "team",
    "queue": "team",
    "partition": "node_pools",
    "pool": "node_pools",
    "environment": "env",
    "envs": "env",
    "secret": "secrets",
    "env_secrets": "secrets",
    "credentials": "secrets",
    "replicas": "nodes",
    "num_nodes": "nodes",
    "time": "max_duration",
    "time_limit": "max_duration",
    "timeout": "max_duration",
    "walltime": "max_duration",
    "due": "deadline",
    "end_before": "deadline",
    "workdir": "working_dir",
    "cwd": "working_dir",
    "mem": "resources.memory",
    "shm": "resources.shm_size",
    "restarts": "retry",
    "cron": "schedule.cron",
    "dependency": "depends_on",
    "strategy": "matrix",
    "sweep": "matrix",
    "dependencies": "depends_on",
    "after": "depends_on",
    "needs": "depends_on",
    "tags": "labels",
    "artifacts": "outputs",
    "results": "outputs",
}
"""What other systems call it."""


def unknown_key(key: object, inside: str, kind: str) -> FieldError:
    """Why this key is refused where it stands, in an object of this kind: not built yet, at home elsewhere, or
    unknown (nearest one named)."""
    path = f"{inside}.{key}" if inside else str(key)[:100]
    if not isinstance(key, str):
        return FieldError(path, "keys must be text")
    if key in NOT_BUILT.get(kind.removesuffix(".any_of"), frozenset()):
        return FieldError(path, f"`{path}` is not built yet")
    return FieldError(path, "unknown key", _nearest(key, kind))


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint that names the closest of the known words, or all of them when none is close."""
    close = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known are {', '.join(sorted(known)[:40])}"


def _nearest(key: str, inside: str) -> str:
    plain = key.lower().replace("-", "_")
    here = BUILT[inside]
    if plain in here:
        return f"did you mean `{_join(inside, plain)}`?"
    for home, words in BUILT.items():
        if plain in words and home != inside:
            return f"`{plain}` stands {f'in `{home}`' if home else 'at the top'}: `{_join(home, plain)}`"
    if plain in SAID_ELSEWHERE:
        return f"did you mean `{SAID_ELSEWHERE[plain]}`?"
    close = get_close_matches(plain, sorted(here), n=1, cutoff=0.6)
    if close:
        return f"did you mean `{_join(inside, close[0])}`?"
    everywhere = {word: home for home, words in reversed(list(BUILT.items())) for word in words}
    close = get_close_matches(plain, sorted(everywhere), n=1, cutoff=0.75)
    if close:
        return f"did you mean `{_join(everywhere[close[0]], close[0])}`?"
    return f"known here are {', '.join(sorted(here))}"


def _join(inside: str, key: str) -> str:
    return f"{inside}.{key}" if inside else key
