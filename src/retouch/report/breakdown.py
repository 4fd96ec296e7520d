"""Sums by each of some groupings, within a period.

A Charge touches one fine row; the fine rows are added up to the groupings' own now and then, so
that a million Records cost a look-up each and memory holds rows, never Records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import Protocol

from retouch.costs.kinds import NOT_TOLD_APART
from retouch.ledger.records import RunBegins
from retouch.report.sums import (
    Grouping,
    Period,
    Sums,
    beginning_of,
    folder_of,
    label_of,
    week_of,
)

RowKey = tuple[str | None, ...]
FINE_ROWS = 2_000  # more, and they are added up
Spot = tuple[str | None, str, str, tuple[str, ...]]
"""Where a fine row is: currency, day, folder, and the words of an Attempt that rows are by."""

_OF_FOLDERS = ("label", "folder")
_TOLD_BY = {"label": "folder", "week": "day", "month": "day", "provider": "run", "tag": "run"}


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


@dataclass(slots=True)
class Place:
    """The ledger that is being read: its name, and its runs so far by their id."""

    ledger: str = ""
    runs: dict[str, RunBegins] = field(default_factory=dict)

    def provider(self, run: str) -> str:
        begun = self.runs.get(run)
        return begun.provider if begun else ""

    def tag(self, run: str, name: str) -> str:
        """The run's tag of this name; "" where it has none."""
        begun = self.runs.get(run)
        return (begun.tags or {}).get(name, "") if begun else ""


class Breakdown:
    """`rows` maps a grouping to its rows, once `add_up` was called; a row's key is its currency
    and the grouping's values; one by source has its ledger too, before the source. The grouping ()
    is the totals. `days` are those that rows are of. `by_kind`: some rows are by kind; what is of
    none, a Job or an Attempt, is counted where nothing is told apart."""

    def __init__(self, groupings: Iterable[Grouping], period: Period) -> None:
        self.rows: dict[Grouping, dict[RowKey, Sums]] = {(): {}} | {each: {} for each in groupings}
        self.days: set[str] = set()
        self.place = Place()
        self._period = period
        wanted = list(dict.fromkeys(word for each in self.rows for word in columns(each)))
        # At least two, so that an attrgetter returns a tuple.
        self._names = ("model", "run", *(word for word in ("prompt", "source") if word in wanted))
        self._words = attrgetter(*self._names)
        self._by_folder = any(word.partition(":")[0] in _OF_FOLDERS for word in wanted)
        self.by_kind = "kind" in wanted
        said = ("day", "folder", *self._names, *(("kind",) if self.by_kind else ()))
        self._values = [_value_of(word, said) for word in wanted]
        self._keys = [
            (_picked([1 + wanted.index(word) for word in columns(each)]), rows)
            for each, rows in self.rows.items()
        ]
        self._fine: dict[Spot, Sums] = {}

    def spot(
        self, placed: Placed, currency: str | None, day: str, kind: str = NOT_TOLD_APART
    ) -> Spot:
        """The fine row that what was charged on a day, for a kind of thing, belongs to."""
        folder = folder_of(placed.source) if self._by_folder else ""
        words = self._words(placed)
        return (currency, day, folder, (*words, kind) if self.by_kind else words)

    def at(self, spot: Spot) -> Sums:
        """The sums of a fine row; outside the period they are forgotten."""
        known = self._fine.get(spot)
        if known is None:
            if len(self._fine) >= FINE_ROWS:
                self.add_up()
            known = self._fine[spot] = Sums()
        return known

    def add_up(self) -> None:
        """Add the fine rows to those of every grouping."""
        for (currency, day, folder, words), sums in self._fine.items():
            if not self._period.holds(day):
                continue
            self.days.add(day)
            said = (day, folder, *words)
            values = (currency, *[value(said, self.place) for value in self._values])
            for picked, rows in self._keys:
                key = picked(values)
                known = rows.get(key)
                if known is None:
                    known = rows[key] = Sums()
                known.add(sums)
        self._fine = {}


def _picked(places: Sequence[int]) -> Callable[[RowKey], RowKey]:
    """What makes a row's key of its currency and every value: those at some places."""
    return itemgetter(0, *places) if places else itemgetter(slice(1))


def columns(grouping: Grouping) -> Grouping:
    """The words that a grouping's rows are told apart by: paths are a ledger's own."""
    if "source" not in grouping or "ledger" in grouping:
        return grouping
    place = grouping.index("source")
    return (*grouping[:place], "ledger", *grouping[place:])


def _value_of(word: str, said: Sequence[str]) -> Callable[[Sequence[str], Place], str]:
    """How a dimension's value is found among what is said of a fine row, in the order given."""
    name, _, given = word.partition(":")
    if name == "ledger":
        return lambda _, place: place.ledger
    at = said.index(_TOLD_BY.get(name, name))
    if name == "folder" and given:
        parts = int(given)
        return lambda said, _: beginning_of(said[at], parts)
    match name:
        case "tag":
            return lambda said, place: place.tag(said[at], given)
        case "provider":
            return lambda said, place: place.provider(said[at])
        case "label":
            return lambda said, _: label_of(said[at])
        case "week":
            return lambda said, _: week_of(said[at])
        case "month":
            return lambda said, _: said[at][:7]
    return lambda said, _: said[at]
