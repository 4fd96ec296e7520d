"""The price file: prices of many models, each with the days it holds, told apart by id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timezone, tzinfo
from pathlib import Path

from retouch.errors import InputRefused, Problem
from retouch.manifest.messages import validated
from retouch.manifest.price_rules import incomplete_price
from retouch.manifest.prices import FilePrice, PriceTable
from retouch.manifest.rules import Finding, in_order, items, placed, version_problem
from retouch.manifest.yaml_reader import MAXIMUM_BYTES, SMALLER, parse
from retouch.storage.reading import read_given

WHAT_A_PRICE_FILE_IS = (
    "a price file is a YAML mapping with the keys version and prices; `retouch schema prices` "
    "describes it"
)


@dataclass(frozen=True, slots=True)
class PriceFile:
    """A price file as it was read. `sha256` is 64 hex digits of `text`, for the run's record;
    `zone` is whose days it means (None: it does not say, so UTC)."""

    prices: tuple[FilePrice, ...]
    path: Path
    text: bytes = field(repr=False)
    sha256: str
    zone: timezone | None = None

    @property
    def currencies(self) -> dict[str, frozenset[str]]:
        """The models the file has a price for, on whatever day, and in which currencies."""
        return {
            price.model: frozenset(
                each.currency for each in self.prices if each.model == price.model
            )
            for price in self.prices
        }

    def price_at(self, model: str, moment: datetime) -> FilePrice | None:
        """What a model costs at an instant, or None; the file has at most one for any."""
        zone = self.zone or UTC
        for price in self.prices:
            if price.model == model and price.holds_at(moment, zone):
                return price
        return None


def load_prices(path: Path) -> PriceFile:
    """Read a price file; raises InputRefused with every problem at once."""
    file = str(path)
    text = read_given(path, MAXIMUM_BYTES, if_missing="check the path", if_large=SMALLER)
    document = parse(text, file)
    data = document.root.data() if document.root else None
    if not isinstance(data, Mapping):
        what = "no mapping" if document.root else "the file is empty"
        raise InputRefused([Problem(file, 0, 0, what, WHAT_A_PRICE_FILE_IS)])
    wrong = version_problem(data)
    if wrong:
        raise InputRefused([*document.problems, placed(document, wrong)])
    table, invalid = validated(document, data, PriceTable)
    found: list[Finding] = []
    for index, given in items(data.get("prices")):
        found.extend(incomplete_price(("prices", index), given))
    if table is not None:
        found.extend(_clashes(table.prices, table.utc_offset or UTC))
    problems = [*document.problems, *invalid]
    problems += [placed(document, each) for each in found if not document.refused(each.location)]
    if table is None or problems:
        raise InputRefused(in_order(problems))
    digest = hashlib.sha256(text).hexdigest()
    return PriceFile(table.prices, path.absolute(), text, digest, table.utc_offset)


def _clashes(prices: tuple[FilePrice, ...], zone: tzinfo) -> Iterator[Finding]:
    """Ids used twice, and two prices of one model for the same day."""
    seen: dict[str, int] = {}
    for index, price in enumerate(prices):
        if seen.setdefault(price.id, index) != index:
            yield Finding(("prices", index, "id"), f"id `{price.id}` is used twice", "change one")
    longest: dict[str, FilePrice] = {}
    for index, later in sorted(enumerate(prices), key=lambda each: each[1].begins(zone)):
        earlier = longest.get(later.model)
        if earlier is not None and later.begins(zone) < earlier.ends(zone):
            yield Finding(
                ("prices", index),
                f"price `{later.id}` of {later.model} holds on days that `{earlier.id}` holds too",
                f"end `{earlier.id}` by `valid_to` before `{later.id}` begins",
            )
        if earlier is None or later.ends(zone) > earlier.ends(zone):
            longest[later.model] = later
