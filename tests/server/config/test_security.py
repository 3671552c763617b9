"""What docs/security.md promises of the server as a whole; what belongs to one part is tested with that part."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpRequest
from django.test import Client
from kombu import serialization
from kombu.exceptions import ContentDisallowed

from flexai.api import devices, throttling
from flexai.api.schema import document
from flexai.common.broker import valkey
from flexai.config.celery import app
from flexai.jobs.spec import MAX_LABELS
from flexai.tenancy.models import User
from tests.support.tenants import PASSWORD, Api, Tenant, a_spec, a_tenant, give_password

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tenant(db: None) -> Tenant:
    valkey().flushdb()
    return a_tenant("acme")


def sign_in(username: str, password: str = "wrong") -> Any:
    body = {"username": username, "password": password}
    return Client().post("/api/v1/session", body, content_type="application/json")


PRODUCTION = {
    "FLEXAI_SECURE": "1",
    "FLEXAI_SECRET_KEY": "kd83jf-Zq2_" * 6,
    "FLEXAI_ALLOWED_HOSTS": "flexai.example",
}


def test_djangos_own_check_of_a_production_server_is_clean() -> None:
    code, said = _check_deploy()
    assert code == 0, said
    assert "no issues" in said


def test_the_check_says_when_operators_need_no_second_factor() -> None:
    code, said = _check_deploy(FLEXAI_CONSOLE_SECOND_FACTOR="0")
    assert code != 0
    assert "flexai.W001" in said
    assert said.count("(security.") == 0


def _check_deploy(**settings: str) -> tuple[int, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLEXAI_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT, env={**kept, **PRODUCTION, **settings}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("file", ["docker-compose.yml", "deploy/systemd/flexai.service"])
def test_what_is_deployed_asks_operators_for_a_second_factor(file: str) -> None:
    assert re.search(
        r"FLEXAI_CONSOLE_SECOND_FACTOR(=1|: \$\{FLEXAI_CONSOLE_SECOND_FACTOR:-1\})$",
        (ROOT / file).read_text(),
        re.M,
    )


def test_a_production_server_without_a_secret_does_not_start() -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLEXAI_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=kept, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "FLEXAI_SECRET_KEY is not set" in done.stderr


@pytest.mark.parametrize("path", ["/login", "/api/v1/health", "/console/", "/api/v1/nowhere"])
def test_every_answer_keeps_out_frames_and_guesses_of_types(tenant: Tenant, path: str) -> None:
    answer = Client().get(path)
    assert answer["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
    assert "object-src 'none'" in answer["Content-Security-Policy"]
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/login", "/console/", "/console/tenancy/user/", "/api/v1/health"])
def test_no_page_runs_an_inline_script_or_evaluates_text(tenant: Tenant, path: str) -> None:
    policy = dict(rule.split(" ", 1) for rule in Client().get(path)["Content-Security-Policy"].split("; "))
    assert policy["script-src"] == policy["default-src"] == "'self'"


def test_the_dashboard_runs_no_script_but_its_own_files(tenant: Tenant) -> None:
    page = settings.FRONTEND_DIST / "index.html"
    if not page.exists():
        pytest.skip("the dashboard is not built: `make setup` builds it")
    text = page.read_text()
    found = re.findall(r"<script\b[^>]*>", text)
    assert found
    assert all(re.search(r'\bsrc="/static/', tag) for tag in found), "none is inline"
    assert not re.search(r"\son[a-z]+=", text), "nor is one in an attribute"


def test_cookies_are_out_of_reach_of_scripts_and_of_other_sites(tenant: Tenant) -> None:
    give_password(tenant.owner)
    answer = sign_in(tenant.owner.username, PASSWORD)
    session = answer.cookies[settings.SESSION_COOKIE_NAME]
    assert (session["httponly"], session["samesite"]) == (True, "Lax")
    assert answer.cookies[settings.CSRF_COOKIE_NAME]["samesite"] == "Lax"


def test_signing_in_makes_a_new_session(tenant: Tenant) -> None:
    give_password(tenant.owner)
    browser = Client()
    session = browser.session
    session["planted"] = "1"
    session.save()
    planted = session.session_key
    body = {"username": tenant.owner.username, "password": PASSWORD}
    assert browser.post("/api/v1/session", body, content_type="application/json").status_code == 200
    assert browser.session.session_key != planted
    browser.delete("/api/v1/session")
    assert browser.get("/api/v1/me").status_code == 401


def test_nobody_learns_who_has_an_account(tenant: Tenant) -> None:
    give_password(tenant.owner)
    User.objects.create_user("sleeper", password=PASSWORD, is_active=False)
    answers = [sign_in(tenant.owner.username), sign_in("nobody"), sign_in("sleeper", PASSWORD)]
    told = {
        (answer.status_code, re.sub(r'"request_id":"\w+"', "", answer.content.decode())) for answer in answers
    }
    assert len(told) == 1


def test_the_console_is_no_way_round_the_bounds_on_guessing(tenant: Tenant) -> None:
    User.objects.create_user("olga", password=PASSWORD, is_staff=True)
    browser = Client()
    answer = browser.post("/console/login/", {"username": "olga", "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/login?next=/console/")
    assert "_auth_user_id" not in browser.session
    assert browser.get("/console/", follow=True).redirect_chain[-1][0].startswith("/login")


def test_guesses_at_many_names_are_bounded_by_their_address(tenant: Tenant, monkeypatch: Any) -> None:
    monkeypatch.setattr(throttling, "SIGN_INS_PER_ADDRESS", 3)
    assert [sign_in(f"user-{number}").status_code for number in range(4)] == [401, 401, 401, 429]


class TestGuessing:
    """At one name from many addresses, while its user wants to sign in."""

    @pytest.fixture(autouse=True)
    def _bounds(self, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
        valkey().flushdb()
        monkeypatch.setattr(throttling, "SIGN_INS_PER_NAME", 3)
        monkeypatch.setattr(throttling, "SIGN_INS_PER_WINDOW", 2)

    @staticmethod
    def tried(browser: Client, name: str, password: str = "wrong", address: str = "") -> int:
        body = {"username": name, "password": password}
        more = {"REMOTE_ADDR": address} if address else {}
        answer = browser.post("/api/v1/session", body, content_type="application/json", **more)  # type: ignore[arg-type]
        return int(answer.status_code)

    def guessed(self, name: str) -> list[int]:
        return [self.tried(Client(), name, address=f"192.0.2.{number}") for number in range(4)]

    def test_they_are_bounded_and_keep_the_user_out_of_no_browser_that_signed_in_before(
        self, tenant: Tenant
    ) -> None:
        give_password(tenant.owner)
        name, known = tenant.owner.username, Client()
        assert self.tried(known, name, PASSWORD) == 200
        assert self.guessed(name) == [401, 401, 401, 429]
        assert self.tried(Client(), name, PASSWORD) == 429, "any other browser waits, whatever it sends"
        assert self.tried(known, name.upper()) == 401
        assert self.tried(known, name, PASSWORD) == 200
        assert self.tried(known, name) == 401
        assert self.tried(known, name, PASSWORD) == 429, "its own failures count"

    def test_a_browser_is_known_for_its_own_user_alone(self, tenant: Tenant) -> None:
        give_password(tenant.owner)
        other, known = User.objects.create_user("olga", password=PASSWORD), Client()
        assert self.tried(known, tenant.owner.username, PASSWORD) == 200
        assert self.guessed(other.username)[-1] == 429
        assert self.tried(known, other.username, PASSWORD) == 429
        cookie = known.cookies[devices.COOKIE]
        assert cookie["httponly"]
        assert (cookie["samesite"], cookie["path"]) == ("Lax", "/api/v1/session")
        forged = Client()
        forged.cookies[devices.COOKIE] = cookie.value.replace(":", "x:", 1)
        assert self.guessed(tenant.owner.username)[-1] == 429
        assert self.tried(forged, tenant.owner.username, PASSWORD) == 429

    def test_a_name_that_nobody_has_is_bounded_alike(self, tenant: Tenant) -> None:
        assert self.guessed("nobody") == [401, 401, 401, 429]

    def test_the_addresses_of_one_network_are_one(self, tenant: Tenant) -> None:
        one = [self.tried(Client(), "nobody", address=f"2001:db8:1:2::{number}") for number in range(3)]
        assert one == [401, 401, 429]
        assert self.tried(Client(), "nobody", address="2001:db8:1:3::1") == 401


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8::1", "2001:db8::"),
        ("fe80::1%eth0", "fe80::"), ("", ""), ("unix", "unix"),
    ],
)  # fmt: skip
def test_who_asks_is_told_by_the_network_part_of_an_address(given: str, counted: str) -> None:
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = given
    assert throttling.address_of(request) == counted


def test_a_token_in_an_address_is_no_token(tenant: Tenant) -> None:
    """It would stand in logs, histories and referrers."""
    for name in ("token", "access_token", "api_key", "authorization"):
        assert Client().get(f"/api/v1/me?{name}={tenant.token}").status_code == 401
    queries = {
        parameter["name"]
        for path in document()["paths"].values()
        for operation in path.values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query"
    }
    assert not {name for name in queries if re.search("token|secret|password|key", name)}


def test_tasks_are_json_and_nothing_else() -> None:
    assert app.conf.accept_content == ["json"]
    assert (app.conf.task_serializer, app.conf.result_serializer) == ("json", "json")
    with pytest.raises(ContentDisallowed):
        serialization.loads(
            pickle.dumps({}), "application/x-python-serialize", "binary", accept=app.conf.accept_content
        )


def test_what_is_sent_is_bounded(tenant: Tenant) -> None:
    api = Api(tenant.token)
    assert api.get("/jobs", limit=201).status_code == 400
    assert api.get("/jobs", limit=-1).status_code == 400
    labels = {f"l{number}": "x" for number in range(MAX_LABELS + 1)}
    wrong = api.post("/jobs", a_spec(labels=labels))
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "labels")
    deep: Any = "x"
    for _ in range(300):
        deep = {"a": deep}
    assert api.post("/jobs", a_spec(env=deep)).status_code == 400
    large = api.post("/tokens", {"name": "x" * (1024 * 1024)})
    assert (large.status_code, large.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\nb", "a\x00", "a\u202eb", "a\x7f", "a\u2028b"])
def test_names_have_no_control_characters(tenant: Tenant, name: str) -> None:
    """A terminal, a log line or a page that shows a name does what it always does."""
    api = Api(tenant.token)
    assert api.post("/jobs", a_spec(name=name)).status_code == 400
    assert api.post("/tokens", {"name": name, "scopes": ["read"], "expires_in_days": 1}).status_code == 400
    assert api.post("/service-accounts", {"name": name, "role": "member"}).status_code == 400


def test_a_host_that_is_not_ours_is_refused(tenant: Tenant) -> None:
    assert Client(HTTP_HOST="evil.example").get("/api/v1/health").status_code == 400
