"""The entrance: one client for one server and one token."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self, cast

from flexai.client.errors import FlexaiError
from flexai.client.handle import JobHandle
from flexai.client.jobs import Jobs
from flexai.client.places import (
    Chips,
    Cluster,
    Nodes,
    QuotaRequests,
    Quotas,
    Secrets,
    Teams,
    Tokens,
    TrustRules,
)
from flexai.client.schedules import Schedules
from flexai.client.transport import Transport
from flexai.client.types import Announcement, AuditEntry, Spec
from flexai.client.webhooks import Webhooks

DEFAULT_TIMEOUT_SECONDS = 30.0


class Client:
    """Speaks to one server as one token. Safe to share between threads; close it, or use it in a `with`."""

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout: float = DEFAULT_TIMEOUT_SECONDS
    ) -> None:
        """`url` and `token` default to FLEXAI_URL and FLEXAI_TOKEN; `timeout` is seconds for one request."""
        url = url or os.environ.get("FLEXAI_URL")
        if not url:
            raise FlexaiError("No server given: pass url, or set FLEXAI_URL.")
        self._transport = self._connected(url, token or os.environ.get("FLEXAI_TOKEN"), timeout)
        self.url = self._transport.url
        self.jobs = Jobs(self._transport)
        self.schedules = Schedules(self._transport)
        self.nodes = Nodes(self._transport)
        self.chips = Chips(self._transport)
        self.teams = Teams(self._transport)
        self.quotas = Quotas(self._transport)
        self.quota_requests = QuotaRequests(self._transport)
        self.secrets = Secrets(self._transport)
        self.tokens = Tokens(self._transport)
        self.trust = TrustRules(self._transport)
        self.webhooks = Webhooks(self._transport)
        self.cluster = Cluster(self._transport)

    def submit(self, spec: Spec, *, idempotency_key: str | None = None) -> JobHandle:
        """As `jobs.submit`, and gives an object that has `wait()`, `logs(follow=True)`, `stop()` and the rest."""
        return self.job(self.jobs.submit(spec, idempotency_key=idempotency_key)["id"])

    def job(self, job_id: str) -> JobHandle:
        """The job of this id, which nobody is asked for yet."""
        return JobHandle(self.jobs, job_id)

    def me(self) -> dict[str, Any]:
        """Who the token belongs to: user, organization, teams, the server's version and notices."""
        return cast("dict[str, Any]", self._transport.get("/me"))

    def announcements(self) -> list[Announcement]:
        """What operators announce now, the newest first."""
        return cast("list[Announcement]", self._transport.get("/announcements")["items"])

    def second_factor(self) -> dict[str, Any]:
        """Whether signing in with the password needs a code."""
        return cast("dict[str, Any]", self._transport.get("/me/second-factor"))

    def begin_second_factor(self, password: str) -> dict[str, str]:
        """The secret for the authenticator; it counts once a code of it is confirmed."""
        return cast(
            "dict[str, str]", self._transport.send("POST", "/me/second-factor", body={"password": password})
        )

    def confirm_second_factor(self, code: str) -> list[str]:
        """The recovery codes; from now on signing in with the password needs a code."""
        answer = self._transport.send("POST", "/me/second-factor/confirm", body={"code": code})
        return cast("list[str]", answer["recovery_codes"])

    def remove_second_factor(self, password: str, code: str) -> None:
        """The password alone signs in afterwards."""
        self._transport.send("POST", "/me/second-factor/remove", body={"password": password, "code": code})

    def usage(
        self, *, by: str = "", first: str | None = None, last: str | None = None, team: str | None = None
    ) -> dict[str, Any]:
        """Use and cost of some days, the last 30 if none are named; `by` as `team,day` or `label:KEY`."""
        query: dict[str, object] = {"by": by, "from": first, "to": last, "team": team}
        return cast("dict[str, Any]", self._transport.send("GET", "/usage", query=query, repeatable=True))

    def savings(self, *, first: str | None = None, last: str | None = None) -> dict[str, Any]:
        """What the scheduler saved on some days, the last 30 if none are named; simulated. Needs an operator."""
        query: dict[str, object] = {"from": first, "to": last}
        return cast("dict[str, Any]", self._transport.send("GET", "/savings", query=query, repeatable=True))

    def history(self, *, first: str | None = None, last: str | None = None) -> str:
        """What ran on chips on up to 31 days, as JSON lines for `flexai simulate`. Needs an owner or an operator."""
        return self._transport.text("/history", {"from": first, "to": last})

    def audit(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        about: str | None = None,
        first: str | None = None,
        last: str | None = None,
        limit: int | None = None,
    ) -> Iterator[AuditEntry]:
        """What was decided in the organization, the newest first. Needs an owner or an operator."""
        query: dict[str, object] = {
            "actor": actor,
            "action": action,
            "object": about,
            "from": first,
            "to": last,
        }
        return self._transport.pages("/audit", limit=limit, **query)

    def close(self) -> None:
        """The connections are closed afterwards."""
        self._transport.close()

    def _connected(self, url: str, token: str | None, timeout: float) -> Transport:
        return Transport(url, token, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
