"""Sums by each of some groupings, within a period.

A Charge touches one fine row; the fine rows are added up to the groupings' own now and then, so
that a million Records cost a look-up each and memory holds rows, never Records.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Protocol

from retouch.report.sums import Grouping, Period, Sums, label_of

RowKey = tuple[str | None, ...]
FINE_ROWS = 50_000  # more, and they are added up


class Placed(Protocol):
    """What says where its cost belongs: the Record that began an Attempt."""

    @property
    def model(self) -> str: ...
    @property
    def prompt(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def run(self) -> str: ...


class Breakdown:
    """`rows` maps a grouping to its rows, once `add_up` was called; a row's key is its currency
    and the grouping's values. The grouping () is the totals. `days` are those that rows are of."""

    def __init__(self, groupings: Iterable[Grouping], period: Period) -> None:
        self.rows: dict[Grouping, dict[RowKey, Sums]] = {(): {}} | {each: {} for each in groupings}
        self.days: set[str] = set()
        self._period = period
        wanted = {dimension for grouping in self.rows for dimension in grouping}
        # At least two, so that an attrgetter returns a tuple.
        self._names = ("model", "run", *sorted(wanted & {"prompt", "source"}))
        self._words = attrgetter(*self._names)
        self._by_label = "label" in wanted
        self._fine: dict[tuple[str | None, str, str, tuple[str, ...]], Sums] = {}

    def sums(self, placed: Placed, currency: str | None, day: str) -> Sums:
        """The fine row of what was charged on a day; outside the period one that is forgotten."""
        folder = placed.source.rpartition("/")[0] if self._by_label else ""
        key = (currency, day, folder, self._words(placed))
        known = self._fine.get(key)
        if known is None:
            if len(self._fine) >= FINE_ROWS:
                self.add_up()
            known = self._fine[key] = Sums()
        return known

    def add_up(self) -> None:
        """Add the fine rows to those of every grouping."""
        for (currency, day, folder, words), sums in self._fine.items():
            if not self._period.holds(day):
                continue
            self.days.add(day)
            said = dict(zip(self._names, words, strict=True)) | {
                "day": day,
                "label": label_of(folder),
            }
            for grouping, rows in self.rows.items():
                key = (currency, *[said[dimension] for dimension in grouping])
                known = rows.get(key)
                if known is None:
                    known = rows[key] = Sums()
                known.add(sums)
        self._fine = {}
