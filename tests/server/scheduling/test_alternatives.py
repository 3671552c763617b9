"""P5: a job that can run on several kinds of chips takes one of them, from its spec to its placement."""

from __future__ import annotations

from typing import Any

import pytest

from flexai.cluster.models import Cell, Pool
from flexai.common.errors import NeverFits
from flexai.jobs import admission, services
from flexai.jobs.models import Allocation, Job
from flexai.jobs.presenting import present_job
from flexai.scheduling import engine_state
from flexai.scheduling.cycle import run_cycle
from flexai.tenancy.models import Membership, Role
from flexai.tenancy.principals import Principal
from tests.server.scheduling.world import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world() -> World:
    Pool.objects.all().delete()
    Cell.objects.all().delete()  # a job goes to the first there is
    made = World()
    made.a_node("h", chips=4, type="H100")
    made.a_node("a", chips=8, type="A100")
    admission.forget()
    return made


def submit(world: World, name: str, resources: dict[str, Any]) -> Job:
    Membership.objects.get_or_create(
        user=world.user, organization=world.organization, defaults={"role": Role.OWNER}
    )
    principal = Principal(world.user, world.organization, Role.OWNER)
    made = services.submit(
        principal,
        {"name": name, "commands": ["true"], "resources": resources, "preemptible": True, "team": "research"},
    )
    return made.jobs[0]


def cycle(world: World) -> None:
    engine_state.forget(world.cell.pk)
    run_cycle(world.cell.pk)


def types_of(job: Job) -> list[str]:
    return sorted(Allocation.objects.filter(attempt__job=job).values_list("chip__type", flat=True))


def told(job: Job) -> dict[str, Any]:
    return present_job(Job.objects.select_related("team", "user", "set").get(pk=job.pk))["chips"]


def test_p5_the_first_that_can_start_is_taken_from_a_list(world: World) -> None:
    first = submit(world, "first", {"accelerators": ["H100:4", "A100:2"]})
    second = submit(world, "second", {"accelerators": ["H100:4", "A100:2"]})
    assert told(first)["type"] == "H100 or A100"
    cycle(world)
    assert types_of(first) == ["H100"] * 4
    assert types_of(second) == ["A100"] * 2
    assert told(second) == {
        "type": "A100",
        "milli_per_replica": 2000,
        "replicas": 1,
        "min_replicas": 1,
        "max_replicas": 1,
        "total_milli": 2000,
    }


def test_p5_an_alternative_that_this_cluster_lacks_does_no_harm(world: World) -> None:
    job = submit(world, "job", {"any_of": [{"accelerators": "B200:8"}, {"accelerators": "a100:8"}]})
    cycle(world)
    assert types_of(job) == ["A100"] * 8


def test_f6_what_fits_with_no_alternative_is_refused_with_all_reasons(world: World) -> None:
    with pytest.raises(NeverFits) as caught:
        submit(world, "job", {"any_of": [{"accelerators": "B200"}, {"accelerators": "A100:9"}]})
    assert "B200" in str(caught.value.errors)
    assert Job.objects.count() == 0
