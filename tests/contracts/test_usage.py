"""What the agent measures of a replica is what the API shows of it: both ends name it alike."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flexai.cluster.telemetry import keep_frames
from flexai.common import clock
from flexai.jobs.queries_live import job_usage, use_of_jobs
from flexai.jobs.wanted import attempts_wanted_on
from node_agent import protocol
from node_agent.drivers.simulated import Shape, SimulatedDriver
from node_agent.executor import Local
from node_agent.telemetry import Sampler
from tests.support.placed import PlacedWorld

pytestmark = pytest.mark.django_db
HOLD_64_MIB = "data = b'x' * (64 << 20); print('held', flush=True); input()"


def test_a_replica_of_a_real_process_is_measured_and_shown(tmp_path: Path) -> None:
    world = PlacedWorld()
    node = world.a_node(chips=1)
    attempt = world.placed(node, milli=1000)
    [wanted] = attempts_wanted_on([node.pk])[node.pk].replicas
    sampler = Sampler(SimulatedDriver(Shape.parse("1x1:H100-80GB")))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_64_MIB], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        local = Local((wanted.attempt, wanted.replica, wanted.generation), str(tmp_path), job=wanted.job)
        local.shim_pid = os.getpid()  # the parent stands in for the shim: what is below it is the job
        frame = protocol.pack_telemetry(sampler.sample([local]))
        process.communicate(b"\n")
    keep_frames({node.pk: frame}, at_ms=clock.to_ms(clock.now()))
    [replica] = job_usage(attempt.job_id)["replicas"]
    assert replica["cpu_permille"] is not None
    assert 64 <= replica["memory_mib"] <= 200
    assert replica["memory_peak_mib"] >= replica["memory_mib"]


def test_another_attempts_sample_is_not_taken_for_this_one(tmp_path: Path) -> None:
    world = PlacedWorld()
    node = world.a_node()
    attempt = world.placed(node)
    key = protocol.replica_key("att-other", 0)
    sample = protocol.Telemetry(1, 0, 0, replicas=[protocol.ReplicaSample(key, 5, 5, 5)])
    keep_frames({node.pk: protocol.pack_telemetry(sample)}, at_ms=clock.to_ms(clock.now()))
    [replica] = job_usage(attempt.job_id)["replicas"]
    assert (replica["cpu_permille"], replica["memory_mib"]) == (None, None)


@pytest.mark.parametrize(("driver", "shown"), [("cpu", 500), ("nvidia", 900)])
def test_where_cores_are_the_chips_a_job_is_shown_its_own_use_and_not_that_of_others_on_them(
    driver: str, shown: int
) -> None:
    world = PlacedWorld()
    node = world.a_node(chips=1)
    node.chips.update(driver=driver)
    attempt = world.placed(node, milli=500)
    mine = protocol.ReplicaSample(protocol.replica_key(attempt.public_id, 0), 250, 5, 5)
    sample = protocol.Telemetry(1, 0, 0, chips=[protocol.ChipSample(0, 900, 0)], replicas=[mine])
    keep_frames({node.pk: protocol.pack_telemetry(sample)}, at_ms=clock.to_ms(clock.now()))
    assert use_of_jobs([attempt.job_id]) == {attempt.job_id: shown}
