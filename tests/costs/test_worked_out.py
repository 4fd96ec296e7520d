"""Amounts by hand: what a request cost at least, at most, by kind, and what the next may cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retouch.costs import history
from retouch.costs.allowance import Allowance, Need, runway
from retouch.costs.estimate import (
    _SIGMAS,
    Demand,
    Estimate,
    Range,
    estimate,
    seconds_at_limits,
)
from retouch.costs.history import ALIKE, History, PastUsage
from retouch.costs.kinds import Part, parts_of
from retouch.costs.pricing import (
    Delivered,
    as_amount,
    ceiling_of,
    cost_at,
    cost_of,
    delivered,
    has_ceiling,
    in_batch,
    least_of,
)
from retouch.dialects.base import Capabilities, TokenEstimate, Usage
from retouch.job import Job, Picture, Prompt, Source, Terms
from retouch.ledger.records import AmountRecord, AnyRecord, CostRecord, UsageRecord
from retouch.ledger.state import Replay, replay
from retouch.ledger.terms import Observed
from retouch.manifest import ImagePrice, Limits, Price, TokenTier
from retouch.money import Money
from tests.support.ledgers import GEMINI, TERMS, done, file_of, started

TABLE = TokenEstimate(258, 1290, 2580, 2581)
KNOWN = Capabilities(GEMINI, "sync", (), (), tokens=TABLE)
STRANGE = Capabilities(GEMINI, "sync", (), ())
SQUARE = (1000, 1000)
BY_SIZE = (
    ImagePrice(size="512x512", quality="low", amount=Decimal("0.1")),
    ImagePrice(size="1024x1024", quality="high", amount=Decimal("0.7")),
)


def price(**said: Any) -> Price:
    figures: dict[str, Any] = {
        name: value if name in ("tiers", "per_image_by") or "ceiling" in name or "typical" in name
        else Decimal(value)
        for name, value in said.items()
    }  # fmt: skip
    return Price(currency="CNY", **figures)


def job(n: int = 1, prompt: str = "雪", **terms: Any) -> Job:
    source = Source("a.png", Picture("sha256:0", file="a.png"), mask=Picture("sha256:1"))
    return Job(GEMINI, Prompt("p", prompt), source, terms=Terms(n, **terms))


BY_TOKENS = price(input_per_million="2.1", output_per_million="210")
BY_IMAGE = price(per_image="0.2")


def test_the_least_is_what_came() -> None:
    """By the picture, where nobody counted; where somebody did, the cost itself is known."""
    three = Delivered(3, 4)
    assert least_of(Usage(), three, job(), BY_IMAGE) == Money(Decimal("0.6"), "CNY")
    assert least_of(Usage(images=3), three, job(), BY_IMAGE) is None
    assert least_of(Usage(), three, job(), None) is None
    assert least_of(Usage(), Delivered(0, 4), job(), BY_IMAGE) is None
    assert least_of(Usage(), three, job(), BY_TOKENS) is None
    asked = job(size="1024x1024", quality="high")
    by_size = price(per_image="0.2", per_image_by=BY_SIZE)
    assert least_of(Usage(), three, asked, by_size) == Money(Decimal("2.1"), "CNY")
    measured = Delivered(2, 4, (SQUARE, (2000, 1000)))
    assert least_of(Usage(), measured, job(), price(per_megapixel="0.1")) == Money(
        Decimal("0.3"), "CNY"
    )


def test_a_batch_is_exact_however_long_an_amount_is() -> None:
    """Half of it; without a discount, all of it; named as it was."""
    long = "0." + "1234567890" * 4 + "2"
    cost = CostRecord(amount=long, currency="CNY", basis="tokens", price="p")
    half = in_batch(cost, price(per_image="1", batch_discount="0.5"))
    assert (half.amount, half.currency, half.basis, half.price) == (
        "0.061728394506172839450617283945061728394510", "CNY", "tokens", "p",
    )  # fmt: skip
    assert in_batch(cost, BY_IMAGE).amount == long


@given(st.fixed_dictionaries({}, optional={
    "per_image": st.just("0.2"), "per_megapixel": st.just("0.1"), "per_request": st.just("0.3"),
    "input_per_million": st.just("2"), "output_per_million": st.just("9"),
    "ceiling_input_tokens": st.just(7), "ceiling_output_tokens_per_image": st.just(9),
    "ceiling_megapixels_per_image": st.just(Decimal(2)),
}), st.sampled_from([KNOWN, STRANGE]))  # fmt: skip
def test_a_price_has_a_ceiling_where_each_job_has_one(
    said: dict[str, Any], capabilities: Capabilities
) -> None:
    """And where it has none, no Job that leaves its size to the server has one."""
    if not said.keys() & {"per_image", "per_megapixel", "per_request", "input_per_million",
                          "output_per_million"}:  # fmt: skip
        return
    at = price(**said)
    ceiling = ceiling_of(job(), at, capabilities)
    assert has_ceiling(at, capabilities.tokens) == (ceiling is not None)


def test_a_ceiling_is_the_most_of_each_part() -> None:
    """The request, its pictures, what goes in by its bytes and pictures, what comes out."""
    everything = price(
        per_request="0.01", per_image="0.2", per_megapixel="0.1", input_per_million="2",
        output_per_million="200", svg_input_per_million="10", svg_output_per_million="1000",
        ceiling_megapixels_per_image=Decimal(4),
    )  # fmt: skip
    given, made = 3 + 2 * TABLE.ceiling_input_per_image, 2 * TABLE.ceiling_output_per_image
    amount = Decimal("0.01") + 2 * (Decimal("0.2") + Decimal("0.4"))
    amount += (Decimal(12) * given + Decimal(1200) * made) / 10**6
    assert ceiling_of(job(2), everything, KNOWN) == Money(amount, "CNY")
    seen = Observed(given + 1, made)
    amount += (Decimal(12) + Decimal(1200) * made) / 10**6
    assert ceiling_of(job(2), everything, KNOWN, seen) == Money(amount, "CNY")
    declared = everything.model_copy(
        update={"ceiling_input_tokens": 10, "ceiling_output_tokens_per_image": 20}
    )
    amount = Decimal("1.21") + (Decimal(12) * 10 + Decimal(1200) * 40) / 10**6
    assert ceiling_of(job(2), declared, STRANGE) == Money(amount, "CNY")
    assert ceiling_of(job(), None, KNOWN) is None
    by_pixels = price(per_megapixel="0.1")
    assert ceiling_of(job(2, size="2000x1000"), by_pixels, STRANGE) == Money(Decimal("0.4"), "CNY")
    assert ceiling_of(job(), by_pixels, STRANGE) is None
    sized = price(per_image="0.2", per_image_by=BY_SIZE)
    assert ceiling_of(job(2, size="512x512", quality="low"), sized, STRANGE) == Money(
        Decimal("0.2"), "CNY"
    )
    dear = price(tiers=(
        TokenTier(up_to=9, input_per_million=Decimal(1), output_per_million=Decimal(30)),
        TokenTier(input_per_million=Decimal(4), output_per_million=Decimal(20)),
    ))  # fmt: skip
    assert ceiling_of(job(), dear, KNOWN) == Money(
        (Decimal(4) * given + Decimal(30) * TABLE.ceiling_output_per_image) / 10**6, "CNY"
    )


def test_an_amount_is_written_in_full() -> None:
    """Nothing stays nothing."""
    assert as_amount(Money(Decimal("1E+2"), "CNY")) == AmountRecord(
        amount="100.000000", currency="CNY"
    )
    assert as_amount(None) is None


TIERS = (
    TokenTier(up_to=200, input_per_million=Decimal(1), output_per_million=Decimal(2)),
    TokenTier(input_per_million=Decimal(3), output_per_million=Decimal(4)),
)
BY_KIND = {"image_output_per_million": "120", "text_output_per_million": "12"}
CACHED = Usage(input_tokens=1000, text_tokens=400, image_tokens=600, cached_tokens=500)
KINDS: list[tuple[Usage, Price, list[tuple[str, int, int, int, str]]]] = [
    # usage, price, of each kind: tokens in and out, pictures, millionths
    (Usage(input_tokens=200, output_tokens=10), price(tiers=TIERS),
     [("input", 200, 0, 0, "200"), ("output", 0, 10, 0, "20")]),
    (Usage(input_tokens=201, output_tokens=10), price(tiers=TIERS),
     [("input", 201, 0, 0, "603"), ("output", 0, 10, 0, "40")]),
    (Usage(input_tokens=600, output_tokens=1400, image_output_tokens=1120),
     price(input_per_million="2", **BY_KIND),
     [("input", 600, 0, 0, "1200"), ("image_output", 0, 1120, 2, "134400"),
      ("text_output", 0, 280, 0, "3360")]),
    (Usage(input_tokens=600, output_tokens=1400, image_output_tokens=1120, images=5),
     price(input_per_million="2", output_per_million="9"),
     [("input", 600, 0, 0, "1200"), ("image_output", 0, 1120, 5, "10080"),
      ("text_output", 0, 280, 0, "2520")]),
    (Usage(input_tokens=600, output_tokens=1400),
     price(input_per_million="2", output_per_million="9", **BY_KIND),
     [("input", 600, 0, 0, "1200"), ("output", 0, 1400, 0, "12600")]),
    (CACHED, price(input_per_million="2", cached_input_per_million="1"),
     [("input", 500, 0, 0, "1000"), ("cached_input", 500, 0, 0, "500")]),
    (dataclasses.replace(CACHED, cached_text_tokens=200, cached_image_tokens=200),
     price(input_per_million="2"),
     [("input", 500, 0, 0, "1000"), ("cached_input", 500, 0, 0, "1000")]),
    (dataclasses.replace(CACHED, cached_text_tokens=200, cached_image_tokens=300),
     price(text_input_per_million="2", image_input_per_million="5"),
     [("text_input", 200, 0, 0, "400"), ("image_input", 300, 0, 0, "1500"),
      ("cached_text_input", 200, 0, 0, "400"), ("cached_image_input", 300, 0, 0, "1500")]),
    (Usage(input_tokens=1000, text_tokens=400, image_tokens=600),
     price(text_input_per_million="2", image_input_per_million="5"),
     [("text_input", 400, 0, 0, "800"), ("image_input", 600, 0, 0, "3000")]),
    (Usage(input_tokens=1000, text_tokens=400, image_tokens=500), price(input_per_million="2"),
     [("input", 1000, 0, 0, "2000")]),
    (Usage(input_tokens=10, output_tokens=20, svg_input_tokens=30, svg_output_tokens=40),
     price(input_per_million="1", output_per_million="2", svg_input_per_million="3",
           svg_output_per_million="4"),
     [("input", 10, 0, 0, "10"), ("output", 0, 20, 0, "40"), ("svg_input", 0, 0, 0, "90"),
      ("svg_output", 0, 0, 0, "160")]),
    (Usage(images=3), price(per_image="0.2", per_request="0.1"),
     [("request", 0, 0, 0, "100000"), ("images", 0, 0, 3, "600000")]),
    (Usage(), price(per_megapixel="0.2"), [("images", 0, 0, 2, "400000")]),
]  # fmt: skip


@pytest.mark.parametrize(("usage", "at", "expected"), KINDS)
def test_each_part_has_its_tokens_its_pictures_and_its_amount(
    usage: Usage, at: Price, expected: list[tuple[str, int, int, int, str]]
) -> None:
    """Two pictures of a megapixel came; the parts are the cost."""
    two = Delivered(2, 2, (SQUARE, SQUARE))
    cost = cost_at(at, usage, two, None, None)
    assert cost is not None
    parts = parts_of(usage, two, at, cost.money.amount)
    assert parts == [
        Part(kind, given, made, images, Decimal(amount) / 10**6)
        for kind, given, made, images, amount in expected
    ]
    bare = [dataclasses.replace(each, amount=None) for each in parts]
    other = parts_of(usage, two, at, cost.money.amount + 1)
    assert other == [each for each in bare if each != Part(each.kind)]
    assert parts_of(usage, two, at, None) == other


def test_a_cost_needs_every_count_that_its_price_asks_for() -> None:
    """One that is missing leaves it unknown, one that nothing is paid for does not."""
    two = Delivered(2, 2)
    kinds = price(
        text_input_per_million="2", image_input_per_million="5",
        cached_text_input_per_million="1", cached_image_input_per_million="1",
    )  # fmt: skip
    whole = dataclasses.replace(CACHED, cached_text_tokens=200, cached_image_tokens=300)
    for name in ("text_tokens", "image_tokens", "cached_text_tokens", "cached_image_tokens"):
        assert cost_at(kinds, whole, two, None, None) is not None
        assert cost_at(kinds, dataclasses.replace(whole, **{name: None}), two, None, None) is None
    drawn = Usage(input_tokens=1, output_tokens=1, svg_input_tokens=5)
    assert cost_at(BY_TOKENS, drawn, two, None, None) is None
    assert cost_at(BY_IMAGE, drawn, two, None, None) is not None
    assert cost_at(BY_IMAGE, Usage(), Delivered(2, 3), None, None) is None
    assert (
        cost_at(price(per_megapixel="1"), Usage(), Delivered(2, 2, (SQUARE,)), None, None) is None
    )
    local = cost_at(Price(local=True), Usage(), two, None, None)
    assert local is not None
    assert local.basis == "none"
    assert local.money.amount == 0
    asked = cost_of(Usage(), two, job(size="512x512", quality="low"),
                    price(per_image="0.2", per_image_by=BY_SIZE))  # fmt: skip
    assert asked is not None
    assert (asked.amount, asked.basis, asked.currency) == ("0.200000", "images", "CNY")
    assert cost_at(price(per_request="0.5"), Usage(), two, None, None) == CostRecord(
        amount="0.500000", currency="CNY", basis="request", price=price(per_request="0.5").name
    )


def test_the_sides_of_a_reply_are_those_of_its_files() -> None:
    """In their order, beside how many came and were asked for."""
    files = [file_of(1, 7, 8), file_of(2, 9, 10)]
    assert delivered(files, 3, 4) == Delivered(3, 4, ((7, 8), (9, 10)))


COUNTS = Usage(
    input_tokens=1, output_tokens=10, total_tokens=11, text_tokens=2, image_tokens=3, images=5,
    cached_tokens=4, reasoning_tokens=6, text_output_tokens=7, image_output_tokens=8,
    cached_text_tokens=9, cached_image_tokens=12, svg_input_tokens=13, svg_output_tokens=14,
)  # fmt: skip


def past(**said: Any) -> PastUsage:
    known: dict[str, Any] = {"n": 2, "size": None, "quality": None, "usage": COUNTS,
                             "pictures": 1, "seconds": 1.0}  # fmt: skip
    return PastUsage(**known | said)


def test_what_comes_out_grows_with_the_pictures_and_what_goes_in_does_not() -> None:
    """Rounded up; the pictures that came where the server counted none."""
    assert past().scaled(2) is COUNTS
    assert past().scaled(3) == Usage(
        input_tokens=1, output_tokens=15, text_tokens=2, image_tokens=3, images=8,
        cached_tokens=4, text_output_tokens=11, image_output_tokens=12,
        cached_text_tokens=9, cached_image_tokens=12, svg_input_tokens=13, svg_output_tokens=21,
    )  # fmt: skip
    assert past(usage=Usage()).scaled(3) == Usage(images=2)
    assert past(usage=Usage(images=0)).scaled(4).images == 0


def sample(number: int, n: int = 1, size: str | None = "1x1", quality: str | None = "low") -> Any:
    terms = TERMS.__class__(input="", prompt="", options="", n=n, size=size, quality=quality)
    usage = UsageRecord(**{name: getattr(COUNTS, name) for name in COUNTED})
    files = (file_of(1, 7, 8), file_of(2, 9, 10))
    return [started(number, terms=terms), done(number, usage=usage, files=files, seconds=2.5)]


COUNTED = [each.name for each in dataclasses.fields(Usage) if each.name != "stated"]


def test_history_keeps_all_that_was_counted() -> None:
    """What was asked for, counted, kept, and how long it took."""
    (known,) = History([replay(sample(1, 2))]).of(GEMINI)
    assert known == PastUsage(2, "1x1", "low", COUNTS, 2, 2.5, ((7, 8), (9, 10)))
    (bare,) = History([replay([done(1, usage=None, files=(file_of(1),) * 3)])]).of(GEMINI)
    assert (bare.n, bare.size, bare.quality, bare.usage) == (3, None, None, Usage())
    (none,) = History([replay([done(1, files=())])]).of(GEMINI)
    assert none.n == 1
    assert History().of(GEMINI) == ()


@pytest.mark.parametrize("other", [{"n": 2}, {"size": "2x2"}, {"quality": "high"}])
def test_jobs_alike_tell_more_than_others_where_there_are_enough(other: dict[str, Any]) -> None:
    """Of the same number, size and quality."""
    for count in (ALIKE - 1, ALIKE):
        records = [each for n in range(count) for each in sample(n)]
        records += [each for n in range(50, 60) for each in sample(n, **other)]
        found = History([replay(records)]).like(job(size="1x1", quality="low"))
        assert len(found) == (count if count == ALIKE else count + 10)


def demand_of(jobs: list[Job], at: Price | None, capabilities: Capabilities = KNOWN) -> Demand:
    demand = Demand(at, capabilities, Replay())
    for each in jobs:
        demand.add(each)
    return demand


def test_an_estimate_from_tables_counts_every_part() -> None:
    """Requests, pictures by size and quality, text and pictures apart: three Jobs of two."""
    at = price(
        per_request="0.01", per_image="0.2", per_image_by=BY_SIZE, text_input_per_million="2",
        image_input_per_million="5", output_per_million="9",
    )  # fmt: skip
    jobs = [job(2, "snow" * 3, size="1024x1024", quality="high")] * 3
    found = estimate(demand_of(jobs, at), History())
    text, pictures, made = 36 // 3, 3 * 2 * TABLE.input_per_image, 6 * TABLE.output_per_image
    low = Decimal("0.03") + 6 * Decimal("0.7") + Decimal(9) * made / 10**6
    assert found.cost.low == low
    assert found.cost.likely == low + (Decimal(2) * text + Decimal(5) * pictures) / 10**6
    assert found.cost.high == sum(
        (each.amount for one in jobs if (each := ceiling_of(one, at, KNOWN))), Decimal(0)
    )
    assert found.tokens == text + pictures + made
    assert (found.currency, found.basis) == ("CNY", "the dialect's table of tokens")


@pytest.mark.parametrize(
    ("said", "capabilities", "basis"),
    [
        ({"typical_input_tokens": 5, "typical_output_tokens_per_image": 7}, STRANGE,
         "the price's typical tokens"),
        ({"typical_input_tokens": 5}, KNOWN, "the dialect's table of tokens"),
        ({"typical_output_tokens_per_image": 7}, KNOWN, "the price's typical tokens"),
        ({"typical_input_tokens": 5}, STRANGE,
         "unknown: no history, and no typical tokens declared"),
        ({"typical_output_tokens_per_image": 7}, STRANGE,
         "unknown: no history, and no typical tokens declared"),
    ],
)  # fmt: skip
def test_what_an_estimate_rests_on_is_said(
    said: dict[str, int], capabilities: Capabilities, basis: str
) -> None:
    """Where it rests on nothing, there is none, though perhaps a ceiling."""
    at = BY_TOKENS.model_copy(update=said)
    found = estimate(demand_of([job(2)] * 3, at, capabilities), History())
    assert found.basis == basis
    given = said.get("typical_input_tokens", (2 * 258 + 1)) * 3
    made = said.get("typical_output_tokens_per_image", 1290) * 6
    if basis.startswith("unknown"):
        assert (found.cost.likely, found.tokens) == (None, None)
    else:
        assert found.tokens == given + made
        assert found.cost.likely == (Decimal("2.1") * given + Decimal(210) * made) / 10**6


@pytest.mark.parametrize(
    ("limits", "tokens", "seconds"),
    [
        ({"requests_per_minute": 30.0}, None, 6.0),
        ({"images_per_minute": 30.0}, None, 12.0),
        ({"tokens_per_minute": 100.0}, 50, 30.0),
        ({"tokens_per_minute": 100.0}, None, 0.0),
        ({"requests_per_minute": 30.0, "tokens_per_minute": 100.0}, 50, 30.0),
        ({"concurrency": 2}, None, 3.8),
    ],
)
def test_how_long_three_jobs_of_two_pictures_take(
    limits: dict[str, Any], tokens: int | None, seconds: float
) -> None:
    """At the slowest of the rates, else as long as such Jobs have taken, so many at a time."""
    known = History([replay(sample(1, 2))])
    demand = demand_of([job(2)] * 3, BY_TOKENS)
    assert seconds_at_limits(Limits(**limits), demand, tokens, known) == seconds
    assert seconds_at_limits(Limits(**limits), demand_of([], BY_TOKENS), tokens, known) == 0


def cny(amount: str) -> Money:
    return Money(Decimal(amount), "CNY")


@pytest.mark.parametrize(
    ("left", "rate", "until"),
    [
        ("10", "2", "2026-12-04"),
        ("11.9", "2", "2026-12-04"),
        ("36500", "1", "2126-11-05"),
        ("36501", "1", None),
        ("10", "0", None),
        ("10", "-2", None),
    ],
)
def test_a_total_budget_ends_on_a_day_within_a_hundred_years(
    left: str, rate: str, until: str | None
) -> None:
    """At the rate of late; where nothing is spent, or given back, on none."""
    found = runway(Allowance("total", cny(left)), None, {"2026-11-29": Decimal(rate)}, "2026-11-29")
    assert found.until == until
    assert (found.jobs, found.lasts) == (None, None)


def test_without_a_plan_what_a_job_has_cost_tells_for_how_many_it_lasts() -> None:
    """Each of them must fit; of a plan, its own costs tell."""
    allowance = Allowance("run", cny("10"), Decimal(1), Decimal(2))
    assert runway(allowance, None, {}, "2026-11-29", Decimal(2)).lasts == 3
    assert runway(allowance, None, {}, "2026-11-29", Decimal("0.07")).lasts == 100
    planned = runway(allowance, [Need(9, Decimal(1), Decimal(1))], {}, "2026-11-29", Decimal(2))
    assert (planned.lasts, planned.jobs, planned.per_day, planned.until) == (7, 9, None, None)
    assert runway(allowance, None, {}, "2026-11-29").lasts is None


def spent(costs: Iterable[int], *, images: bool) -> History:
    """Attempts that cost so many tenths of a yuan each, by the picture or by the token."""
    records: list[AnyRecord] = []
    for number, each in enumerate(costs):
        usage = UsageRecord(images=each) if images else UsageRecord(
            input_tokens=0, output_tokens=each * 1000, total_tokens=each * 1000)  # fmt: skip
        terms = msgspec.structs.replace(TERMS, n=1)
        records += [started(number, terms=terms), done(number, usage=usage)]
    return History([replay(records)])


TENTHS = price(per_image="0.1")
BY_OUTPUT = price(input_per_million="0", output_per_million="100")


def test_a_spread_of_the_past_is_the_spread_of_what_is_to_come() -> None:
    """Twice the deviation of five Jobs, and of a mean of twenty: by hand."""
    found = estimate(demand_of([job()] * 5, TENTHS), spent([1, 3] * 10, images=True))
    assert (found.cost.likely, found.tokens) == (Decimal(1), None)
    assert found.cost.low is not None
    error = 1 - found.cost.low
    variance = Decimal("0.01") * 20 / 19 * 5 * (1 + Decimal(5) / 20)
    assert error == pytest.approx(_SIGMAS * variance.sqrt())
    assert found.cost.high == 1  # no dearer than the ceilings, no cheaper than likely
    assert found.basis == "history: 20 records, median 0.2000 CNY a job (0.1000 to 0.3000)"
    few = estimate(demand_of([job()], TENTHS), spent([1, 9] * 10, images=True))
    assert few.cost.low == 0


def test_records_all_alike_still_may_be_off_by_their_number() -> None:
    """By tokens: a twentieth at twenty records, half of that at eighty. Pictures have a price."""
    for count, off in ((20, "0.05"), (80, "0.025")):
        found = estimate(demand_of([job()] * 10, BY_OUTPUT), spent([2] * count, images=False))
        assert (found.cost.low, found.cost.likely) == (2 - 2 * Decimal(off), Decimal(2))
        assert found.cost.high == 2 + 2 * Decimal(off)
        assert found.tokens == 20_000
    pictures = estimate(demand_of([job()] * 10, TENTHS), spent([2] * 20, images=True)).cost
    assert {pictures.low, pictures.likely, pictures.high} == {Decimal(2)}


def test_of_few_records_the_least_and_the_ceilings_are_the_bounds() -> None:
    """Or the most that was seen, where that is more; where nothing bounds it, no saying."""
    demand = demand_of([job()] * 10, BY_OUTPUT)
    found = estimate(demand, spent([1, 2], images=False))
    assert (found.cost.low, found.cost.likely, found.tokens) == (Decimal(1), Decimal("1.5"), 15_000)
    assert found.cost.high == demand.ceiling == Decimal(10 * TABLE.ceiling_output_per_image) / 10**4
    dear = estimate(demand, spent([2, 400], images=False))
    assert dear.cost.high == 400
    boundless = estimate(demand_of([job()] * 10, BY_OUTPUT, STRANGE), spent([2], images=False))
    assert boundless.cost.high is None
    assert boundless.basis == "history: 1 record, median 0.2000 CNY a job (0.2000 to 0.2000)"


def test_what_was_delivered_and_asked_for_sets_the_price_of_the_past() -> None:
    """Pictures by the quality asked for, or by the pixels that came."""
    past = History([replay(each for n in range(20) for each in sample(n, size=None))])
    at = price(per_image="0.2", per_image_by=(ImagePrice(quality="low", amount=Decimal("0.1")),))
    assert estimate(demand_of([job(quality="low")], at), past).cost.likely == Decimal("0.5")
    bare = [
        done(number, usage=UsageRecord(), files=(file_of(1, 1000, 2000),)) for number in range(9)
    ]
    seen = estimate(demand_of([job()], price(per_megapixel="0.1")), History([replay(bare)]))
    assert seen.cost.likely == Decimal("0.2")


def test_only_the_latest_of_the_past_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million records are not."""
    monkeypatch.setattr(history, "KEPT", 3)
    kept = spent(range(9), images=True)
    assert [each.usage.images for each in kept.of(GEMINI)] == [6, 7, 8]
    kept.add(replay([done(9, usage=UsageRecord(images=9))]))
    assert [each.usage.images for each in kept.of(GEMINI)] == [7, 8, 9]


def test_only_the_models_named_are_looked_at() -> None:
    """A ledger may hold hundreds of others."""
    state = replay([done(1), done(2, model="other")])
    known = History([state], {"other", "third"})
    assert [len(known.of(model)) for model in (GEMINI, "other", "third")] == [0, 1, 0]
    assert [len(History([state]).of(model)) for model in (GEMINI, "other")] == [1, 1]


def test_amounts_are_exact_at_the_dearest_price_there_can_be() -> None:
    """More digits than Python's own Decimals keep: 10^12 with 12 decimals, times any count."""
    dearest = "999999999999.999999999999"
    at = price(input_per_million=dearest, output_per_million=dearest, per_request="0.000000000001")
    usage = Usage(input_tokens=1_234_567, output_tokens=7_654_321)
    cost = cost_at(at, usage, Delivered(1), None, None)
    assert cost is not None
    paid = Fraction(dearest) * 8_888_888 / 10**6 + Fraction(1, 10**12)
    assert Fraction(cost.amount) == paid
    parts = parts_of(usage, Delivered(1), at, cost.money.amount)
    assert sum(Fraction(each.amount or 0) for each in parts) == paid
    given, made = 3 + 2 * TABLE.ceiling_input_per_image, TABLE.ceiling_output_per_image
    ceiling = ceiling_of(job(), at, KNOWN)
    assert ceiling is not None
    assert Fraction(ceiling.amount) == Fraction(dearest) * (given + made) / 10**6 + Fraction(
        1, 10**12
    )
    demand = demand_of([job()] * 3, at)
    assert Fraction(demand.ceiling or 0) == 3 * Fraction(ceiling.amount)


def test_an_estimate_without_a_figure_says_why_in_full() -> None:
    """Nothing to send, a server of one's own, nothing known of the tokens."""
    nothing = Range(Decimal(0), Decimal(0), Decimal(0))
    assert estimate(demand_of([], BY_TOKENS), History()) == Estimate(
        "CNY", nothing, "nothing to send", 0
    )
    assert estimate(demand_of([], None), History()) == Estimate(
        None, Range(None, None, None), "nothing to send", 0
    )
    known = spent([2] * 5, images=False)
    own = Price(local=True)
    assert estimate(demand_of([job()] * 3, own), known) == Estimate(
        own.currency, nothing, "none: local", 6000
    )
    bounded = BY_TOKENS.model_copy(
        update={"ceiling_input_tokens": 10, "ceiling_output_tokens_per_image": 20}
    )
    found = estimate(demand_of([job()] * 3, bounded, STRANGE), History())
    high = 3 * (Decimal("2.1") * 10 + Decimal(210) * 20) / 10**6
    assert found == Estimate(
        "CNY", Range(None, None, high), "unknown: no history, and no typical tokens declared"
    )
    pictures = estimate(demand_of([job(2)] * 3, BY_IMAGE), History())
    assert pictures == Estimate("CNY", Range(*[Decimal("1.2")] * 3), "price by the picture")


def test_what_was_counted_before_tells_the_tokens_whatever_is_known_of_the_price() -> None:
    """No price, none that fits what was counted, pictures whose size nobody measured."""
    counted = UsageRecord(total_tokens=2000, images=1)
    known = History([replay([done(1, usage=counted, files=())])])
    for at, basis in (
        (None, "unpriced"),
        (BY_TOKENS, "unknown: no history, and no typical tokens declared"),
        (price(per_megapixel="0.1"), "price by the picture"),
    ):
        found = estimate(demand_of([job()] * 3, at, STRANGE), known)
        assert (found.tokens, found.basis, found.cost.likely) == (6000, basis, None)


def test_pictures_paid_by_pixels_that_nobody_knows_are_not_guessed_at_nothing() -> None:
    """Beside tokens that are declared: the cost of those alone would be too low a figure."""
    at = price(per_megapixel="0.1", output_per_million="9", typical_output_tokens_per_image=7)
    found = estimate(demand_of([job(2)], at), History())
    assert (found.cost, found.currency) == (Range(None, None, None), "CNY")
    assert found.basis == "unknown: no history, and no size asked for"
    asked = estimate(demand_of([job(2, size="1000x500")], at), History())
    assert asked.cost.likely == Decimal("0.1") + Decimal(9) * 14 / 10**6
