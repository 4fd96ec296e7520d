"""What a ledger adds up to, by model, day and currency: as plain lists of the same Attempts do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from retouch.ledger.lines import NamedPaths
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    Reused,
    TaskAccepted,
    UsageRecord,
)
from retouch.ledger.spending import SharedSpending, Spending
from retouch.ledger.state import Replay, replay
from retouch.money import Money
from tests.support.ledgers import FIRST, done, failed, file_of, key_of, started, unknown

MODELS, CURRENCIES, DAYS = ("m", "other"), ("CNY", "USD"), (0, 1)
ENDS = ("done", "billed", "free", "unknown", "unanswered", "task", "uncounted")
OPEN = ("unknown", "unanswered", "task", "uncounted")


@dataclass(frozen=True, slots=True)
class Bought:
    """One Attempt: where it belongs, how it ended, what it cost or may cost, what it used."""

    model: str
    currency: str
    day: int
    end: str
    amount: int
    tokens: tuple[int, int, int]
    is_priced: bool = True

    @property
    def money(self) -> Decimal:
        return Decimal(self.amount) / 100

    @property
    def ceiling(self) -> Decimal:
        return self.money + 1

    @property
    def date(self) -> str:
        return (FIRST + timedelta(days=self.day)).date().isoformat()

    @property
    def is_open(self) -> bool:
        """An Attempt that nobody counted is settled where nothing bounds it."""
        return self.end in OPEN and (self.is_priced or self.end != "uncounted")

    @property
    def is_counted(self) -> bool:
        return self.end in ("done", "billed")

    def records(self, number: int) -> list[AnyRecord]:
        at = FIRST + timedelta(days=self.day)
        bound = AmountRecord(amount=str(self.ceiling), currency=self.currency)
        where = {"model": self.model, "ceiling": bound if self.is_priced else None}
        cost = CostRecord(
            amount=str(self.money), currency=self.currency, basis="tokens", price="p"
        )  # fmt: skip
        given, made, all_told = self.tokens
        usage = UsageRecord(input_tokens=given, output_tokens=made, total_tokens=all_told)
        paid: dict[str, Any] = {
            "model": self.model,
            "cost": cost if self.is_priced else None,
            "usage": usage,
        }
        late = at + timedelta(days=3)  # a Charge is of the day it was sent on
        ends: dict[str, list[AnyRecord]] = {
            "done": [done(number, at=late, **paid)],
            "billed": [failed(number, "yes", late, **paid)],
            "free": [failed(number, "no", late, model=self.model)],
            "unknown": [unknown(number, late, **where)],
            "unanswered": [],
            "task": [TaskAccepted(key=key_of(number), attempt=1, task=f"t{number}")],
            "uncounted": [done(number, at=late, model=self.model, cost=None, usage=None)],
        }
        return [started(number, at, **where), *ends[self.end]]


BOUGHT = st.builds(
    Bought,
    st.sampled_from(MODELS),
    st.sampled_from(CURRENCIES),
    st.sampled_from(DAYS),
    st.sampled_from(ENDS),
    st.integers(1, 999),
    st.tuples(st.integers(1, 9), st.integers(10, 99), st.integers(100, 999)),
    st.booleans(),
)


def told(book: list[Bought]) -> Replay:
    return replay(record for number, each in enumerate(book) for record in each.records(number))


@given(st.lists(BOUGHT, max_size=12))
def test_sums_are_those_of_the_attempts_in_question(book: list[Bought]) -> None:
    """Spent is what is settled, reserved what is open at its ceiling; both by the day of sending;
    a budget counts the two."""
    state = told(book)
    for currency in CURRENCIES:
        for model in (None, *MODELS):
            for day in (None, *{each.date for each in book}):
                here = [
                    each
                    for each in book
                    if each.is_priced and each.currency == currency
                    if model in (None, each.model) and day in (None, each.date)
                ]
                spent = sum(each.money for each in here if each.is_counted)
                open_ = sum(each.ceiling for each in here if each.is_open)
                assert state.spent(currency, model, day) == spent
                assert state.reserved(currency, model, day) == open_
                assert state.counted(currency, model, day) == Money(
                    Decimal(spent + open_), currency
                )
            days = state.spent_by_day(currency, model)
            assert list(days) == sorted(days)
            assert sum(days.values()) == state.spent(currency, model)
    high = {each.currency: state.reserved(each.currency) for each in book}
    assert {code: money.amount for code, money in state.unknown_high.items()} == {
        code: amount for code, amount in high.items() if amount
    }


@given(st.lists(BOUGHT, max_size=12))
def test_currencies_are_those_of_what_is_spent_or_open(book: list[Bought]) -> None:
    """Of one model, or of all."""
    state = told(book)
    for model in (None, *MODELS):
        here = [each for each in book if each.is_priced and model in (None, each.model)]
        spent = {each.currency for each in here if each.is_counted}
        open_ = {each.currency for each in here if each.is_open}
        assert state.open_currencies(model) == open_
        assert state.currencies(model) == spent | open_


@given(st.lists(BOUGHT, max_size=12))
def test_what_was_used_and_what_has_no_price_is_added_up(book: list[Bought]) -> None:
    """Every charged Attempt counts; one without a price is told, as it is in no sum."""
    totals = told(book).totals
    charged = [each.tokens for each in book if each.is_counted]
    assert (totals.input_tokens, totals.output_tokens, totals.total_tokens) == tuple(
        sum(tokens[which] for tokens in charged) for which in range(3)
    )
    assert totals.images == sum(each.end in ("done", "uncounted") for each in book)
    unpriced = [each for each in book if not each.is_priced and not each.is_open]
    assert totals.unpriced == sum(each.end != "free" for each in unpriced)


@given(st.lists(BOUGHT, max_size=12))
def test_who_must_still_be_asked_and_what_is_asked_for(book: list[Bought]) -> None:
    """A Task is polled; whatever else is open stays until somebody says what was charged."""
    state = told(book)
    open_ = {key_of(number): each for number, each in enumerate(book) if each.is_open}
    asked = {key for key, each in open_.items() if each.end != "task"}
    assert {charge.key for charge in state.unsettled()} == asked
    assert {key for key, _ in state.held()} == {
        key for key in asked if open_[key].end in ("unknown", "unanswered")
    }
    assert state.tasks_out == sum(each.end == "task" for each in book)
    for key, each in open_.items():
        assert state.lost_attempts(key) == (each.end != "uncounted")


@given(st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_every_attempt_that_may_have_been_charged_counts_as_lost(
    unsure: int, free: int, is_done: bool
) -> None:
    """Those before the latest too, and no others."""
    records: list[AnyRecord] = []
    for attempt in range(1, unsure + free + 1):
        records.append(started(1, attempt=attempt))
        end = unknown(1, attempt=attempt) if attempt <= unsure else failed(1, attempt=attempt)
        records.append(end)
    if is_done:
        last = unsure + free + 1
        records += [started(1, attempt=last), done(1, attempt=last)]
    assert replay(records).lost_attempts(key_of(1)) == unsure


@settings(max_examples=40)
@given(st.lists(st.tuples(BOUGHT, st.sampled_from((None, 0, 1, 7))), max_size=10),
       st.integers(1, 7))  # fmt: skip
def test_a_share_counts_its_own_part_and_its_share_of_the_others(
    book: list[tuple[Bought, int | None]], shards: int
) -> None:
    """Of one model, currency and day, or of all; what cannot be divided is rounded up, and by less
    than anybody pays. Spent and open are not told apart."""
    shared, whole = SharedSpending(shards), {which: Spending() for which in (None, 0, 1, 7)}
    for number, (each, which) in enumerate(book):
        for record in each.records(number):
            shared.of(which).apply(record)
            whole[which].apply(record)
    for currency in CURRENCIES:
        for model in (None, *MODELS):
            for day in (None, *{each.date for each, _ in book}):
                asked = (currency, model, day)
                own = whole[None].counted(*asked).amount
                others = sum(Fraction(whole[which].counted(*asked).amount) for which in (0, 1, 7))
                counted = shared.counted(*asked)
                over = Fraction(counted.amount) - Fraction(own) - others / shards
                assert counted.currency == currency
                assert 0 <= over < Fraction(1, 10**12)
                assert shared.spent(*asked) == counted.amount
                assert shared.reserved(*asked) == 0
        assert shared.spent_by_day(currency) == {}


def test_a_share_of_a_large_amount_is_exact() -> None:
    """More digits than Python's own Decimals keep, and a third that has no end."""
    shared = SharedSpending(3)
    for which, amount in ((0, "999999999999999999999.999999999999"), (1, "1.000000000001")):
        shared.of(which).apply(started(1))
        shared.of(which).apply(done(1, amount))
    third = Decimal("333333333333333333333.666666666667")
    assert shared.counted("CNY") == Money(third, "CNY")
    shared.of(None).apply(done(2, "0.000000000001"))
    assert shared.spent("CNY") == Decimal("333333333333333333333.666666666668")


def reused(number: int, place: int) -> Reused:
    return Reused(key=key_of(number), source_ledger="other", files=(file_of(place),))


def names_just(recorded: NamedPaths, paths: set[str]) -> bool:
    return len(recorded) == len(paths) and all(path in recorded for path in paths)


def test_each_place_is_counted_and_named_for_itself() -> None:
    """Done once and delivered to two more is one done and two reused; made again, what lay at
    those places is still a picture of this ledger's."""
    twice: list[AnyRecord] = [started(1), done(1), reused(1, 11), reused(1, 12)]
    state = replay([*twice, reused(2, 21), reused(2, 22), started(3), done(3)])
    assert state.counts() == {"reused": 2, "done": 1}
    assert state.place_counts() == {"done": 2, "reused": 4}
    assert state.places(key_of(1)) == [(file_of(n),) for n in (1, 11, 12)]
    assert state.done(key_of(1)) == done(1)
    assert (state.done(key_of(2)), state.done(key_of(4))) == (None, None)
    assert state.places(key_of(4)) == []
    assert state.done(key_of(3)) == done(3)
    paths = {file_of(n).path for n in (1, 11, 12, 21, 22, 3)}
    assert names_just(state.recorded_paths(), paths)
    again = done(1, attempt=2, files=(file_of(99),))
    after = replay([*twice, started(1, attempt=2), again])
    assert names_just(after.recorded_paths(), {file_of(n).path for n in (1, 11, 12, 99)})
    assert after.places(key_of(1)) == [(file_of(99),)]
    assert after.place_counts() == {"done": 1}
    assert after.done(key_of(1)) == again


def test_sums_are_exact_however_many_digits_they_have() -> None:
    """More than Python's own Decimals keep."""
    amounts = ("999999999999.999999999999", "0.000000000000000001", "0.1")
    records: list[AnyRecord] = []
    for number, amount in enumerate(amounts):
        records += [started(number), done(number, amount)]
        large = AmountRecord(amount=amount, currency="CNY")
        records += [started(10 + number, ceiling=large), unknown(10 + number, ceiling=large)]
    whole = Decimal("1000000000000.099999999999000001")
    state = replay(records)
    assert state.spent("CNY") == state.reserved("CNY") == whole
    assert state.unknown_high["CNY"].amount == whole
