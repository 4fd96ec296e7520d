"""What servers write, in every place where text of theirs is kept: one clean capped line each."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from retouch.cli import main
from retouch.manifest import Poll
from tests.support.provider import Mishap, Provider
from tests.support.workbench import GEMINI, KLING, Bench, lane

UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
LONGEST = 500
MEGABYTES = 10

# What stands between the quotes of a JSON string, as the server writes it.
TEXTS: dict[str, bytes] = {
    "ANSI escapes": rb"\u001b[2J\u001b]0;owned\u0007 \u009b31m",
    "raw control characters": b"\x1b[2J\x07\x08\x7f",
    "line ends": rb"first\r\nsecond\u2028third\u2029fourth\u0085fifth\u000b",
    "NUL": rb"a\u0000b",
    "bidi overrides": rb"\u202egnp.exe\u202c \u2066x\u2069 \u061c\u200f",
    "nothing to see": rb"\u200b\ufeff\u2060\u00ad",
    "lone surrogates": rb"\ud800 \udfff",
    "invalid UTF-8": b"\xff\xfe\xc3(",
    "private characters": rb"\ue000\udb80\udc00",
    "long": b"x" * 5000,
    "a formula and a tag": rb"=cmd|' /C calc'!A0<script>alert(1)</script>",
}
SUBMITS: dict[str, tuple[int, bytes]] = {
    "message": (400, b'{"error":{"message":"%s"}}'),
    "code": (400, b'{"error":{"message":"no","code":"%s","type":"%s"}}'),
    "text": (403, b'{"error":"%s"}'),
    "detail": (422, b'{"detail":[{"msg":"%s"}]}'),
    "lane": (429, b'{"error":{"message":"daily quota exceeded %s"}}'),
    "retried": (500, b'{"error":{"message":"%s"}}'),
    "refused in 200": (200, b'{"status":false,"message":"%s"}'),
    "count": (200, b'{"data":[],"usage":{"input_tokens":"%s"}}'),
    "task id": (200, b'{"task_id":"%s"}'),
}
POLLS: dict[str, tuple[int, bytes]] = {
    "status": (200, b'{"task_id":"image-0","status":"%s"}'),
    "failed": (200, b'{"task_id":"image-0","status":"failed","status_message":"%s"}'),
    "vanished": (404, b'{"error":{"message":"task %s not found"}}'),
    "poll error": (401, b'{"error":{"message":"%s","code":"%s"}}'),
}


def filled(template: bytes, text: bytes) -> bytes:
    return template.replace(b"%s", text)


def strings(value: object) -> Iterator[str]:
    """Every string of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from strings(each)


def unclean(texts: list[str]) -> list[str]:
    return [
        text
        for text in texts
        if len(text) > LONGEST + 300 or {unicodedata.category(each) for each in text} & UNSAFE
    ]


async def conversed(folder: Path, provider: Provider, model: str) -> Bench:
    work = Bench(folder, provider)
    await work.run([lane(model, 1, poll=Poll(interval=1.0, timeout=30.0))])
    return work


def check(work: Bench) -> None:
    """The ledger's lines are JSON in UTF-8, each text in it is one clean line, and so is all that
    was said."""
    lines = (work.folder / "ledger.jsonl").read_bytes().split(b"\n")[:-1]
    kept = [text for line in lines for text in strings(json.loads(line))]
    assert unclean(kept) == []
    assert max(map(len, kept)) <= LONGEST
    messages = [end.error.message for end in work.observer.ends if end.error]
    stops = [str(error) for error in work.batch.summary.lane_stops.values()] if work.batch else []
    assert unclean([*work.observer.texts, *messages, *stops]) == []


@pytest.mark.anyio
@pytest.mark.virtual_time
@pytest.mark.parametrize("place", SUBMITS)
@pytest.mark.parametrize("name", TEXTS)
async def test_text_in_a_submits_reply(name: str, place: str, in_memory: Path) -> None:
    """Errors of every shape, counts that are none, ids that are none."""
    status, template = SUBMITS[place]
    mishap = Mishap(status, filled(template, TEXTS[name]))
    check(await conversed(in_memory, Provider(mishaps=[mishap] * 9), GEMINI))


@pytest.mark.anyio
@pytest.mark.virtual_time
@pytest.mark.parametrize("place", POLLS)
@pytest.mark.parametrize("name", TEXTS)
async def test_text_in_a_polls_reply(name: str, place: str, in_memory: Path) -> None:
    """Unknown words of status, reasons of failed tasks, errors of polls."""
    status, template = POLLS[place]
    mishap = Mishap(status, filled(template, TEXTS[name]))
    check(await conversed(in_memory, Provider(poll_mishaps=[mishap] * 99), KLING))


@pytest.mark.anyio
@pytest.mark.virtual_time
@pytest.mark.parametrize("place", ["message", "refused in 200", "task id", "status", "failed"])
async def test_ten_megabytes_of_it(place: str, in_memory: Path) -> None:
    """Capped, and quickly."""
    status, template = {**SUBMITS, **POLLS}[place]
    mishap = Mishap(status, filled(template, rb"\u202e" * (MEGABYTES * 1_000_000 // 6)))
    if place in POLLS:
        provider = Provider(poll_mishaps=[mishap, mishap])
    else:
        provider = Provider(mishaps=[mishap])
    work = await conversed(in_memory, provider, KLING if place in POLLS else GEMINI)
    check(work)
    assert (in_memory / "ledger.jsonl").stat().st_size < 10_000


def pages_below(folder: Path) -> Iterator[str]:
    return (page.read_text() for page in folder.rglob("*.html"))


@pytest.mark.anyio
@pytest.mark.virtual_time
async def test_what_is_reported_of_it(in_memory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Tables, CSV, JSON and the page of a ledger with all of these: nothing is obeyed."""
    mishaps = [Mishap(400, filled(SUBMITS["message"][1], text)) for text in TEXTS.values()]
    work = Bench(in_memory, Provider(mishaps=mishaps))
    await work.run([lane(GEMINI, len(mishaps) + 1)])
    for form in ("table", "csv", "json", "markdown"):
        assert main(["report", str(in_memory / "ledger.jsonl"), "--format", form]) == 0
        shown = capfd.readouterr().out.replace("\r\n", "\n")
        assert not {unicodedata.category(each) for each in shown.replace("\n", "")} & UNSAFE
        assert not [line for line in shown.splitlines() if line.startswith(("=", "+", "@"))]
    assert main(["report", str(in_memory / "ledger.jsonl"), "--format", "html"]) == 0
    assert "<script>alert" not in capfd.readouterr().out
    assert not any("<script>alert" in page for page in pages_below(in_memory))
