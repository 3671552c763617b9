"""The wheel as a stranger installs it: what it contains, and that each extra brings what its part imports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
_RUN = "import sys; sys.path.append(sys.argv.pop(1)); "


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this checkout, with the dashboard that lies here already."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"FLEXAI_SKIP_FRONTEND": "1"}, check=True)
    (built,) = folder.glob("flexai-*.whl")
    return built


def installed(wheel: Path, folder: Path, extras: Iterable[str] = ()) -> Path:
    """A folder as of site-packages: the wheel and what it requires, linked from here, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    ours = Distribution.at(next(folder.glob("*.dist-info")))
    wanted = [(ours, extra) for extra in ("", *extras)]
    seen: set[tuple[str, str]] = set()
    while wanted:
        owner, extra = wanted.pop()
        for line in owner.requires or ():
            needed = Requirement(line)
            if needed.marker is not None and not needed.marker.evaluate({"extra": extra}):
                continue
            found = distribution(needed.name)
            for next_extra in {"", *needed.extras}:
                if (found.name.lower(), next_extra) not in seen:
                    seen.add((found.name.lower(), next_extra))
                    wanted.append((found, next_extra))
            link(found, folder)
    return folder


def link(found: Distribution, folder: Path) -> None:
    for name in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
        target = folder / name
        if not target.exists():
            target.symlink_to(str(found.locate_file(name)))


def python(site: Path, code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The code in an interpreter that sees the standard library and `site`."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", _RUN + code, str(site), *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(site), "COLUMNS": "200", **environment},
        cwd=site, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def flexai(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(site, "from flexai.cli.main import main; main()", *arguments)


def test_the_wheel_holds_packages_examples_and_dashboard(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "flexai",
        "node_agent",
        "scheduler_core",
    }
    for folder in ("platform/flexai", "node_agent", "scheduler_core"):
        for file in (ROOT / folder).rglob("*.py"):
            assert str(file.relative_to(ROOT)).removeprefix("platform/") in names
    examples = [
        file for file in (ROOT / "examples").rglob("*") if file.is_file() and "__pycache__" not in str(file)
    ]
    assert examples
    assert {f"flexai/{file.relative_to(ROOT)}" for file in examples} <= names
    dashboard = ROOT / "platform/flexai/frontend_dist"
    if not (dashboard / "index.html").exists():
        pytest.skip("the dashboard is not built here, so it is not looked for in the wheel")
    page = (dashboard / "index.html").read_text()
    assert {
        f"flexai/frontend_dist/assets/{asset}" for asset in re.findall(r"assets/([\w.-]+)", page)
    } <= names


def test_the_bare_package_is_the_client_and_says_what_the_rest_needs(wheel: Path, tmp_path: Path) -> None:
    site = installed(wheel, tmp_path)
    assert not (site / "django").exists()
    assert not (site / "msgspec").exists()
    said = flexai(site, "--help")
    assert said.returncode == 0, said.stderr
    for command in (
        "login",
        "run",
        "apply",
        "ps",
        "logs",
        "explain",
        "stop",
        "nodes",
        "top",
        "quota",
        "up",
        "agent",
    ):
        assert command in said.stdout
    for command in ("login", "logs"):
        assert flexai(site, command, "--help").returncode == 0
    assert python(site, "import flexai.client, sys; sys.exit('django' in sys.modules)").returncode == 0
    for command, extra in {"up": "server", "demo": "all"}.items():
        refused = flexai(site, command)
        assert refused.returncode != 0
        assert f"pip install 'flexai[{extra}]'" in refused.stderr + refused.stdout
    refused = flexai(site, "agent", "--server", "http://127.0.0.1:1")
    assert refused.returncode == 3
    assert "pip install 'flexai[agent]'" in refused.stderr


def test_the_agent_extra_brings_what_the_agent_imports(wheel: Path, tmp_path: Path) -> None:
    site = installed(wheel, tmp_path, ["agent"])
    done = python(site, "import node_agent.daemon, node_agent.forkserver; print(node_agent.daemon.__file__)")
    assert done.stdout.strip() == str(site / "node_agent" / "daemon.py"), done.stderr


def test_the_server_extra_brings_what_the_server_imports(wheel: Path, tmp_path: Path) -> None:
    site = installed(wheel, tmp_path, ["server"])
    code = (
        "import flexai.config.asgi, flexai.config.celery, flexai.embedded.commands, uvloop; "
        "import flexai.embedded.forkserver as server, importlib; "
        "[importlib.import_module(name) for name in server.PRELOADED]; "
        "flexai.config.celery.app.loader.import_default_modules(); "
        "from django.urls import get_resolver; get_resolver().url_patterns; print(flexai.config.asgi.__file__)"
    )
    done = python(site, code, FLEXAI_SECRET_KEY="only-for-tests-" * 4, FLEXAI_DATA_DIR=str(tmp_path))
    assert done.stdout.strip() == str(site / "flexai" / "config" / "asgi.py"), done.stderr
