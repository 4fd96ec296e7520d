"""What a Job asks for in each dialect's own words, and how a server is asked."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from retouch.dialects import DIALECTS
from retouch.dialects.base import Endpoint, Pending, Produced, Rejected, Reply, Unreadable
from retouch.dialects.openai_like.errors import submit_refused, task_failed
from retouch.job import Job, Members, Options, Picture, Prompt, Source, Terms

QINIU, OPENAI = DIALECTS["qiniu"], DIALECTS["openai"]
ENDPOINT = Endpoint("https://example.com/v1")


def config(**members: Any) -> tuple[str, Members]:
    return "image_config", Members(tuple(sorted(members.items())))


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ((), Terms()),
        ((("n", 2),), Terms(2)),
        ((("n", "2"),), Terms(1)),
        ((("num_images", 3),), Terms(3)),
        ((("num_images", "3"),), Terms(1)),
        ((("size", "1024x1024"), ("quality", "high")), Terms(1, "1024x1024", "high")),
        ((("resolution", "2K"), ("aspect_ratio", "3:4")), Terms(1, "2K", None, "3:4")),
        ((config(image_size="4K", aspect_ratio="21:9", quality="low"),),
         Terms(1, "4K", "low", "21:9")),
        ((("size", "1x1"), config(image_size="4K")), Terms(1, "1x1")),
        ((("size", 7), ("quality", 7), ("aspect_ratio", 7)), Terms()),
        ((("image_config", "4K"),), Terms()),
    ],
)  # fmt: skip
def test_what_a_price_looks_at_is_found_under_qinius_names(options: Options, asked: Terms) -> None:
    """Also within `image_config`; what stands without goes first. `rehearsal` is the same."""
    assert QINIU.terms(options) == DIALECTS["rehearsal"].terms(options) == asked


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ((), Terms()),
        ((("n", 2),), Terms(2)),
        ((("n", "2"),), Terms(1)),
        ((("size", "1024x1024"), ("quality", "high")), Terms(1, "1024x1024", "high")),
        ((("size", 7), ("quality", 7)), Terms()),
    ],
)
def test_what_a_price_looks_at_is_found_under_openais_names(options: Options, asked: Terms) -> None:
    """How many, of which size and quality."""
    assert OPENAI.terms(options) == asked


@pytest.mark.parametrize("task", ["t-1", "queue/fal-ai/kling-image/requests/r-1"])
def test_a_poll_asks_for_json_and_sends_nothing(task: str) -> None:
    """With the key: it is the caller's Task."""
    asked = QINIU.poll(task, ENDPOINT)
    assert (asked.method, asked.body, asked.authorized) == ("GET", (), True)
    assert asked.headers == (("accept", "application/json"),)


UNITS = [
    ("350ms", 0.35), ("350 milliseconds", 0.35), ("1 millisecond", 0.001), ("350毫秒", 0.35),
    ("2s", 2), ("2 sec", 2), ("2secs", 2), ("1 second", 1), ("2 Seconds", 2), ("2秒", 2),
    ("3m", 180), ("3 min", 180), ("3mins", 180), ("1 minute", 60), ("3 minutes", 180),
    ("3分钟", 180), ("2h", 7200), ("2 hr", 7200), ("2hrs", 7200), ("1 hour", 3600),
    ("2 HOURS", 7200), ("2小时", 7200), ("1d", 86_400), ("1 day", 86_400), ("2 days", 172_800),
    ("2.5s", 2.5),
]  # fmt: skip


@pytest.mark.parametrize(("written", "seconds"), UNITS)
def test_a_delay_is_told_in_any_unit(written: str, seconds: float) -> None:
    """As a member, where its own unit goes before the member's, and in words."""
    for body in (
        f'{{"error": {{"message": "x", "retry_after_ms": "{written}"}}}}',
        f'{{"error": {{"message": "slow down, try again in {written}"}}}}',
    ):
        found = submit_refused(Reply(429, {}, body.encode()))
        assert isinstance(found, Rejected)
        assert found.wait_seconds == pytest.approx(seconds)


@pytest.mark.parametrize("status", ["failed", 500, False, None])
def test_a_tasks_status_is_no_name_of_its_error(status: object) -> None:
    """The error's own words are; where there are none, that is said."""
    told = {"status": status, "error": {"code": "1234", "message": "no luck"}}
    found = task_failed(told, 200, images=None)
    assert (found.kind, found.code, found.message) == ("task_failed", "1234", "no luck")
    assert (found.billed, found.status) == ("no", 200)
    bare = task_failed({"status": status}, 200, images=2)
    assert (bare.code, bare.billed) == (None, "yes")
    assert bare.message == "the task failed; the server gave no reason"


FILE = Picture("sha256:0", file="/a.png", media_type="image/png")
LINK = Picture("url:x", url="https://example.com/b.jpg")


def job_with(*pictures: Picture, mask: Picture | None, options: Options = ()) -> Job:
    source = Source("a", pictures[0], mask=mask, images=pictures[1:])
    return Job("gpt-image-2", Prompt("p", "雪"), source, options)


def test_a_json_body_holds_every_field_and_no_option_in_its_place() -> None:
    """Model, prompt, pictures, mask; one picture where no number is asked for."""
    options = (("model", "x"), ("prompt", "x"), ("mask", "x"), ("images", "x"), ("size", "auto"))
    asked = OPENAI.submit(job_with(FILE, LINK, mask=FILE, options=options), ENDPOINT)
    body = b"".join(each if isinstance(each, bytes) else b"..." for each in asked.body)
    there = {"image_url": "data:image/png;base64,..."}
    assert json.loads(body) == {
        "model": "gpt-image-2", "prompt": "雪", "images": [there, {"image_url": LINK.url}],
        "mask": there, "n": 1, "size": "auto",
    }  # fmt: skip
    assert (asked.method, asked.url) == ("POST", "https://example.com/v1/images/edits")
    assert dict(asked.headers)["content-type"] == "application/json"
    bare = OPENAI.submit(job_with(LINK, mask=None, options=(("n", 3),)), ENDPOINT)
    assert json.loads(b"".join(each for each in bare.body if isinstance(each, bytes))) == {
        "model": "gpt-image-2", "prompt": "雪", "images": [{"image_url": LINK.url}], "n": 3,
    }  # fmt: skip


def test_a_form_writes_each_value_as_forms_do() -> None:
    """Texts as they are, all else as JSON does; names without quotes and ends of lines."""
    options: Options = (
        ("stream", False), ("moving", True), ("n", 2), ("ratio", 0.5), ("nothing", None),
        ('a"b\r\nc', "x"), ("svg", Members((("effort", "low"),))),
    )  # fmt: skip
    asked = OPENAI.submit(job_with(FILE, mask=FILE, options=options), ENDPOINT)
    body = b"".join(each if isinstance(each, bytes) else b"..." for each in asked.body)
    kind = dict(asked.headers)["content-type"]
    boundary = kind.removeprefix("multipart/form-data; boundary=").encode()
    first, *parts, last = body.split(b"--" + boundary)
    said = dict(each[2:-2].split(b"\r\n\r\n", 1) for each in parts)
    form = b"Content-Disposition: form-data; name="
    png = b"\r\nContent-Type: image/png"
    assert (first, last) == (b"", b"--\r\n")
    assert said == {
        form + b'"model"': b"gpt-image-2", form + b'"prompt"': "雪".encode(),
        form + b'"n"': b"2", form + b'"stream"': b"false", form + b'"moving"': b"true",
        form + b'"ratio"': b"0.5", form + b'"a%22b%0D%0Ac"': b"x",
        form + b'"svg[effort]"': b"low",
        form + b'"image[]"; filename="image-0.png"' + png: b"...",
        form + b'"mask"; filename="mask.png"' + png: b"...",
    }  # fmt: skip


def test_a_redirect_says_its_status_and_where_it_leads() -> None:
    """Where it says where."""
    for headers, where in (({"location": "https://b.example/v1?x=1"}, "https://b.example/v1"),
                           ({}, "another address")):  # fmt: skip
        found = submit_refused(Reply(301, headers, b""))
        assert isinstance(found, Rejected)
        assert (found.kind, found.status, found.code, found.scope) == (
            "bad_request", 301, None, "run",
        )  # fmt: skip
        assert found.message.startswith(f"the server redirects to {where}")


def said(document: object, status: int = 200) -> Reply:
    return Reply(status, {}, json.dumps(document).encode())


def test_what_is_no_result_is_said_with_its_status() -> None:
    """In full, for the charge is not known."""
    assert OPENAI.read_submit(said({}, 201)) == Unreadable("the reply holds no pictures", 201)
    neither = Unreadable("the reply holds neither pictures nor a task", 202)
    assert QINIU.read_submit(said({"result": {"images": 3}}, 202)) == neither
    broken = QINIU.read_submit(Reply(200, {}, b'data: {"type": "image_edit.partial_image"}\n\n'))
    assert isinstance(broken, Unreadable)
    assert broken.message.startswith("the stream ended without a completed picture (1 partial")
    assert isinstance(QINIU.read_submit(said({"status": "failed", "usage": {}})), Unreadable)
    polled = QINIU.read_poll(said({"error": {"message": "come again"}}, 400))
    assert polled == Unreadable("come again", 400)


@pytest.mark.parametrize(("status", "shown"), [(7, "7"), ("Paused", "paused"), ([], "list")])
def test_a_status_that_nobody_knows_is_shown_and_waited_on(status: object, shown: str) -> None:
    """A Task is not given up for a word."""
    warning = f"unknown status {shown}: taken as not finished"
    assert QINIU.read_poll(said({"status": status})) == Pending(shown, warning)


def test_a_count_that_is_none_is_warned_of_beside_its_picture() -> None:
    """What was refused of a usage is told."""
    reply = said({"data": [{"b64_json": "AAAA"}], "usage": {"input_tokens": "x"}})
    for dialect in (OPENAI, QINIU):
        found = dialect.read_submit(reply)
        assert isinstance(found, Produced)
        assert found.warnings[0] == "the reply's input_tokens is not a count: 'x'"


def test_what_a_model_takes_that_no_table_lists_is_not_bounded() -> None:
    """Nor is its number of pictures said for it; the fields of pictures are no options."""
    assert OPENAI.capabilities("gpt-image-2").maximum_prompt_characters == 32_000
    assert OPENAI.capabilities("strange").maximum_prompt_characters is None
    assert QINIU.capabilities("kling-v9").reserved == (
        "image", "image_urls", "subject_image_list", "images",
    )  # fmt: skip
    for images in (1, 3):
        assert QINIU.capabilities("kling-v9", images=images).known is False
        pictures = [LINK] * images
        job = replace(job_with(*pictures, mask=None), model="kling-v9")
        body = QINIU.submit(job, ENDPOINT).body
        document = json.loads(b"".join(each for each in body if isinstance(each, bytes)))
        assert set(document) <= {"model", "prompt", "image", "subject_image_list"}
