"""Names of container images, by the grammar of the OCI distribution project, and the patterns that policies allow.

A name is `registry/path[:tag][@digest]`. The registry has to be written: what a short name stands for would be each
node's own to say, and no policy could hold. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from flexai.jobs.quantities import Wrong, said

MAX_NAME: Final = 255
"""Characters of registry and path together, as the distribution project bounds them."""
MAX_REFERENCE: Final = MAX_NAME + 1 + 128 + 1 + 7 + 128
"""With a tag and a digest."""
MAX_DIGEST: Final = 7 + 128
"""Characters of `sha512:` and its digits."""
_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?"
_COMPONENT = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_DIGEST = "sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}"
_WHICH = (
    r"(?::(?P<tag>[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}))?"
    f"(?:@(?P<digest>{_DIGEST}))?"
)
_REFERENCE = re.compile(rf"(?P<registry>{_REGISTRY})/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*){_WHICH}")
_SHORT = re.compile(f"{_COMPONENT}{_WHICH}")
_EXAMPLE: Final = "such as docker.io/library/python:3.12, or ghcr.io/acme/train@sha256: and 64 digits"
_PATTERN = re.compile(rf"{_REGISTRY}/(?:(?:{_COMPONENT}|\*)/)*(?:{_COMPONENT}|\*\*?)")
_DOCKER: Final = "docker.io"
_DOCKERS_OWN: Final = "library"
"""Where Docker Hub keeps the images that are named by one word."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image by its full name: registry in lower case, Docker's own images below `library`."""

    registry: str
    path: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.registry}/{self.path}{tag}" + (f"@{self.digest}" if self.digest else "")


def read_image(value: object) -> Image:
    """The image of this name; without tag and digest its tag is `latest`. Raises Wrong."""
    if not isinstance(value, str) or not value.isascii() or len(value) > MAX_REFERENCE:
        raise Wrong(f"is no name of an image of at most {MAX_REFERENCE} characters", _EXAMPLE)
    found = _REFERENCE.fullmatch(value)
    if _SHORT.fullmatch(value) or (found and not _is_registry(found["registry"])):
        raise Wrong(f"{said(value)} does not name its registry", f"give it, {_EXAMPLE}")
    if found is None:
        raise Wrong(f"{said(value)} is no name of an image", _EXAMPLE)
    registry, path = _named(found["registry"], found["path"])
    if len(registry) + 1 + len(path) > MAX_NAME:
        raise Wrong(f"has a name of more than {MAX_NAME} characters", _EXAMPLE)
    digest = found["digest"] or ""
    return Image(registry, path, found["tag"] or ("" if digest else "latest"), digest)


def is_digest(text: str) -> bool:
    """Whether this is the digest of an image."""
    return re.fullmatch(_DIGEST, text) is not None


def read_pattern(value: object) -> str:
    """A pattern of names as it is kept. A star stands for one whole part between slashes, two at the end for one or
    more. Raises Wrong."""
    hint = "such as ghcr.io/acme/*, ghcr.io/acme/** or docker.io/library/python"
    if not isinstance(value, str) or len(value) > MAX_NAME or not value.isascii():
        raise Wrong(f"{said(value)} is no pattern of image names", hint)
    if ":" in value.rpartition("/")[2] or "@" in value:
        raise Wrong(f"{said(value)} names a tag or a digest", f"a pattern is of names alone, {hint}")
    registry, _, path = value.partition("/")
    if not _PATTERN.fullmatch(value) or not _is_registry(registry):
        raise Wrong(f"{said(value)} is no pattern of image names", hint)
    return "/".join(_named(registry, path))


def is_allowed(image: Image, pattern: str) -> bool:
    """Whether the pattern, one that `read_pattern` gave, fits the image's name."""
    wanted, there = pattern.split("/"), [image.registry, *image.path.split("/")]
    if wanted[-1] == "**":
        wanted.pop()
        if len(there) <= len(wanted):
            return False
        there = there[: len(wanted)]
    return len(there) == len(wanted) and all(
        part in ("*", name) for part, name in zip(wanted, there, strict=True)
    )


def _is_registry(name: str) -> bool:
    """As Docker tells a registry from the first part of a path."""
    return name == "localhost" or any(mark in name for mark in ".:[")


def _named(registry: str, path: str) -> tuple[str, str]:
    registry = registry.lower()
    if registry == "index.docker.io":
        registry = _DOCKER
    if registry == _DOCKER and "/" not in path and path not in ("*", "**"):
        path = f"{_DOCKERS_OWN}/{path}"
    return registry, path
