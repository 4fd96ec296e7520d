"""Each member that a reply may hold arrives where it belongs: errors, usage, reasons, streams."""

from __future__ import annotations

import json
from dataclasses import fields
from decimal import Decimal
from typing import Any

import pytest

from retouch.dialects.base import (
    Base64,
    EncodedPicture,
    LinkedPicture,
    Produced,
    Raw,
    Rejected,
    Reply,
    Unreadable,
    Usage,
)
from retouch.dialects.bill import UnreadableCell, when
from retouch.dialects.openai import replies as openai
from retouch.dialects.openai_like.bodies import PictureBody, sent_media_type
from retouch.dialects.openai_like.documents import (
    looks_like_a_page,
    looks_like_html,
    pictures_in,
    read_document,
    read_json,
    reason_for_none,
    text_of_page,
)
from retouch.dialects.openai_like.error_shapes import read_error, told_by
from retouch.dialects.openai_like.errors import is_refusal, poll_refused, submit_refused
from retouch.dialects.openai_like.events import events_in, is_stream, read_stream
from retouch.dialects.openai_like.usage import credible, usage_in
from retouch.dialects.qiniu import replies as qiniu
from retouch.dialects.qiniu.requests import terms
from retouch.job import Picture, Terms
from retouch.money import Money
from retouch.reconcile.bill_cells import zone_of

BOM = b"\xef\xbb\xbf"


def reply(status: int, document: object, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, named, json.dumps(document).encode())


def test_every_count_of_a_usage_is_read_by_each_of_its_names() -> None:
    """OpenAI's Responses and Chat APIs, and OpenRouter's cost."""
    usage = {
        "total_tokens": 3, "cost": "0.5", "currency": "eur",
        "{in}_tokens": 1, "{out}_tokens": 2,
        "{in}_tokens_details": {"text_tokens": 4, "image_tokens": 5, "cached_tokens": 6,
                                "cached_tokens_details": {"text_tokens": 7, "image_tokens": 8}},
        "{out}_tokens_details": {"reasoning_tokens": 9, "text_tokens": 10, "image_tokens": 11},
    }  # fmt: skip
    for given, made in (("input", "output"), ("prompt", "completion")):
        said = {name.replace("{in}", given).replace("{out}", made): v for name, v in usage.items()}
        document = {"usage": said, "svg_usage": {"input_tokens": 12, "output_tokens": 13}}
        warnings: list[str] = []
        assert usage_in(document, warnings, images=14) == Usage(
            1, 2, 3, 4, 5, 14, 6, 9, 10, 11, 7, 8, 12, 13, Money(Decimal("0.5"), "EUR")
        )
        assert not warnings
    both = {"input_tokens": 0, "prompt_tokens": 0}
    assert usage_in({"usage": both}, []).input_tokens == 0


def test_a_count_that_is_none_is_named() -> None:
    """With its value, in short."""
    bad = {"input_tokens": "many", "output_tokens": [1], "total_tokens": -1, "cost": "x"}
    warnings: list[str] = []
    assert usage_in({"usage": bad}, warnings) == Usage()
    assert warnings == [
        "the reply's input_tokens is not a count: 'many'",
        "the reply's output_tokens is not a count: list",
        "the reply's total_tokens is not a count: -1",
        "the reply's cost is no amount: 'x'",
    ]
    assert usage_in({"usage": []}, warnings) == Usage()
    assert warnings[-1] == "the reply's usage is not an object"


@pytest.mark.parametrize(
    ("cost", "currency", "money"),
    [
        (0, None, ("0", "USD")), ("1e9", "", ("1e9", "USD")), (1.5, "CNYX", ("1.5", "USD")),
        (1, "C1Y", ("1", "USD")), (1, "元元元", ("1", "USD")), ("1000000000.1", None, None),
        ("inf", None, None), ("nan", None, None), (True, None, None), ({}, None, None),
        (None, "CNY", None),
    ],
)  # fmt: skip
def test_a_cost_is_an_amount_in_dollars_unless_a_code_says_otherwise(
    cost: object, currency: str | None, money: tuple[str, str] | None
) -> None:
    """Up to a thousand million."""
    stated = usage_in({"usage": {"cost": cost, "currency": currency}}, []).stated
    assert stated == (Money(Decimal(money[0]), money[1]) if money else None)


WHOLE = Usage(input_tokens=10, output_tokens=20, total_tokens=30)
BELIEVED: list[tuple[dict[str, Any], int, dict[str, Any], str]] = [
    # what is said beside 10 in, 20 out, 30 in all; pictures; what of it is believed; the warning
    ({}, 1, {}, ""),
    ({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}, 0, {}, ""),
    ({"input_tokens": 0, "output_tokens": 0}, 0, {"input_tokens": None, "output_tokens": None},
     "counts nothing"),
    ({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}, 1,
     {"input_tokens": None, "output_tokens": None}, "counts nothing"),
    ({"output_tokens": 0, "total_tokens": 10}, 0, {}, ""),
    ({"output_tokens": 0, "total_tokens": 10}, 1, {"output_tokens": None}, "no output"),
    ({"total_tokens": 31}, 1, {"output_tokens": 21, "reasoning_tokens": 1}, "1 tokens of the"),
    ({"total_tokens": 31, "reasoning_tokens": 5}, 1, {"output_tokens": 21}, "1 tokens of the"),
    ({"total_tokens": 29}, 1, {}, ""),
    ({"images": 0}, 1, {"images": None}, "counts no picture and holds some"),
    ({"images": 0}, 0, {}, ""),
    ({"text_tokens": 4, "image_tokens": 6}, 1, {}, ""),
    ({"text_tokens": 4, "image_tokens": 5}, 1, {"text_tokens": None, "image_tokens": None},
     "kinds of input are not"),
    ({"text_tokens": 4}, 1, {}, ""),
    ({"cached_tokens": 10}, 1, {}, ""),
    ({"cached_tokens": 11}, 1, {"cached_tokens": None}, "more cached than input"),
    ({"text_tokens": 4, "image_tokens": 6, "cached_text_tokens": 4, "cached_image_tokens": 6}, 1,
     {}, ""),
    ({"text_tokens": 4, "image_tokens": 6, "cached_text_tokens": 5, "cached_image_tokens": 1}, 1,
     {"cached_text_tokens": None, "cached_image_tokens": None}, "kinds of cached input"),
    ({"text_tokens": 4, "image_tokens": 6, "cached_text_tokens": 1, "cached_image_tokens": 7}, 1,
     {"cached_text_tokens": None, "cached_image_tokens": None}, "kinds of cached input"),
    ({"text_output_tokens": 5, "image_output_tokens": 15}, 1, {}, ""),
    ({"text_output_tokens": 5, "image_output_tokens": 16}, 1,
     {"text_output_tokens": None, "image_output_tokens": None}, "kinds of output"),
    ({"image_output_tokens": 20}, 1, {}, ""),
    ({"text_output_tokens": 0, "image_output_tokens": 0}, 1,
     {"text_output_tokens": None, "image_output_tokens": None}, "kinds of output"),
    ({"output_tokens": 0, "total_tokens": 10, "text_output_tokens": 0}, 0, {}, ""),
    ({"output_tokens": None, "text_output_tokens": 7}, 1, {}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("said", "pictures", "believed", "warning"), BELIEVED)
def test_what_cannot_be_true_is_left_out_and_said_and_nothing_else(
    said: dict[str, Any], pictures: int, believed: dict[str, Any], warning: str
) -> None:
    """Kinds within their whole, to the last token."""
    whole = {each.name: getattr(WHOLE, each.name) for each in fields(Usage)}
    warnings: list[str] = []
    assert credible(Usage(**whole | said), pictures, warnings) == Usage(**whole | said | believed)
    assert [warning in each for each in warnings] == ([True] if warning else [])


ERRORS: list[tuple[object, tuple[str, ...], bool, float | None]] = [
    # body, further names, whether the shape is the services' own, delay
    ({"error": {"message": "m"}}, (), True, None),
    ({"error": "m"}, (), False, None),
    ({"message": "m", "code": 1301}, (), True, None),
    ({"msg": "m", "code": "1301"}, (), True, None),
    ({"message": "m", "code": 401}, (), False, None),
    ({"message": "m", "code": 13010}, (), False, None),
    ({"message": "m", "status": False}, (), True, None),
    ({"msg": "m", "status": True}, (), False, None),
    ({"detail": "m", "status": False}, (), False, None),
    ({"error": {"message": "m", "status": "RESOURCE_EXHAUSTED"}}, ("RESOURCE_EXHAUSTED",), True,
     None),
    ({"error": {"message": "m", "status": "X", "details": [
        {"reason": "API_KEY_INVALID"}, {"violations": [{"quotaId": "PerDay"}, 3]}, 7,
        {"retryDelay": "26s"}]}}, ("API_KEY_INVALID", "PerDay", "X"), True, 26.0),
    ({"fault": {"faultstring": "m", "detail": {"errorcode": "policies.Quota"}}},
     ("policies.Quota",), False, None),
    ({"error": {"message": "m", "retry_after": 7}}, (), True, 7.0),
    ({"error": {"message": "m", "retryAfterMs": 700}}, (), True, 0.7),
    ({"error": {"message": "m"}, "retry_after_ms": "500"}, (), True, 0.5),
    ({"error": {"message": "m"}, "retryAfter": "1m30s"}, (), True, None),
    ({"error": {"message": "m"}, "retryAfter": "90 seconds"}, (), True, 90.0),
    ({"error": {"message": "m"}, "retry_after_seconds": -1, "retry_after": True}, (), True, None),
    ({"error": {"message": "try again in 1h2m3.5s"}}, (), True, 3723.5),
    ({"error": {"message": "Please wait 350ms."}}, (), True, 0.35),
    ({"error": {"message": "resets in 2 days"}}, (), True, 172_800.0),
    ({"error": {"message": "请在 2 分钟后重试"}}, (), True, 120.0),
    ({"error": {"message": "quota reset at 03:12:42"}}, (), True, 11_562.0),
    ({"error": {"message": "it took 20 seconds"}}, (), True, None),
    ({"error": {"message": "retry 20 sectors"}}, (), True, None),
    ({"error": {"message": json.dumps({"error": {"message": "retry in 5 s", "code": "c",
      "type": "t", "status": "S"}}), "type": "outer", "code": "9", "status": "O"}},
     ("O", "S", "outer", "9"), True, 5.0),
]  # fmt: skip


@pytest.mark.parametrize(("body", "reasons", "is_own", "delay"), ERRORS)
def test_an_errors_names_owner_and_delay_are_read(
    body: object, reasons: tuple[str, ...], is_own: bool, delay: float | None
) -> None:
    """Wherever a service or the gateway before it puts them."""
    error = read_error(json.dumps(body).encode())
    assert error is not None
    assert error.reasons == reasons
    assert error.is_own == is_own
    assert error.wait_seconds == (pytest.approx(delay) if delay else None)


@pytest.mark.parametrize(
    ("body", "kind", "code", "message"),
    [
        ({"detail": [{"msg": "a"}, {"message": "b"}]}, "", "", "a"),
        ({"detail": [{"message": "b"}]}, "", "", "b"),
        ({"detail": {"message": "b"}}, "", "", "b"),
        ({"error_type": "t", "error_msg": "m", "error_code": 7}, "t", "7", "m"),
        ({"Error": {"Message": "m", "Code": "c"}}, "", "c", "m"),
        ({"error": {"errorType": "t", "error_description": "m", "status_code": 5}}, "t", "5", "m"),
        ({"error": "m", "status": 500}, "", "", "m"),
        ({"error": "m", "message": "more", "status": 500}, "", "", "more"),
        ({"error": "m", "message": "more"}, "", "", "m"),
        ({"error": {"code": 10**17}}, "", "1" + "0" * 17, ""),
        ({"error": {"code": 10**18, "message": "m"}}, "", "", "m"),
        ({"error": {"code": True, "message": "m", "status": "S"}}, "", "S", "m"),
        ({"error": {"code": "0", "message": "m"}, "code": 4}, "", "4", "m"),
        ({"errors": [{"reason": "m"}]}, "", "", "m"),
        ({"errors": [], "message": "m"}, "", "", "m"),
        ({"error": {"message": "[not json"}}, "", "", "[not json"),
    ],
)
def test_an_errors_type_code_and_message_are_found(
    body: object, kind: str, code: str, message: str
) -> None:
    """In each of the shapes, the most telling first."""
    error = read_error(json.dumps(body).encode())
    assert error is not None
    assert (error.type, error.code, error.message) == (kind, code, message)


def test_documents_in_documents_are_opened_to_the_innermost() -> None:
    """As gateways before gateways pass them on; each one's code is a further name."""
    text = "the innermost"
    for depth in range(4):
        text = json.dumps({"error": {"message": text, "code": f"c{depth}"}})
    error = read_error(text.encode())
    assert error is not None
    assert (error.code, error.message) == ("c0", "the innermost")
    assert error.names == {"c0", "c1", "c2", "c3"}


@pytest.mark.parametrize(
    ("body", "text", "is_bare"),
    [
        (b"", "", True),
        (b" \r\n ", "", True),
        (b"upstream connect error", "upstream connect error", False),
        (b"<html><body>502 <b>Bad</b> Gateway</body></html>", "502 Bad Gateway", True),
        (b"<?xml version='1.0'?><e>x</e>", "<?xml version='1.0'?><e>x</e>", False),
        (b'{"error": {"message": "m", "type": "t"}}', "m", False),
    ],
)
def test_what_a_reply_says_is_told_from_what_an_edge_says(
    body: bytes, text: str, is_bare: bool
) -> None:
    """A page and nothing at all are no word of the service's."""
    told = told_by(502, body)
    assert (told.status, told.is_bare) == (502, is_bare)
    assert text in told.text
    assert (told.error is None) == (not body.startswith(b'{"error'))


def test_of_a_page_its_words_are_kept() -> None:
    """No script, no style, no markup; entities as what they stand for."""
    page = b"<!DOCTYPE html><style>a{}</style ><script>x()</script><h1>A &amp; B</h1>\n<p>told</p>"
    assert looks_like_html(page)
    assert looks_like_a_page(b" \n" + page)
    assert text_of_page(page) == "A & B told"
    assert not looks_like_html(b"<Error><Code>x</Code></Error>")
    assert not looks_like_a_page(b'{"a": "<html>"}')


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": NaN}', dict), (BOM + b'{"a": 1}', dict), (b" \r\n\t[NaN]", list),
        (b'{"a": "\\ud800"}', dict), (b"NaN", type(None)), (b"", type(None)),
        (b"X{}", type(None)), (b"[" * 100_000, type(None)),
    ],
)  # fmt: skip
def test_what_servers_send_beside_json_is_read_where_it_is_meant_so(
    body: bytes, value: type
) -> None:
    """NaN, lone surrogates and a mark at the beginning, of objects and lists alone."""
    assert type(read_json(body)) is value
    assert (read_document(body) is not None) == (value is dict)


REASONS: list[tuple[dict[str, Any], str]] = [
    ({"candidates": [{"finishReason": "IMAGE_SAFETY", "finishMessage": "no such thing"}]},
     "IMAGE_SAFETY: no such thing"),
    ({"choices": [{"finish_reason": "content_filter", "message": {"refusal": "I will not"}}]},
     "content_filter: I will not"),
    ({"choices": [{"finish_reason": "STOP", "message": {"content": "I drew nothing"}}]},
     "I drew nothing"),
    ({"promptFeedback": {"blockReason": "PROHIBITED", "blockReasonMessage": "not this"}},
     "PROHIBITED: not this"),
    ({"block_reason": "SAFETY"}, "SAFETY"),
    ({"data": [{"revised_prompt": "a cat"}, {"text": "b"}, {"output_text": "c"},
               {"refusal": "d"}, {"refusal": "e"}]}, "a cat: b: c: d"),
    ({"images": [{"finish_reason": "completed"}, {"finish_reason": "end_turn"}]}, ""),
    ({"candidates": [{"content": {"parts": [{"text": "f"}, 7, {"text": "g"}, {"x": 1},
                                            {"text": "h"}]}}]}, "f: g"),
    ({"data": [3], "candidates": {}, "choices": None}, ""),
    ({"candidates": [{"finishReason": "X"}, {"finishReason": "X"}]}, "X"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "reason"), REASONS)
def test_why_there_is_no_picture_is_told_in_the_servers_words(
    document: dict[str, Any], reason: str
) -> None:
    """The reason it ended for, then what stands in a picture's place, of four entries at most."""
    assert reason_for_none(document) == reason


def test_entries_without_a_picture_are_counted() -> None:
    """A data URI in either place is bare base64; a prefix without an end is left as it is."""
    entries = [
        {"b64_json": "data:image/png;base64,AAAA"}, {"url": "DATA:image/png,BBBB"},
        {"url": "https://e.com/a"}, {"b64_json": "", "url": "https://e.com/b"}, {}, 7,
        {"b64_json": "data:"}, {"b64_json": "data:image/png,"}, {"url": ""}, {"b64_json": 3},
    ]  # fmt: skip
    warnings: list[str] = []
    assert pictures_in(entries, warnings) == (
        EncodedPicture("AAAA"), EncodedPicture("BBBB"), LinkedPicture("https://e.com/a"),
        LinkedPicture("https://e.com/b"), EncodedPicture("data:"),
    )  # fmt: skip
    assert warnings == ["5 of 10 entries hold no picture"]
    assert pictures_in({}, warnings) == ()


def test_a_stream_is_told_by_its_type_or_by_how_it_begins() -> None:
    """And read event by event, whatever ends its lines."""
    assert is_stream(Reply(200, {"content-type": "Text/Event-Stream; charset=utf-8"}, b""))
    assert is_stream(Reply(200, {}, b"\n event: x"))
    assert is_stream(Reply(200, {}, b"data: {}"))
    assert not is_stream(Reply(200, {"content-type": "application/json"}, b'{"data:": 1}'))
    body = b'data:{"a":\r\ndata: 1}\r\r: kept\n\nevent: x\ndata: {"b": "  c"}\n\ndata: 3\n\n'
    assert list(events_in(body)) == [{"a": 1}, {"b": "  c"}]


@pytest.mark.parametrize(
    ("events", "document", "missing"),
    [
        ([{"type": "error", "message": "m"}], {"error": {"type": "error", "message": "m"}}, ""),
        ([{"error": {"message": "m"}}], {"error": {"message": "m"}}, ""),
        ([{"type": "image_edit.partial_image"}], None,
         "the stream ended without a completed picture (1 partial picture came)"),
        ([], None, "the stream ended without a completed picture (0 partial pictures came)"),
        ([{"type": "image_generation.partial_image"}] * 2, None,
         "the stream ended without a completed picture (2 partial pictures came)"),
        ([{"type": "image_edit.completed", "b64_json": "A"},
          {"type": "image_generation.completed", "b64_json": "B", "usage": {"x": 1}}],
         {"data": [{"b64_json": "A"}, {"b64_json": "B"}], "usage": {"x": 1}}, ""),
        ([{"data": [1]}], {"data": [1]}, ""),
        ([{"type": "other", "data": [1]}], None,
         "the stream ended without a completed picture (0 partial pictures came)"),
    ],
)  # fmt: skip
def test_of_a_stream_what_is_whole_or_what_is_missing_is_told(
    events: list[dict[str, Any]], document: dict[str, Any] | None, missing: str
) -> None:
    """Every completed picture, and the usage of the last."""
    body = "".join(f"data: {json.dumps(each)}\n\n" for each in events).encode()
    assert read_stream(body) == (document, missing)


def test_pictures_stand_in_a_body_as_what_they_are() -> None:
    """A URL as text, bytes in base64 with their type, a link where it will lead."""
    here, there = Picture("sha256:1", media_type="image/jpeg"), Picture("url:x", url="https://x")
    turned = Picture("sha256:2", media_type="image/jpeg", transforms=("orient",))
    linked = Picture("sha256:3", by_link=True)
    body = PictureBody()
    document = {"a": body.place(here), "b": body.place(there), "c": body.option(linked),
                "d": body.option("\0text"), "e": [body.place(turned)]}  # fmt: skip
    assert body.splice(document) == (
        b'{"a":"data:image/jpeg;base64,', Base64(here), b'","b":"https://x","c":"', Raw(linked),
        b'","d":"\\u0000text","e":["data:image/png;base64,', Base64(turned), b'"]}',
    )  # fmt: skip
    assert sent_media_type(Picture("sha256:4")) == "image/png"


@pytest.mark.parametrize("module", [openai, qiniu])
def test_a_reply_with_pictures_tells_its_model_and_no_reason(module: Any) -> None:
    """Whatever words stand beside them; an error beside them is warned of."""
    entry = {"b64_json": "AAAA", "revised_prompt": "a cat"}
    document = {"data": [entry], "model": "m-1", "error": "late", "usage": {"output_tokens": 5}}
    found = module.read_submit(reply(200, document))
    assert isinstance(found, Produced)
    assert (found.model, found.reason, found.is_refused) == ("m-1", "", False)
    assert found.warnings == ("the reply holds an error beside its pictures",)
    bare = module.read_submit(reply(200, {"data": [entry]}))
    assert bare.warnings == ("the reply says nothing of its usage",)
    none = module.read_submit(
        reply(
            200, {"data": [{"text": "against our content policy"}], "usage": {"output_tokens": 5}}
        )
    )
    assert (none.reason, none.is_refused) == ("against our content policy", True)
    assert none.warnings[-1] == "the reply holds no picture"


def test_a_queues_word_of_refusal_is_the_reason() -> None:
    """Where no picture came; beside pictures it is none."""
    said = {"status": "succeed", "status_message": "blocked by the content policy", "quantity": 1}
    found = qiniu.read_poll(reply(200, said))
    assert isinstance(found, Produced)
    assert (found.reason, found.is_refused) == ("blocked by the content policy", True)
    kept = qiniu.read_poll(reply(200, said | {"images": [{"url": "https://e.com/a"}]}))
    assert isinstance(kept, Produced)
    assert (len(kept.pictures), kept.is_refused) == (1, False)
    plain = qiniu.read_poll(reply(200, {"status": "succeed", "status_message": "all done"}))
    assert isinstance(plain, Produced)
    assert (plain.reason, plain.is_refused) == ("", False)


def test_a_task_that_failed_keeps_what_was_counted_for_it() -> None:
    """Billed where pictures were; a count that is none is passed over."""
    failed = {"task_id": "t", "status": "failed", "error": {"message": "m", "code": 1301}}
    found = qiniu.read_poll(reply(200, failed | {"quantity": 2, "usage": {"output_tokens": 5}}))
    assert isinstance(found, Rejected)
    assert (found.kind, found.code, found.billed) == ("content", "1301", "yes")
    assert found.usage == Usage(images=2, output_tokens=5)
    free = qiniu.read_submit(reply(200, failed | {"quantity": "x", "error": None}))
    assert isinstance(free, Rejected)
    assert (free.kind, free.billed, free.usage) == ("task_failed", "no", None)
    assert free.message == "the task failed; the server gave no reason"


@pytest.mark.parametrize(
    ("document", "refusal"),
    [
        ({"error": "m"}, True), ({"status": False}, True), ({"success": False}, True),
        ({"code": 400, "message": "m"}, True), ({"code": 400, "msg": "m"}, True),
        ({"code": 399, "msg": "m"}, False), ({"code": 400}, False),
        ({"code": "x", "msg": "m"}, False),
        ({"base_resp": {"status_code": 1008}}, True), ({"status": True, "data": []}, False),
        ({"success": True}, False), ({}, False),
    ],
)  # fmt: skip
def test_a_document_says_by_itself_that_it_is_an_error(
    document: dict[str, Any], refusal: bool
) -> None:
    """Behind a 200 too."""
    assert is_refusal(document) == refusal


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (502, b"", "HTTP 502 with an empty body"),
        (502, b"<html>x</html>", "HTTP 502 with a web page instead of JSON"),
        (502, b'{"a": 1', "HTTP 502 with a body that is not a JSON object, or was cut"),
        (200, b'{"a": 1}', "HTTP 200 with a document that is neither a result nor an error"),
        (500, b'{"error": {"type": "t"}}', "HTTP 500: t"),
        (500, b'{"error": {"code": "c"}}', "HTTP 500: c"),
    ],
)
def test_what_a_reply_without_a_message_is_is_said(status: int, body: bytes, message: str) -> None:
    """In place of the server's own words."""
    found = submit_refused(Reply(status, {}, body))
    assert found.message.startswith(message)
    polled = poll_refused(Reply(status, {}, body))
    assert polled.message.startswith(message)


def test_the_id_of_a_refusal_and_the_tries_before_it_are_told() -> None:
    """One request's id; of a gateway's own tries, up to a thousand."""
    refused = openai.read_submit(reply(400, {"error": {"message": "m"}}, x_request_id="r-1"))
    assert isinstance(refused, Rejected | Unreadable)
    assert refused.message == "m (request r-1)"
    data = {"data": [{"b64_json": "AAAA"}], "usage": {"output_tokens": 1}}
    for told, words in (("1", "once"), ("2", "2 times"), ("1000", "1000 times")):
        found = openai.read_submit(reply(200, data, x_litellm_attempted_retries=told))
        assert isinstance(found, Produced)
        assert f"it retried {words} by itself" in found.told[0]
    for told in ("0", "1001", "-1", "x", "", "٣", "1" * 10):
        found = openai.read_submit(reply(200, data, x_litellm_attempted_retries=told))
        assert isinstance(found, Produced)
        assert found.told == ()


def test_a_submit_says_what_its_body_is() -> None:
    """And what it takes for an answer."""
    assert terms((("n", 3),)).n == terms((("num_images", 3),)).n == 3
    assert terms(()) == Terms()
    assert terms((("n", 2), ("num_images", 3))).n == 2


TIMES: list[tuple[str, str, str | None]] = [
    ("2025-10-02 8:05:07", "2025-10-02", "2025-10-02T08:05:07+08:00"),
    ("2025-10-02T18:05:07Z", "2025-10-03", "2025-10-03T02:05:07+08:00"),
    ("2025-10-02 18:05:07 UTC", "2025-10-03", "2025-10-03T02:05:07+08:00"),
    ("2025年10月2日 08:05", "2025-10-02", "2025-10-02T08:05:00+08:00"),
    ("20251002", "2025-10-02", None), ("2025/10/2", "2025-10-02", None),
    ("2025.10.02", "2025-10-02", None), ("2025-10", "2025-10", None), ("202510", "2025-10", None),
    ("2025年1月", "2025-01", None), ("1759392000", "2025-10-02", "2025-10-02T16:00:00+08:00"),
    ("1759392000123", "2025-10-02", "2025-10-02T16:00:00.123000+08:00"),
    ("1759392000.5", "2025-10-02", "2025-10-02T16:00:00.500000+08:00"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "day", "at"), TIMES)
def test_days_and_times_are_of_the_bills_zone(text: str, day: str, at: str | None) -> None:
    """However a spreadsheet or a log writes them."""
    found = when(f" {text} ", zone_of("+08:00"))
    assert (found[0], found[1].isoformat() if found[1] else None) == (day, at)


@pytest.mark.parametrize("text", ["1999-10-02", "2025-10/02", "2025-13-01", "202513", "today", ""])
def test_what_is_no_day_is_said_as_it_is_written(text: str) -> None:
    """With how to write one."""
    with pytest.raises(UnreadableCell) as told:
        when(text, zone_of(""))
    assert str(told.value) == f"`{text}` is no day or time"
    assert told.value.remedy == "write 2025-10-02"
