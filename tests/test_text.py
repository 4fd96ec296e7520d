"""Text from outside, made fit to be shown and kept; what must not be kept is cut out of it."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retouch.text import (
    body_without_secrets,
    fit_for_terminal,
    holds_secret,
    one_clean_line,
    without_secrets,
)
from retouch.transport import ApiKey

KEY = "sk-canary+0123/456789=abcdef"
SECRETS = ApiKey(KEY).secrets
UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


@given(st.text())
def test_any_text_becomes_one_clean_line(text: str) -> None:
    """No line end, control, bidi or lone surrogate is left; at most so many characters."""
    line = one_clean_line(text, 80)
    assert len(line) <= 80
    assert not {unicodedata.category(each) for each in line} & UNSAFE
    line.encode()


@given(st.text())
def test_lines_stay_lines_on_a_terminal(text: str) -> None:
    """Line ends are kept; whatever else could move the cursor is shown."""
    shown = fit_for_terminal(text)
    assert shown.count("\n") == text.count("\n")
    assert not {unicodedata.category(each) for each in shown.replace("\n", "")} & UNSAFE


@pytest.mark.parametrize("length", range(8, len(KEY) + 1))
def test_a_key_is_cut_out_wherever_it_was_cut_short(length: int) -> None:
    """The beginning of a key, from its eighth character on, is as secret as the whole of it."""
    part = KEY[:length]
    for text in (f"you sent {part}", f"{part}… is wrong", f"{part}{part}"):
        assert KEY[:8] not in without_secrets(text, SECRETS)
        assert KEY[:8].encode() not in body_without_secrets(text.encode(), SECRETS)
        assert holds_secret(text, SECRETS)


@pytest.mark.parametrize(
    "spelt",
    [
        KEY,
        KEY.replace("/", r"\/"),
        "sk-canary%2B0123%2F456789%3Dabcdef",
        "sk-canary%2b0123%2f456789%3dabcdef",
        "sk-canary%2B0123/456789%3Dabcdef",
    ],
)
def test_every_spelling_is_cut_out_whole(spelt: str) -> None:
    """As it stands in headers, in JSON with escaped slashes and in URLs."""
    assert without_secrets(f"<{spelt}>", SECRETS) == "<[secret]>"
    assert body_without_secrets(f"<{spelt}>".encode(), SECRETS) == b"<[secret]>"


def test_what_is_not_the_key_stays() -> None:
    """Text around a key is untouched, byte for byte, whatever its encoding."""
    body = b"\xff\x00caf\xe9 " + KEY.encode() + b" \xe4\xb8\xad"
    assert body_without_secrets(body, SECRETS) == b"\xff\x00caf\xe9 [secret] \xe4\xb8\xad"
    assert without_secrets("sk-cana is no key", SECRETS) == "sk-cana is no key"


SIGNED = [
    "https://u:hunter2@h/0.png?e=1&token=SIGNED:abc=",
    "//h/0.png?e=1&token=SIGNED:abc=",
    "/0.png?X-Amz-Signature=SIGNED&X-Amz-Credential=SIGNED",
    "see 0.png?x=1&Signature=SIGNED%2Babc",
    "?OSSAccessKeyId=SIGNED",
]


@pytest.mark.parametrize("text", SIGNED)
def test_what_signs_a_url_is_cut_out_of_text_and_bodies(text: str) -> None:
    """Whole URLs, relative ones, bare queries; as JSON writes them, in each of its ways."""
    document = json.dumps({"url": text})
    go = document.replace("&", r"\u0026")
    php = document.replace("/", r"\/")
    for one in (text, document, go, php):
        for cut in (without_secrets(one), body_without_secrets(one.encode()).decode()):
            assert "SIGNED" not in cut
            assert "hunter2" not in cut
