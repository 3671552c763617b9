"""Webhooks, and what they were told."""

from __future__ import annotations

from typing import Any

from django.db.models import OuterRef, Subquery
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.pagination import Order, page_of
from flexai.api.schemas import webhooks as shapes
from flexai.api.schemas.common import CURSOR, LIMIT, NothingSerializer, answers, public_id
from flexai.api.views.base import View, body_of, only_known, principal_of, text_in
from flexai.common.errors import InvalidInput
from flexai.jobs.presenting import stamp
from flexai.notifications import services
from flexai.notifications.models import Delivery, Webhook
from flexai.notifications.queries import deliveries_of, hook_named, visible_hooks

_ID = public_id("webhook")
_MESSAGE = OpenApiParameter(
    "message", OpenApiTypes.STR, OpenApiParameter.PATH, description="Id of the message: msg-…"
)


class WebhooksView(View):
    """All that you may manage."""

    @extend_schema(
        operation_id="webhooks_list",
        parameters=[LIMIT, CURSOR],
        responses=answers(shapes.WebhookListSerializer),
    )
    def get(self, request: Request) -> Response:
        """The webhooks that you may manage, each with its last message."""
        page = page_of(visible_hooks(principal_of(request)), request, Order("id"))
        return Response(page.present(_all_shown))

    @extend_schema(
        operation_id="webhook_create",
        request=shapes.NewWebhookSerializer,
        responses=answers(shapes.WebhookCreatedSerializer, 201),
        examples=[shapes.NEW_WEBHOOK_EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Make one, of a team or of the organization. Its secret is in this answer and nowhere else."""
        body = body_of(request)
        only_known(body, {"name", "url", "events", "description", "team"})
        made, secret = services.create_hook(
            principal_of(request),
            name=text_in(body, "name", most=63),
            url=text_in(body, "url", most=500),
            events=body.get("events"),
            description=text_in(body, "description", most=services.MAX_DESCRIPTION, default=""),
            team=text_in(body, "team", most=100, default=""),
        )
        return Response({**_shown(made, None), "secret": secret}, status=201)


class WebhookView(View):
    """One webhook."""

    @extend_schema(operation_id="webhook_read", parameters=[_ID], responses=answers(shapes.WebhookSerializer))
    def get(self, request: Request, id: str) -> Response:
        """The webhook with its last message."""
        return Response(_all_shown([hook_named(principal_of(request), id)])[0])

    @extend_schema(
        operation_id="webhook_change",
        parameters=[_ID],
        request=shapes.WebhookChangeSerializer,
        responses=answers(shapes.WebhookSerializer),
    )
    def patch(self, request: Request, id: str) -> Response:
        """Change what is named; `on: false` gives up what waits, `on: true` begins anew."""
        principal = principal_of(request)
        hook = hook_named(principal, id)
        body = body_of(request)
        only_known(body, set(services.CHANGEABLE))
        if not body:
            raise InvalidInput(f"Say what shall change: {', '.join(sorted(services.CHANGEABLE))}.")
        return Response(_all_shown([services.change_hook(principal, hook, body)])[0])

    @extend_schema(
        operation_id="webhook_remove",
        parameters=[_ID],
        request=None,
        responses=answers(None, 204, "Removed."),
    )
    def delete(self, request: Request, id: str) -> Response:
        """Remove it, and the record of its messages."""
        principal = principal_of(request)
        services.remove_hook(principal, hook_named(principal, id))
        return Response(status=204)


class WebhookSecretView(View):
    """Its secret."""

    @extend_schema(
        operation_id="webhook_secret_rotate",
        parameters=[_ID],
        request=NothingSerializer,
        responses=answers(shapes.SecretSerializer, 201),
    )
    def post(self, request: Request, id: str) -> Response:
        """A new secret. For a day messages are signed with the former one too, so that receivers can follow."""
        principal = principal_of(request)
        hook = hook_named(principal, id)
        secret = services.rotate_secret(principal, hook)
        hook.refresh_from_db()
        return Response({"secret": secret, "former_until": stamp(hook.former_until)}, status=201)


class WebhookPingView(View):
    """A test."""

    @extend_schema(
        operation_id="webhook_ping",
        parameters=[_ID],
        request=NothingSerializer,
        responses=answers(shapes.DeliverySerializer, 201),
    )
    def post(self, request: Request, id: str) -> Response:
        """Send it a message of the type `ping`, within some seconds."""
        principal = principal_of(request)
        made = services.ping_hook(principal, hook_named(principal, id))
        return Response(_delivery(made), status=201)


class DeliveriesView(View):
    """What it was told."""

    @extend_schema(
        operation_id="webhook_deliveries_list",
        parameters=[_ID, LIMIT, CURSOR],
        responses=answers(shapes.DeliveryListSerializer),
    )
    def get(self, request: Request, id: str) -> Response:
        """Its messages of the last 30 days, newest first."""
        hook = hook_named(principal_of(request), id)
        page = page_of(deliveries_of(hook), request, Order("id", descending=True))
        return Response(page.present(lambda rows: [_delivery(row) for row in rows]))


class RedeliverView(View):
    """One message, once more."""

    @extend_schema(
        operation_id="webhook_redeliver",
        parameters=[_ID, _MESSAGE],
        request=NothingSerializer,
        responses=answers(shapes.DeliverySerializer),
    )
    def post(self, request: Request, id: str, message: str) -> Response:
        """Try a message anew that was delivered or given up; its id stays."""
        principal = principal_of(request)
        return Response(_delivery(services.redeliver(principal, hook_named(principal, id), message)))


def _all_shown(hooks: list[Webhook]) -> list[dict[str, Any]]:
    newest = Delivery.objects.filter(hook=OuterRef("pk")).order_by("-id").values("pk")[:1]
    hook_pks = [hook.pk for hook in hooks]
    last = (
        Webhook.objects.filter(pk__in=hook_pks).annotate(last=Subquery(newest)).values_list("last", flat=True)
    )
    by_hook = {one.hook_id: one for one in Delivery.objects.filter(pk__in=[pk for pk in last if pk])}
    return [_shown(hook, by_hook.get(hook.pk)) for hook in hooks]


def _shown(hook: Webhook, last: Delivery | None) -> dict[str, Any]:
    return {
        "id": hook.public_id,
        "name": hook.name,
        "description": hook.description,
        "team": hook.team.name if hook.team else None,
        "url": hook.url,
        "events": hook.events,
        "on": hook.is_on,
        "off_because": hook.off_because,
        "failing_since": stamp(hook.failing_since),
        "created_at": stamp(hook.created_at),
        "last_delivery": _delivery(last) if last is not None else None,
    }


def _delivery(one: Delivery) -> dict[str, Any]:
    is_waiting = one.state == Delivery.State.PENDING
    return {
        "id": one.public_id,
        "event": one.event,
        "at": stamp(one.at),
        "state": str(one.state),
        "tries": one.tries,
        "last_at": stamp(one.last_at),
        "next_at": stamp(one.next_at) if is_waiting else None,
        "status": one.status,
        "answer": one.answer,
        "data": one.data,
    }
