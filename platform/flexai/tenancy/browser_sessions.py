"""Where somebody is signed in by browser: the sessions, and ending them. It is Django's session engine in the
database, with a model that says whose a session is (`SESSION_ENGINE`).

A session that was ended is no row any more, so its cookie opens nothing from the next request on; sockets that it
opened look for it as often as for a token.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final, cast

from django.contrib.auth import SESSION_KEY
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from flexai.common import clock, source
from flexai.common.errors import NotFound
from flexai.tenancy import audit
from flexai.tenancy.models import BrowserSession
from flexai.tenancy.principals import Principal

NOTED_EVERY: Final = timedelta(minutes=1)
"""A use within this of the one before is not written."""
MOST_LISTED: Final = 200
AGENT: Final = "agent"
MAX_AGENT: Final = 300


class SessionStore(DatabaseStore):
    """Sessions that say whose they are."""

    @classmethod
    def get_model_class(cls) -> type[BrowserSession]:
        """What a session is kept as."""
        return BrowserSession

    def create_model_instance(self, data: dict[str, Any]) -> BrowserSession:
        """The row, with what the session holds of its user."""
        row = cast(BrowserSession, super().create_model_instance(data))
        user = data.get(SESSION_KEY)
        row.user_id = int(user) if user is not None else None
        row.address, row.agent = source.address(), str(data.get(AGENT, ""))
        return row

    def _get_session_from_db(self) -> BrowserSession | None:
        found: BrowserSession | None = super()._get_session_from_db()  # type: ignore[misc]
        if found is not None and source.address():
            _note_use(found)
        return found


def sessions_of(principal: Principal) -> QuerySet[BrowserSession]:
    """Where the principal is signed in by browser, used last first."""
    live = BrowserSession.objects.filter(user=principal.user, expire_date__gt=clock.now())
    return live.order_by("-used_at", "-began_at")


@transaction.atomic
def end_session(principal: Principal, public_id: str) -> None:
    """Its cookie opens nothing any more; recorded. Raises NotFound for one that is not the principal's."""
    found = sessions_of(principal).filter(public_id=public_id).first()
    if found is None:
        raise NotFound("There is no such session among yours.")
    audit.record(principal, "session.ended", found, before=_facts(found))
    found.delete()


@transaction.atomic
def end_other_sessions(principal: Principal, key: str) -> int:
    """All of the principal's but the one with this key, empty for all; how many, recorded one by one."""
    others = list(sessions_of(principal).exclude(session_key=key))
    for one in others:
        audit.record(principal, "session.ended", one, before=_facts(one))
        one.delete()
    return len(others)


def record_began(principal: Principal, way: str) -> None:
    """That somebody signed in with a browser is in the audit log, and how: password, code or provider."""
    audit.record(
        principal, "session.began", object_kind="user", object_id=str(principal.user.pk), after={"by": way}
    )


def record_ended(principal: Principal) -> None:
    """That somebody signed out is in the audit log."""
    audit.record(principal, "session.ended", object_kind="user", object_id=str(principal.user.pk))


def browser_of(agent: str) -> str:
    """`Firefox on Linux`: what a browser calls itself, in plain words; empty where it says nothing known."""
    browser = next((name for name, pattern in _BROWSERS if re.search(pattern, agent)), "")
    system = next((name for name, pattern in _SYSTEMS if re.search(pattern, agent)), "")
    return " on ".join(part for part in (browser, system) if part)


_BROWSERS: Final = (
    ("Edge", r"\bEdgA?/"),
    ("Opera", r"\bOPR/"),
    ("Firefox", r"\b(Firefox|FxiOS)/"),
    ("Chrome", r"\b(Chrome|Chromium|HeadlessChrome|CriOS)/"),
    ("Safari", r"\bSafari/"),
    ("curl", r"^curl/"),
)
"""The first that fits: most of them name those below too."""
_SYSTEMS: Final = (
    ("iPhone", r"\biPhone\b"),
    ("iPad", r"\biPad\b"),
    ("Android", r"\bAndroid\b"),
    ("Windows", r"\bWindows\b"),
    ("macOS", r"\bMac OS X\b"),
    ("ChromeOS", r"\bCrOS\b"),
    ("Linux", r"\bLinux\b"),
)


def _facts(session: BrowserSession) -> dict[str, object]:
    return {"address": session.address, "browser": browser_of(session.agent)}


def _note_use(session: BrowserSession) -> None:
    now, address = clock.now(), source.address()
    if session.address == address and now - session.used_at < NOTED_EVERY:
        return
    BrowserSession.objects.filter(pk=session.pk).update(used_at=now, address=address)


def _note_browser(request: HttpRequest | None = None, **_: Any) -> None:
    """Who signs in is told later by which browser it was."""
    if request is not None and hasattr(request, "session"):
        agent = request.META.get("HTTP_USER_AGENT", "")
        request.session[AGENT] = "".join(letter for letter in agent if letter.isprintable())[:MAX_AGENT]


user_logged_in.connect(_note_browser, dispatch_uid="browser_session")
