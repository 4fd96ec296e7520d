"""`retouch reconcile`: ledgers against the provider's bill; what differs, and which request."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import anyio
from rich.table import Table
from rich.text import Text

from retouch.cli.ledgers import Found, find_ledgers, say_notes
from retouch.cli.periods import add_period, period_of
from retouch.cli.resolve import append_resolved
from retouch.cli.saying import json_text
from retouch.cli.screen import stdout_console
from retouch.cli.usage import fetch_bill
from retouch.cli.workspace import add_outputs
from retouch.errors import InputRefused
from retouch.lock import exclusive
from retouch.manifest.currencies import CODES
from retouch.money import exact, shown
from retouch.pricing import as_amount
from retouch.record import Resolved
from retouch.report import Period
from retouch.report.bill import MEASURES, Bill, zone_of
from retouch.report.differences import Difference, Reconciliation
from retouch.report.ours import Ours
from retouch.report.reconciling import reconcile
from retouch.report.usage_export import read_bill
from retouch.text import one_clean_line

NAME = "reconcile"
HELP = "ledgers against the provider's bill: differences by day and model, and what explains them"
BILL_CAP_BYTES = 512 * 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch reconcile`."""
    parser.add_argument(
        "ledgers", metavar="WHAT", nargs="+", help="manifests, folders under outputs/, ledgers"
    )
    add_outputs(parser)
    parser.add_argument("--rehearse", action="store_true", help="of manifests: their rehearsals")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--bill", metavar="FILE", type=Path, help="the provider's export: CSV, or its usage JSON"
    )
    source.add_argument("--fetch", action="store_true", help="ask the provider (needs a manifest)")
    parser.add_argument(
        "--columns",
        metavar="ROLE=COLUMN,...",
        default="",
        help=f"a CSV's columns; roles: date, model, {', '.join(MEASURES)}, currency, id",
    )
    parser.add_argument("--currency", metavar="CODE", help="of a bill that does not say it")
    parser.add_argument(
        "--utc-offset", metavar="+HH:MM", default="", help="the bill's days, like +08:00 for China"
    )
    add_period(parser)
    parser.add_argument(
        "--settle", action="store_true", help="resolve the unknown outcomes that the bill decides"
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Compare; 0 when everything is explained, 1 when something is not."""
    period = period_of(arguments)
    zone = zone_of(arguments.utc_offset)
    search = find_ledgers(arguments.ledgers, arguments.outputs, rehearsals=arguments.rehearse)
    say_notes(search)
    ours = Ours(zone, period)
    for number, ledger in enumerate(search.ledgers):
        ours.read(number, ledger.reader, ledger.shared_records)
    if arguments.fetch:
        days = [entry.at.date() for entry in ours.entries] or [date.today()]  # noqa: DTZ011 - only a default
        first, last = min(days) - timedelta(days=1), max(days) + timedelta(days=1)
        bill = fetch_bill(arguments, first, last, os.environ)
    else:
        bill = read_bill(str(arguments.bill), _bytes(arguments.bill), arguments.columns, zone)
    for note in bill.notes:
        print(note, file=sys.stderr)
    bill = _within(bill, period)
    found = reconcile(ours, bill, _currency(arguments.currency, ours, bill))
    settled = _settle(found, search.ledgers, bill) if arguments.settle else 0
    _tell(found, settled, as_json=arguments.json, is_strict=not (period.since or period.until))
    return 1 if found.unexplained else 0


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(BILL_CAP_BYTES + 1)
    except OSError as error:
        raise InputRefused(f"{path}: {error.strerror}") from None
    if len(data) > BILL_CAP_BYTES:
        raise InputRefused(f"{path}: at most {BILL_CAP_BYTES:,} bytes are read; export a month")
    return data


def _within(bill: Bill, period: Period) -> Bill:
    lines = tuple(line for line in bill.lines if period.holds(line.day))
    return Bill(bill.name, lines, bill.notes)


def _currency(said: str | None, ours: Ours, bill: Bill) -> str | None:
    """The currency of lines that do not say theirs. Raises InputRefused where it is not clear."""
    if said is not None and said not in CODES:
        raise InputRefused(
            f"--currency {one_clean_line(said, 20)}: no currency; write three letters, like CNY"
        )
    if said is not None or "amount" not in bill.measures:
        return said
    silent = any(line.currency is None for line in bill.lines)
    known = {entry.currency for entry in ours.entries if entry.currency}
    known |= {each.attempt.ceiling.currency for each in ours.doubts if each.attempt.ceiling}
    if silent and len(known) > 1:
        names = " and ".join(sorted(known))
        raise InputRefused(
            f"{bill.name}: in which currency? The ledger has {names}",
            hint="say it by --currency, or map its column: --columns currency=...",
        )
    return min(known, default=None)


def _settle(found: Reconciliation, ledgers: tuple[Found, ...], bill: Bill) -> int:
    """Write what the bill decides, each ledger under its folder's lock; how many."""
    by_ledger: dict[int, list[Resolved]] = {}
    for verdict in found.verdicts:
        attempt = verdict.doubt.attempt
        record = Resolved(
            key=attempt.key,
            attempt=attempt.attempt,
            verdict="charged" if verdict.charged else "not_charged",
            amount=as_amount(verdict.charged),
            note=one_clean_line(f"reconciled with {Path(bill.name).name}"),
        )
        by_ledger.setdefault(verdict.doubt.ledger, []).append(record)
    for number, records in by_ledger.items():
        path = ledgers[number].path
        with exclusive(path.parent):
            anyio.run(append_resolved, path, records)
    return len(found.verdicts)


def _tell(found: Reconciliation, settled: int, *, as_json: bool, is_strict: bool) -> None:
    if as_json:
        document = {
            "rows": [_plain(row) for row in found.differences],
            "unexplained": [_plain(row) for row in found.unexplained],
            "settled": settled,
        }
        print(json_text(document))
    else:
        _print(found)
    if settled:
        print(f"{settled} unknown outcomes settled by the bill", file=sys.stderr)
    if found.unexplained and is_strict and _is_beyond_the_bill(found):
        print("some days are on one side only: --since and --until take a part", file=sys.stderr)


def _is_beyond_the_bill(found: Reconciliation) -> bool:
    days = {row.day for row in found.differences if row.theirs}
    return any(row.day not in days for row in found.unexplained)


def _plain(row: Difference) -> dict[str, object]:
    number = exact if row.measure == "amount" else str
    return {
        "day": row.day,
        "model": row.model,
        "measure": row.measure,
        "currency": row.currency,
        "ours": number(row.ours),
        "theirs": number(row.theirs),
        "difference": number(row.theirs - row.ours),
        "explained": number(row.explained),
        "unexplained": number(row.unexplained),
        "unknown_outcomes": row.doubts,
        "by_midnight": row.by_midnight,
        "suspects": [
            {"text": each.text, "key": each.key or None, "line": each.line or None}
            for each in row.suspects
        ],
    }


def _print(found: Reconciliation) -> None:
    console = stdout_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("day", "model", "of"):
        table.add_column(name, overflow="fold", no_wrap=name != "model")
    for name in ("ours", "theirs", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in found.differences:
        numbers = (_number(row, each) for each in (row.ours, row.theirs, row.theirs - row.ours))
        words = (row.day, one_clean_line(row.model, 60), row.currency or row.measure)
        table.add_row(*map(Text, (*words, *numbers, _remark(row))))
    console.print(table)
    for line in dict.fromkeys(
        f"{row.day} {row.model}: {each.text}" for row in found.unexplained for each in row.suspects
    ):
        console.print(Text(one_clean_line(line)))
    count = len(found.unexplained)
    differ = "1 difference is" if count == 1 else f"{count} differences are"
    console.print(f"{differ} unexplained" if count else "everything is explained")


def _remark(row: Difference) -> str:
    if row.unexplained:
        return f"unexplained: {_number(row, row.unexplained)}"
    if row.by_midnight:
        return "charged at midnight: on the day beside"
    if row.explained:
        return f"{row.doubts} unknown outcome{'s' if row.doubts > 1 else ''} may be this"
    return "agrees" if not row.gap and row.ours == row.theirs else "agrees, but for rounding"


def _number(row: Difference, value: Decimal) -> str:
    return shown(value) if row.measure == "amount" else f"{value:,}"
