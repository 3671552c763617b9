"""Tenancy below the API: the first start, organizations, quotas, roles, tokens, the audit log."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from flexai.common.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from flexai.common.source import asked_from
from flexai.tenancy import audit, services
from flexai.tenancy.models import (
    AuditEntry,
    Membership,
    Organization,
    Quota,
    Role,
    Team,
    TeamMember,
    Token,
    User,
)
from flexai.tenancy.principals import Principal, principal_for_user, visible_teams
from flexai.tenancy.quotas import QuotaLine, set_quota_tree, set_quotas
from flexai.tenancy.roles import Action
from tests.support.tenants import Tenant, a_cell, a_tenant

pytestmark = pytest.mark.django_db

FIRST: dict[str, Any] = {
    "organization": "lab",
    "teams": [
        {"name": "research", "quotas": {"H100-80GB": {"guaranteed": 8000, "limit": 16000}}},
        {"name": "serving", "quotas": {}},
    ],
    "username": "admin",
    "password": "first-password",
    "operator": True,
}


class TestBootstrap:
    @pytest.fixture(autouse=True)
    def _quick(self, settings: Any) -> None:
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
        a_cell()

    def test_somebody_can_sign_in_and_submit(self) -> None:
        organization, user = services.bootstrap(**FIRST)
        assert user.check_password("first-password")
        assert user.is_staff
        principal = principal_for_user(user)
        assert (principal.organization, principal.role, principal.is_operator) == (
            organization,
            Role.OWNER,
            True,
        )
        assert [seat.name for seat in principal.teams] == ["research", "serving"]
        quota = Quota.objects.get()
        assert (quota.team.name, quota.guaranteed_milli, quota.limit_milli) == ("research", 8000, 16000)

    def test_again_changes_nothing_that_people_changed(self) -> None:
        services.bootstrap(**FIRST)
        Quota.objects.update(guaranteed_milli=1)
        user = User.objects.get()
        user.set_password("changed-since")
        user.save()
        services.bootstrap(**{**FIRST, "password": "another"})
        assert User.objects.get().check_password("changed-since")
        assert Quota.objects.get().guaranteed_milli == 1
        counts = [model.objects.count() for model in (Organization, Team, User, Membership, Quota)]
        assert counts == [1, 2, 1, 1, 1]


class TestOrganizations:
    def test_a_second_one_is_refused_where_all_jobs_run_as_one_user(self, settings: Any) -> None:
        settings.SINGLE_ORGANIZATION = True
        services.create_organization("Lab", "lab")
        with pytest.raises(Conflict, match="--trust-tenants"):
            services.create_organization("Other", "other")
        assert Organization.objects.count() == 1
        settings.SINGLE_ORGANIZATION = False
        services.create_organization("Other", "other")

    @pytest.mark.parametrize("slug", ["", "A", "a b", "-a", "a" * 64, "a\n"])
    def test_a_slug_is_plain(self, slug: str) -> None:
        with pytest.raises(InvalidInput):
            services.create_organization("x", slug)
        assert not Organization.objects.exists()

    def test_a_slug_and_a_team_are_there_once(self) -> None:
        organization = services.create_organization("Lab", "lab")
        with pytest.raises(Conflict):
            services.create_organization("Lab again", "lab")
        services.create_team(organization, "research")
        with pytest.raises(Conflict):
            services.create_team(organization, "research")
        with pytest.raises(InvalidInput):
            services.create_team(organization, "Research Team")


class TestTeamsNest:
    def test_a_team_of_another_organization_is_no_parent(self, tenant: Tenant, other: Tenant) -> None:
        with pytest.raises(InvalidInput, match="another organization") as caught:
            services.create_team(tenant.organization, "below", parent=other.team)
        assert [error.field for error in caught.value.errors] == ["parent"]
        assert not Team.objects.filter(name="below").exists()

    def test_nothing_is_put_below_teams_in_a_circle(self, tenant: Tenant) -> None:
        below = services.create_team(tenant.organization, "below", parent=tenant.team)
        Team.objects.filter(pk=tenant.team.pk).update(parent=below)
        below.refresh_from_db()
        with pytest.raises(InvalidInput, match="circle"):
            services.create_team(tenant.organization, "lowest", parent=below)
        assert not Team.objects.filter(name="lowest").exists()

    def test_the_depth_is_bounded(self, tenant: Tenant) -> None:
        team = tenant.team
        for depth in range(2, services.MAX_TEAM_DEPTH + 1):
            team = services.create_team(tenant.organization, f"depth-{depth}", parent=team)
        with pytest.raises(InvalidInput, match=f"at most {services.MAX_TEAM_DEPTH} deep"):
            services.create_team(tenant.organization, "too-deep", parent=team)
        assert Team.objects.filter(organization=tenant.organization).count() == services.MAX_TEAM_DEPTH


class TestRoles:
    def test_the_stronger_of_two_roles_counts(self, tenant: Tenant) -> None:
        user, _ = tenant.somebody(Role.VIEWER)
        serving = services.create_team(tenant.organization, "serving")
        TeamMember.objects.create(team=tenant.team, user=user, role=Role.MAINTAINER)
        principal = principal_for_user(user)
        assert principal.role_in(tenant.team.pk) == Role.MAINTAINER
        assert principal.role_in(serving.pk) == Role.VIEWER
        principal.require(Action.SUBMIT, tenant.team.pk)
        with pytest.raises(Forbidden, match="yours is viewer"):
            principal.require(Action.SUBMIT, serving.pk)

    def test_a_team_of_another_organization_is_not_found(self, tenant: Tenant, other: Tenant) -> None:
        with pytest.raises(NotFound):
            tenant.principal.require(Action.SEE, other.team.pk)
        assert list(visible_teams(tenant.principal)) == [tenant.team]

    def test_teams_in_a_circle_do_not_hang(self, tenant: Tenant) -> None:
        below = services.create_team(tenant.organization, "below", parent=tenant.team)
        Team.objects.filter(pk=tenant.team.pk).update(parent=below)
        assert len(tenant.principal.teams) == 2

    def test_a_user_without_an_organization_cannot_act(self, db: None) -> None:
        with pytest.raises(Unauthenticated, match="no organization"):
            principal_for_user(User.objects.create(username="lonely"))

    def test_nobody_gives_a_role_above_their_own(self, tenant: Tenant) -> None:
        user, _ = tenant.somebody(Role.MAINTAINER)
        newcomer = User.objects.create(username="newcomer")
        maintainer = principal_for_user(user)
        with pytest.raises(Forbidden):
            services.set_team_role(maintainer, tenant.team, newcomer, Role.OWNER)
        assert not TeamMember.objects.exists()
        services.set_team_role(maintainer, tenant.team, newcomer, Role.MEMBER)
        assert principal_for_user(newcomer).role_in(tenant.team.pk) == Role.MEMBER
        assert AuditEntry.objects.get().action == "team.role_set"

    def test_a_token_of_one_team_makes_no_operator(self) -> None:
        operator = a_tenant(operator=True)
        assert operator.principal.is_operator
        _, secret = services.create_token(
            operator.owner, operator.organization, "x", ["read"], 1, operator.team
        )
        assert services.principal_for_token(secret).is_operator is False


def H100(guaranteed: int) -> QuotaLine:  # noqa: N802 - a chip's name
    return {"chip_type": "H100", "guaranteed_milli": guaranteed}


class TestQuotas:
    def test_children_may_not_be_promised_more_than_the_parent(self, tenant: Tenant) -> None:
        """F1"""
        tenant.owner.is_staff = True
        line = {"chip_type": "H100", "guaranteed_milli": 8000}
        set_quotas(tenant.principal, tenant.team, [line])  # type: ignore[list-item]
        one = services.create_team(tenant.organization, "one", parent=tenant.team)
        two = services.create_team(tenant.organization, "two", parent=tenant.team)
        principal = tenant.principal
        set_quotas(principal, one, [{"chip_type": "H100", "guaranteed_milli": 5000}])
        with pytest.raises(InvalidInput) as caught:
            set_quotas(principal, two, [{"chip_type": "H100", "guaranteed_milli": 4000}])
        assert "promised 8000" in caught.value.errors[0].message
        set_quotas(principal, two, [{"chip_type": "H100", "guaranteed_milli": 3000}])

    def test_a_parent_may_not_be_promised_less_than_its_children_are(self, tenant: Tenant) -> None:
        """F1"""
        tenant.owner.is_staff = True
        principal = tenant.principal
        child = services.create_team(tenant.organization, "child", parent=tenant.team)
        set_quotas(principal, tenant.team, [H100(8000)])
        set_quotas(principal, child, [H100(5000)])
        with pytest.raises(InvalidInput) as caught:
            set_quotas(principal, tenant.team, [{"chip_type": "A"}, H100(4000)])
        assert [error.field for error in caught.value.errors] == ["quotas.1.guaranteed_milli"]
        assert Quota.objects.get(team=tenant.team).guaranteed_milli == 8000
        set_quotas(principal, tenant.team, [H100(5000)])
        set_quotas(principal, tenant.team, [])
        assert Quota.objects.get().team == child, "no quota promises nothing and bounds nothing"

    def test_a_tree_moves_a_quota_between_teams_or_changes_nothing(self, tenant: Tenant) -> None:
        tenant.owner.is_staff = True
        principal, top = tenant.principal, tenant.team
        one = services.create_team(tenant.organization, "one", parent=top)
        two = services.create_team(tenant.organization, "two", parent=top)
        set_quota_tree(principal, {top.pk: [H100(8000)], one.pk: [H100(6000)], two.pk: [H100(2000)]})
        moved = {one.pk: [H100(1000)], two.pk: [H100(7000)]}
        set_quota_tree(principal, moved, versions={one.pk: 1, two.pk: 1})
        assert dict(Quota.objects.values_list("team__name", "guaranteed_milli")) == {
            top.name: 8000, "one": 1000, "two": 7000}  # fmt: skip
        with pytest.raises(Conflict, match="changed meanwhile"):
            set_quota_tree(principal, {one.pk: [], two.pk: []}, versions={one.pk: 2, two.pk: 1})
        with pytest.raises(InvalidInput, match="promised"):
            set_quota_tree(principal, {one.pk: [H100(500)], two.pk: [H100(8000)]})
        assert Quota.objects.get(team=one).guaranteed_milli == 1000
        assert AuditEntry.objects.filter(action="team.quotas_set").count() == 5

    @pytest.mark.django_db(transaction=True)
    def test_two_siblings_at_once_are_not_promised_more_together(self, tenant: Tenant) -> None:
        """Each alone would fit; one of them is refused."""
        tenant.owner.is_staff = True
        top = tenant.team
        pair = [services.create_team(tenant.organization, name, parent=top) for name in ("one", "two")]
        set_quotas(tenant.principal, top, [H100(8000)])
        together = threading.Barrier(2)

        def ask(team: Team) -> str:
            try:
                together.wait(60)
                set_quotas(tenant.principal, team, [H100(5000)])
            except InvalidInput:
                return "refused"
            finally:
                connection.close()
            return "set"

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(ask, pair)) == ["refused", "set"]

    def test_an_owner_divides_what_was_given_and_promises_nothing_else(self, tenant: Tenant) -> None:
        below = services.create_team(tenant.organization, "below", parent=tenant.team)
        deeper = services.create_team(tenant.organization, "deeper", parent=below)
        Quota.objects.create(team=tenant.team, cell_id=1, chip_type="H100", guaranteed_milli=4000)
        set_quotas(tenant.principal, below, [{"chip_type": "H100", "guaranteed_milli": 3000}])
        for team, chip_type, amount in ((below, "A100", 1000), (deeper, "A100", 1), (deeper, "H100", 3001)):
            with pytest.raises(InvalidInput, match="not promised so much"):
                set_quotas(tenant.principal, team, [{"chip_type": chip_type, "guaranteed_milli": amount}])
        for team in (tenant.team, services.create_team(tenant.organization, "top")):
            with pytest.raises(Forbidden, match="Only an operator"):
                set_quotas(tenant.principal, team, [])
        assert list(Quota.objects.order_by("id").values_list("team__name", "guaranteed_milli")) == [
            ("research", 4000), ("below", 3000),
        ]  # fmt: skip
        set_quotas(tenant.principal, deeper, [{"chip_type": "A100", "limit_milli": 2000}])

    def test_setting_quotas_replaces_them(self, tenant: Tenant) -> None:
        tenant.owner.is_staff = True
        set_quotas(tenant.principal, tenant.team, [{"chip_type": "A"}, {"chip_type": "B"}])
        set_quotas(tenant.principal, tenant.team, [{"chip_type": "B", "limit_milli": 5}])
        assert list(Quota.objects.values_list("chip_type", "limit_milli")) == [("B", 5)]
        team = Team.objects.get(pk=tenant.team.pk)
        assert (team.version, AuditEntry.objects.count()) == (2, 2)


class TestTokens:
    def test_the_secret_finds_its_principal(self, tenant: Tenant) -> None:
        token, secret = services.create_token(
            tenant.owner, tenant.organization, "ci", ["read"], 30, tenant.team
        )
        found = services.principal_for_token(secret)
        assert (found.user, found.organization, found.token) == (tenant.owner, tenant.organization, token)
        assert found.scopes == {"read"}
        assert found.user.date_joined == User.objects.get(pk=tenant.owner.pk).date_joined, (
            "the rest of the row comes on demand"
        )
        assert secret not in str(Token.objects.values())

    @pytest.mark.parametrize(
        "secret", ["", "flx_", "flx_" + "a" * 42, "flx_" + "a" * 43, "x" * 10_000, "flx_" + "ä" * 43]
    )
    def test_any_other_secret_is_refused(self, tenant: Tenant, secret: str) -> None:
        with pytest.raises(Unauthenticated):
            services.principal_for_token(secret)


def test_the_audit_log_is_append_only(tenant: Tenant) -> None:
    with asked_from("asked-1", "192.0.2.7"):
        audit.record(
            tenant.principal, "thing.done", tenant.team, before={"a": 1}, after={"a": 2}, reason="because"
        )
    entry = AuditEntry.objects.get()
    assert entry.reason == "because"
    assert (entry.actor_kind, entry.actor, entry.object_kind, entry.object_id, entry.before) == (
        "user", tenant.owner.username, "team", tenant.team.public_id, {"a": 1},
    )  # fmt: skip
    assert (entry.request_id, entry.address) == ("asked-1", "192.0.2.7")
    for change in ("UPDATE tenancy_auditentry SET actor = 'x'", "DELETE FROM tenancy_auditentry",
                   "TRUNCATE tenancy_auditentry"):  # fmt: skip
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            connection.cursor().execute(change)
    assert AuditEntry.objects.get().actor == tenant.owner.username


def test_a_principal_is_equal_whatever_the_request(tenant: Tenant) -> None:
    assert isinstance(tenant.principal, Principal)
    assert tenant.principal == tenant.principal
