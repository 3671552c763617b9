"""What is written after `flexai simulate`: understood, or refused with what would do."""

from __future__ import annotations

import pytest

from scheduler_core.simulation.simulate.options import (
    BadOption,
    Faults,
    NodeGroup,
    TeamQuota,
    cluster_of_groups,
    faults_of,
    names_of,
    node_groups,
    quotas_of,
)

KNOWN = ("flexai", "fifo", "tiresias")


def test_groups_of_nodes_become_a_cluster() -> None:
    groups = node_groups("2x8:H100-80GB, 1x4:T4")
    assert groups == (NodeGroup(2, 8, "H100-80GB"), NodeGroup(1, 4, "T4"))
    cluster, names = cluster_of_groups(groups)
    assert (cluster.chips, cluster.types.tolist(), names) == (20, [1, 1, 2], ("H100-80GB", "T4"))


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("16x8", "is not NODESxCHIPS:TYPE"),
        ("", "is not NODESxCHIPS:TYPE"),
        ("0x8:A", "1 node or more"),
        ("1x65:A", "1 to 64 chips"),
        ("1x0:A", "1 to 64 chips"),
        ("9999x8:A,2x8:B", "at most 10,000 nodes"),
    ],
)
def test_an_impossible_cluster_is_refused(text: str, because: str) -> None:
    with pytest.raises(BadOption, match=because):
        node_groups(text)


def test_faults_are_two_times() -> None:
    assert faults_of("") is None
    assert faults_of("30d:4h") == Faults(30 * 24 * 3_600_000, 4 * 3_600_000)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("30d", "expected FAILURES:REPAIR"),
        ("often:4h", "'often' is not a time"),
        ("0s:1h", "a second at least"),
    ],
)
def test_faults_that_are_no_times_are_refused(text: str, because: str) -> None:
    with pytest.raises(BadOption, match=because):
        faults_of(text)


def test_a_quota_is_a_promise_and_a_limit() -> None:
    assert quotas_of(["vision:H100-80GB=4:8", "a:b:T4=0"]) == (
        TeamQuota("vision", "H100-80GB", 4, 8),
        TeamQuota("a:b", "T4", 0, None),
    )
    for text in ("vision=4", "vision:T4=8:4", "vision:T4=x"):
        with pytest.raises(BadOption, match="expected TEAM:TYPE=GUARANTEED"):
            quotas_of([text])


def test_an_unknown_policy_is_told_the_nearest() -> None:
    assert names_of("fifo, flexai,fifo", KNOWN, "policy") == ("fifo", "flexai")
    with pytest.raises(
        BadOption, match=r"No policy is called 'tirseias'\. Did you mean tiresias\? There are"
    ):
        names_of("tirseias", KNOWN, "policy")
    with pytest.raises(BadOption, match=r"No policy is called 'xyz'\. There are flexai"):
        names_of("xyz", KNOWN, "policy")
