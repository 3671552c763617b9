"""Work in an image: what is told while its node fetches it, what really ran, and what cannot be had."""

from __future__ import annotations

from typing import Any

import pytest

from flexai.cluster.models import Node
from flexai.cluster.services import change_inventory
from flexai.common.errors import InvalidInput
from flexai.jobs.models import Event, Job
from flexai.jobs.reports import take_reports
from flexai.jobs.wanted import attempts_wanted_on
from node_agent.protocol import Inventory
from tests.support.placed import PlacedWorld, report

pytestmark = pytest.mark.django_db
IMAGE = "ghcr.io/acme/train:1"
DIGEST = f"sha256:{'a' * 64}"
PULLING = f"Fetching image {IMAGE}."


def pulling(attempt: Any, replica: int = 0, sentence: str = PULLING) -> Any:
    return report(attempt, "starting", replica, note="pulling", sentence=sentence)


def test_pulling_is_told_once_and_moves_nothing() -> None:
    world = PlacedWorld()
    one, two = world.a_node(), world.a_node()
    attempt = world.placed(one, two, image=IMAGE)
    assert attempts_wanted_on([one.pk])[one.pk].replicas[0].image == IMAGE
    take_reports(one.pk, [pulling(attempt), pulling(attempt)])
    take_reports(two.pk, [pulling(attempt, 1)])
    job = Job.objects.get(pk=attempt.job_id)
    assert (job.status, job.reason_code, job.sentence) == ("starting", "pulling", PULLING)
    assert list(Event.objects.filter(job=job).values_list("kind", "sentence")) == [
        ("attempt.pulling", PULLING)
    ]
    assert set(attempt.replicas.values_list("state", flat=True)) == {"placed"}, (
        "a restarted agent begins again"
    )
    again = "Image ghcr.io/acme/train:1 could not be fetched: no such host; tried again in 5 s."
    take_reports(one.pk, [pulling(attempt, sentence=again)])
    job.refresh_from_db()
    assert job.sentence == again


def test_what_really_ran_is_kept_by_its_digest() -> None:
    world = PlacedWorld()
    node = world.a_node()
    attempt = world.placed(node, image=IMAGE)
    take_reports(node.pk, [report(attempt, "starting"), report(attempt, "running", image=DIGEST)])
    take_reports(node.pk, [pulling(attempt)])
    assert Job.objects.get(pk=attempt.job_id).reason_code == "running", "late: it runs already"
    take_reports(node.pk, [report(attempt, "ended")])
    assert attempt.replicas.get().image == DIGEST


def test_a_digest_that_is_none_is_refused() -> None:
    world = PlacedWorld()
    node = world.a_node()
    attempt = world.placed(node, image=IMAGE)
    with pytest.raises(InvalidInput, match="no digest"):
        take_reports(node.pk, [report(attempt, "running", image="latest")])


def test_an_image_that_cannot_be_had_is_not_tried_again() -> None:
    world = PlacedWorld()
    node = world.a_node()
    retry = {"limit": 3, "on": ["exit", "start_failed"], "exit_codes": []}
    attempt = world.placed(node, image=IMAGE, retry=retry)
    sentence = f"Image {IMAGE} cannot be had: manifest unknown"
    take_reports(node.pk, [report(attempt, "ended", outcome="no_image", exit_code=None, sentence=sentence)])
    attempt.refresh_from_db()
    job = Job.objects.get(pk=attempt.job_id)
    assert (attempt.outcome, attempt.sentence) == ("no_image", sentence)
    assert (job.state, job.outcome) == ("failed", "no_image")


def test_a_registry_that_stays_away_is_a_failed_start_which_the_jobs_retries_cover() -> None:
    world = PlacedWorld()
    node = world.a_node()
    retry = {"limit": 1, "on": ["exit", "start_failed"], "exit_codes": []}
    attempt = world.placed(node, image=IMAGE, retry=retry)
    take_reports(
        node.pk, [report(attempt, "ended", outcome="start_failed", exit_code=None, sentence="Away.")]
    )
    assert Job.objects.get(pk=attempt.job_id).state == "queued"


def test_a_node_that_runs_images_is_on_record_as_that() -> None:
    world = PlacedWorld()
    node = world.a_node()
    change_inventory(node.pk, Inventory(cpu_milli=1000, memory_mib=1000, images=True), "")
    assert Node.objects.get(pk=node.pk).images
    change_inventory(node.pk, Inventory(cpu_milli=1000, memory_mib=1000), "")
    assert not Node.objects.get(pk=node.pk).images
