"""Pools, nodes and chips. Nodes enrol by themselves; an operator takes them out of service and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from flexai.cluster.chips import cordon_chip, return_chip
from flexai.cluster.models import Chip, Node, NodeEvent, Pool
from flexai.cluster.services import cordon_node, declare_dead, drain_node, return_node, revoke_credential
from flexai.common.events import publish_on_commit
from flexai.console.base import (
    MAX_CHANGED_AT_ONCE,
    ConsoleAdmin,
    ConsoleInline,
    LongList,
    action,
    display,
    label_of,
    told,
)

_COLOURS = {
    "ready": "success",
    "cordoned": "warning",
    "draining": "warning",
    "dead": "danger",
    "unreachable": "danger",
}


@admin.register(Pool)
class PoolAdmin(ConsoleAdmin):
    """Nodes that jobs may name together."""

    adds = changes = True
    list_display = ("name", "cell", "slice_step_milli", "size")
    list_select_related = ("cell",)
    search_fields = ("name",)

    @display(description="nodes")
    def size(self, pool: Pool) -> int:
        return pool.nodes.count()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        publish_on_commit(cell=obj.cell_id)


class ChipInline(ConsoleInline):
    """The node's accelerators."""

    model = Chip
    fields = (
        "index",
        "type",
        "memory_mib",
        "used_milli",
        "used_memory_mib",
        "present",
        "healthy",
        "health_note",
    )
    ordering = ("index",)


@admin.register(Node)
class NodeAdmin(ConsoleAdmin):
    """Machines with an agent."""

    list_display = ("name", "pool", "shown_state", "chips_used", "host_used", "simulated", "agent_version")
    list_filter = ("state", "reachable", "simulated", "pool")
    list_select_related = ("pool",)
    search_fields = ("name", "public_id")
    change_form_outer_before_template = "console/node_actions.html"
    fieldsets = (
        (None, {"fields": ("name", "pool", "shown_state", "state_reason", "chips_used", "host_used", "notes")}),
        (
            "Agent",
            {"fields": ("agent_version", "address", "simulated", "separate_users", "images", "topology",
                        "credential_revoked_at", "created_at", "public_id")},
        ),
    )  # fmt: skip
    readonly_fields = ("shown_state", "chips_used", "host_used", "public_id", "created_at")
    inlines = (ChipInline,)
    actions = ("cordon", "drain", "return_to_service", "declare_dead", "revoke")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Node]:
        found: QuerySet[Node] = super().get_queryset(request)
        return found.prefetch_related("chips")

    @display(description="state", label=_COLOURS)
    def shown_state(self, node: Node) -> str:
        return "unreachable" if not node.reachable and node.state != "dead" else node.state

    @display(description="chips")
    def chips_used(self, node: Node) -> str:
        chips = [chip for chip in node.chips.all() if chip.present]
        return f"{sum(chip.used_milli for chip in chips) / 1000:g} of {len(chips)}"

    @display(description="host")
    def host_used(self, node: Node) -> str:
        cpu = f"{node.used_cpu_milli / 1000:g}/{node.cpu_milli / 1000:g} cores"
        return f"{cpu}, {node.used_memory_mib / 1024:,.0f}/{node.memory_mib / 1024:,.0f} GiB"

    @action(description="Cordon: start nothing new there")
    def cordon(self, request: HttpRequest, queryset: QuerySet[Node]) -> None:
        _each(request, queryset, cordon_node, "takes no new work")

    @action(description="Drain: start nothing new, what runs may finish")
    def drain(self, request: HttpRequest, queryset: QuerySet[Node]) -> None:
        _each(request, queryset, drain_node, "is being emptied")

    @action(description="Return to service")
    def return_to_service(self, request: HttpRequest, queryset: QuerySet[Node]) -> None:
        _each(request, queryset, return_node, "takes work again")

    @action(description="Declare dead: you vouch that the machine is off")
    def declare_dead(self, request: HttpRequest, queryset: QuerySet[Node]) -> None:
        _each(request, queryset, declare_dead, "is declared dead; what ran there is over")

    @action(description="Revoke its credential: the machine was lost, or somebody took it over")
    def revoke(self, request: HttpRequest, queryset: QuerySet[Node]) -> None:
        _each(request, queryset, revoke_credential, "is refused from now on; drain it, or declare it dead")


@admin.register(Chip)
class ChipAdmin(ConsoleAdmin):
    """Every accelerator."""

    list_display = (
        "node",
        "index",
        "type",
        "memory_mib",
        "used_milli",
        "used_memory_mib",
        "present",
        "healthy",
        "cordoned_because",
    )
    list_filter = ("type", "healthy", "present")
    list_select_related = ("node",)
    search_fields = ("public_id", "node__name", "uuid")
    actions = ("cordon", "return_to_service")

    @action(description="Cordon: start nothing new on it")
    def cordon(self, request: HttpRequest, queryset: QuerySet[Chip]) -> None:
        _each_chip(request, queryset, cordon_chip, "takes no new work")

    @action(description="Return to service, also from a drain")
    def return_to_service(self, request: HttpRequest, queryset: QuerySet[Chip]) -> None:
        _each_chip(request, queryset, return_chip, "takes work again")


def _each_chip(
    request: HttpRequest, chips: QuerySet[Chip], change: Callable[[str, Chip, str], None], said: str
) -> None:
    for chip in chips.order_by("pk")[:MAX_CHANGED_AT_ONCE]:
        with told(request, chip):
            change(label_of(request), chip, "by hand, in the console")
            messages.success(request, f"{chip.node.name}, chip {chip.index} {said}.")


def _each(
    request: HttpRequest, nodes: QuerySet[Node], change: Callable[[str, Node, str], None], said: str
) -> None:
    for node in nodes.order_by("pk")[:MAX_CHANGED_AT_ONCE]:
        with told(request, node):
            change(label_of(request), node, "console")
            messages.success(request, f"{node} {said}.")


@admin.register(NodeEvent)
class NodeEventAdmin(LongList):
    """The history of nodes."""

    list_display = ("at", "node", "kind", "reason_code", "sentence", "actor")
    list_filter = ("kind",)
    list_select_related = ("node",)
    search_fields = ("node__name", "reason_code")
    ordering = ("-id",)
