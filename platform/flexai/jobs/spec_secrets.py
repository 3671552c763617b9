"""What a spec says of secrets: which of its team's a job is given, and under which variables. Values stand in none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flexai.jobs.quantities import said
from flexai.jobs.spec_reader import Reader, said_key, why_no_variable
from flexai.tenancy.team_secrets import NAME

MAX_SECRETS: Final = 32
"""Of one job: at their longest they fill what the kernel takes as an environment."""


def read_secrets(reader: Reader, env: Mapping[str, str]) -> dict[str, str]:
    """Names of secrets by variable. A list says variables that are called as their secrets."""
    given = reader.raw.get("secrets")
    if given is None:
        return {}
    if not isinstance(given, list | Mapping) or len(given) > MAX_SECRETS:
        hint = "such as [HF_TOKEN], or {WANDB_API_KEY: wandb}"
        reader.wrong("secrets", f"must be a list or an object with at most {MAX_SECRETS} entries", hint)
        return {}
    pairs: Mapping[Any, Any] = given if isinstance(given, Mapping) else {str(name): name for name in given}
    made: dict[str, str] = {}
    for variable, name in pairs.items():
        if why := why_no_variable(variable):
            reader.wrong(f"secrets.{said_key(variable)}", *why)
        elif not isinstance(name, str) or not NAME.fullmatch(name):
            reader.wrong(
                f"secrets.{variable}", f"{said(name)} is no name of a secret", "use letters, digits and _"
            )
        elif variable in env:
            reader.wrong(f"secrets.{variable}", "stands in `env` too", "leave it out there")
        else:
            made[variable] = name
    return made


def refuse_in_matrix(reader: Reader, secrets: Mapping[str, str], variables: set[str]) -> None:
    """Values of a matrix are variables of its tasks as well."""
    for variable in sorted(secrets.keys() & variables):
        reader.wrong(f"secrets.{variable}", "is a list of `matrix` too", "call one of them otherwise")
