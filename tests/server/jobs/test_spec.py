"""The job spec: every field, its bounds, and what is said about what is wrong."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexai.common.errors import InvalidInput, TooLarge
from flexai.jobs.spec import MAX_SPEC_BYTES, parse
from flexai.jobs.vocabulary import BUILT, NOT_BUILT


def spec(**fields: Any) -> dict[str, Any]:
    return {"commands": ["true"], **fields}


def effective(**fields: Any) -> dict[str, Any]:
    return parse(spec(**fields)).spec


def resources(**fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = effective(resources=fields)["resources"]
    return made


def wrong(raw: object) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        parse(raw)
    return {error.field: f"{error.message} | {error.hint}" for error in caught.value.errors}


def test_the_defaults() -> None:
    assert parse({"commands": "true"}).spec == {
        "name": "job", "team": "", "type": "task", "image": None, "commands": ["true"], "env": {}, "files": {},
        "working_dir": "",
        "resources": {
            "chips": 0, "chip_types": [], "milli": 0, "chip_memory_mib": 0, "cpu_milli": 1000,
            "memory_mib": 0,
            "isolation": None,
        },
        "alternatives": [], "choose": "earliest_finish", "shm_mib": None,
        "replicas": {"min": 1, "max": 1, "spread": True}, "node_pools": [], "priority": 50,
        "preemptible": False,
        "min_runtime_ms": 0, "hold": False, "start_after": None,
        "deadline": None, "deadline_ms": None, "max_duration_ms": None,
        "retry": {"limit": 0, "on": ["exit", "oom", "start_failed"], "exit_codes": []}, "lease_ms": 600_000,
        "lend": "team", "lend_after_ms": 300_000, "grace_ms": 10_000, "checkpoint_path": "",
        "checkpoint_signal": "SIGTERM", "idle": None, "stragglers": None, "array": None, "right_size": True,
        "secrets": {}, "depends_on": [], "notify": None, "labels": {},
        "outputs": [],
    }  # fmt: skip


def test_outputs_are_paths_below_the_working_directory() -> None:
    assert effective(outputs="results/")["outputs"] == ["results"]
    assert effective(outputs=["./a/**", "**/*.xml", "a/**"])["outputs"] == ["a/**", "**/*.xml"]
    assert effective(outputs=["x"], working_dir="src")["outputs"] == ["x"]
    for value in ("/etc/passwd", "../x", "a/../../x", "~/x", "a\\b", "", ".", "a//b", "a\nb", "x" * 300):
        assert set(wrong(spec(outputs=[value]))) == {"outputs.0"}, value
    assert set(wrong(spec(outputs=["x"] * 51))) == {"outputs"}
    assert set(wrong(spec(outputs={"x": 1}))) == {"outputs"}
    assert set(wrong(spec(outputs=[3]))) == {"outputs.0"}
    assert "`working_dir` is another" in wrong(spec(outputs=["x"], working_dir="/data"))["outputs"]
    assert "did you mean `outputs`" in wrong(spec(artifacts=["x"]))["artifacts"]


def test_an_image_is_kept_by_its_full_name_and_that_is_said() -> None:
    read = parse(spec(image="docker.io/python"))
    assert read.spec["image"] == "docker.io/library/python:latest"
    assert "`image` is docker.io/library/python:latest." in read.roundings
    assert parse(spec(image="ghcr.io/acme/train:1")).roundings == []
    assert "does not name its registry" in wrong(spec(image="python:3.12"))["image"]
    assert set(wrong(spec(image=["x"]))) == {"image"}


IMAGE = "ghcr.io/acme/train:1"


def test_shared_memory_is_an_images_and_at_most_the_jobs_memory() -> None:
    asked = {"shm_size": "8GB", "memory": "16GB"}
    assert parse(spec(image=IMAGE, resources=asked)).spec["shm_mib"] == 8192
    assert parse(spec(image=IMAGE, resources={"memory": "16GB"})).spec["shm_mib"] is None
    assert parse(spec(image=IMAGE, resources={"shm_size": "64GB"})).spec["shm_mib"] == 65_536
    assert "uses its node's" in wrong(spec(resources=asked))["resources.shm_size"]
    too_much = wrong(spec(image=IMAGE, resources={"shm_size": "32GB", "memory": "16GB"}))
    assert "counts as the job's memory, of 16384 MiB" in too_much["resources.shm_size"]
    either = {"any_of": [{"memory": "64GB"}, {"memory": "4GB"}], "shm_size": "8GB"}
    assert "of 4096 MiB" in wrong(spec(image=IMAGE, resources=either))["resources.shm_size"]
    inside = {"any_of": [{"memory": "64GB", "shm_size": "8GB"}]}
    assert "`shm_size`" in str(wrong(spec(image=IMAGE, resources=inside)))


def test_what_an_image_cannot_write_into_is_refused_when_it_is_submitted() -> None:
    assert parse(spec(image=IMAGE, checkpoint={"path": "saved"})).spec["checkpoint_path"] == "saved"
    said = wrong(spec(image=IMAGE, checkpoint={"path": "/mnt/shared"}))
    assert set(said) == {"checkpoint.path"}
    assert "is absolute" in said["checkpoint.path"]
    assert parse(spec(checkpoint={"path": "/mnt/shared"})).spec["checkpoint_path"] == "/mnt/shared"
    files = {"files": {"a": "b"}, "working_dir": "/workspace"}
    assert "which is the image's" in wrong(spec(image=IMAGE, **files))["files"]
    assert parse(spec(image=IMAGE, working_dir="/workspace")).spec["working_dir"] == "/workspace"


def asked(**fields: Any) -> tuple[list[tuple[Any, ...]], str]:
    made = effective(resources=fields)
    all_of_them = [made["resources"], *made["alternatives"]]
    return [(one["chips"], *one["chip_types"], one["milli"], one["memory_mib"]) for one in all_of_them], made[
        "choose"
    ]


def test_p5_alternatives_stand_over_what_is_beside_them() -> None:
    any_of = [
        {"accelerators": "H100:4"},
        {"accelerators": "A100:8", "memory": "64GiB"},
        {"accelerators": "L4", "fraction": 0.5},
    ]
    found, choose = asked(any_of=any_of, memory="16GiB")
    assert found == [(4, "H100", 0, 16_384), (8, "A100", 0, 65_536), (0, "L4", 500, 16_384)]
    assert choose == "earliest_finish"
    assert asked(any_of=any_of, choose="ordered")[1] == "ordered"


def test_p5_a_list_of_accelerators_is_taken_in_its_order() -> None:
    assert asked(accelerators=["H100:4", "A100:8"]) == ([(4, "H100", 0, 0), (8, "A100", 0, 0)], "ordered")
    assert asked(accelerators=["H100:4"]) == ([(4, "H100", 0, 0)], "ordered")


@pytest.mark.parametrize(
    ("fields", "path", "said"),
    [
        ({"any_of": []}, "resources.any_of", "1 to 16"),
        ({"any_of": [{"accelerators": "H100"}] * 17}, "resources.any_of", "1 to 16"),
        ({"any_of": {"H100": 8}}, "resources.any_of", "must be a list"),
        ({"any_of": ["H100"]}, "resources.any_of.0", "must be an object"),
        ({"any_of": [{"acelerators": "H100"}]}, "resources.any_of.0.acelerators", "accelerators"),
        ({"any_of": [{"accelerators": "H100:0"}]}, "resources.any_of.0.accelerators", "1 or more"),
        ({"any_of": [{"any_of": []}]}, "resources.any_of.0.any_of", "unknown key"),
        ({"any_of": [{"disk": "1GB"}]}, "resources.any_of.0.disk", "is not built yet"),
        ({"accelerators": ["H100", "A100:-1"]}, "resources.accelerators.1", "1 or more"),
        ({"accelerators": []}, "resources.accelerators", "1 to 16"),
        ({"accelerators": ["H100"], "any_of": [{}]}, "resources.accelerators", "give one of them"),
        ({"accelerators": {"H100": 1, "A100": 1}}, "resources.accelerators", "resources.any_of"),
        ({"accelerators": "H100", "choose": "ordered"}, "resources.choose", "only one"),
        ({"any_of": [{"accelerators": "H100"}], "choose": "best"}, "resources.choose", "ordered"),
    ],
)
def test_p5_alternatives_that_are_wrong(fields: dict[str, Any], path: str, said: str) -> None:
    assert said in wrong(spec(resources=fields))[path]


@pytest.mark.parametrize(
    ("fields", "idle"),
    [
        ({"utilization_policy": {}}, (50, 600_000, "notify")),
        (
            {"utilization_policy": {"min_utilization": "10%", "window": "30m", "action": "suspend"}},
            (100, 1_800_000, "suspend"),
        ),
        ({"utilization_policy": {"min_utilization": 25, "action": "stop"}}, (250, 600_000, "stop")),
        ({"utilization_policy": {"min_utilization": "2.5%"}}, (25, 600_000, "notify")),
        ({"idle_timeout": "2h"}, (50, 7_200_000, "stop")),
    ],
)
def test_t2_what_may_be_done_when_chips_are_idle(fields: dict[str, Any], idle: tuple[int, int, str]) -> None:
    made = effective(resources={"accelerators": "H100:1"}, **fields)["idle"]
    assert (made["below_permille"], made["window_ms"], made["action"]) == idle


@pytest.mark.parametrize(
    ("fields", "path", "said"),
    [
        ({"idle_timeout": "5s"}, "idle_timeout", "30s"),
        ({"idle_timeout": "8d"}, "idle_timeout", "1w"),
        ({"utilization_policy": {"action": "kill"}}, "utilization_policy.action", "notify"),
        ({"utilization_policy": {"min_utilization": 0.05}}, "utilization_policy.min_utilization", "5%"),
        (
            {"utilization_policy": {"min_utilization": 101}},
            "utilization_policy.min_utilization",
            "1% to 100%",
        ),
        ({"utilization_policy": {"min_utilization": True}}, "utilization_policy.min_utilization", "number"),
        ({"utilization_policy": {"windw": "5m"}}, "utilization_policy.windw", "window"),
        ({"utilization_policy": "suspend"}, "utilization_policy", "must be an object"),
        ({"utilization_policy": {}, "idle_timeout": "1h"}, "idle_timeout", "give one of them"),
        ({"idle_timeout": "1h", "resources": {"cpus": 1}}, "idle_timeout", "the job asks for none"),
    ],
)
def test_t2_a_policy_for_idle_chips_that_is_wrong(fields: dict[str, Any], path: str, said: str) -> None:
    assert said in wrong(spec(**({"resources": {"accelerators": "H100:1"}} | fields)))[path]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("notify", ("notify", 800, 600_000, 2)),
        ("never", ("never", 800, 600_000, 2)),
        ({"action": "move"}, ("move", 800, 600_000, 2)),
        ({"action": "move", "below": "70%", "window": "5m", "moves": 1}, ("move", 700, 300_000, 1)),
    ],
)
def test_t6_what_may_be_done_about_what_holds_it_back(given: Any, read: tuple[str, int, int, int]) -> None:
    made = effective(stragglers=given)["stragglers"]
    assert (made["action"], made["below_permille"], made["window_ms"], made["moves"]) == read


@pytest.mark.parametrize(
    ("given", "path", "said"),
    [
        ("retry", "stragglers", "notify"),
        ({"action": "kill"}, "stragglers.action", "notify"),
        ({"window": "5s"}, "stragglers.window", "1m"),
        ({"below": 0}, "stragglers.below", "5%"),
        ({"moves": -1}, "stragglers.moves", "0"),
        ({"factor": 2}, "stragglers.factor", "unknown key"),
    ],
)
def test_t6_what_is_wrong_about_it(given: Any, path: str, said: str) -> None:
    assert said in wrong(spec(stragglers=given))[path]


@pytest.mark.parametrize("nodes", [{"min": 2, "max": 8}, "2..8", "2-8", " 2 .. 8 "])
def test_a_range_of_nodes_is_an_elastic_gang(nodes: object) -> None:
    given = {"commands": "true", "nodes": nodes, "preemptible": True, "checkpoint": {"path": "ckpt"}}
    assert parse(given).spec["replicas"] == {"min": 2, "max": 8, "spread": True}
    assert parse(given).roundings == []
    assert parse({"commands": "true", "nodes": {"max": 3}}).spec["replicas"]["min"] == 1


@pytest.mark.parametrize(
    ("given", "needs"), [({"preemptible": True}, "checkpoint.path"), ({}, "preemptible: true")]
)
def test_elastic_work_that_could_not_go_on_is_told_that_it_keeps_its_size(
    given: dict[str, Any], needs: str
) -> None:
    (told,) = parse({"commands": "true", "nodes": "1..4", **given}).roundings
    assert told == f"It keeps the number of replicas that it starts with: resizing needs `{needs}`."


def test_everything_at_once() -> None:
    made = effective(
        name="träin 7", team="research", files={"src/train.py": "print(1)\n"}, env={"EPOCHS": 3, "LR": "0.1"},
        working_dir="src", nodes=2, spread=False, node_pools=["a", "b"], priority="low", preemptible=True,
        min_runtime="30m", lend="never", hold=True, start_after="2030-01-01T02:00:00+02:00",
        max_duration="1h30m",
        retry={"limit": 3, "on": ["oom"], "exit_codes": [7]}, lease="never", labels={"team/x": "y", "n": 1},
        checkpoint={"path": "/ckpt", "signal": "USR1", "grace_period": "1m"}, array="0-99:3%10",
    )  # fmt: skip
    assert made["name"] == "träin 7"
    assert made["env"] == {"EPOCHS": "3", "LR": "0.1"}
    assert made["replicas"] == {"min": 2, "max": 2, "spread": False}
    assert (made["priority"], made["min_runtime_ms"], made["max_duration_ms"]) == (25, 1_800_000, 5_400_000)
    assert made["start_after"] == "2030-01-01T00:00:00Z"
    assert made["retry"] == {"limit": 3, "on": ["oom"], "exit_codes": [7]}
    assert (made["lease_ms"], made["grace_ms"], made["checkpoint_path"]) == (None, 60_000, "/ckpt")
    assert made["checkpoint_signal"] == "SIGUSR1"
    assert made["array"] == {"indices": [[0, 99, 3]], "cap": 10}
    assert made["labels"] == {"team/x": "y", "n": "1"}


@pytest.mark.parametrize(
    ("given_resources", "expected"),
    [
        ({"accelerators": "H100:8"}, {"chips": 8, "chip_types": ["H100"], "cpu_milli": 0}),
        ({"accelerators": "H100"}, {"chips": 1, "chip_types": ["H100"]}),
        ({"accelerators": {"A100-80GB/1g.10gb": 2}}, {"chips": 2, "chip_types": ["A100-80GB/1g.10gb"]}),
        ({"accelerators": "cpu:2", "cpus": 1.5}, {"chips": 2, "cpu_milli": 1500}),
        ({"fraction": 0.1}, {"chips": 0, "milli": 100, "chip_types": [], "cpu_milli": 0}),
        ({"fraction": "25%", "accelerators": "H100:1"}, {"milli": 250, "chip_types": ["H100"]}),
        ({"fraction": 1}, {"chips": 1, "milli": 0}),
        ({"chip_memory": "16GB"}, {"chips": 0, "milli": 0, "chip_memory_mib": 16_384}),
        ({"fraction": 0.5, "chip_memory": "1.5GiB"}, {"milli": 500, "chip_memory_mib": 1536}),
        ({"cpus": 0.05}, {"cpu_milli": 50}),
        ({"cpus": "2"}, {"cpu_milli": 2000}),
        ({"memory": "512m"}, {"memory_mib": 512}),
        ({"memory": "1 TiB"}, {"memory_mib": 1_048_576}),
        ({"memory": "100KB"}, {"memory_mib": 1}),
        ({"fraction": 0.5, "isolation": "enforced"}, {"isolation": "enforced"}),
    ],
)
def test_resources(given_resources: dict[str, Any], expected: dict[str, Any]) -> None:
    made = resources(**given_resources)
    assert {key: made[key] for key in expected} == expected


def test_0_1_and_0_2_are_0_3() -> None:
    assert (
        resources(fraction=0.1)["milli"] + resources(fraction=0.2)["milli"]
        == resources(fraction=0.3)["milli"]
    )


def test_a_job_may_say_how_it_goes_on_a_simulated_node() -> None:
    asked = {"FLEXAI_SIMULATE_SECONDS": 3, "FLEXAI_SIMULATE_EXIT": "1"}
    assert effective(env=asked)["env"] == {"FLEXAI_SIMULATE_SECONDS": "3", "FLEXAI_SIMULATE_EXIT": "1"}


@pytest.mark.parametrize("name", ["FLEXAI_JOB_ID", "FLEXAI_SIMULATED", "FLEXAI_", "FLEXAI_CHECKPOINT_DIR"])
def test_every_other_name_of_the_platform_is_refused(name: str) -> None:
    told = wrong(spec(env={name: "x", "MINE": "y"}))
    assert told == {f"env.{name}": "names beginning with FLEXAI_ are the platform's own | "}


def test_roundings_are_told() -> None:
    assert parse(spec(resources={"fraction": 0.3333})).spec["resources"]["milli"] == 334
    assert parse(spec(resources={"fraction": 0.3333})).roundings == [
        "A fraction of 0.3333 is 0.334 of a chip, rounded up to a thousandth."
    ]
    assert parse(spec(resources={"fraction": 1})).roundings == ["A fraction of 1 is one whole chip."]


@pytest.mark.parametrize(
    ("key", "inside"), [(key, where) for where, keys in NOT_BUILT.items() for key in sorted(keys)]
)
def test_what_is_not_built_is_refused_by_name(key: str, inside: str) -> None:
    raw = spec(**{inside: {key: "x"}}) if inside else spec(**{key: "x"})
    path = f"{inside}.{key}" if inside else key
    assert wrong(raw) == {path: f"`{path}` is not built yet | "}


@pytest.mark.parametrize(
    ("raw", "path", "said"),
    [
        ({"type": "service"}, "type", "`type: service` is not built yet"),
        ({"resources": {"accelerators": {"H100": 1, "A100": 1}}}, "resources.accelerators", "any_of"),
        ({"resources": {"memory": "16GB.."}}, "resources.memory", "a range of `memory` is not built yet"),
    ],
)
def test_forms_that_are_not_built_are_refused_by_name(raw: dict[str, Any], path: str, said: str) -> None:
    assert said in wrong(spec(**raw))[path]


@pytest.mark.parametrize(
    ("raw", "path", "hint"),
    [
        ({"nam": "x"}, "nam", "`name`"),
        ({"Priority": 1}, "Priority", "`priority`"),
        ({"max-duration": "1h"}, "max-duration", "`max_duration`"),
        ({"gpus": 8}, "gpus", "`resources.accelerators`"),
        ({"accelerators": "H100"}, "accelerators", "stands in `resources`: `resources.accelerators`"),
        ({"resources": {"priority": 1}}, "resources.priority", "stands at the top: `priority`"),
        ({"resources": {"acelerators": "H100"}}, "resources.acelerators", "`resources.accelerators`"),
        ({"retry": {"limits": 1}}, "retry.limits", "`retry.limit`"),
        ({"fractoin": 0.5}, "fractoin", "`resources.fraction`"),
        ({"zzz": 1}, "zzz", "known here are"),
    ],
)
def test_an_unknown_key_names_the_nearest(raw: dict[str, Any], path: str, hint: str) -> None:
    assert hint in wrong(spec(**raw))[path]


@pytest.mark.parametrize(
    ("raw", "path", "said"),
    [
        ({"resources": {"memory": "12q"}}, "resources.memory",
        "'q' is not a unit of memory | give MiB or GiB, such as 16GB"),
        ({"resources": {"memory": 16}}, "resources.memory", "needs a unit"),
        ({"resources": {"memory": "16"}}, "resources.memory", "has no unit"),
        ({"resources": {"memory": "-1GB"}}, "resources.memory", "must be 1 MiB to 64 TiB"),
        ({"resources": {"memory": "0GB"}}, "resources.memory", "must be 1 MiB"),
        ({"resources": {"memory": "99999999TB"}}, "resources.memory", "must be 1 MiB to 64 TiB"),
        ({"resources": {"chip_memory": "many"}}, "resources.chip_memory", "not an amount of memory"),
        ({"max_duration": 60}, "max_duration",
        "needs a unit; 60 has none | give a number with a unit, such as 90s"),
        ({"max_duration": "10x"}, "max_duration", "not a duration"),
        ({"max_duration": "0s"}, "max_duration", "must be 1s"),
        ({"lease": "5s"}, "lease", "must be 30s"),
        ({"max_duration": "9999999999d"}, "max_duration", "must be 1s to 366d"),
        ({"resources": {"fraction": 0}}, "resources.fraction", "must be 0.001 to 1"),
        ({"resources": {"fraction": -0.5}}, "resources.fraction", "must be 0.001 to 1"),
        ({"resources": {"fraction": 1.5}}, "resources.fraction", "must be 0.001 to 1"),
        ({"resources": {"fraction": math.nan}}, "resources.fraction", "finite"),
        ({"resources": {"fraction": "Infinity"}}, "resources.fraction", "finite"),
        ({"resources": {"fraction": "1e999999"}}, "resources.fraction", "far too large"),
        ({"resources": {"fraction": 0.5, "accelerators": "H100:2"}}, "resources.accelerators",
        "a slice is of one chip"),
        ({"resources": {"cpus": 0}}, "resources.cpus", "must be 0.001"),
        ({"resources": {"cpus": -1}}, "resources.cpus", "must be"),
        ({"resources": {"cpus": 10**40}}, "resources.cpus", "too large"),
        ({"resources": {"accelerators": "H100:-1"}}, "resources.accelerators",
        "asks for -1 chips; give 1 or more"),
        ({"resources": {"accelerators": {"H100": 10**40}}}, "resources.accelerators", "at most 100000"),
        ({"resources": {"accelerators": "H100:8:8"}}, "resources.accelerators", "no whole number of chips"),
        ({"resources": {"accelerators": "H 100"}}, "resources.accelerators", "no chip type"),
        ({"resources": {"accelerators": 8}}, "resources.accelerators", "must name a chip type"),
        ({"resources": {"isolation": "enforced"}}, "resources.isolation", "asks for none"),
        ({"resources": {"isolation": "hard", "fraction": 0.5}}, "resources.isolation", "`hardware`"),
        ({"resources": 5}, "resources", "must be an object"),
        ({"nodes": 0}, "nodes", "must be 1 to 10000, not 0"),
        ({"nodes": {"min": 1}}, "nodes.max", "is missing"),
        ({"nodes": {"min": 0, "max": 2}}, "nodes.min", "must be 1 to 1024, not 0"),
        ({"nodes": {"min": 1, "max": 2000}}, "nodes.max", "must be 1 to 1024, not 2000"),
        ({"nodes": {"min": 4, "max": 2}}, "nodes", "goes from 4 down to 2"),
        ({"nodes": "8..2"}, "nodes", "goes from 8 down to 2"),
        ({"nodes": "2..9999"}, "nodes", "must be 1 to 1024, not 9999"),
        ({"nodes": "2.."}, "nodes", "must be a whole number"),
        ({"nodes": {"least": 1, "max": 2}}, "nodes.least", "unknown key"),
        ({"checkpoint": {"signal": "KILL"}}, "checkpoint.signal", "SIGTERM"),
        ({"nodes": 1.5}, "nodes", "whole number"),
        ({"nodes": True}, "nodes", "whole number"),
        ({"nodes": 10**40}, "nodes", "very many digits"),
        ({"priority": 101}, "priority", "must be 0 to 100"),
        ({"priority": "urgent"}, "priority", "give low, normal, high or 0 to 100"),
        ({"hold": "yes"}, "hold", "must be true or false"),
        ({"start_after": "tomorrow"}, "start_after", "not an instant"),
        ({"start_after": "2030-01-01T00:00:00"}, "start_after", "no time zone"),
        ({"start_after": "0001-01-01T00:00:00+14:00"}, "start_after", "not an instant"),
        ({"deadline": "tomorrow"}, "deadline", "4h from the submit"),
        ({"deadline": "2030-01-01T00:00:00"}, "deadline", "no time zone"),
        ({"deadline": "10ms"}, "deadline", "must be"),
        ({"deadline": 4}, "deadline", "not an instant, and no duration"),
        ({"name": "a\x00b"}, "name", "printable"),
        ({"name": "a\nb"}, "name", "printable"),
        ({"name": "x" * 101}, "name", "1 to 100"),
        ({"name": 7}, "name", "printable"),
        ({"team": "a b"}, "team", "no name"),
        ({"commands": []}, "commands", "1 to 1000"),
        ({"commands": [""]}, "commands.0", "is empty"),
        ({"commands": ["true", "a\0b"]}, "commands.1", "NUL"),
        ({"commands": ["true", 7]}, "commands.1", "must be text"),
        ({"commands": "x" * 200_000}, "commands", "more than 128 KiB"),
        ({"commands": None}, "commands", "is missing"),
        ({"env": {"1A": "x"}}, "env.1A", "no name of a variable"),
        ({"env": {"A": True}}, "env.A", "put it in quotes"),
        ({"env": {"A": 0.1}}, "env.A", "put it in quotes"),
        ({"env": {"FLEXAI_JOB_ID": "x"}}, "env.FLEXAI_JOB_ID", "platform's own"),
        ({"env": {"A": "\0"}}, "env.A", "NUL"),
        ({"env": ["A=b"]}, "env", "must be an object"),
        ({"files": {"../x": ""}}, "files.../x", "may not leave"),
        ({"files": {"a/../../x": ""}}, "files.a/../../x", "may not leave"),
        ({"files": {"/etc/passwd": ""}}, "files./etc/passwd", "must be relative"),
        ({"files": {"a//b": ""}}, "files.a//b", "empty"),
        ({"files": {"a\\b": ""}}, "files.a\\b", "must be relative"),
        ({"files": {"a": "", "a/b": ""}}, "files.a/b", "'a' is a file"),
        ({"files": {"x": 1}}, "files.x", "must be text"),
        ({"working_dir": "../.."}, "working_dir", "may not leave"),
        ({"working_dir": 7}, "working_dir", "is no path"),
        ({"retry": {"limit": -1}}, "retry.limit", "must be 0 to 100"),
        ({"retry": {"on": ["preempted"]}}, "retry.on", "not one of"),
        ({"retry": {"exit_codes": [0]}}, "retry.exit_codes", "must be 1 to 255"),
        ({"array": "0-10000"}, "array", "has 10001 tasks"),
        ({"array": "0-99999999999"}, "array", "not an index"),
        ({"array": "5-1"}, "array", "empty range"),
        ({"array": "0-9:0"}, "array", "empty range"),
        ({"array": "0,0"}, "array", "twice"),
        ({"array": "0-9%0"}, "array", "cap"),
        ({"array": "0-9%"}, "array", "cap"),
        ({"array": "a"}, "array", "not an index"),
        ({"array": ""}, "array", "not an index"),
        ({"array": [1, 2]}, "array", "not a set of indices"),
        ({"labels": {"-x": "y"}}, "labels.-x", "no label"),
        ({"labels": {"x": "y" * 201}}, "labels.x", "at most 200"),
        ({"labels": {f"k{n}": "v" for n in range(65)}}, "labels", "at most 64"),
        ({"node_pools": [1]}, "node_pools", "no name"),
        ({"lend": "everybody"}, "lend", "not one of"),
        ({"checkpoint": {"grace_period": "2h"}}, "checkpoint.grace_period", "must be 0ms to 1h"),
    ],
)  # fmt: skip
def test_what_is_wrong_and_what_would_be_right(raw: dict[str, Any], path: str, said: str) -> None:
    told = wrong(spec(**raw))
    assert list(told) == [path]
    assert said in told[path]


def test_everything_wrong_is_told_at_once_with_its_path() -> None:
    told = wrong(
        {"comands": "x", "nodes": 0, "resources": {"memory": "12q", "cpus": "x"}, "retry": {"limit": "x"}}
    )
    assert set(told) == {"comands", "commands", "nodes", "resources.memory", "resources.cpus", "retry.limit"}


def test_the_summary_says_the_first_in_one_sentence() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(spec(nam="x"))
    assert caught.value.detail == "The spec is wrong: nam: unknown key (did you mean `name`?)."


@pytest.mark.parametrize("raw", [None, [], "x", 7, [{"commands": "true"}]])
def test_what_is_no_object_is_refused(raw: object) -> None:
    with pytest.raises(InvalidInput, match="object"):
        parse(raw)


def test_a_spec_above_its_bound_is_too_large() -> None:
    with pytest.raises(TooLarge, match="1024 KiB"):
        parse(spec(env={"A": "x" * (MAX_SPEC_BYTES + 1)}))


def test_ten_thousand_unknown_keys_are_told_in_part() -> None:
    assert len(wrong({f"key{n}": 1 for n in range(10_000)})) == 100


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot carry"):
        parse(spec(commands=["echo \ud800"]))


def test_an_array_of_one_number() -> None:
    assert effective(array="7")["array"] == {"indices": [[7, 7, 1]], "cap": None}
    assert effective(array=7)["array"] == {"indices": [[7, 7, 1]], "cap": None}
    assert effective(array="0,3,7-9:2")["array"] == {
        "indices": [[0, 0, 1], [3, 3, 1], [7, 9, 2]],
        "cap": None,
    }


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
_keys = sorted({key for keys in [*BUILT.values(), *NOT_BUILT.values()] for key in keys})


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(_keys), _json, max_size=6))
def test_whatever_is_sent_is_read_or_refused_with_a_reason(raw: dict[str, Any]) -> None:
    """No input makes the parser fail in another way, and what it accepts is canonical: reading it does not
    change it."""
    try:
        made = parse(raw).spec
    except (InvalidInput, TooLarge):
        return
    assert set(made) == set(parse({"commands": "true"}).spec)
    assert all(isinstance(command, str) and command.strip() for command in made["commands"])
