"""What models cost: a Price in the manifest, or a price file of dated ones.

Prices are the user's to state: none is built in. Every amount is a Decimal read from the digits
written. A price that leaves out a part of the bill (what output tokens cost, say) is refused:
a cost that is silently too low is worse than none; write 0 for what is free.
"""

from __future__ import annotations

import hashlib
from datetime import date
from decimal import Decimal
from typing import Literal

from pydantic import Field

from retouch.manifest.kinds import Amount, Currency, Day, Fraction, Part, Text


class ImagePrice(Part):
    """What one produced picture costs when its job asks for this size or quality.

    The first of `per_image_by` whose given fields all equal the job's applies; none: `per_image`.
    """

    size: Text | None = Field(
        None,
        description="The job's `size`, `resolution` or `image_size` option, as written there.",
    )
    quality: Text | None = Field(None, description="The job's `quality` option.")
    amount: Amount = Field(description="For one picture of this kind.")


class Price(Part):
    """What a model costs. All that is given adds up; amounts are in `currency`."""

    id: Text | None = Field(
        None,
        description="How records name this price. Default: `price-` and a digest of its terms.",
    )
    currency: Currency = Field(description="ISO 4217 code, like CNY or USD.")
    valid_from: Day | None = Field(
        None, description="First day (UTC) the price holds. Default: always did."
    )
    valid_to: Day | None = Field(
        None, description="Last day (UTC) the price holds. Default: still does."
    )
    input_per_million: Amount | None = Field(
        None, description="For a million input tokens, of whatever kind."
    )
    text_input_per_million: Amount | None = Field(
        None,
        description="For a million text input tokens, where the provider bills these apart. "
        "Goes with `image_input_per_million`, instead of `input_per_million`.",
    )
    image_input_per_million: Amount | None = Field(
        None, description="For a million image input tokens."
    )
    output_per_million: Amount | None = Field(
        None, description="For a million output tokens as the server counts them."
    )
    per_image: Amount | None = Field(None, description="For one produced picture.")
    per_image_by: tuple[ImagePrice, ...] = Field(
        (), description="Where a picture's price depends on its size or quality; first match wins."
    )
    per_request: Amount | None = Field(
        None, description="For one request, however many pictures it makes."
    )
    batch_discount: Fraction | None = Field(
        None,
        description="Share taken off the whole amount when the provider bills a request as part "
        "of a batch: 0.5 is half price. What `retouch report --batch` shows; runs send no batches.",
    )
    typical_input_tokens: int | None = Field(
        None,
        ge=0,
        le=10**9,
        description="Of one request, for estimates where history says nothing.",
    )
    typical_output_tokens_per_image: int | None = Field(
        None, ge=0, le=10**9, description="For estimates where history says nothing."
    )
    ceiling_input_tokens: int | None = Field(
        None, ge=0, le=10**9, description="The most one request may count: what a budget reserves."
    )
    ceiling_output_tokens_per_image: int | None = Field(
        None, ge=0, le=10**9, description="The most one picture may count: what a budget reserves."
    )

    @property
    def name(self) -> str:
        """How records name this price: its id, or a digest that changes with its terms."""
        if self.id is not None:
            return self.id
        terms = self.model_dump_json(exclude={"id"}, exclude_none=True, exclude_defaults=True)
        return f"price-{hashlib.sha256(terms.encode()).hexdigest()[:8]}"

    @property
    def counts_tokens(self) -> bool:
        """Whether the cost depends on the usage the server reports."""
        return self.output_per_million is not None or self.states_input

    @property
    def states_input(self) -> bool:
        """Whether input tokens have a price, whole or by kind."""
        kinds = (self.text_input_per_million, self.image_input_per_million)
        return self.input_per_million is not None or None not in kinds

    def holds_on(self, day: date) -> bool:
        """Whether the price holds on a day (UTC)."""
        return (self.valid_from or date.min) <= day <= (self.valid_to or date.max)

    def image_amount(self, size: str | None, quality: str | None) -> Decimal | None:
        """What one picture of a job with these options costs; None: nothing by the picture."""
        for price in self.per_image_by:
            if price.size in (None, size) and price.quality in (None, quality):
                return price.amount
        return self.per_image


class FilePrice(Price):
    """A price in a price file: it also names its model, and has an id."""

    id: Text = Field(description="How records name this price; unlike any other in the file.")
    model: Text = Field(description="The model it is for, as the manifest names it.")
    source: Text | None = Field(None, description="Where the figures are from, and when.")


class PriceTable(Part):
    """The shape of a price file."""

    version: Literal[1] = Field(description="The version of this format: 1.")
    prices: tuple[FilePrice, ...] = Field(
        min_length=1, description="Each for one model and, if dated, for a span of days."
    )
