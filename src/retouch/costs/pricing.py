"""What an Attempt cost, and the most it can cost; Decimal throughout, rounded only when shown.

A cost is worked out only from what the server counted. Where it counted nothing that the price
needs, there is no cost, and the Charge stays unknown up to its ceiling: never a guess shown as a
fact (DESIGN §2, promise 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Protocol

from retouch.dialects.base import Capabilities, TokenEstimate, Usage
from retouch.job import Job, Terms
from retouch.ledger.records import AmountRecord, Basis, CostRecord, FileRecord
from retouch.ledger.terms import Observed
from retouch.manifest import Price, Sides, sides_in
from retouch.money import EXACT, Money, exact

_MILLION = Decimal(1_000_000)
NOTHING_OBSERVED = Observed()


class Counted(Protocol):
    """What a server counted: a Usage, or a UsageRecord of the ledger."""

    @property
    def input_tokens(self) -> int | None: ...
    @property
    def cached_tokens(self) -> int | None: ...
    @property
    def output_tokens(self) -> int | None: ...
    @property
    def reasoning_tokens(self) -> int | None: ...
    @property
    def text_output_tokens(self) -> int | None: ...
    @property
    def image_output_tokens(self) -> int | None: ...
    @property
    def text_tokens(self) -> int | None: ...
    @property
    def image_tokens(self) -> int | None: ...
    @property
    def images(self) -> int | None: ...
    @property
    def cached_text_tokens(self) -> int | None: ...
    @property
    def cached_image_tokens(self) -> int | None: ...
    @property
    def svg_input_tokens(self) -> int | None: ...
    @property
    def svg_output_tokens(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Delivered:
    """The pictures of a reply: how many came, of how many asked for (None: not known), and the
    sides of those that were measured, in their order."""

    count: int
    wanted: int | None = None
    sides: tuple[Sides, ...] = ()

    def billed(self, counted: int | None) -> int | None:
        """How many are billed: as the server counts; else all, where as many came as were asked
        for. None: nobody can say."""
        if counted is not None:
            return counted
        return self.count if self.wanted in (None, self.count) else None


def delivered(files: Iterable[FileRecord], count: int, wanted: int | None = None) -> Delivered:
    """The pictures of a reply of which `files` were kept."""
    return Delivered(count, wanted, tuple((file.width, file.height) for file in files))


def cost_of(usage: Usage, pictures: Delivered, job: Job, price: Price | None) -> CostRecord | None:
    """The cost of an answered Attempt; None where the model is unpriced or too little was counted.

    `usage.images` (Kling's `quantity`) wins over the pictures that came.
    """
    return (
        None
        if price is None
        else cost_at(price, usage, pictures, job.terms.size, job.terms.quality)
    )


def least_of(usage: Usage, pictures: Delivered, job: Job, price: Price | None) -> Money | None:
    """The least an answered Attempt cost that is paid by the picture, where nobody counted how
    many: those that came (DESIGN §10). None: that cannot be said either, or is nothing."""
    if price is None or usage.images is not None:
        return None
    came = Delivered(pictures.count, None, pictures.sides)
    cost = cost_at(price, usage, came, job.terms.size, job.terms.quality)
    return cost.money if cost is not None and cost.money.amount else None


def cost_at(
    price: Price, usage: Counted, pictures: Delivered, size: str | None, quality: str | None
) -> CostRecord | None:
    """What `usage` costs at `price` for a Job that asked for this size and quality."""
    with localcontext(EXACT):
        amount = price.per_request or Decimal(0)
        basis: Basis = "none" if price.per_request is None else "request"  # `none`: local
        if price.per_image is not None or price.per_megapixel is not None:
            billed = pictures.billed(usage.images)
            made = (
                None if billed is None else picture_amount(price, billed, pictures, size, quality)
            )
            if made is None:
                return None
            amount += made
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


def picture_amount(
    price: Price, billed: int, pictures: Delivered, size: str | None, quality: str | None
) -> Decimal | None:
    """What so many pictures cost, each by the size it came in; None: one was not measured."""
    seen = pictures.sides[:billed]
    amount = Decimal(0)
    # What was not measured is taken to have come as asked for.
    for sides, count in (*((each, 1) for each in seen), (sides_in(size), billed - len(seen))):
        amount += (price.image_amount(size, quality, sides) or Decimal(0)) * count
        if price.per_megapixel is not None and count:
            if sides is None:
                return None
            amount += price.per_megapixel * sides[0] * sides[1] / _MILLION * count
    return amount


def _token_prices(price: Price, usage: Counted) -> Iterator[tuple[Decimal, int | None]]:
    """Each price a million with the count it applies to."""
    if price.tiers:
        yield from _by_tier(price, usage)
    cached = (usage.cached_tokens or 0) if price.cached_input_per_million is not None else 0
    fresh = None if usage.input_tokens is None else usage.input_tokens - cached
    for per_million, tokens in (
        (price.input_per_million, fresh),
        (price.cached_input_per_million, cached),
    ):
        if per_million is not None:
            yield per_million, tokens
    yield from _input_kinds(price, usage)
    yield from _output_prices(price, usage)
    yield from _svg_prices(price, usage)


def _input_kinds(price: Price, usage: Counted) -> Iterator[tuple[Decimal, int | None]]:
    """Text and pictures apart; what came from the cache apart too, where that has prices. Then
    cached tokens whose kind was not counted leave the cost unknown."""
    for whole, of_cache, tokens, hit in (
        (price.text_input_per_million, price.cached_text_input_per_million,
         usage.text_tokens, usage.cached_text_tokens),
        (price.image_input_per_million, price.cached_image_input_per_million,
         usage.image_tokens, usage.cached_image_tokens),
    ):  # fmt: skip
        if whole is None:
            continue
        if of_cache is None or not usage.cached_tokens:
            yield whole, tokens
            continue
        yield whole, None if tokens is None or hit is None else tokens - hit
        yield of_cache, hit


def _svg_prices(price: Price, usage: Counted) -> Iterator[tuple[Decimal, int | None]]:
    """What the author of a drawing counted: it is billed apart, so a price by tokens that does not
    say at what leaves the whole cost unknown."""
    given, made = usage.svg_input_tokens, usage.svg_output_tokens
    if not (given or made) or not price.counts_tokens:
        return
    if price.svg_input_per_million is None or price.svg_output_per_million is None:
        yield Decimal(0), None
        return
    yield price.svg_input_per_million, given
    yield price.svg_output_per_million, made


def _by_tier(price: Price, usage: Counted) -> Iterator[tuple[Decimal, int | None]]:
    given = usage.input_tokens
    for tier in price.tiers:
        if tier.up_to is None or given is None or given <= tier.up_to:
            yield tier.input_per_million, given
            yield tier.output_per_million, usage.output_tokens
            return


def _output_prices(price: Price, usage: Counted) -> Iterator[tuple[Decimal, int | None]]:
    """Output by kind where the price and the server tell kinds apart; what is no picture's is
    text's, thinking too."""
    by_image, by_text = price.image_output_per_million, price.text_output_per_million
    if by_image is None or by_text is None:
        if price.output_per_million is not None:
            yield price.output_per_million, usage.output_tokens
        return
    image, text = usage.image_output_tokens, usage.text_output_tokens
    output = usage.output_tokens
    if output is not None and image is not None:
        yield by_image, image
        yield by_text, output - image
    elif output is not None and text is not None:
        yield by_image, output - text
        yield by_text, text
    else:  # one price for all stands in where kinds were not counted
        yield price.output_per_million or by_image, output if price.output_per_million else None


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a Job bounds its cost: its terms, its text's UTF-8 bytes, its pictures and mask."""

    terms: Terms
    text_bytes: int
    pictures: int

    @classmethod
    def by(cls, job: Job) -> Asked:
        """What a Job asks for."""
        pictures = len(job.pictures) + (job.source.mask is not None)
        return cls(job.terms, len(job.prompt.text.encode()), pictures)


def ceiling_of(
    job: Job,
    price: Price | None,
    capabilities: Capabilities,
    observed: Observed | None = None,
) -> Money | None:
    """The most one Attempt of `job` may cost; None where that cannot be said."""
    return None if price is None else ceiling_for(Asked.by(job), price, capabilities, observed)


def ceiling_for(
    asked: Asked,
    price: Price | None,
    capabilities: Capabilities,
    observed: Observed | None = None,
) -> Money | None:
    """The same for whatever Job asks for this.

    Prompt tokens are at most its UTF-8 bytes (byte-level tokenisers); pictures and output are
    bounded by the price's own ceilings, else by the dialect's table. Where more was `observed`
    than these say, that is the bound.
    """
    if price is None:
        return None
    seen = observed or NOTHING_OBSERVED
    with localcontext(EXACT):
        size, quality = asked.terms.size, asked.terms.quality
        per_image = price.dearest_image(size, quality) or Decimal(0)
        if price.per_megapixel is not None:
            megapixels = _megapixel_ceiling(price, size)
            if megapixels is None:
                return None
            per_image += price.per_megapixel * megapixels
        amount = (price.per_request or Decimal(0)) + per_image * asked.terms.n
        if price.states_input:
            tokens = _input_ceiling(asked, price, capabilities.tokens)
            if tokens is None:
                return None
            given = max(tokens, seen.input_tokens)
            amount += dearest_input(price) * given / _MILLION
            amount += (price.svg_input_per_million or Decimal(0)) * given / _MILLION
        if price.states_output:
            each = _output_ceiling(price, capabilities.tokens)
            if each is None:
                return None
            tokens = max(each, seen.output_tokens_per_image) * asked.terms.n
            amount += dearest_output(price) * tokens / _MILLION
            amount += (price.svg_output_per_million or Decimal(0)) * tokens / _MILLION
    return Money(amount, price.currency)


def has_ceiling(price: Price, tokens: TokenEstimate | None) -> bool:
    """Whether a ceiling can be said for every Job at this price."""
    input_known = price.ceiling_input_tokens is not None or tokens is not None
    output_known = price.ceiling_output_tokens_per_image is not None or tokens is not None
    pixels_known = price.per_megapixel is None or price.ceiling_megapixels_per_image is not None
    return (
        (input_known or not price.states_input)
        and (output_known or not price.states_output)
        and pixels_known
    )


def dearest_input(price: Price) -> Decimal:
    """The highest price of a million input tokens of any kind; 0 where input has none."""
    kinds = (
        price.input_per_million,
        price.text_input_per_million,
        price.image_input_per_million,
        *(tier.input_per_million for tier in price.tiers),
    )
    return max((each for each in kinds if each is not None), default=Decimal(0))


def dearest_output(price: Price) -> Decimal:
    """The highest price of a million output tokens of any kind; 0 where output has none."""
    kinds = (
        price.output_per_million,
        price.image_output_per_million,
        price.text_output_per_million,
        *(tier.output_per_million for tier in price.tiers),
    )
    return max((each for each in kinds if each is not None), default=Decimal(0))


def _megapixel_ceiling(price: Price, size: str | None) -> Decimal | None:
    if price.ceiling_megapixels_per_image is not None:
        return price.ceiling_megapixels_per_image
    sides = sides_in(size)
    return sides[0] * sides[1] / _MILLION if sides else None


def _output_ceiling(price: Price, estimate: TokenEstimate | None) -> int | None:
    if price.ceiling_output_tokens_per_image is not None:
        return price.ceiling_output_tokens_per_image
    return estimate.ceiling_output_per_image if estimate else None


def _input_ceiling(asked: Asked, price: Price, estimate: TokenEstimate | None) -> int | None:
    if price.ceiling_input_tokens is not None:
        return price.ceiling_input_tokens
    if estimate is None:
        return None
    return asked.text_bytes + asked.pictures * estimate.ceiling_input_per_image


def as_amount(money: Money | None) -> AmountRecord | None:
    """Money as the ledger writes it."""
    if money is None:
        return None
    return AmountRecord(amount=exact(money.amount), currency=money.currency)
