"""What is read from reply documents: counts with hygiene, pictures without copies."""

from __future__ import annotations

import json

import pytest

from retouch.dialects.base import EncodedPicture, LinkedPicture, Usage
from retouch.dialects.openai_like.documents import count_in, pictures_in, read_document, usage_in


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
