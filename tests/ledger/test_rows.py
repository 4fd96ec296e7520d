"""A Job in a row of bytes: it answers what its Records would, however odd they are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from retouch.ledger import Reader, keys, read
from retouch.ledger.decision import Hold, decide
from retouch.ledger.keys import Keys
from retouch.ledger.lines import NOWHERE, Lines
from retouch.ledger.outcome import OnlyPicture, Outcome
from retouch.ledger.outcomes import Outcomes
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    Done,
    FileRecord,
    Resolved,
    Reused,
    TaskAccepted,
    Unsent,
)
from retouch.ledger.state import Replay, replay
from tests.ledger.test_compact import assert_alike
from tests.support.ledgers import TERMS, done, failed, file_of, key_of, started, unknown, write
from tests.support.lives import ERROR
from tests.support.whole_replay import replay_whole

HEX = "0123456789abcdef"
DIGESTS = [key_of(number) for number in range(40)]
ODD_KEYS = [
    "", "k", "é", "ab", DIGESTS[0].upper(), DIGESTS[1][:-2], DIGESTS[1] + "00", "0" * 63, "g" * 64,
    f"{DIGESTS[2][:2]} {DIGESTS[2][2:]}", DIGESTS[3] + " ", "0" * 64, "f" * 64,
]  # fmt: skip


@pytest.mark.parametrize("slots", [2, 4, 1 << 12])
@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*DIGESTS, *ODD_KEYS]), max_size=60))
def test_keys_are_numbered_as_they_are_met(slots: int, met: list[str]) -> None:
    """As a list of them numbers them: whatever stands in the place of a digest, each spelling of
    one for itself, and however often room is made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "_FIRST_SLOTS", slots)
        known = Keys()
        plain: list[str] = []
        for key in met:
            if key in plain:
                assert known.add(key) == -1
            else:
                assert known.add(key) == len(plain)
                plain.append(key)
            assert len(known) == len(plain)
        assert [known.key(number) for number in range(len(plain))] == plain
        for key in (*DIGESTS, *ODD_KEYS):
            number = plain.index(key) if key in plain else -1
            assert known.find(key) == number
            if len(key) == 64 and set(key) <= set(HEX):
                assert known.find_digest(bytes.fromhex(key)) == number


def test_room_that_was_made_in_time_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """For as many Keys as are to come, and few more; once there are some, none is lost by it."""
    monkeypatch.setattr(keys, "_FIRST_SLOTS", 2)
    known = Keys()
    known.expect(500)
    slots = known._slots
    assert len(slots) == 2_048
    numbers = [known.add(key_of(number)) for number in range(500)]
    known.expect(10_000)
    assert known._slots is slots
    assert [known.find(key_of(number)) for number in range(500)] == numbers == list(range(500))
    few = Keys()
    few.expect(0)
    assert len(few._slots) == 2


NAMES = (
    "images/a.png", "images/b.jpeg", "images/a.b/c", "images/no suffix", ".png", "images/.png",
    "images/x.tar.gz", "images/dot.", "images/five.abcde", "images/six.abcdef", "images/猫.webp",
)  # fmt: skip
SIZES = (0, 1, 4_000_000_000, (1 << 32) - 1, 1 << 32, 1 << 33, 1 << 40)
ATTEMPTS = (1, 1, 1, 2, 3, 254, 255, 256, 257)
ENDS = (
    "done", "done", "done", "reused", "again", "failed", "billed", "unsure", "passing", "resolved",
    "free", "sent", "unsent", "task", "unknown", "polled",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lived:
    """One Job: which Attempt decided, how that ended, and what came of it."""

    end: str
    attempt: int
    model: str
    files: tuple[FileRecord, ...]
    task: str | None
    is_begun: bool
    replaces: str | None

    def records(self, number: int) -> list[AnyRecord]:
        words: dict[str, Any] = {"attempt": self.attempt, "model": self.model}
        terms = replace(TERMS, replaces=self.replaces)
        before = [started(number, terms=terms, **words)] if self.is_begun else []
        key = {"key": key_of(number), "attempt": self.attempt}
        task: list[AnyRecord] = [TaskAccepted(task="t", **key)]  # type: ignore[arg-type]
        made = done(number, files=self.files, task=self.task, **words)
        lost = unknown(number, task=self.task, **words)
        reused = Reused(key=key_of(number), source_ledger="other", files=self.files)
        paid = AmountRecord(amount="0.1", currency="CNY")
        ends: dict[str, list[AnyRecord]] = {
            "done": [made],
            "reused": [reused],
            "again": [made, reused, replace(reused, files=self.files[::-1])],
            "failed": [failed(number, task=self.task, **words)],
            "billed": [failed(number, "yes", cost=done(1).cost, **words)],
            "unsure": [failed(number, "unknown", **words), Resolved(
                verdict="charged", amount=paid, **key)],  # type: ignore[arg-type]
            "passing": [failed(number, final=False, **words)],
            "resolved": [lost, Resolved(verdict="charged", amount=paid, **key)],  # type: ignore[arg-type]
            "free": [lost, Resolved(verdict="not_charged", **key)],  # type: ignore[arg-type]
            "sent": [],
            "unsent": [Unsent(error=ERROR, **key)],  # type: ignore[arg-type]
            "task": task,
            "unknown": [lost],
            "polled": [*task, lost],
        }  # fmt: skip
        return [*before, *(task if self.task == "t" and self.end in ("done", "failed") else ()),
                *ends[self.end]]  # fmt: skip


FILE = st.builds(
    lambda path, size: replace(file_of(0), path=path, bytes=size),
    st.sampled_from(NAMES),
    st.sampled_from(SIZES),
)
FILES = st.one_of(
    st.lists(FILE, max_size=2).map(tuple),
    st.tuples(FILE),
    st.sampled_from((255, 256)).map(lambda count: tuple(map(file_of, range(count)))),
)
LIVED = st.builds(
    Lived,
    st.sampled_from(ENDS),
    st.sampled_from(ATTEMPTS),
    st.sampled_from(("m", "n", "猫")),
    FILES,
    st.sampled_from((None, "t", "late")),
    st.booleans(),
    st.sampled_from((None, key_of(99))),
)


def placed(path: Path, records: list[AnyRecord]) -> tuple[Replay, dict[AnyRecord, bytes]]:
    """The ledger replayed, and where each of its Records stands."""
    reader, places = Reader(write(path, records)), dict[AnyRecord, bytes]()
    for record in reader:
        places[record] = reader.where(0)
    return read(path), places


@settings(max_examples=40, deadline=None)
@given(st.lists(LIVED, max_size=6))
def test_an_odd_life_answers_as_its_records_do(
    tmp_path_factory: pytest.TempPathFactory, lived: list[Lived]
) -> None:
    """Read from a file, from memory, and where each Record of it stands."""
    records = [record for number, each in enumerate(lived) for record in each.records(number)]
    path = tmp_path_factory.mktemp("rows") / "ledger.jsonl"
    state, places = placed(path, records)
    written = list(Reader(path))
    assert_alike(state, replay_whole(written))
    assert_alike(replay(written), replay_whole(written))
    for outcome in state.outcomes.values():
        assert outcome.decided_at == places[outcome.decided]
        assert outcome.began_at == (places[outcome.began] if outcome.began else NOWHERE)
        assert outcome.has_begun == (outcome.began is not None)
    for outcome in replay(written).outcomes.values():
        assert outcome.decided_at == outcome.began_at == NOWHERE


def expected_of(outcome: Outcome) -> OnlyPicture | None:
    """What its Record says of the one picture that was kept."""
    decided = outcome.decided
    if not isinstance(decided, Done | Reused) or len(decided.files) != 1:
        return None
    [file] = decided.files
    stem, dot, suffix = file.path.rpartition(".")
    if not (stem and dot) or len(suffix) > 5 or file.bytes > (1 << 32) - 1:
        return None
    return OnlyPicture(hash(stem), suffix, file.bytes)


@settings(max_examples=40, deadline=None)
@given(st.lists(LIVED, max_size=6))
def test_one_picture_is_known_without_its_record(
    tmp_path_factory: pytest.TempPathFactory, lived: list[Lived]
) -> None:
    """Its place, what follows its dot and its length, as the Record has them; asked by the bytes of
    a Key, of a Job that is done alone; what does not fit is read."""
    records = [record for number, each in enumerate(lived) for record in each.records(number)]
    path = tmp_path_factory.mktemp("rows") / "ledger.jsonl"
    state = read(write(path, records))
    for number, each in enumerate(lived):
        key, digest = key_of(number), bytes.fromhex(key_of(number))
        outcome = state.outcomes.get(key)
        fits = outcome is not None and outcome.attempt <= 255 and len(each.files) <= 255
        is_done = outcome is not None and outcome.state == "done" and fits
        assert state.outcomes.is_done(digest) == is_done
        only = expected_of(outcome) if outcome is not None and fits else None
        assert state.outcomes.only_picture(digest) == (only if is_done else None)
        if outcome is not None and outcome.state in ("done", "reused"):
            assert outcome.only_picture == only
    for known in (state.outcomes, replay(records).outcomes):
        assert not known.is_done(bytes.fromhex(key_of(77)))
        assert known.only_picture(bytes.fromhex(key_of(77))) is None


def test_each_name_and_length_of_an_only_picture(tmp_path: Path) -> None:
    """Done for the first time, again, or brought from elsewhere."""
    records: list[AnyRecord] = []
    kinds = list(product(NAMES, SIZES, ("done", "again", "reused")))
    for number, (name, size, kind) in enumerate(kinds):
        picture = (replace(file_of(number), path=name, bytes=size),)
        if kind == "reused":
            records.append(Reused(key=key_of(number), source_ledger="other", files=picture))
            continue
        attempt = 1 if kind == "done" else 2
        records += (make(number, attempt=each) for each in range(1, attempt + 1)
                    for make in (started, done))  # fmt: skip
        records[-1] = done(number, attempt=attempt, files=picture)
    state = read(write(tmp_path / "ledger.jsonl", records))
    told = 0
    for number, (_, _, kind) in enumerate(kinds):
        outcome, digest = state.outcomes[key_of(number)], bytes.fromhex(key_of(number))
        only = expected_of(outcome)
        assert outcome.only_picture == only
        assert state.outcomes.is_done(digest) == (kind != "reused")
        assert state.outcomes.only_picture(digest) == (only if kind != "reused" else None)
        told += only is not None
    assert 0 < told < len(kinds)


def test_whoever_holds_a_charge_sees_that_it_is_settled(tmp_path: Path) -> None:
    """However its Record is taken in."""
    path = write(tmp_path / "ledger.jsonl", [started(1), done(1)])
    for name in ("take", "apply"):
        state, reader = Replay(), Reader(path)
        base = state.lines.part(path)
        records = iter(reader)
        getattr(state, name)(next(records), reader.where(base))
        outcome = state.outcomes[key_of(1)]
        assert outcome.charge is not None
        standings: list[str] = [outcome.charge.standing]
        getattr(state, name)(next(records), reader.where(base))
        standings.append(outcome.charge.standing)
        assert standings == ["unknown", "settled"]
        assert not state.open_charges


@settings(max_examples=40)
@given(st.lists(LIVED, max_size=6))
def test_models_that_finished_jobs_are_of(lived: list[Lived]) -> None:
    """None is missed, and none is made up; of those whose Records stand nowhere just these."""
    records = [record for number, each in enumerate(lived) for record in each.records(number)]
    assert replay(records).outcomes.models_done() == {
        each.model for each in lived if each.end == "done"
    }


def test_models_are_known_of_rows_and_of_what_is_kept_whole(tmp_path: Path) -> None:
    """A Job done at its 300th Attempt fits no row."""
    records: list[AnyRecord] = [started(1, model="m"), done(1, model="m")]
    records += [started(2, attempt=300, model="n"), done(2, attempt=300, model="n")]
    records += [started(3, model="sent"), started(4, model="f"), failed(4, model="f")]
    state = read(write(tmp_path / "ledger.jsonl", records))
    assert state.outcomes.models_done() == {"m", "n"}
    assert [each.decided.model for each in state.outcomes.latest_done("n", 9)] == ["n"]  # type: ignore[union-attr]
    assert state.outcomes.latest_done("sent", 9) == []


@pytest.mark.parametrize("names", [255, 256, 257])
def test_many_suffixes_and_models_are_told_apart(tmp_path: Path, names: int) -> None:
    """As many as a row has room for, and more."""
    records: list[AnyRecord] = []
    for number in range(names):
        picture = replace(file_of(number), path=f"images/{number}.{number:03}")
        records += [started(number), done(number, files=(picture,), model=f"m{number}")]
    state = read(write(tmp_path / "ledger.jsonl", records))
    for number in range(names):
        outcome = state.outcomes[key_of(number)]
        assert outcome.only_picture == (expected_of(outcome) if number < 255 else None)
        assert state.outcomes.latest_done(f"m{number}", 2) == [outcome]
    assert len(state.outcomes.models_done()) == names


def test_more_models_than_a_row_has_room_for_are_kept_whole() -> None:
    """The 65,536th is no other one's."""
    lines = Lines()
    outcomes = Outcomes(lines, {})
    for number in range((1 << 16) + 2):
        outcomes._models.number(f"m{number}")
    place = b"p" * 12
    filed: list[tuple[bool, int]] = []
    for number, model in enumerate(("m65533", "m65534", "m65535", "m65537")):
        assert outcomes.begin(started(number, model=model), place)
        is_filed = outcomes.finish(done(number, model=model), place)
        filed.append((is_filed, len(outcomes.latest_done(model, 5))))
    assert filed == [(True, 1), (True, 1), (False, 0), (False, 0)]


ONE: list[AnyRecord] = [
    started(1), unknown(1, task="u"), done(1), done(1, cost=None), failed(1),
    failed(1, final=False), failed(1, "yes"), failed(1, "unknown", final=False, task="f"),
    Resolved(key=key_of(1), attempt=1, verdict="charged"),
    Resolved(key=key_of(1), attempt=1, verdict="charged",
             amount=AmountRecord(amount="0.1", currency="CNY")),
    Resolved(key=key_of(1), attempt=1, verdict="not_charged"),
    Unsent(key=key_of(1), attempt=1, error=ERROR), TaskAccepted(key=key_of(1), attempt=1, task="t"),
    Reused(key=key_of(1), source_ledger="other", files=(file_of(5),)),
]  # fmt: skip


def test_whatever_three_records_say_of_a_job_that_was_begun(tmp_path: Path) -> None:
    """Each of 2,744 sequences, also those that no run would write."""
    records: list[AnyRecord] = []
    for number, three in enumerate(product(ONE, repeat=3)):
        key = key_of(number)
        records += (replace(each, key=key) for each in (started(1), *three))
    path = write(tmp_path / "ledger.jsonl", records)
    whole = replay_whole(list(Reader(path)))
    for state in (read(path), replay(Reader(path))):
        assert len(state.outcomes) == len(whole.outcomes) == len(ONE) ** 3
        for (key, outcome), same in zip(
            state.outcomes.items(), whole.outcomes.values(), strict=True
        ):
            said = (outcome.state, outcome.attempt, outcome.task, outcome.verdict, outcome.charge)
            assert said == (same.state, same.attempt, same.task, same.verdict, same.charge)
            assert outcome.decided == same.decided
            assert outcome.began == same.began
            assert state.places(key) == whole.places(key)
            assert state.done(key) == whole.done(key)
            lost = whole.lost_attempts(key)
            assert state.lost_attempts(key) == lost
            assert decide(key, outcome, lost=lost) == decide(key, same, lost=lost)  # type: ignore[arg-type]
        assert [key for key, _ in state.held()] == [
            key for key, each in whole.outcomes.items()
            if isinstance(decide(key, each, lost=whole.lost_attempts(key)), Hold)  # type: ignore[arg-type]
        ]  # fmt: skip
        assert list(state.unsettled()) == [
            charge
            for charge in whole.open_charges.values()
            if charge.standing in ("unknown", "uncounted")
            if not whole.outcomes[charge.key].is_polled
            or whole.outcomes[charge.key].attempt != charge.attempt
        ]
        assert state.totals == whole.totals
        assert state.counts() == whole.counts()
        assert +state.place_counts() == +whole.place_counts()
        assert state.tasks_out == whole.tasks_out


@pytest.mark.parametrize("task", [None, "t"])
@pytest.mark.parametrize("attempt", [1, 2])
def test_a_result_is_of_the_attempt_that_it_names(
    tmp_path: Path, attempt: int, task: str | None
) -> None:
    """Whichever was begun; it says its Task itself."""
    records: list[AnyRecord] = [started(1), done(1, attempt=attempt, task=task)]
    state = read(write(tmp_path / "ledger.jsonl", records))
    outcome = state.outcomes[key_of(1)]
    assert (outcome.attempt, outcome.task) == (attempt, task)
    assert set(state.open_charges) == ({(key_of(1), 1)} if attempt == 2 else set())
    assert_alike(state, replay_whole(list(Reader(tmp_path / "ledger.jsonl"))))


def test_an_outcome_is_equal_to_what_says_the_same() -> None:
    """Whoever holds it; and to nothing else. It has no hash, for it changes."""
    records: list[AnyRecord] = [started(1), done(1)]
    one, other = (replay(records).outcomes[key_of(1)] for _ in range(2))
    assert one == other
    assert one != replay(records[:1]).outcomes[key_of(1)]
    for what in (None, "done", one._parts(), records[1]):
        assert one != what
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)
    assert repr(one).startswith("Outcome('done', 1, Done(")


def test_an_outcome_of_no_ledger_has_no_record_to_be_read() -> None:
    """Its maker gave none: an error of the program, and said so."""
    with pytest.raises(ValueError, match="an outcome without its record"):
        assert Outcome("done", 1, None).decided
    fresh = Outcome("done", 1, done(1))
    assert (fresh.decided_at, fresh.began_at, fresh.number) == (NOWHERE, NOWHERE, -1)
