"""The words about output files that server and agent say to each other by HTTP, beside their socket."""

from __future__ import annotations

import msgspec

OUTPUT_PIECE = 4 * 1024 * 1024
"""Bytes of an output file in one request; every piece but a file's last has exactly so many."""
MAX_OUTPUT_PATH = 1024
"""Bytes of the path of an output file."""
OUTPUTS_AFTER = frozenset({"succeeded", "exit", "oom", "timed_out", "cancelled"})
"""Outcomes with which an attempt's outputs are kept; after any other the job goes on elsewhere, or never ran."""
MAX_OUTPUTS_SAID = 20
"""Sentences about what was left out of a job's outputs."""


class OutputFile(msgspec.Struct, frozen=True):
    """One file that is to be kept."""

    path: str
    size: int


class OutputsOffered(msgspec.Struct, frozen=True):
    """Body of `POST /api/v1/agents/outputs/ATTEMPT`: what the node holds of an attempt's outputs."""

    files: list[OutputFile]
    said: list[str] = []
    """What was left out, and why."""


class OutputsTaken(msgspec.Struct, frozen=True):
    """The answer, also to a piece and to the end."""

    complete: bool
    """Nothing more is to be sent."""
    stored: list[int | None] = []
    """By file, how many bytes are stored: the next piece begins there. None: the file is not to be sent."""


class OutputsEnded(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of `POST /api/v1/agents/outputs/ATTEMPT/end`: no more will come."""

    said: list[str] = []
