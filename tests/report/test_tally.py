"""The pass over records: it agrees with replay, counts once, and keeps what is open apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retouch.cli.ledgers import find_ledgers
from retouch.errors import InputRefused
from retouch.ledger.charges import Charges
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    Done,
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
    "output_tokens", "total_tokens", "unpriced_jobs", "kept", "cost_per_kept",
    "cost_per_kept_high",
}  # fmt: skip


def tallied(records: Sequence[Any], *groupings: tuple[str, ...]) -> Tally:
    tally = Tally(groupings)
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
                    least = AmountRecord(amount="0.2", currency="CNY") if priced else None
                    records.append(
                        done(number, attempt=attempt, cost=None, usage=None, least=least)
                    )
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


def unpriced_jobs(records: list[AnyRecord]) -> set[str]:
    """The Jobs with a Charge of unknown price, by the plainest count there is."""
    charges, found = Charges(), set()
    for record in records:
        posting = charges.apply(record)
        if posting and posting.verdict == "charged" and posting.paid is None:
            found.add(posting.charge.key)
    return found | {each.key for each in charges.open.values() if each.ceiling is None}


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
    assert sum(sums.unpriced_jobs for sums in totals.values()) == len(unpriced_jobs(records))
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
    assert {each.key for each in found["other_size"].dearest} == {key_of(3), key_of(5)}
    assert found["refused_but_billed"].amount == Decimal("0.1")


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
    # Of what has both sides alone, though the other is on record at 0.2715321 too.
    assert str(tally.compared.theirs["CNY"].amount) == "0.2715321"
    assert str(tally.compared.ours["USD"].amount) == "0.040000"
    assert tally.compared.apart == 1


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


def again(number: int, attempt: int = 2, **more: Any) -> list[AnyRecord]:
    """A job that is done once more."""
    return [started(number, attempt=attempt), done(number, attempt=attempt, **more)]


def test_kept_is_what_stands() -> None:
    """Nine pictures were paid for, three were replaced: six are kept, three are waste."""
    records: list[AnyRecord] = []
    for number in range(6):
        records += [started(number), done(number, "0.3")]
    records += [each for n in range(3) for each in again(n, amount="0.4")]
    tally = tallied(records, ("model",))
    sums = totals_of(tally)["CNY"]
    assert (sums.kept, sums.images) == (6, 9)
    assert sums.cost_per_kept == Decimal("3.0") / 6
    (waste,) = tally.wasted.rows()
    assert (waste.kind, waste.jobs, waste.pictures) == ("replaced", 3, 3)
    assert waste.amount == Decimal("0.9")


def test_a_job_redone_in_vain_keeps_what_it_had() -> None:
    """An Attempt that ends without a picture replaces none."""
    cost = CostRecord(amount="0.1", currency="CNY", basis="tokens", price="p")
    records = [started(1), done(1), started(1, attempt=2), failed(1, "yes", cost=cost, attempt=2)]
    assert totals_of(tallied(records))["CNY"].kept == 1


def test_missing_pictures_are_not_kept_and_no_waste() -> None:
    """What is gone from the disk is not kept; it was once, so that it is no waste."""
    tally = Tally()
    tally.read([started(1), done(1), started(2), done(2)], stands=lambda file: "1" in file.path)
    assert totals_of(tally)["CNY"].kept == 1
    assert tally.wasted.rows() == []


def test_per_kept_is_like_for_like() -> None:
    """Jobs whose cost is not known in full are left out of per kept, and in its upper end."""
    records = [
        started(1), done(1, "0.4"),
        started(2), done(2, usage=None, cost=None),
        started(3), unknown(3), *again(3, amount="0.2"),
    ]  # fmt: skip
    sums = totals_of(tallied(records))["CNY"]
    assert (sums.kept, sums.confirmed, sums.unknown_high) == (3, Decimal("0.6"), Decimal("1.2"))
    assert sums.cost_per_kept == Decimal("0.4")
    assert sums.cost_per_kept_high == Decimal("0.6")


def test_settled_without_a_picture_is_waste() -> None:
    """What the user says was charged bought nothing: at its amount, else up to its ceiling."""
    amount = AmountRecord(amount="0.25", currency="CNY")
    records: list[AnyRecord] = [started(1), unknown(1), started(2), unknown(2)]
    for number, paid in ((1, amount), (2, None)):
        records.append(
            Resolved(
                key=key_of(number), attempt=1, verdict="charged", amount=paid, at=records[0].at
            )
        )
    (waste,) = tallied(records).wasted.rows()
    assert (waste.kind, waste.jobs) == ("charged_without_picture", 2)
    assert (waste.amount, waste.amount_high) == (Decimal("0.25"), Decimal("0.85"))


def test_each_charge_is_in_the_total_of_waste_once() -> None:
    """A job of three kinds is in each of them, and in the total once; the dearest are told."""
    terms = TermsRecord(input="a", prompt="b", options="c", n=2, size="1024x1024")
    small = (file_of(1, 512, 512),)
    records: list[AnyRecord] = []
    for number in range(60):
        cost = CostRecord(amount=f"0.{number + 10}", currency="CNY", basis="tokens", price="p")
        records += [started(number, terms=terms), done(number, files=small, cost=cost)]
    tally = Tally(rejected={key_of(7)})
    tally.read(records)
    document = review_of(tally).document
    waste = {row["kind"]: row for row in document["waste"]}  # type: ignore[attr-defined]
    assert set(waste) == {"fewer_than_asked", "other_size", "rejected"}
    total = f"{sum(Decimal(f'0.{n + 10}') for n in range(60)):.6f}"
    assert document["waste_total"] == [{"currency": "CNY", "amount": total, "amount_high": total}]
    told = [each["amount"] for each in waste["other_size"]["examples"]]
    assert told[:2] == ["0.690000", "0.680000"]
    assert (len(told), waste["other_size"]["jobs"]) == (20, 60)


def test_the_dimensions(tmp_path: Path) -> None:
    """Folders in full and by their first parts, months, weeks, providers and tags; sources of two
    ledgers stay apart."""
    words = ("folder", "folder:1", "label", "week", "month", "provider", "tag:team", "ledger")
    tally = Tally([(word,) for word in (*words, "source")])
    tagged = msgspec.structs.replace(begins(), run="r1", tags={"team": "vision"})
    for name, run in (("teamA", tagged), ("teamB", begins())):
        records = [
            msgspec.structs.replace(each, run="r1")
            for each in (
                run, started(1, source=f"{name}/cats/1.png"), done(1),
                started(2, source="2.png"), done(2),
            )
        ]  # fmt: skip
        tally.read(records, ledger=name)
    found = {word: {key[1:] for key in tally.rows[(word,)]} for word in (*words, "source")}
    assert found["folder"] == {("teamA/cats",), ("teamB/cats",), (".",)}
    assert found["folder:1"] == {("teamA",), ("teamB",), (".",)}
    assert found["label"] == {("cats",), ("",)}
    assert found["week"] == {("2025-W40",)}
    assert found["month"] == {("2025-10",)}
    assert found["provider"] == {("qiniu",)}
    assert found["tag:team"] == {("vision",), ("",)}
    assert found["ledger"] == {("teamA",), ("teamB",)}
    assert ("teamA", "2.png") in found["source"]
    assert ("teamB", "2.png") in found["source"]
    rows = review_of(tally).by[("tag:team",)]
    assert {row["tag:team"] for row in rows} == {"vision", ""}


def test_days_are_the_zones() -> None:
    """An Attempt belongs to the day on which it began, where the provider bills."""
    late = datetime(2026, 10, 31, 15, 59, tzinfo=UTC)
    records: list[AnyRecord] = [
        started(1, late), done(1, at=late + timedelta(minutes=2)),
        started(2, late + timedelta(minutes=1)), done(2, at=late + timedelta(minutes=3)),
    ]  # fmt: skip
    tally = Tally([("day",), ("month",)], zone=timezone(timedelta(hours=8)))
    tally.read(records)
    assert [key[1] for key in tally.rows[("day",)]] == ["2026-10-31", "2026-11-01"]
    assert [key[1] for key in tally.rows[("month",)]] == ["2026-10", "2026-11"]


def test_unpriced_jobs_are_jobs() -> None:
    """A job with two charges without a price is one unpriced job."""
    unpriced: dict[str, Any] = {"ceiling": None}
    records = [
        started(1, **unpriced), done(1, cost=None),
        started(1, attempt=2, **unpriced), done(1, cost=None, attempt=2),
    ]  # fmt: skip
    assert totals_of(tallied(records))[None].unpriced_jobs == 1


def test_records_are_those_of_the_period() -> None:
    """Records of other days are not counted as reviewed."""
    tally = Tally(period=Period("2025-10-03"))
    tally.read([each for n in range(3) for each in _on_day(n)])
    assert tally.records == 4


def test_what_servers_state_is_compared() -> None:
    """A cost that the server states stands beside the one that was worked out."""
    usage = UsageRecord(
        input_tokens=301, output_tokens=1290, stated=AmountRecord(amount="0.3", currency="CNY")
    )
    tally = tallied([started(1), done(1, usage=usage)])
    assert str(tally.stated.theirs["CNY"].amount) == "0.3"
    assert str(tally.stated.ours["CNY"].amount) == "0.2715321"


SUMMED = (
    "jobs", "images", "input_tokens", "output_tokens", "total_tokens", "unpriced_jobs", "kept",
    "confirmed", "unknown_low", "unknown_high",
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(lives(), st.booleans())
def test_rows_by_kind_add_up_to_the_totals(records: list[AnyRecord], has_price: bool) -> None:
    """Over any lives of any jobs, with the price at hand and without, alone and by model: each
    column's sum is the total's."""
    price = Price(currency="CNY", per_image=Decimal("0.3"))
    what_if = WhatIf(lambda *_: price if has_price else None)
    tally = Tally([("kind",), ("model", "kind")], parts=what_if.parts)
    tally.read(records)
    totals = totals_of(tallied(records))  # of a pass that tells nothing apart
    assert totals_of(tally) == totals
    for grouping in (("kind",), ("model", "kind")):
        for currency, total in totals.items():
            rows = [sums for key, sums in tally.rows[grouping].items() if key[0] == currency]
            for name in SUMMED:
                assert sum(getattr(row, name) for row in rows) == getattr(total, name), name
    told = [sums.confirmed for key, sums in tally.rows[("kind",)].items() if key[1] == "images"]
    is_priced_done = any(isinstance(each, Done) and each.cost for each in records)
    assert sum(told) > 0 if has_price and is_priced_done else sum(told) == 0


def test_money_is_told_apart_by_kind() -> None:
    """Thinking, pictures and input stand apart with what each cost; what the user settled and what
    is unknown stand where nothing is told apart."""
    price = Price(
        currency="USD", input_per_million=Decimal(2), image_output_per_million=Decimal(120),
        text_output_per_million=Decimal(12),
    )  # fmt: skip
    usage = UsageRecord(
        input_tokens=600, output_tokens=1400, total_tokens=2000, image_output_tokens=1120,
        reasoning_tokens=250,
    )  # fmt: skip
    ceiling = AmountRecord(amount="0.5", currency="USD")
    cost = CostRecord(amount="0.138960", currency="USD", basis="tokens", price="p")
    records: list[AnyRecord] = [begins()]
    for number in range(3):
        records += [started(number, ceiling=ceiling), done(number, usage=usage, cost=cost)]
    records += [started(7, ceiling=ceiling), unknown(7, ceiling=ceiling)]
    tally = Tally([("kind",)], parts=WhatIf(lambda *_: price).parts)
    tally.read(records)
    rows = {row["kind"]: row for row in review_of(tally).by[("kind",)]}
    assert {kind: row["confirmed"] for kind, row in rows.items()} == {
        "image_output": "0.403200", "thinking_output": "0.009000", "input": "0.003600",
        "text_output": "0.001080", "not_told_apart": "0.000000",
    }  # fmt: skip
    assert rows["image_output"]["images"] == 3
    assert rows["not_told_apart"]["unknown_high"] == "0.500000"
    assert (rows["not_told_apart"]["jobs"], rows["not_told_apart"]["total_tokens"]) == (4, 0)
