"""Nodes, chips, the cluster, and how agents enrol."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.pagination import whole_parameter
from flexai.api.schemas import cluster as shapes
from flexai.api.schemas.common import CURSOR, LIMIT, ReasonTextSerializer, answers, public_id
from flexai.api.throttling import AddressThrottle
from flexai.api.views.base import View, body_of, only_known, principal_of, text_in, the_cell
from flexai.cluster import chips, services
from flexai.cluster.models import Chip, Node, Pool
from flexai.common import clock
from flexai.common.errors import FieldError, InvalidInput, NotFound
from flexai.jobs import queries_live
from flexai.jobs.presenting import stamp
from flexai.scheduling.models import Cycle
from flexai.tenancy import audit
from flexai.tenancy.principals import Principal
from flexai.tenancy.roles import Action

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_MINUTES = 30 * 24 * 60
_HIDDEN = {"pk"}


class NodesView(View):
    """All nodes."""

    @extend_schema(
        operation_id="nodes_list", parameters=[LIMIT, CURSOR], responses=answers(shapes.NodeListSerializer)
    )
    def get(self, request: Request) -> Response:
        """Nodes with their chips, who is on them and what they use now."""
        nodes, cursor = _page(request)
        return Response({"items": [_node(node) for node in nodes], "next_cursor": cursor})


class NodeView(View):
    """One node."""

    @extend_schema(
        operation_id="node_read", parameters=[public_id("node")], responses=answers(shapes.NodeSerializer)
    )
    def get(self, request: Request, id: str) -> Response:
        """The node with its chips."""
        return Response(_node_now(principal_of(request), id))


class DrainView(View):
    """Empty a node."""

    @extend_schema(
        operation_id="node_drain",
        parameters=[public_id("node")],
        request=ReasonTextSerializer,
        responses=answers(shapes.NodeSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """No new work is placed on it; what runs may finish. Operators only."""
        return _set_state(request, id, services.drain_node)


class CordonView(View):
    """Keep new work off a node."""

    @extend_schema(
        operation_id="node_cordon",
        parameters=[public_id("node")],
        request=ReasonTextSerializer,
        responses=answers(shapes.NodeSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """No new work is placed on it; what runs goes on. Operators only."""
        return _set_state(request, id, services.cordon_node)


class ReturnView(View):
    """Put a node back into service."""

    @extend_schema(
        operation_id="node_return",
        parameters=[public_id("node")],
        request=ReasonTextSerializer,
        responses=answers(shapes.NodeSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """The node takes work again. Operators only."""
        return _set_state(request, id, services.return_node)


class RevokeCredentialView(View):
    """Turn a node away."""

    @extend_schema(
        operation_id="node_revoke_credential",
        parameters=[public_id("node")],
        request=ReasonTextSerializer,
        responses=answers(shapes.NodeSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """Its agent is refused for good, at once or at its next heartbeat; a new one has to enrol. Operators only."""
        return _set_state(request, id, services.revoke_credential)


class ChipsView(View):
    """All chips."""

    @extend_schema(
        operation_id="chips_list", parameters=[LIMIT, CURSOR], responses=answers(shapes.ChipListSerializer)
    )
    def get(self, request: Request) -> Response:
        """The chips of a page of nodes, flat."""
        nodes, cursor = _page(request)
        items = [
            {**_shown(chip), "node": node["name"], "node_id": node["id"]}
            for node in nodes
            for chip in node["chips"]
        ]
        return Response({"items": items, "next_cursor": cursor})


class ChipCordonView(View):
    """Keep new work off one chip."""

    @extend_schema(
        operation_id="chip_cordon",
        parameters=[public_id("chip")],
        request=ReasonTextSerializer,
        responses=answers(shapes.NodeSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """No new work is placed on it, whatever its health is; what runs goes on. Needs a reason. Operators only."""
        return _set_chip(request, id, chips.cordon_chip)


class ChipReturnView(View):
    """Put one chip back into service."""

    @extend_schema(
        operation_id="chip_return",
        parameters=[public_id("chip")],
        request=ReasonTextSerializer,
        responses=answers(shapes.NodeSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """The chip takes work again, cordoned or drained; what stands against it drains it anew. Operators only."""
        return _set_chip(request, id, chips.return_chip)


class ClusterView(View):
    """The cluster as a whole."""

    @extend_schema(operation_id="cluster_read", responses=answers(shapes.ClusterSerializer))
    def get(self, request: Request) -> Response:
        """Totals, the scheduler's last cycle, and the last hour."""
        cell = the_cell()
        cycle = Cycle.objects.filter(cell=cell).order_by("-id").first()
        shown = _cycle_state(cycle, principal_of(request).may(Action.SEE_FAULTS))
        return Response({**queries_live.cluster_summary(cell.pk), "cycle": shown})


class EnrolmentTokensView(View):
    """Tokens with which agents enrol."""

    @extend_schema(
        operation_id="enrolment_token_create",
        request=shapes.NewEnrolmentTokenSerializer,
        responses=answers(shapes.EnrolmentTokenSerializer, 201),
    )
    def post(self, request: Request) -> Response:
        """Make one; operators only. The token is in this answer and nowhere else."""
        principal = principal_of(request)
        principal.require(Action.ENROL_NODES)
        body = body_of(request)
        only_known(body, {"pool", "uses", "expires_in_minutes"})
        ttl = timedelta(minutes=_whole(body, "expires_in_minutes", 60, MAX_MINUTES))
        made_at = clock.now()
        pool = _pool(text_in(body, "pool", most=63, default=""))
        secret = services.create_enrolment_token(pool, ttl=ttl, uses=_whole(body, "uses", 1, 1000))
        audit.record(principal, "enrolment_token.created", object_kind="pool", object_id=str(pool.pk))
        return Response({"token": secret, "expires_at": stamp(made_at + ttl)}, status=201)


class EnrolView(View):
    """How an agent gets its credential."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (AddressThrottle,)

    @extend_schema(
        operation_id="agent_enrol",
        auth=[],
        request=shapes.EnrolSerializer,
        responses=answers(shapes.EnrolledSerializer, 201),
    )
    def post(self, request: Request) -> Response:
        """Trade an enrolment token for a node whose credential the agent has made; asked again, the same node."""
        body = body_of(request)
        only_known(body, {"token", "name", "credential"})
        node = services.enrol(
            text_in(body, "token", most=128),
            text_in(body, "name", most=63),
            text_in(body, "credential", most=128),
        )
        return Response({"node_id": node.public_id}, status=201)


def _page(request: Request) -> tuple[list[Mapping[str, Any]], str | None]:
    limit = whole_parameter(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    after = whole_parameter(request, "cursor", 0, 0, 2**62)
    named = _named_organizations(principal_of(request))
    nodes = queries_live.node_list(the_cell().pk, organizations=named, after_pk=after, limit=limit + 1)
    more = len(nodes) > limit
    return list(nodes[:limit]), str(nodes[limit - 1]["pk"]) if more else None


def _named_organizations(principal: Principal) -> Collection[int] | None:
    """Whose jobs may be named on a chip: an operator's everybody's, else the caller's own."""
    if principal.may(Action.SEE_EVERYBODY):
        return None
    return [principal.organization.pk] if principal.sees_everything() else []


def _set_state(request: Request, node_id: str, action: Callable[[str, Node, str], None]) -> Response:
    principal = principal_of(request)
    principal.require(Action.RUN_NODES)
    body = body_of(request)
    only_known(body, {"reason"})
    reason = text_in(body, "reason", most=200, default="")
    node = Node.objects.filter(public_id=node_id).first()
    if node is None:
        raise NotFound("There is no such node.")
    action(principal.label, node, reason)
    return Response(_node_now(principal, node_id))


def _set_chip(request: Request, chip_id: str, action: Callable[[str, Chip, str], None]) -> Response:
    principal = principal_of(request)
    principal.require(Action.RUN_NODES)
    body = body_of(request)
    only_known(body, {"reason"})
    reason = text_in(body, "reason", most=chips.MAX_REASON, default="")
    chip = chips.chip_named(chip_id)
    action(principal.label, chip, reason)
    return Response(_node_now(principal, chip.node.public_id))


def _node_now(principal: Principal, node_id: str) -> dict[str, Any]:
    return _node(queries_live.node_detail(node_id, organizations=_named_organizations(principal)))


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    return {**_shown(node), "chips": [_shown(chip) for chip in node["chips"]]}


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in _HIDDEN}


def _pool(name: str) -> Pool:
    pools = Pool.objects.order_by("id")
    pool = pools.filter(name=name).first() if name else pools.first()
    if pool is None:
        raise InvalidInput(
            f"There is no pool {name!r}.", errors=[FieldError("pool", "there is no such pool")]
        )
    return pool


def _whole(body: Mapping[str, Any], key: str, default: int, most: int) -> int:
    given = body.get(key, default)
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= most:
        error = FieldError(key, f"must be a whole number from 1 to {most}")
        raise InvalidInput(f"`{key}` must be a whole number from 1 to {most}.", errors=[error])
    return given


def _cycle_state(cycle: Cycle | None, sees_faults: bool) -> dict[str, Any]:
    if cycle is None:
        return {"last_at": None, "ok": True, "error": None, "duration_ms": None}
    last_line = (cycle.error.strip().splitlines() or [""])[-1]
    return {
        "last_at": stamp(cycle.started_at),
        "ok": not cycle.error,
        "error": (last_line if sees_faults else "The scheduler's last cycle failed.")
        if cycle.error
        else None,
        "duration_ms": cycle.read_ms + cycle.decide_ms + cycle.apply_ms,
    }
