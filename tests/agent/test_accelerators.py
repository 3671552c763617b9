"""What containers are given of chips: by CDI files that are read with distrust, and never another chip's node."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node_agent import accelerators, cdi
from node_agent.accelerators import Accelerators, NotGivenError
from node_agent.cdi import Cdi
from node_agent.drivers import ascend
from node_agent.drivers.amd import AmdDriver
from node_agent.drivers.ascend import AscendDriver
from node_agent.drivers.nvidia import NvidiaDriver
from tests.agent.recorded_nvml import Nvml
from tests.agent.support.chips import Machine
from tests.agent.test_other_vendors import INFERENCE, TABLE, AmdSmi


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Its nodes have numbers, and are not there: nobody's rights are needed."""
    made = Machine(tmp_path)
    numbers = {str(made.dev / f"nvidia{chip}"): (195, chip) for chip in range(3)}
    numbers[str(made.dev / "nvidiactl")] = (195, 255)
    numbers |= {f"{tmp_path}{path}": (500, place) for place, path in enumerate(OTHER_NODES)}
    monkeypatch.setattr(accelerators, "_number", numbers.get)
    return made


OTHER_NODES = (
    "/dev/kfd", "/dev/dri/renderD128", "/dev/dri/renderD129", "/dev/dri/card0", "/dev/dri/card1", "/dev/davinci0",
    "/dev/davinci3", *accelerators.ASCEND_NODES,
)  # fmt: skip


def of_nvidia(machine: Machine, **nvml: Any) -> Accelerators:
    return Accelerators(NvidiaDriver(Nvml(**nvml)), Cdi([str(machine.cdi)]))  # type: ignore[arg-type]


def why(given: Accelerators, *indexes: int) -> str:
    with pytest.raises(NotGivenError) as refused:
        given.edits(indexes)
    return str(refused.value)


def test_a_chip_by_its_uuid_with_what_all_chips_need(machine: Machine) -> None:
    machine.write(machine.nvidia(0, 1, 2))
    edits = of_nvidia(machine).edits([1])
    assert [(node.path, node.major, node.minor, node.access) for node in edits.nodes] == [
        ("/dev/nvidiactl", 195, 255, "rw"),
        ("/dev/nvidia1", 195, 1, "rw"),
    ]
    assert edits.env == {"NVIDIA_VISIBLE_DEVICES": "void"}
    [(inside, on_node, options)] = edits.mounts
    assert (inside, on_node) == ("/usr/lib/x86_64-linux-gnu/libcuda.so.575.64.03", str(machine.library))
    assert {"ro", "nosuid", "nodev", "bind"} == set(options)
    [hook] = edits.hooks["createContainer"]
    assert (hook["path"], hook["timeout"]) == (str(machine.hook), accelerators.HOOK_SECONDS)


def test_two_chips_have_what_is_shared_once(machine: Machine) -> None:
    machine.write(machine.nvidia(0, 1, 2), "nvidia.json")
    edits = of_nvidia(machine).edits([0, 2])
    assert [node.path for node in edits.nodes] == ["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia2"]
    assert len(edits.hooks["createContainer"]) == len(edits.mounts) == 1


def test_without_a_uuid_a_chip_is_known_by_its_node_not_by_what_it_is_called(machine: Machine) -> None:
    said = machine.nvidia(0, 1, 2)
    nodes = {"0": "nvidia2", "1": "nvidia1", "2": "nvidia0"}
    said["devices"] = [
        {"name": name, "containerEdits": {"deviceNodes": [machine.node(node)]}}
        for name, node in nodes.items()
    ]
    machine.write(said)
    assert [node.path for node in of_nvidia(machine).edits([0]).nodes] == ["/dev/nvidiactl", "/dev/nvidia0"]


def test_an_instance_is_given_with_its_parents_node(machine: Machine) -> None:
    said = machine.nvidia(0, 2)
    nodes = [
        machine.node("nvidia1"),
        {"path": "/dev/nvidia-caps/nvidia-cap3", "type": "c", "major": 238, "minor": 3},
    ]
    said["devices"].append({"name": "MIG-1-0", "containerEdits": {"deviceNodes": nodes}})
    machine.write(said)
    given = of_nvidia(machine, mig=1)
    chips = {chip.uuid: chip.index for chip in given._driver.chips}
    edits = given.edits([chips["MIG-1-0"]])
    assert [node.path for node in edits.nodes][1:] == ["/dev/nvidia1", "/dev/nvidia-caps/nvidia-cap3"]
    assert "names nvidia.com/gpu=MIG-1-3" in why(given, chips["MIG-1-3"])
    assert "MIG-1-3" in given.why_not(), "a node gives all of its chips to containers or none"


def test_law_no_node_of_a_chip_that_is_not_held(machine: Machine) -> None:
    said = machine.nvidia(0, 1, 2)
    wrong = next(one for one in said["devices"] if one["name"] == "GPU-0")
    wrong["containerEdits"]["deviceNodes"].append(machine.node("nvidia2"))
    machine.write(said)
    assert "would bring /dev/nvidia2, which is another chip's" in why(of_nvidia(machine), 0)
    assert of_nvidia(machine).edits([0, 2]).nodes, "who holds both may have both"
    machine.write(machine.nvidia(0, 1, 2, deviceNodes=[machine.node("nvidia1")]))
    assert "another chip's" in why(of_nvidia(machine), 0)


def test_law_holds_for_a_node_under_another_name(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    said = machine.nvidia(0, 1, 2)
    wrong = next(one for one in said["devices"] if one["name"] == "GPU-0")
    wrong["containerEdits"]["deviceNodes"] = [{"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 1}]
    machine.write(said)
    monkeypatch.setattr(accelerators, "_number", {"/dev/nvidia1": (195, 1)}.get)
    said["containerEdits"]["deviceNodes"] = []
    machine.write(said)
    assert "another chip's" in why(of_nvidia(machine), 0)


def test_without_chips_there_is_nothing(machine: Machine) -> None:
    assert of_nvidia(machine).edits([]) == accelerators.Edits()


def test_a_missing_file_says_what_to_do(machine: Machine) -> None:
    given = of_nvidia(machine)
    assert given.why_not() == (
        f"Chip 0 cannot be given to containers: no CDI file in {machine.cdi} names nvidia.com/gpu=GPU-0. "
        "Write one: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
    )
    machine.write(machine.nvidia(0, 1, 2))
    assert given.why_not() == "", "files are looked at again"
    machine.write(machine.nvidia(0, 1))
    assert given.why_not().startswith("Chip 2 cannot be given")


def test_two_files_of_one_folder_make_a_device_ambiguous(machine: Machine) -> None:
    machine.write(machine.nvidia(0, 1, 2))
    machine.write(machine.nvidia(0), "old.json")
    assert "say different things of it: nvidia.com/gpu=GPU-0" in why(of_nvidia(machine), 0)
    assert of_nvidia(machine).edits([1])


def test_a_later_folder_takes_the_place_of_an_earlier_one(machine: Machine, tmp_path: Path) -> None:
    machine.write(machine.nvidia(0, 1, 2))
    later = tmp_path / "run"
    later.mkdir(mode=0o755)
    (later / "nvidia.json").write_text(json.dumps(machine.nvidia(0, env=["FROM=run"])))
    (later / "nvidia.json").chmod(0o644)
    given = Accelerators(NvidiaDriver(Nvml()), Cdi([str(machine.cdi), str(later)]))  # type: ignore[arg-type]
    assert given.edits([0]).env == {"FROM": "run"}
    assert given.edits([1]).env == {"NVIDIA_VISIBLE_DEVICES": "void"}


# -- distrust ----------------------------------------------------------------------------------------------------------


def _open_to_all(machine: Machine, path: Path) -> None:
    path.chmod(0o666)


def _a_link(machine: Machine, path: Path) -> None:
    path.rename(machine.dev / "elsewhere.yaml")
    path.symlink_to(machine.dev / "elsewhere.yaml")


def _a_pipe(machine: Machine, path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o644)


def _an_open_folder(machine: Machine, path: Path) -> None:
    machine.cdi.chmod(0o777)


def _too_large(machine: Machine, path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"#" * cdi.MOST_BYTES)


def _another(text: bytes) -> Callable[[Machine, Path], None]:
    return lambda machine, path: path.write_bytes(text) and None


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_open_to_all, "others than root may write it"),
        (_an_open_folder, "others than root may write it"),
        (_a_link, "is not read"),
        (_a_pipe, "it is no file"),
        (_too_large, "it has more than 1024 KiB"),
        (_another(b"{"), "is no CDI file"),
        (_another(b"cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices: 3\n"), "is no CDI file"),
        (
            _another(b"cdiVersion: 9.0.0\nkind: nvidia.com/gpu\ndevices: []\n"),
            "version 9.0.0, which is not known",
        ),
        (_another(b"a: " + b"[" * 500_000), "it is nested too deep"),
        (_another(b"- " * 400_000), "it is nested too deep"),
        (_another(b"? " * 400_000), "it is nested too deep"),
        (
            _another(
                b"cdiVersion: 0.7.0\nkind: nvidia.com/gpu\ndevices: []\ncontainerEdits: {intelRdt: {}}\n"
            ),
            "unknown field `intelRdt`",
        ),
    ],
)
def test_a_file_that_cannot_be_trusted_or_read_gives_nothing(
    machine: Machine, spoil: Callable[[Machine, Path], None], said: str
) -> None:
    spoil(machine, machine.write(machine.nvidia(0, 1, 2)))
    assert said in why(of_nvidia(machine), 0)


def test_what_was_trusted_is_looked_at_again(machine: Machine) -> None:
    machine.write(machine.nvidia(0, 1, 2))
    given = of_nvidia(machine)
    assert given.edits([0]).nodes
    machine.cdi.chmod(0o777)
    assert "others than root may write it" in why(given, 0)


def test_of_another_user_it_is_not_read(machine: Machine) -> None:
    path = machine.write(machine.nvidia(0, 1, 2))
    try:
        os.chown(path, 65_534, 65_534)
    except PermissionError:
        pytest.skip("no root here, so not tested: a CDI file that is another user's")
    assert "it is not root's" in why(of_nvidia(machine), 0)


def test_there_are_not_too_many_files(machine: Machine) -> None:
    for number in range(cdi.MOST_FILES + 1):
        machine.write({"cdiVersion": "0.5.0", "kind": "a.b/c", "devices": []}, f"{number:03}.json")
    found = Cdi([str(machine.cdi)])
    assert found.devices("a.b/c") == {}
    assert "only the first 64 are read" in found.problems[0]


def a_mount(**changes: object) -> dict[str, Any]:
    return {
        "mounts": [{"hostPath": "/etc/hostname", "containerPath": "/opt/x", "options": ["ro"], **changes}]
    }


def a_hook(**changes: object) -> dict[str, Any]:
    return {"hooks": [{"hookName": "createRuntime", "path": "/bin/true", **changes}]}


def a_node(**changes: object) -> dict[str, Any]:
    return {"deviceNodes": [{"path": "/dev/nvidiactl", "type": "c", "major": 195, "minor": 255, **changes}]}


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        (a_node(path="/etc/passwd"), "is not below /dev"),
        (a_node(path="/dev/../etc/x"), "is not absolute and plain"),
        (a_node(path="nvidiactl"), "is not absolute and plain"),
        (a_node(path="/dev/shm/x"), "something of its own"),
        (a_node(path="/dev/.flexai-init"), "something of its own"),
        (a_node(type="b", major=8, minor=0), "of type 'b'"),
        (a_node(type="", hostPath="/etc/hostname", major=0), "is no character device"),
        (a_node(type="", hostPath="/dev/there/is/none", major=0), "is no character device"),
        (a_node(minor=-1), "has no device number"),
        (a_node(permissions="rx"), "not of r, w and m"),
        (a_mount(containerPath="/"), "would hide what is the container's own"),
        (a_mount(containerPath="/proc/driver/x"), "would hide"),
        (a_mount(containerPath="/tmp"), "would hide"),
        (a_mount(containerPath="/opt/../proc"), "is not absolute and plain"),
        (a_mount(hostPath="etc"), "is not absolute and plain"),
        (a_mount(hostPath="/there/is/none"), "its CDI file is out of date"),
        (a_mount(options=["rshared"]), "the option 'rshared'"),
        (a_mount(type="overlay"), "of type 'overlay'"),
        (a_hook(hookName="sometimes"), "There is no hook 'sometimes'"),
        (a_hook(path="/there/is/none"), "is not on this node"),
        (a_hook(path="/etc/passwd"), "is no program"),
        (a_hook(env=["nonsense"]), "something else than variables"),
        (a_hook(timeout=0), "a timeout of 0 s"),
        ({"env": ["=x"]}, "is no environment variable"),
        ({"additionalGids": [-1]}, "is no CDI file"),
    ],
)
def test_what_a_file_may_not_ask_for_is_refused_in_words(
    machine: Machine, edits: dict[str, Any], said: str
) -> None:
    machine.write(machine.nvidia(0, 1, 2, **edits))
    assert said in why(of_nvidia(machine), 0)


def test_a_hook_that_others_may_write_is_not_run(machine: Machine) -> None:
    machine.hook.chmod(0o777)
    machine.write(machine.nvidia(0, 1, 2))
    assert "is not run, as others than root may write it" in why(of_nvidia(machine), 0)


def test_groups_are_given_but_never_roots_and_a_node_cannot_be_made(machine: Machine) -> None:
    machine.write(
        machine.nvidia(0, 1, 2, additionalGids=[0, 44, 109, 44], **a_node(permissions="rwm", fileMode=0o4777))
    )
    edits = of_nvidia(machine).edits([0])
    assert edits.gids == (44, 109)
    assert (edits.nodes[0].access, edits.nodes[0].mode) == ("rw", 0o666)


# -- other vendors -----------------------------------------------------------------------------------------------------


class Enumerated(AmdSmi):
    """As ROCm 6.4 and later."""

    def amdsmi_get_gpu_enumeration_info(self, handle: int) -> dict[str, Any]:
        return {"drm_render": 128 + handle, "drm_card": handle, "hsa_id": handle, "hip_id": handle}


def of_amd(machine: Machine, smi: AmdSmi) -> Accelerators:
    return Accelerators(AmdDriver(smi), Cdi([str(machine.cdi)]), str(machine.cdi.parent))  # type: ignore[arg-type]


def test_amd_without_a_file_gets_the_nodes_that_its_maker_documents(machine: Machine) -> None:
    edits = of_amd(machine, Enumerated()).edits([1])
    assert [node.path for node in edits.nodes] == ["/dev/dri/renderD129", "/dev/dri/card1", "/dev/kfd"]
    assert of_amd(machine, Enumerated()).why_not() == ""
    assert "which device node is its own is not known" in why(of_amd(machine, AmdSmi()), 0)


def test_amds_file_numbers_chips_as_it_likes(machine: Machine) -> None:
    """In `amd-ctk`'s shape: nodes with numbers, modes and owners, the file's first chip is the driver's second."""

    def node(path: str, major: int, minor: int) -> dict[str, Any]:
        return {
            "path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o20660, "permissions": "rw",
            "uid": 0, "gid": 109,
        }  # fmt: skip

    def both(place: int) -> list[dict[str, Any]]:
        kfd = node("/dev/kfd", 234, 0)
        return [
            node(f"/dev/dri/renderD{128 + place}", 226, 128 + place),
            node(f"/dev/dri/card{place}", 226, place),
            kfd,
        ]

    devices = [
        {"name": "0", "nodes": both(1)},
        {"name": "1", "nodes": both(0)},
        {"name": "all", "nodes": both(0)[:2] + both(1)},
    ]
    entries = [{"name": one["name"], "containerEdits": {"deviceNodes": one["nodes"]}} for one in devices]
    machine.write({"cdiVersion": "0.6.0", "kind": "amd.com/gpu", "devices": entries}, "amd.json")
    edits = of_amd(machine, Enumerated()).edits([0])
    assert [(node.path, node.minor, node.mode) for node in edits.nodes] == [
        ("/dev/dri/renderD128", 128, 0o660),
        ("/dev/dri/card0", 0, 0o660),
        ("/dev/kfd", 0, 0o660),
    ]
    assert [node.path for node in of_amd(machine, Enumerated()).edits([0, 1]).nodes].count("/dev/kfd") == 1


def test_ascend_gets_the_nodes_and_files_that_its_maker_documents(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = machine.cdi.parent
    (root / "usr/local/Ascend/driver").mkdir(parents=True)
    monkeypatch.setattr(ascend, "DEV", str(machine.dev))
    given = Accelerators(AscendDriver(lambda: TABLE), Cdi([str(machine.cdi)]), str(root))
    assert "not known" in why(given, 0), "the table tells no numbers, and /dev has none"
    for name in ("davinci0", "davinci3", "davinci_manager"):
        (machine.dev / name).touch()
    assert [node.path for node in given.edits([1]).nodes] == ["/dev/davinci3", *accelerators.ASCEND_NODES]
    assert [inside for inside, _, _ in given.edits([1]).mounts] == ["/usr/local/Ascend/driver"]
    assert given.environment([1]) == {}, "inside they are numbered anew"
    numbered = Accelerators(AscendDriver(lambda: INFERENCE), Cdi([str(machine.cdi)]), str(root))
    assert numbered.edits([0]).nodes[0].path == "/dev/davinci0"
