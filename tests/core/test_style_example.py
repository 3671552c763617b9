from scheduler_core.reasons import NotEnoughNodes
from tests.support.engine import a_gang, a_node, given


def test_a_gang_waits_rather_than_start_in_part():
    case = given(nodes=[a_node(chips=4)], waiting=[a_gang("train", replicas=2, chips=4)])
    assert case.decision.waits("train", because=NotEnoughNodes(needed=2, free=1))
