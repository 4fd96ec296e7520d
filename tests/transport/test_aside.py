"""A reply's long strings held aside: what is left reads as before, and what is held is the same."""

from __future__ import annotations

import base64
import json
import random
from itertools import pairwise

import pybase64
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retouch.dialects.base import EncodedPicture
from retouch.dialects.openai_like.documents import pictures_in, read_document
from retouch.transport.aside import HEAD_BYTES, LONG_BYTES, Sieve, held, restored, whole

LONG = LONG_BYTES + 1000


def sieved(body: bytes, *cuts: int) -> Sieve:
    """The body through a sieve, in pieces that end at the cuts."""
    sieve = Sieve(None)
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        sieve.take(body[start:end])
    sieve.finish()
    return sieve


def some_bytes(seed: int, count: int) -> bytes:
    return random.Random(seed).randbytes(count)


def spellings(data: bytes) -> list[bytes]:
    """The same bytes as servers write them, and what looks like it and is none."""
    plain = base64.b64encode(data)
    return [
        plain,
        b"data:image/png;base64," + plain,
        b"DATA:image/png;base64," + plain,
        plain.rstrip(b"="),
        plain[:-1],
        plain + b"=",
        plain + b"AAAA",
        plain + b"=A",
        plain.replace(b"/", rb"\/"),
        base64.urlsafe_b64encode(data),
        b"\\n".join(plain[at : at + 76] for at in range(0, len(plain), 76)),
        plain[: LONG_BYTES + 500] + b"!" + plain[LONG_BYTES + 500 :],
        plain[: LONG_BYTES + 500] + b"\\\\" + plain[LONG_BYTES + 500 :],
        b" " + plain,
        plain + b" ",
        b'he said \\"' + plain,
        plain[:-4] + b"QR==",
        plain[:-4] + b"QQR=",
        plain[: HEAD_BYTES - 4] + b"QQ==" + plain[HEAD_BYTES:],
        plain[: LONG_BYTES - 4] + b"QQ==" + plain[LONG_BYTES:],
        b"not base64 but long " * (len(plain) // 20),
        "猫".encode() * (len(plain) // 3),
        b"7" * len(plain),
    ]


SPELLED = range(len(spellings(b"")))
cuts = st.lists(st.integers(0, 400_000), max_size=12)
frames = st.sampled_from(
    [
        b'{"data":[{"b64_json":"%s"}],"usage":{"total_tokens":7}}',
        b'{"data":[{"url":"%s","b64_json":null}]}',
        b'event: x\r\ndata: {"type":"image_edit.completed","b64_json":"%s"}\r\n\r\n',
        b'{"error":{"message":"cannot read %s"}}',
        b"<html>%s</html>",
        b'{"data": %s}',
        b'"%s',
        b'%s"',
        b"%s",
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    frame=frames,
    spelled=st.sampled_from(SPELLED),
    size=st.builds(
        int.__add__, st.sampled_from([100, HEAD_BYTES, LONG, 90_000]), st.integers(0, 3)
    ),
    cut=cuts,
    end=st.integers(0, 200_000) | st.none(),
)
def test_a_body_comes_out_as_it_went_in(
    frame: bytes, spelled: int, size: int, cut: list[int], end: int | None
) -> None:
    """However it is spelled, cut into pieces or broken off: all of it can be had again."""
    body = (frame % spellings(some_bytes(size, size))[spelled])[:end]
    sieve = sieved(body, *cut)
    assert whole(sieve.document(), sieve.aside) == body


def decoded_as_ever(text: str) -> bytes | None:
    """What the readers without a sieve make of it."""
    from retouch.engine.results import _decoded  # noqa: PLC0415 - a private way, compared with

    found = _decoded(EncodedPicture(text), ())
    return None if found is None else bytes(found.data())


@settings(max_examples=150, deadline=None)
@given(
    spelled=st.lists(st.sampled_from(SPELLED), min_size=1, max_size=3),
    extra=st.integers(0, 3),
    cut=cuts,
)
def test_the_pictures_of_a_document_are_the_same_with_and_without(
    spelled: list[int], extra: int, cut: list[int]
) -> None:
    """As many, in the same order, of the same bytes; or as unreadable as before."""
    texts = [spellings(some_bytes(seed, LONG + extra))[way] for seed, way in enumerate(spelled)]
    entries = b",".join(b'{"b64_json":"%s"}' % text for text in texts)
    body = b'{"data":[%s],"usage":{"total_tokens":7}}' % entries
    sieve = sieved(body, *cut)
    before, after = read_document(body), read_document(sieve.document())
    assert before is not None
    assert after is not None
    assert after["usage"] == before["usage"]
    pairs = zip(pictures_in(before["data"], []), pictures_in(after["data"], []), strict=True)
    for one, other in pairs:
        assert isinstance(one, EncodedPicture)
        assert isinstance(other, EncodedPicture)
        string = held(other.base64, sieve.aside)
        assert restored(other.base64, sieve.aside) == one.base64
        if string is not None:
            assert bytes(string.decoded.data()) == decoded_as_ever(one.base64)


@pytest.mark.parametrize("spelled", SPELLED)
@pytest.mark.parametrize("extra", range(3))
def test_padding_is_judged_wherever_a_piece_ends(spelled: int, extra: int) -> None:
    """A piece that ends right after a sign of padding, or within it, tells nothing of its own."""
    text = spellings(some_bytes(extra, LONG + extra))[spelled]
    body = b'{"data":[{"b64_json":"%s"}]}' % text
    places = [at for at in range(len(body)) if body[at : at + 1] in (b"=", b"!")]
    for place in {*places[:3], *places[-3:], len(body) - 5}:
        for near in range(place - 4, place + 5):
            sieve = sieved(body, near)
            assert whole(sieve.document(), sieve.aside) == body
            for string in sieve.aside if not text.startswith(b"he said") else ():
                assert bytes(string.decoded.data()) == decoded_as_ever(text.decode().split(",")[-1])


@pytest.mark.parametrize("spelled", [0, 1, 2, 3])
def test_what_servers_send_is_held_aside(spelled: int) -> None:
    """With and without a data URI's prefix or padding: the document is small."""
    data = some_bytes(1, 1_000_001)
    body = b'{"data":[{"b64_json":"%s"}]}' % spellings(data)[spelled]
    sieve = sieved(body, *range(0, len(body), 65_536))
    (string,) = sieve.aside
    assert bytes(string.decoded.data()) == data
    assert len(sieve.document()) < LONG_BYTES


def test_a_mark_that_a_server_makes_up_is_a_text_like_any_other() -> None:
    """It cannot know the digits; those of an earlier reply it could only have heard from us."""
    body = json.dumps({"data": [{"b64_json": "~" + "0" * 32 + ".0~"}]}).encode()
    sieve = sieved(body)
    assert sieve.document() == body
    assert held("~" + "0" * 32 + ".0~", sieve.aside) is None


def test_messages_quote_what_the_server_wrote() -> None:
    """No message holds a mark: so much of a string's beginning is left as none of them quotes."""
    text = pybase64.b64encode_as_string(some_bytes(1, LONG))
    sieve = sieved(json.dumps({"error": {"message": f"{text}"}}).encode())
    assert sieve.aside
    assert b"~" not in sieve.document()[: HEAD_BYTES - 100]
