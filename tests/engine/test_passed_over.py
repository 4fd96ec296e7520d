"""What a run does not send: what earlier runs and other ledgers left is told, held, taken over and
delivered, each with a Record that can be read alone. In virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from retouch.engine.budget import Cap, Purse
from retouch.engine.selection import Reuse
from retouch.engine.summary import RunOptions
from retouch.errors import Interrupted, StorageFailed, WorkRefused
from retouch.job import Job
from retouch.ledger import Ledger
from retouch.ledger.decision import Hold, Redo, Skip
from retouch.ledger.records import AnyRecord, Reused, Started, Unknown
from retouch.manifest import Limits, RunSettings
from retouch.money import Money
from retouch.transport import LATE_SECONDS
from tests.support.ledgers import begins, started, words_of, write
from tests.support.provider import Mishap, Provider
from tests.support.workbench import CANARY, GEMINI, KLING, Bench, TestLane, filed, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]
ONE = Limits(concurrency=1)


def says(record: AnyRecord, job: Job) -> bool:
    """Whether a Record says whose it is."""
    return {name: getattr(record, name) for name in words_of(job)} == words_of(job)


def lose_the_ledger(folder: Path) -> None:
    for path in folder.glob("ledger.jsonl*"):
        path.unlink()


@pytest.mark.parametrize(("count", "said"), [(1, "1 request of"), (3, "3 requests of")])
async def test_a_request_that_was_never_answered_is_unknown_at_its_own_ceiling(
    in_memory: Path, count: int, said: str
) -> None:
    """Before anything is sent: with the ceiling on record, told once, held, and not told again."""
    work, given = Bench(in_memory, Provider()), lane(GEMINI, count)
    lost = [started(0, **words_of(job), attempt=2) for job in given.all_jobs]
    write(in_memory / "ledger.jsonl", [begins(), *lost])
    summary = await work.run([given])
    found = work.records_of(Unknown)
    assert all(says(record, job) for record, job in zip(found, given.all_jobs, strict=True))
    assert {(each.attempt, each.error.kind, each.task) for each in found} == {(2, "network", None)}
    assert [each.ceiling for each in found] == [each.ceiling for each in lost]
    assert "no answer on file" in found[0].error.message
    [text] = work.observer.texts
    assert text.startswith(f"{said} an earlier run had no answer")
    assert (summary.passed, summary.exit_code) == (Counter(held=count), 1)
    assert not work.provider.posts
    await work.run([given])
    assert (len(work.observer.texts), len(work.records_of(Unknown))) == (1, count)


async def test_pictures_that_no_record_names_are_held_and_written_down_once(
    in_memory: Path,
) -> None:
    """The ledger is older than the pictures: nothing is bought, each is on file as unknown at
    today's ceiling, and its key named by hand buys it anew."""
    work, given = Bench(in_memory, Provider()), lane(KLING, 2)
    await work.run([given])
    lose_the_ledger(in_memory)
    summary = await work.run([given])
    found = work.records_of(Unknown)
    assert all(says(record, job) for record, job in zip(found, given.all_jobs, strict=True))
    assert [(each.attempt, each.error.kind, each.error.code) for each in found] == [
        (1, "broken_reply", "older_copy")
    ] * 2
    assert [each.ceiling and each.ceiling.amount for each in found] == ["0.200000"] * 2
    assert "is this ledger an older copy?" in found[0].error.message
    assert (summary.passed, summary.exit_code) == (Counter(held=2), 1)
    assert work.observer.choices[-2:] == [Hold(1, "older_copy", is_news=True)] * 2
    await work.run([given])
    assert (len(work.records_of(Unknown)), len(work.provider.posts)) == (2, 2)
    key = given.all_jobs[0].key
    await work.run([given], redo=Redo(keys=frozenset([key])))
    assert len(work.provider.posts) == 3


async def test_what_cannot_be_written_of_a_picture_that_was_found_stops_the_run(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes no line takes no request either."""
    work, given = Bench(in_memory, Provider()), lane(KLING, 2)
    await work.run([given])
    lose_the_ledger(in_memory)

    async def full(*_: object) -> None:
        raise StorageFailed("no room")

    monkeypatch.setattr(Ledger, "append", full)
    summary = await work.run([given, lane(GEMINI, 2)])
    assert summary.exit_code == 5
    assert not summary.passed["held"]
    assert len(work.provider.posts) == 2


def moved(given: TestLane, folder: str = "moved") -> TestLane:
    """The same Jobs, whose pictures are wanted in another place."""
    jobs = (replace(job, output=f"{folder}/{job.output}") for job in given.all_jobs)
    return replace(given, all_jobs=tuple(jobs))


async def test_what_is_done_elsewhere_in_this_ledger_is_delivered_with_its_attempt(
    in_memory: Path,
) -> None:
    """A manifest that wants its pictures under other names: free, and on file with the number of
    the Attempt that was paid for, its source and its lane; then it is done there, too."""
    (in_memory / "out").mkdir()
    work = Bench(in_memory / "out", Provider(mishaps=[Mishap(503)]))
    given = lane(GEMINI, 1, file=filed(in_memory))
    jobs = tuple(replace(job, lane="studio") for job in given.all_jobs)
    given = replace(given, all_jobs=jobs)
    await work.run([given])
    summary = await work.run([moved(given)])
    [reused], [job] = work.records_of(Reused), jobs
    assert says(reused, job)
    assert (reused.attempt, reused.source_ledger, reused.lane) == (2, "ledger.jsonl", "studio")
    picture = job.source.picture
    assert (f"sha256:{reused.source_sha256}", reused.source_bytes) == (
        picture.digest,
        picture.bytes,
    )
    [file] = reused.files
    assert file.path.startswith("moved/images/")
    there = work.folder / file.path
    assert there.read_bytes() == (work.folder / file.path.removeprefix("moved/")).read_bytes()
    assert (summary.passed, summary.exit_code) == (Counter(reused=1), 0)
    assert isinstance(work.observer.choices[-1], Reuse)
    again = await work.run([moved(given)])
    assert sum(again.passed.values()) == 1
    assert (len(work.records_of(Reused)), len(work.provider.book)) == (1, 1)


async def two_shelves(folder: Path) -> tuple[Bench, Provider]:
    """A manifest that reuses two ledgers which have done the same Job."""
    provider = Provider()
    for name in ("first", "second", "third"):
        (folder / name).mkdir()
        if name != "third":
            await Bench(folder / name, provider).run([lane(GEMINI, 1)])
    shelves = ("../first/ledger.jsonl", "../second/ledger.jsonl")
    return Bench(folder / "third", provider, reuse=shelves), provider


def spoil(folder: Path) -> None:
    """Other bytes in place of the picture, as many."""
    [path] = (folder / "images").rglob("*.png")
    path.write_bytes(bytes(path.stat().st_size))


async def test_where_the_first_shelf_was_changed_the_next_one_is_taken(in_memory: Path) -> None:
    """Whose bytes are what its ledger says; on file with its name, as paid for elsewhere."""
    work, provider = await two_shelves(in_memory)
    spoil(in_memory / "first")
    summary = await work.run([lane(GEMINI, 1)])
    [reused] = work.records_of(Reused)
    assert (reused.source_ledger, reused.attempt) == ("../second/ledger.jsonl", 0)
    assert (summary.passed, len(provider.posts)) == (Counter(reused=1), 2)
    taken = (work.folder / reused.files[0].path).read_bytes()
    assert taken == next((in_memory / "second" / "images").rglob("*.png")).read_bytes()


async def test_where_every_shelf_was_changed_it_is_said_and_not_bought(in_memory: Path) -> None:
    """By the first one's name and with what to do; `--redo missing` buys it."""
    work, provider = await two_shelves(in_memory)
    spoil(in_memory / "first")
    spoil(in_memory / "second")
    summary = await work.run([lane(GEMINI, 1)])
    assert (summary.passed, summary.exit_code) == (Counter(failed=1), 1)
    assert work.observer.choices == [Skip("failed")]
    [text] = work.observer.texts
    assert text.startswith("0.png: its pictures in ")
    assert "../first/ledger.jsonl" in text
    assert "--redo missing" in text
    assert (work.records_of(Reused), len(provider.posts)) == ([], 2)
    (in_memory / "first" / "images").rename(in_memory / "gone-1")
    (in_memory / "second" / "images").rename(in_memory / "gone-2")
    assert (await work.run([lane(GEMINI, 1)], redo=Redo(missing=True))).exit_code == 0
    assert len(provider.posts) == 3


@dataclass(frozen=True, slots=True)
class TwoPlaces(TestLane):
    """Each Job is wanted in a second place, too."""

    def copies(self) -> Iterator[Job]:
        return iter(moved(self, "too").all_jobs)


def in_two_places(given: TestLane) -> TwoPlaces:
    return TwoPlaces(given.model, given.capabilities, given.all_jobs)


async def test_what_is_wanted_in_two_places_is_paid_for_once(in_memory: Path) -> None:
    """The second is delivered in the same run, and is there for the next one."""
    work, given = Bench(in_memory, Provider()), in_two_places(lane(GEMINI, 2))
    summary = await work.run([given])
    assert (summary.ended, summary.passed) == (Counter(done=2), Counter(reused=2))
    assert [each.attempt for each in work.records_of(Reused)] == [1, 1]
    assert len(list((in_memory / "too").rglob("*.png"))) == 2
    again = await work.run([given])
    assert again.passed == Counter(done=2, reused=2)
    assert (len(work.provider.book), len(work.records_of(Reused))) == (2, 2)


async def test_further_places_are_filled_though_money_ran_out_and_not_after_ctrl_c(
    in_memory: Path,
) -> None:
    """Free, so a budget does not keep them; whoever pressed Ctrl-C wants to go."""
    work, given = Bench(in_memory, Provider(seconds=1.0)), in_two_places(lane(KLING, 3, limits=ONE))
    cap = Cap("the budget", Money(Decimal("0.45"), "CNY"))
    summary = await work.run([given], budget=Purse([cap]))
    assert (summary.exit_code, summary.passed) == (6, Counter(reused=2))
    other = Bench(in_memory / "other", Provider(seconds=1.0))
    (in_memory / "other").mkdir()
    summary = await other.stopped(6, [given])
    assert summary.ended["done"] >= 1
    assert not summary.passed


async def test_a_disk_that_is_full_stops_what_is_delivered(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that takes no copy: exit 5, and nothing is sent in its place."""
    work, given = Bench(in_memory, Provider()), lane(GEMINI, 2)
    await work.run([given])
    (in_memory / "moved").write_text("in the way")
    summary = await work.run([moved(given)])
    assert (summary.exit_code, len(work.provider.posts)) == (5, 2)
    assert not work.records_of(Reused)


async def test_how_much_is_in_flight_and_how_long_it_may_take_is_known(in_memory: Path) -> None:
    """What Ctrl-C tells: nothing before, those that are out, nothing after."""
    work = Bench(in_memory, Provider(seconds=10.0), RunSettings(timeout=77.0))
    seen: list[int] = []
    async with anyio.create_task_group() as group:

        async def look() -> None:
            for moment in (5.0, 10.0):
                await anyio.sleep(moment)
                assert work.batch is not None
                seen.append(work.batch.in_flight)

        group.start_soon(look)
        await work.run([lane(GEMINI, 5, limits=Limits(concurrency=3))])
    assert work.batch is not None
    assert (seen, work.batch.in_flight) == ([3, 2], 0)
    assert work.batch.longest_wait_seconds == 77.0 + LATE_SECONDS


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (WorkRefused(f"no money: {CANARY}"), 1),
        (Interrupted("interrupted"), 0),  # who pressed it is told by the command
    ],
)
async def test_a_stop_says_once_that_what_is_in_flight_is_waited_for(
    in_memory: Path, reason: WorkRefused | Interrupted, said: int
) -> None:
    """The first reason is the one that counts; without the key, and only where something is out."""
    work = Bench(in_memory, Provider(seconds=10.0))
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            await anyio.sleep(5)
            assert work.batch is not None
            work.batch.stop(reason)
            work.batch.stop(WorkRefused("another"))

        group.start_soon(stop)
        summary = await work.run([lane(GEMINI, 2), lane(KLING, 1)])
    assert summary.stopped is reason
    assert summary.lane_stops == {}
    texts = [text for text in work.observer.texts if "ending what is in flight" in text]
    assert len(texts) == said
    assert not any(CANARY in text for text in work.observer.texts)


async def test_a_lane_is_stopped_by_its_name_and_the_others_go_on(in_memory: Path) -> None:
    """With its reason, which is not the run's."""
    work = Bench(in_memory, Provider(seconds=10.0, task_seconds=1.0))
    reason = WorkRefused("enough of it")
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            await anyio.sleep(5)
            assert work.batch is not None
            work.batch.stop_lane(GEMINI, reason)

        group.start_soon(stop)
        summary = await work.run([lane(GEMINI, 6, limits=ONE), lane(KLING, 4, limits=ONE)])
    assert (summary.stopped, summary.lane_stops) == (None, {GEMINI: reason})
    assert Counter(charge.model for charge in work.provider.book) == {GEMINI: 1, KLING: 4}


async def test_the_deadline_is_told_with_its_seconds(in_memory: Path) -> None:
    """And what is in flight when it comes is waited for."""
    work = Bench(in_memory, Provider(seconds=30.0))
    options = RunOptions(deadline_seconds=20.0, seed=1)
    summary = await work.run([lane(GEMINI, 2, limits=ONE)], run_options=options)
    assert summary.stopped is not None
    assert summary.stopped.message == "the deadline of 20 s has come"
    assert summary.ended == Counter(done=1)


async def test_each_prompt_is_kept_before_it_is_sent(in_memory: Path) -> None:
    """What cannot be kept is not sent: exit 5, nothing at the server, nothing on file."""
    kept: list[str] = []
    work = Bench(in_memory, Provider(), keep_text=kept.append)
    given = lane(GEMINI, 3, file=filed(in_memory))
    await work.run([given])
    assert Counter(kept) == Counter(job.prompt.text for job in given.all_jobs)

    def full(_: str) -> None:
        raise StorageFailed("no room")

    (in_memory / "other").mkdir()
    other = Bench(in_memory / "other", Provider(), keep_text=full)
    summary = await other.run([given])
    assert (summary.exit_code, sum(summary.ended.values())) == (5, 0)
    assert not other.provider.posts
    assert not other.records_of(Started)


async def test_a_line_that_cannot_be_written_stops_the_run_before_anything_is_sent(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`started` is durable before the first byte, or there is no first byte."""

    async def full(*_: object) -> None:
        raise StorageFailed("no room")

    monkeypatch.setattr(Ledger, "append", full)
    work = Bench(in_memory, Provider())
    summary = await work.run([lane(GEMINI, 20)])
    assert summary.exit_code == 5
    assert summary.ended.keys() == {"stopped"}
    assert not work.provider.seen
