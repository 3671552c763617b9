"""An issuer of identities that is a real HTTP server with keys of its own, and can be made to misbehave."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from flexai.tenancy import issuers


@cache
def rsa_key(number: int = 1, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Making one takes a while, so tests share them."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Issuer:
    """What it publishes, changed by tests; `asked` lists the paths that were asked for."""

    url: str = ""
    keys: dict[str, Any] = field(default_factory=lambda: {"k1": rsa_key()})
    """Private keys by name: what it publishes and signs with."""
    answers: dict[str, Any] = field(default_factory=dict)
    """By path, instead of the right ones: (status, headers, body)."""
    asked: list[str] = field(default_factory=list)
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1", "preferred_username": "ana"})
    """Claims of whoever signs in next."""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    """What each code was given for."""

    def token(self, *, key: Any = None, kid: str | None = "k1", alg: str = "RS256", **claims: Any) -> str:
        """An identity token, right but for what is said here; a claim of None is left out."""
        now = int(time.time())
        made = {"iss": self.url, "sub": "repo:acme/train:ref:refs/heads/main", "iat": now, "nbf": now,
                "exp": now + 300, "jti": str(uuid.uuid4()), "repository": "acme/train", "ref": "refs/heads/main",
                **claims}  # fmt: skip
        headers = {"kid": kid} if kid is not None else {}
        made = {name: value for name, value in made.items() if value is not None}
        return jwt.encode(made, key if key is not None else self.keys[kid or "k1"], alg, headers=headers)

    def published(self) -> dict[str, Any]:
        """Its keys, the public halves."""
        keys = []
        for name, key in self.keys.items():
            kind: Any = jwt.algorithms.ECAlgorithm if hasattr(key, "curve") else jwt.algorithms.RSAAlgorithm
            keys.append({**kind.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig"})
        return {"keys": keys}

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body. `/github` gives a pipeline its identity, for the audience that it names."""
        self.asked.append(path)
        if path in self.answers:
            status, headers, body = self.answers[path]
            return status, headers, body if isinstance(body, bytes) else json.dumps(body).encode()
        if path.startswith("/github?"):
            audience = parse_qs(urlsplit(path).query)["audience"][0]
            return 200, {}, json.dumps({"value": self.token(aud=audience)}).encode()
        if path.startswith("/authorize?"):
            wanted = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
            code = str(uuid.uuid4())
            self.codes[code] = wanted
            back = urlencode({"code": code, "state": wanted["state"], "iss": self.url})
            return 302, {"Location": f"{wanted['redirect_uri']}?{back}"}, b""
        documents: dict[str, Any] = {
            issuers.DISCOVERY: {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
            },
            "/keys": self.published(),
        }
        found = documents.get(path)
        return (404, {}, b"") if found is None else (200, {}, json.dumps(found).encode())

    def trade(self, form: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """The identity token for a code: once, to whoever can say what its challenge was made of."""
        wanted = self.codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        right = wanted is not None and (
            wanted["code_challenge"] == challenge.rstrip(b"=").decode()
            and all(wanted[name] == form.get(name) for name in ("redirect_uri", "client_id"))
            and form.get("client_secret") == "of-the-client"
        )
        if wanted is None or not right:
            return 400, {}, b'{"error": "invalid_grant"}'
        token = self.token(**{"aud": wanted["client_id"], "nonce": wanted["nonce"], **self.person})
        return 200, {}, json.dumps({"access_token": "x", "token_type": "Bearer", "id_token": token}).encode()


@contextmanager
def an_issuer() -> Iterator[Issuer]:
    """A running one; its address is an origin of its own on this machine."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = issuer.answer(self.path)
            if self.path.startswith("/github") and self.headers.get("Authorization") != "Bearer of-the-run":
                status, headers, body = 401, {}, b""
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, _, answer = issuer.trade({name: values[0] for name, values in parse_qs(body).items()})
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    issuers.forget()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
        issuers.forget()
