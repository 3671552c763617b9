"""Chip types, what a chip-hour of each costs from when to when, and how many there are and are used."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Sum
from django.forms import CharField, DateField, DateInput, DecimalField, Form, NumberInput, TextInput
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from unfold.widgets import BASE_INPUT_CLASSES

from flexai.cluster.models import Chip, ChipType
from flexai.cluster.queries import measured_by_type
from flexai.common import clock
from flexai.common.errors import InvalidInput
from flexai.console.base import ConsoleAdmin, display, record
from flexai.jobs.pricing import DAYS_BACK, Lasts, PriceEffect, effect_of_price
from flexai.tenancy.askable import MICRO, money_of
from flexai.tenancy.models import Price, Quota
from flexai.tenancy.prices import AHEAD, MAX_MICRO, check_prices, prices_on, write_prices

_INPUT: Final = " ".join(BASE_INPUT_CLASSES)


class NewPriceForm(Form):
    """A price of a chip type, in the currency a chip-hour."""

    chip_type = CharField(
        max_length=64, widget=TextInput(attrs={"class": _INPUT, "placeholder": "H100-80GB"})
    )
    price = DecimalField(
        min_value=0, max_value=MAX_MICRO // MICRO, decimal_places=6, label="Price of a chip-hour",
        widget=NumberInput(attrs={"class": _INPUT, "min": 0, "step": "any"}),
    )  # fmt: skip
    from_day = DateField(label="From day", widget=DateInput(attrs={"class": _INPUT, "type": "date"}))

    def __init__(self, data: Any = None, *, chip_type: str = "") -> None:
        today = clock.now().date()
        super().__init__(data, initial={"from_day": today.isoformat()})
        self.fields["from_day"].widget.attrs |= {"min": str(today), "max": str(today + AHEAD)}
        if chip_type:
            del self.fields["chip_type"]
        self._chip_type = chip_type

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if not self.errors:
            try:
                check_prices([self.line()], clock.now().date())
            except InvalidInput as error:
                for wrong in error.errors:
                    field = wrong.field.rpartition(".")[2]
                    self.add_error(field if field in self.fields else "price", wrong.message)
        return values

    def line(self) -> dict[str, Any]:
        """As the service takes it."""
        values = self.cleaned_data
        return {
            "chip_type": self._chip_type or values["chip_type"],
            "from_day": values["from_day"].isoformat(),
            "micro_per_chip_hour": int(values["price"] * MICRO),
        }


@admin.register(ChipType)
class ChipTypeAdmin(ConsoleAdmin):
    """Kinds of chips; each appears when a node first reports one. Its page sets its price."""

    list_display = ("name", "vendor", "memory", "speed", "chips", "held", "costs")
    search_fields = ("name", "vendor")
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChipType]:
        found: QuerySet[ChipType] = super().get_queryset(request)
        there = Chip.objects.filter(type=OuterRef("name"), present=True).values("type")
        prices = Price.objects.filter(chip_type=OuterRef("name"), from_day__lte=clock.now().date())
        return found.annotate(
            there=Subquery(there.annotate(number=Count("pk")).values("number")),
            held_milli=Subquery(there.annotate(total=Sum("used_milli")).values("total")),
            micro=Subquery(prices.order_by("-from_day").values("micro_per_chip_hour")[:1]),
        )

    @display(description="memory")
    def memory(self, kind: ChipType) -> str:
        return _memory(kind)

    @display(description="chips")
    def chips(self, kind: Any) -> int:
        return kind.there or 0

    @display(description="held")
    def held(self, kind: Any) -> str:
        return f"{(kind.held_milli or 0) / 1000:g}"

    @display(description="a chip-hour costs")
    def costs(self, kind: Any) -> str:
        return "no price" if kind.micro is None else _price(kind.micro)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        found = self.get_queryset(request)
        kind = (
            found.filter(pk=int(object_id)).first() if object_id.isdecimal() and len(object_id) < 18 else None
        )
        if kind is None:
            raise Http404("There is no such chip type.")
        return price_page(request, self.admin_site, kind)


@admin.register(Price)
class PriceAdmin(ConsoleAdmin):
    """What a chip-hour of each type costs from a day on. Days that are over keep theirs."""

    adds = True
    list_display = ("chip_type", "from_day", "costs")
    list_display_links = None
    list_filter = ("chip_type",)
    ordering = ("chip_type", "-from_day")

    @display(description="a chip-hour costs")
    def costs(self, price: Price) -> str:
        return _price(price.micro_per_chip_hour)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        return price_page(request, self.admin_site, None)


def price_page(request: HttpRequest, site: AdminSite, kind: ChipType | None) -> HttpResponse:
    """The page of a chip type, or of a price of any. POST `check` shows what a price would do, `save` sets it."""
    form = NewPriceForm(
        request.POST if request.method == "POST" else None, chip_type=kind.name if kind else ""
    )
    effect = None
    if request.method == "POST" and form.is_valid():
        line = form.line()
        if "save" in request.POST:
            _set(request, line)
            costs = _price(line["micro_per_chip_hour"])
            said = f"A chip-hour of {line['chip_type']} costs {costs} from {line['from_day']} on."
            messages.success(request, said)
            if kind is None:
                return redirect("admin:tenancy_price_changelist")
            return redirect("admin:cluster_chiptype_change", kind.pk)
        day = form.cleaned_data["from_day"]
        effect = effect_of_price(line["chip_type"], day, line["micro_per_chip_hour"], clock.now())
    context = site.each_context(request) | {
        "title": kind.name if kind else "Set a price",
        "kind": kind,
        "form": form,
        "currency": settings.CURRENCY,
        "effect": _told(effect) if effect else None,
    }
    if kind is not None:
        context |= {"figures": _figures(kind), "prices": _prices(kind.name)}
    return render(request, "console/chip_type.html", context, status=422 if form.errors else 200)


def _set(request: HttpRequest, line: dict[str, Any]) -> None:
    """The price is set and recorded, with what the day would have cost otherwise."""
    before = prices_on(date.fromisoformat(line["from_day"])).get(line["chip_type"])
    [row] = write_prices([line], clock.now().date())
    record(request, "price.set", row, {"micro_per_chip_hour": before}, line)


def _figures(kind: Any) -> list[tuple[str, str]]:
    promised = (
        Quota.objects.filter(chip_type=kind.name).aggregate(total=Sum("guaranteed_milli"))["total"] or 0
    )
    there, held_milli = kind.there or 0, kind.held_milli or 0
    held, used = measured_by_type().get(kind.name, (0, 0))
    out = Chip.objects.filter(type=kind.name, present=True)
    out = out.filter(Q(healthy=False) | ~Q(cordoned_because="") | Q(drained_at__isnull=False))
    return [
        ("Chips", f"{there:,}"),
        ("Held by jobs", f"{held_milli / 1000:g}"),
        ("Used of what is held", f"{100 * used / held:.0f} %" if held else "not measured"),
        ("Promised to teams", f"{promised / 1000:g}"),
        ("That take no work", f"{out.count():,}"),
        ("Memory", _memory(kind)),
        ("Vendor", kind.vendor or "unknown"),
        ("Relative speed", f"{kind.speed / 1000:g}"),
    ]


def _prices(chip_type: str) -> list[dict[str, Any]]:
    """Each price with the days on which it holds, the newest first."""
    today = clock.now().date()
    rows = list(Price.objects.filter(chip_type=chip_type).order_by("-from_day"))
    told = []
    until: date | None = None
    for row in rows:
        last = until - timedelta(days=1) if until else None
        when = "later" if row.from_day > today else "now" if last is None or last >= today else "over"
        told.append(
            {"from": row.from_day, "to": last, "price": _price(row.micro_per_chip_hour), "when": when}
        )
        until = row.from_day
    return told


def _told(effect: PriceEffect) -> dict[str, Any]:
    return {
        "held": f"{effect.held_milli / 1000:g}",
        "before": money_of(effect.hourly_before, settings.CURRENCY),
        "after": money_of(effect.hourly_after, settings.CURRENCY),
        "hours": f"{effect.hours_back:,}",
        "days": DAYS_BACK,
        "cost": money_of(effect.cost_back, settings.CURRENCY),
        "budgets": [_told_budget(one) for one in effect.budgets],
    }


def _told_budget(lasts: Lasts) -> dict[str, str]:
    team = lasts.budget.team
    return {
        "team": f"{team.organization.slug} / {team.name}",
        "left": money_of(lasts.left_micro, settings.CURRENCY),
        "before": _for_how_long(lasts.before),
        "after": _for_how_long(lasts.after),
    }


def _for_how_long(lasts: timedelta | None) -> str:
    if lasts is None:
        return "for good"
    return f"{lasts.days} days" if lasts.days >= 2 else f"{lasts.total_seconds() / 3600:.0f} h"


def _memory(kind: ChipType) -> str:
    return f"{kind.nominal_memory_mib / 1024:,.0f} GiB" if kind.nominal_memory_mib else "unknown"


def _price(micro: int) -> str:
    """To the cent, and further where it says more."""
    amount = Decimal(micro) / MICRO
    return (
        f"{amount:,.2f} {settings.CURRENCY}"
        if amount == round(amount, 2)
        else f"{amount.normalize():,f} {settings.CURRENCY}"
    )
