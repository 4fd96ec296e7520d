"""A row a charge: the drill-down of a review, from whose rows its sums can be added up again.

Two passes over a ledger: the first finds what stays open, which verdict was the last, and which
results were replaced; the second yields the rows in the ledger's order.
"""

from __future__ import annotations

import csv
import heapq
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from retouch.ledger.charges import Charge, Charges, Posting
from retouch.ledger.records import (
    AnyRecord,
    Done,
    Failed,
    FileRecord,
    Resolved,
    RunBegins,
    UsageRecord,
)
from retouch.money import NO_CURRENCY, exact
from retouch.report.formats import safe_cell
from retouch.report.rows import Plain
from retouch.report.sums import Days, Period, folder_of
from retouch.report.waste import waste_of_done, waste_of_failure

COLUMNS = (
    "ledger", "line", "key", "attempt", "at", "day", "run", "model", "prompt", "folder", "source",
    "charge", "currency", "amount", "low", "high", "price", "input_tokens", "output_tokens",
    "total_tokens", "images", "waste", "picture",
)  # fmt: skip
CHARGE_FORMATS = ("table", "csv", "jsonl", "xlsx", "focus")
Ledgers = Iterable[tuple[str, Iterable[AnyRecord], int]]
WHOLE = Period()
_ZERO = exact(Decimal(0))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which charges are listed; None: all. `top`: the dearest so many."""

    period: Period = WHOLE
    model: str | None = None
    folder: str | None = None
    day: str | None = None
    waste: str | None = None
    top: int | None = None

    def holds(self, row: Plain) -> bool:
        return (
            self.period.holds(str(row["day"]))
            and self.model in (None, row["model"])
            and self.folder in (None, row["folder"])
            and self.day in (None, row["day"])
            and (self.waste is None or self.waste in str(row["waste"]).split("+"))
        )


def charge_rows(
    ledgers: Ledgers,
    wanted: Wanted,
    zone: timezone = UTC,
    providers: dict[str, str] | None = None,
) -> Iterator[Plain]:
    """A row a charge, confirmed or unknown, in the order of the ledgers; what was free is none.

    Into `providers` goes whom each run was sent to, by its id, before its first row comes.
    """
    whose = {} if providers is None else providers
    rows = (
        row
        for name, records, shared in ledgers
        for row in _rows(name, records, shared, Days(zone), whose)
        if wanted.holds(row)
    )
    return rows if wanted.top is None else iter(heapq.nsmallest(wanted.top, rows, key=_dearest))


def _dearest(row: Plain) -> Decimal:
    return -Decimal(str(row["amount"] or row["high"] or 0))


@dataclass(slots=True)
class _Ends:
    """What the first pass found: open Attempts, and the lines of last verdicts and results."""

    open: dict[tuple[str, int], Charge]
    verdicts: dict[tuple[str, int], int] = field(default_factory=dict)
    results: dict[str, int] = field(default_factory=dict)


def _ends(records: Iterable[AnyRecord], shared: int) -> _Ends:
    charges = Charges()
    ends = _Ends(charges.open)
    for line, record, posting in charges.follow(records, shared):
        if posting is None:
            continue
        if isinstance(record, Resolved):
            ends.verdicts[record.key, record.attempt] = line
        elif isinstance(record, Done) and record.attempt > 1:
            ends.results[record.key] = line
    return ends


def _rows(
    name: str, records: Iterable[AnyRecord], shared: int, days: Days, providers: dict[str, str]
) -> Iterator[Plain]:
    ends = _ends(records, shared)
    charges = Charges()
    for line, record, posting in charges.follow(records, shared):
        if isinstance(record, RunBegins):
            providers[record.run] = record.provider
        if posting is None:
            continue
        charge = posting.charge
        place = (charge.key, charge.attempt)
        place_row: Plain = {**_place(name, line, records), **_words(charge, days)}
        if place in ends.open:
            if posting.is_new:
                yield place_row | _unknown(ends.open[place])
        elif posting.verdict == "charged" and ends.verdicts.get(place, line) == line:
            yield place_row | _charged(record, line, posting, ends)


@runtime_checkable
class InParts(Protocol):
    """A ledger that may lie in several files."""

    @property
    def place(self) -> tuple[str, int] | None:
        """The file and the line of the last Record; None where there is one file."""


def _place(name: str, line: int, records: Iterable[AnyRecord]) -> Plain:
    """Where the last Record stands: of a ledger in parts, the part's name and its line there."""
    place = records.place if isinstance(records, InParts) else None
    ledger, line = (f"{name}/{place[0]}", place[1]) if place else (name, line)
    return {"ledger": ledger, "line": line}


def _words(charge: Charge, days: Days) -> Plain:
    return {
        "key": charge.key,
        "attempt": charge.attempt,
        "at": charge.at,
        "day": days.of(charge.at),
        "run": charge.begun.run,
        "model": charge.model,
        "prompt": charge.prompt,
        "folder": folder_of(charge.source),
        "source": charge.source,
    }


def _unknown(charge: Charge) -> Plain:
    bound, least = charge.bound, charge.least
    kind = "charged_without_picture" if charge.standing == "resolved" else ""
    return {
        "charge": "unknown",
        "currency": bound.currency if bound else None,
        "amount": None,
        "low": exact(least.money.amount) if least else _ZERO if bound else None,
        "high": exact(bound.money.amount) if bound else None,
        "price": None,
        **_used(None),
        "waste": kind,
        "picture": None,
    }


def _charged(record: AnyRecord, line: int, posting: Posting, ends: _Ends) -> Plain:
    paid = posting.paid
    kinds: list[str] = []
    files: tuple[FileRecord, ...] = ()
    usage = None
    if isinstance(record, Done):
        files, usage = record.files, record.usage
        kinds += waste_of_done(record, posting.charge.terms)
        if line < ends.results.get(record.key, 0):
            kinds.append("replaced")
    elif isinstance(record, Failed):
        usage = record.usage
        kinds.append(waste_of_failure(record))
    else:
        kinds.append("charged_without_picture")
    return {
        "charge": "confirmed" if paid else "unpriced",
        "currency": paid.currency if paid else None,
        "amount": exact(paid.money.amount) if paid else None,
        "low": None,
        "high": None,
        "price": _price(record),
        **_used(usage, len(files)),
        "waste": "+".join(kinds),
        "picture": files[0].path if files else None,
    }


def _price(record: AnyRecord) -> str | None:
    cost = record.cost if isinstance(record, Done | Failed) else None
    return cost.price if cost else None


def _used(usage: UsageRecord | None, came: int = 0) -> Plain:
    said = usage or UsageRecord()
    return {
        "input_tokens": said.input_tokens,
        "output_tokens": said.output_tokens,
        "total_tokens": said.total_tokens,
        "images": came if said.images is None else said.images,
    }


def charge_lines(
    rows: Iterable[Plain], form: str, providers: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """The rows as lines of CSV (RFC 4180), JSON Lines or FOCUS, one after another."""
    if form == "jsonl":
        return (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if form == "focus":
        return _csv(FOCUS, (_focus(row, providers) for row in rows))
    return _csv(COLUMNS, rows)


def _csv(names: tuple[str, ...], rows: Iterable[Plain]) -> Iterator[str]:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(names)
    for row in rows:
        yield out.getvalue()
        out.seek(0)
        out.truncate()
        writer.writerow([safe_cell(row[name]) for name in names])
    yield out.getvalue()


FOCUS = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency",
    "ChargePeriodEnd", "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ContractedCost",
    "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit",
    "ProviderName", "PublisherName", "ResourceId", "ResourceName", "ResourceType",
    "ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId", "SkuPriceId",
    "x_Attempt", "x_LedgerLine", "x_UnknownLow", "x_UnknownHigh", "x_Waste",
)  # fmt: skip
_SECOND = timedelta(seconds=1)


def _focus(row: Plain, providers: Mapping[str, str]) -> Plain:
    """A charge by the names of FOCUS 1.2: what is unknown is billed at 0, between its bounds.

    That specification lets no charge be without a currency, so that what has no price is in ISO
    4217's code for none; and no usage without the price of one SKU: the model's where nobody knows
    which.
    """
    began = datetime.fromisoformat(str(row["at"])).replace(microsecond=0)
    month = began.replace(day=1, hour=0, minute=0, second=0)
    next_month = (month + timedelta(days=32)).replace(day=1)
    cost, ledger = row["amount"] or _ZERO, str(row["ledger"]).partition("/")[0]
    provider = providers.get(str(row["run"])) or "unknown"
    by_tokens = row["total_tokens"] is not None
    counted, unit = (row["total_tokens"], "Tokens") if by_tokens else (row["images"], "Images")
    return {
        "BilledCost": cost, "EffectiveCost": cost, "ContractedCost": cost, "ListCost": cost,
        "BillingAccountId": ledger, "BillingAccountName": ledger,
        "BillingCurrency": row["currency"] or NO_CURRENCY,
        "BillingPeriodStart": _utc(month), "BillingPeriodEnd": _utc(next_month),
        "ChargeCategory": "Usage", "ChargeClass": None, "ChargeFrequency": "Usage-Based",
        "ChargeDescription": f"{row['prompt']}: {row['source']}",
        "ChargePeriodStart": _utc(began), "ChargePeriodEnd": _utc(began + _SECOND),
        "ConsumedQuantity": counted, "ConsumedUnit": unit,
        "PricingQuantity": counted, "PricingUnit": unit,
        "InvoiceIssuerName": provider, "ProviderName": provider, "PublisherName": provider,
        "ResourceId": row["key"], "ResourceName": row["source"], "ResourceType": "Image edit",
        "ServiceCategory": "AI and Machine Learning", "ServiceName": row["model"],
        "ServiceSubcategory": "Generative AI",
        "SkuId": row["model"],
        "SkuPriceId": f"{row['model']}/{row['price']}" if row["price"] else row["model"],
        "x_Attempt": row["attempt"], "x_LedgerLine": row["line"],
        "x_UnknownLow": row["low"], "x_UnknownHigh": row["high"], "x_Waste": row["waste"],
    }  # fmt: skip


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
