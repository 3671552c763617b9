"""Webhooks: managed here, and verified where their messages arrive.

from flexai.client import WebhookNotVerified, verify_webhook

@app.post("/flexai")
def take(request):
    try:
        message = verify_webhook(request.headers, request.body, SECRET)
    except WebhookNotVerified:
        return 401
    if not seen(message["id"]):          # the same id comes again where an answer was lost
        work_on(message["type"], message["data"])
    return 204
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from flexai.client.errors import FlexaiError
from flexai.client.transport import Transport
from flexai.client.types import Delivery, Webhook

TOLERANCE_SECONDS = 300
"""A message that was signed longer ago, or later than now, is taken for one that somebody recorded."""
_PREFIX = "whsec_"


class WebhookNotVerified(FlexaiError):  # noqa: N818 - named for what is so
    """It is not from the platform, or not from now; do nothing with it."""

    code = "webhook_not_verified"


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes | str,
    secret: str | Sequence[str],
    *,
    tolerance: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> dict[str, Any]:
    """The message, with `id`, `type`, `timestamp` and `data`, once it is certain that the holder of the secret sent it
    just now. Raises WebhookNotVerified. `body` is what arrived, byte for byte; of several secrets one has to fit.

    The same `id` comes again where an earlier answer did not arrive: whoever must not do a thing twice remembers them.
    """
    told = {str(name).lower(): str(value) for name, value in headers.items()}
    try:
        message_id, timestamp, signatures = (
            told[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
        )
        signed_at = int(timestamp)
    except (KeyError, ValueError):
        raise WebhookNotVerified(
            "The headers webhook-id, webhook-timestamp and webhook-signature are needed."
        ) from None
    if abs((time.time() if now is None else now) - signed_at) > tolerance:
        raise WebhookNotVerified(f"It was signed more than {tolerance:g} seconds from now.")
    content = body.encode() if isinstance(body, str) else bytes(body)
    signed = f"{message_id}.{timestamp}.".encode() + content
    secrets = [secret] if isinstance(secret, str) else list(secret)
    right = [hmac.digest(_key(one), signed, hashlib.sha256) for one in secrets]
    given = [one for one in map(_signature, signatures.split(" ")) if one is not None]
    if not any(hmac.compare_digest(one, another) for one in right for another in given):
        raise WebhookNotVerified("No signature fits the secret.")
    try:
        message = json.loads(content)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise WebhookNotVerified("It is signed, but no JSON object.")
    return {**message, "id": message_id}


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise FlexaiError("This is no secret of a webhook: it begins with whsec_.") from None


def _signature(text: str) -> bytes | None:
    version, _, encoded = text.partition(",")
    try:
        return base64.b64decode(encoded, validate=True) if version == "v1" else None
    except (binascii.Error, ValueError):
        return None


class Webhooks:
    """Addresses that hear of what happens. To manage one needs the role maintainer where it belongs."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[Webhook]:
        """Those that the token may manage, each with its last message."""
        return self._transport.pages("/webhooks")

    def get(self, webhook: str) -> Webhook:
        """One, by name or id. Raises NotFound."""
        return cast("Webhook", self._transport.get(f"/webhooks/{webhook}"))

    def create(
        self, name: str, url: str, *, events: Sequence[str], team: str | None = None, description: str = ""
    ) -> Webhook:
        """A new one; its `secret` is shown this once. Without a team it is the whole organization's."""
        body: dict[str, Any] = {"name": name, "url": url, "events": [*events]}
        body |= {"team": team} if team else {}
        body |= {"description": description} if description else {}
        return cast("Webhook", self._transport.send("POST", "/webhooks", body=body))

    def change(
        self,
        webhook: str,
        *,
        name: str | None = None,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        on: bool | None = None,
    ) -> Webhook:
        """What is named is so afterwards, the rest stays. Off, it gives up what waits."""
        given = {"name": name, "url": url, "events": events, "description": description, "on": on}
        changes = {key: value for key, value in given.items() if value is not None}
        return cast(
            "Webhook", self._transport.send("PATCH", f"/webhooks/{webhook}", body=changes, repeatable=True)
        )

    def delete(self, webhook: str) -> None:
        """It is gone afterwards, with the record of its messages."""
        self._transport.send("DELETE", f"/webhooks/{webhook}")

    def rotate_secret(self, webhook: str) -> str:
        """A new secret, shown this once; for a day messages are signed with the former one too."""
        return str(self._transport.send("POST", f"/webhooks/{webhook}/secret")["secret"])

    def ping(self, webhook: str) -> Delivery:
        """A test is on its way."""
        return cast("Delivery", self._transport.send("POST", f"/webhooks/{webhook}/ping"))

    def deliveries(self, webhook: str) -> Iterator[Delivery]:
        """Its messages of the last 30 days, newest first."""
        return self._transport.pages(f"/webhooks/{webhook}/deliveries")

    def redeliver(self, webhook: str, message: str) -> Delivery:
        """A message that was delivered or given up is tried anew, under its own id."""
        return cast(
            "Delivery", self._transport.send("POST", f"/webhooks/{webhook}/deliveries/{message}/redeliver")
        )
