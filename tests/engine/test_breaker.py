"""Streaks: when an outage begins, how it is probed, and when it or a losing streak is too much."""

from __future__ import annotations

import pytest

from retouch.engine.breaker import (
    NEVER_SERVED_SECONDS,
    OUTAGE_AFTER,
    PROBE_CAP_SECONDS,
    Losses,
    Outage,
)


def in_outage() -> Outage:
    """Some requests that left one after the other, a second apart, were not served."""
    outage = Outage()
    for second in range(OUTAGE_AFTER):
        outage.unserved(second + 0.5, second)
    return outage


def test_a_few_refusals_are_no_outage() -> None:
    """Nothing is held back for them, and one that is served starts the count anew."""
    outage = Outage()
    for second in range(10 * OUTAGE_AFTER):
        if second % OUTAGE_AFTER == OUTAGE_AFTER - 1:
            outage.served()
        else:
            outage.unserved(second + 0.5, second)
        assert outage.pause_seconds == 0


def test_probes_come_ever_more_rarely_up_to_a_cap() -> None:
    """1, 2, 4 ... seconds, then a minute, for however long."""
    outage, now, pauses = in_outage(), 10.0, []
    for _ in range(200):
        pauses.append(outage.pause_seconds)
        now += outage.pause_seconds
        assert outage.unserved(now + 0.5, now)
    assert pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert set(pauses[8:]) == {PROBE_CAP_SECONDS}


def test_what_was_out_together_with_a_probe_counts_once() -> None:
    """A hundred requests that left before the outage was known make one step."""
    outage = Outage()
    assert sum(outage.unserved(5.0 + index / 100, 1.0) for index in range(100)) == 1
    assert outage.probes == 1


def test_one_that_is_served_ends_it() -> None:
    """At once, and the next outage begins from nothing."""
    outage = in_outage()
    assert outage.pause_seconds
    outage.served()
    assert outage.pause_seconds == 0
    assert not outage.is_over(1e9, 1.0)


@pytest.mark.parametrize(
    ("was_served", "patience", "over_after"),
    [
        (True, 600.0, 600.0),
        (False, 600.0, NEVER_SERVED_SECONDS),
        (False, 5.0, 5.0),
    ],
)
def test_patience_ends_sooner_where_nothing_was_ever_served(
    was_served: bool, patience: float, over_after: float
) -> None:
    """A wrong address is found out within a minute."""
    outage = Outage()
    if was_served:
        outage.served()
    for second in range(OUTAGE_AFTER):
        outage.unserved(float(second), second - 0.5)
    assert not outage.is_over(over_after, patience)
    assert outage.is_over(over_after + 0.1, patience)


def test_losses_count_in_a_row_only() -> None:
    """A picture in between starts the count anew."""
    losses = Losses(3)
    assert [losses.lost(), losses.lost()] == [False, False]
    losses.gained()
    assert [losses.lost(), losses.lost(), losses.lost()] == [False, False, True]


def test_an_outage_is_the_same_by_another_clock() -> None:
    """What is asked of it later is asked by that one: probes, what was out with the last one, and
    its end; the first goes on by itself."""
    first = Outage()
    for second in range(3 * OUTAGE_AFTER):
        first.unserved(float(second), float(second), is_limit=True)
    other = first.shifted(1000.0)
    assert (other.probes, other.pause_seconds) == (first.probes, first.pause_seconds)
    last = 3.0 * OUTAGE_AFTER - 1
    for patience in (1.0, 10.0, 60.0, 600.0):
        for now in (last, last + 5, last + 59, last + 60, last + 700):
            assert other.is_over(now + 1000, patience) == first.is_over(now, patience)
    assert other.unserved(1000 + last, 1000 + last) is False
    assert other.unserved(1001 + last, 1001 + last) is True
    assert other.probes == first.probes + 1
