"""`retouch report`: what was paid, for what, and what of it was wasted; from ledgers alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from retouch.cli.budgets import amount_of
from retouch.cli.ledgers import add_period, find_ledgers, period_of, say_notes
from retouch.cli.output import json_text, say
from retouch.cli.pages import Reviewed, alone, subject_of, write_report
from retouch.cli.reviewing import (
    ALL,
    LOOKED_AT,
    Scope,
    review_ledgers,
    with_another_span,
    with_others,
    zone_of,
)
from retouch.cli.tables import print_charges, print_review
from retouch.cli.workspace import add_outputs
from retouch.errors import InputRefused, StorageFailed
from retouch.manifest import load_prices
from retouch.money import Money
from retouch.report import DIMENSIONS, MORE_DIMENSIONS, Grouping, is_dimension
from retouch.report.charges import CHARGE_FORMATS, COLUMNS, Wanted, charge_lines, charge_rows
from retouch.report.formats import csv_of, markdown_of
from retouch.report.rows import Plain, Review, columns_of
from retouch.review.costs import GROUPINGS
from retouch.review.marks import NAME as MARKS
from retouch.review.marks import read_marks
from retouch.storage.part import part_of

_WORDS = ", ".join((*DIMENSIONS, *MORE_DIMENSIONS))
FORMATS = ("table", "csv", "json", "jsonl", "markdown", "html", "parquet", "xlsx", "focus")
EXIT_ABOVE = 6
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
    add_period(parser)
    _add_form(parser)
    _add_other_prices(parser)
    _add_charges(parser)
    looking = parser.add_mutually_exclusive_group()
    looking.add_argument(
        "--pictures",
        action="store_true",
        help=f"look at every picture for waste (default: at up to {LOOKED_AT})",
    )
    looking.add_argument("--no-pictures", action="store_true", help="look at none")


def _add_form(parser: argparse.ArgumentParser) -> None:
    """What is shown, how, and where it goes."""
    parser.add_argument(
        "--format", choices=FORMATS, help="default: what --to ends in, like .html; else table"
    )
    parser.add_argument("--json", dest="format", action="store_const", const="json")
    parser.add_argument("--to", metavar="FILE", type=Path, help="write here, not to stdout")
    parser.add_argument(
        "--utc-offset",
        metavar="+HH:MM",
        help="whose days and months, like +08:00 for China (default: the price file's, else UTC)",
    )
    parser.add_argument("--by", metavar="A,B", help=f"group by any of {_WORDS}")
    parser.add_argument(
        "--compare",
        metavar="WHEN",
        help="beside each sum that of another time: previous, or a month like 2026-09",
    )
    parser.add_argument(
        "--fail-above",
        metavar="AMOUNT",
        help="exit 6 where confirmed and unknown together pass it, like 50CNY; for CI",
    )


def _add_other_prices(parser: argparse.ArgumentParser) -> None:
    """What it would have cost."""
    parser.add_argument(
        "--prices", metavar="FILE", type=Path, help="what it would have cost at these prices"
    )
    parser.add_argument(
        "--as",
        dest="instead",
        metavar="A=B",
        action="append",
        default=[],
        help="what model A's work would have cost on model B, by B's price",
    )
    parser.add_argument(
        "--batch",
        action="store_true",
        help="what it would have cost in batches, by the `batch_discount` of each price "
        "(those of --prices, else the manifest's)",
    )


def _add_charges(parser: argparse.ArgumentParser) -> None:
    """Charges one by one, and which of them."""
    parser.add_argument(
        "--jobs", action="store_true", help="a row a charge: table, csv, jsonl, xlsx or focus"
    )
    for name in ("model", "folder", "day", "waste"):
        parser.add_argument(f"--{name}", metavar=name.upper(), help="of --jobs: only these")
    parser.add_argument("--top", metavar="N", type=int, help="of --jobs: the N dearest")


@dataclass(frozen=True, slots=True)
class _Options:
    """What is to be shown and where. `to`: the file (None: stdout). `charges`: which are shown one
    by one; None for a review by `groupings`. `limit`: exit 6 above it."""

    format: str
    to: Path | None
    scope: Scope
    groupings: tuple[Grouping, ...]
    charges: Wanted | None
    instead: tuple[str, ...]
    compare: str | None
    limit: Money | None
    outputs: Path
    rehearse: bool


def _options(arguments: argparse.Namespace) -> _Options:
    """What the flags say, and the ledgers they name. Raises InputRefused, StorageFailed."""
    form = _format(arguments.format, arguments.to)
    if arguments.to is not None:
        _refuse_what_is_read(arguments.to, (*arguments.ledgers, arguments.prices or ""))
    if (form == "jsonl") > arguments.jobs:
        raise InputRefused("--format jsonl: a line a charge; add --jobs")
    if arguments.jobs and form not in CHARGE_FORMATS:
        raise InputRefused(f"--jobs: --format is one of {', '.join(CHARGE_FORMATS)}")
    groupings = _groupings(arguments.by, form)
    period = period_of(arguments.since, arguments.until)
    prices = load_prices(arguments.prices) if arguments.prices else None
    limit = _limit(arguments.fail_above)
    search = find_ledgers(arguments.ledgers, arguments.outputs, rehearsals=arguments.rehearse)
    looks = 0 if arguments.no_pictures else ALL if arguments.pictures else LOOKED_AT
    charges = None
    if arguments.jobs or form == "focus":
        only = (arguments.model, arguments.folder, arguments.day, arguments.waste, arguments.top)
        charges = Wanted(period, *only)
    return _Options(
        format=form,
        to=arguments.to,
        scope=Scope(
            search=search,
            period=period,
            zone=zone_of(arguments.utc_offset, prices, search),
            prices=prices,
            is_batch=arguments.batch,
            looks=looks,
        ),
        groupings=groupings,
        charges=charges,
        instead=tuple(arguments.instead),
        compare=arguments.compare,
        limit=limit,
        outputs=arguments.outputs,
        rehearse=arguments.rehearse,
    )


def _refuse_what_is_read(to: Path, read: Iterable[str | Path]) -> None:
    """Refuse to write over a ledger, marks, or what this command reads. Raises InputRefused."""
    if not to.is_file():
        return
    is_read = any(each.is_file() and each.samefile(to) for each in map(Path, read))
    if is_read or part_of(to) is not None or to.name == MARKS:
        raise InputRefused(
            f"--to {to}: this file is read, and would be lost", hint="name another file"
        )


def run(arguments: argparse.Namespace) -> int:
    """Review; 0. Raises InputRefused, LedgerDamaged, StorageFailed."""
    options = _options(arguments)
    scope = options.scope
    say_notes(scope.search)
    if options.charges is not None:
        _write_charges(options, options.charges)
        return 0
    reviewed = review_ledgers(scope, options.groupings)
    if options.instead:
        reviewed.review = with_others(reviewed.review, scope, options.instead)
    if options.compare is not None:
        reviewed.review = with_another_span(
            reviewed.review, scope, options.groupings, options.compare
        )
    if options.format == "html":
        _write_html(reviewed, options)
    else:
        _write(reviewed.review, options)
    return EXIT_ABOVE if options.limit and _passes(reviewed.review, options.limit) else 0


def _limit(said: str | None) -> Money | None:
    """`--fail-above 50CNY`. Raises InputRefused."""
    if said is None:
        return None
    amount, currency = amount_of("--fail-above", said)
    if not currency:
        raise InputRefused(f"--fail-above {said}: add the currency, like {said}CNY")
    return Money(amount, currency)


def _passes(review: Review, limit: Money) -> bool:
    """Whether what is confirmed and what is unknown at most come to more than the limit."""
    for row in review.totals:
        if row["currency"] == limit.currency:
            counted = Decimal(str(row["confirmed"])) + Decimal(str(row["unknown_high"]))
            if counted > limit.amount:
                say(f"{Money(counted, limit.currency)} are more than the {limit} allowed")
                return True
    return False


def _write_charges(options: _Options, wanted: Wanted) -> None:
    """A row a charge, as they come; of `--top` the dearest. Raises InputRefused, StorageFailed."""
    scope, providers = options.scope, dict[str, str]()

    def rows() -> Iterator[Plain]:
        ledgers = ((each.name, each.reader, each.shared_records) for each in scope.search.ledgers)
        return charge_rows(ledgers, wanted, scope.zone, providers)

    if options.format == "table":
        print_charges(rows())
    elif options.format == "xlsx":
        path = _file_for("xlsx", options.to)
        with _extra("xlsx", "bills"):
            from retouch.report.workbook import Page, write_workbook  # noqa: PLC0415
        write_workbook([Page("Charges", COLUMNS, rows)], path)
        say(f"written to {path}")
    else:
        _put(charge_lines(rows(), options.format, providers), options)


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


def _write(review: Review, options: _Options) -> None:
    if options.format == "table" and options.to is None:
        print_review(review)
        return
    grouping, rows = next(iter(review.by.items()))
    match options.format:
        case "json":
            text = json_text(review.document) + "\n"
        case "csv":
            text = csv_of(columns_of(grouping), rows)
        case "parquet":
            _write_parquet(rows, options.to)
            return
        case "xlsx":
            _write_workbook(review, options.to)
            return
        case _:
            text = markdown_of(review)
    _put([text], options)


def _write_html(reviewed: Reviewed, options: _Options) -> None:
    """One ledger: all pages in its `report/`. Several, or `--to`: the costs in one file."""
    ledgers = options.scope.search.ledgers
    if options.to is None and len(ledgers) == 1:
        subject = subject_of(ledgers[0], options.outputs, rehearse=options.rehearse)
        say(f"written to {write_report(subject, reviewed, read_marks(subject.folder))}")
        return
    _put([alone(reviewed, ledgers)], options)


def _put(texts: Iterable[str], options: _Options) -> None:
    """Write to stdout or to the file. Raises StorageFailed."""
    if options.to is None:
        sys.stdout.writelines(texts)
        return
    try:
        # Excel takes a CSV for UTF-8 only with a byte order mark.
        encoding = "utf-8-sig" if options.format == "csv" else "utf-8"
        with options.to.open("w", encoding=encoding, newline="") as file:
            file.writelines(texts)
    except OSError as error:
        raise StorageFailed(f"{options.to}: {error.strerror}") from error
    say(f"written to {options.to}")


def _write_parquet(rows: list[Plain], to: Path | None) -> None:
    path = _file_for("parquet", to)
    with _extra("parquet", "parquet"):
        from retouch.report.parquet import write_parquet  # noqa: PLC0415
    try:
        write_parquet(rows, path)
    except OSError as error:
        raise StorageFailed(f"{path}: {error.strerror or error}") from error
    say(f"written to {path}")


def _write_workbook(review: Review, to: Path | None) -> None:
    path = _file_for("xlsx", to)
    with _extra("xlsx", "bills"):
        from retouch.report.workbook import pages_of, write_workbook  # noqa: PLC0415
    write_workbook(pages_of(review), path)
    say(f"written to {path}")


def _file_for(form: str, to: Path | None) -> Path:
    """Where a format that is no text goes. Raises InputRefused."""
    if to is None:
        raise InputRefused(f"--format {form} is no text: name a file with --to FILE")
    return to


@contextmanager
def _extra(form: str, extra: str) -> Iterator[None]:
    """An extra's part is imported where it is needed: it may be missing, and is slow. Raises
    InputRefused."""
    try:
        yield
    except ImportError as error:
        raise InputRefused(
            f"--format {form}: {error.name} is not installed",
            hint=f"pip install 'retouch[{extra}]'",
        ) from error


def _groupings(by: str | None, form: str) -> tuple[Grouping, ...]:
    """`--by`; else what the format has room for."""
    if by is None:
        if form == "html":
            return GROUPINGS
        return _FULL if form in ("table", "markdown", "xlsx") else _SHORT
    names = tuple(name.strip() for name in by.split(","))
    unknown = [name for name in names if not is_dimension(name)]
    if unknown or len(set(names)) < len(names):
        what = f"{', '.join(unknown)} is none" if unknown else "names one twice"
        raise InputRefused(f"--by {by}: {what}; there are {_WORDS}")
    return tuple(dict.fromkeys((*GROUPINGS, names))) if form == "html" else (names,)
