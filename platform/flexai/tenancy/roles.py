"""Who may do what: one table of role × action, and nothing beside it.

The API, the sockets, the console and a job's `allowed_actions` all ask `allows`. What an action is about, a team or the
whole organization or the platform, is the caller's: a role is always one in some place (`principals`). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a member is, in an organization or in a team."""

    VIEWER = "viewer"
    MEMBER = "member"
    MAINTAINER = "maintainer"
    OWNER = "owner"


OPERATOR: Final = "operator"
"""Runs the platform, whatever else it is anywhere."""

RANK: Final[Mapping[str, int]] = {role: rank for rank, role in enumerate(Role, 1)}
"""Of two roles of somebody in one place the higher holds; nobody gives a role above their own."""


class Action(StrEnum):
    """What somebody may do; the value completes "to …" in a refusal."""

    # in a team
    SEE = "see this team"
    SUBMIT = "submit"
    STEER_OWN = "stop, hold, resume, keep or requeue a job of one's own"
    STEER_ANY = "act on a job of somebody else"
    NAME_MEMBERS = "name members"
    SET_QUOTAS = "divide quotas among the teams below another"
    SET_TOP_QUOTAS = "set the quotas of a team that stands below no other"
    ASK_QUOTA = "ask for more quota or budget"
    SET_CAPS = "set caps for each user"
    SET_BUDGETS = "set budgets of the teams below another"
    SET_TOP_BUDGETS = "set the budget of a team that stands below no other"
    SET_JOB_POLICY = "set policies for jobs"
    SEE_USAGE = "see usage"
    SEE_SECRETS = "see which secrets jobs may name"
    SET_SECRETS = "set and remove secrets"
    # in an organization
    MANAGE_ACCOUNTS = "manage service accounts"
    MANAGE_HOOKS = "manage webhooks"
    EXPORT_HISTORY = "export the history of jobs"
    SEE_AUDIT = "see the audit log"
    # of the platform
    RUN_NODES = "change the state of nodes"
    ENROL_NODES = "enrol nodes"
    SET_SCHEDULER = "set the scheduler's policy"
    SEE_RECORDINGS = "see recordings of the scheduler"
    SEE_SAVINGS = "see what the scheduler saved"
    SEE_EVERYBODY = "see whose work is where"
    SEE_FAULTS = "see the scheduler's errors"
    SET_PRICES = "set prices"
    OPEN_CONSOLE = "open the console"


_MARKS: Final = (Role.VIEWER, Role.MEMBER, Role.MAINTAINER, Role.OWNER, OPERATOR)


def _row(marks: str) -> frozenset[str]:
    return frozenset(role for role, mark in zip(_MARKS, marks.split(), strict=True) if mark == "x")


TABLE: Final[Mapping[Action, frozenset[str]]] = {
    #                            viewer, member, maintainer, owner, operator
    Action.SEE:             _row("x      x       x           x      x"),
    Action.SUBMIT:          _row("-      x       x           x      -"),
    Action.STEER_OWN:       _row("-      x       x           x      -"),
    Action.STEER_ANY:       _row("-      -       x           x      -"),
    Action.NAME_MEMBERS:    _row("-      -       x           x      x"),
    Action.SET_QUOTAS:      _row("-      -       -           x      x"),
    Action.SET_TOP_QUOTAS:  _row("-      -       -           -      x"),
    Action.ASK_QUOTA:       _row("-      -       x           x      -"),
    Action.SET_CAPS:        _row("-      -       -           x      x"),
    Action.SET_BUDGETS:     _row("-      -       -           x      x"),
    Action.SET_TOP_BUDGETS: _row("-      -       -           -      x"),
    Action.SET_JOB_POLICY:  _row("-      -       -           x      x"),
    Action.SEE_USAGE:       _row("x      x       x           x      x"),
    Action.SEE_SECRETS:     _row("-      x       x           x      x"),
    Action.SET_SECRETS:     _row("-      -       x           x      x"),
    Action.MANAGE_ACCOUNTS: _row("-      -       x           x      x"),
    Action.MANAGE_HOOKS:    _row("-      -       x           x      x"),
    Action.EXPORT_HISTORY:  _row("-      -       -           x      x"),
    Action.SEE_AUDIT:       _row("-      -       -           x      x"),
    Action.RUN_NODES:       _row("-      -       -           -      x"),
    Action.ENROL_NODES:     _row("-      -       -           -      x"),
    Action.SET_SCHEDULER:   _row("-      -       -           -      x"),
    Action.SEE_RECORDINGS:  _row("-      -       -           -      x"),
    Action.SEE_SAVINGS:     _row("-      -       -           -      x"),
    Action.SEE_EVERYBODY:   _row("-      -       -           -      x"),
    Action.SEE_FAULTS:      _row("-      -       -           -      x"),
    Action.SET_PRICES:      _row("-      -       -           -      x"),
    Action.OPEN_CONSOLE:    _row("-      -       -           -      x"),
}  # fmt: skip
"""An operator submits and steers nothing by being one: for that it is a member somewhere, or uses the console."""


def allows(action: Action, role: str | None) -> bool:
    """Whether this role, `OPERATOR` among them, may do this; nobody without a role does anything."""
    return role in TABLE[action]


def least_role(action: Action) -> str:
    """The lowest role that may: "owner", or "operator" when no member may."""
    return next(role for role in _MARKS if role in TABLE[action])
