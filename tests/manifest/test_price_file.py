"""Price files: what they say, and what is said about bad ones."""

from __future__ import annotations

import hashlib
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retouch.errors import InputRefused
from retouch.manifest import Price, load_prices

GOOD = """
version: 1
prices:
  - id: gemini/2025-10
    model: gemini-2.5-flash-image
    source: https://example.com/pricing, 2025-10-02
    currency: USD
    valid_from: 2025-10-02
    text_input_per_million: 0.30
    image_input_per_million: 0.30
    output_per_million: 30
    typical_output_tokens_per_image: 1290
    batch_discount: 0.5
  - id: gpt/2025
    model: openai/gpt-image-2
    currency: USD
    valid_to: "2025-12-31"
    per_image: 0.17
    per_image_by:
      - {size: 1024x1024, quality: low, amount: 0.01}
      - {quality: low, amount: 0.02}
    per_request: 0.001
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "prices.yaml"
    path.write_text(text)
    return path


def test_price_file_keeps_what_it_says(tmp_path: Path) -> None:
    """Amounts are exact, days are days, and the digest is the file's."""
    file = load_prices(written(tmp_path, GOOD))
    gemini, gpt = file.prices
    assert str(gemini.text_input_per_million) == "0.30"
    assert str(gemini.valid_from) == "2025-10-02"
    assert str(gpt.valid_to) == "2025-12-31"
    assert file.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()
    assert (gemini.counts_tokens, gpt.counts_tokens) == (True, False)
    assert file.currencies["openai/gpt-image-2"] == {"USD"}


@pytest.mark.parametrize(
    ("size", "quality", "amount"),
    [
        ("1024x1024", "low", "0.01"),
        ("512x512", "low", "0.02"),
        (None, "low", "0.02"),
        ("1024x1024", "high", "0.17"),
        (None, None, "0.17"),
    ],
)
def test_first_fitting_picture_price_wins(
    tmp_path: Path, size: str | None, quality: str | None, amount: str
) -> None:
    """A picture costs what the first entry says whose fields all fit its job, else `per_image`."""
    price = load_prices(written(tmp_path, GOOD)).prices[1]
    assert price.image_amount(size, quality) == Decimal(amount)


def test_price_without_id_is_named_by_its_terms() -> None:
    """The name changes with the terms, and only with them."""
    first = Price(currency="CNY", per_image=Decimal("0.2"))
    assert first.name == Price(currency="CNY", per_image=Decimal("0.2")).name
    assert first.name != Price(currency="CNY", per_image=Decimal("0.3")).name
    assert first.name.startswith("price-")


_AMOUNTS = st.decimals(0, 10**12, places=4).map(lambda each: each.normalize() + 0)
_MOMENTS = st.one_of(
    st.dates().map(str),
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))])),
)
_PICTURES = st.fixed_dictionaries(
    {"amount": _AMOUNTS},
    optional={
        "size": st.sampled_from(["2K", "大图"]),
        "quality": st.just("low"),
        "up_to": _AMOUNTS,
    },
)


@given(
    terms=st.fixed_dictionaries(
        {"per_image": _AMOUNTS},
        optional={
            "currency": st.just("CNY"), "valid_from": _MOMENTS, "per_request": _AMOUNTS,
            "per_image_by": st.lists(_PICTURES, max_size=3).map(tuple),
            "typical_input_tokens": st.integers(0, 10**9),
        },
    )
)  # fmt: skip
def test_a_prices_name_is_the_one_that_ledgers_hold(terms: dict[str, object]) -> None:
    """Ledgers of earlier versions hold digests of the terms as pydantic wrote them."""
    price = Price.model_validate({"currency": "USD", **terms})
    written_before = price.model_dump_json(
        exclude={"id"}, exclude_none=True, exclude_defaults=True, warnings=False
    )
    digest = hashlib.sha256(written_before.encode()).hexdigest()
    assert price.name == f"price-{digest[:8]}"


def test_the_names_in_ledgers_do_not_change() -> None:
    """The names of tiers, of amounts with their zeros, of days and instants, as on file."""
    tiers = {"input_per_million": Decimal("0.30"), "output_per_million": Decimal(30)}
    dated = Price.model_validate(
        {
            "currency": "USD", "valid_from": "2025-10-02", "valid_to": "2026-01-01T00:00:00Z",
            "tiers": ({"up_to": 200_000, **tiers}, tiers),
        }
    )  # fmt: skip
    assert dated.name == "price-295674ed"


BASE = "version: 1\nprices:\n"
BAD = [
    ("empty", "", "the file is empty", "a price file is"),
    ("list", "- a", "no mapping", "a price file is"),
    ("no version", "prices: []", "`version` is missing", "version: 1"),
    ("newer", "version: 9\nprices: 1", "version 9 is not supported", "newer retouch"),
    ("nothing", "version: 1\nprices: []", "`prices` is an empty list", "add an item"),
    ("currency", BASE + "- {id: a, model: m, currency: cny, per_image: 1}",
     "3:31: `prices.currency` is no currency code", "did you mean CNY?"),
    ("unheard of", BASE + "- {id: a, model: m, currency: XYZ, per_image: 1}",
     "`prices.currency` is no currency code", "CNY or USD"),
    ("missing field", BASE + "- {id: a, currency: CNY, per_image: 1}",
     "3:3: `prices.model` is missing", "add `model: ...`"),
    ("half by kind",
     BASE + "- {id: a, model: m, currency: CNY, text_input_per_million: 1, per_image: 1}",
     "3:3: the price has `text_input_per_million`, but not `image_input_per_million`", "both"),
    ("twice", BASE + "- {id: a, model: m, currency: CNY, input_per_million: 1, per_image: 1, "
     "text_input_per_million: 1, image_input_per_million: 1}", "priced twice", "by kind"),
    ("no other size", BASE + "- {id: a, model: m, currency: CNY, per_image_by: "
     "[{size: 1K, amount: 1}]}", "pictures of any other size", "add `per_image: ...`"),
    ("backwards", BASE + "- {id: a, model: m, currency: CNY, per_image: 1, "
     "valid_from: 2025-02-01, valid_to: '2025-01-31'}", "ends before it begins", "exchange"),
    ("overlap", BASE + "- {id: a, model: m, currency: CNY, per_image: 1}\n"
     "- {id: b, model: m, currency: CNY, per_image: 2, valid_from: 2025-01-01}",
     "4:3: price `b` of m holds on days that `a` holds too", "end `a` by `valid_to`"),
    ("same day", BASE + "- {id: a, model: m, currency: CNY, per_image: 1, valid_to: 2025-01-01}\n"
     "- {id: b, model: m, currency: CNY, per_image: 2, valid_from: 2025-01-01}",
     "holds on days", "end `a`"),
    ("id twice", BASE + "- {id: a, model: m, currency: CNY, per_image: 1}\n"
     "- {id: a, model: k, currency: CNY, per_image: 1}", "4:8: id `a` is used twice", "change"),
    ("half a percent", BASE + "- {id: a, model: m, currency: CNY, per_image: 1, "
     "batch_discount: 50}", "must be at most 1", "smaller"),
    ("quoted", BASE + "- {id: a, model: m, currency: CNY, per_image: '1'}",
     "must be an amount of money, but is \"1\"", "without quotes"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "what", "remedy"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_bad_price_file_is_refused_with_one_message(
    tmp_path: Path, text: str, what: str, remedy: str
) -> None:
    """Each mistake gives one message with its place and what to do."""
    path = written(tmp_path, text)
    with pytest.raises(InputRefused) as caught:
        load_prices(path)
    (problem,) = caught.value.problems
    assert what in str(problem)
    assert remedy in problem.remedy
    assert problem.file == str(path)


def test_an_overlap_far_from_its_neighbour_is_found(tmp_path: Path) -> None:
    """A price that spans two later ones clashes with both, not only with the next."""
    path = written(
        tmp_path,
        BASE + "- {id: a, model: m, currency: CNY, per_image: 1, valid_to: 2025-12-31}\n"
        "- {id: b, model: m, currency: CNY, per_image: 2, valid_from: 2025-01-01, "
        "valid_to: 2025-01-31}\n"
        "- {id: c, model: m, currency: CNY, per_image: 2, valid_from: 2025-03-01}\n",
    )
    with pytest.raises(InputRefused) as caught:
        load_prices(path)
    assert [problem.line for problem in caught.value.problems] == [4, 5]
