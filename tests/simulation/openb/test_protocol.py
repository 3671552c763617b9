"""The FGD paper's protocol: the baselines are the published ones, and the ceiling is one."""

from __future__ import annotations

import numpy as np
import pytest

from scheduler_core.simulation.openb.baselines import best_fit, fgd
from scheduler_core.simulation.openb.ceiling import Program, ceiling, patterns, until_first_refusal
from scheduler_core.simulation.openb.engine import decide_all
from scheduler_core.simulation.openb.protocol import Policy, Trial, curve, read_trial
from scheduler_core.simulation.openb.trace import Nodes, Requests, read_published
from scheduler_core.simulation.openb.valued import by_value
from scheduler_core.simulation.traces import traces_folder
from scheduler_core.worth import MOST_KINDS

TRACES = traces_folder(None) / "openb"
needs_traces = pytest.mark.skipif(
    not TRACES.is_dir(), reason=f"the traces are not at {TRACES}: set FLEXAI_TRACES to their folder"
)


@needs_traces
@pytest.mark.parametrize(("policy", "label"), [(fgd, "06-FGD"), (best_fit, "05-BestFit")])
def test_baselines_reproduce_the_published_curve(policy: Policy, label: str) -> None:
    trial = read_trial(TRACES, "default", 42)
    published = np.array(read_published(TRACES, "default", label, (42,))[42])
    ours = curve(trial, policy(trial))
    assert (np.isnan(ours) == np.isnan(published)).all()
    assert np.nanmax(np.abs(ours - published)) <= 0.05


def a_trial(*arrivals: tuple[int, int, int, int], nodes: tuple[tuple[int, int], ...]) -> Trial:
    """Requests (CPU, memory, chips, milli) for chips of the one type, on nodes (CPU, chips) in order of rank."""
    asked = np.array([(*kind, 1 if kind[2] else 0) for kind in arrivals], np.int64)
    kinds, of = np.unique(asked, axis=0, return_inverse=True)
    cpu, chips = np.array(nodes, np.int64).T
    count = len(nodes)
    return Trial(
        nodes=Nodes(
            names=tuple(f"n{i}" for i in range(count)),
            cpu=cpu,
            memory=np.full(count, 1 << 20, np.int64),
            chip_type=np.zeros(count, np.int64),
            chips=chips,
            types=("T4",),
        ),
        requests=Requests(kinds, of.reshape(-1).astype(np.int64)),
        order=np.arange(len(arrivals)),
        ranks=np.arange(count),
    )


def test_a_curve_tells_what_is_held_by_what_was_asked_for() -> None:
    trial = a_trial((0, 0, 1, 500), (0, 0, 1, 1000), (0, 0, 1, 500), nodes=((8, 2),))
    told = curve(trial, np.array([True, False, True]))
    assert told[25] == 25
    assert told[75] == 25
    assert told[100] == 50
    assert np.isnan(told[50])


def test_p3_a_home_for_a_gang_is_kept() -> None:
    assert decide_all(a_pair_kept_whole()).placed.tolist() == [True, True, True]


@pytest.mark.long
@pytest.mark.timeout(1200)  # the rule alone is machine code of its own, which no other test needs
def test_p3_a_home_for_a_gang_is_kept_by_the_rule_alone_too() -> None:
    assert by_value(a_pair_kept_whole(), samples=16).tolist() == [True, True, True]


def a_pair_kept_whole() -> Trial:
    """Best fit by host CPU would break the only whole pair; ours puts single chips where no pair is lost."""
    pair = (1_000, 0, 2, 1000)
    single = (1_000, 0, 1, 1000)
    return a_trial(single, single, pair, nodes=((2_000, 2), (9_000, 1), (9_000, 1)))


def test_the_engine_is_asked_as_the_protocol_says() -> None:
    """One request at a time, at once or never: what is dropped holds nothing, and who comes later is placed still."""
    trial = a_trial(
        (9, 0, 1, 1000), (1, 0, 1, 700), (1, 0, 1, 500), (1, 0, 1, 300), (2, 0, 0, 0), nodes=((4, 1),)
    )
    decided = decide_all(trial)
    assert decided.placed.tolist() == [False, True, False, True, True]
    assert decided.efforts == {1}


@needs_traces
def test_the_engine_values_by_every_kind_of_request_of_the_trace() -> None:
    """The workload with most of them: left out, some kinds cost a point of all chips at 90 % and at 100 %."""
    assert len(read_trial(TRACES, "gpuspec33", 42).requests.kinds) <= MOST_KINDS


@needs_traces
@pytest.mark.timeout(1200)  # machine code may have to be made
def test_the_engine_places_as_its_rule_alone_does_while_there_is_room() -> None:
    trial = read_trial(TRACES, "default", 42)
    decided = decide_all(trial, arrivals=300)
    assert decided.placed[:300].all()
    assert decided.efforts == {len(trial.nodes.cpu)}


def test_slices_are_cut_so_that_no_room_is_left() -> None:
    found = patterns([300, 500])
    assert sorted(tuple(sorted(each.items())) for each in found) == [
        ((300, 1), (500, 1)),
        ((300, 3),),
        ((500, 2),),
    ]


def test_the_ceiling_knows_what_a_slice_leaves_behind() -> None:
    trial = a_trial((0, 0, 1, 810), (0, 0, 1, 810), (0, 0, 1, 810), nodes=((8, 1), (8, 1)))
    assert ceiling(trial) == pytest.approx(81)


def test_the_ceiling_falls_with_what_must_be_kept() -> None:
    """In hindsight two whole chips; with the slices that came first kept, half of each kind of choice is gone."""
    trial = a_trial((0, 0, 1, 700), (0, 0, 1, 700), (0, 0, 1, 1000), (0, 0, 1, 1000), nodes=((8, 2),))
    assert ceiling(trial) == pytest.approx(100)
    assert ceiling(trial, kept=1) == pytest.approx(85)
    assert ceiling(trial, kept=2) == pytest.approx(70)
    assert until_first_refusal(np.array([True, True, False, True])) == 2
    assert until_first_refusal(np.array([True, True])) == 2


def test_a_program_without_an_answer_says_so() -> None:
    program = Program()
    x = program.variable(1, 5)
    program.at_most([(x, -1)], -6)
    with pytest.raises(ValueError, match="no optimum"):
        program.best()
