"""Rules about prices and budgets, read off the plain data like those of `rules`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time

from retouch.manifest.document import Data, Location
from retouch.manifest.messages import named
from retouch.manifest.rules import Finding, Mapped, items, mapping
from retouch.money import CODES
from retouch.text import one_clean_line

_KINDS = {"text_input_per_million", "image_input_per_million"}
_INPUTS = {"input_per_million", "tiers", *_KINDS}
_OUTPUT_KINDS = {"image_output_per_million", "text_output_per_million"}
_CACHED_KINDS = {"cached_text_input_per_million", "cached_image_input_per_million"}
_SVG = {"svg_input_per_million", "svg_output_per_million"}
_OUTPUTS = {"output_per_million", *_OUTPUT_KINDS}
_BESIDE_LOCAL = {"local", "id", "model", "source", "valid_from", "valid_to"}
_PRODUCED = {*_OUTPUTS, "tiers", "per_image", "per_image_by", "per_megapixel"}


def price_findings(data: Mapped, priced: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
    """What is wrong with a manifest's prices and between them and its budgets.

    `priced` are the models the price file knows, with the currencies of their prices.
    """
    run = mapping(data.get("run"))
    run_budget, up_to = run.get("budget"), mapping(run.get("on_unknown")).get("up_to")
    for index, given in items(data.get("models")):
        location: Location = ("models", index)
        price = given.get("price")
        if isinstance(price, Mapping):
            yield from incomplete_price((*location, "price"), price)
        for budget in (run_budget, given.get("budget")):
            if isinstance(budget, Mapping):
                yield from _beyond_budget(location, given, budget, priced)
        if isinstance(up_to, Mapping):
            yield from _beyond_budget(location, given, up_to, priced, "`up_to`")


def _beyond_budget(
    location: Location,
    given: Mapped,
    budget: Mapped,
    priced: Mapping[str, frozenset[str]],
    called: str = "budget",
) -> Iterator[Finding]:
    """Why a sum cannot hold a model: it has no price, or one in another currency."""
    model, price = given.get("model"), given.get("price")
    if not isinstance(model, str):
        return
    name = one_clean_line(model, 60)
    if price is None and model not in priced:
        yield Finding(
            location,
            f"model `{name}` has no price, so no {called} can hold it",
            f"add `price: ...`, or take the {called} out",
        )
    limit = budget.get("currency")
    ours = {mapping(price).get("currency")} if price is not None else priced.get(model, frozenset())
    for currency in ours:
        if currency in CODES and limit in CODES and currency != limit:
            yield Finding(
                (*location, "price", "currency"),
                f"the price of `{name}` is in {currency}, the {called} in {limit}",
                "state both in one currency",
            )


def incomplete_price(location: Location, given: Mapped) -> Iterator[Finding]:
    """Complains of a price that leaves out a part of the bill, or says one twice."""
    stated = {key for key, value in given.items() if value is not None}
    if "local" in stated:
        yield from _local(location, stated)
        return
    if "currency" not in stated:
        what = f"{named((*location, 'currency'))} is missing"
        yield Finding(location, what, "add `currency: ...`")
    yield from _kinds(location, stated)
    if "tiers" in stated:
        yield from _tiers((*location, "tiers"), given["tiers"], stated)
    yield from _parts(location, stated)
    first, last = _moment(given.get("valid_from")), _moment(given.get("valid_to"))
    if first and last and first > last:
        yield Finding((*location, "valid_to"), "the price ends before it begins", "exchange them")


def _local(location: Location, stated: set[str]) -> Iterator[Finding]:
    """Complains of what a price of one's own server states besides that it is one."""
    for key in sorted(stated - _BESIDE_LOCAL):
        yield Finding(
            (*location, key),
            f"a `local` price is nothing, and has no `{one_clean_line(key, 60)}`",
            "take `local` out, or this",
        )


def _kinds(location: Location, stated: set[str]) -> Iterator[Finding]:
    """Complains of token prices by kind that are half there, or there twice."""
    for kinds, whole in ((_KINDS, "input_per_million"), (_OUTPUT_KINDS, "output_per_million")):
        if len(stated & kinds) == 1:
            yield Finding(
                location,
                f"the price has `{min(stated & kinds)}`, but not `{min(kinds - stated)}`",
                f"give both, or `{whole}` instead",
            )
    for pair in (_SVG, _CACHED_KINDS):
        if len(stated & pair) == 1:
            what = f"the price has `{min(stated & pair)}`, but not `{min(pair - stated)}`"
            yield Finding(location, what, "give both, or neither")
    if stated & _CACHED_KINDS and not stated & _KINDS:
        what = "input tokens from the cache have prices by kind, the others have none"
        yield Finding(location, what, "add `text_input_per_million` and `image_input_per_million`")
    if stated & _KINDS and "input_per_million" in stated:
        yield Finding(
            (*location, "input_per_million"),
            "input tokens are priced twice",
            "give `input_per_million`, or the two by kind",
        )


def _parts(location: Location, stated: set[str]) -> Iterator[Finding]:
    """Complains of a part of the bill that has no price while what belongs to it has one."""
    has_input, has_produced = bool(stated & _INPUTS), bool(stated & _PRODUCED)
    if not (has_input or has_produced or "per_request" in stated):
        yield Finding(location, "the price states no amount", "add `per_image: ...` or the like")
    if "cached_input_per_million" in stated and "input_per_million" not in stated:
        yield Finding(
            (*location, "cached_input_per_million"),
            "input tokens from the cache have a price, the others have none",
            "add `input_per_million: ...`",
        )
    if stated & _OUTPUTS and not has_input:
        yield Finding(
            location,
            "output tokens have a price, input tokens have none",
            "add `input_per_million: ...` (0 if they are free)",
        )
    if has_input and not has_produced:
        yield Finding(
            location,
            "input tokens have a price, what is produced has none",
            "add `output_per_million: ...` or `per_image: ...` (0 if it is free)",
        )
    if "per_image_by" in stated and "per_image" not in stated:
        yield Finding(
            (*location, "per_image_by"),
            "pictures of any other size or quality have no price",
            "add `per_image: ...` for them",
        )


def _tiers(location: Location, given: Data, stated: set[str]) -> Iterator[Finding]:
    """Complains of tiers that do not rise, leave large requests out, or say a price twice."""
    if stated & {"input_per_million", "output_per_million", *_KINDS, *_OUTPUT_KINDS}:
        yield Finding(location, "tokens are priced twice", "state token prices in the tiers alone")
    bounds = [mapping(tier).get("up_to") for tier in given] if isinstance(given, tuple) else []
    rising = [bound for bound in bounds if isinstance(bound, int)]
    if bounds and (bounds[-1] is not None or None in bounds[:-1] or rising != sorted(set(rising))):
        yield Finding(
            location,
            "the tiers do not rise to one for all larger requests",
            "begin with the smallest `up_to`, and leave it out in the last",
        )


def _moment(value: Data) -> datetime | None:
    """The day or instant, quoted or not; None for what is none."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.combine(value, time(), UTC) if isinstance(value, date) else None
