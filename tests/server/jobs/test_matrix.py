"""Sweeps: which tasks a matrix has, and what each of them is given."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexai.common.errors import InvalidInput
from flexai.jobs import services
from flexai.jobs.models import Job, JobSet
from flexai.jobs.spec import parse
from flexai.jobs.spec_matrix import expanded
from flexai.jobs.wanted import attempts_wanted_on
from tests.support.tenants import Tenant, a_node, a_spec, started


def tasks_of(**matrix: Any) -> list[dict[str, str]]:
    return list(parse({"commands": ["true"], "matrix": matrix}).tasks)


def wrong(matrix: Any, **fields: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        parse({"commands": ["true"], "matrix": matrix, **fields})
    return {error.field: error.message + error.hint for error in caught.value.errors}


def test_every_combination_is_a_task_the_last_list_fastest() -> None:
    found = tasks_of(lr=[0.1, "1e-3"], seed=[1, 2], deep=[True])
    assert found[:2] == [
        {"lr": "0.1", "seed": "1", "deep": "true"},
        {"lr": "0.1", "seed": "2", "deep": "true"},
    ]
    assert [task["lr"] for task in found] == ["0.1", "0.1", "1e-3", "1e-3"]


def test_include_adds_to_what_it_fits_and_stands_alone_otherwise() -> None:
    """The example of GitHub's own documentation."""
    found = tasks_of(
        fruit=["apple", "pear"],
        animal=["cat", "dog"],
        include=[
            {"color": "green"},
            {"color": "pink", "animal": "cat"},
            {"fruit": "apple", "shape": "circle"},
            {"fruit": "banana"},
            {"fruit": "banana", "animal": "cat"},
        ],
    )
    assert found == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


def test_include_alone_is_enough() -> None:
    assert tasks_of(include=[{"lr": 1}, {"lr": 2}]) == [{"lr": "1"}, {"lr": "2"}]


VALUES = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)
LISTS = st.dictionaries(st.sampled_from(["x", "y", "z"]), VALUES, max_size=3)
ENTRY = st.dictionaries(st.sampled_from(["x", "y", "z", "w"]), st.sampled_from("abc"), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(LISTS, st.lists(ENTRY, max_size=3), st.lists(ENTRY, max_size=2))
def test_what_the_lists_gave_is_kept_and_what_is_excluded_is_gone(
    lists: dict[str, list[str]], include: list[dict[str, str]], exclude: list[dict[str, str]]
) -> None:
    tasks = expanded(lists, include, exclude)
    every = [dict(zip(lists, one, strict=True)) for one in product(*lists.values())] if lists else []
    kept = [one for one in every if not any(all(one.get(k) == v for k, v in out.items()) for out in exclude)]
    assert [{key: task[key] for key in lists} for task in tasks[: len(kept)]] == kept
    for entry in include:
        assert any(entry.keys() <= task.keys() for task in tasks), "nothing that was included is lost"
    assert len(tasks) <= len(kept) + len(include)


@pytest.mark.parametrize(
    ("matrix", "field"),
    [
        ([1], "matrix"),
        ({}, "matrix"),
        ({"lr": []}, "matrix.lr"),
        ({"lr": [1, 1]}, "matrix.lr"),
        ({"lr": [[1]]}, "matrix.lr.0"),
        ({"lr": [float("nan")]}, "matrix.lr.0"),
        ({"lr": ["x" * 201]}, "matrix.lr.0"),
        ({"9a": [1]}, "matrix.9a"),
        ({"FLEXAI_JOB_ID": [1]}, "matrix.FLEXAI_JOB_ID"),
        ({"lr": [1], "exclude": [{"rl": 1}]}, "matrix.exclude.0.rl"),
        ({"lr": [1], "exclude": [{"lr": 1}]}, "matrix"),
        ({"lr": [1], "include": [{}]}, "matrix.include.0"),
        ({"lr": [1], "max_parallel": 0}, "matrix.max_parallel"),
        ({"a": list(range(101)), "b": list(range(100))}, "matrix"),
        ({"include": [{"a": 1}, {"a": 1}]}, "matrix"),
    ],
)
def test_what_is_wrong_is_named(matrix: Any, field: str) -> None:
    assert field in wrong(matrix)


def test_what_cannot_go_together_is_named() -> None:
    assert "`array`" in wrong({"lr": [1]}, array="0-1")["matrix"]
    assert set(wrong({"lr": [1]}, env={"lr": "2"}, labels={"lr": "x"})) == {"env.lr", "labels.lr"}


@pytest.mark.django_db
class TestTasks:
    def test_each_has_its_values_as_variables_and_labels(self, tenant: Tenant) -> None:
        made = services.submit(
            tenant.principal,
            a_spec(matrix={"lr": [0.1, 0.2], "max_parallel": 1}, env={"A": "b"}, labels={"run": "x"}),
        )
        assert made.set is not None
        assert (made.set.size, JobSet.objects.get().cap) == (2, 1)
        for told, row in zip(made.jobs, Job.objects.order_by("id"), strict=True):
            assert (told.labels, told.effective_spec) == (row.labels, row.effective_spec)
        first, second = Job.objects.order_by("index")
        assert (first.index, second.labels) == (0, {"run": "x", "lr": "0.2"})
        assert first.spec["matrix"] == {"lr": [0.1, 0.2], "max_parallel": 1}, (
            "what was submitted stays untouched"
        )
        node = a_node()
        started(second, node)
        [replica] = attempts_wanted_on([node.pk])[node.pk].replicas
        assert (replica.env["lr"], replica.env["A"], replica.env["FLEXAI_ARRAY_INDEX"]) == ("0.2", "b", "1")

    def test_ten_thousand_are_made_at_once_and_found_by_label(self, tenant: Tenant) -> None:
        matrix = {"a": list(range(100)), "b": list(range(100))}
        made = services.submit(tenant.principal, a_spec(matrix=matrix))
        assert made.set is not None
        assert made.set.size == Job.objects.count() == 10_000
        assert Job.objects.filter(labels__contains={"a": "7"}).count() == 100

    def test_a_batch_does_not_take_one(self, tenant: Tenant) -> None:
        with pytest.raises(InvalidInput) as caught:
            services.submit_batch(tenant.principal, [a_spec(matrix={"lr": [1]})])
        assert caught.value.errors[0].field == "jobs.0.matrix"
