"""JSON in and out by msgspec, and YAML in; bodies are bounded before they are read whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import parse_qsl

import msgspec
import yaml
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from flexai.common.errors import InvalidInput, TooLarge

DEFAULT_MAX_BODY_BYTES = 1024 * 1024
"""A view that takes more says so in `max_body_bytes`."""
_MAX_YAML_NODES = 100_000
_MAX_FORM_FIELDS = 20
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


class JSONRenderer(BaseRenderer):
    """Encodes plain values; a large answer costs about a microsecond a field."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else _encoder.encode(data)


class JSONParser(BaseParser):
    """Raises TooLarge above the view's bound and InvalidInput for what is not JSON."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = _read(stream, parser_context or {})
        try:
            return _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInput(f"The body is not valid JSON: {error}.") from None


class FormParser(BaseParser):
    """The fields of a form as an object of texts, each at most once. Raises as `JSONParser` does."""

    media_type = "application/x-www-form-urlencoded"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = _read(stream, parser_context or {})
        try:
            fields = parse_qsl(
                body.decode(), keep_blank_values=True, max_num_fields=_MAX_FORM_FIELDS, errors="strict"
            )
        except ValueError:
            raise InvalidInput(f"The body is no form of at most {_MAX_FORM_FIELDS} fields.") from None
        if len(dict(fields)) != len(fields):
            raise InvalidInput("The form has a field twice.")
        return dict(fields)


class BytesParser(BaseParser):
    """The body as it is. Raises TooLarge above the view's bound."""

    media_type = "application/octet-stream"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        return _read(stream, parser_context or {})


class YAMLParser(BaseParser):
    """Like JSON: no tags, no aliases (they multiply), no dates (they stay text). Raises as `JSONParser`
    does."""

    media_type = "application/yaml"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = _read(stream, parser_context or {})
        try:
            return yaml.load(body, _PlainLoader)  # noqa: S506 - a safe loader, narrowed further
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
            raise InvalidInput(f"The body is not valid YAML: {error}") from None


class _PlainLoader(yaml.SafeLoader):
    """The safe loader without aliases and without timestamps, up to a bound of nodes."""

    nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (`*name`) are not accepted")
        self.nodes += 1
        if self.nodes > _MAX_YAML_NODES:
            raise yaml.YAMLError(f"more than {_MAX_YAML_NODES} values")
        return super().compose_node(parent, index)


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read(stream: IO[Any], context: Mapping[str, Any]) -> bytes:
    limit = getattr(context.get("view"), "max_body_bytes", DEFAULT_MAX_BODY_BYTES)
    request = context.get("request")
    declared = request.META.get("CONTENT_LENGTH") if request is not None else None
    if declared and str(declared).isdigit() and int(declared) > limit:
        raise _too_large(limit)
    body: bytes = stream.read(limit + 1)
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than the {limit // 1024} KiB accepted here.")
