"""Sub-commands that live in other parts of Flexai: found by entry point, imported when they are called; and what other
systems call ours."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from flexai.cli.exits import Refusal

GROUP = "flexai.commands"
EXTENSIONS = {
    "up": ("server", "Start the whole platform on this machine."),
    "demo": ("all", "Start the platform and run sample jobs through it."),
    "agent": ("agent", "Run the agent that makes this machine a node."),
    "simulate": ("simulate", "Play a workload under this scheduler and others, and compare them."),
    "replay": ("simulate", "Decide recorded scheduler cycles again, and ask why a job waited."),
}
"""Name: the extra that brings it, and its line in the help (known without importing it)."""
_OURS = ("flexai", "node_agent", "scheduler_core")
_SUBMIT = "`flexai run` for a command, `flexai apply -f` for a file"
_WORDS = {
    _SUBMIT: ("submit", "create", "launch", "sbatch", "exec"),
    "`flexai run --wait`": ("srun", "wait"),
    "`flexai ps`": ("list", "ls", "jobs", "job", "get", "status", "queue", "squeue", "workloads"),
    "`flexai stop`": ("cancel", "kill", "delete", "rm", "scancel", "suspend", "pause"),
    "`flexai explain`": ("describe", "show", "why", "inspect", "events", "history"),
    "`flexai nodes`": ("node", "sinfo"),
    "`flexai top`": ("smi", "stat", "gpus", "watch"),
    "`flexai usage`": ("sacct", "report", "cost"),
}
ELSEWHERE = {word: ours for ours, words in _WORDS.items() for word in words}
"""What kubectl, Slurm, Run:ai and others call a command: what it is here."""


class ExtendedGroup(TyperGroup):
    """The commands of this package, and the extensions after them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (extra, help_line) in EXTENSIONS.items():
            self.add_command(_Extension(name, extra, help_line))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As usual; who uses another system's word is told ours."""
        if ours := ELSEWHERE.get(args[0].lower()):
            ctx.fail(f"No such command {args[0]!r}. Here it is {ours}.")
        return super().resolve_command(ctx, args)


class _Extension(TyperCommand):
    """Imports the command when it is called, so that `flexai --help` is quick and needs no extra."""

    def __init__(self, name: str, extra: str, help_line: str) -> None:
        super().__init__(name, help=help_line, rich_help_panel="This machine")
        self._extra = extra

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return self._load().make_context(info_name, args, parent=parent, **extra)

    def _load(self) -> Any:
        name = str(self.name)
        found = [entry for entry in entry_points(group=GROUP) if entry.name == name]
        if not found:
            raise self._missing(f"`flexai {name}` is not installed.")
        return _command(found[0], name, self._imported(found[0]))

    def _imported(self, entry: EntryPoint) -> Any:
        try:
            return entry.load()
        except ModuleNotFoundError as error:
            missing = (error.name or "").split(".")[0]
            if missing in _OURS:
                raise
            raise self._missing(f"`flexai {self.name}` needs `{missing}`, which is not installed.") from error

    def _missing(self, sentence: str) -> Refusal:
        return Refusal(
            sentence, hint=f"Install it with: pip install 'flexai[{self._extra}]'", code="extra_missing"
        )


def _command(entry: EntryPoint, name: str, loaded: Any) -> Any:
    """A Typer application as it is; a function becomes a command by its annotations."""
    if isinstance(loaded, typer.Typer):
        return get_command(loaded)
    if not inspect.isfunction(loaded):
        raise TypeError(f"{entry.value} is neither a Typer application nor a function")
    application = typer.Typer(add_completion=False)
    application.command(name)(loaded)
    return get_command(application)
