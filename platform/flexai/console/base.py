"""What the console's pages share: operators only, read-only unless they say otherwise."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import unfold.decorators
from django.contrib import messages
from django.db.models import Model
from django.forms import ModelForm
from django.forms.models import ModelFormMetaclass
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.paginator import InfinitePaginator

from flexai.common.errors import FieldError, FlexaiError
from flexai.console.door import is_operator
from flexai.tenancy.models import AuditEntry, Organization, Role, User
from flexai.tenancy.principals import Principal

Column = TypeVar("Column", bound=Callable[..., Any])
PAGE_SIZE = 50
MAX_CHANGED_AT_ONCE = 200
"""Objects that one action changes at most: each is a transaction of its own."""


class OperatorsOnly:
    """Whoever is an operator may look; the rest of the permissions say what may be changed."""

    adds = changes = deletes = False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_operator(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return is_operator(request)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.adds and is_operator(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.changes and is_operator(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.deletes and is_operator(request)


class ConsoleAdmin(OperatorsOnly, ModelAdmin):  # type: ignore[misc]
    """A list and a page per object. What is changed here by a form is recorded in the audit log."""

    list_per_page = PAGE_SIZE
    show_full_result_count = False
    list_filter_submit = True
    compressed_fields = True

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        named = [name for name in form.changed_data if "password" not in name]
        before = {name: str(form.initial.get(name)) for name in named} if change else None
        after = {name: str(form.cleaned_data.get(name)) for name in named}
        record(request, f"{obj._meta.model_name}.{'changed' if change else 'created'}", obj, before, after)


class _AbstractForm(ABCMeta, ModelFormMetaclass):
    """A form class that may have abstract methods."""


class ConsoleForm(ModelForm, metaclass=_AbstractForm):  # type: ignore[type-arg]
    """A form whose new rows a service makes: what it would refuse is said at the field."""

    @abstractmethod
    def check_new(self, values: dict[str, Any]) -> None:
        """Raises FlexaiError where the service would; all fields are there and right by themselves."""

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if self.instance.pk is None and not self.errors:
            try:
                self.check_new(values)
            except FlexaiError as error:
                for wrong in error.errors or (FieldError("", error.detail),):
                    self.add_error(wrong.field if wrong.field in self.fields else None, wrong.message)
        return values


class LongList(ConsoleAdmin):
    """For tables too long to be counted: pages follow one another without a last one."""

    paginator = InfinitePaginator


class ConsoleInline(OperatorsOnly, TabularInline):  # type: ignore[misc]
    """Rows of an object on its page."""

    extra = 0
    show_change_link = False


def principal_of(request: HttpRequest, organization: Organization) -> Principal:
    """The operator, acting in this organization with its owner's rights."""
    assert isinstance(request.user, User)
    return Principal(request.user, organization, Role.OWNER)


def label_of(request: HttpRequest) -> str:
    """The operator, as events name it."""
    return f"user:{request.user.get_username()}"


def record(
    request: HttpRequest, action: str, obj: Any, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> None:
    """What an operator changed by a form is in the audit log, with the organization it belongs to."""
    organization = obj if isinstance(obj, Organization) else getattr(obj, "organization", None)
    AuditEntry.objects.create(
        organization=organization,
        actor_kind="user",
        actor=request.user.get_username(),
        action=action,
        object_kind=obj._meta.model_name,
        object_id=str(getattr(obj, "public_id", "") or obj.pk),
        before=before,
        after=after,
        reason="console",
    )


def display(**options: Any) -> Callable[[Column], Column]:
    """Unfold's decorator of a column, with a type."""
    return cast("Callable[[Column], Column]", unfold.decorators.display(**options))


def action(**options: Any) -> Callable[[Column], Column]:
    """Unfold's decorator of an action, with a type."""
    return cast("Callable[[Column], Column]", unfold.decorators.action(**options))


@contextmanager
def told(request: HttpRequest, about: object) -> Iterator[None]:
    """A refusal of a service becomes a message on the page, and what follows goes on."""
    try:
        yield
    except FlexaiError as error:
        said = "; ".join([error.detail, *(f"{wrong.field} {wrong.message}" for wrong in error.errors)])
        messages.error(request, f"{about}: {said}")
