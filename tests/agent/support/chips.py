"""Chips of a made-up machine: device nodes that really are some, and CDI files in the shape that vendors' tools write.

The shape of NVIDIA's is that of `nvidia-ctk cdi generate` 1.17 (general edits, then each chip by its index, by its uuid
and all of them together, nodes without numbers); that of AMD's is `amd-ctk cdi generate`'s. None is recorded from
hardware of ours. Behind the nodes are devices that every Linux has and no container is given by itself.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import yaml

NUMBERS = {"nvidia0": (10, 229), "nvidia1": (10, 237), "nvidia2": (10, 183), "nvidiactl": (10, 235)}
"""FUSE, the loop devices' control, the random generator's, autofs."""
HOOK = '''#!/usr/bin/python3 -S
"""As nvidia-cdi-hook's update-ldcache: writes into the container's root, which the bundle's configuration names."""
import json, os, sys
bundle = json.load(sys.stdin)["bundle"]
with open(f"{bundle}/config.json") as file:
    root = json.load(file)["root"]["path"]
with open(f"{root}/etc/ld.so.cache", "w") as file:
    file.write(" ".join(sys.argv[1:]) + " " + os.environ["NVIDIA_CTK_DEBUG"])
'''


class Machine:
    """Nodes in `dev`, a driver's library, a hook's program, and a folder of CDI files."""

    def __init__(self, folder: Path) -> None:
        self.dev, self.cdi = folder / "dev", folder / "cdi"
        for made in (self.dev, self.cdi):
            made.mkdir(mode=0o755)
        self.library = folder / "libcuda.so.575.64.03"
        self.library.write_text("a driver's library\n")
        self.hook = folder / "nvidia-cdi-hook"
        self.hook.write_text(HOOK)
        self.hook.chmod(0o755)

    def make_nodes(self) -> None:
        """Raises `OSError` where nobody may."""
        for name, (major, minor) in NUMBERS.items():
            os.mknod(self.dev / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            os.close(os.open(self.dev / name, os.O_RDONLY)) if name in ("nvidia0", "nvidia1") else None

    def node(self, name: str) -> dict[str, Any]:
        return {"path": f"/dev/{name}", "hostPath": str(self.dev / name)}

    def nvidia(self, *chips: int, **changes: Any) -> dict[str, Any]:
        """What nvidia-ctk says of these chips; `changes` are of the general edits."""
        by_chip = {str(chip): [self.node(f"nvidia{chip}")] for chip in chips}
        by_chip |= {f"GPU-{chip}": [self.node(f"nvidia{chip}")] for chip in chips}
        by_chip["all"] = [self.node(f"nvidia{chip}") for chip in chips]
        library = "/usr/lib/x86_64-linux-gnu/libcuda.so.575.64.03"
        return {
            "cdiVersion": "0.5.0",
            "containerEdits": {
                "deviceNodes": [self.node("nvidiactl")],
                "env": ["NVIDIA_VISIBLE_DEVICES=void"],
                "hooks": [
                    {
                        "args": [
                            "nvidia-cdi-hook",
                            "update-ldcache",
                            "--folder",
                            "/usr/lib/x86_64-linux-gnu",
                        ],
                        "env": ["NVIDIA_CTK_DEBUG=false"],
                        "hookName": "createContainer",
                        "path": str(self.hook),
                    }
                ],
                "mounts": [
                    {
                        "containerPath": library,
                        "hostPath": str(self.library),
                        "options": ["ro", "nosuid", "nodev", "bind"],
                    }
                ],
                **changes,
            },
            "devices": [
                {"containerEdits": {"deviceNodes": nodes}, "name": name} for name, nodes in by_chip.items()
            ],
            "kind": "nvidia.com/gpu",
        }

    def write(self, said: Any, name: str = "nvidia.yaml") -> Path:
        """All at once, as the tool does."""
        text = json.dumps(said) if name.endswith(".json") else yaml.safe_dump(said)
        path = self.cdi / name
        fresh = self.cdi / f".{name}"
        fresh.write_text(text)
        fresh.chmod(0o644)
        fresh.rename(path)
        return path
