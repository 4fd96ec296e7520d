"""The service's usage export, `GET {root}/v2/stat/usage`: how to ask for it, and as a Bill.

Tokens and pictures by model and time, no money. Source: PROTOCOL §1, Billing; the names of items
are not documented, so they are known by what they contain, and what is not known is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, timedelta, timezone
from decimal import Decimal

import msgspec

from retouch.dialects.base import Endpoint, Request
from retouch.dialects.bill import Bill, Line, Measure, UnreadableCell, when
from retouch.errors import InputRefused, Problem
from retouch.text import one_clean_line

DAYS_AT_ONCE = 31


class _Value(msgspec.Struct):
    time: str
    value: Decimal


class _Category(msgspec.Struct):
    values: list[_Value] = []


class _Item(msgspec.Struct):
    name: str = ""
    unit: str = ""
    categories: list[_Category] = []


class _Entry(msgspec.Struct):
    id: str = ""
    name: str = ""
    items: list[_Item] = []


class _Usage(msgspec.Struct):
    data: list[_Entry]
    status: bool = True


def usage_requests(endpoint: Endpoint, first: date, last: date) -> Iterator[Request]:
    """The GETs that ask for the days from `first` to `last`, both included."""
    start = first
    while start <= last:
        end = min(last + timedelta(days=1), start + timedelta(days=DAYS_AT_ONCE))
        times = f"start={start}T00:00:00Z&end={end}T00:00:00Z"
        yield Request("GET", f"{endpoint.root}/v2/stat/usage?granularity=day&{times}")
        start = end


def usage_bill(name: str, replies: Iterable[bytes], zone: timezone = UTC) -> Bill:
    """The bodies of one or more exports as a Bill (perhaps without lines). Raises InputRefused."""
    sums: dict[tuple[str, str], dict[Measure, Decimal]] = {}
    ignored: set[str] = set()
    try:
        for reply in replies:
            for model, measure, day, value in _values(reply, ignored, zone):
                cell = sums.setdefault((day, model), {})
                cell[measure] = cell.get(measure, Decimal(0)) + value
    except (msgspec.MsgspecError, UnreadableCell, RecursionError) as error:
        what = f"is no usage export: {one_clean_line(str(error), 200)}"
        raise InputRefused([Problem(name, 0, 0, what, "export it again, or give a CSV")]) from None
    lines = [Line(0, day, model, measures) for (day, model), measures in sorted(sums.items())]
    notes = [f"{name}: not compared: {', '.join(sorted(ignored))}"] if ignored else []
    return Bill(name, tuple(lines), tuple(notes))


def _values(
    reply: bytes, ignored: set[str], zone: timezone
) -> Iterator[tuple[str, Measure, str, Decimal]]:
    """Model, measure, day and value of everything in one export."""
    usage = msgspec.json.decode(reply.removeprefix(b"\xef\xbb\xbf"), type=_Usage)
    if not usage.status:
        raise UnreadableCell("its status is false")
    for entry in usage.data:
        for item in entry.items:
            measure = _measure(f"{item.name} {item.unit}".lower())
            if measure is None:
                ignored.add(one_clean_line(item.name, 40))
                continue
            for category in item.categories:
                for each in category.values:
                    if each.value:
                        yield entry.id or entry.name, measure, when(each.time, zone)[0], each.value


def _measure(words: str) -> Measure | None:
    """The measure that an item's name and unit mean, in English or Chinese."""
    if "token" in words or "词元" in words:
        if any(word in words for word in ("input", "prompt", "输入")):
            return "input_tokens"
        if any(word in words for word in ("output", "completion", "输出")):
            return "output_tokens"
        return "total_tokens" if "total" in words or "总" in words else None
    if any(word in words for word in ("image", "图", "张")):
        return "images"
    return "requests" if any(word in words for word in ("request", "请求", "次")) else None
