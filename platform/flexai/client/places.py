"""Where jobs run and who pays: nodes, chips, the cluster, teams, quotas, secrets, tokens, trust."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from flexai.client.transport import Transport
from flexai.client.types import (
    AskedBudget,
    AskedFigures,
    Chip,
    Node,
    Quota,
    QuotaRequest,
    Team,
    TeamSecret,
    Token,
    TrustRule,
)


class Nodes:
    """The machines. To change one needs an operator."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[Node]:
        """Every node with its chips."""
        return self._transport.pages("/nodes")

    def get(self, node_id: str) -> Node:
        """One node. Raises NotFound."""
        return cast("Node", self._transport.get(f"/nodes/{node_id}"))

    def cordon(self, node_id: str) -> Node:
        """Nothing new starts there afterwards; what runs goes on."""
        return self._change(node_id, "cordon", {})

    def drain(self, node_id: str, *, reason: str) -> Node:
        """Nothing new starts there and what runs may finish; then the node is free for work on it."""
        return self._change(node_id, "drain", {"reason": reason})

    def restore(self, node_id: str) -> Node:
        """The node is in service again (the API's `return`)."""
        return self._change(node_id, "return", {})

    def revoke_credential(self, node_id: str, *, reason: str) -> Node:
        """Its agent is refused for good; what takes the node's place has to enrol."""
        return self._change(node_id, "revoke-credential", {"reason": reason})

    def _change(self, node_id: str, action: str, body: dict[str, str]) -> Node:
        return cast("Node", self._transport.send("POST", f"/nodes/{node_id}/{action}", body=body))


class Chips:
    """Every accelerator, flat."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[Chip]:
        """Every chip with its live figures and the job that holds it."""
        return self._transport.pages("/chips")

    def cordon(self, chip_id: str, *, reason: str) -> Node:
        """Nothing new starts on it afterwards, whatever its health is; its node. Needs an operator."""
        return self._change(chip_id, "cordon", reason)

    def restore(self, chip_id: str, *, reason: str = "") -> Node:
        """The chip is in service again, also from a drain (the API's `return`); its node. Needs an operator."""
        return self._change(chip_id, "return", reason)

    def _change(self, chip_id: str, action: str, reason: str) -> Node:
        body = {"reason": reason} if reason else {}
        return cast("Node", self._transport.send("POST", f"/chips/{chip_id}/{action}", body=body))


class Teams:
    """The teams that the token may see."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[Team]:
        """Every team, with quotas and members."""
        return self._transport.pages("/teams")

    def get(self, team_id: str) -> Team:
        """One team. Raises NotFound."""
        return cast("Team", self._transport.get(f"/teams/{team_id}"))


class Quotas:
    """What teams are promised, by chip type, in milli-chips."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def of(self, team_id: str) -> list[Quota]:
        """The quotas of one team, with what it uses."""
        return cast("Team", self._transport.get(f"/teams/{team_id}"))["quotas"]

    def set(self, team_id: str, quotas: Sequence[Quota]) -> Team:
        """These are the team's quotas afterwards. Needs an owner or an operator."""
        body = {"quotas": [_settable(quota) for quota in quotas]}
        return cast(
            "Team", self._transport.send("PUT", f"/teams/{team_id}/quotas", body=body, repeatable=True)
        )


class Secrets:
    """What teams keep for their jobs, by name. A value is written and never read."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, team_id: str) -> Iterator[TeamSecret]:
        """What jobs of the team may name: its own and those of the teams above it. Needs a member."""
        return self._transport.pages(f"/teams/{team_id}/secrets")

    def get(self, team_id: str, name: str) -> TeamSecret:
        """One of the team's own, without its value. Raises NotFound."""
        return cast("TeamSecret", self._transport.get(f"/teams/{team_id}/secrets/{name}"))

    def set(self, team_id: str, name: str, value: str) -> TeamSecret:
        """Attempts that start from now on have this value. Needs a maintainer."""
        path = f"/teams/{team_id}/secrets/{name}"
        return cast("TeamSecret", self._transport.send("PUT", path, body={"value": value}, repeatable=True))

    def remove(self, team_id: str, name: str) -> None:
        """What would start with it fails from now on. Raises NotFound. Needs a maintainer."""
        self._transport.send("DELETE", f"/teams/{team_id}/secrets/{name}")


class QuotaRequests:
    """What teams ask for: quotas by chip type, in milli-chips, and budgets."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, team: str | None = None, state: str | None = None) -> Iterator[QuotaRequest]:
        """Those of the teams that the token sees, newest first; of one team (id), or in one state."""
        return self._transport.pages("/quota-requests", team=team, state=state)

    def create(
        self,
        team: str,
        chip_type: str,
        figures: AskedFigures,
        *,
        reason: str,
        until: str | None = None,
        cell: str | None = None,
    ) -> QuotaRequest:
        """The team (name or id) asks to have these figures; `until` is the last day, such as 2026-03-31. Needs a
        maintainer."""
        body: dict[str, Any] = {"team": team, "chip_type": chip_type, "reason": reason, **figures}
        body |= {name: value for name, value in (("until", until), ("cell", cell)) if value is not None}
        return self._send("", body)

    def create_for_budget(
        self, team: str, figures: AskedBudget, *, reason: str, until: str | None = None
    ) -> QuotaRequest:
        """The team (name or id) asks for a budget of these figures. Needs a maintainer."""
        body: dict[str, Any] = {"team": team, "kind": "budget", "reason": reason, **figures}
        return self._send("", body | ({"until": until} if until is not None else {}))

    def withdraw(self, request_id: str) -> QuotaRequest:
        """Nobody decides it any more."""
        return self._send(f"/{request_id}/withdraw", {})

    def approve(
        self, request_id: str, figures: AskedFigures | AskedBudget | None = None, *, answer: str = ""
    ) -> QuotaRequest:
        """The team has what it asked for, or these figures. Needs whoever may set them."""
        return self._send(f"/{request_id}/approve", {"answer": answer, **(figures or {})})

    def decline(self, request_id: str, *, reason: str) -> QuotaRequest:
        """It stays as it is. Needs whoever could approve it."""
        return self._send(f"/{request_id}/decline", {"reason": reason})

    def _send(self, path: str, body: dict[str, Any]) -> QuotaRequest:
        return cast("QuotaRequest", self._transport.send("POST", f"/quota-requests{path}", body=body))


def _settable(quota: Quota) -> dict[str, Any]:
    known: dict[str, Any] = {
        "chip_type": quota["chip_type"],
        "guaranteed_milli": quota["guaranteed_milli"],
        "limit_milli": quota["limit_milli"],
    }
    if "over_quota_weight" in quota:
        known["over_quota_weight"] = quota["over_quota_weight"]
    return known


class Tokens:
    """The caller's own tokens."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[Token]:
        """Every token, without its secret."""
        return self._transport.pages("/tokens")

    def create(
        self,
        name: str,
        *,
        scopes: Sequence[str] = ("read", "write"),
        expires_in_days: int = 90,
        team: str | None = None,
    ) -> Token:
        """A new token; its `token` is the secret and is shown this once."""
        body: dict[str, Any] = {"name": name, "scopes": list(scopes), "expires_in_days": expires_in_days}
        if team:
            body["team"] = team
        return cast("Token", self._transport.send("POST", "/tokens", body=body))

    def revoke(self, token_id: str) -> None:
        """The token is refused from now on."""
        self._transport.send("DELETE", f"/tokens/{token_id}")


class TrustRules:
    """Whose identities may act as which service account, without a secret."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[TrustRule]:
        """The rules of the service accounts that the token may manage."""
        return self._transport.pages("/trust-rules")

    def create(
        self,
        account: str,
        name: str,
        *,
        issuer: str,
        claims: Mapping[str, str | Sequence[str]],
        scopes: Sequence[str] = ("read", "write"),
        audience: str | None = None,
        expires_in_minutes: int = 60,
    ) -> TrustRule:
        """Whoever shows such an identity acts as this service account afterwards."""
        body: dict[str, Any] = {
            "account": account,
            "name": name,
            "issuer": issuer,
            "claims": dict(claims),
            "scopes": [*scopes],
            "expires_in_minutes": expires_in_minutes,
        }
        if audience:
            body["audience"] = audience
        return cast("TrustRule", self._transport.send("POST", "/trust-rules", body=body))

    def remove(self, rule_id: str) -> None:
        """The rule and the tokens that it gave are gone afterwards."""
        self._transport.send("DELETE", f"/trust-rules/{rule_id}")


class Cluster:
    """The whole, in figures."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def summary(self) -> dict[str, Any]:
        """Nodes, chips, the last cycle, and the last hour of use."""
        return cast("dict[str, Any]", self._transport.get("/cluster"))

    def health(self) -> dict[str, Any]:
        """Whether the server reaches its own parts."""
        return cast("dict[str, Any]", self._transport.get("/health"))
