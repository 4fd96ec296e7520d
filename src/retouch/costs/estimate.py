"""What the Jobs still to be sent will cost: a range, and what it rests on.

From charged Attempts of the past at today's price; where there are none, from the tokens that the
price declares as typical, else from the dialect's table; else unknown, and said so. Below THIN
records of history the upper end is never less than what the Attempts' ceilings add up to.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, localcontext

from retouch.costs.history import History, PastUsage
from retouch.costs.pricing import Asked, Delivered, ceiling_for, cost_at
from retouch.dialects.base import Capabilities, Usage
from retouch.job import Job
from retouch.ledger.state import Replay
from retouch.manifest import Limits, Price
from retouch.money import EXACT, NONE_LOCAL, Money, shown

THIN = 20  # fewer records say little of the spread
_SIGMAS = 3
_LEAST_ERROR = Decimal("0.05")  # of the likely cost, at THIN records
_BYTES_PER_TEXT_TOKEN = 3  # one Chinese character, or most of an English word


@dataclass(slots=True)
class Demand:
    """What a lane would send: gathered Job by Job, so that none is kept but one example."""

    price: Price | None
    capabilities: Capabilities
    state: Replay
    jobs: int = 0
    images: int = 0
    text_bytes: int = 0
    pictures: int = 0
    example: Job | None = field(default=None, repr=False)
    _asked: Counter[Asked] = field(default_factory=Counter, repr=False)

    def add(self, job: Job) -> None:
        """One more Job to be sent."""
        self.add_alike(job, Asked.by(job))

    def add_alike(self, example: Job, asked: Asked, times: int = 1) -> None:
        """So many Jobs more that ask for this; `example` is any of the lane's."""
        self.jobs += times
        self.images += times * asked.terms.n
        self.text_bytes += times * asked.text_bytes
        self.pictures += times * asked.pictures
        self.example = self.example or example
        self._asked[asked] += times

    @property
    def ceiling(self) -> Decimal | None:
        """The most that all may cost; None where nobody can say."""
        most = Decimal(0)
        observed = self.state.observed.get(self.example.model) if self.example else None
        for asked, times in self._asked.items():
            ceiling = ceiling_for(asked, self.price, self.capabilities, observed)
            if ceiling is None:
                return None
            with localcontext(EXACT):
                most += ceiling.amount * times
        return most


@dataclass(frozen=True, slots=True)
class Range:
    """Low, likely and high; None where there is no saying."""

    low: Decimal | None
    likely: Decimal | None
    high: Decimal | None


NOTHING_KNOWN = Range(None, None, None)
NOTHING_TO_PAY = Range(Decimal(0), Decimal(0), Decimal(0))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a lane's Jobs will cost, in `currency` (None: unpriced), and what that rests on.

    `tokens` is the likely count; None where it is not known.
    """

    currency: str | None
    cost: Range
    basis: str
    tokens: int | None = None

    @property
    def high(self) -> Money | None:
        """The upper end, if it is known."""
        if self.currency is None or self.cost.high is None:
            return None
        return Money(self.cost.high, self.currency)


def estimate(demand: Demand, history: History) -> Estimate:
    """The cost of all Jobs of `demand`."""
    price, job = demand.price, demand.example
    with localcontext(EXACT):
        if job is None:
            cost = NOTHING_TO_PAY if price else NOTHING_KNOWN
            return Estimate(price.currency if price else None, cost, "nothing to send", 0)
        samples = history.like(job)
        tokens = _likely_tokens(demand, job, samples)
        if price is None:
            return Estimate(None, NOTHING_KNOWN, "unpriced", tokens)
        if price.local:
            return Estimate(price.currency, NOTHING_TO_PAY, NONE_LOCAL, tokens)
        costs = list(_costs(job, price, samples))
        if costs:
            return _from_history(demand, price, costs, tokens)
        return _from_tables(demand, price, job, tokens)


def _costs(job: Job, price: Price, samples: list[PastUsage]) -> Iterator[Decimal]:
    """What each Attempt of the past would cost today, asking for as many pictures as `job`."""
    size, quality = job.terms.size, job.terms.quality
    for sample in samples:
        usage = sample.scaled(job.images_wanted)
        cost = cost_at(price, usage, Delivered(sample.pictures, sides=sample.sides), size, quality)
        if cost is not None:
            yield cost.money.amount


def _from_history(
    demand: Demand, price: Price, costs: list[Decimal], tokens: int | None
) -> Estimate:
    count, jobs = len(costs), demand.jobs
    mean = sum(costs, Decimal(0)) / count
    likely = mean * jobs
    variance = sum(((cost - mean) ** 2 for cost in costs), Decimal(0)) / max(1, count - 1)
    # The jobs' own spread, and how far the mean of so few may be off.
    error = _SIGMAS * (variance * jobs * (1 + Decimal(jobs) / count)).sqrt()
    if price.counts_tokens:  # few records show too little of a long tail
        error = max(error, likely * _LEAST_ERROR * (Decimal(THIN) / count).sqrt())
    low, high = max(Decimal(0), likely - error), likely + error
    if count < THIN:
        bound = demand.ceiling
        observed = max(costs) * jobs
        return Estimate(
            price.currency,
            Range(min(costs) * jobs, likely, None if bound is None else max(bound, observed)),
            _basis(costs, price),
            tokens,
        )
    if demand.ceiling is not None:
        high = max(likely, min(high, demand.ceiling))
    return Estimate(price.currency, Range(low, likely, high), _basis(costs, price), tokens)


def _basis(costs: list[Decimal], price: Price) -> str:
    records = f"{len(costs)} record{'s' if len(costs) > 1 else ''}"
    spread = f"{shown(min(costs))} to {shown(max(costs))}"
    return f"history: {records}, median {shown(statistics.median(costs))} {price.currency} a job \
({spread})"


def _from_tables(demand: Demand, price: Price, job: Job, tokens: int | None) -> Estimate:
    """By declared or tabled tokens: low is what is produced alone, high the ceilings."""
    size, quality = job.terms.size, job.terms.quality
    jobs, n = demand.jobs, job.images_wanted
    if not price.counts_tokens:
        each = cost_at(price, Usage(images=n), Delivered(n), size, quality)
        total = each.money.amount * jobs if each else None
        return Estimate(price.currency, Range(total, total, total), "price by the picture", tokens)
    said = _tabled(demand, price)
    if said is None:
        basis = "unknown: no history, and no typical tokens declared"
        high = demand.ceiling
        return Estimate(price.currency, Range(None, None, high), basis, tokens)
    input_tokens, output_tokens, basis = said
    amounts = []
    for given in (0, input_tokens):
        usage = Usage(
            input_tokens=given,
            text_tokens=min(given, demand.text_bytes // _BYTES_PER_TEXT_TOKEN),
            image_tokens=given - min(given, demand.text_bytes // _BYTES_PER_TEXT_TOKEN),
            output_tokens=output_tokens,
            image_output_tokens=output_tokens,
            images=demand.images,
        )
        cost = cost_at(price, usage, Delivered(demand.images), size, quality)
        if cost is None:  # pictures paid by their pixels, and nobody says how many
            basis = "unknown: no history, and no size asked for"
            return Estimate(price.currency, Range(None, None, demand.ceiling), basis, tokens)
        amounts.append(cost.money.amount + (price.per_request or Decimal(0)) * (jobs - 1))
    low, likely = amounts
    high = None if demand.ceiling is None else max(demand.ceiling, likely)
    return Estimate(price.currency, Range(low, likely, high), basis, input_tokens + output_tokens)


def _tabled(demand: Demand, price: Price) -> tuple[int, int, str] | None:
    """Input and output tokens of all Jobs, and where that is from."""
    table = demand.capabilities.tokens
    output = price.typical_output_tokens_per_image
    declared = output is not None or not price.states_output
    if output is None:
        output = table.output_per_image if table else None
    if price.typical_input_tokens is not None:
        input_tokens: int | None = price.typical_input_tokens * demand.jobs
    elif table is not None:
        text = demand.text_bytes // _BYTES_PER_TEXT_TOKEN
        input_tokens = table.input_per_image * demand.pictures + text
    else:
        input_tokens = None if price.states_input else 0
    if input_tokens is None or (output is None and price.states_output):
        return None
    basis = "the price's typical tokens" if declared else "the dialect's table of tokens"
    return input_tokens, (output or 0) * demand.images, basis


def _likely_tokens(demand: Demand, job: Job, samples: list[PastUsage]) -> int | None:
    """Tokens of all Jobs, by what was counted before."""
    counts = [sample.usage.total_tokens for sample in samples if sample.n == job.images_wanted]
    known = [count for count in counts if count is not None]
    return round(Decimal(sum(known)) / len(known) * demand.jobs) if known else None


def seconds_at_limits(
    limits: Limits, demand: Demand, tokens: int | None, history: History
) -> float | None:
    """How long the Jobs take at the lane's rates, in seconds; without rates, at its concurrency
    and as long as its Jobs have taken. None: neither is known."""
    if demand.example is None:
        return 0.0
    rates = (
        (limits.requests_per_minute, demand.jobs),
        (limits.images_per_minute, demand.images),
        (limits.tokens_per_minute, tokens or 0),
    )
    seconds = [60.0 * units / rate for rate, units in rates if rate is not None]
    if not seconds:
        taken = [sample.seconds for sample in history.like(demand.example)]
        seconds = [demand.jobs * statistics.median(taken) / limits.concurrency] if taken else []
    return round(max(seconds), 1) if seconds else None
