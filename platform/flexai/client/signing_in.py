"""Ways to a token for who has none: by password, by a pipeline's identity, or from a browser."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, cast

from flexai.client.errors import (
    NotReached,
    Problem,
    ServerFault,
    Unauthenticated,
    UnexpectedAnswer,
    WaitTimeout,
)
from flexai.client.transport import Transport
from flexai.client.types import Token

TIMEOUT_SECONDS = 30.0
CSRF_COOKIE = "flexai_csrf"
LONGEST_INTERVAL_SECONDS = 5.0
"""Pauses grow up to this, unless the server wants longer ones."""
SLOWER_SECONDS = 5.0
"""More between two questions from now on, where the server says `slow_down` (RFC 8628, 3.5)."""


def create_token_with_password(
    url: str,
    username: str,
    password: str,
    *,
    name: str,
    code: str = "",
    organization: str = "",
    expires_in_days: int = 90,
    timeout: float = TIMEOUT_SECONDS,
) -> Token:
    """A new token of this user, with its secret. Raises Unauthenticated, with the code `second_factor` where a code has
    to be sent along. `organization` is the short name of the one that it acts in; else the one joined first.

    The session that made it is over afterwards, also where no token was made.
    """
    transport = Transport(url, None, timeout=timeout)
    try:
        transport.get("/session")
        who = {"username": username, "password": password}
        _signed(transport, "POST", "/session", {**who, "code": code} if code else who)
        body = {"name": name, "scopes": ["read", "write"], "expires_in_days": expires_in_days}
        try:
            if organization:
                _signed(transport, "PUT", "/me/organization", {"organization": organization})
            token = _signed(transport, "POST", "/tokens", body)
        finally:
            _signed(transport, "DELETE", "/session", None)
    finally:
        transport.close()
    if not isinstance(token, dict) or "token" not in token:
        raise UnexpectedAnswer(f"{url} made no token.")
    return cast("Token", token)


def exchange_identity(url: str, identity: str, *, rule: str = "", timeout: float = TIMEOUT_SECONDS) -> str:
    """A short-lived token for the identity token of a CI system. Raises Unauthenticated or Forbidden.

    `rule` is the trust rule's id, needed where it is not the identity token's audience.
    """
    transport = Transport(url, None, timeout=timeout)
    body = {"subject_token": identity, **({"rule": rule} if rule else {})}
    try:
        answer = transport.send("POST", "/auth/exchange", body=body)
    finally:
        transport.close()
    if not isinstance(answer, dict) or "access_token" not in answer:
        raise UnexpectedAnswer(f"{url} gave no token.")
    return str(answer["access_token"])


@dataclass(frozen=True, slots=True)
class SignIn:
    """A sign-in from a browser that was begun: show `code` and `page`, then wait for the `token`."""

    code: str
    page: str
    _transport: Transport
    _secret: str
    _interval: float
    _ends_at: float

    def token(self) -> str:
        """The token, when somebody has typed the code and confirmed.

        Raises InvalidInput where it was refused (`access_denied`) or is over (`expired_token`), WaitTimeout where
        nobody came.
        """
        interval = self._interval
        try:
            while time.monotonic() < self._ends_at:
                self._transport.sleep(interval)
                try:
                    answer = self._transport.send(
                        "POST", "/sign-ins/token", body={"device_code": self._secret}
                    )
                except (NotReached, ServerFault):
                    continue  # the network or the server is away for a while: the code may still be confirmed
                except Problem as problem:
                    if problem.code == "slow_down":
                        interval += SLOWER_SECONDS
                    elif problem.code == "authorization_pending":
                        interval = max(interval, min(interval * 1.2, LONGEST_INTERVAL_SECONDS))
                    else:
                        raise
                else:
                    return _text(answer, "access_token", self._transport.url)
        finally:
            self._transport.close()
        raise WaitTimeout("Nobody confirmed the code in time. Begin again.")


def begin_sign_in(url: str, machine: str, *, timeout: float = TIMEOUT_SECONDS) -> SignIn:
    """A sign-in that somebody ends in a browser; `machine` is how they know which. Raises NotFound where the server
    knows no such way."""
    transport = Transport(url, None, timeout=timeout)
    try:
        begun = transport.send("POST", "/sign-ins", body={"machine": machine})
        words = [_text(begun, key, url) for key in ("user_code", "verification_uri", "device_code")]
        interval, life = (_number(begun, key, url) for key in ("interval", "expires_in"))
    except BaseException:
        transport.close()
        raise
    return SignIn(words[0], words[1], transport, words[2], interval, time.monotonic() + life)


def _text(answer: Any, key: str, url: str) -> str:
    if not isinstance(answer, dict) or not isinstance(answer.get(key), str):
        raise UnexpectedAnswer(f"{url} answered without {key}.")
    return str(answer[key])


def _number(answer: Any, key: str, url: str) -> float:
    given = answer.get(key)
    if not isinstance(given, int) or not 0 < given <= 3600:
        raise UnexpectedAnswer(f"{url} answered without a sound {key}.")
    return float(given)


def _signed(transport: Transport, method: str, path: str, body: object) -> Any:
    """A request of a browser session: the CSRF cookie's value goes into a header."""
    csrf = transport.cookies().get(CSRF_COOKIE)
    if csrf is None:
        raise Unauthenticated(
            "The server set no session cookie. Use a token instead.", status=401, code="unauthenticated"
        )
    return transport.send(method, path, body=body, headers={"X-CSRFToken": csrf, "Referer": transport.url})
