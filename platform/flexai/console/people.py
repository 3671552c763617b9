"""Organizations, teams with their quotas, users and tokens."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.safestring import mark_safe
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from flexai.console.base import (
    ConsoleAdmin,
    ConsoleForm,
    ConsoleInline,
    OperatorsOnly,
    action,
    display,
    principal_of,
    record,
    told,
)
from flexai.console.quota_tree import quota_tree
from flexai.tenancy.audit_log import as_csv
from flexai.tenancy.budgets import remove_budget, set_budget, set_user_caps
from flexai.tenancy.models import (
    AuditEntry,
    Budget,
    Membership,
    Organization,
    Quota,
    ServiceAccount,
    Team,
    TeamMember,
    TeamUse,
    Token,
    User,
    UserCap,
)
from flexai.tenancy.quotas import QuotaLine, set_quotas
from flexai.tenancy.second_factor import forget
from flexai.tenancy.services import (
    check_new_organization,
    check_new_team,
    create_organization,
    create_team,
)


class MembershipInline(ConsoleInline):
    """Roles that hold in the whole organization."""

    model = Membership
    adds = changes = deletes = True
    autocomplete_fields = ("user",)


class OrganizationForm(ConsoleForm):
    """A new organization, refused where the service would refuse it."""

    def check_new(self, values: dict[str, Any]) -> None:
        check_new_organization(values["slug"])


class TeamForm(ConsoleForm):
    """A new team, refused where the service would refuse it."""

    def check_new(self, values: dict[str, Any]) -> None:
        check_new_team(values["organization"], values["name"], parent=values.get("parent"))


@admin.register(Organization)
class OrganizationAdmin(ConsoleAdmin):
    """Tenants."""

    form = OrganizationForm
    adds = changes = True
    list_display = ("name", "slug", "public_id", "created_at")
    search_fields = ("name", "slug", "public_id")
    readonly_fields = ("public_id", "created_at")
    inlines = (MembershipInline,)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            made = create_organization(obj.name, obj.slug)
            obj.pk, obj.public_id, obj.created_at = made.pk, made.public_id, made.created_at
            obj._state.adding = False
        super().save_model(request, obj, form, change)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        super().save_formset(request, form, formset, change)
        _record_rows(request, formset)


class QuotaInline(ConsoleInline):
    """What the team is promised. In milli-chips: 1000 is one chip. An empty limit is none."""

    model = Quota
    adds = changes = deletes = True
    fields = ("cell", "chip_type", "guaranteed_milli", "limit_milli", "over_quota_weight")
    tab = True


class UserCapInline(ConsoleInline):
    """What each single user may hold in this team. In milli-chips: 1000 is one chip."""

    model = UserCap
    adds = changes = deletes = True
    fields = ("cell", "chip_type", "limit_milli")
    tab = True


class BudgetInline(ConsoleInline):
    """What the team and all below it may spend, in chip-hours, or in millionths of the currency, or both."""

    model = Budget
    adds = changes = deletes = True
    fields = ("period", "since", "chip_hours", "money_micro", "soft_percent", "hard", "is_warned", "is_spent")
    readonly_fields = ("is_warned", "is_spent")
    tab = True


class TeamMemberInline(ConsoleInline):
    """Roles in this team, beside those in the organization."""

    model = TeamMember
    adds = changes = deletes = True
    autocomplete_fields = ("user",)
    tab = True


class TeamUseInline(ConsoleInline):
    """What live attempts of the team and of those below it hold now."""

    model = TeamUse
    verbose_name_plural = "use now"
    fields = ("cell", "chip_type", "used_milli")
    tab = True


@admin.register(Team)
class TeamAdmin(ConsoleAdmin):
    """Teams, each with its quotas."""

    form = TeamForm
    adds = changes = True
    list_display = ("name", "organization", "parent", "promised", "public_id")
    list_filter = ("organization",)
    list_select_related = ("organization", "parent")
    search_fields = ("name", "public_id")
    fields = ("organization", "parent", "name", "public_id", "created_at")
    readonly_fields = ("public_id", "created_at")
    inlines = (QuotaInline, UserCapInline, BudgetInline, TeamUseInline, TeamMemberInline)

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(lambda request: quota_tree(request, self.admin_site))
        found: list[URLPattern] = super().get_urls()
        return [path("quotas/", page, name="tenancy_quota_tree"), *found]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        found: QuerySet[Team] = super().get_queryset(request)
        return found.prefetch_related("quotas")

    def get_readonly_fields(self, request: HttpRequest, obj: Team | None = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "organization", "parent") if obj else self.readonly_fields

    @display(description="guaranteed")
    def promised(self, team: Team) -> str:
        lines = [f"{quota.guaranteed_milli / 1000:g} {quota.chip_type}" for quota in team.quotas.all()]
        return ", ".join(lines) or "—"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            made = create_team(obj.organization, obj.name, parent=obj.parent)
            obj.pk, obj.public_id, obj.created_at = made.pk, made.public_id, made.created_at
            obj._state.adding = False
        super().save_model(request, obj, form, change)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        if formset.model is Quota:
            _set_quotas(request, form.instance, formset)
            return
        if formset.model is UserCap:
            _set_user_caps(request, form.instance, formset)
            return
        if formset.model is Budget:
            _set_budget(request, form.instance, formset)
            return
        super().save_formset(request, form, formset, change)
        _record_rows(request, formset)


class RoleInline(ConsoleInline):
    """What the user may do in whole organizations."""

    model = Membership
    adds = changes = deletes = True
    verbose_name, verbose_name_plural = "role in an organization", "roles in organizations"
    autocomplete_fields = ("organization",)


class TeamRoleInline(ConsoleInline):
    """What the user may do in single teams, beside that."""

    model = TeamMember
    adds = changes = deletes = True
    verbose_name, verbose_name_plural = "role in a team", "roles in teams"
    autocomplete_fields = ("team",)


class PersonForm(UserChangeForm):  # type: ignore[misc]
    """The theme's, in this platform's words."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        link = (
            '<a href="../password/" class="text-primary-600 underline dark:text-primary-500">Set another</a>.'
        )
        self.fields["password"].help_text = mark_safe(link)  # noqa: S308 - a constant
        self.fields["is_staff"].label = "Operator"
        self.fields["is_staff"].help_text = "Opens this console, and manages the whole platform."
        self.fields["is_active"].help_text = "Switch it off instead of deleting the account."


@admin.register(User)
class UserConsole(OperatorsOnly, UserAdmin, ModelAdmin):  # type: ignore[type-arg, misc]
    """People and service accounts. An operator is one with `is_staff`."""

    adds = changes = True
    form, add_form, change_password_form = PersonForm, UserCreationForm, AdminPasswordChangeForm
    list_display = ("username", "email", "is_active", "operator", "last_login")
    list_filter = ("is_active", "is_staff")
    fieldsets = (
        (None, {"fields": ("username", "password", "email", "first_name", "last_name")}),
        ("Access", {"fields": ("is_active", "is_staff")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")

    actions = ("forget_second_factor",)

    def get_inlines(self, request: HttpRequest, obj: User | None) -> Any:
        """Roles are given on the page that follows the making of a user."""
        return [RoleInline, TeamRoleInline] if obj else []

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        super().save_formset(request, form, formset, change)
        _record_rows(request, formset)

    @action(description="Remove the second factor")
    def forget_second_factor(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            if forget(user):
                record(request, "second_factor.removed", user, None, None)
                messages.success(request, f"{user.username} signs in with the password alone.")

    @display(description="operator", boolean=True)
    def operator(self, user: User) -> bool:
        return user.is_staff

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm[User], change: bool) -> None:
        super().save_model(request, obj, form, change)
        named = [name for name in form.changed_data if "password" not in name]
        before = {name: str(form.initial.get(name)) for name in named} if change else None
        after = {name: str(form.cleaned_data.get(name)) for name in named}
        record(request, "user.changed" if change else "user.created", obj, before, after)

    def log_change(self, request: HttpRequest, obj: User, message: Any) -> Any:
        """The page of a password saves by itself and tells nobody but this."""
        if request.resolver_match and request.resolver_match.url_name == "auth_user_password_change":
            record(request, "user.password_set", obj, None, None)
        return super().log_change(request, obj, message)


@admin.register(Token)
class TokenAdmin(ConsoleAdmin):
    """Who may call the API. Secrets are nowhere: only their hash is kept, and it is not shown."""

    list_display = (
        "public_id",
        "name",
        "user",
        "organization",
        "team",
        "expires_at",
        "revoked_at",
        "last_used_at",
    )
    list_filter = ("organization",)
    list_select_related = ("user", "organization", "team")
    search_fields = ("public_id", "name", "user__username")
    exclude = ("hash",)
    actions = ("revoke",)

    @action(description="Revoke")
    def revoke(self, request: HttpRequest, queryset: QuerySet[Token]) -> None:
        for token in queryset.filter(revoked_at=None).select_related("organization"):
            if Token.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
                record(request, "token.revoked", token, None, None)
                messages.success(request, f"{token.public_id} is refused from now on.")


@admin.register(ServiceAccount)
class ServiceAccountAdmin(ConsoleAdmin):
    """Programs that act by tokens. Made and removed by those who manage them, by the API."""

    list_display = ("name", "organization", "team", "user", "created_at")
    list_filter = ("organization",)
    list_select_related = ("organization", "team", "user")
    search_fields = ("name", "public_id")


@admin.register(AuditEntry)
class AuditEntryAdmin(ConsoleAdmin):
    """Every decision of a principal. Nobody changes it, operators included."""

    list_display = ("at", "who", "action", "what", "organization", "reason")
    list_filter = ("at", "actor_kind", "object_kind", "organization")
    list_select_related = ("organization",)
    search_fields = ("actor", "object_id", "action", "address", "request_id")
    ordering = ("-id",)
    actions = ("export",)

    @display(description="who, from where", header=True)
    def who(self, entry: AuditEntry) -> tuple[str, str]:
        return entry.actor, entry.address

    @display(description="on what", header=True)
    def what(self, entry: AuditEntry) -> tuple[str, str]:
        return entry.object_id, entry.object_kind

    @action(description="Export as CSV", permissions=["view"])
    def export(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> HttpResponse:
        return as_csv("audit", queryset)


def _set_quotas(request: HttpRequest, team: Team, formset: Any) -> None:
    """The service sets each cell's quotas as the form has them; what it refuses is told and stays."""
    before = set(Quota.objects.filter(team=team).values_list("cell_id", flat=True))
    formset.save(commit=False)
    wanted: dict[int, list[QuotaLine]] = {cell: [] for cell in before}
    for row in formset.cleaned_data:
        if row and not row.get("DELETE"):
            wanted.setdefault(row["cell"].pk, []).append(
                {
                    "chip_type": row["chip_type"],
                    "guaranteed_milli": row["guaranteed_milli"],
                    "limit_milli": row["limit_milli"],
                    "over_quota_weight": row["over_quota_weight"],
                }
            )
    if not formset.has_changed():
        return
    for cell, lines in wanted.items():
        with told(request, f"Quotas of {team}"):
            set_quotas(principal_of(request, team.organization), team, lines, cell_id=cell)


def _set_user_caps(request: HttpRequest, team: Team, formset: Any) -> None:
    """The service sets each cell's caps as the form has them; what it refuses is told and stays."""
    wanted: dict[int, list[dict[str, Any]]] = {
        cell: [] for cell in UserCap.objects.filter(team=team).values_list("cell_id", flat=True)
    }
    formset.save(commit=False)
    for row in formset.cleaned_data:
        if row and not row.get("DELETE"):
            line = {"chip_type": row["chip_type"], "limit_milli": row["limit_milli"]}
            wanted.setdefault(row["cell"].pk, []).append(line)
    if formset.has_changed():
        for cell, lines in wanted.items():
            with told(request, f"Caps of {team}"):
                set_user_caps(principal_of(request, team.organization), team, lines, cell_id=cell)


def _set_budget(request: HttpRequest, team: Team, formset: Any) -> None:
    """The service sets the budget as the form has it, or removes it."""
    formset.save(commit=False)
    principal = principal_of(request, team.organization)
    for row in [row for row in formset.cleaned_data if row and formset.has_changed()]:
        with told(request, f"Budget of {team}"):
            if row.get("DELETE"):
                remove_budget(principal, team)
            else:
                names = ("period", "chip_hours", "money_micro", "soft_percent", "hard")
                values = {name: row[name] for name in names} | {"since": row["since"].isoformat()}
                set_budget(principal, team, values, timezone.now().date())


def _record_rows(request: HttpRequest, formset: Any) -> None:
    """Members added, changed and removed by this form, each with its organization or team."""
    kind = formset.model._meta.model_name
    roles = {form.instance.pk: form.initial.get("role") for form in formset.initial_forms}
    for row in formset.new_objects:
        record(request, f"{kind}.added", _place(row), None, _seat(row, row.role))
    for row, _ in formset.changed_objects:
        record(request, f"{kind}.changed", _place(row), _seat(row, roles.get(row.pk)), _seat(row, row.role))
    for row in formset.deleted_objects:
        record(request, f"{kind}.removed", _place(row), _seat(row, row.role), None)


def _place(row: Membership | TeamMember) -> Organization | Team:
    return row.organization if isinstance(row, Membership) else row.team


def _seat(row: Membership | TeamMember, role: str | None) -> dict[str, Any]:
    return {"user": row.user.username, "role": role}
