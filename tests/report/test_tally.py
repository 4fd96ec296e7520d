"""The pass over records: it agrees with replay, counts once, and keeps what is open apart."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retouch.cli.ledgers import find_ledgers
from retouch.errors import InputRefused
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    ErrorRecord,
    Resolved,
    Reused,
    TaskAccepted,
    TermsRecord,
    Unsent,
    UsageRecord,
)
from retouch.ledger.state import replay
from retouch.manifest import Price
from retouch.report import Period, Sums, Tally
from retouch.report.rows import review_of
from retouch.report.what_if import WhatIf
from tests.support.ledgers import (
    CEILING,
    FIRST,
    GEMINI,
    KLING,
    begins,
    done,
    failed,
    file_of,
    key_of,
    many,
    started,
    unknown,
    write,
)

TOTALS = {
    "currency", "confirmed", "unknown_low", "unknown_high", "jobs", "images", "input_tokens",
    "output_tokens", "total_tokens", "unpriced_jobs",
}  # fmt: skip


def tallied(records: Sequence[Any], *groupings: tuple[str, ...]) -> Tally:
    tally = Tally(groupings)  # type: ignore[arg-type]
    tally.read(records)
    return tally


def totals_of(tally: Tally) -> dict[str | None, Sums]:
    return {key[0]: sums for key, sums in tally.rows[()].items()}


@st.composite
def lives(draw: st.DrawFn) -> list[AnyRecord]:
    """The records of some jobs, each with a few attempts that end in every possible way."""
    records: list[AnyRecord] = [begins()]
    error = ErrorRecord(kind="transient", message="busy")
    for number in range(draw(st.integers(1, 8))):
        priced = draw(st.booleans())
        ceiling = CEILING if priced else None
        for attempt in range(1, draw(st.integers(1, 3)) + 1):
            records.append(started(number, ceiling=ceiling, attempt=attempt))
            ending = draw(st.sampled_from(
                ["open", "unsent", "done", "no usage", "no", "yes", "doubt", "unknown", "charged",
                 "charged somehow", "not charged", "task"]
            ))  # fmt: skip
            place = {"key": key_of(number), "attempt": attempt}
            cost = CostRecord(amount="0.3", currency="CNY", basis="tokens", price="p")
            paid = cost if priced else None
            match ending:
                case "unsent":
                    records.append(Unsent(error=error, at=started(0).at, **place))  # type: ignore[arg-type]
                case "done":
                    records.append(done(number, cost=paid, attempt=attempt))
                case "no usage":
                    records.append(done(number, cost=None, usage=None, attempt=attempt))
                case "no" | "yes":
                    billed_cost = paid if ending == "yes" else None
                    records.append(failed(number, ending, cost=billed_cost, attempt=attempt))
                case "doubt":
                    records.append(failed(number, "unknown", ceiling=ceiling, attempt=attempt))
                case "task":
                    records.append(TaskAccepted(task="t", at=started(0).at, **place))  # type: ignore[arg-type]
                    records.append(unknown(number, ceiling=ceiling, task="t", attempt=attempt))
                    records.append(done(number, cost=paid, attempt=attempt))
                case "unknown" | "charged" | "charged somehow" | "not charged":
                    records.append(unknown(number, ceiling=ceiling, attempt=attempt))
                    if ending != "unknown":
                        amount = AmountRecord(amount="0.4", currency="CNY")
                        records.append(
                            Resolved(
                                at=started(0).at,
                                verdict="not_charged" if ending == "not charged" else "charged",
                                amount=amount if ending == "charged" else None,
                                **place,  # type: ignore[arg-type]
                            )
                        )
    return records


@settings(max_examples=300, deadline=None)
@given(lives())
def test_it_agrees_with_replay(records: list[AnyRecord]) -> None:
    """Over any lives of any jobs: the same money confirmed and unknown, the same tokens."""
    state = replay(records)
    tally = tallied(records, ("model",), ("prompt", "day"))
    totals = totals_of(tally)
    confirmed = {code: sums.confirmed for code, sums in totals.items() if code and sums.confirmed}
    assert confirmed == {code: money.amount for code, money in state.totals.confirmed.items()}
    ceilings = [charge.ceiling for charge in state.open_charges.values()]
    unknown_high = sum((sums.unknown_high for sums in totals.values()), Decimal(0))
    assert unknown_high == sum((each.amount for each in ceilings if each), Decimal(0))
    unpriced = state.totals.unpriced + sum(each is None for each in ceilings)
    assert sum(sums.unpriced_jobs for sums in totals.values()) == unpriced
    assert sum(sums.jobs for sums in totals.values()) == len(state.outcomes)
    assert sum(sums.images for sums in totals.values()) == state.totals.images
    assert sum(sums.total_tokens for sums in totals.values()) == state.totals.total_tokens
    for rows in tally.rows.values():
        assert sum(sums.confirmed for sums in rows.values()) == sum(confirmed.values())
        assert sum(sums.attempts for sums in rows.values()) == sum(
            sums.attempts for sums in totals.values()
        )


def test_totals_have_the_designs_fields() -> None:
    """Totals hold DESIGN §7's fields and no other; amounts are decimal strings in full."""
    document = review_of(tallied([begins(), *many(3)], ("model",))).document
    assert isinstance(document["totals"], list)
    (row,) = document["totals"]
    assert set(row) == TOTALS
    assert row["jobs"] == row["images"] == 3
    assert row["unknown_low"] == "0.000000"
    assert "E" not in row["confirmed"]
    assert document["virtual"] is False


def test_unpriced_is_apart() -> None:
    """Charges without a price are a row without a currency, whose amounts are not zero but null."""
    records = [started(1), done(1), started(2, ceiling=None), done(2, cost=None)]
    rows = review_of(tallied(records)).totals
    assert [(row["currency"], row["unpriced_jobs"]) for row in rows] == [("CNY", 0), (None, 1)]
    assert rows[1]["confirmed"] is None
    assert rows[1]["unknown_high"] is None


def test_currencies_stay_apart() -> None:
    """Two currencies are two rows, and never one sum."""
    dollars = CostRecord(amount="0.039", currency="USD", basis="tokens", price="p")
    ceiling = AmountRecord(amount="1", currency="USD")
    records = [started(1), done(1), started(2, ceiling=ceiling), done(2, cost=dollars)]
    rows = review_of(tallied(records)).totals
    assert [(row["currency"], row["confirmed"]) for row in rows] == [
        ("CNY", "0.2715321"), ("USD", "0.039000"),
    ]  # fmt: skip


def test_reused_work_costs_nothing() -> None:
    """A job taken over from elsewhere is counted as reused, and adds no cost and no job."""
    reused = Reused(key=key_of(9), source_ledger="x", files=(file_of(9),), at=started(0).at)
    tally = tallied([started(1), done(1), reused])
    assert tally.reused == 1
    assert totals_of(tally)["CNY"].jobs == 1


def test_images_are_counted_once() -> None:
    """What the server counts wins; where it counts none, the pictures kept are it."""
    counted = UsageRecord(images=3)
    records = [started(1), done(1, usage=counted), started(2), done(2, usage=None)]
    sums = totals_of(tallied(records))["CNY"]
    assert (sums.images, sums.kept) == (4, 2)


def test_waste_is_named() -> None:
    """Refused after billing, fewer than asked for, and another size are found with their jobs."""
    two = TermsRecord(input="a", prompt="b", options="c", n=2, size="1024x1024")
    wide = TermsRecord(input="a", prompt="b", options="c", aspect_ratio="16:9")
    cost = CostRecord(amount="0.1", currency="CNY", basis="tokens", price="p")
    records = [
        started(1, terms=two), done(1),
        started(2, terms=wide), done(2, files=(file_of(2, 1344, 768),)),
        started(3, terms=wide), done(3, files=(file_of(3, 1024, 1024),)),
        started(4), failed(4, "yes", cost=cost),
        started(5, terms=two), done(5, files=(file_of(5, 512, 512), file_of(6))),
    ]  # fmt: skip
    found = {each.kind: each for each in tallied(records).wasted.rows()}
    assert found["fewer_than_asked"].jobs == 1
    assert [each.key for each in found["wrong_size"].examples] == [key_of(3), key_of(5)]
    assert found["refused_after_billing"].cost == Decimal("0.1")


def what_if(is_batch: bool = False, **price: object) -> WhatIf:
    """Prices in dollars for gemini alone."""
    priced = Price(currency="USD", **price)  # type: ignore[arg-type]
    return WhatIf(lambda model, _: priced if model == GEMINI else None, is_batch=is_batch)


def test_what_if_prices() -> None:
    """With other prices the same counts cost otherwise; without one for a model, it is unpriced."""
    tally = Tally(prices=what_if(per_image=Decimal("0.04")))
    tally.read([started(1), done(1), started(2, model=KLING), done(2, model=KLING)])
    assert totals_of(tally)["USD"].confirmed == Decimal("0.04")
    assert totals_of(tally)[None].unpriced_jobs == 1
    assert str(tally.recorded["CNY"].amount) == "0.2715321"  # of what was priced anew alone


def test_what_if_in_batches() -> None:
    """A discount is off the whole amount; a price without one stays whole, and is said."""
    half = what_if(True, per_image=Decimal("0.04"), per_request=Decimal("0.01"),
                   batch_discount=Decimal("0.5"))  # fmt: skip
    whole = what_if(True, per_image=Decimal("0.04"))
    for prices, amount in ((half, "0.025"), (whole, "0.04")):
        tally = Tally(prices=prices)
        tally.read([started(1), done(1)])
        assert totals_of(tally)["USD"].confirmed == Decimal(amount)
    assert (half.without_discount, whole.without_discount) == (set(), {GEMINI})


def test_what_if_needs_counts() -> None:
    """What the server did not count stays unknown up to its recorded ceiling at any price."""
    prices = what_if(input_per_million=Decimal(1), output_per_million=Decimal(1))
    tally = Tally(prices=prices)
    tally.read([started(1), done(1, usage=None, cost=None)])
    sums = totals_of(tally)
    assert sums["CNY"].unknown_high == Decimal("0.6")
    assert sum(each.unpriced_jobs for each in sums.values()) == 0


def test_a_period_takes_its_days_only() -> None:
    """Days outside the period add nothing; both ends are inside it."""
    records = [each for n in range(3) for each in _on_day(n)]
    tally = Tally([("day",)], Period("2025-10-03", "2025-10-03"))
    tally.read(records)
    assert [key[1] for key in tally.rows[("day",)]] == ["2025-10-03"]
    assert totals_of(tally)["CNY"].jobs == 1


def _on_day(number: int) -> list[AnyRecord]:
    at = FIRST.replace(day=2 + number)
    return [started(number, at), done(number, at=at)]


def test_a_copy_is_counted_once(tmp_path: Path) -> None:
    """The same ledger twice, an older copy, and a copy that went on: each charge counts once."""
    records = [begins(), *many(5)]
    write(tmp_path / "a" / "ledger.jsonl", records)
    write(tmp_path / "b" / "ledger.jsonl", records)
    write(tmp_path / "c" / "ledger.jsonl", records[:5])
    write(tmp_path / "d" / "ledger.jsonl", [*records[:7], started(70), done(70)])
    search = find_ledgers([str(tmp_path)], tmp_path)
    tally = Tally()
    for found in search.ledgers:
        tally.read(found.reader, found.shared_records)
    assert totals_of(tally)["CNY"].jobs == 6
    assert len(search.notes) == 3


def test_rehearsals_are_never_added_to_real_costs(tmp_path: Path) -> None:
    """Beside real runs rehearsals are left out, and said; alone they are virtual."""
    write(tmp_path / "a" / "ledger.jsonl", [begins(), *many(2)])
    virtual = write(tmp_path / "a.rehearsal" / "ledger.jsonl", [begins("rehearsal"), *many(3, 1)])
    both = find_ledgers([f"{tmp_path}/*"], tmp_path)
    assert [found.path.parent.name for found in both.ledgers] == ["a"]
    assert "virtual" in both.notes[0]
    tally = tallied(list(find_ledgers([str(virtual)], tmp_path).ledgers[0].reader))
    assert review_of(tally).is_virtual


def test_a_torn_end_is_left_for_later(tmp_path: Path) -> None:
    """A ledger that is being written is read up to its last whole record."""
    path = write(tmp_path / "ledger.jsonl", [begins(), *many(2)])
    path.write_bytes(path.read_bytes()[:-40])
    tally = Tally()
    tally.read(find_ledgers([str(path)], tmp_path).ledgers[0].reader)
    sums = totals_of(tally)["CNY"]
    assert (sums.jobs, sums.kept, sums.unknown) == (2, 1, 1)


@pytest.mark.parametrize("name", ["nothing.jsonl", "empty", "*.none"])
def test_no_ledger_is_said(tmp_path: Path, name: str) -> None:
    """A name that leads to no ledger is refused in words."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputRefused, match=r"no such file|no ledger here|nothing has a name"):
        find_ledgers([str(tmp_path / name)], tmp_path)
