"""Slots of a rate that many share: what was given is never more than any window holds."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retouch.cluster.windows import JITTER_SECONDS, VALID_SECONDS, SharedRate, Slot
from retouch.cluster.wire import Offset
from tests.support.sliding import fullest


@settings(max_examples=60, deadline=None)
@given(
    per_minute=st.sampled_from([7, 60, 90, 600, 2400]),
    seed=st.integers(0, 10**6),
    lost=st.sampled_from([0.0, 0.2]),
)
def test_no_window_is_passed_however_slots_are_used_given_back_or_lost(
    per_minute: int, seed: int, lost: float
) -> None:
    """Used anywhere between their two moments, told late or never, overtaken on their way: as the
    server sees them, no 1, 10 or 60 s hold more than their share."""
    chance, rate = random.Random(seed), SharedRate(per_minute, (1.0, 10.0))
    arrived: list[tuple[float, float]] = []
    told: list[tuple[float, Slot, float]] = []
    now = 0.0
    for _ in range(250):
        now = max(now, rate.room_at(now, now, 1)) + chance.choice([0.0, 0.0, chance.uniform(0, 3)])
        for at, slot, left in [each for each in told if each[0] <= now]:
            told.remove((at, slot, left))
            rate.left(slot, left)
        slot = rate.give(rate.room_at(now, now, 1), 1)
        if chance.random() < 0.1:
            rate.give_back(slot)
            continue
        left = chance.uniform(slot.begins, slot.ends)
        arrived.append((left + chance.uniform(0, JITTER_SECONDS), 1))
        if chance.random() >= lost:
            told.append((left + chance.uniform(0, 2), slot, left))
    for window in (1.0, 10.0, 60.0):
        assert fullest(arrived, window) <= math.ceil(per_minute * window / 60), window


def test_a_slot_given_back_at_once_is_given_again_at_once() -> None:
    rate = SharedRate(60, (1.0,))
    rate.give_back(rate.give(0.0, 1))
    assert rate.room_at(0.0, 0.0, 1) == 0.0


def test_what_is_not_told_counts_to_the_end_of_its_slot() -> None:
    rate = SharedRate(60, (1.0,))
    rate.give(0.0, 1)
    assert rate.room_at(0.0, 0.0, 1) == pytest.approx(1.0 + JITTER_SECONDS + VALID_SECONDS)


def test_more_than_the_whole_limit_passes_alone() -> None:
    rate = SharedRate(10)
    assert rate.room_at(0.0, 0.0, 25) == 0.0
    rate.give(0.0, 25)
    assert rate.room_at(1.0, 1.0, 1) > 60


@given(
    ahead=st.floats(-1e6, 1e6),
    calls=st.lists(st.tuples(st.floats(0, 0.2), st.floats(0, 0.2)), min_size=1, max_size=80),
)
def test_the_holders_clock_lies_between_what_calls_allow(
    ahead: float, calls: list[tuple[float, float]]
) -> None:
    """Whatever each call takes, there and back: a moment told by the holder's clock is waited for
    until it surely is there, and held to be over before it can be."""
    offset, own = Offset(), 0.0
    for there, back in calls:
        own += 1.0
        offset.heard(own, own + there + ahead, own + there + back)
    moment = own + ahead
    assert offset.not_after(moment) <= moment - ahead + 1e-6
    assert offset.not_before(moment) >= moment - ahead - 1e-6
    assert offset.theirs(own) >= moment - 1e-6
