"""The files that jobs leave: listed, read, removed by people; brought by nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from flexai.api.authentication import AgentAuthentication
from flexai.api.pagination import optional_whole_parameter, whole_parameter
from flexai.api.renderers import BytesParser, JSONRenderer
from flexai.api.schemas import outputs as shapes
from flexai.api.schemas.common import answers, public_id
from flexai.api.throttling import CallerThrottle
from flexai.api.views.base import View, principal_of
from flexai.cluster.models import Node
from flexai.common.errors import InvalidInput, NotFound, Unauthenticated
from flexai.jobs import outputs, outputs_intake, queries
from flexai.jobs.outputs import Outputs
from flexai.jobs.presenting import stamp
from node_agent import protocol_outputs

_ATTEMPT = OpenApiParameter("attempt", OpenApiTypes.INT, description="The last when left out.")
_ID = [public_id("job"), _ATTEMPT]
_MAX_ATTEMPT = 2**31 - 1
T = TypeVar("T")
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


class OutputsView(View):
    """What a job left."""

    @extend_schema(operation_id="job_outputs", parameters=_ID, responses=answers(shapes.OutputsSerializer))
    def get(self, request: Request, id: str) -> Response:
        """The files that it kept, and what of them was left out and why."""
        return Response(_told(_asked(request, id)))

    @extend_schema(
        operation_id="job_outputs_remove",
        parameters=[public_id("job")],
        responses=answers(shapes.OutputsRemovedSerializer),
    )
    def delete(self, request: Request, id: str) -> Response:
        """Remove the files of all its attempts; they no longer count against the organization's limit."""
        principal = principal_of(request)
        return Response({"attempts": outputs.remove_outputs(principal, queries.job_named(principal, id))})


class OutputFileView(View):
    """One of the files."""

    @extend_schema(
        operation_id="job_output_file",
        parameters=[
            *_ID,
            OpenApiParameter("path", OpenApiTypes.STR, required=True, description="As the list tells it."),
            OpenApiParameter(
                "Range", OpenApiTypes.STR, OpenApiParameter.HEADER, description="bytes=FIRST-LAST"
            ),
        ],
        responses={
            (200, "application/octet-stream"): OpenApiResponse(OpenApiTypes.BINARY, "The whole file."),
            (206, "application/octet-stream"): OpenApiResponse(OpenApiTypes.BINARY, "The part asked for."),
        },
    )
    def get(self, request: Request, id: str) -> StreamingHttpResponse:
        """Its bytes, always as a download and never as a page; one range of them where `Range` asks for one."""
        path = request.query_params.get("path", "")
        job = queries.job_named(principal_of(request), id)
        attempt, file = outputs.file_of(job, _attempt(request), path)
        start, end = _range(request.headers.get("Range", ""), file.size)
        is_part = (start, end) != (0, file.size)
        answer = _download(outputs.content(attempt, file, start, end), path.rpartition("/")[2], end - start)
        answer["Accept-Ranges"] = "bytes"
        if is_part:
            answer.status_code = 206
            answer["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
        return answer


class OutputArchiveView(View):
    """All of the files in one."""

    @extend_schema(
        operation_id="job_outputs_archive",
        parameters=_ID,
        responses={
            (200, "application/x-tar"): OpenApiResponse(OpenApiTypes.BINARY, "All files, in one folder."),
        },
    )
    def get(self, request: Request, id: str) -> StreamingHttpResponse:
        """Every file as one tar archive, made as it is sent."""
        found = _asked(request, id)
        if found.attempt is None or not found.files:
            raise NotFound(f"There are no files to download. {found.sentence}".strip())
        folder = f"{id}-{found.attempt.number}"
        size = outputs.archive_size(found, folder)
        return _download(outputs.archive(found, folder), f"{folder}.tar", size, kind="application/x-tar")


def _asked(request: Request, id: str) -> Outputs:
    return outputs.outputs_of(queries.job_named(principal_of(request), id), _attempt(request))


def _attempt(request: Request) -> int | None:
    return optional_whole_parameter(request, "attempt", 1, _MAX_ATTEMPT)


def _told(found: Outputs) -> dict[str, Any]:
    return {
        "attempt": None if found.attempt is None else found.attempt.number,
        "state": found.state,
        "sentence": found.sentence,
        "said": list(found.said),
        "bytes": sum(file.size for file in found.files),
        "kept_until": stamp(found.kept_until),
        "files": [{"path": file.path, "size": file.size} for file in found.files],
    }


def _range(given: str, size: int) -> tuple[int, int]:
    """First byte and the one after the last; all of it for what is no single range of it."""
    found = _RANGE.fullmatch(given.strip())
    if found is None or not any(found.groups()):
        return 0, size
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    start, end = int(first), min(size, int(last) + 1 if last else size)
    return (start, end) if start < end else (0, size)


def _download(
    pieces: Iterator[bytes], name: str, size: int, kind: str = "application/octet-stream"
) -> StreamingHttpResponse:
    """A tenant's bytes: no browser makes anything of them but a file."""
    answer = StreamingHttpResponse(pieces, content_type=kind)
    answer["Content-Length"] = str(size)
    answer["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Content-Security-Policy"] = "sandbox; default-src 'none'"
    answer["Cache-Control"] = "private, no-store"
    return answer


# --- by nodes -------------------------------------------------------------------------------------------------------


class IsNode(BasePermission):
    """For agents, by their node's credential."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not isinstance(request.auth, Node):
            raise Unauthenticated("Give the agent's credential in the header Authorization: Bearer.")
        return True


class AgentView(APIView):
    """A view for an agent."""

    authentication_classes = (AgentAuthentication,)
    permission_classes = (IsNode,)
    throttle_classes = (CallerThrottle,)
    renderer_classes = (JSONRenderer,)
    max_body_bytes = 8 * 1024 * 1024


_NODE_ID = [OpenApiParameter("id", OpenApiTypes.STR, OpenApiParameter.PATH, description="Id of the attempt.")]


class BroughtView(AgentView):
    """The outputs of an attempt, offered by its node."""

    @extend_schema(
        operation_id="agent_outputs_offer",
        parameters=_NODE_ID,
        request=shapes.OfferedSerializer,
        responses=answers(shapes.TakenSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """What the node holds; the answer says which files to send, and from where on."""
        offered = _body(request, protocol_outputs.OutputsOffered)
        return _taken(outputs_intake.offer(_node(request), id, offered))


class BroughtPieceView(AgentView):
    """A piece of a file."""

    parser_classes = (BytesParser,)
    max_body_bytes = protocol_outputs.OUTPUT_PIECE

    @extend_schema(
        operation_id="agent_outputs_piece",
        parameters=[
            *_NODE_ID,
            OpenApiParameter("number", OpenApiTypes.INT, OpenApiParameter.PATH, description="In the offer."),
            OpenApiParameter("offset", OpenApiTypes.INT, description="Its first byte."),
        ],
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses=answers(shapes.TakenSerializer),
    )
    def put(self, request: Request, id: str, number: int) -> Response:
        """The next 4 MiB of a file, or what is left of it; the answer says where the next piece begins."""
        offset = whole_parameter(request, "offset", 0, 0, outputs_intake.MAX_INT63)
        if number > _MAX_ATTEMPT:
            raise NotFound("No such file was taken.")
        data: Any = request.data
        return _taken(outputs_intake.take_piece(_node(request), id, number, offset, data or b""))


class BroughtEndView(AgentView):
    """The end of it."""

    @extend_schema(
        operation_id="agent_outputs_end",
        parameters=_NODE_ID,
        request=shapes.EndedSerializer,
        responses=answers(shapes.TakenSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """Nothing more will come; what is not whole is dropped, and that is said."""
        return _taken(outputs_intake.end(_node(request), id, _body(request, protocol_outputs.OutputsEnded)))


def _node(request: Request) -> int:
    assert isinstance(request.auth, Node)
    return request.auth.pk


def _taken(taken: protocol_outputs.OutputsTaken) -> Response:
    return Response(msgspec.to_builtins(taken))


def _body(request: Request, kind: type[T]) -> T:
    try:
        return msgspec.convert(request.data or {}, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"The body is not as it should be: {error}.") from error
