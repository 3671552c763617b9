"""What a spec says about telling: of which moves, and whom (`notify`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexai.jobs.quantities import said
from flexai.jobs.spec_reader import Reader
from flexai.notifications.vocabulary import ENDS, NOTIFIED_OF

MAX_ADDRESSES = 10
MAX_ADDRESS = 254
MAX_WEBHOOK = 500


def read_notify(reader: Reader) -> dict[str, Any] | None:
    """`on`, `mail` (True: whoever submits; or addresses) and `webhook` (a name or an address); None where nobody is to
    be told."""
    given = reader.raw.get("notify")
    if given is None:
        return None
    inner = reader.inside("notify")
    if not isinstance(given, Mapping):
        return None
    mail = _mail(inner)
    webhook = inner.line("webhook", "", MAX_WEBHOOK)
    if not mail and not webhook and not reader.errors:
        reader.wrong("notify", "tells nobody", "give mail: true, addresses, or the name of a webhook")
    return {"on": inner.choices("on", NOTIFIED_OF, ENDS), "mail": mail, "webhook": webhook}


def _mail(inner: Reader) -> bool | list[str]:
    given = inner.raw.get("mail")
    if given is None or isinstance(given, bool):
        return bool(given)
    items = given if isinstance(given, list) else [given]
    if not 1 <= len(items) <= MAX_ADDRESSES:
        inner.wrong("mail", f"must be true, or 1 to {MAX_ADDRESSES} addresses of members")
        return False
    addresses = []
    for place, item in enumerate(items):
        where = f"mail.{place}" if isinstance(given, list) else "mail"
        if isinstance(item, str) and "@" in item and len(item) <= MAX_ADDRESS and item.isprintable():
            addresses.append(item.strip().lower())
        else:
            inner.wrong(where, f"must be an address of mail, not {said(item)}", "such as ana@example.org")
    return list(dict.fromkeys(addresses))
