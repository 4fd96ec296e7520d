"""The audit: recorded costs are worked out again, by the very prices they name or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from retouch.costs.audit import CostAudit
from retouch.ledger.charges import Charges
from retouch.ledger.records import AnyRecord, CostRecord, ErrorRecord, UsageRecord
from retouch.manifest import Loaded, load
from tests.support.ledgers import TERMS, begins, done, failed, file_of, started

MANIFEST = """
version: 1
name: cats
inputs: [{{glob: "*.png"}}]
prompts: [{{id: white, template: make it white}}]
models: [{{model: gemini-2.5-flash-image, price: {price}}}]
"""
BY_TOKENS = "{currency: CNY, input_per_million: 2.1, output_per_million: 210}"
BY_IMAGE = "{currency: CNY, per_image: 0.25}"
USAGE = UsageRecord(input_tokens=301, output_tokens=1290, total_tokens=1591)
COST = "0.2715321"  # (2.1 x 301 + 210 x 1290) / 10^6


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    return _loaded(tmp_path, BY_TOKENS)


def _loaded(folder: Path, price: str) -> Loaded:
    path = folder / "cats.yaml"
    path.write_text(MANIFEST.format(price=price))
    return load(path)


def _cost(loaded: Loaded, amount: str, name: str = "") -> CostRecord:
    price = loaded.manifest.models[0].price
    assert price is not None
    return CostRecord(amount=amount, currency="CNY", basis="tokens", price=name or price.name)


def _audited(loaded: Loaded | None, records: Iterable[AnyRecord]) -> CostAudit:
    """What the audit finds of a ledger, read as `verify` reads it."""
    audit, charges = CostAudit(loaded), Charges()
    for record in (begins(), *records):
        audit.apply(record, charges.apply(record))
    return audit


def test_a_cost_that_follows_from_its_price_is_checked(loaded: Loaded) -> None:
    """To the last digit of the amount on file."""
    audit = _audited(loaded, [started(1), done(1, cost=_cost(loaded, COST), usage=USAGE)])
    assert (audit.found.checked, audit.found.unchecked, audit.found.wrong) == (1, 0, [])


def test_a_cost_off_by_its_last_digit_is_named_by_its_key(loaded: Loaded) -> None:
    """One ten-millionth of a yuan is a difference: money is exact."""
    wrong = done(1, cost=_cost(loaded, "0.2715322"), usage=USAGE)
    audit = _audited(loaded, [started(1), wrong])
    assert audit.found.wrong == [wrong.key]


@pytest.mark.parametrize("whose", ["no manifest", "another price"])
def test_a_cost_whose_price_is_not_at_hand_is_unchecked(loaded: Loaded, whose: str) -> None:
    """It is counted apart, neither right nor wrong."""
    cost = _cost(loaded, "9", "price-00000000" if whose == "another price" else "")
    at_hand = None if whose == "no manifest" else loaded
    audit = _audited(at_hand, [started(1), done(1, cost=cost, usage=USAGE)])
    assert (audit.found.checked, audit.found.unchecked, audit.found.wrong) == (0, 1, [])


def test_a_price_with_an_id_is_the_same_only_in_the_same_manifest(tmp_path: Path) -> None:
    """An id says nothing of the terms: the manifest may have changed them since the run."""
    loaded = _loaded(tmp_path, BY_TOKENS[:-1] + ", id: list}")
    records: list[AnyRecord] = [started(1), done(1, cost=_cost(loaded, COST, "list"), usage=USAGE)]
    same = msgspec.structs.replace(begins(), manifest_sha256=loaded.sha256)
    assert _audited(loaded, records).found.unchecked == 1
    assert _audited(loaded, [same, *records]).found.checked == 1


def test_pictures_are_those_the_reply_held_not_those_that_were_kept(tmp_path: Path) -> None:
    """A count in the usage goes first; without one, a warning makes the files on file doubtful."""
    loaded = _loaded(tmp_path, BY_IMAGE)
    cost = _cost(loaded, "0.50")
    counted = done(1, cost=cost, usage=UsageRecord(images=2), files=(file_of(1),))
    filed = done(2, cost=cost, usage=None, files=(file_of(1), file_of(2)))
    doubtful = done(3, cost=cost, usage=None, warnings=("one of 2 pictures was damaged",))
    audit = _audited(loaded, [counted, filed, doubtful])
    assert (audit.found.checked, audit.found.unchecked, audit.found.wrong) == (2, 1, [])


def test_a_refused_picture_that_was_charged_counts_none(tmp_path: Path) -> None:
    """A refusal for its content holds no picture; what else failed does not say."""
    loaded = _loaded(tmp_path, BY_IMAGE)
    error = ErrorRecord(kind="broken_reply", message="no JSON")
    refused = failed(1, "yes", cost=_cost(loaded, "0"))
    broken = failed(2, "yes", cost=_cost(loaded, "0.25"), error=error)
    audit = _audited(loaded, [started(1), refused, started(2), broken])
    assert (audit.found.checked, audit.found.unchecked, audit.found.wrong) == (1, 1, [])


def test_a_changed_price_file_is_told(loaded: Loaded) -> None:
    """The last run's digest is what counts; without a run nothing is known to have changed."""
    with_file = msgspec.structs.replace(begins(), prices_sha256="1" * 64)
    assert _audited(loaded, [with_file]).prices_changed
    assert not _audited(loaded, [with_file, begins()]).prices_changed
    assert not CostAudit(loaded).prices_changed


def test_a_price_by_quality_needs_what_was_asked_for(tmp_path: Path) -> None:
    """Which `started` says; where it does not, nothing is checked."""
    by_quality = "{quality: low, amount: 0.1}"
    loaded = _loaded(tmp_path, f"{{currency: CNY, per_image: 0.2, per_image_by: [{by_quality}]}}")
    terms = msgspec.structs.replace(TERMS, quality="low")
    cost = _cost(loaded, "0.1")
    small = _audited(loaded, [started(1, terms=terms), done(1, cost=cost, usage=None)])
    assert (small.found.checked, small.found.wrong) == (1, [])
    large = _audited(loaded, [started(1), done(1, cost=cost, usage=None)])
    assert (large.found.checked, len(large.found.wrong)) == (1, 1)
    unsaid = _audited(loaded, [started(1, terms=None), done(1, cost=cost, usage=None)])
    assert (unsaid.found.checked, unsaid.found.unchecked) == (0, 1)
    never = _audited(loaded, [done(1, cost=cost, usage=None)])
    assert (never.found.checked, never.found.unchecked) == (0, 1)


def test_a_price_by_pixels_is_checked_by_those_that_came(tmp_path: Path) -> None:
    """Whatever was asked for."""
    loaded = _loaded(tmp_path, "{currency: CNY, per_megapixel: 0.1}")
    terms = msgspec.structs.replace(TERMS, size="1000x1000")
    paid = done(1, cost=_cost(loaded, "0.2"), usage=None, files=(file_of(1, 1000, 2000),))
    audit = _audited(loaded, [started(1, terms=terms), paid])
    assert (audit.found.checked, audit.found.wrong) == (1, [])
