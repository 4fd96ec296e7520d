"""Limits, backing off, Retry-After and poll paces as functions of state and time."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retouch.engine.pacing import (
    BACKOFF_CAP_SECONDS,
    MARGIN,
    POLL_CAP_FACTOR,
    RETRY_AFTER_CAP_SECONDS,
    RETRY_FLOOR,
    Concurrency,
    PollPace,
    RateLimit,
    RetryBudget,
    WindowEntry,
    backoff_seconds,
    retry_after_seconds,
    wait_asked,
)
from tests.support.sliding import fullest

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def drive(
    limit: RateLimit, units: list[float], *, delays: list[float], overshoots: list[float]
) -> list[tuple[float, float]]:
    """Sends one request after another as fast as the limit lets; each leaves `delay` after its
    turn, each wait lasts a little longer than asked. Returns (time it left, units)."""
    now = 0.0
    sends: list[tuple[float, float]] = []
    leaving: list[tuple[float, float, object]] = []
    for index, each in enumerate(units):
        while True:
            for entry in sorted(leaving, key=lambda one: one[0]):
                if entry[0] <= now:
                    limit.leave(entry[0], entry[2])  # type: ignore[arg-type]  # an Entry
                    leaving.remove(entry)
            wait = limit.wait_seconds(now, each)
            if wait <= 0:
                break
            ends = now + wait + overshoots[index % len(overshoots)]
            coming = [entry[0] for entry in leaving if now < entry[0] < ends]
            now = min(coming, default=ends) if coming else ends
        at = now + delays[index % len(delays)]
        leaving.append((at, each, limit.take(now, each)))
        sends.append((at, each))
    return sends


@settings(max_examples=60, deadline=None)
@given(
    per_minute=st.integers(1, 600),
    delays=st.lists(st.floats(0, 5), min_size=1, max_size=20),
    overshoots=st.lists(st.floats(0, 0.3), min_size=1, max_size=20),
)
def test_no_window_ever_holds_more_than_the_limit(
    per_minute: int, delays: list[float], overshoots: list[float]
) -> None:
    """Whatever time passes between a turn and the send, and however late a sleeper wakes."""
    count = min(3 * per_minute, 400)
    sends = drive(RateLimit(per_minute), [1.0] * count, delays=delays, overshoots=overshoots)
    assert fullest(sends) <= per_minute


@settings(max_examples=60, deadline=None)
@given(
    per_minute=st.integers(100, 1_000_000),
    shares=st.lists(st.floats(0.001, 0.6), min_size=5, max_size=60),
)
def test_tokens_of_uneven_size_keep_the_limit(per_minute: int, shares: list[float]) -> None:
    """Units need not be ones: a window never holds more tokens than the limit."""
    units = [max(1.0, share * per_minute) for share in shares]
    sends = drive(RateLimit(per_minute), units, delays=[0.0, 0.4], overshoots=[0.0])
    assert fullest(sends) <= per_minute + 1e-6


@pytest.mark.parametrize("per_minute", [1, 7, 60, 600, 6000])
def test_the_limit_is_used_to_95_percent(per_minute: int) -> None:
    """With sleepers that wake 1 ms late, as real clocks do."""
    count = 5 * per_minute + 1
    sends = drive(RateLimit(per_minute), [1.0] * count, delays=[0.0], overshoots=[0.001])
    minutes = (sends[-1][0] - sends[0][0]) / 60
    assert (count - 1) / minutes >= 0.95 * per_minute


def test_requests_are_spaced_evenly_also_after_a_rest() -> None:
    """An idle hour saves nothing up for a burst."""
    limit = RateLimit(60)
    limit.leave(0.0, limit.take(0.0))
    limit.leave(3600.0, limit.take(3600.0))
    assert limit.wait_seconds(3600.0) == pytest.approx(1.01)


def test_more_than_the_whole_limit_passes_alone() -> None:
    """A request greater than the limit waits for an empty window, and others for its end."""
    limit = RateLimit(10)
    limit.leave(0.0, limit.take(0.0, 1))
    assert limit.wait_seconds(5.0, 25) == pytest.approx(55.6)
    assert limit.wait_seconds(60.6, 25) == 0
    limit.leave(60.6, limit.take(60.6, 25))
    assert limit.wait_seconds(60.7, 1) >= 60.0


def test_what_was_not_sent_leaves_room() -> None:
    """A turn given back is out of the window; given back twice, or after leaving, is nothing."""
    limit = RateLimit(2)
    first, second = limit.take(0.0), limit.take(0.0)
    limit.give_back(first)
    limit.give_back(first)
    limit.leave(0.0, first)
    limit.leave(100.0, second)
    limit.give_back(second)
    assert limit.wait_seconds(130.0) == 0
    limit.leave(130.0, limit.take(130.0))
    assert limit.wait_seconds(160.5) == pytest.approx(0.1)  # the first of the two is gone then


def test_fewer_tokens_than_expected_count_from_when_they_left() -> None:
    """A correction downwards ends with the entry it corrects: it never lends room later."""
    limit = RateLimit(1000)
    entry = limit.take(0.0, 900)
    limit.leave(0.0, entry)
    limit.correct(30.0, entry, 100)
    assert limit.wait_seconds(31.0, 900) == 0
    limit.leave(59.0, limit.take(59.0, 900))
    assert limit.wait_seconds(61.0, 200) > 50  # not -800 + 900 + 200


def test_more_tokens_than_expected_count_at_once() -> None:
    """What an answer turned out to have used takes the room from the next one."""
    limit = RateLimit(1000)
    entry = limit.take(0.0, 0)
    limit.leave(0.0, entry)
    limit.correct(10.0, entry, 950)
    assert limit.wait_seconds(10.0, 100) > 50
    late = limit.take(200.0, 10)
    limit.correct(200.0, late, 999)  # not sent yet: nothing to correct
    limit.give_back(late)


def test_tokens_beyond_the_estimate_stay_in_the_window_from_when_they_are_known() -> None:
    """The request left a minute ago, and nobody knows when it used the rest."""
    limit = RateLimit(60)
    entry = limit.take(0.0, 10)
    limit.leave(0.0, entry)
    limit.correct(50.0, entry, 60)
    assert limit.wait_seconds(62.0, 60) == pytest.approx(50 + 60 * MARGIN - 62)


def test_concurrency_halves_once_for_all_that_was_in_flight_and_recovers_by_rounds() -> None:
    """Eight answers of one overrun are one cut; a cut is earned back one by one."""
    places = Concurrency(16)
    for _ in range(8):
        places.overrun(16, cuts_when_sent=0)
    assert (places.limit, places.cuts) == (8, 1)
    places.overrun(8, cuts_when_sent=1)
    assert places.limit == 4
    for _ in range(5):
        places.succeeded()
    assert places.limit == 5
    for _ in range(500):
        places.succeeded()
    assert places.limit == 16


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 64))
def test_concurrency_stays_between_one_and_its_maximum(events: list[bool], maximum: int) -> None:
    """Whatever the server answers."""
    places = Concurrency(maximum)
    for is_overrun in events:
        if is_overrun:
            places.overrun(places.limit, places.cuts)
        else:
            places.succeeded()
        assert 1 <= places.limit <= maximum
    for _ in range(maximum * maximum):
        places.succeeded()
    assert places.limit == maximum


@given(st.lists(st.booleans(), max_size=400))
def test_retries_are_at_most_a_tenth(events: list[bool]) -> None:
    """And a few at the start."""
    budget = RetryBudget()
    requests = retries = 0
    for is_request in events:
        if is_request:
            budget.request()
            requests += 1
        else:
            retries += budget.take()
        assert retries <= RETRY_FLOOR + 0.1 * requests + 1
    left = sum(budget.take() for _ in range(1000))
    assert retries + left == math.ceil(RETRY_FLOOR + 0.1 * requests)


def test_an_outage_is_not_hammered() -> None:
    """Of 1,000 requests that all fail, about a tenth is repeated."""
    budget = RetryBudget()
    retries = 0
    for _ in range(1000):
        budget.request()
        retries += budget.take()
    assert retries == pytest.approx(110, abs=2)


@given(st.integers(1, 10_000), st.integers())
def test_backing_off_has_full_jitter_under_a_cap(retry: int, seed: int) -> None:
    """Anything from 0 to the exponential, never above a minute, however often."""
    seconds = backoff_seconds(retry, random.Random(seed))
    assert 0 <= seconds <= min(BACKOFF_CAP_SECONDS, 2.0 ** min(retry - 1, 60))


def test_jitter_spreads_over_the_whole_range() -> None:
    """Half of the waits are in the lower half: nobody comes back in step."""
    chance = random.Random(7)
    waits = [backoff_seconds(5, chance) for _ in range(4000)]
    assert sum(wait < 8 for wait in waits) == pytest.approx(2000, abs=200)
    first = [backoff_seconds(1, chance) for _ in range(4000)]
    assert sum(wait < 0.5 for wait in first) == pytest.approx(2000, abs=200)


def http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("0", None),
        ("-5", None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("1e400", None),
        ("864000", RETRY_AFTER_CAP_SECONDS),  # ten days
        ("9" * 60, RETRY_AFTER_CAP_SECONDS),
        ("9" * 65, None),
        (http_date(NOW + timedelta(seconds=90)), 90),
        (http_date(NOW + timedelta(days=10)), RETRY_AFTER_CAP_SECONDS),
        (http_date(NOW - timedelta(seconds=1)), None),
        (http_date(NOW), None),
        ("Sun, 01 Mar 2026 12:01:00 -0000", None),  # names no zone
        ("Sun, 01 Mar 2026 13:01:00 +0100", 60),
        ("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_CAP_SECONDS),
        ("Sun, 99 Mar 2026 12:00:00 GMT", None),
        ("Sun, 01 Mar 99999999999 12:00:00 GMT", None),
        ("\u0661\u0662", 12),
    ],
)
def test_retry_after_is_read_or_ignored(value: str, seconds: float | None) -> None:
    """Seconds or an HTTP date, capped; what is past, negative or nonsense is nothing."""
    assert retry_after_seconds({"retry-after": value}, NOW) == seconds


@given(st.text(max_size=80))
def test_no_retry_after_can_harm(value: str) -> None:
    """Any text gives nothing or a wait between 0 and the cap."""
    seconds = retry_after_seconds({"retry-after": value}, NOW)
    assert seconds is None or 0 < seconds <= RETRY_AFTER_CAP_SECONDS
    assert retry_after_seconds({}, NOW) is None


def test_the_first_poll_waits_for_most_of_what_tasks_have_taken() -> None:
    """Nothing is known at first; then 70 % of the median, never less than the interval."""
    pace, chance = PollPace(2.0), random.Random(1)
    assert pace.wait_seconds(0, chance) == 2.0
    for seconds in (10.0, 20.0, 30.0):
        pace.finished(seconds)
    assert pace.wait_seconds(0, chance) == 14.0
    for _ in range(64):
        pace.finished(1.0)
    assert pace.wait_seconds(0, chance) == 2.0


@given(st.integers(1, 10**9), st.floats(0.1, 60), st.integers())
def test_polls_back_off_to_a_cap_however_long_a_task_takes(
    asked: int, interval: float, seed: int
) -> None:
    """The billionth poll of a Task waits no longer (and breaks no sooner) than the tenth."""
    wait = PollPace(interval).wait_seconds(asked, random.Random(seed))
    assert 0.8 * interval <= wait <= 1.2 * interval * POLL_CAP_FACTOR + 1e-9


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1s", 1), ("6m0s", 360), ("20ms", 0.02), ("1h2m3.5s", RETRY_AFTER_CAP_SECONDS),
        ("1m30.5s", 90.5), ("12", 12), ("0", None), ("-1", None), ("0s", None), ("", None),
        ("soon", None), ("6m0", None), ("s", None), ("1s" * 40, None),
        ("2026-11-29T15:00:00Z", None),
    ],
)  # fmt: skip
def test_a_limits_reset_is_read(value: str, seconds: float | None) -> None:
    """OpenAI's durations, Azure's plain seconds; what is none is none."""
    headers = {"x-ratelimit-reset-tokens": value}
    assert wait_asked(headers, None, NOW) == seconds


def test_a_reset_counts_for_what_is_used_up_and_where_nothing_better_is_said() -> None:
    """The longest of the limits used up; Retry-After and the body's words come first."""
    limits = {
        "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "12s",
        "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "40s",
        "x-ratelimit-remaining-images": "3", "x-ratelimit-reset-images": "5m",
    }  # fmt: skip
    assert wait_asked(limits, None, NOW) == 40
    assert wait_asked(limits, 7.0, NOW) == 7
    assert wait_asked(limits | {"retry-after-ms": "1500"}, 7.0, NOW) == 1.5
    assert wait_asked(limits | {"retry-after": "3"}, None, NOW) == 3
    left = {"x-ratelimit-remaining-requests": "59", "x-ratelimit-reset-requests": "1s"}
    assert wait_asked(left, None, NOW) is None


@pytest.mark.parametrize("used", [0.0, 40.0, 100.5, 101.0, 160.0, 1000.0])
def test_a_correction_moves_the_next_request_by_what_it_differs(used: float) -> None:
    """Spaced by what was expected, and then by what it was: a second for each ten of 600 a minute,
    earlier as well as later; and the minute counts what it was."""
    limit = RateLimit(600)
    entry = limit.take(0.0, 100)
    limit.leave(0.0, entry)
    assert limit.wait_seconds(0.0, 1) == pytest.approx(10 * MARGIN)
    limit.correct(0.0, entry, used)
    spaced = used / 10 * MARGIN
    assert limit.wait_seconds(0.0, 1) == pytest.approx(max(spaced, 60 * MARGIN * (used > 599)))
    assert sum(window.held for window in limit._windows) == pytest.approx(used)


def test_what_is_given_back_frees_its_own_room_and_no_other() -> None:
    """Three are on their way; one that was not sent leaves room for as much as it took."""
    limit = RateLimit(100)
    entries = [limit.take(0.0, units) for units in (50, 20, 25)]
    late = 100.0
    assert limit.wait_seconds(late, 6) > 0
    limit.give_back(entries[1])
    assert limit.wait_seconds(late, 25) == 0
    assert limit.wait_seconds(late, 26) > 0


@pytest.mark.parametrize("seconds", [1, 90, 700, 3000])
def test_a_wait_is_capped_however_it_is_told(seconds: int) -> None:
    """By the cap that is given, in milliseconds as in seconds, by a date, in a body, by a limit."""
    at = http_date(NOW + timedelta(seconds=seconds))
    ways: list[tuple[dict[str, str], float | None]] = [
        ({"retry-after-ms": str(seconds * 1000)}, None),
        ({"retry-after": str(seconds)}, None),
        ({"retry-after": at}, None),
        ({"retry-after": at, "date": http_date(NOW)}, None),
        ({}, seconds),
        ({"x-ratelimit-reset-requests": f"{seconds}s"}, None),
    ]
    usual = {wait_asked(headers, told, NOW) for headers, told in ways}
    assert usual == {min(seconds, RETRY_AFTER_CAP_SECONDS)}
    assert {wait_asked(headers, told, NOW, 2000) for headers, told in ways} == {min(seconds, 2000)}


def test_a_date_is_read_against_the_replys_own() -> None:
    """Whose clock is years off; one that cannot be read says nothing of it."""
    other = NOW + timedelta(days=999)
    asked = {"retry-after": http_date(other + timedelta(seconds=30))}
    assert retry_after_seconds(asked | {"date": http_date(other)}, NOW) == 30
    assert retry_after_seconds(asked | {"date": "soon"}, other) == 30
    assert retry_after_seconds(asked, other) == 30


def test_the_longest_texts_that_are_read_have_64_letters() -> None:
    """A number, a duration, a date; one more is none."""
    number = "9" + "." + "0" * 62
    assert retry_after_seconds({"retry-after": number}, NOW) == 9
    assert retry_after_seconds({"retry-after": number + "0"}, NOW) is None
    duration = "0" * 61 + "12s"
    assert wait_asked({"x-ratelimit-reset-tokens": duration}, None, NOW) == 12
    assert wait_asked({"x-ratelimit-reset-tokens": "0" + duration}, None, NOW) is None
    date = http_date(NOW + timedelta(seconds=9))
    padded = date.replace(" ", " " * (64 - len(date) + 1), 1)
    assert len(padded) == 64
    assert retry_after_seconds({"retry-after": padded}, NOW) == 9
    longer = padded.replace(" ", "  ", 1)
    assert retry_after_seconds({"retry-after": longer}, NOW) is None


@pytest.mark.parametrize(
    ("left", "seconds"), [("0", 12), ("-1", 12), ("0.5", None), ("1", None), ("many", 12)]
)
def test_only_a_limit_of_which_nothing_is_left_is_waited_for(
    left: str, seconds: float | None
) -> None:
    """Whatever else stands in the headers of every reply."""
    headers = {
        "x-ratelimit-remaining-requests": left, "x-ratelimit-reset-requests": " 12s ",
        "x-request-id": "99s",
    }  # fmt: skip
    assert wait_asked(headers, None, NOW) == seconds


@pytest.mark.parametrize(
    ("per_minute", "keeps_seconds", "most"),
    [(600, True, 9), (660, True, 10), (90, True, 14), (60, True, 9), (59, True, 59),
     (600, False, 600), (1200, True, 19)],
)  # fmt: skip
def test_so_many_may_be_on_their_way_at_once(
    per_minute: int, *, keeps_seconds: bool, most: int
) -> None:
    """Taken, spaced, and not left yet, so that they may leave in a bunch: one less than a second's
    or ten seconds' part, where that is ten or more; else a minute's. Another one waits as long as
    the window is, or until the first that has left is out of it."""
    limit, now = RateLimit(per_minute, keeps_seconds=keeps_seconds), 0.0
    taken: list[WindowEntry] = []
    spacing = 60 / per_minute * MARGIN
    while len(taken) < most:
        assert limit.wait_seconds(now) <= 1e-6, len(taken)
        taken.append(limit.take(now))
        now += spacing
    seconds = limit.wait_seconds(now)
    assert seconds > 0.9
    for entry in taken:
        limit.leave(now, entry)
    window = {9: 1.0, 10: 1.0, 19: 1.0, 14: 10.0}.get(most, 60.0)
    if per_minute == 60:
        window = 10.0
    assert limit.wait_seconds(now) == pytest.approx(window * MARGIN)
    assert limit.wait_seconds(now + window * MARGIN) == 0
