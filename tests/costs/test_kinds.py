"""What of a charge was for which kind: the parts are the whole, or no part has an amount."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retouch.costs.kinds import parts_of
from retouch.costs.pricing import Delivered, cost_at
from retouch.dialects.base import Usage
from retouch.manifest import Price, TokenTier

ONE = Delivered(1, 1, ((1024, 1024),))
BY_KIND = {"image_output_per_million": Decimal(120), "text_output_per_million": Decimal(12)}
CACHES = {
    "text_input_per_million": Decimal(5), "image_input_per_million": Decimal(10),
    "cached_text_input_per_million": Decimal("1.25"),
    "cached_image_input_per_million": Decimal("2.5"),
}  # fmt: skip


def price(**said: Any) -> Price:
    return Price(currency="USD", **said)


def amounts(usage: Usage, at: Price | None, charged: str | None = None) -> dict[str, str | None]:
    """The amount of each kind, at what the price makes of the usage."""
    cost = cost_at(at, usage, ONE, None, None) if at else None
    paid = Decimal(charged) if charged else cost.money.amount if cost else None
    return {
        each.kind: None if each.amount is None else f"{each.amount.normalize():f}"
        for each in parts_of(usage, ONE, at, paid)
    }


@pytest.mark.parametrize(
    ("usage", "at", "expected"),
    [
        # ai.google.dev/pricing, gemini-3-pro-image: thinking is billed as text, beside the picture
        (Usage(input_tokens=600, output_tokens=1400, image_output_tokens=1120,
               reasoning_tokens=250),
         price(input_per_million=Decimal(2), **BY_KIND),
         {"input": "0.0012", "image_output": "0.1344", "thinking_output": "0.003",
          "text_output": "0.00036"}),
        # platform.openai.com/docs/pricing, gpt-image-1: four prices of input
        (Usage(input_tokens=1000, text_tokens=400, image_tokens=600, cached_tokens=500,
               cached_text_tokens=200, cached_image_tokens=300, output_tokens=1000),
         price(output_per_million=Decimal(40), **CACHES),
         {"text_input": "0.001", "image_input": "0.003", "cached_text_input": "0.00025",
          "cached_image_input": "0.00075", "output": "0.04"}),
        (Usage(input_tokens=1000, cached_tokens=400, output_tokens=10, reasoning_tokens=4),
         price(input_per_million=Decimal(1), cached_input_per_million=Decimal("0.1"),
               output_per_million=Decimal(10)),
         {"input": "0.0006", "cached_input": "0.00004", "output": "0.00006",
          "thinking_output": "0.00004"}),
        (Usage(input_tokens=300, output_tokens=100, text_output_tokens=30),
         price(tiers=(TokenTier(up_to=200, input_per_million=Decimal(1),
                                output_per_million=Decimal(2)),
                      TokenTier(input_per_million=Decimal(3), output_per_million=Decimal(4)))),
         {"input": "0.0009", "image_output": "0.00028", "text_output": "0.00012"}),
        (Usage(images=2), price(per_image=Decimal("0.2"), per_request=Decimal("0.01")),
         {"images": "0.4", "request": "0.01"}),
        (Usage(input_tokens=9, output_tokens=5), price(per_image=Decimal("0.2")),
         {"input": "0", "output": "0", "images": "0.2"}),
    ],
)  # fmt: skip
def test_each_kind_has_its_part(usage: Usage, at: Price, expected: dict[str, str]) -> None:
    assert amounts(usage, at) == expected


def test_without_the_price_of_the_charge_no_part_has_an_amount() -> None:
    """Another sum than was charged, or no price: the tokens are told apart, the money is not."""
    usage = Usage(input_tokens=600, output_tokens=1400, image_output_tokens=1120)
    at = price(input_per_million=Decimal(2), **BY_KIND)
    assert set(amounts(usage, at, charged="0.2").values()) == {None}
    assert set(amounts(usage, None, charged="0.2").values()) == {None}
    assert set(amounts(usage, None, charged="0").values()) == {None}


def test_where_one_part_has_no_price_no_part_has_an_amount() -> None:
    """Also where the others come to what the user says was charged."""
    usage = Usage(input_tokens=600, output_tokens=10)
    at = price(per_request=Decimal("0.2"), output_per_million=Decimal(0), **CACHES)
    assert amounts(usage, at, charged="0.2") == {"input": None, "output": None}
    free = Usage(output_tokens=10)
    assert amounts(free, at, charged="0.2") == {"request": "0.2", "output": "0"}


counts = st.none() | st.integers(0, 3000)
COUNTED = (
    "input_tokens", "output_tokens", "total_tokens", "cached_tokens", "text_tokens", "image_tokens",
    "cached_text_tokens", "cached_image_tokens", "reasoning_tokens", "svg_input_tokens",
    "svg_output_tokens", "images",
)  # fmt: skip
PRICES = (
    price(input_per_million=Decimal(2), **BY_KIND),
    price(input_per_million=Decimal(2), output_per_million=Decimal(9), **BY_KIND),
    price(output_per_million=Decimal(40), **CACHES),
    price(input_per_million=Decimal(2), cached_input_per_million=Decimal("0.2")),
    price(output_per_million=Decimal(7), per_image=Decimal("0.1")),
    price(per_megapixel=Decimal("0.03"), per_request=Decimal("0.01")),
    price(input_per_million=Decimal(1), output_per_million=Decimal(3),
          svg_input_per_million=Decimal(4), svg_output_per_million=Decimal(5)),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(COUNTED, counts)), st.sampled_from(PRICES), st.data())
def test_the_parts_are_the_whole(
    said: dict[str, int | None], at: Price, data: st.DataObject
) -> None:
    """Over any counts at any price: every token is in one part, and the amounts are the cost."""
    made = said["output_tokens"]
    told = data.draw(st.sampled_from(["image_output_tokens", "text_output_tokens", ""]))
    if made is not None and told:
        said[told] = data.draw(st.integers(0, made))
    usage = Usage(**said)  # type: ignore[arg-type]
    cost = cost_at(at, usage, ONE, None, None)
    parts = parts_of(usage, ONE, at, cost.money.amount if cost else None)
    assert sum(each.input_tokens for each in parts) == (usage.input_tokens or 0)
    assert sum(each.output_tokens for each in parts) == (made or 0)
    has_amount = {each.amount is not None for each in parts}
    assert len(has_amount) <= 1
    if has_amount == {True}:
        assert cost is not None
        assert sum((each.amount or Decimal(0) for each in parts), Decimal(0)) == cost.money.amount
