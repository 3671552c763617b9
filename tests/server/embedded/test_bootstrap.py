"""The first people of a platform, and what is said of their password."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from flexai.embedded.bootstrap import make_people
from flexai.embedded.commands import tell_address
from flexai.embedded.home import Home
from flexai.embedded.starting import Platform, _working_password, keep_outcome
from flexai.tenancy.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.secrets.mkdir(parents=True)
    return made


def boot(home: Home) -> str:
    """One bootstrap, as the supervisor asks for it; what is printed afterwards."""
    opens = make_people("lab", ["research"], "admin", home.secret("admin-password"))
    keep_outcome(home, {"password_opens": opens, "token": "token"})
    platform = Platform("http://here", "admin", _working_password(home), "token", home, is_new=True)
    console = Console(width=200)
    with console.capture() as captured:
        tell_address(platform, console)
    return captured.get()


def test_the_password_that_is_printed_opens(home: Home) -> None:
    said = boot(home)
    password = home.secret("admin-password")
    assert password in said
    assert User.objects.get(username="admin").check_password(password)
    assert password in boot(home), "the same once more"


def test_of_an_operator_who_was_there_before_no_password_is_printed_or_kept(home: Home) -> None:
    User.objects.create_user(username="admin", password="correct horse battery")
    said = boot(home)
    assert "as it was" in said
    assert "admin-password" not in said
    assert not home.password_file.exists()
    assert json.loads(home.outcome_file.read_text()) == {"password_opens": False}
    assert User.objects.get(username="admin").check_password("correct horse battery")
