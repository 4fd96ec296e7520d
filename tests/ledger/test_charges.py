"""Charges over whole ledgers: copies, Jobs met again, and what is remembered of each Key."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from retouch.ledger import Reader, last_attempts
from retouch.ledger.charges import Charge, Charges, Posting
from retouch.ledger.last_attempts import LastAttempts
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    Done,
    ErrorRecord,
    Failed,
    Resolved,
    Started,
    TaskAccepted,
    Unknown,
    Unsent,
)
from retouch.money import Money
from retouch.report import Tally
from tests.support.ledgers import (
    CEILING,
    TERMS,
    begins,
    done,
    failed,
    key_of,
    many,
    started,
    unknown,
    write,
)

STEPS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 300), st.booleans()), max_size=60
)


@given(STEPS)
def test_what_is_put_away_is_still_known(steps: list[tuple[str, int, bool]]) -> None:
    """The last Attempt, and whether one was charged before, as two plain dicts know them."""
    lasts, charged = dict[str, int](), set[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(last_attempts, "LATEST", 3)
        known = LastAttempts()
        for key, attempt, is_charged in steps:
            known.open(key, attempt)
            lasts[key] = max(attempt, lasts.get(key, 0))
            if is_charged and attempt == lasts[key]:
                if attempt > 1:
                    assert known.charge(key, attempt) == (key in charged)
                else:
                    known.charge(key, attempt)
                charged.add(key)
            assert known.copy().last(key) == lasts[key]
        assert {key: known.last(key) for key in lasts} == lasts


def busy_hours() -> list[AnyRecord]:
    """Finished jobs, one redone, and one that is unknown at the end."""
    again: list[AnyRecord] = [started(1, attempt=2), done(1, attempt=2)]
    return [begins(), *many(4), *again, started(50), unknown(50)]


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_what_is_open_in_a_copy_counts_once(cut: int) -> None:
    """Also where the copy has nothing of its own: no Record after those it shares."""
    records = busy_hours()
    copy = records[: len(records) - cut]
    tally = Tally()
    tally.read(records)
    tally.read(copy, shared=len(copy))
    ((_, sums),) = tally.rows[()].items()
    assert (sums.unknown, sums.unknown_high) == (1, Decimal("0.6"))
    assert tally.records == len(records)


def test_the_records_of_some_keys_are_found_again(tmp_path: Path) -> None:
    """By their lines, with a key's digits anywhere else in the file, and to a torn end."""
    path = write(tmp_path / "ledger.jsonl", busy_hours())
    with path.open("ab") as file:
        file.write(b'{"event":"done","key":"' + key_of(1).encode())
    reader = Reader(path)
    records = list(reader)
    keys = {key_of(1), key_of(50)}
    lines = [n for n, each in enumerate(records, 1) if getattr(each, "key", None) in keys]
    assert [line for line, _ in reader.of_keys(keys)] == lines == [4, 5, 10, 11, 12, 13]
    found = list(Charges().again(reader, keys))
    assert found == list(Charges().again(records, keys))
    assert [posting.is_again for _, posting in found if posting.verdict == "charged"] == [
        False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("end", [b"", bytes(300)])
def test_a_last_record_without_its_newline_is_found_again(tmp_path: Path, end: bytes) -> None:
    """As a crash may leave it: it is whole."""
    path = write(tmp_path / "ledger.jsonl", [started(1), done(1), started(2)])
    path.write_bytes(path.read_bytes()[:-1] + end)
    reader = Reader(path)
    assert len(list(reader)) == 3
    found = list(reader.of_keys({key_of(1), key_of(2)}))
    assert [(line, getattr(each, "key", "")) for line, each in found] == [
        (1, key_of(1)), (2, key_of(1)), (3, key_of(2)),
    ]  # fmt: skip


def test_records_written_otherwise_are_found_too(tmp_path: Path) -> None:
    """A line with blanks, and one with an escape in its Key: only their parse can tell."""
    path = write(tmp_path / "ledger.jsonl", [started(1), done(1)])
    first = path.read_bytes().splitlines()[0]
    spaced = first.replace(b'"key":"', b'"key": "')
    escaped = first.replace(key_of(1).encode(), b"\\u0061" + key_of(1)[1:].encode())
    for line, key in ((spaced, key_of(1)), (escaped, "a" + key_of(1)[1:])):
        path.write_bytes(line + b"\n")
        reader = Reader(path)
        assert len(list(reader)) == 1
        assert [number for number, _ in reader.of_keys({key})] == [1]


NEWS = unknown(1, error=ErrorRecord(kind="network", message="broken off"))
SAID = AmountRecord(amount="0.4", currency="CNY")
LEAST = AmountRecord(amount="0.1", currency="CNY")
TASK = TaskAccepted(key=key_of(1), attempt=1, task="t")
UNSENT = Unsent(key=key_of(1), attempt=1, error=NEWS.error)


def word(*, charged: bool = True, amount: AmountRecord | None = None) -> Resolved:
    verdict: Any = "charged" if charged else "not_charged"
    return Resolved(key=key_of(1), attempt=1, verdict=verdict, amount=amount)


def billed(billing: str = "yes", **more: Any) -> AnyRecord:
    return failed(1, billing, **more)


UNPRICED = started(1, ceiling=None)
AGAIN: list[AnyRecord] = [started(1), done(1), started(1, attempt=2)]
DID: list[tuple[str, list[AnyRecord], str, str, str]] = [
    # what, Records, what each did (+ is_new, ! is_again), standing and reason of what is open, task
    ("begun", [started(1)], "open+", "unknown: no answer on file", ""),
    ("begun twice over", [started(1), word(), started(1)], "open+ open open",
     "unknown: no answer on file", ""),
    ("accepted", [started(1), TASK], "open+ -", "unknown: no answer on file", "t"),
    ("accepted after the user's word", [started(1), word(), TASK], "open+ open -",
     "unknown: no answer on file", "t"),
    ("unknown", [started(1), NEWS], "open+ open", "unknown: broken off", ""),
    ("unknown with its task", [started(1), TASK, NEWS], "open+ - open", "unknown: broken off",
     "t"),
    ("unknown, of another task", [started(1), TASK, unknown(1, task="t2")], "open+ - open",
     "unknown: no answer within 180 s", "t2"),
    ("unknown before it was begun", [NEWS, started(1)], "open+ open", "unknown: broken off", ""),
    ("unknown again after the user's word", [started(1), NEWS, word(), NEWS],
     "open+ open open open", "unknown: broken off", ""),
    ("refused, perhaps billed", [started(1), billed("unknown")], "open+ open",
     "unknown: refused", ""),
    ("refused and billed, nobody counted", [started(1), billed()], "open+ uncounted",
     "uncounted: refused", ""),
    ("refused and billed", [started(1), billed(cost=done(1).cost)], "open+ charged=0.2715321", "",
     ""),
    ("refused for nothing", [started(1), billed("no")], "open+ free", "", ""),
    ("refused for nothing, never begun", [billed("no")], "free+", "", ""),
    ("done", [started(1), done(1)], "open+ charged=0.2715321", "", ""),
    ("done, never begun", [done(1)], "charged+=0.2715321", "", ""),
    ("done, nobody counted", [started(1), TASK, done(1, cost=None, least=LEAST)],
     "open+ - uncounted", "uncounted: done, and the server did not say what it counted, 0.1", "t"),
    ("done, nobody counted nor bounds it", [UNPRICED, done(1, cost=None)], "open+ charged=None",
     "", ""),
    ("uncounted stays so", [started(1), billed(), NEWS, UNSENT, done(1), billed("no")],
     "open+ uncounted - - - -", "uncounted: refused", ""),
    ("uncounted, until the user says it", [started(1), billed(), word(amount=SAID)],
     "open+ uncounted charged=0.4", "", ""),
    ("unsent", [started(1), UNSENT], "open+ free", "", ""),
    ("unsent, never begun", [UNSENT], "-", "", ""),
    ("unsent, and begun again under its number", [started(1), UNSENT, started(1)],
     "open+ free open+", "unknown: no answer on file", ""),
    ("settled", [started(1), done(1), done(1), NEWS, billed(), UNSENT, TASK, word()],
     "open+ charged=0.2715321 - - - - - -", "", ""),
    ("charged, by the user's word", [started(1), word(amount=SAID)], "open+ charged=0.4", "", ""),
    ("charged, the user knows no amount", [started(1), word()], "open+ open",
     "resolved: no answer on file", ""),
    ("charged, and nothing bounds it", [UNPRICED, word()], "open+ charged=None", "", ""),
    ("not charged, by the user's word", [started(1), word(charged=False)], "open+ free", "", ""),
    ("the user's later word takes the place of the former",
     [started(1), word(amount=SAID), word(charged=False), word(amount=SAID)],
     "open+ charged=0.4 free<charged charged=0.4<free", "", ""),
    ("a word without an amount, and then one", [started(1), word(), word(amount=SAID)],
     "open+ open charged=0.4", "", ""),
    ("a word with an amount, and then one without", [started(1), word(amount=SAID), word()],
     "open+ charged=0.4 open<charged", "resolved: no answer on file", ""),
    ("an open word is no verdict to be taken back",
     [started(1), word(amount=SAID), word(), word(charged=False)],
     "open+ charged=0.4 open<charged free", "", ""),
    ("a word on what nobody knows", [word(amount=SAID)], "-", "", ""),
    ("charged a second time", [*AGAIN, done(1, attempt=2)],
     "open+ charged=0.2715321 open+ charged=0.2715321!", "", ""),
    ("not charged a second time", [*AGAIN, billed("no", attempt=2)],
     "open+ charged=0.2715321 open+ free", "", ""),
]  # fmt: skip


def told_of(posting: Posting | None) -> str:
    if posting is None:
        return "-"
    assert type(posting.is_new) is type(posting.is_again) is bool
    assert (posting.charge.standing == "settled") == (posting.verdict in ("charged", "free"))
    paid = f"={posting.paid.amount if posting.paid else None}"
    return "".join(
        (
            posting.verdict,
            "+" if posting.is_new else "",
            paid if posting.verdict == "charged" else "",
            "!" if posting.is_again else "",
            f"<{posting.former.verdict}" if posting.former else "",
        )
    )


@pytest.mark.parametrize(("records", "did", "standing", "task"), [row[1:] for row in DID],
                         ids=[row[0] for row in DID])  # fmt: skip
def test_each_record_opens_settles_or_says_nothing_new(
    records: list[AnyRecord], did: str, standing: str, task: str
) -> None:
    """DESIGN §3, Record by Record; a Charge knows why it is open, and its Task."""
    charges = Charges()
    assert " ".join(told_of(charges.apply(record)) for record in records) == did
    found = [
        f"{charge.standing}: {charge.reason}" + (f", {charge.least.amount}" if charge.least else "")
        for charge in charges.open.values()
    ]
    assert found == ([standing] if standing else [])
    assert [charge.task or "" for charge in charges.open.values()] == ([task] if standing else [])


def test_a_charge_is_its_attempts() -> None:
    """Model, prompt, source, terms, day and ceiling are those it began with."""
    charges = Charges()
    charges.apply(started(1, model="m"))
    charges.apply(NEWS)
    (charge,) = charges.open.values()
    begun = started(1)
    assert (charge.key, charge.attempt, charge.model) == (begun.key, 1, "m")
    assert (charge.prompt, charge.source, charge.terms) == (begun.prompt, begun.source, TERMS)
    assert (charge.at, charge.day, charge.bound) == (begun.at, "2025-10-02", CEILING)
    assert charge.ceiling == Money(Decimal("0.6"), "CNY")
    unpriced = Charge(done(1))
    assert (unpriced.bound, unpriced.ceiling, unpriced.terms) == (None, None, None)
    assert [Charge(begun, standing=each).is_unsettled for each in STANDINGS] == [
        True, True, False, False,
    ]  # fmt: skip


STANDINGS: tuple[Any, ...] = ("unknown", "uncounted", "resolved", "settled")


@pytest.mark.parametrize("shared", range(12))
def test_the_records_of_some_keys_do_again_what_they_did(shared: int) -> None:
    """In a copy, those that the two share do nothing: they are told there."""
    records = busy_hours()
    keys = {key_of(1), key_of(50)}
    followed = [
        (record, posting)
        for _, record, posting in Charges().follow(records, shared)
        if posting is not None and getattr(record, "key", None) in keys
    ]
    charges = Charges()
    assert list(charges.again(records, keys, shared)) == followed
    whole = Charges()
    assert [line for line, *_ in whole.follow(records, shared)] == list(range(1, len(records) + 1))
    assert set(charges.open) == {place for place in whole.open if place[0] in keys}
    for record in records:
        if isinstance(record, Done | Failed | Unknown) and record.key in keys:
            begun = [i for i, r in enumerate(records) if isinstance(r, Started) and (
                r.key, r.attempt) == (record.key, record.attempt)]  # fmt: skip
            assert whole.owns(record) == (begun[0] >= shared)


def test_where_there_is_no_copy_nothing_is_shared() -> None:
    """The first line counts too."""
    records: list[AnyRecord] = [started(1), done(1)]
    followed = list(Charges().follow(records))
    assert [(line, posting.verdict) for line, _, posting in followed if posting] == [
        (1, "open"), (2, "charged"),
    ]  # fmt: skip
    again = list(Charges().again(records, {key_of(1)}))
    assert again == [(record, posting) for _, record, posting in followed]


def test_what_it_cost_may_be_told_by_another_price() -> None:
    """By a word on the Record and its Charge, in the place of what the ledger says; where that has
    none it is uncounted, or of unknown price."""
    asked: list[tuple[object, Charge]] = []

    def twice(record: Done | Failed, charge: Charge) -> CostRecord | None:
        asked.append((record, charge))
        cost = record.cost
        return cost and replace(cost, amount=str(2 * Decimal(cost.amount)))

    charges = Charges(twice)
    records: list[AnyRecord] = [
        started(1), done(1), started(2), failed(2, "yes"), started(3, ceiling=None),
        done(3, cost=None), started(4), failed(4, "no"),
    ]  # fmt: skip
    did = [told_of(charges.apply(record)) for record in records]
    assert did == [
        "open+", "charged=0.5430642", "open+", "uncounted", "open+", "charged=None", "open+",
        "free",
    ]  # fmt: skip
    assert [record for record, _ in asked] == [records[1], records[3], records[5]]
    assert [charge.begun for _, charge in asked] == [records[0], records[2], records[4]]


def test_many_attempts_are_put_away_and_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether one was charged before, also where it was put away; a copy goes on alone."""
    monkeypatch.setattr(last_attempts, "LATEST", 2)
    known = LastAttempts()
    assert known.last("a") == 0
    for attempt, key in ((1, "a"), (1, "b"), (2, "a"), (1, "c")):
        known.open(key, attempt)
    copy = known.copy()
    assert [known.last(key) for key in "abcd"] == [2, 1, 1, 0]
    known.open("a", 1)
    assert known.last("a") == 2
    assert not known.charge("a", 2)
    assert known.charge("a", 3)
    known.open("d", 1)
    known.open("e", 7)
    assert (copy.last("d"), known.last("d"), known.last("e")) == (0, 1, 7)
    known.open("a", 3)
    assert known.charge("a", 3)
    assert not copy.charge("a", 3)
