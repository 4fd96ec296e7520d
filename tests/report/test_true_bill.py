"""The true bill, as the rehearsal service's own book has it, lies within what the report says."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from PIL import Image

from retouch.manifest import RunSettings
from retouch.report import Tally
from retouch_rehearsal import Book, Faults, Settings, create_app
from tests.support.workbench import GEMINI, KLING, PRICES, Bench, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]
EPOCH = 1_760_000_000.0
CHARGING = (
    "truncated", "not_json", "html", "empty_data", "fewer", "broken_base64", "not_a_picture",
    "no_usage", "slow_body",
)  # fmt: skip
FREE = ("429", "1303", "500", "502", "503", "504", "refused")
OF_TASKS = ("task_failed", "task_stuck", "task_unknown_status", "task_vanished", "expired_url")


@dataclass(slots=True)
class Rehearsed:
    """A bench whose provider is the rehearsal service, with its book."""

    bench: Bench
    book: Book = field(default_factory=Book)


def rehearsed(folder: Path, faults: Faults = Faults()) -> Rehearsed:  # noqa: B008 - frozen
    pictures = folder / "pictures"
    for model, side in ((GEMINI, 32), (KLING, 300)):
        (pictures / model).mkdir(parents=True)
        for index in range(12):
            # All alike: requests differ by their URLs, and subjects are looked for only once.
            Image.new("RGB", (side, side), "navy").save(pictures / model / f"{index}.png")
    book = Book()
    app = create_app(
        Settings(faults=faults, url_map={"https://example.com/": pictures}),
        base_url="http://127.0.0.1/v1",
        book=book,
        clock=lambda: EPOCH + anyio.current_time(),
        inline=True,
    )
    settings = RunSettings(retries=2, timeout=30.0)
    return Rehearsed(Bench(folder / "out", app, settings), book)  # type: ignore[arg-type]


def true_bill(book: Book) -> Decimal:
    """What the book's charges cost at the bench's prices."""
    total = Decimal(0)
    for charge in book.charges:
        price = PRICES[charge.model]
        if price.per_image is not None:
            total += price.per_image * charge.images
        else:
            total += (price.input_per_million or 0) * charge.input_tokens / Decimal(10**6)
            total += (price.output_per_million or 0) * charge.output_tokens / Decimal(10**6)
    return total


async def test_without_faults_it_is_equal(tmp_path: Path) -> None:
    """Without faults the confirmed sum is the true bill, token by token; nothing is unknown."""
    work = rehearsed(tmp_path)
    work.bench.folder.mkdir()
    await work.bench.run([lane(GEMINI, 6), lane(KLING, 4)])
    tally = Tally()
    tally.read(work.bench.records)
    (sums,) = tally.rows[()].values()
    assert len(work.book.charges) == 10
    assert sums.confirmed == true_bill(work.book)
    assert sums.output_tokens == sum(charge.output_tokens for charge in work.book.charges)
    assert sums.input_tokens == sum(charge.input_tokens for charge in work.book.charges)
    assert sums.unknown_high == 0


@pytest.mark.parametrize("seed", range(8))
async def test_with_faults_it_lies_between(tmp_path: Path, seed: int) -> None:
    """With any mixture of faults the true bill lies between confirmed and confirmed + unknown."""
    chance = random.Random(seed)
    kinds = chance.sample(CHARGING, 3) + chance.sample(FREE, 2) + chance.sample(OF_TASKS, 2)
    given = [{"kind": kind, "probability": 0.12} for kind in kinds]
    work = rehearsed(tmp_path, Faults.parse({"seed": seed, "faults": given}))
    work.bench.folder.mkdir()
    await work.bench.run([lane(GEMINI, 12), lane(KLING, 12)])
    tally = Tally()
    tally.read(work.bench.records)
    rows = tally.rows[()].values()
    confirmed = sum((sums.confirmed for sums in rows), Decimal(0))
    unknown = sum((sums.unknown_high for sums in rows), Decimal(0))
    assert confirmed <= true_bill(work.book) <= confirmed + unknown, kinds
    assert not sum(sums.unpriced_jobs for sums in rows)
