"""A ledger in parts is read as the one it would have been."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from retouch.cluster import Shard
from retouch.errors import LedgerDamaged, Refused
from retouch.ledger import Parts, Reader, open_ledger, read
from retouch.ledger.parts import in_order, parts_of_attempts, read_together
from retouch.ledger.records import AnyRecord, Done, Salvaged, TaskAccepted
from retouch.ledger.spending import SharedSpending, Spending
from retouch.ledger.state import Replay
from retouch.reconcile.ours import Ours
from retouch.report import Period, Tally
from retouch.report.charges import Wanted, charge_rows
from retouch.report.rows import review_of
from retouch.storage.part import WHOLE, Part, ledgers_in, missing_beside, part_of
from tests.support.ledgers import FIRST, begins, done, key_of, stamp, started, unknown, write
from tests.support.lives import Teller

FOLDERS = st.integers(0, 2**32)
DIVIDED = (0, 1, 2, 3, 5)  # how many shards; 0: none


def told(chance: random.Random, steps: int) -> list[AnyRecord]:
    """A legal ledger, each Record some time after the one before; some at the same moment."""
    teller = Teller([key_of(number) for number in range(6)])
    for _ in range(steps):
        teller.random_step(chance)
    moment, stamped = FIRST, list[AnyRecord]()
    for record in teller.records:
        moment += timedelta(seconds=chance.choice((1, 1, 7, 3600)))
        stamped.append(replace(record, at=stamp(moment)))
    return stamped


def divide(folder: Path, records: list[AnyRecord], chance: random.Random) -> None:
    """The same Records as runs would have written them that are divided now so, now otherwise."""
    parts: dict[Part, list[AnyRecord]] = {}
    count = chance.choice(DIVIDED)
    for record in records:
        if chance.random() < 0.15:
            count = chance.choice(DIVIDED)
        key = getattr(record, "key", "")
        mine = (n for n in range(1, count + 1) if not key or Shard(n, count).owns(key))
        index = next(mine, 0)
        parts.setdefault(Part(count, index), []).append(record)
    for part, theirs in parts.items():
        write(folder / part.ledger, theirs)


def standing(state: Replay) -> object:
    """All that a reader may ask, but where it lies."""
    outcomes = {
        key: (one.state, one.attempt, one.task, tuple(one.files))
        for key, one in state.outcomes.items()
    }
    charges = {place: (one.standing, one.task) for place, one in state.open_charges.items()}
    return (
        outcomes, charges, state.totals, sorted(state.verdicts),
        sorted(key for key, _ in state.held()), state.tasks_out, state.place_counts(),
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(FOLDERS, st.integers(1, 60))
def test_parts_say_what_the_whole_says(
    tmp_path_factory: pytest.TempPathFactory, seed: int, steps: int
) -> None:
    """States, charges, sums, reviews and our side of a bill, however the work was divided."""
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("parts")
    records = told(chance, steps)
    whole, parts = folder / "whole" / WHOLE.ledger, folder / "parts"
    write(whole, records)
    parts.mkdir()
    divide(parts, records, chance)
    path = parts / WHOLE.ledger
    assert standing(read(path)) == standing(read(whole))
    assert rows(Parts.of(path)) == rows(Parts.of(whole))
    assert reviewed(Parts.of(path)) == reviewed(Parts.of(whole))
    assert ours(Parts.of(path)) == ours(Parts.of(whole))


@settings(max_examples=30, deadline=None)
@given(FOLDERS, st.integers(1, 40))
def test_each_record_is_known_by_its_part_and_line(
    tmp_path_factory: pytest.TempPathFactory, seed: int, steps: int
) -> None:
    """While it is read; what is kept of its Job stands there; those of some Keys are found by their
    numbers among all."""
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("parts")
    divide(folder, [begins(), *told(chance, steps)], chance)
    path = folder / WHOLE.ledger
    parts = Parts.of(path)
    found = list[AnyRecord]()
    for number, record in parts.numbered():
        found.append(record)
        there, line = parts.here
        assert there == parts.readers[number].path
        assert list(Reader(there))[line - 1] == record
        assert parts.place == ((there.name, line) if len(parts.readers) > 1 else None)
    assert list(Parts.of(path)) == found
    keys = {key_of(0), key_of(3)}
    assert list(parts.of_keys(keys)) == [
        (number, record)
        for number, record in enumerate(found, 1)
        if getattr(record, "key", None) in keys
    ]
    for state in (read(path), read_together(Reader(path)).state):
        for outcome in state.outcomes.values():
            assert state.lines.read(outcome.decided_at) == outcome.decided
            if outcome.began is not None:
                assert state.lines.read(outcome.began_at) == outcome.began


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=4))
def test_the_one_order_is_by_the_latest_moment_of_each_part(parts: list[list[int]]) -> None:
    """A clock that went back stands still; of one moment the earlier part is first, and a part
    keeps its own order."""
    streams = [
        [((number, at), started(at, FIRST + timedelta(seconds=moment)))
         for at, moment in enumerate(moments)]
        for number, moments in enumerate(parts)
    ]  # fmt: skip
    order = sorted(
        (max(moments[: at + 1]), number, at)
        for number, moments in enumerate(parts)
        for at in range(len(moments))
    )
    found = list(in_order(map(iter, streams)))
    assert [(number, beside) for number, beside, _ in found] == [
        (number, (number, at)) for _, number, at in order
    ]
    assert [record for *_, record in found] == [streams[number][at][1] for _, number, at in order]


def rows(parts: Parts) -> list[dict[str, object]]:
    """A row a charge, without where it lies."""
    found = charge_rows([("cats", parts, 0)], Wanted())
    return [{name: value for name, value in row.items() if name not in ("ledger", "line", "run")}
            for row in found]  # fmt: skip


def reviewed(parts: Parts) -> object:
    tally = Tally([("model",), ("day",)], Period())
    tally.read(parts)
    return review_of(tally).document


def ours(parts: Parts) -> object:
    found = Ours()
    found.read(0, parts)
    return found.entries, [(each.attempt.key, each.attempt.attempt) for each in found.doubts]


@settings(max_examples=40, deadline=None)
@given(FOLDERS, st.integers(1, 60), st.integers(1, 4))
def test_shares_of_money_never_come_to_less_than_was_spent(
    tmp_path_factory: pytest.TempPathFactory, seed: int, steps: int, count: int
) -> None:
    """What counts towards the shares of N shards is at least what the whole counts, so that the
    shares together keep to the budget, however the work was divided before."""
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("parts")
    records = told(chance, steps)
    divide(folder, records, chance)
    whole = read(folder / WHOLE.ledger).counted("CNY").amount
    shards = [Shard(index, count) for index in range(1, count + 1)]
    found = [read_together(Reader(each.ledger(folder)), each.owns) for each in shards]
    counted = [each.shared.counted("CNY").amount for each in found if each.shared]
    assert sum(counted, Decimal(0)) >= whole
    for shard, each in zip(shards, found, strict=True):
        assert each.shared is not None
        assert each.shared.own.counted("CNY") == of_part(shard.ledger(folder)).counted("CNY")
        otherwise = [
            path for path in ledgers_in(folder)
            if (part := part_of(path)) is not None and part.count != count
        ]  # fmt: skip
        others = SharedSpending(count)
        for number, path in enumerate(otherwise):
            for record in Reader(path):
                others.of(number).apply(record)
        own = each.shared.own.counted("CNY").amount
        assert each.shared.spent("CNY") == own + others.spent("CNY")
        moments = [record.at for path in otherwise for record in Reader(path)]
        assert each.latest == max(moments, default="")
    keys = [set(each.state.outcomes) for each in found]
    assert set().union(*keys) == set(read(folder / WHOLE.ledger).outcomes)
    assert sum(map(len, keys)) == len(set().union(*keys))


def of_part(path: Path) -> Spending:
    """The money of one part alone."""
    spending = Spending()
    for record in Reader(path):
        spending.apply(record)
    return spending


def test_a_shard_has_its_own_runs_and_of_others_what_its_keys_did(tmp_path: Path) -> None:
    """Whoever reads all has all of them; alone, one part is all there is; nobody shares with whom
    nothing is asked of."""
    numbers = range(8)
    for index in (1, 2):
        mine = [number for number in numbers if Shard(index, 2).owns(key_of(number))]
        write(tmp_path / f"ledger.{index}-of-2.jsonl", [begins(), *map(started, mine)])
    late = FIRST + timedelta(seconds=9)
    write(tmp_path / WHOLE.ledger, [begins(), *(done(number, at=late) for number in numbers)])
    own = tmp_path / "ledger.1-of-2.jsonl"
    kept = read_together(Reader(own), Shard(1, 2).owns)
    keys = {key_of(number) for number in numbers if Shard(1, 2).owns(key_of(number))}
    assert (set(kept.state.outcomes), kept.state.runs) == (keys, 1)
    assert {each.state for each in kept.state.outcomes.values()} == {"done"}
    assert kept.shared is not None
    assert set(kept.shared.own.open_charges) == {(key, 1) for key in keys}
    every = read_together(Reader(own))
    assert (len(every.state.outcomes), every.state.runs, every.shared) == (8, 3, None)
    assert every.latest == stamp(late)
    alone = read_together(Reader(own), is_alone=True)
    assert (set(alone.state.outcomes), alone.state.runs, alone.shared) == (keys, 1, None)
    assert {each.state for each in alone.state.outcomes.values()} == {"sent"}
    assert (alone.latest, alone.base) == ("", 0)
    lone = read_together(Reader(own), Shard(1, 2).owns, is_alone=True)
    assert (lone.shared is not None, lone.latest) == (True, "")


@pytest.mark.parametrize("name", ["ledger.jsonl", "ledger.1-of-2.jsonl", "ledger.2-of-2.jsonl",
                                  "ledger.1-of-3.jsonl"])  # fmt: skip
def test_what_the_writer_of_a_part_appends_is_read_back_from_it(tmp_path: Path, name: str) -> None:
    """Whether it is there already, and wherever it stands among the others."""
    write(tmp_path / "ledger.1-of-2.jsonl", [started(1), done(1)])
    write(tmp_path / "ledger.2-of-2.jsonl", [started(2), done(2)])

    async def append() -> None:
        async with open_ledger(tmp_path / name, "run", now=lambda: FIRST) as ledger:
            await ledger.append(started(3))
            await ledger.append(done(3), started(1, attempt=2))
            for number in (1, 2, 3):
                outcome = ledger.state.outcomes[key_of(number)]
                assert ledger.state.lines.read(outcome.decided_at) == outcome.decided
            made = ledger.state.done(key_of(3))
            assert made is not None
            assert made.run == "run"
            assert len(ledger.state.recorded_paths()) == 3

    anyio.run(append)
    assert {each.run for each in Reader(tmp_path / name)} >= {"run"}


def test_of_a_split_that_stays_the_shares_count_what_was_spent(tmp_path: Path) -> None:
    """Nothing twice: two finished jobs in two shards' ledgers count once each."""
    shards = [Shard(index, 2) for index in (1, 2)]
    for number in range(6):
        shard = next(each for each in shards if each.owns(key_of(number)))
        path = shard.ledger(tmp_path)
        before = list(Reader(path)) if path.exists() else []
        write(path, [*before, started(number), done(number, "0.5")])
    counted = [read_together(Reader(each.ledger(tmp_path)), each.owns).shared for each in shards]
    assert sum(each.counted("CNY").amount for each in counted if each) == Decimal(3)


def test_what_a_later_run_writes_is_read_after_what_it_read(tmp_path: Path) -> None:
    """Its machine's clock is behind: a Task that one part accepted ends in another, and is done,
    not in flight again; and its charge is settled."""
    late = FIRST + timedelta(minutes=5)
    accepted = TaskAccepted(key=key_of(1), attempt=1, task="t-1", at=stamp(late))
    write(tmp_path / "ledger.1-of-1.jsonl", [begins(), started(1, late), accepted])

    async def poll() -> None:
        path = tmp_path / WHOLE.ledger
        async with open_ledger(path, "later", now=lambda: FIRST) as ledger:
            assert ledger.state.outcomes[key_of(1)].is_polled
            await ledger.append(done(1))

    anyio.run(poll)
    (ended,) = [each for each in Reader(tmp_path / WHOLE.ledger) if isinstance(each, Done)]
    assert ended.at > stamp(late)
    state = read(tmp_path / WHOLE.ledger)
    assert state.outcomes[key_of(1)].state == "done"
    assert not state.open_charges


def test_a_clock_that_is_far_behind_is_refused(tmp_path: Path) -> None:
    """Days would be wrong for budgets and prices: nothing is sent."""
    write(tmp_path / "ledger.1-of-2.jsonl", [started(1, FIRST + timedelta(hours=3))])

    async def begin() -> None:
        async with open_ledger(tmp_path / WHOLE.ledger, "later", now=lambda: FIRST):
            pass

    with pytest.raises(Refused, match="still to come by the clock"):
        anyio.run(begin)


def test_a_verdict_belongs_where_the_attempts_latest_record_is(tmp_path: Path) -> None:
    """Begun in one part, given up in another: read after that."""
    write(tmp_path / "ledger.1-of-1.jsonl", [begins(), started(1), started(2), started(3)])
    write(tmp_path / WHOLE.ledger, [unknown(1, FIRST + timedelta(seconds=9))])
    places = {(key_of(1), 1), (key_of(2), 1)}
    found = parts_of_attempts(tmp_path / WHOLE.ledger, places)
    assert {place[0]: path.name for place, path in found.items()} == {
        key_of(1): "ledger.jsonl", key_of(2): "ledger.1-of-1.jsonl",
    }  # fmt: skip


def test_lost_lines_of_one_part_are_not_found_by_another(tmp_path: Path) -> None:
    """`resolve --all` settles the one; a job may stand in the lines of the other still."""
    write(tmp_path / "ledger.1-of-2.jsonl", [Salvaged(lost_lines=3, at=stamp(FIRST))])
    later = stamp(FIRST + timedelta(days=1))
    write(tmp_path / "ledger.2-of-2.jsonl", [Salvaged(lost_lines=0, at=later)])
    assert read(tmp_path / WHOLE.ledger).lost_lines == 3
    write(tmp_path / "ledger.2-of-2.jsonl", [Salvaged(lost_lines=4, at=later)])
    assert read(tmp_path / WHOLE.ledger).lost_lines == 7
    write(tmp_path / "ledger.2-of-2.jsonl", [Salvaged(lost_lines=None, at=later)])
    assert read(tmp_path / WHOLE.ledger).lost_lines is None
    shard = read_together(Reader(tmp_path / "ledger.1-of-2.jsonl"), Shard(1, 2).owns)
    assert shard.state.lost_lines is None


def test_of_one_part_its_latest_word_on_lost_lines_counts(tmp_path: Path) -> None:
    """However it is read, and anew each time."""
    path = write(tmp_path / "own.jsonl", [Salvaged(lost_lines=3), Salvaged(lost_lines=2)])
    parts = Parts.of(path)
    assert parts.lost_lines == 0
    for _ in range(2):
        assert len(list(parts.numbered())) == 2
        assert parts.lost_lines == 2
    assert read(path).lost_lines == 2
    write(path, [started(1)])
    assert len(list(parts.numbered())) == 1
    assert parts.lost_lines == 0


def test_damage_of_any_part_is_damage(tmp_path: Path) -> None:
    """A job may be paid for in what cannot be read: no shard goes on."""
    write(tmp_path / "ledger.1-of-2.jsonl", [started(1), done(1)])
    path = write(tmp_path / "ledger.2-of-2.jsonl", [started(2), done(2)])
    path.write_bytes(path.read_bytes().replace(b"0.2715321", b"0.1715321", 1) + b"\n{}\n")
    with pytest.raises(LedgerDamaged, match="2-of-2"):
        read(tmp_path / WHOLE.ledger)
    with pytest.raises(LedgerDamaged, match="2-of-2"):
        read_together(Reader(tmp_path / "ledger.1-of-2.jsonl"), Shard(1, 2).owns)


def test_a_sibling_that_writes_its_last_line_hinders_nobody(tmp_path: Path) -> None:
    """A torn end of another part is no record, and is not cut by this one."""
    path = write(tmp_path / "ledger.2-of-2.jsonl", [started(2), done(2)])
    torn = path.read_bytes()[:-40]
    path.write_bytes(torn)

    async def begin() -> None:
        own, keeps = tmp_path / "ledger.1-of-2.jsonl", Shard(1, 2).owns
        async with open_ledger(own, "run", keeps=keeps) as one:
            await one.append(started(1))

    anyio.run(begin)
    assert path.read_bytes() == torn


def test_what_is_in_flight_in_a_sibling_is_its_own(tmp_path: Path) -> None:
    """A shard that begins does not take the requests of those beside it for lost."""
    number = next(n for n in range(99) if Shard(2, 2).owns(key_of(n)))
    write(tmp_path / "ledger.2-of-2.jsonl", [started(number)])
    found = read_together(Reader(tmp_path / "ledger.1-of-2.jsonl"), Shard(1, 2).owns)
    assert not list(found.state.unanswered())
    whole = read_together(Reader(tmp_path / WHOLE.ledger))
    assert [key for key, _ in whole.state.unanswered()] == [key_of(number)]


def test_missing_parts_are_named(tmp_path: Path) -> None:
    """Of three two lie there; of another N all."""
    names = ("ledger.1-of-3.jsonl", "ledger.3-of-3.jsonl", "ledger.1-of-1.jsonl", "ledger.jsonl")
    paths = [tmp_path / name for name in names]
    assert missing_beside(paths) == [Part(3, 2)]
