"""`retouch reconcile`: ledgers against the provider's bill; what differs, and which request."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

from retouch.cli.fetch_bill import fetch_bill, workspace_to_ask
from retouch.cli.ledgers import Found, add_period, find_ledgers, is_rehearsal, period_of, say_notes
from retouch.cli.output import json_text, say
from retouch.cli.resolve import held_to_settle
from retouch.cli.tables import print_reconciliation
from retouch.cli.workspace import add_outputs
from retouch.costs.pricing import as_amount
from retouch.dialects.bill import MEASURES, Bill
from retouch.errors import InputRefused, StorageFailed
from retouch.ledger.records import Resolved
from retouch.money import CODES, exact
from retouch.reconcile.bill_cells import SIGNS, zone_of
from retouch.reconcile.compare import Whole, reconcile
from retouch.reconcile.differences import Difference, Hint, Reconciliation
from retouch.reconcile.hints import hints
from retouch.reconcile.lines import mapped
from retouch.reconcile.mapping import Mapping, read_mapping
from retouch.reconcile.models import pairs_of, with_our_models
from retouch.reconcile.ours import Ours
from retouch.reconcile.profiles import NAMES, ROLES
from retouch.reconcile.reading import Said, read_bill
from retouch.report import Period
from retouch.storage.reading import read_given
from retouch.text import how_many, one_clean_line

BILL_CAP_BYTES = 512 * 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch reconcile`."""
    parser.add_argument(
        "ledgers", metavar="WHAT", nargs="+", help="manifests, folders under outputs/, ledgers"
    )
    add_outputs(parser)
    parser.add_argument("--rehearse", action="store_true", help="of manifests: their rehearsals")
    _add_bill(parser)
    _add_spelling(parser)
    add_period(parser)
    parser.add_argument(
        "--settle",
        action="store_true",
        help="resolve the unknown outcomes that the bill decides; of days that are whole on it",
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def _add_bill(parser: argparse.ArgumentParser) -> None:
    """Where the bill is, and when it was made."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--bill",
        metavar="FILE",
        type=Path,
        help="the provider's export: CSV, JSON, a workbook, Parquet, packed or not",
    )
    source.add_argument("--fetch", action="store_true", help="ask the provider (needs a manifest)")
    parser.add_argument(
        "--as-of",
        metavar="TIME",
        default="",
        help="when the bill was made (default: its latest time, else its file's)",
    )
    parser.add_argument(
        "--margin", metavar="HOURS", type=int, default=6, help="a day is whole so long after it"
    )


def _add_spelling(parser: argparse.ArgumentParser) -> None:
    """How the bill is to be read: its columns, models, amounts and days."""
    parser.add_argument(
        "--columns",
        metavar="ROLE=COLUMN,...",
        default="",
        help=f"a table's columns; roles: date, model, {', '.join(MEASURES)}, currency, id",
    )
    parser.add_argument(
        "--profile",
        metavar="NAME|FILE",
        default="",
        help=f"whose bill it is ({', '.join(NAMES)}), or what --save-profile wrote",
    )
    parser.add_argument(
        "--save-profile", metavar="FILE", type=Path, help="write what was said, for next month"
    )
    parser.add_argument(
        "--models",
        metavar="THEIRS=OURS",
        action="append",
        default=[],
        help="a model's name on the bill (with *) and in the ledger; can be repeated",
    )
    parser.add_argument("--currency", metavar="CODE", default="", help="if the bill does not say")
    parser.add_argument(
        "--factor", metavar="NUMBER", default="", help="the bill's amounts by ours: 1.06 with tax"
    )
    parser.add_argument(
        "--quota-per-unit", metavar="NUMBER", default="", help="new-api: quota for one USD"
    )
    parser.add_argument(
        "--utc-offset", metavar="+HH:MM", default="", help="the bill's days, like +08:00 for China"
    )


@dataclass(frozen=True, slots=True)
class _Options:
    """How the comparison was asked for.

    `bill`: the provider's file; None where the provider is asked (`--fetch`). `mapping`: how it is
    read. `zone`: of its days. `as_of`: when it was made, if the user said it. `margin`: after this
    time a day is whole on it.
    """

    named: tuple[str, ...]
    outputs: Path
    rehearse: bool
    bill: Path | None
    mapping: Mapping
    zone: timezone
    period: Period
    as_of: datetime | None
    margin: timedelta


def _options(arguments: argparse.Namespace) -> _Options:
    """What the flags say. Raises InputRefused for what is none, or does not go together."""
    of_files = ("columns", "currency", "utc_offset", "profile", "quota_per_unit")
    for name in of_files if arguments.fetch else ():
        if getattr(arguments, name):
            option = name.replace("_", "-")
            raise InputRefused(
                f"--{option} goes with --bill: what --fetch asks for has days in UTC and no amounts"
            )
    period = period_of(arguments.since, arguments.until)
    if arguments.margin < 0:
        raise InputRefused(f"--margin {arguments.margin}: hours after a day's end, 0 or more")
    said = Mapping(
        columns=mapped(arguments.columns),
        models=pairs_of(arguments.models),
        utc_offset=arguments.utc_offset,
        currency=arguments.currency,
        factor=arguments.factor,
        quota_per_unit=arguments.quota_per_unit,
    )
    mapping = _over_profile(said, arguments.profile)
    zone = zone_of(mapping.utc_offset)
    return _Options(
        named=tuple(arguments.ledgers),
        outputs=arguments.outputs,
        rehearse=arguments.rehearse,
        bill=arguments.bill,
        mapping=mapping,
        zone=zone,
        period=period,
        as_of=_time(arguments.as_of, zone) if arguments.as_of else None,
        margin=timedelta(hours=arguments.margin),
    )


def run(arguments: argparse.Namespace) -> int:
    """Compare; 0 when money was compared and everything is explained, 1 when not."""
    options = _options(arguments)
    mapping, period = options.mapping, options.period
    search = find_ledgers(options.named, options.outputs, rehearsals=options.rehearse)
    say_notes(search)
    ours = Ours(options.zone, period)
    for number, ledger in enumerate(search.ledgers):
        ours.read(number, ledger.reader, ledger.shared_records)
    ours = ours.moved(factor=mapping.times())
    bill = _bill(options, ours)
    bill = with_our_models(bill, ours.models, mapping.models)
    for note in bill.notes:
        say(note)
    lines = tuple(line for line in bill.lines if period.holds(f"{line.day}-01"[:10]))
    whole = _whole(options, bill)
    bill = replace(bill, lines=lines)
    currency = _currency(mapping.currency or None, ours, bill)
    found = reconcile(ours, bill, currency, whole)
    settled = _settle(found, search.ledgers, bill) if arguments.settle else 0
    is_virtual = any(is_rehearsal(each.path) for each in search.ledgers)
    hinted = hints(ours, bill, currency, found)
    if arguments.json:
        print(json_text(_document(found, bill, hinted, settled, is_virtual=is_virtual)))
    else:
        print_reconciliation(found, bill, is_virtual=is_virtual)
    for hint in (*_hints(found, settled, options), *map(_hint, hinted)):
        say(hint)
    if arguments.save_profile:
        _save(arguments.save_profile, mapping, bill)
    return 0 if found.money_compared and not found.unexplained else 1


def _over_profile(said: Mapping, profile: str) -> Mapping:
    """What the command line says of the bill, over the profile it names, or the file of one.

    Raises InputRefused.
    """
    if not profile.endswith((".yaml", ".yml")):
        return said.model_copy(update={"profile": profile})
    return said.over(read_mapping(profile, _bytes(Path(profile))))


def _time(text: str, zone: timezone) -> datetime:
    """`--as-of` as a moment; one without a zone is in the bill's. Raises InputRefused."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        said = one_clean_line(text, 40)
        raise InputRefused(f"--as-of {said}: write 2026-11-02T08:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=zone)


def _save(path: Path, mapping: Mapping, bill: Bill) -> None:
    """Write down how this bill was read. Raises StorageFailed."""
    roles = {role: column for role, column in bill.columns.items() if role in ROLES}
    found = Mapping(profile=bill.profile, columns=roles)
    try:
        path.write_text(mapping.over(found).written(), encoding="utf-8")
    except OSError as error:
        raise StorageFailed(f"{path}: {error.strerror}") from None
    say(f"how this bill is read is written to {path}: --profile {path} takes it next month")


def _whole(options: _Options, bill: Bill) -> Whole:
    """When the bill was made: said, else its latest stated time, else its file's, else now."""
    stated = [] if bill.is_itemised is False else [line.at for line in bill.lines if line.at]
    if options.as_of is not None:
        at = options.as_of
    elif stated:
        at = max(stated)
    elif options.bill is None:
        at = datetime.now(UTC)
    else:
        at = datetime.fromtimestamp(options.bill.stat().st_mtime, UTC)
    return Whole(at, options.zone, options.margin)


def _hint(hint: Hint) -> str:
    """What may explain more, as a line."""
    rows = how_many(hint.explains, "row")
    match hint.kind:
        case "offset":
            return f"with --utc-offset {hint.value} {rows} would be explained"
        case "factor":
            return f"with --factor {hint.value} (a discount, tax?) {rows} would be explained"
    return (
        f"with its days counted {hint.value}, {rows} would be explained: does it name another day?"
    )


def _bill(options: _Options, ours: Ours) -> Bill:
    """The provider's side. Raises InputRefused, Refused."""
    if options.bill is not None:
        mapping = options.mapping
        columns = ",".join(f"{role}={name}" for role, name in mapping.columns.items())
        said = Said(columns, mapping.profile, mapping.quota_per_unit)
        return read_bill(str(options.bill), _bytes(options.bill), zone=options.zone, said=said)
    days = [entry.at.date() for entry in ours.entries] or [datetime.now(UTC).date()]
    day = timedelta(days=1)
    workspace = workspace_to_ask(options.named, options.outputs, rehearse=options.rehearse)
    return fetch_bill(workspace, min(days) - day, max(days) + day, os.environ)


def _bytes(path: Path) -> bytes:
    return read_given(path, BILL_CAP_BYTES, if_missing="check the path", if_large="export a month")


def _currency(said: str | None, ours: Ours, bill: Bill) -> str | None:
    """The currency of lines that do not say theirs. Raises InputRefused where it is not clear."""
    if said is not None and said not in CODES:
        raise InputRefused(
            f"--currency {one_clean_line(said, 20)}: no currency; write three letters, like CNY"
        )
    if "amount" not in bill.measures or all(line.currency for line in bill.lines):
        return said
    known = {entry.currency for entry in ours.entries if entry.currency}
    known |= {each.attempt.ceiling.currency for each in ours.doubts if each.attempt.ceiling}
    if said is None and len(known) > 1:
        names = " and ".join(sorted(known))
        raise InputRefused(
            f"{bill.name}: in which currency? The ledger has {names}",
            hint="say it by --currency, or map its column: --columns currency=...",
        )
    code = said or min(known, default=None)
    wrong = [sign for sign in sorted(bill.signs) if code and code not in SIGNS[sign]]
    if wrong:
        raise InputRefused(
            f"{bill.name}: its amounts are written with {wrong[0]}, which is not {code}",
            hint="say the bill's own currency by --currency",
        )
    return code


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
        places = {(one.key, one.attempt) for one in records}
        with held_to_settle(ledgers[number].path, places) as holding:
            holding.append(records)
    return len(found.verdicts)


def _document(
    found: Reconciliation, bill: Bill, hinted: list[Hint], settled: int, *, is_virtual: bool
) -> dict[str, object]:
    return {
        "profile": bill.profile,
        "columns": dict(bill.columns),
        "unused_money": list(bill.unused_money),
        "money_compared": found.money_compared,
        "hints": [asdict(hint) for hint in hinted],
        "others": [
            {
                "day": line.day,
                "category": line.category,
                "amount": exact(line.measures.get("amount", Decimal(0))),
                "currency": line.currency,
                "line": line.number,
            }
            for line in found.others
        ],
        "rows": [_plain(row) for row in found.differences],
        "unexplained": [_plain(row) for row in found.unexplained],
        "settled": settled,
        "virtual": is_virtual,
    }


def _hints(found: Reconciliation, settled: int, options: _Options) -> Iterator[str]:
    """What to know or to try next."""
    if settled:
        yield f"unknown outcomes settled by the bill: {settled}"
    elif found.verdicts:
        yield f"the bill decides {len(found.verdicts)} of what is unknown: --settle settles it"
    ours = [row for row in found.differences if row.ours]
    theirs = [row for row in found.differences if row.theirs]
    if ours and theirs and {row.day for row in ours} != {row.day for row in theirs}:
        is_part = options.period.since or options.period.until
        period = "" if is_part else "; --since and --until take a part"
        zone = "" if options.mapping.utc_offset else "; --utc-offset +08:00 if its days are China's"
        yield f"some days are on one side only{period}{zone}"
    of_ours, of_theirs = {row.model for row in ours}, {row.model for row in theirs}
    if of_ours - of_theirs and of_theirs - of_ours:
        sides = [", ".join(sorted(each)) for each in (of_ours - of_theirs, of_theirs - of_ours)]
        alone = f"the ledger alone has {sides[0]}, the bill alone {sides[1]}"
        yield one_clean_line(f"one model under two names? {alone}")


def _plain(row: Difference) -> dict[str, object]:
    number = exact if row.measure == "amount" else str
    return {
        "month" if len(row.day) == len("2026-10") else "day": row.day,
        "model": row.model,
        "measure": row.measure,
        "currency": row.currency,
        "ours": number(row.ours),
        "theirs": number(row.theirs),
        "difference": number(row.theirs - row.ours),
        "explained": number(row.explained),
        "unexplained": number(row.unexplained),
        "unknown_outcomes": row.doubts,
        "unpriced_requests": row.unpriced,
        "by_midnight": row.by_midnight,
        "rounding": number(row.rounding),
        "suspects": [
            {"text": each.text, "key": each.key or None, "line": each.line or None}
            for each in row.suspects
        ],
    }
