"""What is kept of a Job that has ended: little, and it answers as its Records would."""

from __future__ import annotations

import gc
import hashlib
import os
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from retouch.errors import LedgerDamaged, StorageFailed
from retouch.ledger import Reader, last_attempts, open_ledger, read
from retouch.ledger.decision import NOTHING_REDONE, Hold, Poll, Redo, decide
from retouch.ledger.outcome import Outcome
from retouch.ledger.reading import take_in
from retouch.ledger.records import AnyRecord, Done, FileRecord, Reused, TermsRecord
from retouch.ledger.state import Replay, open_keys
from tests.support.busy_ledger import busy
from tests.support.ledgers import done, failed, file_of, key_of, many, started, write
from tests.support.lives import Teller
from tests.support.whole_replay import WholeOutcome, WholeReplay, replay_whole

REDOS = (
    NOTHING_REDONE,
    Redo(unknown=True),
    Redo(failed=True),
    Redo(again=1),
    Redo(missing=True),
)


def assert_alike(state: Replay, whole: WholeReplay) -> None:
    """Every question is answered as by whole Records."""
    keys = list(whole.outcomes)
    assert list(state.outcomes) == keys
    assert len(state.outcomes) == len(keys)
    assert all(key in state.outcomes for key in keys)
    assert len(state.outcomes.items()) == len(state.outcomes.values()) == len(keys)
    assert all((key, state.outcomes[key]) in state.outcomes.items() for key in keys[:9])
    assert [state.outcomes.number(key) for key in keys] == list(range(len(keys)))
    for other in ("nobody", None, 7):
        assert other not in state.outcomes
    assert state.outcomes.get("nobody") is None
    assert state.outcomes.get("nobody", "nothing") == "nothing"
    assert state.outcomes.number("nobody") == -1
    with pytest.raises(KeyError, match="nobody"):
        state.outcomes["nobody"]
    assert not state.is_delivered("nobody")
    for (key, outcome), same in zip(state.outcomes.items(), state.outcomes.values(), strict=True):
        assert_same(key, outcome, whole.outcomes[key], state, whole)
        assert same == outcome == state.outcomes[key]
    assert state.counts() == whole.counts()
    assert +state.place_counts() == +whole.place_counts()
    assert state.tasks_out == whole.tasks_out
    assert [key for key, _ in state.unanswered()] == [key for key, _ in whole.unanswered()]
    recorded = state.recorded_paths()
    assert all(path in recorded for path in whole.recorded_paths())
    assert "images/nothing like it.png" not in recorded
    assert state.totals == whole.totals
    assert state.observed == whole.observed
    assert (state.runs, state.last_run, state.last_end) == (
        whole.runs, whole.last_run, whole.last_end,
    )  # fmt: skip
    assert state.open_charges == whole.open_charges
    assert {key: state.accepted[key] for key in state.accepted} == {
        key: whole.accepted[key] for key in state.accepted
    }
    assert_lists_alike(state, whole)


def assert_same(
    key: str, outcome: Outcome, same: WholeOutcome, state: Replay, whole: WholeReplay
) -> None:
    assert (outcome.state, outcome.attempt) == (same.state, same.attempt)
    for redo in REDOS:  # before any Record was read back
        lost = whole.lost_attempts(key)
        assert state.lost_attempts(key) == lost
        assert decide(key, outcome, redo, lost) == decide(key, same, redo, lost)  # type: ignore[arg-type]
    assert outcome.has_files == bool(same.files)
    assert outcome.is_polled == same.is_polled
    assert outcome.verdict == same.verdict
    only = outcome.only_picture
    if only is not None:
        [file] = same.files
        assert (file.path.rpartition(".")[2], file.bytes) == (only.suffix, only.bytes)
        assert hash(file.path.rpartition(".")[0]) == only.stem_hash
    assert (outcome.decided, outcome.began) == (same.decided, same.began)
    assert (outcome.task, outcome.charge) == (same.task, same.charge)
    assert outcome.files == same.files
    assert state.done(key) == whole.done(key)
    assert state.places(key) == whole.places(key)
    assert state.is_delivered(key) == (key in whole.delivered)
    if outcome.is_polled:
        assert key in state.accepted or key not in whole.accepted


def assert_lists_alike(state: Replay, whole: WholeReplay) -> None:
    for redo in REDOS:
        held = [
            key
            for key, outcome in whole.outcomes.items()
            if isinstance(decide(key, outcome, redo, whole.lost_attempts(key)), Hold)  # type: ignore[arg-type]
        ]
        assert [key for key, _ in state.held(redo)] == held
    kinds = {key: decide(key, each) for key, each in whole.outcomes.items()}  # type: ignore[arg-type]
    assert list(open_keys(state).items()) == [
        (key, each) for key, each in kinds.items() if isinstance(each, Poll | Hold)
    ]
    for name in ("failed", "reused", "sent", "done", "resolved"):
        ours = [key for key, _ in state.outcomes.of_state(name)]
        assert ours == [key for key, each in whole.outcomes.items() if each.state == name]
    assert state.outcomes.replaced() == whole.replaced()
    models = {getattr(each.decided, "model", "") for each in whole.outcomes.values()}
    for model in models - {""}:
        for count in (1, 5, 10_000):
            ours_done = [each.decided for each in state.outcomes.latest_done(model, count)]
            assert ours_done == [each.decided for each in whole.latest_done(model, count)]
    for words, terms in whole.asking().items():
        assert [each.terms for each in state.outcomes.asking(*words)] == terms
    assert list(state.outcomes.asking("m", "p", "nothing like it")) == []


def replayed(path: Path, records: list[AnyRecord]) -> Replay:
    return read(write(path, records))


@pytest.mark.parametrize("seed", range(4))
def test_a_busy_ledger_answers_as_whole_records_do(tmp_path: Path, seed: int) -> None:
    """Every way an Attempt can end, over many models: replayed from a file, and from memory."""
    records = list(busy(300, seed))
    path = write(tmp_path / "ledger.jsonl", records)
    written = list(Reader(path))
    assert_alike(read(path), replay_whole(written))


@pytest.mark.parametrize("seed", range(20))
def test_random_lives_answer_as_whole_records_do(tmp_path: Path, seed: int) -> None:
    """Jobs done, redone, delivered, held, settled and corrected in any legal order; Keys that are
    digests and one that is none."""
    teller, chance = Teller([*(key_of(number) for number in range(7)), "k"]), random.Random(seed)
    for _ in range(chance.choice((20, 80, 200))):
        teller.random_step(chance)
    path = write(tmp_path / "ledger.jsonl", teller.records)
    assert_alike(read(path), replay_whole(list(Reader(path))))


def test_rejected_pictures_replacements_are_known(tmp_path: Path) -> None:
    terms = TermsRecord(input="0" * 12, prompt="1" * 12, options="2" * 12, replaces=key_of(0))
    records: list[AnyRecord] = [started(0), done(0), started(1, terms=terms)]
    records += [done(1), failed(2), started(3)]
    path = write(tmp_path / "ledger.jsonl", records)
    state = read(path)
    assert state.outcomes.replaced() == {key_of(0)}
    assert_alike(state, replay_whole(list(Reader(path))))


def odd_files() -> Iterator[FileRecord]:
    """What does not fit into a row, or only just."""
    plain = file_of(0)
    for path in ("images/no suffix", "images/.png", ".png", "images/a.b/c", "images/x.verylong",
                 'images/"quoted" \\ and ünlike.png', "images/x.7z"):  # fmt: skip
        yield FileRecord(
            **{name: getattr(plain, name) for name in plain.__struct_fields__} | {"path": path}
        )
    yield FileRecord(
        **{name: getattr(plain, name) for name in plain.__struct_fields__} | {"bytes": 1 << 40}
    )


def test_odd_jobs_are_kept_whole_and_answer_alike(tmp_path: Path) -> None:
    """Hundreds of attempts, of pictures and of models; paths of every kind; huge files."""
    records: list[AnyRecord] = []
    for number, file in enumerate(odd_files()):
        records += [started(number), done(number, files=(file,))]
    records += [started(50, attempt=300), done(50, attempt=300)]
    records += [started(51), done(51, files=tuple(map(file_of, range(300))))]
    records += [started(52), done(52, files=())]
    records += [done(53)]  # nothing began it
    path = write(tmp_path / "ledger.jsonl", records)
    state = read(path)
    assert_alike(state, replay_whole(list(Reader(path))))


def test_a_job_that_has_ended_is_kept_in_250_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 8,000 Jobs to 16,000; `make bench ARGS=scale` says it of a million."""
    monkeypatch.setattr(last_attempts, "LATEST", 1_000)  # what it holds is no growth
    reader, state = Reader(write(tmp_path / "ledger.jsonl", many(16_000))), Replay()
    base = state.lines.part(reader.path)
    kept = []
    tracemalloc.start()
    for number, record in enumerate(reader, 1):
        state.apply(record, reader.where(base))
        if number % 16_000 == 0:
            gc.collect()
            kept.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert len(state.outcomes) == 16_000
    assert kept[1] - kept[0] <= 250 * 8_000


@pytest.mark.anyio
async def test_a_run_that_grows_keeps_250_bytes_of_a_job_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer's own state, while it writes; and it answers as the file replayed does."""
    path = tmp_path / "ledger.jsonl"
    monkeypatch.setattr(last_attempts, "LATEST", 1_000)  # what it holds is no growth
    kept = []
    async with open_ledger(path, "run-1") as ledger:
        for begin in range(0, 6_000, 2_000):
            for few in range(begin, begin + 2_000, 250):  # the last group is held by its thread
                await ledger.append(*(started(number) for number in range(few, few + 250)))
                await ledger.append(*(done(number) for number in range(few, few + 250)))
            gc.collect()
            if not tracemalloc.is_tracing():
                tracemalloc.start()
            kept.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert_alike(ledger.state, replay_whole(list(Reader(path))))
    assert kept[2] - kept[1] <= 2_000 * 250


def test_a_record_that_was_changed_since_it_was_replayed_is_damage(tmp_path: Path) -> None:
    """In place and of the same length; whatever is asked that needs it says so, with the line."""
    path = tmp_path / "ledger.jsonl"
    state = replayed(path, [started(0), done(0), started(1), done(1)])
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"sha256":"0', b'"sha256":"1'))
    key = key_of(1)
    questions: tuple[Callable[[], object], ...] = (
        lambda: state.outcomes[key].files,
        lambda: state.outcomes[key].decided,
        lambda: state.done(key),
        lambda: state.places(key),
    )
    for ask in questions:
        with pytest.raises(LedgerDamaged, match=r"ledger\.jsonl:4: was changed"):
            ask()
    assert state.outcomes[key_of(1)].began is not None  # its own line is as it was


def test_every_place_of_a_job_is_read_back_from_the_ledger(tmp_path: Path) -> None:
    """None of them is kept: where the ledger was emptied, nothing answers."""
    path = tmp_path / "ledger.jsonl"
    records: list[AnyRecord] = [
        Reused(key=key_of(number), source_ledger="other", files=(file_of(10 * number + at),))
        for number in (1, 2)
        for at in (1, 2, 3)
    ]
    state = replayed(path, records)
    path.write_bytes(b"")
    for number in (1, 2):
        with pytest.raises(LedgerDamaged):
            state.places(key_of(number))
    assert len(state.recorded_paths()) == 0


CHANGES: list[tuple[str, Callable[[Path], object]]] = [
    ("cut", lambda path: os.truncate(path, 700)),
    ("emptied", lambda path: path.write_bytes(b"")),
    ("replaced by another", lambda path: write(path, [started(5), done(5)] * 4)),
    ("shifted by a byte", lambda path: path.write_bytes(b" " + path.read_bytes())),
]


@pytest.mark.parametrize(("what", "change"), CHANGES, ids=[what for what, _ in CHANGES])
def test_a_ledger_changed_underneath_never_answers(
    tmp_path: Path, what: str, change: Callable[[Path], object]
) -> None:
    path = tmp_path / "ledger.jsonl"
    state = replayed(path, [started(0), done(0), started(1), done(1)])
    change(path)
    with pytest.raises(LedgerDamaged):
        state.done(key_of(1))
    path.unlink()
    with pytest.raises(StorageFailed, match="gone"):
        state.done(key_of(1))


def test_an_offset_that_names_another_whole_record_is_damage(tmp_path: Path) -> None:
    """Known from a log that was rewritten under its index, where a stored offset then named
    another record, which still parsed (matrixarkai/TemporalStore#59)."""
    path = tmp_path / "ledger.jsonl"
    state = replayed(path, [started(1), done(1), started(2), done(2), started(3), done(3)])
    lines = path.read_bytes().splitlines(keepends=True)
    assert len({len(line) for line in lines[1::2]}) == 1
    lines[1], lines[3] = lines[3], lines[1]
    path.write_bytes(b"".join(lines))
    with pytest.raises(LedgerDamaged, match=r"ledger\.jsonl:2: was changed"):
        state.done(key_of(1))
    with pytest.raises(LedgerDamaged, match=r"ledger\.jsonl:4: was changed"):
        state.done(key_of(2))
    assert state.done(key_of(3)) is not None


def test_a_record_longer_than_what_is_read_at_once_is_read_whole(tmp_path: Path) -> None:
    """Known from a scan of 4 kB that never widened, and cut off what was longer
    (tontinton/maki#581): first, last and between short ones, also without its newline."""
    path = tmp_path / "ledger.jsonl"
    sizes = (3, 4_000, 9_000, 300_000, 2_500_000, 5)
    records: list[AnyRecord] = []
    for number, size in enumerate(sizes):
        records += [started(number), done(number, warnings=("x" * size,))]
    write(path, [*records, started(9), done(9, warnings=("y" * 70_000,))])
    path.write_bytes(path.read_bytes()[:-1])
    state = read(path)
    for _ in range(2):
        for number in random.Random(3).sample(range(len(sizes)), len(sizes)):
            found = state.done(key_of(number))
            assert found is not None
            assert found.warnings == ("x" * sizes[number],)
    last = state.done(key_of(9))
    assert last is not None
    assert last.warnings == ("y" * 70_000,)


@pytest.mark.parametrize("seed", range(2))
def test_duckdb_counts_the_same_jobs(tmp_path: Path, seed: int) -> None:
    """The last line about each Job, by a program nobody here wrote, and the pictures that count."""
    path = write(tmp_path / "ledger.jsonl", busy(2_000, seed))
    state = read(path)
    last = (
        "select event, count(*) from (select key, arg_max(event, n) as event from (select *, "
        "row_number() over () as n from read_json(?, format = 'newline_delimited', "
        "union_by_name = true)) where key is not null group by key) group by event"
    )
    said = dict(duckdb.execute(last, [str(path)]).fetchall())
    names = {"started": "sent"}
    assert state.counts() == {names.get(event, event): count for event, count in said.items()}
    kept = sum(outcome.has_files for outcome in state.outcomes.values())
    assert kept == said["done"] + said["reused"]


def test_a_torn_end_hides_nothing_and_names_nothing(tmp_path: Path) -> None:
    """What stands before it is read back; a path in it is not on record."""
    records: list[AnyRecord] = [started(0), done(0), started(1), done(1)]
    path = write(tmp_path / "ledger.jsonl", records)
    text = path.read_bytes()
    for cut in (1, 40, 300, 560):
        path.write_bytes(text[:-cut])
        state = read(path)
        stands = 1 if cut == 1 else 0  # the newline alone is missing: the line is whole
        assert state.done(key_of(0)) is not None
        assert (state.done(key_of(1)) is not None) == bool(stands)
        recorded = state.recorded_paths()
        assert "images/0.png" in recorded
        assert ("images/1.png" in recorded) == bool(stands)
        assert len(recorded) == 1 + stands
        if stands:
            assert_alike(state, replay_whole(list(Reader(path))))


@pytest.mark.parametrize("seed", range(4))
def test_several_parts_are_one_state(tmp_path: Path, seed: int) -> None:
    """Each Job's Records in one part, as shards write them; and what ended in one goes on in the
    next."""
    records = list(busy(120, seed))
    parts: list[list[AnyRecord]] = [[], [], []]
    for record in records:
        key = getattr(record, "key", None)
        parts[0 if key is None else int(key[:8], 16) % 3].append(record)
    paths = [write(tmp_path / f"{at}.jsonl", part) for at, part in enumerate(parts)]
    paths.append(write(tmp_path / "3.jsonl", _going_on(records)))
    state = Replay()
    for path in paths:
        take_in(Reader(path), state)
    whole = replay_whole([record for path in paths for record in Reader(path)])
    assert_alike(state, whole)


def _going_on(records: list[AnyRecord]) -> Iterator[AnyRecord]:
    """Every finished Job delivered to one more place, and every tenth done again."""
    finished = [each for each in records if isinstance(each, Done)]
    for number, each in enumerate(finished):
        yield Reused(key=each.key, source_ledger="ledger.jsonl", files=(file_of(10_000 + number),))
        if number % 10 == 0:
            yield started(0, key=each.key, attempt=9)
            yield done(0, key=each.key, attempt=9)


@pytest.mark.anyio
async def test_what_a_writer_has_just_appended_is_read_back(tmp_path: Path) -> None:
    """Lazily, from a file that grows: also what lies beyond what was read ahead."""
    path = tmp_path / "ledger.jsonl"
    async with open_ledger(path, "run-1") as ledger:
        for number in range(300):
            await ledger.append(started(number))
            await ledger.append(done(number))
            for earlier in {number, number // 2, 0}:
                found = ledger.state.done(key_of(earlier))
                assert found is not None
                assert found.key == key_of(earlier)


@pytest.mark.anyio
async def test_a_ledger_that_was_lost_is_read_from_the_copy_it_goes_on_in(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    async with open_ledger(path, "run-1") as ledger:
        await ledger.append(started(0), started(1))
        await ledger.append(done(0))
        path.rename(tmp_path / "elsewhere.jsonl")
        write(path, [started(7), done(7)] * 3)
        await ledger.append(done(1))
        assert ledger.taken is not None
        for number in (0, 1):
            found = ledger.state.done(key_of(number))
            assert found is not None
            assert found.key == key_of(number)


def test_alike_hashes_are_told_apart_by_the_whole_key(tmp_path: Path) -> None:
    """More Keys than slots were made for at first."""
    path = tmp_path / "ledger.jsonl"
    state = replayed(path, list(many(5_000)))
    assert list(state.outcomes) == [key_of(number) for number in range(5_000)]
    for number in range(5_000):
        assert state.outcomes[key_of(number)].number == number
        assert hashlib.sha256(key_of(number).encode()).hexdigest() not in state.outcomes
