"""A registry of images on the loopback interface, and the one small image in it: busybox, and nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Registry:
    """Answers as the OCI distribution project says, for reading only. Names of images are `HOST/PATH`."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[tuple[str, str], str] = {}
        """(path, tag) → digest of the manifest."""
        self.asked: list[str] = []
        self.status = 0
        """Answered to everything, when it is not 0."""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                status, kind, body = registry.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                if kind == MANIFEST:
                    self.send_header("Docker-Content-Digest", _digest(body))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def configure(self, folder: Path) -> dict[str, str]:
        """Variables with which podman takes this registry for one without TLS."""
        path = folder / "registries.conf"
        path.write_text(f'[[registry]]\nlocation = "{self.host}"\ninsecure = true\n')
        return {"CONTAINERS_REGISTRIES_CONF": str(path)}

    def put(self, path: str, tag: str, *layers: bytes, env: dict[str, str]) -> str:
        """An image of these layers under this name. Returns the digest of its manifest."""
        config = {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Env": [f"{name}={value}" for name, value in env.items()]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._keep(CONFIG, json.dumps(config).encode()),
            "layers": [self._keep(LAYER, layer) for layer in layers],
        }
        digest = str(self._keep(MANIFEST, json.dumps(manifest).encode())["digest"])
        self.tags[path, tag] = digest
        return digest

    def answer(self, path: str) -> tuple[int, str, bytes]:
        if self.status:
            return self.status, "application/json", b"{}"
        if path == "/v2/":
            return 200, "application/json", b"{}"
        name, kind, which = path.removeprefix("/v2/").rsplit("/", 2)
        if kind == "blobs" and which in self.blobs:
            return 200, "application/octet-stream", self.blobs[which]
        if kind == "manifests":
            body = self.blobs.get(self.tags.get((name, which), which))
            if body is not None:
                return 200, MANIFEST, body
        code = "MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN"
        return (
            404,
            "application/json",
            json.dumps({"errors": [{"code": code, "message": "unknown"}]}).encode(),
        )

    def _keep(self, kind: str, data: bytes) -> dict[str, Any]:
        digest = _digest(data)
        self.blobs[digest] = data
        return {"mediaType": kind, "digest": digest, "size": len(data)}


def busybox_layer() -> bytes:
    """A root file system with busybox under all of its names."""
    program = shutil.which("busybox")
    assert program is not None, "busybox-static is not installed"
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as layer:
        for folder in ("bin", "etc", "root"):
            _add(layer, folder, tarfile.DIRTYPE, mode=0o755)
        _add(layer, "bin/busybox", tarfile.REGTYPE, Path(program).read_bytes(), mode=0o755)
        for name in names:
            if name != "busybox":
                _add(layer, f"bin/{name}", tarfile.SYMTYPE, link="busybox")
        _add(layer, "etc/motd", tarfile.REGTYPE, b"first\n")
        _add(layer, "root/secret", tarfile.REGTYPE, b"of root\n", mode=0o600)
        _add(layer, "bin/wrong", tarfile.REGTYPE, b"#!/bin/sh\nid -u\n", mode=0o4755)
    return out.getvalue()


def file_layer(name: str, text: str) -> bytes:
    """A layer with one file, which covers that of the layers below."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as layer:
        _add(layer, name, tarfile.REGTYPE, text.encode())
    return out.getvalue()


def _add(
    layer: tarfile.TarFile, name: str, kind: bytes, data: bytes = b"", *, mode: int = 0o644, link: str = ""
) -> None:
    item = tarfile.TarInfo(name)
    item.type, item.mode, item.size, item.linkname = kind, mode, len(data), link
    layer.addfile(item, io.BytesIO(data))


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def is_required() -> bool:
    """Whether tests of images may not be skipped."""
    return os.environ.get("FLEXAI_IMAGES_REQUIRED") == "1"
