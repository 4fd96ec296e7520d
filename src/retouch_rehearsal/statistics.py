"""The provider's usage export, `GET /v2/stat/usage`, made from the service's own book.

It lets a ledger be reconciled in rehearsal as it would be against the provider. Times are UTC.
Shape: PROTOCOL §1, Billing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from .book import Charge
from .refusal import JsonObject, JsonValue

Granularity = Literal["day", "hour"]
_STEPS = {"day": timedelta(days=1), "hour": timedelta(hours=1)}
_DAYS_MAX = {"day": 31, "hour": 7}
_ITEMS = (
    ("input_tokens", "token"),
    ("output_tokens", "token"),
    ("images", "image"),
)


class QueryRefused(ValueError):
    """The query names no period the service can report on."""


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` up to, not including, `end`, cut into days or hours."""

    start: datetime
    end: datetime
    granularity: Granularity

    def buckets(self) -> list[datetime]:
        """The start of each day or hour."""
        step = _STEPS[self.granularity]
        count = -(-(self.end - self.start) // step)
        return [self.start + step * index for index in range(count)]


def read_period(query: Mapping[str, str]) -> Period:
    """The period a query asks for; raises QueryRefused."""
    granularity = query.get("granularity", "day")
    if granularity not in ("day", "hour"):
        raise QueryRefused("granularity must be day or hour")
    unit: Granularity = "day" if granularity == "day" else "hour"
    start, end = _time(query, "start"), _time(query, "end")
    start = start.replace(minute=0, second=0, microsecond=0)
    if unit == "day":
        start = start.replace(hour=0)
    if end <= start:
        raise QueryRefused("end must be after start")
    if end - start > timedelta(days=_DAYS_MAX[unit]):
        raise QueryRefused(f"at most {_DAYS_MAX[unit]} days with granularity={unit}")
    return Period(start, end, unit)


def _time(query: Mapping[str, str], name: str) -> datetime:
    text = query.get(name, "")
    try:
        # In a query a plus sign may arrive as the space it stands for.
        parsed = datetime.fromisoformat(text.replace(" ", "+"))
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise QueryRefused(f"{name} must be a date or an RFC 3339 time") from error


def usage_document(charges: Iterable[Charge], period: Period) -> JsonObject:
    """What was charged in the period: a model an entry, its tokens and images an item each."""
    first, last = period.start.timestamp(), period.end.timestamp()
    by_model: dict[str, list[Charge]] = {}
    for charge in charges:
        if first <= charge.at < last:
            by_model.setdefault(charge.model, []).append(charge)
    data: list[JsonValue] = [
        {"id": model, "name": model, "items": _items(by_model[model], period)}
        for model in sorted(by_model)
    ]
    return {"status": True, "data": data}


def _items(charges: list[Charge], period: Period) -> list[JsonValue]:
    return [_item(name, unit, charges, period) for name, unit in _ITEMS]


def _item(name: str, unit: str, charges: list[Charge], period: Period) -> JsonObject:
    seconds = _STEPS[period.granularity].total_seconds()
    categories: dict[str, dict[int, int]] = {}
    for charge in charges:
        amount: int = getattr(charge, name)
        bucket = int((charge.at - period.start.timestamp()) // seconds)
        values = categories.setdefault(charge.endpoint, {})
        values[bucket] = values.get(bucket, 0) + amount
    starts = [at.isoformat().replace("+00:00", "Z") for at in period.buckets()]
    listed: list[JsonValue] = [
        {
            "name": category,
            "values": [
                {"time": at, "value": values.get(bucket, 0)} for bucket, at in enumerate(starts)
            ],
        }
        for category, values in sorted(categories.items())
    ]
    total = sum(sum(values.values()) for values in categories.values())
    return {"name": name, "unit": unit, "total": total, "categories": listed}
