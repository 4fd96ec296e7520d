"""What every dialect must do, whatever it speaks: one suite over all of `DIALECTS`,
and over the one that lives in tests.

A new dialect adds its recorded replies under `replies/` and passes; nothing here knows a wire.
"""

from __future__ import annotations

import base64
import json
import unicodedata
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retouch.dialects import DIALECTS
from retouch.dialects.base import (
    Accepted,
    Base64,
    Dialect,
    EncodedPicture,
    Endpoint,
    LinkedPicture,
    Parameter,
    Pending,
    Produced,
    Raw,
    Rejected,
    Reply,
    Request,
    Unreadable,
    Usage,
)
from retouch.job import Job, Picture, Prompt, Source
from tests.support import sketch

EVERY: dict[str, Dialect] = {**DIALECTS, sketch.NAME: sketch}
ENDPOINT = Endpoint("https://api.example.com/v1")
UNCLEAN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
SPEAKS = {"rehearsal": "qiniu"}  # whose recorded replies a dialect reads, where not its own
PICTURE_BYTES = b"\x89PNG\r\n\x1a\n\xff\xfe\x00"
FILE = Picture("sha256:0", file="a.png", media_type="image/png")
LINK = Picture("url:x", url="https://pictures.example.com/a.png?e=1&token=x")

# A busy machine is no failure.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
each_dialect = pytest.mark.parametrize("dialect", EVERY.values(), ids=EVERY.keys())
each_model = pytest.mark.parametrize(
    ("dialect", "model"),
    [(dialect, model) for dialect in EVERY.values() for model in (*dialect.models(), "other")],
)


def recorded(name: str) -> list[dict[str, Any]]:
    path = Path(__file__).parent / "replies" / f"{SPEAKS.get(name, name)}.json"
    replies: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return replies


RECORDED = [
    pytest.param(dialect, entry, id=f"{name}-{entry['call']}-{entry['name']}")
    for name, dialect in EVERY.items()
    for entry in recorded(name)
]


def reply_of(entry: dict[str, Any]) -> Reply:
    text = entry["text"] if "text" in entry else json.dumps(entry["document"])
    return Reply(entry.get("status", 200), entry.get("headers", {}), text.encode())


def joined(request: Request) -> bytes:
    """The body as the transport would send it, every picture being PICTURE_BYTES."""
    parts = {Base64: base64.b64encode(PICTURE_BYTES), Raw: PICTURE_BYTES}
    return b"".join(s if isinstance(s, bytes) else parts[type(s)] for s in request.body)


ALWAYS = (
    "input_tokens", "output_tokens", "total_tokens", "text_tokens", "image_tokens", "images",
)  # fmt: skip


def written(value: object) -> object:
    """A reading's field as the recorded replies write it."""
    match value:
        case EncodedPicture():
            return f"base64:{value.base64}"
        case LinkedPicture():
            return f"url:{value.url}"
        case Usage():
            said = asdict(value).items()
            return {name: each for name, each in said if each is not None or name in ALWAYS}
        case tuple():
            return [written(item) for item in value]
        case _:
            return value


# --- The table -------------------------------------------------------------------------------


@each_dialect
def test_a_dialect_goes_by_the_name_it_is_listed_under(dialect: Dialect) -> None:
    """Ledgers name the dialect; the name must lead back to it."""
    assert EVERY[dialect.NAME] is dialect


@each_dialect
def test_the_default_address_is_a_normal_base(dialect: Dialect) -> None:
    """`base` has no slash after and no query; over plain http only to this machine."""
    parts = urlsplit(dialect.DEFAULT_BASE_URL)
    assert parts.scheme == "https" or parts.hostname in ("127.0.0.1", "::1", "localhost")
    assert not parts.query
    assert not dialect.DEFAULT_BASE_URL.endswith("/")


@each_model
def test_capabilities_are_well_formed(dialect: Dialect, model: str) -> None:
    """Names are unique, ranges are not empty, a mapping has members and nothing else has."""
    capabilities = dialect.capabilities(model)
    assert capabilities.model == model
    assert capabilities.known is (model in dialect.models())
    placements = [placement.name for placement in capabilities.placements]
    assert placements
    assert len(set(placements)) == len(placements)
    for placement in capabilities.placements:
        assert 0 < placement.minimum <= placement.maximum
    _check_parameters(capabilities.parameters)


def _check_parameters(parameters: tuple[Parameter, ...]) -> None:
    names = [parameter.name for parameter in parameters]
    assert len(set(names)) == len(names)
    for parameter in parameters:
        if parameter.minimum is not None and parameter.maximum is not None:
            assert parameter.minimum < parameter.maximum
        assert not parameter.choices or parameter.kind == "string"
        assert not parameter.pattern or parameter.kind == "string"
        assert bool(parameter.members) == (parameter.kind == "mapping")
        _check_parameters(parameter.members)


@each_model
def test_the_chosen_field_comes_first(dialect: Dialect, model: str) -> None:
    """Asked for one of its fields, the table answers about that field, whatever the number."""
    placements = dialect.capabilities(model).placements
    assert placements
    for placement in placements:
        for images in (1, placement.maximum):
            answer = dialect.capabilities(model, images=images, placement=placement.name)
            assert answer.placements[0] == placement


# --- Requests --------------------------------------------------------------------------------

options = st.dictionaries(
    st.text("abcdefgh_", min_size=1, max_size=8),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1, 1) | st.text(),
        lambda inner: st.lists(inner, max_size=3).map(tuple),
        max_leaves=5,
    ),
    max_size=4,
)


@st.composite
def jobs(draw: st.DrawFn, dialect: Dialect) -> Job:
    """A Job as the plan might make it: any model and field, any prompt, options and pictures."""
    model = draw(st.sampled_from([*dialect.models(), "other", "kling-other"]))
    fields = [placement.name for placement in dialect.capabilities(model).placements]
    sent = draw(st.lists(st.sampled_from([FILE, LINK]), min_size=1, max_size=4))
    mask = draw(st.sampled_from([None, FILE, LINK]))
    return Job(
        model,
        Prompt("p", draw(st.text())),
        Source("a", sent[0], mask=mask, images=tuple(sent[1:])),
        tuple(sorted(draw(options).items())),
        draw(st.sampled_from(fields)),
    )


@each_dialect
@steady
@given(data=st.data())
def test_a_submit_is_a_whole_deterministic_request_without_a_key(
    dialect: Dialect, data: st.DataObject
) -> None:
    """Whatever prompt, options and pictures: one POST to the endpoint, the same each time, each
    file's bytes in it once, the prompt as it was, and no credentials."""
    job = data.draw(jobs(dialect))
    request = dialect.submit(job, ENDPOINT)
    assert request == dialect.submit(job, ENDPOINT)
    assert request.method == "POST"
    assert request.url.startswith(ENDPOINT.root + "/")
    assert "authorization" not in {name.lower() for name, _ in request.headers}
    files = [picture for picture in (*job.pictures, job.source.mask) if picture is FILE]
    assert len([s for s in request.body if not isinstance(s, bytes)]) == len(files)
    if ("content-type", "application/json") in request.headers:
        assert json.loads(joined(request))["prompt"] == job.prompt.text


@pytest.mark.parametrize(("dialect", "entry"), RECORDED)
def test_what_was_accepted_can_be_polled(dialect: Dialect, entry: dict[str, Any]) -> None:
    """A recorded task is enough to poll: a GET at the endpoint, without query or body."""
    if entry["reading"] != "Accepted":
        return
    reading = dialect.read_submit(reply_of(entry))
    assert isinstance(reading, Accepted)
    _check_poll(dialect, reading.task)


def _check_poll(dialect: Dialect, task: str) -> None:
    request = dialect.poll(task, ENDPOINT)
    assert request.method == "GET"
    assert request.body == ()
    assert "authorization" not in {name.lower() for name, _ in request.headers}
    parts = urlsplit(request.url)
    assert f"{parts.scheme}://{parts.netloc}" == ENDPOINT.root
    assert request.url.isascii()
    assert request.url.isprintable()
    assert not parts.query
    assert not parts.fragment
    assert " " not in request.url
    assert not {".", ".."} & set(parts.path.split("/"))


# --- Replies ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("dialect", "entry"), RECORDED)
def test_recorded_replies_mean_what_they_meant(dialect: Dialect, entry: dict[str, Any]) -> None:
    """Each recorded reply is read as its entry says."""
    read = {"submit": dialect.read_submit, "poll": dialect.read_poll}[entry["call"]]
    reading = read(reply_of(entry))
    assert type(reading).__name__ == entry["reading"], reading
    wanted = entry.get("fields", {})
    assert {name: written(getattr(reading, name)) for name in wanted} == wanted


@each_dialect
def test_the_recorded_replies_cover_every_reading(dialect: Dialect) -> None:
    """A dialect's recordings hold at least one of everything a reply can mean."""
    seen = {(entry["call"], entry["reading"]) for entry in recorded(dialect.NAME)}
    submits = {("submit", kind) for kind in ("Produced", "Rejected", "Unreadable")}
    assert submits <= seen
    if ("submit", "Accepted") in seen:
        assert {("poll", k) for k in ("Produced", "Pending", "Rejected", "Unreadable")} <= seen


MEMBERS = (
    "task_id", "request_id", "id", "status", "status_url", "status_message", "data", "images",
    "result", "url", "b64_json", "error", "message", "type", "code", "detail", "usage", "quantity",
    "total_tokens", "input_tokens_details", "text_tokens", "output", "success",
)  # fmt: skip
WORDS = (
    "succeed", "COMPLETED", "failed", "processing", "IN_QUEUE", "data:image/png;base64,AAAA",
    "https://h.example/0.png?token=canary", "quota_exceeded_error", "../../etc", "a/b", "a\nb",
    "\x1b[2J\u202eabc", "https://[", "1303", "task not found", "x" * 600,
)  # fmt: skip
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4)
    ),
    max_leaves=10,
)
documents = st.dictionaries(st.sampled_from(MEMBERS), values, max_size=6)
bodies = st.binary(max_size=200) | documents.map(lambda d: json.dumps(d).encode())
statuses = st.sampled_from([200, 201, 204, 302, 400, 401, 403, 404, 429, 500, 503, 504]) | (
    st.integers(100, 599)
)
headers = st.dictionaries(st.sampled_from(["location", "retry-after"]), st.text(max_size=30))


@each_dialect
@steady
@given(status=statuses, headers=headers, body=bodies)
def test_every_reply_to_a_submit_is_read(
    dialect: Dialect, status: int, headers: dict[str, str], body: bytes
) -> None:
    """Never an exception; what may be sent again was surely not billed; a task can be polled."""
    reading = dialect.read_submit(Reply(status, headers, body))
    assert isinstance(reading, Produced | Accepted | Rejected | Unreadable)
    _check_texts(reading)
    if isinstance(reading, Rejected):
        assert not reading.retry_safe or (reading.billed, reading.scope) == ("no", "job")
    if isinstance(reading, Accepted):
        assert reading.task.isprintable()
        assert "canary" not in reading.task
        _check_poll(dialect, reading.task)


@each_dialect
@steady
@given(status=statuses, headers=headers, body=bodies)
def test_every_reply_to_a_poll_is_read(
    dialect: Dialect, status: int, headers: dict[str, str], body: bytes
) -> None:
    """Never an exception; and only a Task that ended is called unbilled: a refused poll is not."""
    reading = dialect.read_poll(Reply(status, headers, body))
    assert isinstance(reading, Produced | Pending | Rejected | Unreadable)
    _check_texts(reading)
    if isinstance(reading, Rejected) and reading.billed != "unknown":
        assert reading.kind in ("task_failed", "content")
        assert 200 <= status < 300


def _check_texts(reading: Produced | Accepted | Pending | Rejected | Unreadable) -> None:
    """All that reaches a terminal or the ledger is one short clean line without signed queries."""
    for text in _texts(reading):
        assert len(text) <= 700
        assert not {unicodedata.category(character) for character in text} & UNCLEAN
        assert "canary" not in text


def _texts(reading: Produced | Accepted | Pending | Rejected | Unreadable) -> tuple[str, ...]:
    match reading:
        case Produced() | Accepted():
            return reading.warnings
        case Pending():
            return (reading.status, reading.warning)
        case Rejected():
            return (reading.message, reading.code or "")
        case Unreadable():
            return (reading.message,)


MONSTERS = {
    "ten megabytes of message": b'{"error":{"message":"' + b"x" * 10_000_000 + b'"}}',
    "ten megabytes of page": b"<html>" + b"x" * 10_000_000,
    "ten megabytes of task id": b'{"task_id":"' + b"x" * 10_000_000 + b'"}',
    "100,000 deep lists": b"[" * 100_000 + b"]" * 100_000,
    "100,000 deep objects": b'{"error":' * 100_000 + b"1" + b"}" * 100_000,
    "endless digits": b'{"code":' + b"9" * 100_000 + b"}",
    "not UTF-8": b'{"error":{"message":"\xff\xfe"}}',
    "a BOM": b'\xef\xbb\xbf{"error":"no"}',
    "a lone surrogate": b'{"error":"\\ud800"}',
    "terminal escapes": '{"error":"\\u001b[2J\u202e\u2028\\u0007"}'.encode(),
}


@each_dialect
@pytest.mark.parametrize("body", MONSTERS.values(), ids=MONSTERS.keys())
@pytest.mark.parametrize("status", [200, 400, 500, 503])
def test_monstrous_bodies_are_read_too(dialect: Dialect, status: int, body: bytes) -> None:
    """Huge, deep and broken bodies are answered with one clean line (BAD-INPUT 51)."""
    for read in (dialect.read_submit, dialect.read_poll):
        reading = read(Reply(status, {}, body))
        assert isinstance(reading, Rejected | Unreadable)
        _check_texts(reading)
