"""Costs and ceilings: exact, complete or absent, and never below what was observed."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retouch.costs.pricing import Delivered, ceiling_of, cost_of, has_ceiling, in_batch
from retouch.dialects.base import Capabilities, TokenEstimate, Usage
from retouch.dialects.openai_like.usage import credible, usage_in
from retouch.dialects.qiniu.requests import terms
from retouch.job import Job, Members, Options, Picture, Prompt, Source
from retouch.ledger.records import CostRecord
from retouch.ledger.terms import Observed, terms_of
from retouch.manifest import ImagePrice, Price, TokenTier, load_prices
from retouch.money import Money, exact, total

TOKENS = TokenEstimate(258, 1290, 2580, 2580)
GEMINI = Capabilities("gemini", "sync", (), (), tokens=TOKENS)
UNKNOWN_MODEL = Capabilities("other", "sync", (), ())
BY_TOKENS = Price(currency="CNY", input_per_million=Decimal("2.1"), output_per_million=Decimal(210))
SOURCES = Path(__file__).parents[2] / "src" / "retouch"
MONEY_MODULES = (
    "money", "costs/pricing", "engine/budget", "costs/estimate", "costs/history",
    "manifest/prices", "manifest/pricebook", "report/rows",
    "report/sums", "report/tally", "report/what_if", "report/breakdown", "report/waste",
    "dialects/bill", "reconcile/bill_cells", "reconcile/lines", "dialects/qiniu/usage",
    "report/sheets", "reconcile/ours", "ledger/charges", "reconcile/differences",
    "report/parquet", "cli/budgets", "engine/forecast", "cli/confirm", "cli/resolve",
    "cli/reconcile",
)  # fmt: skip


def job(options: Options = (), prompt: str = "white") -> Job:
    picture = Picture("sha256:00", file="a.png")
    return Job(
        "gemini", Prompt("p", prompt), Source("a.png", picture), options, terms=terms(options)
    )


def test_tokens_are_paid_to_the_last_digit() -> None:
    """A cost by tokens is exact, and not rounded to six decimals."""
    usage = Usage(input_tokens=301, output_tokens=1290)
    cost = cost_of(usage, Delivered(1), job(), BY_TOKENS)
    assert cost is not None
    assert cost.amount == "0.2715321"
    assert cost.basis == "tokens"


@pytest.mark.parametrize("usage", [Usage(), Usage(input_tokens=5), Usage(output_tokens=5)])
def test_missing_counts_give_no_cost(usage: Usage) -> None:
    """What the server did not count is no cost, rather than one that is too low."""
    assert cost_of(usage, Delivered(1), job(), BY_TOKENS) is None


def test_a_batch_is_discounted_whole() -> None:
    """The discount is off the whole amount, to the last digit; without one nothing is."""
    cost = CostRecord(amount="0.2715321", currency="CNY", basis="tokens", price="p")
    terms = BY_TOKENS.model_copy(update={"batch_discount": Decimal("0.333")})
    assert Decimal(in_batch(cost, terms).amount) == Decimal("0.1811119107")
    assert Decimal(in_batch(cost, BY_TOKENS).amount) == Decimal("0.2715321")


def test_unpriced_is_not_zero() -> None:
    """A model without a price costs nothing that could be said."""
    assert cost_of(Usage(input_tokens=1, output_tokens=1), Delivered(1), job(), None) is None
    assert ceiling_of(job(), None, GEMINI) is None


def test_the_servers_quantity_wins() -> None:
    """Pictures are paid as the server counts them; where it does not, as they came."""
    price = Price(currency="CNY", per_image=Decimal("0.20"))
    assert cost_of(Usage(images=3), Delivered(2), job(), price).amount == "0.600000"  # type: ignore[union-attr]
    assert cost_of(Usage(), Delivered(2), job(), price).amount == "0.400000"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "amount"),
    [
        ((("size", "1024x1024"), ("quality", "low")), "0.010000"),
        ((("quality", "low"),), "0.020000"),
        ((), "0.170000"),
        ((("image_config", Members((("image_size", "2K"),))),), "0.300000"),
    ],
)
def test_price_by_size_and_quality(options: Options, amount: str) -> None:
    """The first kind of picture that fits is paid, under whatever name a dialect has for it."""
    price = Price(
        currency="USD",
        per_image=Decimal("0.17"),
        per_image_by=(
            ImagePrice(size="1024x1024", quality="low", amount=Decimal("0.01")),
            ImagePrice(quality="low", amount=Decimal("0.02")),
            ImagePrice(size="2K", amount=Decimal("0.30")),
        ),
    )
    assert cost_of(Usage(), Delivered(1), job(options), price).amount == amount  # type: ignore[union-attr]


@given(
    n=st.integers(1, 10),
    prompt=st.text(max_size=200),
    input_tokens=st.integers(0, 10_000),
    output_each=st.integers(0, 20_000),
)
def test_nothing_observed_before_passes_the_ceiling(
    n: int, prompt: str, input_tokens: int, output_each: int
) -> None:
    """An attempt that counts as much as one before is within the ceiling, whatever the table."""
    observed = Observed()
    observed.take(input_tokens, output_each * n, n)
    wanted = job((("n", n),), prompt)
    ceiling = ceiling_of(wanted, BY_TOKENS, GEMINI, observed)
    cost = cost_of(
        Usage(input_tokens=input_tokens, output_tokens=output_each * n),
        Delivered(n),
        wanted,
        BY_TOKENS,
    )
    assert ceiling is not None
    assert cost is not None
    assert cost.money.amount <= ceiling.amount
    table = ceiling_of(wanted, BY_TOKENS, GEMINI)
    assert table is not None
    assert table.amount <= ceiling.amount


def test_a_prompts_ceiling_counts_its_bytes() -> None:
    """Byte-level tokenisers make up to three tokens of a Chinese character."""
    by_input = Price(currency="CNY", input_per_million=Decimal(1_000_000))
    table = Capabilities("m", "sync", (), (), tokens=TokenEstimate(0, 0, 0, 0))
    assert ceiling_of(job(prompt="晚霞"), by_input, table) == Money(Decimal(6), "CNY")


def test_a_ceiling_takes_the_dearest_price_of_any_kind() -> None:
    """Which kind a token will be of is not known before."""
    by_kind = Price(
        currency="CNY",
        text_input_per_million=Decimal(1_000_000),
        image_input_per_million=Decimal(5_000_000),
        text_output_per_million=Decimal(2_000_000),
        image_output_per_million=Decimal(7_000_000),
    )
    tokens = TokenEstimate(0, 0, ceiling_output_per_image=3, ceiling_input_per_image=0)
    table = Capabilities("m", "sync", (), (), tokens=tokens)
    assert ceiling_of(job(prompt="ab"), by_kind, table) == Money(Decimal(2 * 5 + 3 * 7), "CNY")


def test_no_ceiling_without_a_table() -> None:
    """By tokens, an unknown model has a ceiling only where the price states it."""
    assert ceiling_of(job(), BY_TOKENS, UNKNOWN_MODEL) is None
    assert not has_ceiling(BY_TOKENS, None)
    stated = BY_TOKENS.model_copy(
        update={"ceiling_input_tokens": 1000, "ceiling_output_tokens_per_image": 2000}
    )
    assert has_ceiling(stated, None)
    assert ceiling_of(job(), stated, UNKNOWN_MODEL) == Money(Decimal("0.4221"), "CNY")


def test_what_is_asked_says_which_part_changed() -> None:
    """Each part of a job has a digest of its own."""
    one, other = terms_of(job()), terms_of(job((("n", 2),), "black"))
    assert one.input == other.input
    assert one.prompt != other.prompt
    assert one.options != other.options
    assert (one.n, other.n) == (1, 2)


def test_signatures_do_not_change_what_is_asked() -> None:
    """A reference picture's URL signed anew is the same option."""
    urls = ("https://e.com/a.png?token=1", "https://e.com/a.png?token=2")
    first, second = (terms_of(job((("style_image", url),))) for url in urls)
    assert first == second


def test_sums_of_a_billion_records_are_exact() -> None:
    """Adding as much as 10^9 records of twelve decimals can be loses no digit."""
    cent = Money(Decimal("0.000000000001"), "CNY")
    much = Money(Decimal(10**21), "CNY")
    assert exact((much + cent).amount) == "1000000000000000000000.000000000001"
    assert total([much, cent, Money(Decimal(1), "USD")]) == {
        "CNY": much + cent,
        "USD": Money(Decimal(1), "USD"),
    }


def test_currencies_are_never_added() -> None:
    """Adding two currencies is an error, not a number."""
    with pytest.raises(ValueError, match="cannot add USD to CNY"):
        Money(Decimal(1), "CNY") + Money(Decimal(1), "USD")


@pytest.mark.parametrize("module", MONEY_MODULES)
def test_no_floats_in_money(module: str) -> None:
    """No module that handles money names a float, but for seconds, which are no money; none
    writes a number with a point, or makes one."""
    tree = ast.parse((SOURCES / f"{module}.py").read_text())
    assert tree.body
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AnnAssign):
            said = ast.unparse(node.returns or node) if isinstance(node, ast.FunctionDef) else ""
            said = said or ast.unparse(node).partition(":")[2]
            if "float" in said:
                said = ast.unparse(node).lower()
                assert "seconds" in said or "offset" in said, f"{module}:{node.lineno}"
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) != "float", f"{module}:{node.lineno}"
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            assert node.value in (0.0, 60.0), f"{module}:{node.lineno}: seconds only"


def test_the_example_price_file_holds() -> None:
    """The list prices that ship are read without a complaint, dated, and with their source."""
    example = load_prices(SOURCES.parents[1] / "manifests" / "prices.example.yaml")
    for price in example.prices:
        assert price.valid_from is not None
        assert price.source
    usage = Usage(input_tokens=300, output_tokens=1290)
    gemini = example.price_at("gemini-2.5-flash-image", datetime(2026, 1, 1, tzinfo=UTC))
    cost = cost_of(usage, Delivered(1), job(), gemini)
    assert cost is not None
    assert cost.amount == "0.038790"


BY_KIND = Price(
    currency="USD", input_per_million=Decimal(2), cached_input_per_million=Decimal("0.5"),
    image_output_per_million=Decimal(120), text_output_per_million=Decimal(12),
)  # fmt: skip


@pytest.mark.parametrize(
    ("usage", "amount"),
    [
        (Usage(input_tokens=1000, output_tokens=1500, image_output_tokens=1120), "0.140960"),
        (Usage(input_tokens=1000, output_tokens=1500, text_output_tokens=380), "0.140960"),
        (Usage(input_tokens=1000, cached_tokens=400, output_tokens=1120,
               image_output_tokens=1120), "0.135800"),
        (Usage(input_tokens=1000, output_tokens=1500), None),
        (Usage(input_tokens=1000, output_tokens=1500, reasoning_tokens=380), None),
    ],
)  # fmt: skip
def test_output_is_paid_by_kind(usage: Usage, amount: str | None) -> None:
    """Pictures at their price, text and thinking at theirs, the cached part of input at its own;
    without the kinds there is no cost, for any would be a guess."""
    cost = cost_of(usage, Delivered(1, 1), job(), BY_KIND)
    assert (cost and cost.amount) == amount


TWO_KINDS = Price(
    currency="USD", text_input_per_million=Decimal(5), image_input_per_million=Decimal(8),
    image_output_per_million=Decimal(32), text_output_per_million=Decimal(10),
)  # fmt: skip
REPORTED: dict[str, tuple[dict[str, object], Price, str | None]] = {
    # BerriAI/litellm#17410: all output was priced as text, or as pictures
    "thinking beside a picture": (
        {"prompt_tokens": 10, "completion_tokens": 1345, "total_tokens": 1355,
         "completion_tokens_details": {"reasoning_tokens": 225, "text_tokens": 0,
                                       "image_tokens": 1120}},
        BY_KIND, "0.137120"),
    # BerriAI/litellm#21902: text of an image model was priced as pictures
    "text beside a picture": (
        {"prompt_tokens": 357, "completion_tokens": 6543, "total_tokens": 6900,
         "prompt_tokens_details": {"text_tokens": 34, "image_tokens": 323},
         "completion_tokens_details": {"text_tokens": 335, "image_tokens": 6208}},
        TWO_KINDS, "0.204760"),
    # BerriAI/litellm#18599: only the reasoning was counted
    "thinking is a part of output": (
        {"prompt_tokens": 17, "completion_tokens": 482, "total_tokens": 499,
         "completion_tokens_details": {"reasoning_tokens": 448, "audio_tokens": 0},
         "prompt_tokens_details": {"cached_tokens": 0}},
        Price(currency="USD", input_per_million=Decimal("0.05"),
              output_per_million=Decimal("0.4")), "0.00019365"),
    # BerriAI/litellm#31142: output whose kind nobody told was priced as text
    "kinds that nobody told": (
        {"input_tokens": 3987, "output_tokens": 4160, "total_tokens": 8147,
         "input_tokens_details": {"text_tokens": 943, "image_tokens": 3044}},
        TWO_KINDS, None),
}  # fmt: skip


@pytest.mark.parametrize("name", REPORTED)
def test_usage_of_public_reports_is_priced_right(name: str) -> None:
    """Replies that other programs have billed wrongly, from what the server wrote to the cost."""
    stated, price, amount = REPORTED[name]
    warnings: list[str] = []
    usage = credible(usage_in({"usage": stated}, warnings), 1, warnings)
    cost = cost_of(usage, Delivered(1, 1), job(), price)
    assert (cost and cost.amount) == amount
    assert not warnings


def test_kinds_have_a_price_for_all_to_fall_back_on() -> None:
    """Where the server tells no kinds, `output_per_million` is for all."""
    price = BY_KIND.model_copy(update={"output_per_million": Decimal(100)})
    cost = cost_of(Usage(input_tokens=0, output_tokens=1500), Delivered(1, 1), job(), price)
    assert cost is not None
    assert cost.amount == "0.150000"


SIZED = Price(
    currency="CNY", per_image=Decimal("0.20"),
    per_image_by=(
        ImagePrice(size="1024x1024", amount=Decimal("0.25")),
        ImagePrice(up_to=Decimal("0.5"), amount=Decimal("0.1")),
        ImagePrice(size="4K", amount=Decimal("0.9")),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sides", "amount"),
    [
        ((("size", "auto"),), ((1024, 1024),), "0.250000"),
        ((("size", "1024x1024"),), ((1536, 1024),), "0.200000"),
        ((("size", "1024x1024"),), (), "0.250000"),
        ((("size", "4K"),), ((4096, 4096),), "0.900000"),
        ((), ((512, 512), (1024, 1024)), "0.350000"),
    ],
)
def test_pictures_are_paid_by_the_size_delivered(
    options: Options, sides: tuple[tuple[int, int], ...], amount: str
) -> None:
    """What came counts, not what was asked for; a word like 4K is what was asked for."""
    count = max(1, len(sides))
    cost = cost_of(Usage(), Delivered(count, count, sides), job(options), SIZED)
    assert cost is not None
    assert cost.amount == amount


def test_a_size_left_to_the_server_is_bounded_by_the_dearest() -> None:
    """`auto` may come as any size, so that the ceiling is the dearest picture's."""
    assert ceiling_of(job((("size", "auto"),)), SIZED, GEMINI) == Money(Decimal("0.9"), "CNY")
    asked = ceiling_of(job((("size", "1024x1024"),)), SIZED, GEMINI)
    assert asked == Money(Decimal("0.25"), "CNY")


def test_megapixels_are_paid_as_delivered() -> None:
    """By the pixels that came, exactly; nothing is said of a picture that was not measured."""
    price = Price(currency="USD", per_megapixel=Decimal("0.03"))
    cost = cost_of(Usage(), Delivered(1, 1, ((1344, 768),)), job(), price)
    assert cost is not None
    assert cost.amount == "0.03096576"
    assert cost_of(Usage(), Delivered(1, 1), job(), price) is None
    assert ceiling_of(job(), price, GEMINI) is None
    bounded = price.model_copy(update={"ceiling_megapixels_per_image": Decimal(2)})
    assert ceiling_of(job(), bounded, GEMINI) == Money(Decimal("0.06"), "USD")


def test_tiers_go_by_the_input_of_a_request() -> None:
    """The first tier that a request's input fits prices all of its tokens."""
    tiers = (
        TokenTier(up_to=200_000, input_per_million=Decimal(2), output_per_million=Decimal(12)),
        TokenTier(input_per_million=Decimal(4), output_per_million=Decimal(18)),
    )
    price = Price(currency="USD", tiers=tiers)
    for tokens, amount in ((200_000, "0.412000"), (200_001, "0.818004")):
        cost = cost_of(Usage(input_tokens=tokens, output_tokens=1000), Delivered(1), job(), price)
        assert cost is not None
        assert cost.amount == amount


@pytest.mark.parametrize("came", [0, 1, 10_000])
def test_pictures_that_nobody_counted_are_no_fact(came: int) -> None:
    """Without the server's count, other pictures than asked for leave the charge unknown."""
    price = Price(currency="CNY", per_image=Decimal("0.20"))
    assert cost_of(Usage(), Delivered(came, 2), job((("n", 2),)), price) is None
    counted = cost_of(Usage(images=1), Delivered(came, 2), job((("n", 2),)), price)
    assert counted is not None
    assert counted.amount == "0.200000"
