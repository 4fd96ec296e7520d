"""Good documents spoilt: as bytes, and as JSON that still is JSON but says something else."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from copy import deepcopy

DICTIONARY = (
    b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\n", b"\r\n", b"\"", b"\\", b"{", b"}",
    b"[", b"]", b":", b",", b"null", b"true", b"NaN", b"-0", b"1e999", b"9" * 400, b"\\ud800",
    b"\\u0000", b"&a ", b"*a", b"!!python/object", b"<<: ", b"---", b"data:", b"https://", b"..",
    b"/", b"%2e", b"=", b"<html>", b"\x1b[2J", b"\xe2\x80\xae",
)  # fmt: skip
VALUES: tuple[object, ...] = (
    None, True, False, 0, -1, 1, 1.5, 2**53, 2**53 + 1, 2**64, -(2**64), 1e308, float("nan"),
    float("inf"), "", " ", "0", "NaN", "-1", "1e999", "Infinity", "0.1", "CNY", "x" * 3000, "\0",
    "\u202e", "\ud800", "..", "a/b", "file:///x", "https://h/x?token=t", "data:image/png;base64,",
    [], {}, [[]], [None], [{}], {"": None}, {"url": None}, "succeed", "failed", "done", "unknown",
)  # fmt: skip


def spoilt_bytes(data: bytes, chance: random.Random) -> bytes:
    """Some bytes flipped, cut out, doubled or replaced."""
    spoilt = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(len(spoilt) + 1)
        length = chance.choice((1, 1, 2, 5, 40, 400))
        match chance.randrange(5):
            case 0 if at < len(spoilt):
                spoilt[at] ^= 1 << chance.randrange(8)
            case 1:
                del spoilt[at : at + length]
            case 2:
                spoilt[at:at] = spoilt[at : at + length]
            case 3:
                spoilt[at : at + chance.choice((0, length))] = chance.choice(DICTIONARY)
            case _:
                del spoilt[at:]
    return bytes(spoilt)


def spoilt_value(value: object, chance: random.Random) -> object:
    """A JSON value with one part of it changed for another value, left out or doubled."""
    places = list(_places(value))
    if not places:
        return _drawn(chance)
    change = chance.choice(places)
    change(chance)
    return value


def spoilt_json(data: bytes, chance: random.Random) -> bytes:
    """Still JSON, after one to three changes."""
    value: object = json.loads(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        value = spoilt_value(value, chance)
    return json.dumps(value, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")


def _drawn(chance: random.Random) -> object:
    """Another value, of its own: what is put in may be changed in turn."""
    return deepcopy(chance.choice(VALUES))


Change = Callable[[random.Random], None]


def _places(value: object) -> list[Change]:
    """Every change that can be made somewhere inside `value`, in place."""
    if isinstance(value, dict):
        changes = [change for each in value.values() for change in _places(each)]
        changes += [_member(value, key) for key in value]
    elif isinstance(value, list):
        changes = [change for each in value for change in _places(each)]
        changes += [_item(value, at) for at in range(len(value))]
    else:
        changes = []
    return changes


def _member(holder: dict[str, object], key: str) -> Change:
    def change(chance: random.Random) -> None:
        match chance.randrange(4):
            case 0:
                del holder[key]
            case 1:
                holder[str(_drawn(chance))[:40]] = deepcopy(holder[key])
            case _:
                holder[key] = _drawn(chance)

    return change


def _item(holder: list[object], at: int) -> Change:
    def change(chance: random.Random) -> None:
        match chance.randrange(3):
            case 0:
                del holder[at]
            case 1:
                holder[at:at] = [deepcopy(holder[at]) for _ in range(chance.choice((1, 5)))]
            case _:
                holder[at] = _drawn(chance)

    return change
