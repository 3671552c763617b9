"""The secret key is changed, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from flexai.common.sealing import NotReadable, seal, unseal
from flexai.console.management.commands.reseal import SEALED
from flexai.notifications.models import Webhook
from flexai.notifications.services import create_hook, rotate_secret
from flexai.tenancy.models import SecondFactor, Secret
from flexai.tenancy.team_secrets import set_secret, unsealed
from tests.support.tenants import Tenant, a_tenant

ROOT = Path(__file__).parents[3]
FORMER, NEW = "former-key-" * 5, "newer-key-" * 5


@pytest.fixture
def tenant(db: None, settings: Any) -> Tenant:
    """A tenant with a second factor, a secret for jobs, and a webhook whose secret was rotated, from the days of the
    former key."""
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = FORMER, []
    made = a_tenant("acme")
    hook, _ = create_hook(made.principal, name="ci", url="https://ci.example", events=[])
    rotate_secret(made.principal, hook)
    SecondFactor.objects.create(user=made.owner, secret=seal("factor"))
    set_secret(made.principal, made.team, "HF_TOKEN", "hf_x")
    return made


def test_what_was_sealed_opens_under_a_former_key_and_after_resealing_without_it(
    tenant: Tenant, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Webhook.objects.get()
    secret, former = unseal(before.secret), unseal(before.former_secret)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [FORMER]
    assert unseal(before.secret) == secret
    call_command("reseal")
    assert "4 secrets are sealed" in capsys.readouterr().out
    settings.SECRET_KEY_FALLBACKS = []
    after = Webhook.objects.get()
    assert (unseal(after.secret), unseal(after.former_secret)) == (secret, former)
    assert unseal(SecondFactor.objects.get().secret) == "factor"
    assert list(unsealed(Secret.objects.values_list("pk", flat=True)).values()) == ["hf_x"]
    call_command("reseal")


def test_what_no_key_opens_is_named_and_left_as_it_was(tenant: Tenant, settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, []
    before = Webhook.objects.get().secret
    with pytest.raises(CommandError, match=r"4 cannot be read .* webhook.secret"):
        call_command("reseal")
    assert Webhook.objects.get().secret == before
    with pytest.raises(NotReadable):
        unseal(before)


def test_every_sealed_column_is_resealed() -> None:
    """Whoever seals a column says so under it in its model, and names it for resealing."""
    models = [
        *ROOT.glob("platform/flexai/*/models.py"),
        *ROOT.glob("platform/flexai/*/models/*.py"),
    ]
    marked = sum(path.read_text().count('"""Sealed') for path in models)
    assert len(SEALED) == marked


def test_former_keys_come_from_the_environment() -> None:
    code = "from django.conf import settings; print(settings.SECRET_KEY_FALLBACKS)"
    environment = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "flexai.config.settings", "FLEXAI_SECRET_KEY_FALLBACKS": "one, two",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "['one', 'two']"
