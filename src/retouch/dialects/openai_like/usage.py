"""What a reply says it counted, and which of it can be true.

A count that cannot be true is not a count: a picture of no output tokens, input and output of
nothing beside another total, a negative or a fraction. It is left out, and said; the charge is
then unknown up to its ceiling, which is more honest than a sum of nothing (DESIGN §10).
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, InvalidOperation

from retouch.dialects.base import Usage
from retouch.dialects.openai_like.documents import (
    Document,
    clean,
    count_in,
    object_in,
    repr_of,
    text_in,
)
from retouch.money import Money

DEFAULT_CURRENCY = "USD"  # of `usage.cost`, which OpenRouter and its kind state without one
MOST_STATED = Decimal(10) ** 9


def usage_in(document: Document, warnings: list[str], *, images: int | None = None) -> Usage:
    """The tokens an OpenAI-like `usage` object states; null members mean nothing was said."""
    stated = document.get("usage")
    if not isinstance(stated, dict):
        if stated is not None:
            warnings.append("the reply's usage is not an object")
        return Usage(images=images)
    given = _details(stated, "input_tokens_details", "prompt_tokens_details")
    made = _details(stated, "output_tokens_details", "completion_tokens_details")
    cached = object_in(given, "cached_tokens_details")
    drawn = object_in(document, "svg_usage")
    return Usage(
        input_tokens=_count(stated, warnings, "input_tokens", "prompt_tokens"),
        output_tokens=_count(stated, warnings, "output_tokens", "completion_tokens"),
        total_tokens=count_in(stated, "total_tokens", warnings),
        text_tokens=count_in(given, "text_tokens", warnings),
        image_tokens=count_in(given, "image_tokens", warnings),
        images=images,
        cached_tokens=count_in(given, "cached_tokens", warnings),
        reasoning_tokens=count_in(made, "reasoning_tokens", warnings),
        text_output_tokens=count_in(made, "text_tokens", warnings),
        image_output_tokens=count_in(made, "image_tokens", warnings),
        cached_text_tokens=count_in(cached, "text_tokens", warnings),
        cached_image_tokens=count_in(cached, "image_tokens", warnings),
        svg_input_tokens=count_in(drawn, "input_tokens", warnings),
        svg_output_tokens=count_in(drawn, "output_tokens", warnings),
        stated=_stated(stated, warnings),
    )


def credible(usage: Usage, pictures: int, warnings: list[str]) -> Usage:
    """The counts that can be true of a reply with so many pictures; what is left out is said."""
    usage = _whole(usage, pictures, warnings)
    if pictures and usage.images == 0:
        warnings.append("the reply counts no picture and holds some: not believed")
        usage = replace(usage, images=None)
    return _by_kind(usage, warnings)


def _whole(usage: Usage, pictures: int, warnings: list[str]) -> Usage:
    """Input, output and total as far as they go together."""
    given, made, total = usage.input_tokens, usage.output_tokens, usage.total_tokens
    if given == made == 0 and (total or pictures):
        warnings.append("the reply's usage counts nothing: not believed")
        return replace(usage, input_tokens=None, output_tokens=None)
    if pictures and made == 0:
        warnings.append("the reply's usage counts no output for its pictures: not believed")
        return replace(usage, output_tokens=None)
    if given is not None and made is not None and total is not None and total > given + made:
        rest = total - given - made
        warnings.append(f"{rest} tokens of the total are neither input nor output: thinking")
        thought = rest if usage.reasoning_tokens is None else usage.reasoning_tokens
        return replace(usage, output_tokens=made + rest, reasoning_tokens=thought)
    return usage


def _by_kind(usage: Usage, warnings: list[str]) -> Usage:
    """Without kinds that do not fit into their whole."""
    text, image = usage.text_tokens, usage.image_tokens
    if None not in (text, image, usage.input_tokens) and (text or 0) + (image or 0) != (
        usage.input_tokens
    ):
        warnings.append("the reply's kinds of input are not its input: not believed")
        usage = replace(usage, text_tokens=None, image_tokens=None)
    if (usage.cached_tokens or 0) > (usage.input_tokens or 0):
        warnings.append("the reply counts more cached than input: not believed")
        usage = replace(usage, cached_tokens=None)
    if (usage.cached_text_tokens or 0) > (usage.text_tokens or 0) or (
        usage.cached_image_tokens or 0
    ) > (usage.image_tokens or 0):
        warnings.append("the reply's kinds of cached input are not its input: not believed")
        usage = replace(usage, cached_text_tokens=None, cached_image_tokens=None)
    kinds = (usage.text_output_tokens or 0) + (usage.image_output_tokens or 0)
    is_split = usage.text_output_tokens is not None or usage.image_output_tokens is not None
    whole = usage.output_tokens
    if is_split and whole is not None and (kinds > whole or (kinds == 0 and whole)):
        warnings.append("the reply's kinds of output are not its output: not believed")
        return replace(usage, text_output_tokens=None, image_output_tokens=None)
    return usage


def _details(stated: Document, *names: str) -> Document:
    return next((found for name in names if (found := object_in(stated, name))), {})


def _count(stated: Document, warnings: list[str], name: str, other: str) -> int | None:
    """The count of this name; where it is missing or 0, that of the other."""
    counted = count_in(stated, name, warnings)
    return counted or count_in(stated, other, warnings) or counted


def _stated(stated: Document, warnings: list[str]) -> Money | None:
    """The cost that the server states itself."""
    value = stated.get("cost")
    if value is None or isinstance(value, dict | list | bool):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount <= MOST_STATED:
        warnings.append(f"the reply's cost is no amount: {clean(repr_of(value), 40)}")
        return None
    return Money(amount, _currency(text_in(stated, "currency")))


def _currency(text: str) -> str:
    is_code = len(text) == len(DEFAULT_CURRENCY) and text.isascii() and text.isalpha()
    return text.upper() if is_code else DEFAULT_CURRENCY
