"""`retouch report`: what was paid, for what, and what of it was wasted; from ledgers alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, timezone
from decimal import Decimal
from os.path import exists
from pathlib import Path

from retouch.cli.budgets import amount_of
from retouch.cli.ledgers import Found, Search, add_period, find_ledgers, period_of, say_notes
from retouch.cli.output import json_text, say
from retouch.cli.pages import Reviewed, alone, look_at, subject_of, write_report
from retouch.cli.tables import print_charges, print_review
from retouch.cli.workspace import add_outputs
from retouch.errors import InputRefused, StorageFailed
from retouch.manifest import PriceFile, load_prices, offset_of, utc_offset
from retouch.money import Money, exact
from retouch.report import DIMENSIONS, MORE_DIMENSIONS, Grouping, Kept, Period, Tally, is_dimension
from retouch.report.charges import CHARGE_FORMATS, Wanted, charge_lines, charge_rows
from retouch.report.comparing import as_other, compared, spans
from retouch.report.formats import csv_of, markdown_of
from retouch.report.rows import Plain, Review, columns_of, review_of
from retouch.report.tally import Stands, all_stand
from retouch.report.waste import Wasted, WasteKind
from retouch.report.what_if import PriceAt, WhatIf
from retouch.review.charts import Durations
from retouch.review.costs import GROUPINGS
from retouch.review.marks import read_marks
from retouch.text import one_clean_line

_WORDS = ", ".join((*DIMENSIONS, *MORE_DIMENSIONS))
FORMATS = ("table", "csv", "json", "jsonl", "markdown", "html", "parquet", "focus")
EXIT_ABOVE = 6
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
    parser.add_argument(
        "--utc-offset",
        metavar="+HH:MM",
        help="whose days and months, like +08:00 for China (default: the price file's, else UTC)",
    )
    parser.add_argument("--by", metavar="A,B", help=f"group by any of {_WORDS}")
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
        "--compare",
        metavar="WHEN",
        help="beside each sum that of another time: previous, or a month like 2026-09",
    )
    parser.add_argument(
        "--batch",
        action="store_true",
        help="what it would have cost in batches, by the `batch_discount` of each price "
        "(those of --prices, else the manifest's)",
    )
    parser.add_argument(
        "--fail-above",
        metavar="AMOUNT",
        help="exit 6 where confirmed and unknown together pass it, like 50CNY; for CI",
    )
    parser.add_argument(
        "--jobs", action="store_true", help="a row a charge: table, csv, jsonl or focus"
    )
    for name in ("model", "folder", "day", "waste"):
        parser.add_argument(f"--{name}", metavar=name.upper(), help="of --jobs: only these")
    parser.add_argument("--top", metavar="N", type=int, help="of --jobs: the N dearest")
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
    if (arguments.format == "jsonl") > arguments.jobs:
        raise InputRefused("--format jsonl: a line a charge; add --jobs")
    if arguments.jobs and arguments.format not in CHARGE_FORMATS:
        raise InputRefused(f"--jobs: --format is one of {', '.join(CHARGE_FORMATS)}")
    groupings = _groupings(arguments)
    period = period_of(arguments.since, arguments.until)
    prices = load_prices(arguments.prices) if arguments.prices else None
    limit = _limit(arguments.fail_above)
    search = find_ledgers(arguments.ledgers, arguments.outputs, rehearsals=arguments.rehearse)
    say_notes(search)
    if arguments.jobs or arguments.format == "focus":
        _write_charges(arguments, search, period, _zone(arguments.utc_offset, prices, search))
        return 0
    reviewed = _review(arguments, search, groupings, period, prices)
    review = reviewed.review
    if arguments.instead:
        what_if = _as_others(arguments, search, period, prices)
        review = replace(review, what_if=what_if, notes=(*review.notes, *map(as_other, what_if)))
    if arguments.compare is not None:
        review = _compared(review, arguments, search, groupings, period)
    if arguments.format == "html":
        _write_html(replace(reviewed, review=review), search, arguments)
    else:
        _write(review, arguments)
    return EXIT_ABOVE if limit is not None and _passes(review, limit) else 0


def _as_others(
    arguments: argparse.Namespace, search: Search, period: Period, prices: PriceFile | None
) -> list[Plain]:
    """`--as A=B`: what A's charges cost, and would have cost at B's price. Raises InputRefused."""
    pairs = dict(_pair(said) for said in arguments.instead)
    rows: list[Plain] = []
    for model, other in pairs.items():
        what_if = WhatIf(instead={model: other})
        tally = Tally([("model",)], period, prices=what_if)
        for found in search.ledgers:
            price_at = prices.price_at if prices else _own_prices(found, "--as")
            what_if.by(_only(price_at, model, other))
            tally.read(found.reader, found.shared_records)
        sums = tally.compared
        if not sums.ours and other in {pairs[each] for each in what_if.unpriced if each == model}:
            raise InputRefused(f"--as {model}={other}: {other} has no price at that time")
        rows += [
            {
                "model": model,
                "as": other,
                "currency": code,
                "confirmed": exact(money.amount) if money else None,
                "would_be": exact(would.amount) if would else None,
            }
            for code in sorted({*sums.ours, *sums.theirs})
            for money, would in [(sums.theirs.get(code), sums.ours.get(code))]
        ]
    return rows


def _only(price_at: PriceAt, model: str, other: str) -> PriceAt:
    """The price of the other model alone: whatever else was used costs nothing here."""
    return lambda name, moment: price_at(name, moment) if name == other != model else None


def _pair(said: str) -> tuple[str, str]:
    model, separator, other = said.partition("=")
    if not (separator and model and other):
        raise InputRefused(f"--as {one_clean_line(said, 80)}: write MODEL=OTHER")
    return model, other


def _compared(
    review: Review,
    arguments: argparse.Namespace,
    search: Search,
    groupings: tuple[Grouping, ...],
    period: Period,
) -> Review:
    """The review with what another span came to beside each sum. Raises InputRefused."""
    now, before = spans(arguments.compare, period, review.days)
    if not period.since and not period.until and now is not None:
        review = _review(_without_pictures(arguments), search, groupings, now, None).review
    earlier = _review(_without_pictures(arguments), search, groupings, before, None).review
    note = f"Compared with {before.since} to {before.until}."
    return compared(replace(review, notes=(*review.notes, note)), earlier)


def _without_pictures(arguments: argparse.Namespace) -> argparse.Namespace:
    return argparse.Namespace(**vars(arguments) | {"no_pictures": True, "pictures": False})


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


def _write_charges(
    arguments: argparse.Namespace, search: Search, period: Period, zone: timezone
) -> None:
    """A row a charge, as they come; of `--top` the dearest. Raises InputRefused, StorageFailed."""
    wanted = Wanted(
        period, arguments.model, arguments.folder, arguments.day, arguments.waste, arguments.top
    )
    ledgers = ((found.name, found.reader, found.shared_records) for found in search.ledgers)
    rows = charge_rows(ledgers, wanted, zone)
    if arguments.format == "table":
        print_charges(rows)
        return
    lines = charge_lines(rows, arguments.format)
    if arguments.to is None:
        sys.stdout.writelines(lines)
        return
    try:
        encoding = "utf-8-sig" if arguments.format == "csv" else "utf-8"
        with arguments.to.open("w", encoding=encoding, newline="") as file:
            file.writelines(lines)
    except OSError as error:
        raise StorageFailed(f"{arguments.to}: {error.strerror}") from error
    say(f"written to {arguments.to}")


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
    zone = _zone(arguments.utc_offset, prices, search)
    what_if = WhatIf(is_batch=arguments.batch) if prices or arguments.batch else None
    tally = Tally(
        groupings,
        period,
        zone=zone,
        prices=what_if,
        on_kept=looker.keep,
        rejected=frozenset[str]().union(*rejected),
    )
    notes, absent = list(search.notes), list[str]()
    for found in search.ledgers:
        looker.reading = found
        if what_if is not None:
            what_if.by(prices.price_at if prices else _own_prices(found, "--batch"))
        tally.read(
            found.reader, found.shared_records, ledger=found.name, stands=_standing(found, absent)
        )
    if period.since or period.until:
        span = f"from {period.since or 'the first day'} to {period.until or 'the last'}"
        notes.append(f"Only what was begun {span} ({_zone_name(zone)}).")
    if what_if is not None:
        whose = f"the prices of {prices.path.name}" if prices else "the manifest's prices"
        found_sums = tally.compared
        notes += what_if.notes(
            whose, found_sums.ours.values(), found_sums.theirs.values(), found_sums.apart
        )
    notes += (*_stated(tally), *absent)
    if looker.is_full and not arguments.no_pictures:
        notes.append(f"{looker.seen:,} jobs' pictures were not looked at (--pictures does).")
        say(notes[-1])
    looker.look(tally.wasted)
    about = _about(search, tally, _zone_name(zone))
    review = review_of(tally, about, tuple(notes), offset_of(zone))
    return Reviewed(review, looker.durations, looker.looked)


def _zone(said: str | None, prices: PriceFile | None, search: Search) -> timezone:
    """Whose days a review has: as asked for, else the one that the price files name. Raises
    InputRefused."""
    if said is not None:
        zone = utc_offset(said)
        if zone is None:
            raise InputRefused(f"--utc-offset {one_clean_line(said, 40)}: write it like +08:00")
        return zone
    if prices is not None and prices.zone is not None:
        return prices.zone
    zones = {found.loaded.zone for found in search.ledgers if found.loaded}
    return zones.pop() if len(zones) == 1 else UTC


def _zone_name(zone: timezone) -> str:
    return "UTC" if zone == UTC else f"UTC{offset_of(zone)}"


def _standing(found: Found, notes: list[str]) -> Stands:
    """Whether a recorded picture is there; where none are at hand, all are taken to stand."""
    folder = found.path.parent
    if not (folder / "images").is_dir():
        notes.append(f"{found.name}: no images/ lie beside the ledger; recorded pictures count.")
        return all_stand
    root = f"{folder}/"
    # A Path a picture would cost three times as much.
    return lambda file: exists(root + file.path)  # noqa: PTH110


def _stated(tally: Tally) -> Iterator[str]:
    """How what servers state compares with what was worked out."""
    stated = tally.stated
    if stated.ours and stated.ours != stated.theirs:
        ours, theirs = (
            " and ".join(map(str, sums.values())) for sums in (stated.ours, stated.theirs)
        )
        yield f"For charges of {ours} the servers themselves state {theirs}."


def _about(search: Search, tally: Tally, zone: str) -> str:
    """Which ledgers and which days were reviewed; nothing where there is no ledger."""
    if not search.ledgers:
        return ""
    names = list(dict.fromkeys(found.name for found in search.ledgers))
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    days = sorted(tally.days)
    span = (
        [f"{days[0]} to {days[-1]} ({zone})" if len(days) > 1 else f"{days[0]} ({zone})"]
        if days
        else []
    )
    parts = [", ".join(names[:NAMED]) + more, *span, f"{tally.records:,} records"]
    return one_clean_line(" · ".join(parts))


def _own_prices(found: Found, option: str) -> PriceAt:
    """The prices of the manifest that a ledger was found by. Raises InputRefused."""
    if found.loaded is None:
        raise InputRefused(
            f"{option}: {found.path} was not named by its manifest, so its prices are not known",
            hint="name the manifest, or say the prices by --prices FILE",
        )
    return found.loaded.price_at


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
        subject = subject_of(search.ledgers[0], arguments.outputs, rehearse=arguments.rehearse)
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
    unknown = [name for name in names if not is_dimension(name)]
    if unknown or len(set(names)) < len(names):
        what = f"{', '.join(unknown)} is none" if unknown else "names one twice"
        raise InputRefused(f"--by {arguments.by}: {what}; there are {_WORDS}")
    return tuple(dict.fromkeys((*GROUPINGS, names))) if arguments.format == "html" else (names,)
