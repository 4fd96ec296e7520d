"""What is fuzzed: each target takes one seeded chance, spoils something good and reads it.

A target raises nothing but what a user may be told; anything else is a defect.
"""

from __future__ import annotations

import contextlib
import json
import random
import tempfile
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec

from retouch.dialects import DIALECTS
from retouch.dialects.base import (
    Accepted,
    Endpoint,
    Exchange,
    LinkedPicture,
    Pending,
    Produced,
    Rejected,
    Reply,
    Unreadable,
)
from retouch.engine.classify import classify
from retouch.errors import InputRefused, LedgerDamaged
from retouch.ledger import read as read_ledger
from retouch.ledger.decision import Redo, decide
from retouch.ledger.records import AnyRecord, decode
from retouch.ledger.recovery import digest_of
from retouch.ledger.state import Replay
from retouch.manifest import read as read_manifest
from retouch.pictures import measure
from retouch.text import body_without_secrets, one_clean_line, without_secrets
from tests.proofs.fuzz.mutation import spoilt_bytes, spoilt_json
from tests.support.bad_manifests import CASES
from tests.support.hostile_pictures import animation, oriented, picture

TESTS = Path(__file__).parents[2]
ENDPOINT = Endpoint("https://api.example.com/v1")
SECRET = "sk-cAnArY0123456789abcdef"
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - unguessable names
UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


@cache
def manifests() -> tuple[bytes, ...]:
    """An example and the bad ones, but for those whose size alone is what is bad."""
    example = (TESTS / "manifest/example.yaml").read_bytes()
    bad = (case.text().replace("«".encode(), b"") for case in CASES)
    return (example, *(text for text in bad if len(text) < 10_000))


def manifest(chance: random.Random) -> None:
    """Read, or refused with places."""
    spoilt = spoilt_bytes(chance.choice(manifests()), chance)
    told = ""
    try:
        read_manifest(spoilt, "m.yaml", Path("nowhere"), dialects=("qiniu",))
    except InputRefused as refused:
        told = str(refused)
    assert not told or told.startswith("m.yaml")
    _check_line(told.replace("\n", " "))


@cache
def replies() -> tuple[tuple[int, bytes], ...]:
    entries = json.loads((TESTS / "dialects/replies/qiniu.json").read_text())
    return tuple((entry.get("status", 200), _body(entry)) for entry in entries)


def _body(entry: dict[str, object]) -> bytes:
    text = entry.get("text")
    return text.encode() if isinstance(text, str) else json.dumps(entry["document"]).encode()


def reply(chance: random.Random) -> None:
    """A reading of some kind, whose texts are clean and whose task can be asked for."""
    status, body = chance.choice(replies())
    spoil = spoilt_json if chance.random() < 0.7 and _is_json(body) else spoilt_bytes
    given = Reply(
        chance.choice((status, status, 200, 400, 404, 429, 500, 503, 504)),
        {"retry-after": "5", "location": "https://h/x?token=t"},
        spoil(body, chance),
    )
    dialect = DIALECTS["qiniu"]
    submitted = dialect.read_submit(given)
    polled = dialect.read_poll(given)
    for reading in (submitted, polled):
        _check_reading(reading)
    whole = Exchange(given, 10, 10, connected=True, status=given.status)
    classify(whole, dialect.read_submit)
    cut = Exchange(None, 10, 10, connected=True, status=given.status, partial=given.body)
    classify(cut, dialect.read_submit)


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _check_reading(reading: Produced | Accepted | Pending | Rejected | Unreadable) -> None:
    match reading:
        case Accepted(task=task):
            request = DIALECTS["qiniu"].poll(task, ENDPOINT)
            assert request.url.startswith("https://api.example.com/")
            assert request.url.isascii()
            assert request.url.isprintable()
            assert "/../" not in request.url
        case Produced(pictures=pictures, usage=usage, warnings=warnings):
            for text in warnings:
                _check_line(text)
            assert all(
                count is None or 0 <= count <= 2**53
                for count in (usage.input_tokens, usage.output_tokens, usage.images)
            )
            assert all(isinstance(one, LinkedPicture) or one.base64 for one in pictures)
        case Pending(status=status, warning=warning):
            _check_line(status)
            _check_line(warning)
        case Rejected(message=message, code=code):
            _check_line(message)
            _check_line(code or "")
        case Unreadable(message=message):
            _check_line(message)


def _check_line(text: str) -> None:
    assert not {unicodedata.category(each) for each in text} & UNSAFE, text


@cache
def lines() -> tuple[bytes, ...]:
    """One record of every kind, and what may surround it."""
    key = "ab" * 32
    began = {"key": key, "attempt": 1, "model": "m", "prompt": "p", "source": "s.png"}
    error = {"kind": "network", "status": None, "code": None, "message": "no"}
    ceiling = {"amount": "0.280000", "currency": "CNY"}
    usage = {"input_tokens": 300, "output_tokens": 1290, "total_tokens": 1590, "images": 1}
    cost = {"amount": "0.2", "currency": "CNY", "basis": "tokens", "price": "p1"}
    file = {"path": "images/0.png", "sha256": "0" * 64, "bytes": 9, "media_type": "image/png",
            "width": 8, "height": 8}  # fmt: skip
    asked = {"input": "0" * 12, "prompt": "0" * 12, "options": "0" * 12, "n": 2}
    events: tuple[dict[str, object], ...] = (
        {"event": "run", "manifest": "m.yaml", "manifest_sha256": "0" * 64, "retouch": "0.1.0",
         "provider": "qiniu", "base_url": "https://api.example.com/v1", "jobs": 3},
        {"event": "started", **began, "ceiling": ceiling, "terms": asked},
        {"event": "unsent", "key": key, "attempt": 1, "error": error},
        {"event": "started", **began, "attempt": 2, "ceiling": ceiling},
        {"event": "accepted", "key": key, "attempt": 2, "task": "t-1"},
        {"event": "unknown", **began, "attempt": 2, "error": error, "ceiling": ceiling,
         "task": "t-1"},
        {"event": "resolved", "key": key, "attempt": 2, "verdict": "charged", "amount": ceiling},
        {"event": "failed", **began, "attempt": 3, "error": error, "billed": "unknown",
         "usage": usage, "cost": cost, "ceiling": ceiling, "final": False},
        {"event": "done", **began, "attempt": 4, "usage": usage, "cost": cost, "files": [file],
         "seconds": 1.5, "warnings": ["w"]},
        {"event": "reused", "key": key, "from": "other/ledger.jsonl", "files": [file]},
        {"event": "salvaged", "lost_lines": 2, "note": "n"},
        {"event": "end", "outcome": "finished", "counts": {"done": 1}, "cost": {}},
    )  # fmt: skip
    head = {"v": 1, "at": "2026-01-01T00:00:00.000000Z", "run": "r1", "prev": "0" * 16}
    return tuple(json.dumps(head | each, separators=(",", ":")).encode() for each in events)


def record(chance: random.Random) -> None:
    """A ledger of good and spoilt records in any order: each is one or is none, and what they add
    up to is decided for every job."""
    state = Replay()
    for _ in range(chance.choice((3, 12))):
        line = chance.choice(lines())
        if chance.random() < 0.5:
            line = spoilt_json(line, chance)
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            state.apply(decode(line))
    _check_state(state)


def _check_state(state: Replay) -> None:
    for key, outcome in state.outcomes.items():
        for redo in (Redo(), Redo(failed=True, unknown=True, missing=True)):
            decide(key, outcome, redo)
    state.counts()
    assert all(money.amount >= 0 for money in state.totals.confirmed.values())
    assert state.counted("CNY").amount >= 0


def chained(given: list[bytes]) -> bytes:
    """The lines as a ledger whose chain is right, whatever they say."""
    text, prev = b"", "0" * 16
    for line in given:
        whole = line.replace(b'"prev":"0000000000000000"', f'"prev":"{prev}"'.encode())
        text += whole + b"\n"
        prev = digest_of(whole)
    return text


def ledger(chance: random.Random) -> None:
    """A ledger's file: read, or damaged with its line; never anything else."""
    given = [chance.choice(lines()) for _ in range(4)]
    if chance.random() < 0.3:
        given[chance.randrange(4)] = spoilt_json(chance.choice(lines()), chance)
    text = chained(given)
    told = ""
    with tempfile.NamedTemporaryFile(dir=_MEMORY, suffix="ledger.jsonl", buffering=0) as file:
        file.write(spoilt_bytes(text, chance) if chance.random() < 0.8 else text)
        try:
            _check_state(read_ledger(Path(file.name)))
        except LedgerDamaged as damaged:
            told = str(damaged)
    assert not told or "ledger.jsonl:" in told


@cache
def pictures() -> tuple[bytes, ...]:
    kinds = (picture(kind=kind) for kind in ("PNG", "JPEG", "WEBP"))
    return (*kinds, oriented(6), animation("WEBP", 2), animation("PNG", 2))


def result(chance: random.Random) -> None:
    """What a server sent for a picture: measured, or none."""
    found = measure(spoilt_bytes(chance.choice(pictures()), chance))
    assert found is None or (found[1] > 0 and found[2] > 0)


def text(chance: random.Random) -> None:
    """Text with a key and signatures in it, spoilt around them: cut out, and clean."""
    link = "https://u:hunter2@h.example/0.png?e=1&token=SIGNED0123"
    parts = [f" {SECRET} ", link, '{"x": "y"}', "\u202e\x1b[2J", f"{SECRET[:15]}…"]
    chance.shuffle(parts)
    noise = spoilt_bytes(b"some text that is about it", chance).decode("latin-1")
    shown = one_clean_line(without_secrets(f" {noise} ".join(parts), (SECRET,)))
    assert SECRET[:8] not in shown
    assert "SIGNED" not in shown
    assert "hunter2" not in shown
    _check_line(shown)
    body = body_without_secrets(f" {noise} ".join(parts).encode(), (SECRET,))
    assert SECRET[:8].encode() not in body
    assert b"SIGNED" not in body


TARGETS: dict[str, Callable[[random.Random], None]] = {
    "manifest": manifest,
    "reply": reply,
    "record": record,
    "ledger": ledger,
    "result": result,
    "text": text,
}


def fuzz(target: str, runs: int, seed: int) -> None:
    """`runs` inputs of one target, each from its own seed; a failure names that seed."""
    for number in range(runs):
        own = f"{target}-{seed}-{number}"
        try:
            TARGETS[target](random.Random(own))
        except BaseException as error:
            error.add_note(f"python -m tests.proofs.fuzz {target} --again {seed} {number}")
            raise


def kinds_of_records() -> set[type[AnyRecord]]:
    """For the test of the tests: every kind of record is among the seeds."""
    return {type(decode(line)) for line in lines()}
