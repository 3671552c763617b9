"""`docker-compose.yml` and the Dockerfile: checked without a container engine, and with one if it is
there."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
LONG_RUNNING = {"postgres", "valkey", "web", "scheduler", "worker", "beat", "agent"}
SERVER = {"web", "scheduler", "worker", "beat", "bootstrap"}

# The part of the compose specification that the file uses; anything else in it is an error here.
_STRINGS: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_COMMAND: dict[str, Any] = {"oneOf": [{"type": "string"}, _STRINGS]}
_DURATION: dict[str, Any] = {"type": "string", "pattern": r"^(\d+h)?(\d+m)?(\d+s)?$"}
SERVICE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["image", "read_only", "cap_drop", "security_opt", "restart", "networks"],
    "properties": {
        "image": {"type": "string"},
        "build": {"type": "object", "properties": {"context": {"const": "."}}, "additionalProperties": False},
        "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
        "read_only": {"const": True},
        "tmpfs": _STRINGS,
        "cap_drop": {"const": ["ALL"]},
        "security_opt": {"const": ["no-new-privileges:true"]},
        "environment": {"type": "object", "additionalProperties": {"type": ["string", "number"]}},
        "command": _COMMAND,
        "user": {"type": "string", "not": {"enum": ["root", "0"]}},
        "init": {"type": "boolean"},
        "ports": _STRINGS,
        "networks": _STRINGS,
        "volumes": _STRINGS,
        "shm_size": {"type": "string"},
        "stop_signal": {"type": "string", "pattern": "^SIG[A-Z]+$"},
        "stop_grace_period": _DURATION,
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["condition"],
                "additionalProperties": False,
                "properties": {"condition": {"enum": ["service_healthy", "service_completed_successfully"]}},
            },
        },
        "healthcheck": {
            "type": "object",
            "additionalProperties": False,
            "required": ["test", "interval", "timeout", "retries"],
            "properties": {
                "test": {**_STRINGS, "contains": {"enum": ["CMD", "CMD-SHELL"]}},
                "interval": _DURATION,
                "timeout": _DURATION,
                "retries": {"type": "integer", "minimum": 1},
                "start_period": _DURATION,
            },
        },
    },
}
FILE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["services", "networks", "volumes"],
    "additionalProperties": False,
    "patternProperties": {"^x-": {}},
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
        "services": {
            "type": "object",
            "patternProperties": {"^[a-z0-9][a-z0-9_-]*$": SERVICE_SCHEMA},
            "additionalProperties": False,
        },
        "networks": {"type": "object"},
        "volumes": {"type": "object"},
    },
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found = yaml.safe_load(COMPOSE.read_text())
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = compose["services"]
    assert isinstance(found, dict)
    return found


def test_the_file_follows_the_schema(compose: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(FILE_SCHEMA).validate(compose)


def test_the_schema_refuses_what_must_not_be_there(compose: dict[str, Any]) -> None:
    for wrong in ({"privileged": True}, {"read_only": False}, {"user": "root"}, {"restrat": "always"}):
        broken = {
            **compose,
            "services": {**compose["services"], "web": {**compose["services"]["web"], **wrong}},
        }
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(FILE_SCHEMA).validate(broken)


def test_every_part_of_the_platform_is_there_and_watched(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == LONG_RUNNING | {"bootstrap"}
    for name in LONG_RUNNING:
        assert "healthcheck" in services[name], name
        assert services[name]["restart"] == "unless-stopped"
    assert services["bootstrap"]["restart"] == "no"


def test_what_is_referred_to_exists(compose: dict[str, Any], services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"], f"{name}: {volume}"
        for network in service["networks"]:
            assert network in compose["networks"], f"{name}: {network}"
        for other, how in service.get("depends_on", {}).items():
            wanted = "healthcheck" if how["condition"] == "service_healthy" else "command"
            assert wanted in services[other], f"{name} waits for {other}"


def test_jobs_cannot_reach_database_or_broker(
    services: dict[str, dict[str, Any]], compose: dict[str, Any]
) -> None:
    agent = services["agent"]
    assert not set(agent["networks"]) & (
        set(services["postgres"]["networks"]) | set(services["valkey"]["networks"])
    )
    assert compose["networks"]["inside"] == {"internal": True}
    assert not set(agent.get("environment", {})) & {"DATABASE_URL", "REDIS_URL", "FLEXAI_SECRET_KEY"}
    assert [name for name, service in services.items() if "ports" in service] == ["web"]


def test_other_names_shut_out_neither_the_agent_nor_the_health_check(
    services: dict[str, dict[str, Any]],
) -> None:
    always = services["web"]["environment"]["FLEXAI_ALLOWED_HOSTS"].split("${")[0].split(",")
    assert {"127.0.0.1", "web"} <= set(always)


def test_database_and_broker_are_stopped_last(services: dict[str, dict[str, Any]]) -> None:
    for name in ("web", "scheduler", "worker", "beat"):
        waited_for = services[name]["depends_on"]
        assert {"postgres", "valkey"} <= set(waited_for), (
            f"{name}: bootstrap has ended by then, and orders nothing"
        )


def test_what_the_scheduler_compiles_is_kept(services: dict[str, dict[str, Any]]) -> None:
    folder = re.search(r"NUMBA_CACHE_DIR=(\S+)", (ROOT / "Dockerfile").read_text())
    assert folder is not None
    for name in SERVER - {"bootstrap"}:
        assert f"compiled:{folder[1]}" in services[name]["volumes"], f"{name} compiles anew at every start"


def test_the_secrets_are_not_committed_by_mistake() -> None:
    for file in (".gitignore", ".dockerignore"):
        assert ".env" in (ROOT / file).read_text().splitlines(), file


def test_secrets_have_no_default(services: dict[str, dict[str, Any]]) -> None:
    text = COMPOSE.read_text()
    for name in re.findall(r"\$\{(FLEXAI_[A-Z_]*(?:PASSWORD|KEY))", text):
        assert not re.search(r"\$\{" + name + r"(?::?-|\})", text), f"{name} has a default or may be empty"
    assert "REDIS_URL" in services["web"]["environment"]
    assert "@postgres" in services["web"]["environment"]["DATABASE_URL"]
    assert services["web"]["environment"]["REDIS_URL"].startswith("redis://:${")


def test_every_setting_is_one_that_the_platform_reads(services: dict[str, dict[str, Any]]) -> None:
    read = (ROOT / "platform/flexai/config/settings.py").read_text()
    for name in SERVER:
        for setting in services[name]["environment"]:
            assert f'"{setting}"' in read or (name, setting) == ("bootstrap", "FLEXAI_ADMIN_PASSWORD"), (
                setting
            )
    assert "FLEXAI_ADMIN_PASSWORD" in str(services["bootstrap"]["command"])


def test_what_the_commands_run_exists(services: dict[str, dict[str, Any]]) -> None:
    for name in (*SERVER, "agent"):
        words = " ".join(services[name]["command"])
        for module in re.findall(r"python3 -m ([a-z_.]+)", words) + re.findall(r"--app=([a-z_.]+)", words):
            assert find_spec(module) is not None, f"{name}: {module}"
    assert services["web"]["command"][1] == "flexai.config.asgi:application"
    assert find_spec("flexai.config.asgi") is not None


def test_the_secrets_script_makes_every_secret_and_no_two_alike() -> None:
    asked = set(re.findall(r"\$\{(FLEXAI_[A-Z_]+):\?", COMPOSE.read_text()))
    first, second = (dict(line.split("=", 1) for line in fresh_secrets().splitlines()) for _ in range(2))
    assert set(first) == asked
    assert all(len(value) >= 48 for value in first.values())
    assert len({*first.values(), *second.values()}) == 2 * len(asked)


def test_the_file_with_the_secrets_is_its_owners_alone(tmp_path: Path) -> None:
    settings = tmp_path / "env"
    with settings.open("w") as opened:
        subprocess.run([ROOT / "deploy/make-env"], stdout=opened, check=True, umask=0o022)
    assert settings.stat().st_mode & 0o777 == 0o600


def test_nobody_waits_for_the_database_that_the_image_starts_for_its_own_preparations(
    services: dict[str, dict[str, Any]],
) -> None:
    assert "--host=127.0.0.1" in services["postgres"]["healthcheck"]["test"], "that one answers on the socket"


def test_signals_reach_the_programs(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        words = service.get("command", [])
        if words[:2] == ["sh", "-c"]:
            assert re.search(r"(?m)(^|; |\" )exec [a-z]", words[2]), f"{name}: a shell stays in between"
            assert "|" not in words[2], f"{name}: a pipe keeps the shell"


def test_a_client_that_does_not_finish_cannot_keep_the_server_from_stopping(
    services: dict[str, dict[str, Any]],
) -> None:
    (option,) = (
        word for word in services["web"]["command"] if word.startswith("--timeout-graceful-shutdown=")
    )
    assert int(option.split("=")[1]) <= 5
    assert '"--timeout-graceful-shutdown", "4"' in (ROOT / "Dockerfile").read_text()


def fresh_secrets() -> str:
    return subprocess.run([ROOT / "deploy/make-env"], capture_output=True, text=True, check=True).stdout


def test_the_image_runs_as_nobody_special() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    last_stage = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    assert "USER flexai" in lines[last_stage:]
    for source in re.findall(r"^COPY ([^-].*) \S+$", "\n".join(lines), re.MULTILINE):
        for name in source.split():
            assert (ROOT / name).exists(), name


@pytest.mark.slow
def test_the_engine_reads_the_file(tmp_path: Path) -> None:
    command = _compose_command()
    if command is None:
        pytest.skip(
            "neither `docker compose` nor `docker-compose` is installed: the file was not read by an engine"
        )
    settings = tmp_path / "env"
    settings.write_text(fresh_secrets())
    done = subprocess.run(
        [*command, "--file", COMPOSE, "--env-file", settings, "config", "--quiet"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def _compose_command() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(command[0])
            and subprocess.run([*command, "version"], capture_output=True).returncode == 0
        ):
            return command
    return None
