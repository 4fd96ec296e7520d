"""What a reconciliation tells: how far unknowns reach, which requests are named, which hints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from retouch.dialects.bill import Bill, Line, Measure
from retouch.ledger.records import AmountRecord, AnyRecord, UsageRecord
from retouch.money import Money
from retouch.reconcile.bill_cells import zone_of
from retouch.reconcile.compare import Whole, reconcile
from retouch.reconcile.differences import Difference, Reconciliation
from retouch.reconcile.hints import hints
from retouch.reconcile.matching import is_itemised, offsets, unmatched
from retouch.reconcile.models import with_our_models
from retouch.reconcile.ours import Ours, OwnCharge
from retouch.reconcile.reading import read_bill
from tests.support.ledgers import FIRST, GEMINI, TERMS, done, key_of, started, unknown

DAY = "2025-10-02"
TWO = msgspec.structs.replace(TERMS, n=2)
DOLLAR = AmountRecord(amount="5", currency="USD")


def ours_of(records: Iterable[Any], offset: str = "") -> Ours:
    ours = Ours(zone_of(offset))
    ours.read(0, records)
    return ours


def lines_of(*figures: Mapping[Measure, str], **more: Any) -> Bill:
    said: dict[str, Any] = {"day": DAY, "model": GEMINI} | more
    return Bill("b", tuple(
        Line(number, measures={name: Decimal(value) for name, value in each.items()}, **said)
        for number, each in enumerate(figures, 2)
    ), is_itemised=False)  # fmt: skip


def row(found: Reconciliation, measure: str) -> Difference:
    return next(each for each in found.differences if each.measure == measure)


UNKNOWN = [started(50, terms=TWO), unknown(50), started(51, ceiling=DOLLAR), unknown(51)]


@pytest.mark.parametrize(
    ("measure", "ours", "reach"),
    [
        ("amount", "0.2715321", "0.6"),  # the ceiling in the bill's currency
        ("requests", "1", "2"),
        ("images", "1", "3"),  # one of them asked for two
        ("input_tokens", "301", "1204"),  # twice the most that one request counted, each
        ("output_tokens", "1290", "5160"),
        ("total_tokens", "1591", "6364"),
    ],
)
def test_a_bill_above_ours_is_explained_as_far_as_unknowns_reach(
    measure: Measure, ours: str, reach: str
) -> None:
    """In each measure, to its last digit and no further."""
    records = [started(1), done(1), *UNKNOWN]
    most = Decimal(ours) + Decimal(reach)
    for more, rest in (("0", "0"), ("1", "1")):
        bill = lines_of({measure: str(most + Decimal(more))})
        found = row(reconcile(ours_of(records), bill, "CNY"), measure)
        assert (found.explained, found.doubts) == (Decimal(reach), 2)
        assert found.unexplained == Decimal(rest)
    below = row(reconcile(ours_of(records), lines_of({measure: "0"}), "CNY"), measure)
    assert (below.explained, below.unexplained) == (Decimal(0), -Decimal(ours))


def test_where_nothing_like_it_was_counted_an_unknown_may_have_counted_any_number() -> None:
    """The first request of a model tells nothing to compare with."""
    found = reconcile(ours_of(UNKNOWN), lines_of({"total_tokens": "123456"}), "CNY")
    assert row(found, "total_tokens").unexplained == 0


def test_what_is_on_one_side_alone_is_named_in_full() -> None:
    """Ours by source, prompt, cost, task and key, theirs by line, cost and id; many are counted."""
    usage = UsageRecord(images=1)
    unpriced = [started(2, ceiling=None), done(2, cost=None, usage=usage)]
    ours = ours_of([started(1), done(1, task="t-1"), *unpriced])
    (amount,) = {
        each.suspects
        for each in reconcile(ours, lines_of({"amount": "1"}, day="2025-11-02"), "CNY").differences
        if each.day == DAY and each.measure == "amount"
    }
    assert [(each.text, each.key) for each in amount] == [
        (f"not on the bill: cats/1/1.jpg, p1, 0.2715321 CNY, task t-1, key {key_of(1)[:12]}",
         key_of(1)),
        (f"not on the bill: cats/2/2.jpg, p2, key {key_of(2)[:12]}", key_of(2)),
    ]  # fmt: skip
    bill = lines_of({"amount": "1"}, {"amount": "2", "requests": "1"}, currency="CNY", id="x-7")
    (found,) = reconcile(ours_of([]), bill, None).differences
    assert [(each.text, each.line) for each in found.suspects] == [
        ("not in the ledger: line 2, 1 CNY, id x-7", 2),
        ("not in the ledger: line 3, 2 CNY, id x-7", 3),
    ]
    (plain,) = reconcile(ours_of([]), lines_of({"requests": "3"}), "CNY").differences
    assert [each.text for each in plain.suspects] == ["not in the ledger: line 2"]


@pytest.mark.parametrize(("count", "named"), [(5, 5), (6, 1)])
def test_more_than_five_are_counted_instead(count: int, named: int) -> None:
    """On either side, with the line that they begin on."""
    records = [each for n in range(count) for each in (started(n), done(n))]
    away = lines_of({"amount": "1"}, day="2025-11-02")
    one: list[Mapping[Measure, str]] = [{"amount": "1"}]
    here = row(reconcile(ours_of(records), away, "CNY"), "amount")
    assert len(here.suspects) == named
    if named == 1:
        assert here.suspects[0].text == "not on the bill at all: 6 requests"
    there = row(reconcile(ours_of([]), lines_of(*one * count), "CNY"), "amount")
    assert len(there.suspects) == named
    if named == 1:
        assert there.suspects[0].text == "not in the ledger at all: 6 lines, from line 2"


def test_of_sums_those_are_named_that_would_account_for_all_of_the_rest() -> None:
    """One less, one more, several alike, and a sum that is none of ours."""
    records = [each for n in (1, 2, 3) for each in (
        started(n), done(n, "0.2" if n < 3 else "0.5", usage=UsageRecord(images=1)))]  # fmt: skip
    ours = ours_of(records)

    def said(amount: str, images: str) -> list[str]:
        found = reconcile(ours, lines_of({"amount": amount, "images": images}), "CNY")
        return [each.text for each in row(found, "amount").suspects]

    (text,) = said("0.4", "2")
    assert text.startswith("not on the bill: cats/3/3.jpg, p0, 0.5 CNY, key ")
    (text,) = said("1.4", "4")
    assert text.startswith("billed once more: cats/3/3.jpg")
    one, other = said("1.1", "4")
    assert one.startswith("1 of 2 billed once more: cats/1/1.jpg")
    assert other.startswith("1 of 2 billed once more: cats/2/2.jpg")
    assert said("1.3", "4") == ["more than the ledger on line 2 of the bill"]
    assert said("0.8", "3") == []


def test_totals_add_up_every_part_of_a_difference() -> None:
    """By measure and currency, over all days and models."""
    records = [started(1), done(1, "0.5"), started(2, model="other"), done(2, "0.7"), *UNKNOWN]
    bill = read_bill("b", (
        f"date,model,amount,requests,currency\n{DAY},{GEMINI},0.8,2,CNY\n{DAY},other,0.695,1,CNY\n"
    ).encode())  # fmt: skip
    found = reconcile(ours_of(records), bill, None)
    totals = {(each.measure, each.currency): each for each in found.totals}
    amount, requests = totals["amount", "CNY"], totals["requests", None]
    assert (amount.ours, amount.theirs, amount.gap) == (
        Decimal("1.2"), Decimal("1.495"), Decimal("0.295"),
    )  # fmt: skip
    assert amount.explained == Decimal("0.3")
    assert requests.explained == requests.gap == 1
    assert row(found, "amount").rounding == 0
    rounded = reconcile(ours_of(records), lines_of({"amount": "0.504"}), "CNY").totals
    assert [each.rounding for each in rounded if each.measure == "amount"] == [Decimal(0)]
    cents = reconcile(ours_of([started(1), done(1, "0.504")]), lines_of({"amount": "0.50"}), "CNY")
    assert cents.totals[0].rounding == Decimal("-0.004")
    assert cents.totals[0].gap == 0


def _spread() -> Iterable[AnyRecord]:
    """A request in each hour of two days."""
    for hour in range(48):
        at = FIRST.replace(hour=0) + timedelta(hours=hour, minutes=30)
        yield from (started(hour, at), done(hour, f"{0.1 + hour * hour / 100:.2f}", at))


SPREAD = list(_spread())


def _by_day(ours: Ours, *, currency: str = "") -> Bill:
    sums: dict[str, Decimal] = {}
    for each in ours.entries:
        day = each.cell[0]
        sums[day] = sums.get(day, Decimal(0)) + each.measures["amount"]
    rows = "\n".join(f"{day},{GEMINI},{amount},{currency}" for day, amount in sums.items())
    return read_bill("b", f"date,model,amount,currency\n{rows}\n".encode())


@pytest.mark.parametrize(
    ("how", "kind", "value"),
    [
        ({"zone": zone_of("+08:00")}, "offset", "+08:00"),
        ({"zone": zone_of("-03:00")}, "offset", "-03:00"),
        ({"days": 1}, "day", "+1"),
        ({"days": -1}, "day", "-1"),
        ({"factor": Decimal("1.06")}, "factor", "1.06"),
        ({"factor": Decimal(2)}, "factor", "2"),
        ({"factor": Decimal(10)}, "factor", "10"),
    ],
)
@pytest.mark.parametrize("currency", ["CNY", ""])
def test_how_the_bill_was_made_is_named(
    how: dict[str, Any], kind: str, value: str, currency: str
) -> None:
    """Whether its lines name their currency or the user does; what explains all is named first."""
    ours = ours_of(SPREAD)
    bill = _by_day(ours.moved(**how), currency=currency)
    said = None if currency else "CNY"
    found = reconcile(ours, bill, said)
    assert found.unexplained
    told = {(each.kind, each.value): each.explains for each in hints(ours, bill, said, found)}
    assert told[kind, value] == len(bill.lines)  # type: ignore[index]


def test_a_bill_that_agrees_gets_no_hint() -> None:
    """Nor one that nothing explains better."""
    ours = ours_of(SPREAD)
    bill = _by_day(ours, currency="CNY")
    assert hints(ours, bill, None, reconcile(ours, bill, None)) == []
    strange = lines_of({"amount": "77"}, model="another", currency="CNY")
    assert hints(ours, strange, None, reconcile(ours, strange, None)) == []


def test_moved_doubts_move_with_the_days() -> None:
    """What is unknown may be on the bill of the day that the charges are moved to."""
    ours = ours_of([started(1, FIRST.replace(hour=20)), unknown(1)])
    assert [each.day for each in ours.doubts] == ["2025-10-02"]
    assert [each.day for each in ours.moved(zone_of("+08:00")).doubts] == ["2025-10-03"]
    assert [each.day for each in ours.moved(days=-1).doubts] == ["2025-10-01"]
    assert ours.moved().models == ours.models == {GEMINI}
    assert ours.doubts[0].cell == (DAY, GEMINI)


def test_names_that_are_ours_are_said_and_keep_the_rest_of_the_bill() -> None:
    """By what the user says, by a path's end or a list's beginning, by case; others stay."""
    ours = ["gpt-image-1", GEMINI]
    text = (
        f"date,model,amount\n{DAY},openai/gpt-image-1,1\n{DAY},{GEMINI.upper()},2\n"
        f'{DAY},"GPT-image-1, output",3\n{DAY},other,4\n合计,,10\n'
    )
    bill = read_bill("b", text.encode())
    named = with_our_models(bill, ours, {})
    assert [line.model for line in named.lines] == ["gpt-image-1", GEMINI, "gpt-image-1", "other"]
    assert named.notes == (
        "b:6: left out, a total or of no day (10)",
        "b: `openai/gpt-image-1` is gpt-image-1",
        f"b: `{GEMINI.upper()}` is {GEMINI}",
        "b: `GPT-image-1, output` is gpt-image-1",
    )
    assert with_our_models(named, ours, {}) is named
    two = with_our_models(bill, ["Gpt-Image-1", "gpt-image-1"], {})
    assert two.lines[2].model == "GPT-image-1, output"
    assert with_our_models(bill, ours, {"oth*": GEMINI}).lines[3].model == GEMINI


def entry(number: int, second: float, amount: str = "0.2", **more: Any) -> OwnCharge:
    at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=second)
    said: dict[str, Any] = {"task": None, "currency": "CNY"} | more
    return OwnCharge(f"k{number}", at, "m", "p", "s", said["task"], said["currency"],
                     {"amount": Decimal(amount)})  # fmt: skip


def line(number: int, second: float | None, amount: str = "0.2", name: str = "") -> Line:
    at = None if second is None else datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=second)
    return Line(number, "2026-03-01", "m", {"amount": Decimal(amount)}, id=name, at=at)


CENT = Decimal("0.01")


@pytest.mark.parametrize("missing", range(5))
@pytest.mark.parametrize(
    ("later", "offset"), [(0.0, 0.0), (30.0, 30.0), (30.0, None), (-30.0, -30.0), (-30.0, None)]
)
def test_of_many_alike_the_one_without_a_partner_is_told_by_its_time(
    missing: int, later: float, offset: float | None
) -> None:
    """On either side; also where the clocks differ, known by how much or not."""
    at = [0, 100, 170, 400, 480]
    ours = [entry(number, second + later) for number, second in enumerate(at)]
    theirs = [line(number, second) for number, second in enumerate(at)]
    fewer = [each for each in theirs if each.number != missing]
    left = unmatched(ours, fewer, ("amount",), CENT, offset)
    assert ([each.key for each in left.ours], left.theirs) == ([f"k{missing}"], ())
    assert left.is_exact
    mine = [each for each in ours if each.key != f"k{missing}"]
    left = unmatched(mine, theirs, ("amount",), CENT, offset)
    assert (left.ours, [each.number for each in left.theirs]) == ((), [missing])


def test_without_times_any_of_those_alike_may_be_the_one() -> None:
    """As many as are too many, and it is said that it may be another."""
    ours = [entry(number, number) for number in range(4)]
    theirs = [line(number, None) for number in range(2)]
    left = unmatched(ours, theirs, ("amount",), CENT)
    assert (len(left.ours), left.theirs, left.is_exact) == (2, (), False)
    none = unmatched(ours, [line(9, None, "0.9")], ("amount",), CENT)
    assert (len(none.ours), len(none.theirs), none.is_exact) == (4, 1, True)


def test_an_id_is_a_partner_whatever_else_differs() -> None:
    """A Task's or a Key's."""
    ours = [entry(1, 0, task="t1"), entry(2, 0), entry(3, 0)]
    theirs = [line(1, 900, "7", "t1"), line(2, 900, "8", "k2"), line(3, 0, "0.2", "z")]
    left = unmatched(ours, theirs, ("amount",), CENT)
    assert (left.ours, left.theirs) == ((), ())


def test_clocks_are_compared_by_requests_that_cannot_be_mistaken() -> None:
    """One on either side, and a time on the bill."""
    ours = [entry(1, 10, "0.1"), entry(2, 20, "0.2"), entry(3, 25, "0.2"), entry(4, 30, "0.3")]
    theirs = [line(1, 7, "0.1"), line(2, 20, "0.2"), line(3, 20, "0.2"), line(4, None, "0.3")]
    assert offsets(ours, theirs, ("amount",), CENT) == [3.0]


@pytest.mark.parametrize(
    ("entries", "requests", "itemised"),
    [(2, (1, 1), True), (4, (1, 1), True), (5, (1, 1), False), (2, (1, 2), False),
     (1, (1,), False), (0, (1, 1), True)],
)  # fmt: skip
def test_lines_look_like_requests_or_like_sums(
    entries: int, requests: tuple[int, ...], itemised: bool
) -> None:
    """Each of one request at most, more than one of them, and not far fewer than ours."""
    lines = [
        Line(n, DAY, "m", {"amount": CENT, "requests": Decimal(each)})
        for n, each in enumerate(requests)
    ]
    assert is_itemised([entry(n, n) for n in range(entries)], lines) == itemised


def test_two_unknowns_at_their_whole_ceilings_are_settled_at_them() -> None:
    """One alone at what is left."""
    ceiling = AmountRecord(amount="0.6", currency="CNY")
    records = [started(1), done(1, "0.5")]
    for count, gap, charged in ((1, "0.25", "0.25"), (2, "1.2", "0.6"), (2, "0.6", None)):
        doubts: list[AnyRecord] = [each for n in range(50, 50 + count) for each in (
            started(n, ceiling=ceiling), unknown(n, ceiling=ceiling))]  # fmt: skip
        bill = lines_of({"amount": str(Decimal("0.5") + Decimal(gap))})
        found = reconcile(ours_of([*records, *doubts]), bill, "CNY")
        expected = [] if charged is None else [Money(Decimal(charged), "CNY")] * count
        assert [each.charged for each in found.verdicts] == expected


@pytest.mark.parametrize(
    ("day", "offset", "over"),
    [
        ("2025-10-02", "", "2025-10-03T06:00+00:00"),
        ("2025-10-31", "+08:00", "2025-10-31T22:00+00:00"),
        ("2025-12-31", "-03:00", "2026-01-01T09:00+00:00"),
        ("2025-10", "", "2025-11-01T06:00+00:00"),
        ("2025-12", "+08:00", "2025-12-31T22:00+00:00"),
        ("2026-02", "", "2026-03-01T06:00+00:00"),
    ],
)
def test_a_day_or_a_month_is_over_six_hours_after_its_end(day: str, offset: str, over: str) -> None:
    """By the bill's own clock, and not a second before."""
    end = datetime.fromisoformat(over)
    zone = zone_of(offset)
    assert Whole(end, zone).holds(day)
    assert not Whole(end - timedelta(seconds=1), zone).holds(day)
    assert Whole(end - timedelta(hours=6), zone, timedelta(0)).holds(day)
