"""What an Attempt cost, and the most it can cost; Decimal throughout, rounded only when shown.

A cost is worked out only from what the server counted. Where it counted nothing that the price
needs, there is no cost, and the Charge stays unknown up to its ceiling: never a guess shown as a
fact (DESIGN §2, promise 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import Protocol

from retouch.dialects.base import Capabilities, TokenEstimate, Usage
from retouch.job import Job
from retouch.ledger.records import AmountRecord, Basis, CostRecord
from retouch.ledger.terms import Observed
from retouch.manifest import Price
from retouch.money import EXACT, Money, exact

_MILLION = Decimal(1_000_000)
NOTHING_OBSERVED = Observed()


class Counted(Protocol):
    """What a server counted: a Usage, or a UsageRecord of the ledger."""

    @property
    def input_tokens(self) -> int | None: ...
    @property
    def output_tokens(self) -> int | None: ...
    @property
    def text_tokens(self) -> int | None: ...
    @property
    def image_tokens(self) -> int | None: ...
    @property
    def images(self) -> int | None: ...


def cost_of(usage: Usage, pictures: int, job: Job, price: Price | None) -> CostRecord | None:
    """The cost of an answered Attempt; None where the model is unpriced or too little was counted.

    `pictures` is how many pictures the reply held; `usage.images` (Kling's `quantity`) wins.
    """
    return (
        None
        if price is None
        else cost_at(price, usage, pictures, job.terms.size, job.terms.quality)
    )


def cost_at(
    price: Price, usage: Counted, pictures: int, size: str | None, quality: str | None
) -> CostRecord | None:
    """What `usage` costs at `price` for a Job that asked for this size and quality."""
    with localcontext(EXACT):
        amount = price.per_request or Decimal(0)
        basis: Basis = "none" if price.per_request is None else "request"
        per_image = price.image_amount(size, quality)
        if per_image is not None:
            amount += per_image * (pictures if usage.images is None else usage.images)
            basis = "images"
        for per_million, tokens in _token_prices(price, usage):
            if tokens is None:
                return None
            amount += per_million * tokens / _MILLION
            basis = "tokens"
    return CostRecord(amount=exact(amount), currency=price.currency, basis=basis, price=price.name)


def in_batch(cost: CostRecord, price: Price) -> CostRecord:
    """What a cost at `price` would be as part of a batch: its discount off the whole amount.

    Nothing here sends batches, so that no ceiling or estimate counts on it: it answers what a
    batch would have saved.
    """
    with localcontext(EXACT):
        amount = cost.money.amount * (1 - (price.batch_discount or Decimal(0)))
    return CostRecord(
        amount=exact(amount), currency=cost.currency, basis=cost.basis, price=cost.price
    )


def _token_prices(price: Price, usage: Counted) -> Iterator[tuple[Decimal, int | None]]:
    """Each price a million with the count it applies to."""
    for per_million, tokens in (
        (price.input_per_million, usage.input_tokens),
        (price.text_input_per_million, usage.text_tokens),
        (price.image_input_per_million, usage.image_tokens),
        (price.output_per_million, usage.output_tokens),
    ):
        if per_million is not None:
            yield per_million, tokens


def ceiling_of(
    job: Job,
    price: Price | None,
    capabilities: Capabilities,
    observed: Observed | None = None,
) -> Money | None:
    """The most one Attempt of `job` may cost; None where that cannot be said.

    Prompt tokens are at most its UTF-8 bytes (byte-level tokenisers); pictures and output are
    bounded by the price's own ceilings, else by the dialect's table. Where more was `observed`
    than these say, that is the bound.
    """
    if price is None:
        return None
    seen = observed or NOTHING_OBSERVED
    with localcontext(EXACT):
        per_image = price.image_amount(job.terms.size, job.terms.quality) or Decimal(0)
        amount = (price.per_request or Decimal(0)) + per_image * job.images_wanted
        if price.states_input:
            tokens = _input_ceiling(job, price, capabilities.tokens)
            if tokens is None:
                return None
            amount += dearest_input(price) * max(tokens, seen.input_tokens) / _MILLION
        if price.output_per_million is not None:
            each = _output_ceiling(price, capabilities.tokens)
            if each is None:
                return None
            tokens = max(each, seen.output_tokens_per_image) * job.images_wanted
            amount += price.output_per_million * tokens / _MILLION
    return Money(amount, price.currency)


def has_ceiling(price: Price, tokens: TokenEstimate | None) -> bool:
    """Whether a ceiling can be said for every Job at this price."""
    input_known = price.ceiling_input_tokens is not None or tokens is not None
    output_known = price.ceiling_output_tokens_per_image is not None or tokens is not None
    needs_output = price.output_per_million is not None
    return (input_known or not price.states_input) and (output_known or not needs_output)


def dearest_input(price: Price) -> Decimal:
    """The highest price of a million input tokens of any kind; 0 where input has none."""
    kinds = (
        price.input_per_million,
        price.text_input_per_million,
        price.image_input_per_million,
    )
    return max((each for each in kinds if each is not None), default=Decimal(0))


def _output_ceiling(price: Price, estimate: TokenEstimate | None) -> int | None:
    if price.ceiling_output_tokens_per_image is not None:
        return price.ceiling_output_tokens_per_image
    return estimate.ceiling_output_per_image if estimate else None


def _input_ceiling(job: Job, price: Price, estimate: TokenEstimate | None) -> int | None:
    if price.ceiling_input_tokens is not None:
        return price.ceiling_input_tokens
    if estimate is None:
        return None
    pictures = len(job.pictures) + (job.source.mask is not None)
    return len(job.prompt.text.encode()) + pictures * estimate.ceiling_input_per_image


def as_amount(money: Money | None) -> AmountRecord | None:
    """Money as the ledger writes it."""
    if money is None:
        return None
    return AmountRecord(amount=exact(money.amount), currency=money.currency)
