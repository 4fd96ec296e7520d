"""What is read from reply documents: counts with hygiene, pictures without copies."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from retouch.dialects.base import EncodedPicture, LinkedPicture, Usage
from retouch.dialects.openai_like.documents import count_in, pictures_in, read_document
from retouch.dialects.openai_like.usage import credible, usage_in
from retouch.money import Money


@pytest.mark.parametrize("value", [0, 1, 2**53, 1290.0])
def test_a_count_is_a_whole_number(value: object) -> None:
    """Whole numbers up to 2^53, also written as floats."""
    warnings: list[str] = []
    assert count_in({"n": value}, "n", warnings) == value
    assert not warnings


@pytest.mark.parametrize("value", [-1, "12", True, 1.5, 2**53 + 1, 1e300, [], {}, float("nan")])
def test_what_is_no_count_is_not_said_and_warned_about(value: object) -> None:
    """BAD-INPUT 46: cost unknown, said."""
    warnings: list[str] = []
    assert count_in({"n": value}, "n", warnings) is None
    assert len(warnings) == 1


@pytest.mark.parametrize("document", [{}, {"n": None}])
def test_missing_and_null_are_the_same(document: dict[str, object]) -> None:
    """PROTOCOL trap 9."""
    warnings: list[str] = []
    assert count_in(document, "n", warnings) is None
    assert not warnings


def test_usage_keeps_what_is_credible() -> None:
    """One bad member does not spoil the others; total is never computed."""
    warnings: list[str] = []
    stated = {"input_tokens": 5, "output_tokens": "x", "input_tokens_details": {"text_tokens": 2}}
    usage = usage_in({"usage": stated}, warnings, images=3)
    assert usage == Usage(input_tokens=5, text_tokens=2, images=3)
    assert len(warnings) == 1


@pytest.mark.parametrize("stated", ["free", [1], 7])
def test_a_usage_that_is_no_object_is_warned_about(stated: object) -> None:
    """Nothing is read from it."""
    warnings: list[str] = []
    assert usage_in({"usage": stated}, warnings) == Usage()
    assert len(warnings) == 1


def test_pictures_keep_their_order_and_their_strings() -> None:
    """Base64 as it is, a prefix cut, a URL linked, a data URI as URL read, the empty warned of."""
    warnings: list[str] = []
    encoded = "A" * 40
    entries = [
        {"b64_json": encoded, "url": None},
        {"b64_json": "data:image/webp;base64,BBBB"},
        {"url": "https://e.com/1.png"},
        {"url": "data:image/png;base64,CCCC"},
        {"b64_json": 7},
        None,
    ]
    pictures = pictures_in(entries, warnings)
    assert pictures == (
        EncodedPicture(encoded),
        EncodedPicture("BBBB"),
        LinkedPicture("https://e.com/1.png"),
        EncodedPicture("CCCC"),
    )
    assert isinstance(pictures[0], EncodedPicture)
    assert pictures[0].base64 is encoded
    assert warnings == ["2 of 6 entries hold no picture"]


@pytest.mark.parametrize("body", ['{"a": NaN}', '{"a": "\\ud800"}', '\ufeff{"a": 1}'])
def test_what_servers_write_beside_the_standard_is_read(body: str) -> None:
    """A paid picture is not lost to a NaN somewhere beside it."""
    assert read_document(body.encode()) is not None


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{", b'{"a":1', b"\xff", b"<html>", b"null"])
def test_what_is_no_object_is_none(body: bytes) -> None:
    """Cut, of another type, or no JSON."""
    assert read_document(body) is None


def test_extra_members_are_ignored() -> None:
    """Servers add fields."""
    body = json.dumps({"data": [{"b64_json": "AAAA", "new": {}}], "more": [1]}).encode()
    document = read_document(body)
    assert document is not None
    assert pictures_in(document["data"], []) == (EncodedPicture("AAAA"),)


def told(**usage: object) -> tuple[Usage, list[str]]:
    """What is believed of a reply with one picture, and what is said of the rest."""
    warnings: list[str] = []
    return credible(usage_in({"usage": usage}, warnings), 1, warnings), warnings


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
        {"input_tokens": 0, "output_tokens": 0, "total_tokens": 1591},
        {"input_tokens": 301, "output_tokens": 0, "total_tokens": 301},
    ],
)
def test_a_count_that_cannot_be_true_is_none(usage: dict[str, object]) -> None:
    """A picture of no output tokens, or nothing beside another total, is no count; and is said."""
    found, warnings = told(**usage)
    assert found.output_tokens is None
    assert warnings


def test_the_other_names_of_tokens_are_read() -> None:
    """prompt_tokens and completion_tokens stand in where input_ and output_ are missing or 0."""
    found, _ = told(input_tokens=0, prompt_tokens=268, completion_tokens=1290, total_tokens=1558)
    assert (found.input_tokens, found.output_tokens) == (268, 1290)


def test_the_rest_of_a_total_is_output() -> None:
    """Thinking that is in the total alone is billed as output, and said."""
    found, warnings = told(input_tokens=300, output_tokens=1120, total_tokens=1800)
    assert (found.output_tokens, found.reasoning_tokens) == (1500, 380)
    assert "380 tokens" in warnings[0]


def test_kinds_are_read_and_must_fit() -> None:
    """Cached, thinking, text and image output are kept in full; kinds over their whole are not."""
    found, _ = told(
        input_tokens=300, output_tokens=1500, total_tokens=1800,
        prompt_tokens_details={"cached_tokens": 128},
        completion_tokens_details={"reasoning_tokens": 380, "image_tokens": 1120},
    )  # fmt: skip
    assert (found.cached_tokens, found.reasoning_tokens) == (128, 380)
    assert (found.text_output_tokens, found.image_output_tokens) == (None, 1120)
    found, warnings = told(
        input_tokens=300, output_tokens=100, output_tokens_details={"image_tokens": 101}
    )
    assert found.image_output_tokens is None
    assert warnings


@pytest.mark.parametrize(
    ("usage", "money"),
    [
        ({"cost": 0.0387}, Money(Decimal("0.0387"), "USD")),
        ({"cost": "0.28", "currency": "cny"}, Money(Decimal("0.28"), "CNY")),
        ({"cost": -1}, None),
        ({"cost": "much"}, None),
    ],
)
def test_a_stated_cost_is_kept(usage: dict[str, object], money: Money | None) -> None:
    """What the server says it charged is an amount, in dollars unless it says otherwise."""
    assert told(**usage)[0].stated == money


def test_no_picture_counted_beside_pictures_is_not_believed() -> None:
    """A quantity of 0 with a picture says nothing."""
    warnings: list[str] = []
    assert credible(Usage(images=0), 1, warnings).images is None
    assert warnings
