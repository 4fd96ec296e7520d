"""What of a charge was for which kind of thing: text, pictures and thinking, in and out, the cache.

The counts are split as far as the server told them apart; the amount only where the parts, each at
its own price, come to what was charged to the last digit. Nothing is shared out by a guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from itertools import chain

from retouch.costs.pricing import Counted, Delivered, picture_amount
from retouch.manifest import Price
from retouch.money import EXACT

NOT_TOLD_APART = "not_told_apart"
_MILLION = Decimal(1_000_000)
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Part:
    """What one kind has of a charge: tokens in or out, pictures, and its amount; None: that is
    not known."""

    kind: str
    input_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    amount: Decimal | None = None


def parts_of(
    usage: Counted,
    pictures: Delivered,
    price: Price | None,
    charged: Decimal | None,
    asked: tuple[str | None, str | None] = (None, None),
) -> list[Part]:
    """The parts of a charge of so much, made for a Job that asked for this size and quality.

    Without a price, or where the parts come to another sum than what was charged, none has an
    amount.
    """
    with localcontext(EXACT):
        of_tokens = list(chain(_inputs(usage, price), _outputs(usage, price)))
        if price is None:
            parts = of_tokens
        else:
            parts = [*of_tokens, *_others(usage, pictures, price, asked)]
        if not any(each.images for each in parts):
            came = pictures.count if usage.images is None else usage.images
            parts = [_with_images(each, came) for each in parts]
        amounts = [each.amount for each in parts]
        known = [each for each in amounts if each is not None]
        if charged is None or len(known) < len(amounts) or sum(known, _ZERO) != charged:
            parts = [_without_amount(each) for each in parts]
    return [
        each for each in parts
        if each.input_tokens or each.output_tokens or each.images or each.amount
    ]  # fmt: skip


def _without_amount(part: Part) -> Part:
    return replace(part, amount=None)


def _with_images(part: Part, came: int) -> Part:
    """Pictures that are paid by tokens stand where the tokens of pictures do."""
    is_theirs = part.kind == "image_output" and part.output_tokens
    return replace(part, images=came) if is_theirs else part


def _inputs(usage: Counted, price: Price | None) -> Iterator[Part]:
    given = usage.input_tokens
    if given is None:
        return
    rates = _input_rates(price, given)
    cached = min(usage.cached_tokens or 0, given)
    text, image = usage.text_tokens, usage.image_tokens
    of_text, of_image = usage.cached_text_tokens, usage.cached_image_tokens
    if text is None or image is None or text + image != given:
        counts = {"input": given - cached, "cached_input": cached}
    elif not cached:
        counts = {"text_input": text, "image_input": image}
    elif of_text is None or of_image is None or of_text + of_image != cached:
        counts = {"input": given - cached, "cached_input": cached}
    else:
        counts = {
            "text_input": text - of_text, "image_input": image - of_image,
            "cached_text_input": of_text, "cached_image_input": of_image,
        }  # fmt: skip
    for kind, tokens in counts.items():
        yield Part(kind, input_tokens=tokens, amount=_at(rates.get(kind), tokens))


def _input_rates(price: Price | None, given: int) -> Mapping[str, Decimal | None]:
    """What a million tokens of each kind of input cost; a kind that is not there has no price."""
    if price is None:
        return {}
    if not price.states_input:
        return dict.fromkeys(_INPUTS, _ZERO)
    tier = next((each for each in price.tiers if each.up_to is None or given <= each.up_to), None)
    if tier is not None:
        return dict.fromkeys(_INPUTS, tier.input_per_million)
    if price.input_per_million is not None:
        hit = price.cached_input_per_million
        cached = price.input_per_million if hit is None else hit
        return {
            kind: cached if kind.startswith("cached") else price.input_per_million
            for kind in _INPUTS
        }
    text, image = price.text_input_per_million, price.image_input_per_million
    of_text, of_image = price.cached_text_input_per_million, price.cached_image_input_per_million
    return {
        "text_input": text, "image_input": image,
        "cached_text_input": text if of_text is None else of_text,
        "cached_image_input": image if of_image is None else of_image,
    }  # fmt: skip


_INPUTS = (
    "input", "text_input", "image_input", "cached_input", "cached_text_input", "cached_image_input",
)  # fmt: skip


def _outputs(usage: Counted, price: Price | None) -> Iterator[Part]:
    made, image, text = usage.output_tokens, usage.image_output_tokens, usage.text_output_tokens
    if made is None:
        return
    if image is None and text is not None:
        image = made - text
    worded = made if image is None else made - image
    thought = min(usage.reasoning_tokens or 0, worded)
    words = "output" if image is None else "text_output"
    by_image, by_text = _output_rates(usage, price, is_told=image is not None)
    for kind, tokens, rate in (
        ("image_output", image or 0, by_image),
        ("thinking_output", thought, by_text),
        (words, worded - thought, by_text),
    ):
        yield Part(kind, output_tokens=tokens, amount=_at(rate, tokens))


def _output_rates(
    usage: Counted, price: Price | None, *, is_told: bool
) -> tuple[Decimal | None, Decimal | None]:
    """What a million output tokens cost: a picture's, and the others."""
    if price is None:
        return None, None
    if not price.states_output:
        return _ZERO, _ZERO
    given = usage.input_tokens
    for tier in price.tiers:
        if tier.up_to is None or given is None or given <= tier.up_to:
            return tier.output_per_million, tier.output_per_million
    by_image, by_text = price.image_output_per_million, price.text_output_per_million
    if is_told and by_image is not None and by_text is not None:
        return by_image, by_text
    return price.output_per_million, price.output_per_million


def _others(
    usage: Counted, pictures: Delivered, price: Price, asked: tuple[str | None, str | None]
) -> Iterator[Part]:
    """What is not paid by the tokens of the model itself."""
    if price.per_request is not None:
        yield Part("request", amount=price.per_request)
    if price.per_image is not None or price.per_megapixel is not None:
        billed = pictures.billed(usage.images)
        amount = None if billed is None else picture_amount(price, billed, pictures, *asked)
        yield Part("images", images=billed or 0, amount=amount)
    for kind, tokens, rate in (
        ("svg_input", usage.svg_input_tokens, price.svg_input_per_million),
        ("svg_output", usage.svg_output_tokens, price.svg_output_per_million),
    ):
        if tokens and price.counts_tokens:
            yield Part(kind, amount=_at(rate, tokens))


def _at(rate: Decimal | None, tokens: int) -> Decimal | None:
    """What so many tokens cost; without a price, nothing where there are none."""
    if rate is None:
        return None if tokens else _ZERO
    return rate * tokens / _MILLION
