"""From the ledgers that were found to the review of them: at the prices paid, or at others.

The pictures of finished Jobs are looked at for waste: those of all Jobs, or of none where there
are too many.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, timezone
from os.path import exists

from retouch.cli.allowances import (
    Basis,
    RowsSpent,
    runway_document,
    runway_lines,
    runways,
    utc_today,
)
from retouch.cli.ledgers import Found, Search
from retouch.cli.output import say
from retouch.cli.pages import Reviewed, look_at
from retouch.errors import InputRefused
from retouch.manifest import Manifest, PriceFile, offset_of, utc_offset
from retouch.money import exact
from retouch.report import Grouping, Kept, Period, Tally
from retouch.report.comparing import as_other, compared, spans
from retouch.report.rows import Plain, Review, review_of
from retouch.report.tally import Stands, all_stand
from retouch.report.waste import Wasted, WasteKind
from retouch.report.what_if import PriceAt, WhatIf, no_price
from retouch.review.charts import Durations
from retouch.review.marks import read_marks
from retouch.text import one_clean_line

_BY_BUDGET: Grouping = ("day", "model")  # what budgets are told by
NAMED = 5  # ledgers: more are counted
LOOKED_AT = 500  # pictures that are looked at without being asked to: some seconds' worth
ALL = sys.maxsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which ledgers are reviewed, of which days (of `zone`), and at whose prices.

    `prices`: in place of those paid. `is_batch`: by each price's batch_discount.
    `looks`: how many finished Jobs' pictures are looked at.
    """

    search: Search
    period: Period
    zone: timezone = UTC
    prices: PriceFile | None = None
    is_batch: bool = False
    looks: int = LOOKED_AT


def review_ledgers(scope: Scope, groupings: Sequence[Grouping]) -> Reviewed:
    """The review by each of the groupings. Raises InputRefused, LedgerDamaged, StorageFailed."""
    looker = _Looker(scope.looks)
    budgeted = _budgeted(scope)
    prices, what_if = scope.prices, None
    if prices or scope.is_batch:
        what_if = WhatIf(is_batch=scope.is_batch)
    tally = Tally(
        [*groupings, *((_BY_BUDGET,) if budgeted and _BY_BUDGET not in groupings else ())],
        scope.period,
        zone=scope.zone,
        prices=what_if,
        parts=(apart := what_if or WhatIf()).parts,
        on_kept=looker.keep,
        rejected=_rejected(scope.search),
    )
    absent: list[str] = []
    by_kind = any("kind" in grouping for grouping in groupings)
    for found in scope.search.ledgers:
        looker.reading = found
        if what_if is not None:
            what_if.by(prices.price_at if prices else _own_prices(found, "--batch"))
        elif found.loaded is not None:
            apart.by(found.loaded.price_at)
        elif by_kind:
            apart.by(no_price)
            absent.append(
                f"{found.name}: amounts are not told apart by kind, for it was not named by its "
                "manifest, which has the prices."
            )
        tally.read(
            found.reader, found.shared_records, ledger=found.name, stands=_standing(found, absent)
        )
    notes = [*scope.search.notes, *_noted(scope, tally, what_if), *absent]
    if looker.is_full and scope.looks:
        notes.append(f"{looker.seen:,} jobs' pictures were not looked at (--pictures does).")
        say(notes[-1])
    looker.look(tally.wasted)
    about = _about(scope.search, tally, _zone_name(scope.zone))
    review = review_of(tally, about, tuple(notes), offset_of(scope.zone))
    if budgeted is not None:
        review = _with_budgets(review, budgeted, groupings)
    return Reviewed(review, looker.durations, looker.looked)


def _budgeted(scope: Scope) -> Manifest | None:
    """The manifest whose budgets stand beside the review: that of one whole ledger, as paid."""
    if len(scope.search.ledgers) != 1 or scope.period.since or scope.period.until:
        return None
    loaded = scope.search.ledgers[0].loaded
    if loaded is None or scope.prices is not None or scope.is_batch:
        return None
    settings = (loaded.manifest.run.budget, *(model.budget for model in loaded.manifest.models))
    return loaded.manifest if any(each and each.total is not None for each in settings) else None


def _with_budgets(review: Review, manifest: Manifest, groupings: Sequence[Grouping]) -> Review:
    """The review with what the total budgets have left, and how long that lasts."""
    spent = RowsSpent(review.by[_BY_BUDGET])
    found = [
        each
        for each in runways(manifest, Basis(spent, utc_today(), each=spent.each))
        if each.allowance.span == "total"
    ]
    texts = ("; ".join(line.strip() for line in runway_lines(each)) for each in found)
    return replace(
        review,
        by={name: rows for name, rows in review.by.items() if name in groupings},
        budgets=list(map(runway_document, found)),
        notes=(*review.notes, *(f"{text[0].upper()}{text[1:]}." for text in texts)),
    )


def _rejected(search: Search) -> frozenset[str]:
    """Keys of Jobs whose pictures a person refused."""
    marked = (read_marks(found.path.parent).rejected_keys for found in search.ledgers)
    return frozenset[str]().union(*marked)


def _noted(scope: Scope, tally: Tally, what_if: WhatIf | None) -> Iterator[str]:
    """Which days these are, at whose prices, and how what servers state compares."""
    period = scope.period
    if period.since or period.until:
        span = f"from {period.since or 'the first day'} to {period.until or 'the last'}"
        yield f"Only what was begun {span} ({_zone_name(scope.zone)})."
    if what_if is not None:
        name = scope.prices and scope.prices.path.name
        whose = f"the prices of {name}" if name else "the manifest's prices"
        sums = tally.compared
        yield from what_if.notes(whose, sums.ours.values(), sums.theirs.values(), sums.apart)
    stated = tally.stated
    if stated.ours and stated.ours != stated.theirs:
        ours, theirs = (
            " and ".join(map(str, sums.values())) for sums in (stated.ours, stated.theirs)
        )
        yield f"For charges of {ours} the servers themselves state {theirs}."


def with_others(review: Review, scope: Scope, instead: Sequence[str]) -> Review:
    """The review with what A's charges cost, and would have cost at B's price, for each `A=B` of
    `instead`. Raises InputRefused."""
    pairs = dict(_pair(said) for said in instead)
    rows = [row for pair in pairs.items() for row in _as_other(scope, pair, pairs)]
    notes = (*review.notes, *map(as_other, rows))
    return replace(review, what_if=rows, notes=notes)


def _as_other(scope: Scope, pair: tuple[str, str], pairs: Mapping[str, str]) -> Iterator[Plain]:
    model, other = pair
    what_if = WhatIf(instead={model: other})
    tally = Tally([("model",)], scope.period, prices=what_if)
    for found in scope.search.ledgers:
        price_at = scope.prices.price_at if scope.prices else _own_prices(found, "--as")
        what_if.by(_only(price_at, model, other))
        tally.read(found.reader, found.shared_records)
    sums = tally.compared
    if not sums.ours and other in {pairs[each] for each in what_if.unpriced if each == model}:
        raise InputRefused(f"--as {model}={other}: {other} has no price at that time")
    for code in sorted({*sums.ours, *sums.theirs}):
        money, would = sums.theirs.get(code), sums.ours.get(code)
        yield {
            "model": model,
            "as": other,
            "currency": code,
            "confirmed": exact(money.amount) if money else None,
            "would_be": exact(would.amount) if would else None,
        }


def _only(price_at: PriceAt, model: str, other: str) -> PriceAt:
    """The price of the other model alone: whatever else was used costs nothing here."""
    return lambda name, moment: price_at(name, moment) if name == other != model else None


def _pair(said: str) -> tuple[str, str]:
    model, separator, other = said.partition("=")
    if not (separator and model and other):
        raise InputRefused(f"--as {one_clean_line(said, 80)}: write MODEL=OTHER")
    return model, other


def with_another_span(
    review: Review, scope: Scope, groupings: Sequence[Grouping], when: str
) -> Review:
    """The review with what another span came to beside each sum; `when`: previous, or a month like
    2026-09. Raises InputRefused."""
    now, before = spans(when, scope.period, review.days)
    plain = replace(scope, prices=None, looks=0)
    if not scope.period.since and not scope.period.until and now is not None:
        review = review_ledgers(replace(plain, period=now), groupings).review
    earlier = review_ledgers(replace(plain, period=before), groupings).review
    note = f"Compared with {before.since} to {before.until}."
    return compared(replace(review, notes=(*review.notes, note)), earlier)


def zone_of(said: str | None, prices: PriceFile | None, search: Search) -> timezone:
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
    # A Path for each picture takes three times as long.
    return lambda file: exists(root + file.path)  # noqa: PTH110


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

    def __init__(self, limit: int) -> None:
        self.reading: Found | None = None
        self.seen = 0
        self.durations = Durations()
        self.looked: dict[str, frozenset[WasteKind]] = {}
        self._kept: list[tuple[Found, Kept]] = []
        self._limit = limit

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
