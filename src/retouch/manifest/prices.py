"""What models cost: a Price in the manifest, or a price file of dated ones.

Prices are the user's to state: none is built in. Every amount is a Decimal read from the digits
written. A price that leaves out a part of the bill (what output tokens cost, say) is refused:
a cost that is silently too low is worse than none; write 0 for what is free.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from functools import cached_property
from typing import Literal

from pydantic import Field

from retouch.manifest.kinds import Amount, Currency, Fraction, Moment, Part, Text, UtcOffset
from retouch.money import NO_CURRENCY

_SIDES = re.compile(r"(\d{1,6})x(\d{1,6})")
_MEGAPIXEL = Decimal(1_000_000)


class ImagePrice(Part):
    """What one produced picture costs when it is of this size or quality.

    The first of `per_image_by` that fits applies; none: `per_image`. A size in pixels and `up_to`
    look at the picture that was delivered; a word like 2K looks at what the job asked for.
    """

    size: Text | None = Field(
        None,
        description="Width and height as delivered, like 1024x1024; or a word like 2K, as the "
        "job's `size`, `resolution` or `image_size` option has it.",
    )
    quality: Text | None = Field(None, description="The job's `quality` option.")
    up_to: Amount | None = Field(
        None, description="Megapixels (millions of pixels) that the delivered picture may have."
    )
    amount: Amount = Field(description="For one picture of this kind.")

    def fits(self, size: str | None, quality: str | None, sides: Sides | None) -> bool:
        """Whether a picture is of this kind; `sides` None: not delivered, so as asked for."""
        seen = sides or sides_in(size)
        if self.quality not in (None, quality):
            return False
        if self.up_to is not None and (seen is None or _megapixels(seen) > self.up_to):
            return False
        if self.size is None:
            return True
        own = sides_in(self.size)
        return own == seen if own and seen else self.size == size


Sides = tuple[int, int]
"""Width and height in pixels."""


def _stated(part: Part) -> dict[str, object]:
    """What a price states, in the order of its fields: ledgers name prices by a digest of this, so
    that it is ours and no library's to change."""
    given = ((name, field, getattr(part, name)) for name, field in type(part).model_fields.items())
    return {
        name: _plain(value)
        for name, field, value in given
        if value is not None and value != field.default
    }


def _plain(value: object) -> object:
    match value:
        case Part():
            return _stated(value)
        case tuple():
            return [_plain(each) for each in value]
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case Decimal():
            return str(value)
    return value


def sides_in(size: str | None) -> Sides | None:
    """`1024x768` as width and height; None for what is a word."""
    found = _SIDES.fullmatch(size or "")
    return (int(found[1]), int(found[2])) if found else None


def _megapixels(sides: Sides) -> Decimal:
    return sides[0] * sides[1] / _MEGAPIXEL


class TokenTier(Part):
    """Token prices of requests with at most so many input tokens."""

    up_to: int | None = Field(
        None, ge=1, le=10**9, description="Input tokens of one request. None in the last tier."
    )
    input_per_million: Amount = Field(description="For a million input tokens.")
    output_per_million: Amount = Field(description="For a million output tokens.")


class Price(Part):
    """What a model costs. All that is given adds up; amounts are in `currency`."""

    id: Text | None = Field(
        None,
        description="How records name this price. Default: `price-` and a digest of its terms.",
    )
    local: Literal[True] | None = Field(
        None,
        description="The server is your own and charges nothing: the cost is `none: local`, and "
        "is never called unpriced. Stands alone, without a currency.",
    )
    currency: Currency = Field(
        NO_CURRENCY,
        description="ISO 4217 code, like CNY or USD. Left out with `local` alone.",
    )
    valid_from: Moment | None = Field(
        None,
        description="First day the price holds, from its midnight in the price file's "
        "`utc_offset`; or an instant. Default: always did.",
    )
    valid_to: Moment | None = Field(
        None,
        description="Last day the price holds, to its end; or the instant at which it does no "
        "more. Default: still does.",
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
    cached_input_per_million: Amount | None = Field(
        None,
        description="For a million input tokens that the server took from its cache. "
        "Goes with `input_per_million`, which is for the rest.",
    )
    cached_text_input_per_million: Amount | None = Field(
        None,
        description="For a million text input tokens from the cache. Goes with the two input "
        "prices by kind and with `cached_image_input_per_million`.",
    )
    cached_image_input_per_million: Amount | None = Field(
        None, description="For a million image input tokens from the cache."
    )
    image_output_per_million: Amount | None = Field(
        None,
        description="For a million output tokens of pictures, where the provider bills output by "
        "kind. Goes with `text_output_per_million`.",
    )
    text_output_per_million: Amount | None = Field(
        None, description="For a million output tokens of text and thinking."
    )
    svg_input_per_million: Amount | None = Field(
        None,
        description="For a million input tokens of the model that writes SVG drawings, which the "
        "provider counts and bills apart. Goes with `svg_output_per_million`.",
    )
    svg_output_per_million: Amount | None = Field(
        None, description="For a million output tokens of that model, its reasoning included."
    )
    tiers: tuple[TokenTier, ...] = Field(
        (),
        description="Token prices by a request's input tokens, the smallest `up_to` first; "
        "instead of `input_per_million` and `output_per_million`.",
    )
    per_image: Amount | None = Field(None, description="For one produced picture.")
    per_image_by: tuple[ImagePrice, ...] = Field(
        (), description="Where a picture's price depends on its size or quality; first match wins."
    )
    per_megapixel: Amount | None = Field(
        None, description="For a million pixels of the pictures delivered."
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

    ceiling_megapixels_per_image: Amount | None = Field(
        None, description="The most one picture may have, for budgets with `per_megapixel`."
    )

    @cached_property
    def name(self) -> str:
        """How records name this price: its id, or a digest that changes with its terms."""
        if self.id is not None:
            return self.id
        if self.local:
            return "local"
        terms = json.dumps(_stated(self), ensure_ascii=False, separators=(",", ":"))
        return f"price-{hashlib.sha256(terms.encode()).hexdigest()[:8]}"

    @property
    def counts_tokens(self) -> bool:
        """Whether the cost depends on the usage the server reports."""
        return self.states_output or self.states_input

    @property
    def states_output(self) -> bool:
        """Whether output tokens have a price, whole or by kind."""
        kinds = (self.output_per_million, self.image_output_per_million)
        return any(kind is not None for kind in kinds) or bool(self.tiers)

    @property
    def states_input(self) -> bool:
        """Whether input tokens have a price, whole or by kind."""
        kinds = (self.text_input_per_million, self.image_input_per_million)
        return self.input_per_million is not None or None not in kinds or bool(self.tiers)

    def begins(self, zone: tzinfo = UTC) -> datetime:
        """The first instant at which it holds; days are those of `zone`."""
        return _instant(self.valid_from, zone) if self.valid_from else _ALWAYS

    def ends(self, zone: tzinfo = UTC) -> datetime:
        """The first instant at which it holds no more."""
        if self.valid_to is None:
            return _NEVER
        whole_day = timedelta(0) if isinstance(self.valid_to, datetime) else timedelta(days=1)
        return _instant(self.valid_to, zone) + whole_day

    def holds_at(self, moment: datetime, zone: tzinfo = UTC) -> bool:
        """Whether the price holds at an instant."""
        return self.begins(zone) <= moment < self.ends(zone)

    def image_amount(
        self, size: str | None, quality: str | None, sides: Sides | None = None
    ) -> Decimal | None:
        """What one picture costs, delivered with these sides (None: as asked for) for a job with
        these options; None: nothing by the picture."""
        for price in self.per_image_by:
            if price.fits(size, quality, sides):
                return price.amount
        return self.per_image

    def dearest_image(self, size: str | None, quality: str | None) -> Decimal | None:
        """The most that one picture may cost: a size that no price names may come as any."""
        named = {each.size for each in self.per_image_by} - {None}
        if self.per_image is None or not self.per_image_by or size in named:
            return self.image_amount(size, quality)
        fitting = (each for each in self.per_image_by if each.quality in (None, quality))
        return max((self.per_image, *(each.amount for each in fitting)))


_ALWAYS = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)


def _instant(moment: date | datetime, zone: tzinfo) -> datetime:
    if isinstance(moment, datetime):
        return moment
    return datetime.combine(moment, time(), zone)


class FilePrice(Price):
    """A price in a price file: it also names its model, and has an id."""

    id: Text = Field(description="How records name this price; unlike any other in the file.")
    model: Text = Field(description="The model it is for, as the manifest names it.")
    source: Text | None = Field(None, description="Where the figures are from, and when.")


class PriceTable(Part):
    """The shape of a price file."""

    version: Literal[1] = Field(description="The version of this format: 1.")
    utc_offset: UtcOffset | None = Field(
        None,
        description='The provider\'s days, like "+08:00" for China: days of prices begin and end '
        "at midnight there, and reviews take them for theirs. Default: UTC.",
    )
    prices: tuple[FilePrice, ...] = Field(
        min_length=1, description="Each for one model and, if dated, for a span of days."
    )
