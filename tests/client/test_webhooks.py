"""Receivers know whose message it is, and that it is from now."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from flexai.client import FlexaiError, WebhookNotVerified, verify_webhook

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
NOW = 1_800_000_000
BODY = json.dumps({"type": "job.failed", "timestamp": "2027-01-15T08:00:00Z", "data": {}}).encode()


def headers(body: bytes = BODY, *, secret: str = SECRET, at: int = NOW, id: str = "msg-1") -> dict[str, str]:
    signed = f"{id}.{at}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {"Webhook-Id": id, "Webhook-Timestamp": str(at), "Webhook-Signature": f"v1,{signature}"}


def test_a_message_of_the_platform_is_told_with_its_id() -> None:
    for body in (BODY, BODY.decode()):
        assert verify_webhook(headers(), body, SECRET, now=NOW + 60)["id"] == "msg-1"
    other = "whsec_" + base64.b64encode(b"o" * 32).decode()
    assert verify_webhook(headers(), BODY, [other, SECRET], now=NOW)["type"] == "job.failed"


def test_the_reference_example_of_standard_webhooks_fits() -> None:
    """From the specification's own test vectors."""
    found = verify_webhook(
        {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        '{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        now=1614265330,
    )
    assert found["test"] == 2432232314


@pytest.mark.parametrize(
    "changes",
    [
        {"Webhook-Id": "msg-2"},
        {"Webhook-Timestamp": str(NOW + 1)},
        {"Webhook-Timestamp": "soon"},
        {"Webhook-Signature": ""},
        {"Webhook-Signature": "v1,"},
        {"Webhook-Signature": "v1,%%%"},
        {"Webhook-Signature": "v1a," + "A" * 44},
        {"Webhook-Signature": "v2," + headers()["Webhook-Signature"][3:]},
    ],
)
def test_anything_else_is_not_verified(changes: dict[str, str]) -> None:
    with pytest.raises(WebhookNotVerified):
        verify_webhook(headers() | changes, BODY, SECRET, now=NOW)


def test_what_was_changed_recorded_or_signed_by_another_is_not_verified() -> None:
    for body, signed, now in (
        (BODY + b" ", headers(), NOW),
        (BODY, headers(), NOW + 301),
        (BODY, headers(), NOW - 301),
        (BODY, headers(secret="whsec_" + base64.b64encode(b"x" * 32).decode()), NOW),
        (b"[]", headers(b"[]"), NOW),
        (b"\xff", headers(b"\xff"), NOW),
    ):
        with pytest.raises(WebhookNotVerified):
            verify_webhook(signed, body, SECRET, now=now)
    with pytest.raises(WebhookNotVerified):
        verify_webhook({}, BODY, SECRET, now=NOW)
    with pytest.raises(FlexaiError, match="whsec_"):
        verify_webhook(headers(), BODY, "not a secret", now=NOW)
