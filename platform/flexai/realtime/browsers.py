"""The browsers' socket: topics multiplexed over one Channels consumer; messages are hints, fetched by those who care.

client → {"subscribe": ["team:<id>:jobs", "job:<id>", "cluster"]} or {"unsubscribe": […]}
server → {"seq", "topic", "id", "version", "kind", "data"?}; a gap in `seq` means that hints were lost.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from flexai.common.errors import FlexaiError, Unauthenticated
from flexai.jobs.queries import visible_jobs
from flexai.realtime.hub import Hub
from flexai.realtime.intake import AWAY
from flexai.tenancy.models import User
from flexai.tenancy.principals import CHOSEN, Principal, Scope, principal_for_user, visible_teams
from flexai.tenancy.tokens import principal_for_token

log = logging.getLogger(__name__)

MAX_TOPICS = 200
"""Subscriptions of one connection."""
MAX_FRAME = 32 * 1024
"""Characters of a frame from a browser."""
MAX_FRAMES_A_MINUTE = 600
MAX_UNSENT = 2000
"""Objects with news that the browser has not read; beyond it the connection ends and the page starts over."""
STUCK_SECONDS = 20
"""A browser that takes no frame for so long is disconnected."""
PAUSE_SECONDS = 0.05
"""News of the same object within this time are one message."""
CHECKED_EVERY_SECONDS = 60
"""How soon a lost membership, a revoked token or a closed session ends a subscription."""
CLOSE_UNAUTHENTICATED = 4401
CLOSE_MALFORMED = 4400
CLOSE_STUCK = 4408
SUBPROTOCOL = "flexai.v1"
BEARER = "flexai.bearer."


class _Wish(msgspec.Struct):
    subscribe: list[str] = []
    unsubscribe: list[str] = []


_decoder = msgspec.json.Decoder(_Wish)


class BrowserConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One browser, or one SDK client."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self.hub = hub

    async def connect(self) -> None:
        """Accepts a signed-in session from our own pages, or a bearer token offered as a subprotocol."""
        self._unsent: dict[tuple[object, ...], dict[str, Any]] = {}
        self._something = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._seq = 0
        self._frames = 0
        self._sending_since: float | None = None
        self._topics: set[str] = set()
        try:
            self._principal = await self.hub.threads.run(partial(_principal, self.scope))
        except FlexaiError:
            await self.close(code=CLOSE_UNAUTHENTICATED)
            return
        await self.accept(subprotocol=_answered(self.scope.get("subprotocols", [])))
        self.hub.browsers[self] = set()
        self._tasks = [asyncio.ensure_future(self._pump()), asyncio.ensure_future(self._check_often())]

    async def disconnect(self, code: int) -> None:
        """Forgets everything about the browser."""
        self.hub.forget(self)
        for task in self._tasks:
            task.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """A change of subscriptions. Topics that the principal may not see are answered with kind `refused`."""
        self._frames += 1
        if text_data is None or len(text_data) > MAX_FRAME or self._frames > MAX_FRAMES_A_MINUTE:
            await self.close(code=CLOSE_MALFORMED)
            return
        try:
            wish = _decoder.decode(text_data)
        except msgspec.DecodeError:
            await self.close(code=CLOSE_MALFORMED)
            return
        for topic in wish.unsubscribe:
            self._topics.discard(topic)
            self.hub.unwatch(self, topic)
        wanted = [topic for topic in dict.fromkeys(wish.subscribe) if topic not in self._topics]
        if not wanted:
            return
        try:
            seen = await self.hub.threads.run(_visible, self._principal, wanted)
        except AWAY as error:
            log.warning("topics not checked, the database is away: %s", error)
            seen = set()
        for topic in wanted:
            if topic in seen and len(self._topics) < MAX_TOPICS:
                self._topics.add(topic)
                self.hub.watch(self, topic)
            else:
                self.deliver(topic, {"kind": "refused", "id": "", "version": 0})

    # --- called by the hub

    def deliver(self, topic: str, message: Mapping[str, Any]) -> None:
        """On its way; news of the same object replace each other."""
        data = message.get("data") or {}
        part = (data.get("attempt"), data.get("replica")) if message["kind"] == "logs" else ()
        self._unsent[(topic, message["kind"], message["id"], *part)] = {
            "topic": topic,
            "id": message["id"],
            "version": message["version"],
            "kind": message["kind"],
            **({"data": data} if data else {}),
        }
        self._something.set()

    def tell_gap(self) -> None:
        """A number is left out, so that the page fetches anew."""
        self._seq += 1
        self.deliver("", {"kind": "gap", "id": "", "version": 0})

    def close_if_stuck(self) -> None:
        """Ends the connection of a browser that does not read."""
        since = self._sending_since
        is_stuck = since is not None and asyncio.get_running_loop().time() - since > STUCK_SECONDS
        if is_stuck or len(self._unsent) > MAX_UNSENT:
            self.hub.forget(self)
            self._tasks.append(asyncio.ensure_future(self._give_up()))

    # --- tasks

    async def _give_up(self) -> None:
        self._tasks[0].cancel()
        with suppress(TimeoutError, OSError):
            await asyncio.wait_for(self.close(code=CLOSE_STUCK), 5)

    async def _pump(self) -> None:
        """First news at once, then at most twenty bundles a second."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._something.wait()
            self._something.clear()
            unsent, self._unsent = self._unsent, {}
            for message in unsent.values():
                self._seq += 1
                self._sending_since = clock()
                await self.send(text_data=msgspec.json.encode({"seq": self._seq, **message}).decode())
                self._sending_since = None
            await asyncio.sleep(PAUSE_SECONDS)

    async def _check_often(self) -> None:
        """What the principal may no longer see it no longer hears of."""
        while True:
            await asyncio.sleep(CHECKED_EVERY_SECONDS)
            self._frames = 0
            try:
                self._principal = await self.hub.threads.run(partial(_principal, self.scope))
                seen = await self.hub.threads.run(_visible, self._principal, sorted(self._topics))
            except FlexaiError:
                await self.close(code=CLOSE_UNAUTHENTICATED)
                return
            except AWAY as error:
                log.warning("subscriptions not checked, the database is away: %s", error)
                continue
            for topic in self._topics - seen:
                self.hub.unwatch(self, topic)
                self.deliver(topic, {"kind": "refused", "id": "", "version": 0})
            self._topics &= seen


def _answered(offered: list[str]) -> str | None:
    """Browsers close a socket whose server answers none of the subprotocols they offered."""
    if SUBPROTOCOL in offered:
        return SUBPROTOCOL
    return next((name for name in offered if name.startswith(BEARER)), None)


def _principal(scope: Mapping[str, Any]) -> Principal:
    """Who is there: by token, else by session, and by session only from our own pages. Raises Unauthenticated."""
    for name in scope.get("subprotocols", []):
        if name.startswith(BEARER):
            principal = principal_for_token(name.removeprefix(BEARER))
            principal.require_scope(Scope.READ)
            return principal
    if not _is_own_page(scope):
        raise Unauthenticated("The page that asks is not ours.")
    user = scope.get("user")
    session = scope.get("session")
    if user is None or not user.is_authenticated:
        raise Unauthenticated("Sign in first.")
    if session is None or not session.exists(session.session_key):
        raise Unauthenticated("The session is over.")
    current = User.objects.filter(pk=user.pk, is_active=True).first()
    if current is None:
        raise Unauthenticated("The user is switched off.")
    return principal_for_user(current, chosen=str(session.get(CHOSEN, "")))


def _is_own_page(scope: Mapping[str, Any]) -> bool:
    """A cookie travels with a request of any page; the Origin header says which page it was."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    origin, host = headers.get(b"origin", ""), headers.get(b"host", "")
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    domain, _ = split_domain_port(host)
    allowed = settings.ALLOWED_HOSTS or ["localhost", "127.0.0.1", "[::1]"]
    return bool(origin) and urlsplit(origin).netloc == host and validate_host(domain, allowed)


def _visible(principal: Principal, topics: list[str]) -> set[str]:
    """Those of the topics that the principal may hear of."""
    seen: set[str] = set()
    for pattern, visible in TOPICS.items():
        named = {found[1]: topic for topic in topics if (found := re.fullmatch(pattern, topic))}
        if named:
            seen |= {named[name] for name in visible(principal, list(named))}
    return seen


def _teams(principal: Principal, names: list[str]) -> Iterable[str]:
    return visible_teams(principal).filter(public_id__in=names).values_list("public_id", flat=True)


def _jobs(principal: Principal, names: list[str]) -> Iterable[str]:
    return visible_jobs(principal).filter(public_id__in=names).values_list("public_id", flat=True)


TOPICS: Mapping[str, Callable[[Principal, list[str]], Iterable[str]]] = {
    "team:([^:]+):jobs": _teams,
    "job:([^:]+)": _jobs,
    "(cluster)": lambda principal, names: names,
}
"""Every kind of topic, and which of the names in it the principal may hear of. The cluster is for all who are signed
in: it says of no tenant what it does."""
