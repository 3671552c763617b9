"""What every view of the API shares: who asks, in which scope, and how much may be sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.permissions import SAFE_METHODS, BasePermission, IsAuthenticated
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from flexai.api import etags
from flexai.api.renderers import DEFAULT_MAX_BODY_BYTES, JSONRenderer
from flexai.api.throttling import CallerThrottle
from flexai.cluster.models import Cell
from flexai.common.errors import FieldError, InvalidInput, Unavailable
from flexai.tenancy.principals import Principal, Scope


class HasScope(BasePermission):
    """Reading needs the scope read, everything else write. Raises Forbidden, which says so."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        principal_of(request).require_scope(Scope.READ if request.method in SAFE_METHODS else Scope.WRITE)
        return True


class View(APIView):
    """A view for somebody signed in."""

    permission_classes: Sequence[type[BasePermission]] = (IsAuthenticated, HasScope)
    throttle_classes: Sequence[type[BaseThrottle]] = (CallerThrottle,)
    max_body_bytes = DEFAULT_MAX_BODY_BYTES

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The answer; what is done under a condition is one transaction with its check."""
        with etags.condition_of(request):
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """As everywhere, and the condition is met. Raises Stale."""
        super().initial(request, *args, **kwargs)
        etags.check(self, request, kwargs)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:
        """JSON, whatever was asked for: there is nothing else to choose from."""
        renderer = JSONRenderer()
        return renderer, renderer.media_type


def principal_of(request: Request) -> Principal:
    """Who asks; the view's permissions have made sure that somebody does."""
    principal = request.auth
    if not isinstance(principal, Principal):
        raise TypeError("a view without IsAuthenticated asked for its principal")
    return principal


def body_of(request: Request) -> dict[str, Any]:
    """The body as an object; an absent one is empty. Raises InvalidInput for anything else."""
    data: Any = request.data
    if data is None or data == "":
        return {}
    if not isinstance(data, dict):
        raise InvalidInput("The body has to be a JSON object.")
    return data


def text_in(body: dict[str, Any], key: str, *, most: int, default: str | None = None) -> str:
    """A text of the body, without control characters. Raises InvalidInput."""
    given = body.get(key, default)
    if not isinstance(given, str) or len(given) > most or not given.replace("\n", " ").isprintable():
        message = "is missing" if given is None else f"must be text of at most {most} printable characters"
        raise InvalidInput(f"`{key}` {message}.", errors=[FieldError(key, message)])
    return given


def only_known(body: dict[str, Any], known: set[str]) -> None:
    """Raises InvalidInput naming keys that this body does not have."""
    errors = [
        FieldError(str(key)[:60], "unknown key", f"known here are {', '.join(sorted(known))}")
        for key in body
        if key not in known
    ]
    if errors:
        raise InvalidInput(f"Unknown key {errors[0].field!r}.", errors=errors)


def the_cell() -> Cell:
    """The cell that an answer about the cluster speaks of: the first. Raises Unavailable where there is none."""
    cell = Cell.objects.order_by("id").first()
    if cell is None:
        raise Unavailable("There is no cell yet: the installation is not complete.")
    return cell
