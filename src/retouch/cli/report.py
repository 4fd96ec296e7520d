"""`retouch report`: what was paid, for what, and what of it was wasted; from ledgers alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from retouch.cli.ledgers import Found, Search, add_period, find_ledgers, period_of, say_notes
from retouch.cli.output import json_text, say
from retouch.cli.pages import Reviewed, alone, look_at, subject_of, write_report
from retouch.cli.tables import print_review
from retouch.cli.workspace import add_outputs
from retouch.errors import InputRefused, StorageFailed
from retouch.manifest import PriceFile, load_prices
from retouch.money import Money
from retouch.report import DIMENSIONS, Dimension, Grouping, Kept, Period, Tally
from retouch.report.formats import csv_of, markdown_of
from retouch.report.rows import Plain, Review, columns_of, review_of
from retouch.report.waste import Wasted, WasteKind
from retouch.report.what_if import PriceOn, WhatIf
from retouch.review.charts import Durations
from retouch.review.costs import GROUPINGS
from retouch.review.marks import read_marks
from retouch.text import one_clean_line

FORMATS = ("table", "csv", "json", "markdown", "html", "parquet")
NAMED = 5  # ledgers: more are counted
LOOKED_AT = 500  # pictures that are looked at without being asked to: some seconds' worth
_FULL: tuple[Grouping, ...] = (("model",), ("prompt",), ("label",), ("day",), ("run",))
_SHORT: tuple[Grouping, ...] = (("model",),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch report`."""
    parser.add_argument(
        "ledgers",
        metavar="WHAT",
        nargs="+",
        help="manifests, folders under outputs/, ledgers, or patterns of them",
    )
    add_outputs(parser)
    parser.add_argument("--rehearse", action="store_true", help="of manifests: their rehearsals")
    parser.add_argument(
        "--format", choices=FORMATS, help="default: what --to ends in, like .html; else table"
    )
    parser.add_argument("--json", dest="format", action="store_const", const="json")
    parser.add_argument("--to", metavar="FILE", type=Path, help="write here, not to stdout")
    add_period(parser)
    parser.add_argument("--by", metavar="A,B", help=f"group by any of {', '.join(DIMENSIONS)}")
    parser.add_argument(
        "--prices", metavar="FILE", type=Path, help="what it would have cost at these prices"
    )
    parser.add_argument(
        "--batch",
        action="store_true",
        help="what it would have cost in batches, by the `batch_discount` of each price "
        "(those of --prices, else the manifest's)",
    )
    looking = parser.add_mutually_exclusive_group()
    looking.add_argument(
        "--pictures",
        action="store_true",
        help=f"look at every picture for waste (default: at up to {LOOKED_AT})",
    )
    looking.add_argument("--no-pictures", action="store_true", help="look at none")


def run(arguments: argparse.Namespace) -> int:
    """Review; 0. Raises InputRefused, LedgerDamaged, StorageFailed."""
    arguments.format = _format(arguments.format, arguments.to)
    groupings = _groupings(arguments)
    period = period_of(arguments)
    prices = load_prices(arguments.prices) if arguments.prices else None
    search = find_ledgers(arguments.ledgers, arguments.outputs, rehearsals=arguments.rehearse)
    say_notes(search)
    reviewed = _review(arguments, search, groupings, period, prices)
    if arguments.format == "html":
        _write_html(reviewed, search, arguments)
    else:
        _write(reviewed.review, arguments)
    return 0


def _format(said: str | None, path: Path | None) -> str:
    """The format asked for, also by a file's name. Raises InputRefused."""
    if path is None:
        return said or "table"
    known = {f".{each}": each for each in FORMATS[1:]} | {".md": "markdown", ".htm": "html"}
    chosen = said or known.get(path.suffix.lower())
    if chosen in (None, "table"):
        what = "a table is for the terminal" if chosen else "its name does not say the format"
        raise InputRefused(f"--to {path}: {what}", hint=f"--format {', '.join(FORMATS[1:])}")
    return str(chosen)


def _review(
    arguments: argparse.Namespace,
    search: Search,
    groupings: tuple[Grouping, ...],
    period: Period,
    prices: PriceFile | None,
) -> Reviewed:
    looker = _Looker(arguments)
    rejected = (read_marks(found.path.parent).rejected_keys for found in search.ledgers)
    what_if = WhatIf(is_batch=arguments.batch) if prices or arguments.batch else None
    tally = Tally(
        groupings,
        period,
        prices=what_if,
        on_kept=looker.keep,
        rejected=frozenset[str]().union(*rejected),
    )
    for found in search.ledgers:
        looker.reading = found
        if what_if is not None:
            what_if.by(prices.price_on if prices else _own_prices(found))
        tally.read(found.reader, found.shared_records)
    notes = list(search.notes)
    if period.since or period.until:
        span = f"from {period.since or 'the first day'} to {period.until or 'the last'}"
        notes.append(f"Only what was sent or charged {span} (UTC).")
    if what_if is not None:
        whose = f"the prices of {prices.path.name}" if prices else "the manifest's prices"
        notes += what_if.notes(whose, _confirmed(tally), tally.recorded)
    if looker.is_full and not arguments.no_pictures:
        notes.append(f"{looker.seen:,} jobs' pictures were not looked at (--pictures does).")
        say(notes[-1])
    looker.look(tally.wasted)
    review = review_of(tally, _about(search, tally), tuple(notes))
    return Reviewed(review, looker.durations, looker.looked)


def _about(search: Search, tally: Tally) -> str:
    """Which ledgers and which days were reviewed; nothing where there is no ledger."""
    if not search.ledgers:
        return ""
    names = list(dict.fromkeys(found.path.parent.resolve().name for found in search.ledgers))
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    days = sorted(tally.days)
    span = (
        [f"{days[0]} to {days[-1]} (UTC)" if len(days) > 1 else f"{days[0]} (UTC)"] if days else []
    )
    parts = [", ".join(names[:NAMED]) + more, *span, f"{tally.records:,} records"]
    return one_clean_line(" · ".join(parts))


def _own_prices(found: Found) -> PriceOn:
    """The prices of the manifest that a ledger was found by. Raises InputRefused."""
    if found.loaded is None:
        raise InputRefused(
            f"--batch: {found.path} was not named by its manifest, so its prices are not known",
            hint="name the manifest, or say the prices by --prices FILE",
        )
    return found.loaded.price_on


def _confirmed(tally: Tally) -> dict[str, Money]:
    """What is confirmed, by currency."""
    totals = ((key[0], sums.confirmed) for key, sums in tally.rows[()].items())
    return {code: Money(amount, code) for code, amount in totals if code}


class _Looker:
    """Keeps the finished Jobs whose pictures are to be looked at; all of them or none."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.reading: Found | None = None
        self.seen = 0
        self.durations = Durations()
        self.looked: dict[str, frozenset[WasteKind]] = {}
        self._kept: list[tuple[Found, Kept]] = []
        self._limit = 0 if arguments.no_pictures else LOOKED_AT
        if arguments.pictures:
            self._limit = sys.maxsize

    @property
    def is_full(self) -> bool:
        """Whether there were too many."""
        return self.seen > self._limit

    def keep(self, each: Kept) -> None:
        """Note one finished Job."""
        self.seen += 1
        done = each.done
        self.durations.take(done.model, done.seconds, is_task=done.task is not None)
        if self.seen > self._limit:
            self._kept.clear()
        elif self.reading is not None:
            self._kept.append((self.reading, each))

    def look(self, wasted: Wasted) -> None:
        """Look at the pictures of all that was kept."""
        for found, each in self._kept:
            kinds = self.looked[each.done.key] = look_at(each, found)
            for kind in kinds:
                wasted.add(kind, each.example)


def _write(review: Review, arguments: argparse.Namespace) -> None:
    if arguments.format == "table" and arguments.to is None:
        print_review(review)
        return
    grouping, rows = next(iter(review.by.items()))
    match arguments.format:
        case "json":
            text = json_text(review.document) + "\n"
        case "csv":
            text = csv_of(columns_of(grouping), rows)
        case "parquet":
            _write_parquet(rows, arguments.to)
            return
        case _:
            text = markdown_of(review)
    _put(text, arguments)


def _write_html(reviewed: Reviewed, search: Search, arguments: argparse.Namespace) -> None:
    """One ledger: all pages in its `report/`. Several, or `--to`: the costs in one file."""
    if arguments.to is None and len(search.ledgers) == 1:
        subject = subject_of(search.ledgers[0], arguments)
        say(f"written to {write_report(subject, reviewed, read_marks(subject.folder))}")
        return
    _put(alone(reviewed, search.ledgers), arguments)


def _put(text: str, arguments: argparse.Namespace) -> None:
    if arguments.to is None:
        sys.stdout.write(text)
    else:
        try:
            # Excel takes a CSV for UTF-8 only with a byte order mark.
            encoding = "utf-8-sig" if arguments.format == "csv" else "utf-8"
            arguments.to.write_text(text, encoding=encoding, newline="")
        except OSError as error:
            raise StorageFailed(f"{arguments.to}: {error.strerror}") from error
        say(f"written to {arguments.to}")


def _write_parquet(rows: list[Plain], path: Path | None) -> None:
    if path is None:
        raise InputRefused("--format parquet is no text: name a file with --to FILE")
    try:
        # Here and not above: an extra's part, and slow to import.
        from retouch.report.parquet import write_parquet  # noqa: PLC0415
    except ImportError as error:
        raise InputRefused(
            f"--format parquet: {error.name} is not installed",
            hint="pip install 'retouch[parquet]'",
        ) from error
    try:
        write_parquet(rows, path)
    except OSError as error:
        raise StorageFailed(f"{path}: {error.strerror or error}") from error
    say(f"written to {path}")


def _groupings(arguments: argparse.Namespace) -> tuple[Grouping, ...]:
    """`--by`; else what the format has room for."""
    if arguments.by is None:
        if arguments.format == "html":
            return GROUPINGS
        return _FULL if arguments.format in ("table", "markdown") else _SHORT
    names = tuple(name.strip() for name in arguments.by.split(","))
    chosen: list[Dimension] = [each for name in names for each in DIMENSIONS if each == name]
    unknown = [name for name in names if name not in DIMENSIONS]
    if unknown or len(set(names)) < len(names):
        what = f"{', '.join(unknown)} is none" if unknown else "names one twice"
        raise InputRefused(f"--by {arguments.by}: {what}; there are {', '.join(DIMENSIONS)}")
    asked: Grouping = tuple(chosen)
    return tuple(dict.fromkeys((*GROUPINGS, asked))) if arguments.format == "html" else (asked,)
