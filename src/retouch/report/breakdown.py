"""Sums by each of some groupings, within a period.

A Charge touches one fine row; the fine rows are added up to the groupings' own now and then, so
that a million Records cost a look-up each and memory holds rows, never Records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Protocol

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
FINE_ROWS = 20_000  # more, and they are added up
_OF_FOLDERS = ("label", "folder")


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
    is the totals. `days` are those that rows are of."""

    def __init__(self, groupings: Iterable[Grouping], period: Period) -> None:
        self.rows: dict[Grouping, dict[RowKey, Sums]] = {(): {}} | {each: {} for each in groupings}
        self.days: set[str] = set()
        self.place = Place()
        self._period = period
        wanted = {word for grouping in self.rows for word in columns(grouping)}
        # At least two, so that an attrgetter returns a tuple.
        self._names = ("model", "run", *sorted(wanted & {"prompt", "source"}))
        self._words = attrgetter(*self._names)
        self._by_folder = any(word.partition(":")[0] in _OF_FOLDERS for word in wanted)
        self._values = {word: _value_of(word) for word in wanted}
        self._fine: dict[tuple[str | None, str, str, tuple[str, ...]], Sums] = {}

    def sums(self, placed: Placed, currency: str | None, day: str) -> Sums:
        """The fine row of what was charged on a day; outside the period one that is forgotten."""
        folder = folder_of(placed.source) if self._by_folder else ""
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
            said = dict(zip(self._names, words, strict=True)) | {"day": day, "folder": folder}
            values = {word: value(said, self.place) for word, value in self._values.items()}
            for grouping, rows in self.rows.items():
                key = (currency, *[values[word] for word in columns(grouping)])
                known = rows.get(key)
                if known is None:
                    known = rows[key] = Sums()
                known.add(sums)
        self._fine = {}


def columns(grouping: Grouping) -> Grouping:
    """The words that a grouping's rows are told apart by: paths are a ledger's own."""
    if "source" not in grouping or "ledger" in grouping:
        return grouping
    place = grouping.index("source")
    return (*grouping[:place], "ledger", *grouping[place:])


def _value_of(word: str) -> Callable[[Mapping[str, str], Place], str]:
    """How a dimension's value is found."""
    name, _, given = word.partition(":")
    if name == "folder" and given:
        parts = int(given)
        return lambda said, _: beginning_of(said["folder"], parts)
    if name == "tag":
        return lambda said, place: place.tag(said["run"], given)
    match name:
        case "label":
            return lambda said, _: label_of(said["folder"])
        case "week":
            return lambda said, _: week_of(said["day"])
        case "month":
            return lambda said, _: said["day"][:7]
        case "ledger":
            return lambda _, place: place.ledger
        case "provider":
            return lambda said, place: place.provider(said["run"])
    return lambda said, _: said[name]
