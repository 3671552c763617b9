"""A team asks for more quota: who may ask and decide, what is checked when, and what ends by itself."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from flexai.common import clock
from flexai.common.errors import Conflict, FlexaiError, InvalidInput
from flexai.jobs.tasks import end_quotas
from flexai.notifications.answers import end_due
from flexai.tenancy.models import AuditEntry, Quota, QuotaRequest, Role, Team
from flexai.tenancy.quota_requests import MAX_OPEN, approve, ask, decline, withdraw
from flexai.tenancy.quotas import line_of, set_quotas
from flexai.tenancy.services import create_team
from tests.support.tenants import Api, Tenant, a_cell, a_node, a_tenant

pytestmark = pytest.mark.django_db
TODAY = clock.now().date()
TYPE = "H100-80GB"


@pytest.fixture
def operator(db: None) -> Tenant:
    return a_tenant("operations", operator=True)


@pytest.fixture
def maintainer(tenant: Tenant) -> Api:
    return tenant.somebody(Role.MAINTAINER, name="mia")[1]


def asked(api: Api, **more: Any) -> dict[str, Any]:
    body = {
        "team": "research",
        "chip_type": TYPE,
        "guaranteed_milli": 4000,
        "reason": "the paper is due",
        **more,
    }
    answer = api.post("/quota-requests", body)
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def refused(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.content
    for word in words:
        assert word in answer.content.decode()


def has(team: Team, chip_type: str = TYPE) -> tuple[int, int | None, int] | None:
    line = line_of(team, chip_type, 1)
    return line and (line["guaranteed_milli"], line["limit_milli"], line["over_quota_weight"])


def test_a_maintainer_asks_an_operator_grants_and_everything_is_recorded(
    tenant: Tenant, operator: Tenant, maintainer: Api
) -> None:
    Quota.objects.create(
        team=tenant.team, cell_id=1, chip_type="A100", guaranteed_milli=1000, limit_milli=1000
    )
    request = asked(maintainer, limit_milli=8000, until=(TODAY + timedelta(days=3)).isoformat())
    assert (request["state"], request["asked_by"], request["cell"]) == ("open", "mia", "default")
    assert request["asked"] == {"guaranteed_milli": 4000, "limit_milli": 8000, "over_quota_weight": 1}
    assert request["allowed_actions"] == ["withdraw"]
    assert has(tenant.team) is None, "nothing is given yet"
    (seen,) = operator.api.get("/quota-requests", state="open").json()["items"]
    assert (seen["id"], seen["allowed_actions"]) == (request["id"], ["approve", "decline"])
    done = operator.api.post(
        f"/quota-requests/{request['id']}/approve", {"guaranteed_milli": 2000, "answer": "half"}
    )
    assert done.status_code == 200, done.content
    assert done.json()["granted"] == {"guaranteed_milli": 2000, "limit_milli": 8000, "over_quota_weight": 1}
    assert (done.json()["state"], done.json()["before"], done.json()["answer"]) == ("approved", None, "half")
    assert has(tenant.team) == (2000, 8000, 1)
    assert has(tenant.team, "A100") == (1000, 1000, 1), "other types stay as they are"
    entries = AuditEntry.objects.order_by("pk").values_list("action", "reason")
    assert list(entries) == [
        ("quota_request.made", "the paper is due"), ("team.quotas_set", ""), ("quota_request.approved", "half"),
    ]  # fmt: skip


def test_what_is_left_out_stays_and_a_limit_follows_the_guarantee(tenant: Tenant, maintainer: Api) -> None:
    Quota.objects.create(
        team=tenant.team,
        cell_id=1,
        chip_type=TYPE,
        guaranteed_milli=1000,
        limit_milli=2000,
        over_quota_weight=3,
    )
    assert asked(maintainer)["asked"] == {
        "guaranteed_milli": 4000,
        "limit_milli": 4000,
        "over_quota_weight": 3,
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"guaranteed_milli": 1000}, "is no more than team research has"),
        ({"guaranteed_milli": 500}, "is no more than team research has"),
        ({"guaranteed_milli": -1}, "whole number"),
        ({"guaranteed_milli": True}, "whole number"),
        ({"guaranteed_milli": "4"}, "whole number"),
        ({"limit_milli": 100}, "must not be below guaranteed_milli"),
        ({"chip_type": "H 100"}, "is no chip type"),
        ({"chip_type": None}, "is no chip type"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 1001}, "1000 printable characters"),
        ({"reason": "bell \x07"}, "printable"),
        ({"until": "tomorrow"}, "such as 2026-03-31"),
        ({"until": "2020-01-01"}, "is over"),
        ({"until": "2190-01-01"}, "days ahead"),
        ({"cell": "elsewhere"}, "there are default"),
        ({"much": 1}, "unknown key"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_asked(
    tenant: Tenant, maintainer: Api, wrong: dict[str, Any], said: str
) -> None:
    Quota.objects.create(team=tenant.team, cell_id=1, chip_type=TYPE, guaranteed_milli=1000)
    body = {"team": "research", "chip_type": TYPE, "guaranteed_milli": 4000, "reason": "why", **wrong}
    refused(maintainer.post("/quota-requests", body), 400, said)
    assert not QuotaRequest.objects.exists()


def test_one_request_for_a_type_and_so_many_for_a_team(tenant: Tenant, maintainer: Api) -> None:
    first = asked(maintainer)
    body = {"team": "research", "chip_type": TYPE, "guaranteed_milli": 9000, "reason": "more"}
    refused(maintainer.post("/quota-requests", body), 409, first["id"], "withdraw it")
    for number in range(1, MAX_OPEN):
        asked(maintainer, chip_type=f"type-{number}")
    refused(
        maintainer.post("/quota-requests", {**body, "chip_type": "one-more"}),
        409,
        f"{MAX_OPEN} open requests",
    )
    assert maintainer.post(f"/quota-requests/{first['id']}/withdraw").json()["state"] == "withdrawn"
    asked(maintainer, guaranteed_milli=9000)
    assert len(maintainer.get("/quota-requests", team=tenant.team.public_id).json()["items"]) == MAX_OPEN + 1
    assert maintainer.get("/quota-requests", state="approved").json()["items"] == []
    refused(maintainer.get("/quota-requests", state="lost"), 400, "give one of open")


def test_who_declines_says_why_and_a_decision_stands(
    tenant: Tenant, operator: Tenant, maintainer: Api
) -> None:
    path = f"/quota-requests/{asked(maintainer)['id']}"
    refused(operator.api.post(f"{path}/decline", {}), 400, "reason")
    done = operator.api.post(f"{path}/decline", {"reason": "nothing is left"}).json()
    assert (done["state"], done["answer"], done["decided_by"]) == (
        "declined", "nothing is left", operator.owner.username,
    )  # fmt: skip
    for again in (
        operator.api.post(f"{path}/approve"),
        operator.api.post(f"{path}/decline", {"reason": "no"}),
        maintainer.post(f"{path}/withdraw"),
    ):
        refused(again, 409, f"was declined by {operator.owner.username}")
    assert has(tenant.team) is None


def test_f1_holds_when_it_is_approved_and_not_only_when_it_was_asked(
    tenant: Tenant, operator: Tenant, maintainer: Api
) -> None:
    below = create_team(tenant.organization, "below", parent=tenant.team)
    beside = create_team(tenant.organization, "beside", parent=tenant.team)
    set_quotas(operator.principal, tenant.team, [{"chip_type": TYPE, "guaranteed_milli": 8000}])
    path = f"/quota-requests/{asked(maintainer, team='below', guaranteed_milli=6000)['id']}"
    set_quotas(operator.principal, beside, [{"chip_type": TYPE, "guaranteed_milli": 4000}])
    answer = operator.api.post(f"{path}/approve")
    refused(answer, 400, "would promise 10000 milli-chips", "below team research, which is promised 8000")
    assert [error["field"] for error in answer.json()["errors"]] == ["guaranteed_milli"]
    assert (has(below), QuotaRequest.objects.get().state) == (None, "open")
    owner = tenant.api.post(f"{path}/approve", {"guaranteed_milli": 4000})
    assert owner.status_code == 200, "an owner divides what the team above has"
    assert has(below) == (4000, None, 1)


def test_what_the_team_got_meanwhile_is_not_taken_from_it(
    tenant: Tenant, operator: Tenant, maintainer: Api
) -> None:
    path = f"/quota-requests/{asked(maintainer)['id']}"
    set_quotas(operator.principal, tenant.team, [{"chip_type": TYPE, "guaranteed_milli": 9000}])
    refused(
        operator.api.post(f"{path}/approve"), 400, "is no more than team research has", "9000 milli-chips"
    )
    assert has(tenant.team) == (9000, None, 1)


class TestForATime:
    """What was granted until a day goes back by itself."""

    @pytest.fixture
    def grant(self, tenant: Tenant, operator: Tenant, maintainer: Api) -> Callable[..., QuotaRequest]:
        Quota.objects.create(team=tenant.team, cell_id=1, chip_type=TYPE, guaranteed_milli=1000)

        def made(milli: int, until: date | None) -> QuotaRequest:
            day = until.isoformat() if until else None
            request = asked(maintainer, guaranteed_milli=milli, until=day)
            return approve(operator.principal, request["id"], {})

        return made

    def test_it_goes_back_when_the_day_is_over(
        self, tenant: Tenant, grant: Callable[..., QuotaRequest]
    ) -> None:
        request = grant(4000, TODAY)
        end_quotas()
        assert has(tenant.team) == (4000, None, 1), "the last day is part of it"
        assert end_due(TODAY + timedelta(days=1)) == 1
        assert has(tenant.team) == (1000, None, 1)
        request.refresh_from_db()
        assert (request.state, request.note) == ("ended", "Given back when its time was over.")
        entry = AuditEntry.objects.filter(action="team.quotas_set").latest("pk")
        assert (entry.actor_kind, entry.before, entry.organization) == (
            "platform",
            {TYPE: {"guaranteed_milli": 4000, "limit_milli": None, "over_quota_weight": 1}},
            tenant.organization,
        )
        assert end_due(TODAY + timedelta(days=1)) == 0

    def test_what_was_set_otherwise_meanwhile_stays(
        self, tenant: Tenant, operator: Tenant, grant: Callable[..., QuotaRequest]
    ) -> None:
        request = grant(4000, TODAY)
        set_quotas(operator.principal, tenant.team, [{"chip_type": TYPE, "guaranteed_milli": 5000}])
        assert end_due(TODAY + timedelta(days=1)) == 1
        request.refresh_from_db()
        assert (has(tenant.team), request.state) == ((5000, None, 1), "ended")
        assert "set otherwise meanwhile" in request.note

    def test_it_waits_while_teams_below_are_promised_more(
        self, tenant: Tenant, operator: Tenant, grant: Callable[..., QuotaRequest]
    ) -> None:
        request = grant(4000, TODAY)
        below = create_team(tenant.organization, "below", parent=tenant.team)
        set_quotas(operator.principal, below, [{"chip_type": TYPE, "guaranteed_milli": 3000}])
        assert end_due(TODAY + timedelta(days=1)) == 0
        request.refresh_from_db()
        assert (has(tenant.team), request.state) == ((4000, None, 1), "approved")
        assert "cannot be given back: it would promise 3000 milli-chips" in request.note
        set_quotas(operator.principal, below, [])
        assert end_due(TODAY + timedelta(days=1)) == 1
        assert has(tenant.team) == (1000, None, 1)

    def test_a_later_grant_takes_the_place_of_the_one_before(
        self, tenant: Tenant, grant: Callable[..., QuotaRequest]
    ) -> None:
        first = grant(4000, TODAY + timedelta(days=9))
        grant(6000, TODAY)
        first.refresh_from_db()
        assert first.state == "ended"
        assert end_due(TODAY + timedelta(days=1)) == 1
        assert has(tenant.team) == (1000, None, 1), "as it was before either"

    def test_a_grant_for_good_stays(self, tenant: Tenant, grant: Callable[..., QuotaRequest]) -> None:
        grant(4000, TODAY)
        grant(6000, None)
        assert end_due(TODAY + timedelta(days=400)) == 0
        assert has(tenant.team) == (6000, None, 1)


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    """Two who decide or ask at the same time."""

    @pytest.fixture
    def tenant(self, db: None) -> Tenant:
        a_cell()
        a_node(chips=8)
        return a_tenant("acme")

    def _both(self, *calls: Callable[[], Any]) -> list[str]:
        gate = Barrier(len(calls))

        def run(call: Callable[[], Any]) -> str:
            gate.wait(30)
            try:
                call()
            except FlexaiError as error:
                return type(error).__name__
            finally:
                connection.close()
            return "done"

        with ThreadPoolExecutor(len(calls)) as pool:
            return sorted(pool.map(run, calls))

    def _asked(self, tenant: Tenant, team: Team, milli: int) -> str:
        given = {"chip_type": TYPE, "guaranteed_milli": milli, "reason": "why"}
        return ask(tenant.principal, team, given, cell_id=1, today=TODAY).public_id

    def test_two_approvals_together_promise_no_more_than_there_is(
        self, tenant: Tenant, operator: Tenant
    ) -> None:
        set_quotas(operator.principal, tenant.team, [{"chip_type": TYPE, "guaranteed_milli": 8000}])
        teams = [create_team(tenant.organization, name, parent=tenant.team) for name in ("left", "right")]
        first, second = (self._asked(tenant, team, 5000) for team in teams)
        assert self._both(
            lambda: approve(operator.principal, first, {}), lambda: approve(tenant.principal, second, {})
        ) == [InvalidInput.__name__, "done"]
        assert sorted(QuotaRequest.objects.values_list("state", flat=True)) == ["approved", "open"]

    def test_a_request_is_decided_once(self, tenant: Tenant, operator: Tenant) -> None:
        request = self._asked(tenant, tenant.team, 5000)
        assert self._both(
            lambda: approve(operator.principal, request, {}),
            lambda: decline(operator.principal, request, "no"),
            lambda: withdraw(tenant.principal, request),
        ) == [Conflict.__name__, Conflict.__name__, "done"]
        granted = has(tenant.team) is not None
        assert granted == (QuotaRequest.objects.get().state == "approved")

    def test_two_who_ask_for_the_same_make_one_request(self, tenant: Tenant) -> None:
        team = tenant.team
        assert self._both(*[lambda: self._asked(tenant, team, 5000)] * 2) == [Conflict.__name__, "done"]
        assert QuotaRequest.objects.count() == 1

    def test_a_quota_set_meanwhile_is_not_lost(self, tenant: Tenant, operator: Tenant) -> None:
        request = self._asked(tenant, tenant.team, 5000)
        self._both(
            lambda: approve(operator.principal, request, {}),
            lambda: set_quotas(
                operator.principal, tenant.team, [{"chip_type": "A100", "guaranteed_milli": 1}]
            ),
        )
        assert has(tenant.team, "A100") == (1, None, 1), "whichever came first"
