"""The key: what is refused, and that nothing shows it."""

from __future__ import annotations

import copy
import pickle

import pytest

from retouch.errors import Refused
from retouch.text import without_secrets
from retouch.transport import ApiKey, Connection, open_transport

CANARY = "sk-canary-7f3a91c2/+="


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "is not set"),
        ("", "is blank"),
        (" \t", "is blank"),
        (f"'{CANARY}'", "quotes"),
        (f'"{CANARY}"', "quotes"),
        (f'{CANARY}"', "quotes"),
        (f"{CANARY}\n", "newline"),
        (f"{CANARY}\r\nX: y", "newline"),
        (f"{CANARY}\x00", "control"),
        (f"{CANARY}\x7f", "control"),
        (f" {CANARY}", "blanks"),
        (f"{CANARY} ", "blanks"),
        (f"{CANARY} x", "blanks"),
        (f"{CANARY}é", "not ASCII"),
        (f"\N{LEFT DOUBLE QUOTATION MARK}{CANARY}\N{RIGHT DOUBLE QUOTATION MARK}", "not ASCII"),
        (f"Bearer {CANARY}", "Bearer"),
    ],
)
def test_what_is_no_key_is_refused_by_its_variables_name(value: str | None, told: str) -> None:
    """The message names the variable and never the value; the run is refused (exit 4)."""
    environment = {} if value is None else {"QINIU_KEY": value}
    with pytest.raises(Refused) as refused:
        ApiKey.from_environment(environment, "QINIU_KEY")
    message = f"{refused.value.message} {refused.value.hint} {refused.value!r}"
    assert "QINIU_KEY" in refused.value.message
    assert told in refused.value.message
    assert "canary" not in message
    assert refused.value.exit_code == 4


def test_nothing_shows_a_key() -> None:
    """Not its repr or str, nor a format; it cannot be copied or pickled out."""
    key = ApiKey.from_environment({"K": CANARY}, "K")
    assert CANARY not in f"{key} {key!r}"
    assert "K" in repr(key)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not to be copied"):
            leak(key)
    assert key.authorization == f"Bearer {CANARY}"


def test_every_spelling_of_a_key_is_scrubbed() -> None:
    """As it is, and as it stands in a URL."""
    key = ApiKey(CANARY)
    text = f"bad key {CANARY} at https://x.example/?k=1 ({key.secrets[1]}, {key.secrets[-1]})"
    assert "canary" not in without_secrets(text, key.secrets)
    assert ApiKey("none").secrets == (), "a placeholder's letters are not cut out of messages"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url",
    ["http://api.qnaigc.com/v1", "http://10.0.0.7:8000", "http://[2001:db8::1]/v1",
     "http://localhost.example.com/v1"],
)  # fmt: skip
@pytest.mark.parametrize("place", ["base", "fallback"])
async def test_the_key_is_not_sent_in_the_clear(url: str, place: str) -> None:
    """Plain http is for this machine alone, base and fallback alike; refused before connecting."""
    base, fallbacks = (url, ()) if place == "base" else ("https://api.example.com/v1", (url,))
    opening = open_transport(
        Connection(base_url=base, fallback_urls=fallbacks, key=ApiKey(CANARY)), concurrency=1
    )
    with pytest.raises(Refused, match="the key would travel unencrypted"):
        await opening.__aenter__()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/v1", "http://localhost:1", "http://[::1]:1/v1", "http://127.9.9.9"]
)
async def test_the_key_may_go_to_this_machine(url: str) -> None:
    """Loopback is no network."""
    async with open_transport(
        Connection(base_url=url, key=ApiKey(CANARY)), concurrency=1
    ) as transport:
        assert CANARY not in repr(transport)
