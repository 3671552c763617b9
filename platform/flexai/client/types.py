"""The shapes of the API's answers. Quantities are whole numbers: milli-chips, MiB, permille, milliseconds."""

from __future__ import annotations

from typing import Any, NotRequired, TypeAlias, TypedDict, final

Spec: TypeAlias = dict[str, Any]
"""A job spec as the reader writes it."""

FINAL_STATUSES = frozenset({"succeeded", "failed", "cancelled", "timed_out"})
"""Statuses from which a job moves only when somebody asks for another run."""


def is_final(status: str) -> bool:
    """True when the job has ended."""
    return status in FINAL_STATUSES


class TeamRef(TypedDict):
    id: str
    name: str


class JobChips(TypedDict):
    """What a job asks for, or holds; `type` None when it asks for none, or for any."""

    type: str | None
    milli_per_replica: int
    replicas: int
    min_replicas: int
    max_replicas: int
    total_milli: int


class OutputFile(TypedDict):
    path: str
    size: int


class Outputs(TypedDict):
    """What an attempt left. `state`: none, awaited, complete, lost, removed; `said`: what was left out, and why."""

    attempt: int | None
    state: str
    sentence: str
    said: list[str]
    bytes: int
    kept_until: str | None
    files: list[OutputFile]


class AllocatedChip(TypedDict):
    id: str
    index: int
    type: str
    milli: int
    memory_mib: int


class Replica(TypedDict):
    index: int
    node: str
    state: str
    exit_code: int | None
    log_size: int | None
    image: str
    chips: list[AllocatedChip]


class Progress(TypedDict):
    """What an attempt has said of itself, the newest; `problem` names what of it was refused."""

    at: str
    step: int | None
    throughput: float | None
    loss: float | None
    saved_step: int | None
    saved_at: str | None
    problem: str


class Attempt(TypedDict):
    number: int
    state: str
    outcome: str
    contact: str
    exit_code: int | None
    sentence: str
    placed_at: str
    running_at: str | None
    ended_at: str | None
    use_permille: int | None
    memory_peak_mib: int
    cpu_time_ms: int
    energy_mj: int | None
    progress: Progress | None
    replicas: list[Replica]


class Idle(TypedDict):
    """That a running job's chips have hardly been used since then, and what its policy does about it."""

    since: str
    use_permille: int
    action: str
    acts_at: str | None


class Straggler(TypedDict):
    """What has held a running job back since then (`sign`: clock, steps or time), and when its policy moves it."""

    since: str
    sign: str
    sentence: str
    pace_permille: int
    equals: int
    moves_at: str | None
    leaving_since: str | None


class Dependency(TypedDict):
    """What a job waits for: `standing` is pending, met or never."""

    id: str
    kind: str
    name: str
    on: str
    otherwise: str
    status: str
    standing: str


class Dependent(TypedDict):
    id: str
    name: str
    status: str


class Advice(TypedDict):
    """A field of the spec, what it could say next time, and the proof."""

    field: str
    value: str
    sentence: str


class Lending(TypedDict):
    """That it runs on chips lent to it (`role` guest), or offers its own idle ones (owner)."""

    role: str
    since: str
    halted_at: str | None


class Job(TypedDict):
    """A job; `spec` to `dependents` come with `jobs.get` alone."""

    id: str
    name: str
    type: str
    status: str
    sentence: str
    team: TeamRef
    user: str
    priority: int
    preemptible: bool
    set: str | None
    index: int | None
    labels: dict[str, str]
    chips: JobChips
    cpu_milli: int
    memory_mib: int
    attempt: int
    exit_code: int | None
    outcome: str
    reason_code: str
    submitted_at: str
    started_at: str | None
    ended_at: str | None
    deadline: str | None
    wait_ms: int | None
    run_ms: int | None
    nodes: list[str]
    use_permille: int | None
    idle: Idle | None
    straggler: Straggler | None
    lending: Lending | None
    progress: Progress | None
    memory_peak_mib: int | None
    version: int
    url: str
    spec: NotRequired[Spec]
    effective_spec: NotRequired[Spec]
    attempts: NotRequired[list[Attempt]]
    allowed_actions: NotRequired[list[str]]
    advice: NotRequired[list[Advice]]
    depends_on: NotRequired[list[Dependency]]
    dependents: NotRequired[list[Dependent]]


class LastJob(TypedDict):
    id: str
    status: str


class Schedule(TypedDict):
    """A spec of which jobs are made by itself; `next_at` None while it is paused."""

    id: str
    name: str
    team: TeamRef
    user: str
    cron: str
    timezone: str
    catch_up: str
    overlap: str
    paused: bool
    next_at: str | None
    last_at: str | None
    last_job: LastJob | None
    problem: str
    created_at: str
    spec: Spec
    may_change: bool


class Submitted(TypedDict):
    """What became of a spec with `array`: the set's id, how many jobs, and the first of them."""

    set: str
    count: int
    jobs: list[Job]


class Cost(TypedDict):
    """With the least of its replicas; `micro` is for `run_ms` of the outlook."""

    chip_type: str
    milli: int
    micro_per_chip_hour: int | None
    micro: int | None


class Holding(TypedDict):
    """`guaranteed_milli` None: no quota; `limit_milli` None: no limit."""

    team: TeamRef
    chip_type: str
    used_milli: int
    asked_milli: int
    guaranteed_milli: int | None
    limit_milli: int | None


class Outlook(TypedDict):
    """What would become of a spec, were it submitted now; `sentences` is the same in words."""

    starts_at: str | None
    starts_by: str | None
    run_ms: int | None
    costs: list[Cost]
    holdings: list[Holding]
    sentences: list[str]


class Alternative(TypedDict):
    """A change of a spec with which it would start earlier, or cost less; `patch` is a JSON merge patch of it."""

    patch: Spec
    sentence: str
    starts_at: str
    starts_by: str
    costs: list[Cost]


class DryRun(TypedDict):
    fits: bool
    sentence: str
    roundings: list[str]
    warnings: list[str]
    outlook: Outlook | None
    alternatives: list[Alternative]
    spec: Spec


class Event(TypedDict):
    id: int
    at: str
    kind: str
    from_state: str
    to_state: str
    attempt: int | None
    reason_code: str
    sentence: str
    facts: dict[str, Any]
    actor: str


class LogReplica(TypedDict):
    attempt: int
    replica: int
    size: int


class LogSlice(TypedDict):
    """A stretch of one replica's log; offsets count bytes, `text` has undecodable bytes replaced."""

    attempt: int
    replica: int
    offset: int
    next_offset: int
    size: int
    ended: bool
    text: str
    replicas: list[LogReplica]


class Reason(TypedDict):
    code: str
    sentence: str
    facts: dict[str, Any]


class Forecast(TypedDict):
    p50: str
    p90: str
    made_at: str


class Explanation(TypedDict):
    status: str
    sentence: str
    reasons: list[Reason]
    since: str | None
    queue_position: int | None
    ahead: int | None
    forecast: Forecast | None


class ChipJob(TypedDict):
    id: str
    name: str


class ChipGuest(TypedDict):
    """A job that part of a chip is lent to, and the numbers of the loan."""

    id: str
    name: str
    milli: int
    since: str
    halted_at: str | None
    owner_idle_since: str | None
    owner_use_permille: int | None


class Chip(TypedDict):
    """`node` comes with the flat list of chips alone."""

    id: str
    index: int
    type: str
    memory_mib: int
    healthy: bool
    present: bool
    health: int
    health_note: str
    part_of: int | None
    isolation: list[str]
    used_milli: int
    used_memory_mib: int
    use_permille: int | None
    live_memory_mib: int | None
    temperature_c: int | None
    power_mw: int | None
    job: ChipJob | None
    guest_milli: NotRequired[int]
    guests: NotRequired[list[ChipGuest]]
    state: NotRequired[str]
    node: NotRequired[str]


class HostUse(TypedDict):
    cpu_permille: int | None
    memory_mib: int | None


class Node(TypedDict):
    id: str
    name: str
    pool: str
    state: str
    status: str
    state_reason: str
    contact: str
    simulated: bool
    images: bool
    trust: str
    notes: list[str]
    cpu_milli: int
    used_cpu_milli: int
    memory_mib: int
    used_memory_mib: int
    use: HostUse | None
    topology: list[str]
    agent_version: str
    last_seen_at: str | None
    version: int
    chips: list[Chip]


class Quota(TypedDict):
    """`limit_milli` None: no limit."""

    chip_type: str
    guaranteed_milli: int
    limit_milli: int | None
    over_quota_weight: NotRequired[int]
    used_milli: NotRequired[int]


@final
class Figures(TypedDict):
    """Of a quota; `limit_milli` None: no limit."""

    guaranteed_milli: int
    limit_milli: int | None
    over_quota_weight: int


class AskedFigures(TypedDict, total=False):
    """Of a quota; what is left out stays."""

    guaranteed_milli: int
    limit_milli: int | None
    over_quota_weight: int


@final
class BudgetFigures(TypedDict):
    """Of a budget; None bounds nothing. Money in millionths of the currency."""

    chip_hours: int | None
    money_micro: int | None


class AskedBudget(TypedDict, total=False):
    """Of a budget; what is left out stays."""

    chip_hours: int | None
    money_micro: int | None


class QuotaRequest(TypedDict):
    """A team asks for more of one chip type (`kind` quota), or for more budget (no cell, no type). `state`: open,
    approved, declined, withdrawn, ended; `allowed_actions`: withdraw, approve, decline."""

    id: str
    kind: str
    team: TeamRef
    cell: str | None
    chip_type: str | None
    asked: Figures | BudgetFigures
    until: str | None
    reason: str
    state: str
    asked_by: str
    asked_at: str
    granted: Figures | BudgetFigures | None
    before: Figures | BudgetFigures | None
    decided_by: str | None
    decided_at: str | None
    answer: str
    note: str
    allowed_actions: list[str]


class Member(TypedDict):
    username: str
    role: str


class UserCap(TypedDict):
    chip_type: str
    limit_milli: int


class Budget(TypedDict):
    """None bounds nothing; money in millionths of the currency. `state`: ok, warned, spent."""

    period: str
    since: str
    chip_hours: int | None
    money_micro: int | None
    soft_percent: int
    hard: bool
    spent_chip_ms: int
    spent_micro: int
    state: str


class Team(TypedDict):
    id: str
    name: str
    organization: Any
    role: str
    quotas: list[Quota]
    user_caps: list[UserCap]
    budget: Budget | None
    members: list[Member]


class Token(TypedDict):
    """`token`, the secret, comes once: with the answer that creates it."""

    id: str
    name: str
    scopes: list[str]
    team: str | None
    created_at: str
    expires_at: str
    revoked_at: str | None
    last_used_at: str | None
    token: NotRequired[str]


class TeamSecret(TypedDict):
    """What a team keeps for its jobs, without its value."""

    id: str
    name: str
    team: str
    set_by: str
    set_at: str
    used_at: str | None


class TrustRule(TypedDict):
    """Whose identities act as which service account."""

    id: str
    account: str
    team: str | None
    name: str
    issuer: str
    audience: str
    claims: dict[str, list[str]]
    scopes: list[str]
    expires_in_minutes: int
    created_at: str
    last_used_at: str | None


class Announcement(TypedDict):
    """What an operator tells: plain text; `level` is info, warning or urgent."""

    id: str
    text: str
    level: str
    starts_at: str
    ends_at: str


class AuditEntry(TypedDict):
    """A decision of somebody: `before` and `after` hold what was changed."""

    at: str
    actor_kind: str
    actor: str
    action: str
    object_kind: str
    object_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    reason: str
    address: str
    request_id: str


class Delivery(TypedDict):
    """One message to a webhook, and what became of it."""

    id: str
    event: str
    at: str
    state: str
    """pending, delivered, or failed: given up."""
    tries: int
    last_at: str | None
    next_at: str | None
    status: int | None
    answer: str
    data: dict[str, Any]


class Webhook(TypedDict):
    """An address that hears of what happens."""

    id: str
    name: str
    description: str
    team: str | None
    url: str
    events: list[str]
    on: bool
    off_because: str
    failing_since: str | None
    created_at: str
    last_delivery: Delivery | None
    secret: NotRequired[str]
    """Where it was just made."""


class Page(TypedDict):
    items: list[Any]
    next_cursor: str | None
