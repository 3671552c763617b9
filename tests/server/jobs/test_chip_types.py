"""Which registered chip types a spec means: one by name, a family, or any that fits."""

from __future__ import annotations

from typing import Any

import pytest

from flexai.cluster.models import ChipType
from flexai.common.errors import InvalidInput, NeverFits
from flexai.jobs import admission
from flexai.jobs.chip_types import RegisteredType, with_registered_types
from flexai.jobs.requests import request_from
from flexai.jobs.spec import parse
from tests.support.tenants import a_node


def a_type(name: str, vendor: str, *sizes: int) -> RegisteredType:
    return RegisteredType(name, vendor, frozenset(sizes))


THERE = (
    a_type("910B", "huawei", 65_536),
    a_type("A100-40GB", "nvidia", 40_960),
    a_type("A100-80GB", "nvidia", 81_920, 81_251),
    a_type("L40S", "nvidia", 46_068),
    a_type("MI300X", "amd", 196_592),
    a_type("T4", "nvidia", 15_360),
    a_type("cpu", "", 0),
)
"""With the sizes that the vendors' libraries tell."""


def resources(accelerators: object) -> dict[str, Any]:
    return dict(parse({"commands": ["true"], "resources": {"accelerators": accelerators}}).spec["resources"])


def meant(accelerators: object) -> list[str]:
    (found,), _ = with_registered_types([resources(accelerators)], THERE)
    return list(found["chip_types"])


@pytest.mark.parametrize(
    ("asked", "types"),
    [
        ({"vendor": "nvidia", "memory": "40GB..", "count": 2}, ["A100-40GB", "A100-80GB", "L40S"]),
        ({"vendor": "NVIDIA", "memory": "48GB.."}, ["A100-80GB", "L40S"]),
        ({"memory": "48GB+"}, ["910B", "A100-80GB", "L40S", "MI300X"]),
        ({"memory": "80GB"}, ["A100-80GB"]),
        ({"memory": "16GB"}, ["T4"]),
        ({"memory": "..40GB"}, ["A100-40GB", "T4"]),
        ({"memory": "24GB..64GB"}, ["910B", "A100-40GB", "L40S"]),
        ({"vendor": "amd"}, ["MI300X"]),
        ({"count": 2}, ["910B", "A100-40GB", "A100-80GB", "L40S", "MI300X", "T4"]),
        ("a100", ["A100-40GB", "A100-80GB"]),
        ("a100-80gb:4", ["A100-80GB"]),
    ],
)
def test_by_nominal_size_by_vendor_or_by_family(asked: object, types: list[str]) -> None:
    assert meant(asked) == types


def test_of_several_none_is_preferred_and_of_one_nothing_is_said() -> None:
    asked = [resources({"vendor": "nvidia", "memory": "40GB..", "count": 2}), resources("L40S:2")]
    (several, one), told = with_registered_types(asked, THERE)
    assert told == ("nvidia 40GB.. means A100-40GB or A100-80GB or L40S here.",)
    request = request_from(several, in_image=False)
    assert (request.chips, request.in_order) == (2, False)
    assert one == asked[1]
    assert request_from(one, in_image=False).in_order


def test_what_nothing_fits_is_named_in_its_own_words() -> None:
    assert meant({"vendor": "intel"}) == ["intel"]
    assert meant({"vendor": "amd", "memory": "24GB..48GB"}) == ["amd 24GB..48GB"]
    assert meant({"memory": "..1GB"}) == ["..1GB"]


@pytest.mark.django_db
def test_a_simulated_chip_may_be_of_any_vendor_and_vendors_are_as_agents_report_them() -> None:
    node = a_node(chips=1, type="H100-80GB", chip_memory=81_559)
    asked = {"commands": ["true"], "resources": {"accelerators": {"vendor": "nvidia", "memory": "80GB"}}}
    for vendor, fits in (("NVIDIA", True), ("simulated", True), ("AMD", False), ("", False)):
        ChipType.objects.update_or_create(name="H100-80GB", defaults={"vendor": vendor})
        admission.forget()
        effective = parse(asked).spec
        cell = admission.cell_of(effective)
        if fits:
            found = admission.admit(effective, cell, team=1, organization=1).effective
            assert found["resources"]["chip_types"] == ["H100-80GB"]
        else:
            with pytest.raises(NeverFits, match="No node has nvidia 80GB chips"):
                admission.admit(effective, cell, team=1, organization=1)
    assert node.pk


def test_who_names_no_chips_gets_none() -> None:
    nothing = dict(parse({"commands": ["true"]}).spec["resources"])
    assert with_registered_types([nothing], THERE) == ([nothing], ())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"vendor": "nvidia", "speed": 1}, "does not know 'speed' beside `vendor`, `memory` and `count`"),
        ({"vendor": 7}, "has no vendor 7"),
        ({"memory": 40}, "40 is no size of chips"),
        ({"memory": ".."}, "'..' is no size of chips"),
        ({"memory": "+"}, "'+' is no size of chips"),
        ({"memory": "80GB..40GB"}, "is no range"),
        ({"memory": "40 potatoes"}, "is not"),
        ({"vendor": "amd", "count": 0}, "asks for 0 chips"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_field(asked: object, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resources(asked)
    (error,) = caught.value.errors
    assert error.field == "resources.accelerators"
    assert said in error.message
