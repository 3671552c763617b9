"""Law 5's arithmetic: nothing expires that may still run, and what is over does expire."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flexai.cluster.leases import MARGIN_MS, Watch, is_over, look, over_at_ms

LEASES = st.integers(30_000, 48 * 3600_000)
INSTANTS = st.integers(1_700_000_000_000, 1_900_000_000_000)


@given(
    sent=INSTANTS,
    travel=st.integers(0, 60_000),
    lease=LEASES,
    drift_ppm=st.integers(-10_000, 10_000),
    late=st.integers(0, MARGIN_MS),
)
def test_the_node_has_stopped_before_the_server_calls_it_over(sent, travel, lease, drift_ppm, late):
    """The node counts from when it sent, by a clock up to 1 % slow, and is up to the margin late."""
    answered = sent + travel
    node_stops_by = sent + lease * 1_000_000 // (1_000_000 + drift_ppm) + late
    assert over_at_ms(renewed_ms=answered, placed_ms=0, lease_ms=lease) >= node_stops_by


@given(renewed=INSTANTS, lease=LEASES)
def test_a_lease_is_over_exactly_from_its_instant_on(renewed, lease):
    over = over_at_ms(renewed_ms=renewed, placed_ms=0, lease_ms=lease)
    assert over == renewed + lease + -(-lease // 50) + 5000
    for wall, expected in ((over - 1, False), (over, True)):
        watch = Watch(wall, lease, 0)
        assert is_over(watch, renewed_ms=renewed, placed_ms=0, lease_ms=lease) is expected


@given(lease=LEASES, since_start=st.integers(0, 48 * 3600_000))
def test_nothing_expires_within_one_lease_of_the_servers_start(lease, since_start):
    watch = look(None, wall_ms=1_800_000_000_000, boot_ms=5_000_000)
    watch = look(watch, wall_ms=watch.wall_ms + since_start, boot_ms=watch.boot_ms + since_start)
    over = is_over(watch, renewed_ms=0, placed_ms=0, lease_ms=lease)
    assert over is (since_start >= lease)


@given(jump=st.integers(501, 10**9), sign=st.sampled_from([1, -1]), lease=LEASES)
def test_a_jump_of_the_clock_begins_the_waiting_anew(jump, sign, lease):
    steady = Watch(1_800_000_000_000, 10**9, 0)
    after = look(steady, wall_ms=steady.wall_ms + 5000 + sign * jump, boot_ms=steady.boot_ms + 5000)
    assert after.steady_since_ms == after.boot_ms
    assert not is_over(after, renewed_ms=0, placed_ms=0, lease_ms=lease)


@given(steps=st.lists(st.tuples(st.integers(1, 60_000), st.integers(-500, 500)), max_size=50))
def test_small_drift_is_no_jump(steps):
    watch = look(None, wall_ms=10**12, boot_ms=10**6)
    for step, drift in steps:
        watch = look(watch, wall_ms=watch.wall_ms + step + drift, boot_ms=watch.boot_ms + step)
    assert watch.steady_since_ms == 10**6


def test_a_rebooted_server_watches_anew():
    assert look(Watch(10**12, 10**9, 0), wall_ms=10**12, boot_ms=500).steady_since_ms == 500


@given(wall=INSTANTS, renewed=INSTANTS)
def test_a_lease_of_never_is_never_over(wall, renewed):
    assert not is_over(Watch(wall, 10**12, 0), renewed_ms=renewed, placed_ms=renewed, lease_ms=None)


@given(renewed=INSTANTS, later=st.integers(1, 10**8), lease=LEASES)
def test_what_was_placed_after_the_renewal_counts_from_its_placement(renewed, later, lease):
    first = over_at_ms(renewed_ms=renewed, placed_ms=0, lease_ms=lease)
    assert over_at_ms(renewed_ms=renewed, placed_ms=renewed + later, lease_ms=lease) == first + later
