"""A second factor: codes of an authenticator, each worth one sign-in; recovery codes; the console asks for it."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.test import Client

from flexai.api import throttling
from flexai.api.views import session as session_view
from flexai.common import clock
from flexai.common.broker import valkey
from flexai.tenancy import second_factor
from flexai.tenancy.models import AuditEntry, RecoveryCode, SecondFactor, User
from tests.cli.conftest import Shell
from tests.support.tenants import PASSWORD, Tenant, a_tenant, give_password

pytestmark = pytest.mark.django_db


NOW = clock.now()
"""What the clock says of which codes are read: no second may pass between two lines here."""


@pytest.fixture
def operator(db: None, monkeypatch: pytest.MonkeyPatch) -> Tenant:
    valkey().flushdb()
    monkeypatch.setattr(second_factor, "clock", SimpleNamespace(now=lambda: NOW))
    made = a_tenant("operations", operator=True)
    give_password(made.owner)
    return made


class Authenticator:
    """Shows codes of the secret that it was told."""

    def __init__(self, secret: str) -> None:
        key = base64.b32decode(secret + "=" * (-len(secret) % 8))
        self._totp = TOTP(key, 6, SHA1(), 30)  # as `tenancy.second_factor`, told by the address

    def code(self, steps: int = 0) -> str:
        return self._totp.generate(int(NOW.timestamp()) + 30 * steps).decode()


def switched_on(operator: Tenant) -> tuple[Authenticator, list[str]]:
    begun = operator.api.post("/me/second-factor", {"password": PASSWORD})
    assert begun.status_code == 201, begun.content
    assert f"secret={begun.json()['secret']}" in begun.json()["uri"]
    authenticator = Authenticator(begun.json()["secret"])
    confirmed = operator.api.post("/me/second-factor/confirm", {"code": authenticator.code(-1)})
    assert confirmed.status_code == 200, confirmed.content
    return authenticator, confirmed.json()["recovery_codes"]


def _send(browser: Client, path: str, body: dict[str, str]) -> Any:
    return browser.post(f"/api/v1/me/second-factor{path}", body, content_type="application/json")


def sign_in(operator: Tenant, browser: Client | None = None, **more: str) -> Any:
    body = {"username": operator.owner.username, "password": PASSWORD, **more}
    return (browser or Client()).post("/api/v1/session", body, content_type="application/json")


def test_a_code_is_needed_once_it_was_confirmed_and_each_counts_once(operator: Tenant) -> None:
    operator.api.post("/me/second-factor", {"password": PASSWORD})
    assert sign_in(operator).status_code == 200, "what was only begun does not count"
    authenticator, _ = switched_on(operator)
    asked = sign_in(operator)
    assert (asked.status_code, asked.json()["code"]) == (401, "second_factor")
    assert sign_in(operator, password="wrong").json()["code"] == "unauthenticated", "the password comes first"
    code = authenticator.code()
    assert sign_in(operator, code=code).status_code == 200
    assert sign_in(operator, code=code).status_code == 401, "not twice"
    assert sign_in(operator, code=authenticator.code(-1)).status_code == 401, "nor an earlier one"
    for wrong in (authenticator.code(5), authenticator.code(-5), "", "12345", "1234567", "٤٥٦٧٨٩", "abcdef"):
        assert sign_in(operator, code=wrong).status_code == 401
    assert (
        sign_in(operator, code=authenticator.code(1)[:3] + " " + authenticator.code(1)[3:]).status_code == 200
    )


def test_a_recovery_code_signs_in_once(operator: Tenant) -> None:
    _, codes = switched_on(operator)
    assert len(set(codes)) == second_factor.RECOVERY_CODES
    assert sign_in(operator, code=codes[0].upper()).status_code == 200
    assert sign_in(operator, code=codes[0]).status_code == 401
    told = operator.api.get("/me/second-factor").json()
    left = second_factor.RECOVERY_CODES - 1
    assert told == {"active": True, "has_password": True, "recovery_codes_left": left}
    User.objects.filter(pk=operator.owner.pk).update(password="!")
    assert operator.api.get("/me/second-factor").json()["has_password"] is False
    rows = str(list(RecoveryCode.objects.values()))
    assert not [code for code in codes if code in rows or code.replace("-", "") in rows]


def test_the_secret_is_sealed_and_shown_once(operator: Tenant, settings: Any) -> None:
    begun = operator.api.post("/me/second-factor", {"password": PASSWORD}).json()
    row = SecondFactor.objects.get()
    key = base64.b32decode(begun["secret"] + "=" * (-len(begun["secret"]) % 8))
    assert key.hex() not in row.secret
    assert begun["secret"] not in row.secret
    authenticator = Authenticator(begun["secret"])
    operator.api.post("/me/second-factor/confirm", {"code": authenticator.code(-1)})
    former = settings.SECRET_KEY
    settings.SECRET_KEY = "another-key-" * 5
    assert sign_in(operator, code=authenticator.code()).status_code == 401, (
        "a copy of the database is not enough"
    )
    settings.SECRET_KEY_FALLBACKS = [former]
    assert sign_in(operator, code=authenticator.code()).status_code == 200, "a former key still opens it"


def test_a_token_alone_changes_nothing(operator: Tenant) -> None:
    assert operator.api.post("/me/second-factor", {"password": "wrong"}).status_code == 401
    assert operator.api.post("/me/second-factor/confirm", {"code": "123456"}).status_code == 409
    authenticator, codes = switched_on(operator)
    assert operator.api.post("/me/second-factor", {"password": PASSWORD}).status_code == 409
    remove = "/me/second-factor/remove"
    assert operator.api.post(remove, {"password": "wrong", "code": authenticator.code()}).status_code == 401
    assert operator.api.post(remove, {"password": PASSWORD, "code": "123"}).status_code == 401
    assert operator.api.post(remove, {"password": PASSWORD, "code": codes[3]}).status_code == 204
    assert sign_in(operator).status_code == 200
    actions = list(AuditEntry.objects.order_by("id").values_list("action", flat=True))
    assert actions == ["second_factor.set", "second_factor.removed", "session.began"]
    operator.owner.set_unusable_password()
    operator.owner.save()
    assert operator.api.post("/me/second-factor", {"password": "x"}).status_code == 409


def test_guesses_at_codes_are_bounded_wherever_they_come_from(
    operator: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator, _ = switched_on(operator)
    monkeypatch.setattr(session_view, "CODES_PER_WINDOW", 3)
    for number in range(3):
        browser = Client(REMOTE_ADDR=f"198.51.100.{number}")
        assert sign_in(operator, browser, code="000000").status_code == 401
    answer = sign_in(operator, Client(REMOTE_ADDR="198.51.100.9"), code=authenticator.code())
    assert (answer.status_code, "Too many codes" in answer.json()["detail"]) == (401, True)
    monkeypatch.setattr(throttling, "SIGN_INS_PER_WINDOW", 2)
    tried = [operator.api.post("/me/second-factor", {"password": "wrong"}).status_code for _ in range(3)]
    assert tried == [401, 401, 429]


def test_the_console_asks_for_it_where_it_is_required(operator: Tenant, settings: Any) -> None:
    browser = Client()
    assert sign_in(operator, browser).status_code == 200
    assert browser.get("/console/").status_code == 200
    settings.CONSOLE_SECOND_FACTOR = True
    shut = browser.get("/console/", follow=True)
    assert (shut.status_code, b"flexai second-factor on" in shut.content) == (403, True)
    assert browser.get("/console/tenancy/user/").status_code == 302
    authenticator, _ = switched_on(operator)
    assert browser.get("/console/", follow=True).status_code == 403, "it was not shown by this session"
    browser = Client()
    assert sign_in(operator, browser, code=authenticator.code()).status_code == 200
    assert browser.get("/console/").status_code == 200


def test_who_sets_it_up_in_a_browser_has_shown_it_and_enters_the_console(
    operator: Tenant, settings: Any
) -> None:
    settings.CONSOLE_SECOND_FACTOR = True
    browser = Client()
    assert sign_in(operator, browser).status_code == 200
    assert b"Set one up" in browser.get("/console/", follow=True).content
    begun = _send(browser, "", {"password": PASSWORD}).json()
    code = Authenticator(begun["secret"]).code()
    assert _send(browser, "/confirm", {"code": "000000"}).status_code == 403
    assert browser.get("/console/", follow=True).status_code == 403
    assert _send(browser, "/confirm", {"code": code}).status_code == 200
    assert browser.get("/console/").status_code == 200


def test_the_console_offers_it_where_it_is_not_asked_for(operator: Tenant) -> None:
    browser = Client()
    sign_in(operator, browser)
    assert b"Set up a second factor" in browser.get("/console/").content
    switched_on(operator)
    assert b"Set up a second factor" not in browser.get("/console/").content


def test_an_operator_removes_the_second_factor_of_somebody_who_lost_it(operator: Tenant) -> None:
    switched_on(operator)
    colleague = User.objects.create_user("olga", password=PASSWORD, is_staff=True)
    browser = Client()
    browser.force_login(colleague)
    selected = {"action": "forget_second_factor", "_selected_action": [operator.owner.pk]}
    browser.post("/console/tenancy/user/", selected)
    assert not SecondFactor.objects.exists()
    assert not RecoveryCode.objects.exists()
    entry = AuditEntry.objects.latest("id")
    assert (entry.actor, entry.action) == ("olga", "second_factor.removed")
    assert sign_in(operator).status_code == 200


def test_a_code_is_good_for_about_a_minute(operator: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    authenticator, _ = switched_on(operator)
    code = authenticator.code()
    monkeypatch.setattr(second_factor, "clock", SimpleNamespace(now=lambda: NOW + timedelta(seconds=120)))
    assert sign_in(operator, code=code).status_code == 401


@pytest.mark.django_db(transaction=True)
def test_the_command_sets_it_and_signs_in_with_it(
    live_server: Any, operator: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_factor, "secrets", SimpleNamespace(token_bytes=lambda size: b"k" * size))
    authenticator = Authenticator(base64.b32encode(b"k" * 20).decode())
    shell = Shell(tmp_path, {"FLEXAI_URL": live_server.url})
    on = shell(
        "second-factor", "on", stdin=f"{PASSWORD}\n{authenticator.code(-1)}\n", FLEXAI_TOKEN=operator.token
    )
    assert (on.code, len(on.out.split())) == (0, second_factor.RECOVERY_CODES), on.err
    login = ("login", "--username", operator.owner.username, "--password-stdin")
    without = shell(*login, stdin=f"{PASSWORD}\n")
    assert (without.code, "no code on standard input" in without.err) == (2, True)
    done = shell(*login, stdin=f"{PASSWORD}\n{authenticator.code()}\n")
    assert done.code == 0, done.err
    assert shell("second-factor", "status", "--json").json["active"] is True
    off = shell("second-factor", "off", stdin=f"{PASSWORD}\n{authenticator.code(1)}\n")
    assert off.code == 0, off.err
    assert "Off." in shell("second-factor", "status").err
