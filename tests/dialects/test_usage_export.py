"""Qiniu's usage export: every day is asked for once, and what it counts is in the bill."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest

from retouch.dialects.base import Endpoint
from retouch.dialects.openai import requests as openai
from retouch.dialects.qiniu.usage import usage_bill, usage_requests
from retouch.errors import InputRefused

ENDPOINT = Endpoint("https://api.qnaigc.com/v1")
FIRST = date(2025, 12, 15)


@pytest.mark.parametrize("days", [1, 2, 30, 31, 32, 62, 63, 400])
def test_each_day_is_asked_for_once_and_at_most_31_at_a_time(days: int) -> None:
    """From the first to the last, both included, by midnights of UTC."""
    asked: list[date] = []
    for request in usage_requests(ENDPOINT, FIRST, FIRST + timedelta(days=days - 1)):
        url = urlsplit(request.url)
        assert (request.method, request.body, request.authorized) == ("GET", (), True)
        assert f"{url.scheme}://{url.netloc}{url.path}" == "https://api.qnaigc.com/v2/stat/usage"
        said = {name: value for name, (value,) in parse_qs(url.query).items()}
        assert said.pop("granularity") == "day"
        begin, end = (date.fromisoformat(said.pop(name)[:-10]) for name in ("start", "end"))
        assert request.url.count("T00:00:00Z") == 2
        assert not said
        assert 0 < (end - begin).days <= 31
        asked += [begin + timedelta(days=each) for each in range((end - begin).days)]
    assert asked == [FIRST + timedelta(days=each) for each in range(days)]
    assert not list(usage_requests(ENDPOINT, FIRST, FIRST - timedelta(days=1)))


ITEMS = [
    ("input_tokens", "token", "input_tokens"), ("Prompt Tokens", "", "input_tokens"),
    ("输入", "词元", "input_tokens"), ("output_tokens", "", "output_tokens"),
    ("completion", "token", "output_tokens"), ("输出词元", "", "output_tokens"),
    ("total", "tokens", "total_tokens"), ("总词元", "", "total_tokens"), ("tokens", "", None),
    ("images", "", "images"), ("生成图片", "次", "images"), ("x", "张", "images"),
    ("requests", "", "requests"), ("请求数", "", "requests"), ("x", "次", "requests"),
    ("hours", "h", None),
]  # fmt: skip


def export(model: str, name: str, unit: str, *values: tuple[str, int]) -> bytes:
    counted = [{"time": at, "value": value} for at, value in values]
    item = {"name": name, "unit": unit, "categories": [{"values": counted}]}
    return json.dumps({"status": True, "data": [{"id": model, "items": [item]}]}).encode()


@pytest.mark.parametrize(("name", "unit", "measure"), ITEMS)
def test_an_item_is_known_by_its_words(name: str, unit: str, measure: str | None) -> None:
    """In English or Chinese; what is not known is said."""
    bill = usage_bill("u", [export("m", name, unit, ("2025-10-02T00:00:00Z", 7))])
    if measure is None:
        assert (bill.lines, bill.notes) == ((), (f"u: not compared: {name}",))
    else:
        (line,) = bill.lines
        assert (line.number, line.day, line.model) == (0, "2025-10-02", "m")
        assert (line.measures, bill.notes, bill.name) == ({measure: Decimal(7)}, (), "u")


def test_what_several_replies_count_of_a_day_is_added_up() -> None:
    """By day and model; a zero says nothing, a mark before the text is none of it."""
    one, two = "2025-10-02T00:00:00Z", "2025-10-03T00:00:00Z"
    replies = [
        export("m", "images", "", (two, 1), (one, 2), (one, 3)),
        b"\xef\xbb\xbf" + export("m", "images", "", (one, 4)),
        export("m", "requests", "", (one, 5)), export("a", "images", "", (one, 6), (two, 0)),
        export("a", "hours", ""), export("a", "bytes", ""),
    ]  # fmt: skip
    bill = usage_bill("u", replies)
    assert [(line.day[-1], line.model, dict(line.measures)) for line in bill.lines] == [
        ("2", "a", {"images": Decimal(6)}),
        ("2", "m", {"images": Decimal(9), "requests": Decimal(5)}),
        ("3", "m", {"images": Decimal(1)}),
    ]
    assert bill.notes == ("u: not compared: bytes, hours",)


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (b"{", "is no usage export: Input data was truncated"),
        (b'{"status": false, "data": []}', "is no usage export: its status is false"),
        (export("m", "images", "", ("soon", 1)), "is no usage export: `soon` is no day or time"),
    ],
)
def test_what_is_no_export_is_refused(reply: bytes, what: str) -> None:
    """With its file, and what to do."""
    with pytest.raises(InputRefused) as refused:
        usage_bill("u", [reply])
    (problem,) = refused.value.problems
    assert (problem.file, problem.line, problem.column, problem.what) == ("u", 0, 0, what)
    assert problem.remedy == "export it again, or give a CSV"


def test_an_api_without_tasks_polls_none() -> None:
    """It says which, and for what."""
    with pytest.raises(ValueError, match=r"https://api.qnaigc.com/v1 has no tasks: 't-1' is none"):
        openai.poll("t-1", ENDPOINT)
