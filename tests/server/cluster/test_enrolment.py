"""Enrolment and credentials: one-time, hashed, expiring, revocable."""

from __future__ import annotations

import secrets
from datetime import timedelta

import pytest

from flexai.cluster import services
from flexai.cluster.models import EnrolmentToken, Node, NodeEvent
from flexai.cluster.services import (
    cordon_node,
    create_enrolment_token,
    declare_dead,
    drain_node,
    node_for_credential,
    return_node,
    revoke_credential,
)
from flexai.common import clock
from flexai.common.errors import Conflict, Forbidden, InvalidInput, Unauthenticated
from flexai.tenancy.models import AuditEntry
from tests.support.placed import PlacedWorld

pytestmark = pytest.mark.django_db


def enrol(token: str, name: str) -> tuple[Node, str]:
    """The node, and the credential that its agent has made."""
    credential = "flxa_" + secrets.token_urlsafe(32)
    return services.enrol(token, name, credential), credential


@pytest.fixture
def pool():
    return PlacedWorld().pool


def test_a_token_enrols_one_node_and_only_its_hash_is_kept(pool):
    secret = create_enrolment_token(pool)
    node, credential = enrol(secret, "gpu-1")
    assert (node.pool, node.name, node.reachable) == (pool, "gpu-1", False)
    assert node_for_credential(credential).pk == node.pk
    assert secret not in EnrolmentToken.objects.get().hash
    assert credential not in node.credential_hash
    with pytest.raises(Unauthenticated, match="used already"):
        enrol(secret, "gpu-2")
    assert not Node.objects.filter(name="gpu-2").exists()


def test_whoever_asks_again_is_the_same_node_and_uses_no_token_up(pool):
    """Its agent was stopped before the answer came, or the answer was lost."""
    secret = create_enrolment_token(pool)
    node, credential = enrol(secret, "gpu-1")
    assert services.enrol(secret, "gpu-1", credential).pk == node.pk
    assert EnrolmentToken.objects.get().uses_left == 0
    assert AuditEntry.objects.filter(action="node.enrolled").count() == 1
    with pytest.raises(Unauthenticated):
        services.enrol(secret, "gpu-2", credential)
    revoke_credential("user:ana", node, "lost laptop")
    with pytest.raises(Unauthenticated, match="used already"):
        services.enrol(secret, "gpu-1", credential)


@pytest.mark.parametrize("credential", ["", "flxa_short", "a" * 48, "flxa_" + "x" * 101, "flxa_" + "ä" * 43])
def test_a_credential_that_could_be_guessed_is_refused(pool, credential):
    with pytest.raises(InvalidInput):
        services.enrol(create_enrolment_token(pool), "gpu-1", credential)
    assert EnrolmentToken.objects.get().uses_left == 1


def test_an_expired_or_unknown_token_is_refused(pool):
    secret = create_enrolment_token(pool)
    EnrolmentToken.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    with pytest.raises(Unauthenticated, match="expired"):
        enrol(secret, "gpu-1")
    with pytest.raises(Unauthenticated, match="not known"):
        enrol("flxe_nonsense", "gpu-1")
    assert Node.objects.count() == 0


@pytest.mark.parametrize("name", ["", "GPU", "-x", "a" * 64, "a b", "a\x00b", "../etc"])
def test_a_bad_name_is_refused_and_the_token_kept(pool, name):
    secret = create_enrolment_token(pool)
    with pytest.raises(InvalidInput):
        enrol(secret, name)
    assert EnrolmentToken.objects.get().uses_left == 1


@pytest.mark.parametrize(
    "wrong", [{"ttl": timedelta(0)}, {"ttl": timedelta(days=31)}, {"uses": 0}, {"uses": 10_001}]
)
def test_bounds_of_a_token(pool, wrong):
    with pytest.raises(InvalidInput):
        create_enrolment_token(pool, **wrong)


def test_an_existing_name_is_taken_over_only_when_declared_dead(pool):
    secret = create_enrolment_token(pool, uses=3)
    node, old = enrol(secret, "gpu-1")
    with pytest.raises(Conflict):
        enrol(secret, "gpu-1")
    assert node_for_credential(old).pk == node.pk
    declare_dead("user:ana", node, "burnt")
    again, new = enrol(secret, "gpu-1")
    assert (again.pk, again.state) == (node.pk, "ready")
    assert node_for_credential(new).pk == node.pk
    with pytest.raises(Unauthenticated):
        node_for_credential(old)


def test_a_revoked_or_foreign_credential_is_refused(pool):
    node, credential = enrol(create_enrolment_token(pool), "gpu-1")
    revoke_credential("user:ana", node, "lost laptop")
    with pytest.raises(Forbidden, match="revoked"):
        node_for_credential(credential)
    for wrong in ("", "flxa_", "flxa_" + "x" * 43, "flx_token", "flxa_" + "x" * 1000):
        with pytest.raises(Unauthenticated):
            node_for_credential(wrong)


def test_the_operators_word_is_recorded_once(pool):
    node, _ = enrol(create_enrolment_token(pool), "gpu-1")
    for act, state in ((cordon_node, "cordoned"), (drain_node, "draining"), (return_node, "ready")):
        act("user:ana", node, "because")
        act("user:ana", node, "because")
        assert Node.objects.get(pk=node.pk).state == state
    actions = list(AuditEntry.objects.filter(actor="ana").order_by("id").values_list("action", flat=True))
    assert actions == ["node.cordoned", "node.draining", "node.returned"]
    assert NodeEvent.objects.filter(node=node, actor="user:ana").count() == 3


def test_a_node_in_contact_is_not_declared_dead():
    node = PlacedWorld().a_node()
    with pytest.raises(Conflict):
        declare_dead("user:ana", node)
    node.refresh_from_db()
    assert node.state == "ready"
