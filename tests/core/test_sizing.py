"""T5: what the next task asks for, and advice with its proof."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.sizing import FEWEST, SHORTEST_LOOK, STEP_MIB, Used, advise, right_size, with_margin

MIB = st.integers(1, 1 << 21)


def test_t5_the_next_tasks_get_what_earlier_ones_held_and_a_margin() -> None:
    assert right_size(4096, 4096, 3, 1000) == 1280
    assert right_size(4096, 4096, 2, 1000) is None, "too few were measured"
    assert right_size(0, 0, 9, 1000) is None, "no limit was asked for"
    assert right_size(4096, 4096, 9, 3000) is None, "it would not spare enough"
    assert right_size(4096, 1280, 5, 1500) == 1920, "a later one held more"
    assert right_size(4096, 1280, 5, 4000) == 4096, "never more than was asked for"


@given(MIB, MIB, st.integers(FEWEST, 99), MIB)
def test_t5_a_size_is_never_above_what_was_asked_for_and_holds_the_peak_where_that_does(
    asked: int, now: int, measured: int, peak: int
) -> None:
    now = min(now, asked)
    size = right_size(asked, now, measured, peak)
    if size is not None:
        assert size <= asked
        assert size != now
        assert size >= min(peak, asked)
        assert right_size(asked, size, measured, peak) is None, "it comes to rest"
    assert with_margin(peak) % STEP_MIB == 0
    assert with_margin(peak) * 1000 >= peak * 1250


@pytest.mark.parametrize(
    ("used", "said"),
    [
        (Used(1, 0, 0, SHORTEST_LOOK, 230, 0), [("resources.fraction", "0.3", "used 23 % of it")]),
        (Used(1, 0, 0, SHORTEST_LOOK - 1, 230, 0), []),
        (Used(1, 0, 0, SHORTEST_LOOK, 600, 0), []),
        (Used(1, 0, 0, SHORTEST_LOOK, None, 0), []),
        (Used(8, 0, 0, SHORTEST_LOOK, 230, 0), [("resources.accelerators", "3", "had 8 chips and used 23 % of them")]),
        (Used(2, 0, 0, SHORTEST_LOOK, 100, 0), [("resources.fraction", "0.25", "had 2 chips")]),
        (Used(0, 500, 0, SHORTEST_LOOK, 100, 0), [("resources.fraction", "0.1", "had 0.5 of a chip")]),
        (Used(0, 50, 0, SHORTEST_LOOK, 400, 0), []),
        (Used(0, 0, 8192, SHORTEST_LOOK, None, 1000), [("resources.memory", "1280MiB", "held 1000 MiB at most")]),
        (Used(0, 0, 8192, SHORTEST_LOOK, None, 5000), []),
        (Used(0, 0, 64, SHORTEST_LOOK, None, 10), []),
    ],
)  # fmt: skip
def test_t5_advice_comes_with_its_proof(used: Used, said: list[tuple[str, str, str]]) -> None:
    told = advise(used)
    assert [(one.field, one.value) for one in told] == [(field, value) for field, value, _ in said]
    assert all(proof in one.sentence for one, (_, _, proof) in zip(told, said, strict=True))


@given(st.integers(0, 64), st.integers(0, 999), MIB, st.integers(0, 1000), MIB)
def test_t5_advice_is_to_ask_for_less(chips: int, milli: int, memory: int, use: int, peak: int) -> None:
    used = Used(chips, 0 if chips else milli, memory, SHORTEST_LOOK, use, peak)
    held = chips * 1000 or used.milli
    for one in advise(used):
        if one.field == "resources.fraction":
            assert 0 < int(float(one.value) * 1000 + 0.5) < held
        elif one.field == "resources.accelerators":
            assert 1 < int(one.value) < chips
        else:
            assert peak < int(one.value.removesuffix("MiB")) < memory
