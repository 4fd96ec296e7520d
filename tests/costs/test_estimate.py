"""Estimates: from history within 5 %, from tables where there is none, never a guess as a fact."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from retouch.costs.estimate import Demand, estimate, seconds_at_limits
from retouch.costs.history import History
from retouch.costs.pricing import Delivered, ceiling_of, cost_of
from retouch.dialects.base import Capabilities, TokenEstimate, Usage
from retouch.dialects.qiniu.requests import terms
from retouch.engine.recorder import usage_record
from retouch.engine.selection import Changes
from retouch.job import Job, Options, Picture, Prompt, Source
from retouch.ledger.decision import Send
from retouch.ledger.records import Done, FileRecord, Started
from retouch.ledger.state import Replay, replay
from retouch.ledger.terms import terms_of
from retouch.manifest import Limits, Price

MODEL = "gemini-2.5-flash-image"
GEMINI = Capabilities(MODEL, "sync", (), (), tokens=TokenEstimate(258, 1290, 2580, 2580))
BY_TOKENS = Price(currency="CNY", input_per_million=Decimal("2.1"), output_per_million=Decimal(210))
BY_IMAGE = Price(currency="CNY", per_image=Decimal("0.20"))


def job(index: int = 0, n: int = 1, prompt: str = "make it white", more: Options = ()) -> Job:
    picture = Picture(f"sha256:{index:064x}", file=f"{index}.png")
    options = tuple(sorted((("n", n), *more)))
    return Job(
        MODEL,
        Prompt("white", prompt),
        Source(f"cats/{index}.png", picture),
        options,
        terms=terms(options),
    )


def noisy_usage(chance: random.Random, n: int) -> Usage:
    """Counts as a server with thinking tokens and pictures of all sizes makes them."""
    input_tokens = 258 * chance.choice((1, 2, 4)) + chance.randint(8, 60)
    output_tokens = sum(1290 + chance.choice((0, 0, chance.randint(0, 160))) for _ in range(n))
    return Usage(input_tokens, output_tokens, input_tokens + output_tokens)


def ledger_of(jobs: list[Job], usages: list[Usage]) -> Replay:
    """A ledger in which these jobs were done."""
    state = Replay()
    for one, usage in zip(jobs, usages, strict=True):
        said = {"key": one.key, "attempt": 1, "model": MODEL, "prompt": "white"}
        state.apply(Started(source=one.source.name, terms=terms_of(one), **said))  # type: ignore[arg-type]
        files = tuple(
            FileRecord(path="a", sha256="", bytes=1, media_type="image/png", width=8, height=8)
            for _ in range(one.images_wanted)
        )
        done = Done(
            source=one.source.name,
            usage=usage_record(usage),
            cost=cost_of(usage, Delivered(len(files)), one, BY_TOKENS),
            files=files,
            seconds=2.0,
            **said,  # type: ignore[arg-type]
        )
        state.apply(done)
    return state


def demand_of(jobs: list[Job], state: Replay, price: Price | None = BY_TOKENS) -> Demand:
    demand = Demand(price, GEMINI, state)
    for one in jobs:
        demand.add(one)
    return demand


@pytest.mark.parametrize("seed", range(200))
def test_twenty_jobs_foretell_two_hundred(seed: int) -> None:
    """After 20 jobs of noisy usage the likely cost of the next 200 is within 5 % of the true one,
    which lies between low and high."""
    chance = random.Random(seed)
    n = chance.choice((1, 2, 4))
    done = [job(index, n) for index in range(20)]
    state = ledger_of(done, [noisy_usage(chance, n) for _ in done])
    coming = [job(100 + index, n) for index in range(200)]
    found = estimate(demand_of(coming, state), History([state]))
    costs = [cost_of(noisy_usage(chance, n), Delivered(n), one, BY_TOKENS) for one in coming]
    true = sum(cost.money.amount for cost in costs if cost)
    assert found.cost.likely is not None
    assert found.cost.low is not None
    assert found.cost.high is not None
    assert abs(found.cost.likely - true) <= Decimal("0.05") * true
    assert found.cost.low <= true <= found.cost.high
    assert found.basis.startswith("history: 20 records")


def test_history_of_another_n_is_scaled() -> None:
    """Jobs that asked for one picture foretell jobs that ask for four."""
    done = [job(index) for index in range(30)]
    state = ledger_of(done, [Usage(300, 1290, 1590) for _ in done])
    found = estimate(demand_of([job(99, n=4)], state), History([state]))
    each = (Decimal("2.1") * 300 + Decimal(210) * 4 * 1290) / 10**6
    assert found.cost.likely == each


@pytest.mark.parametrize("records", [0, 1, 5, 19])
def test_thin_history_never_promises_less_than_the_ceilings(records: int) -> None:
    """With little or no history, high is at least what the ceilings add up to."""
    done = [job(index) for index in range(records)]
    state = ledger_of(done, [Usage(300, 1290, 1590) for _ in done])
    coming = [job(100 + index) for index in range(7)]
    found = estimate(demand_of(coming, state), History([state]))
    ceilings = [ceiling_of(one, BY_TOKENS, GEMINI) for one in coming]
    assert found.cost.high is not None
    assert found.cost.high >= sum(each.amount for each in ceilings if each)
    assert found.high is not None
    assert found.high.currency == "CNY"


def test_declared_tokens_come_before_the_table() -> None:
    """Without history, what the price declares as typical is taken; else the dialect's table."""
    declared = BY_TOKENS.model_copy(
        update={"typical_input_tokens": 1000, "typical_output_tokens_per_image": 2000}
    )
    found = estimate(demand_of([job(n=2)], Replay(), declared), History())
    assert found.cost.likely == (Decimal("2.1") * 1000 + Decimal(210) * 4000) / 10**6
    assert found.basis == "the price's typical tokens"
    table = estimate(demand_of([job()], Replay()), History())
    assert table.basis == "the dialect's table of tokens"
    assert table.cost.low == Decimal(210) * 1290 / 10**6


def test_what_is_not_known_is_said() -> None:
    """Without history, declaration and table there is no figure; without a price, no currency."""
    demand = Demand(BY_TOKENS, Capabilities(MODEL, "sync", (), ()), Replay())
    demand.add(job())
    found = estimate(demand, History())
    assert (found.cost.low, found.cost.likely, found.cost.high) == (None, None, None)
    assert found.basis.startswith("unknown")
    unpriced = estimate(demand_of([job()], Replay(), None), History())
    assert (unpriced.currency, unpriced.cost.likely, unpriced.basis) == (None, None, "unpriced")


def test_pictures_have_their_price() -> None:
    """A price by the picture needs no history: low, likely and high are one."""
    found = estimate(
        demand_of([job(index, n=3) for index in range(5)], Replay(), BY_IMAGE), History()
    )
    assert found.cost.low == found.cost.likely == found.cost.high == Decimal("3.00")


def test_nothing_to_send_costs_nothing() -> None:
    """An empty lane is estimated at zero, in its currency."""
    found = estimate(Demand(BY_TOKENS, GEMINI, Replay()), History())
    assert (found.currency, found.cost.high) == ("CNY", Decimal(0))


def test_time_at_the_limits() -> None:
    """The slowest of the rates counts; without rates, concurrency and past seconds; else none."""
    demand = demand_of([job(index, n=2) for index in range(60)], Replay())
    limits = Limits(requests_per_minute=60.0, images_per_minute=60.0)
    assert seconds_at_limits(limits, demand, None, History()) == 120.0
    assert seconds_at_limits(Limits(concurrency=4), demand, None, History()) is None
    state = ledger_of([job(n=2)], [Usage(1, 1, 2)])
    assert seconds_at_limits(Limits(concurrency=4), demand, None, History([state])) == 30.0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (job(0), "new"),  # the very same: a further repeat
        (job(0, prompt="make it black"), "prompt changed"),
        (job(0, n=2), "option changed"),
        (job(0, n=2, prompt="make it black"), "prompt and option changed"),
        (job(7), "new"),
    ],
)
def test_reasons_say_what_changed(changed: Job, reason: str) -> None:
    """A source and prompt met before under another key says which part is not what it was."""
    state = ledger_of([job(0)], [Usage(1, 1, 2)])
    assert Changes(state).reason(changed, Send(1, "new")) == reason


def test_a_changed_picture_is_said() -> None:
    """The same name with other bytes is a changed input."""
    state = ledger_of([job(0)], [Usage(1, 1, 2)])
    other = Source("cats/0.png", Picture("sha256:ff", file="0.png"))
    changed = Job(
        MODEL, Prompt("white", "make it white"), other, (("n", 1),), terms=terms((("n", 1),))
    )
    assert Changes(state).reason(changed, Send(1, "new")) == "input changed"
    assert Changes(replay([])).reason(changed, Send(2, "sent")) == "unknown"
