"""What a run would do about a Job, for each way in which ledger, disk, other ledgers and the user's
words may stand: nothing that may have been paid for is sent without his word."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from retouch.engine.outputs import Outputs
from retouch.engine.selection import (
    Changes,
    Choice,
    LaneCount,
    Reuse,
    Selection,
    open_shelves,
    tally,
)
from retouch.job import Job, Prompt
from retouch.ledger import read
from retouch.ledger.decision import Hold, HoldRejected, Poll, Redo, Send, Skip
from retouch.ledger.on_file import JobOnFile
from retouch.ledger.records import (
    AnyRecord,
    Done,
    ErrorRecord,
    FileRecord,
    Resolved,
    Reused,
    Salvaged,
    TaskAccepted,
)
from retouch.ledger.terms import terms_of
from tests.support.ledgers import begins, done, failed, started, unknown, write
from tests.support.provider import png
from tests.support.workbench import GEMINI, lane

PICTURE = png("kept")
[JOB] = lane(GEMINI, 1).all_jobs
WORDS: dict[str, Any] = {
    "key": JOB.key, "model": JOB.model, "prompt": JOB.prompt.id, "source": JOB.source.name
}  # fmt: skip
BEGUN = started(0, terms=terms_of(JOB), **WORDS)
AT_HOME = f"{JOB.output_path(0)}.png"


def kept(folder: Path, path: str = AT_HOME, *, is_there: bool = True) -> FileRecord:
    """A picture on record, which lies there or is gone."""
    if is_there:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(PICTURE)
    return FileRecord(
        path=path,
        sha256=hashlib.sha256(PICTURE).hexdigest(),
        bytes=len(PICTURE),
        media_type="image/png",
        width=8,
        height=8,
    )


def is_done(folder: Path, *, is_there: bool = True) -> list[AnyRecord]:
    return [BEGUN, done(0, files=(kept(folder, is_there=is_there),), **WORDS)]


def is_gone(folder: Path) -> list[AnyRecord]:
    return is_done(folder, is_there=False)


def is_elsewhere(folder: Path) -> list[AnyRecord]:
    """Done under another path of the same folder."""
    return [BEGUN, done(0, files=(kept(folder, "images/other.png"),), **WORDS)]


def is_failed(folder: Path) -> list[AnyRecord]:
    return [BEGUN, failed(0, **WORDS)]


def may_pass(folder: Path) -> list[AnyRecord]:
    return [BEGUN, failed(0, final=False, **WORDS)]


def was_billed(folder: Path) -> list[AnyRecord]:
    return [BEGUN, failed(0, "yes", **WORDS)]


def is_unknown(folder: Path) -> list[AnyRecord]:
    return [BEGUN, unknown(0, **WORDS)]


def is_of_an_older_copy(folder: Path) -> list[AnyRecord]:
    error = ErrorRecord(kind="broken_reply", code="older_copy", message="?")
    return [unknown(0, error=error, **WORDS)]


def is_out(folder: Path) -> list[AnyRecord]:
    return [BEGUN, TaskAccepted(key=JOB.key, attempt=1, task="task-1", at=BEGUN.at)]


def is_charged(folder: Path) -> list[AnyRecord]:
    return [*is_unknown(folder), Resolved(key=JOB.key, attempt=1, verdict="charged", at=BEGUN.at)]


def is_free(folder: Path) -> list[AnyRecord]:
    said = Resolved(key=JOB.key, attempt=1, verdict="not_charged", at=BEGUN.at)
    return [*is_unknown(folder), said]


def is_new(folder: Path) -> list[AnyRecord]:
    return []


def is_salvaged(folder: Path) -> list[AnyRecord]:
    return [Salvaged(lost_lines=3, at=BEGUN.at)]


def is_begun(folder: Path) -> list[AnyRecord]:
    return [BEGUN]


History = Callable[[Path], list[AnyRecord]]
NOTHING = Redo()
KEY = Redo(keys=frozenset([JOB.key]))
UNKNOWN, FAILED, MISSING = Redo(unknown=True), Redo(failed=True), Redo(missing=True)
HERE = [
    (is_new, NOTHING, Send(1, "new")),
    (is_new, KEY, Send(1, "new")),
    (is_salvaged, NOTHING, Hold(0, "salvaged")),
    (is_salvaged, KEY, Send(1, "new")),
    (is_begun, NOTHING, Hold(1)),
    (is_begun, UNKNOWN, Send(2, "sent")),
    (is_unknown, NOTHING, Hold(1)),
    (is_unknown, FAILED, Hold(1)),
    (is_unknown, UNKNOWN, Send(2, "unknown")),
    (is_unknown, Redo(again=1), Send(2, "paying again")),
    (is_of_an_older_copy, NOTHING, Hold(1)),
    (is_of_an_older_copy, UNKNOWN, Hold(1, "older_copy")),
    (is_of_an_older_copy, Redo(again=3), Hold(1, "older_copy")),
    (is_of_an_older_copy, KEY, Send(2, "asked for")),
    (is_out, NOTHING, Poll(1, "task-1")),
    (is_out, KEY, Poll(1, "task-1")),
    (is_failed, NOTHING, Skip("failed")),
    (is_failed, UNKNOWN, Skip("failed")),
    (is_failed, FAILED, Send(2, "failed")),
    (may_pass, NOTHING, Send(2, "failed")),
    (was_billed, NOTHING, Skip("failed")),
    (was_billed, FAILED, Send(2, "failed")),
    (is_charged, NOTHING, Skip("charged")),
    (is_charged, UNKNOWN, Skip("charged")),
    (is_charged, KEY, Send(2, "asked for")),
    (is_free, NOTHING, Send(2, "resolved")),
    (is_done, NOTHING, Skip("done")),
    (is_done, MISSING, Skip("done")),
    (is_done, KEY, Send(2, "asked for")),
    (is_gone, NOTHING, Skip("done", is_missing=True)),
    (is_gone, FAILED, Skip("done", is_missing=True)),
    (is_gone, MISSING, Send(2, "missing")),
]


def selection(
    folder: Path, records: list[AnyRecord], redo: Redo = NOTHING, *, shelf: Path | None = None
) -> Selection:
    """Against a ledger of these Records; `shelf`: the folder of another one, for reuse."""
    folder.mkdir(exist_ok=True)
    state = read(write(folder / "ledger.jsonl", [begins(), *records]))
    shelves = open_shelves(["shelf/ledger.jsonl"], shelf.parent) if shelf else ()
    return Selection(state, Outputs(folder), shelves, redo)


@pytest.mark.parametrize(("history", "redo", "choice"), HERE)
def test_what_stands_in_the_ledger_decides(
    in_memory: Path, history: History, redo: Redo, choice: Choice
) -> None:
    """And the user's word, where it is about this."""
    records = history(in_memory)
    found = selection(in_memory, records, redo).choose(JOB)
    assert found == choice
    if isinstance(choice, Skip):
        assert isinstance(found, Skip)
        assert found.is_missing == choice.is_missing


ELSEWHERE = [
    (is_new, NOTHING, Send(1, "new")),
    (is_failed, NOTHING, Send(1, "new")),
    (is_free, NOTHING, Send(1, "new")),
    (is_begun, NOTHING, Hold(0, "elsewhere")),
    (is_unknown, NOTHING, Hold(0, "elsewhere")),
    (is_unknown, UNKNOWN, Hold(0, "elsewhere")),
    (is_unknown, KEY, Send(1, "new")),
    (is_out, NOTHING, Hold(0, "elsewhere")),
    (is_charged, NOTHING, Hold(0, "elsewhere")),
    (is_gone, NOTHING, Hold(0, "elsewhere")),
    (is_gone, MISSING, Send(1, "new")),
    (is_done, KEY, Send(1, "new")),
]


@pytest.mark.parametrize(("history", "redo", "choice"), ELSEWHERE)
def test_what_another_ledger_may_have_paid_for_is_not_bought(
    in_memory: Path, history: History, redo: Redo, choice: Choice
) -> None:
    """Unless it failed there, was free, or the key is named by hand."""
    (in_memory / "shelf").mkdir()
    records = history(in_memory / "shelf")
    selection(in_memory / "shelf", records)
    chosen = selection(in_memory / "own", [], redo, shelf=in_memory / "shelf").choose(JOB)
    assert chosen == choice


@pytest.mark.parametrize("history", [is_new, may_pass, is_gone])
def test_what_another_ledger_has_is_taken_from_there(in_memory: Path, history: History) -> None:
    """Where it is new here, failed for now or lost its picture: free, with its files and folder."""
    (in_memory / "shelf").mkdir()
    there = is_done(in_memory / "shelf")
    selection(in_memory / "shelf", there)
    (in_memory / "own").mkdir()
    own = history(in_memory / "own")
    chosen = selection(in_memory / "own", own, shelf=in_memory / "shelf").choose(JOB)
    last = there[-1]
    assert isinstance(last, Done)
    assert chosen == Reuse("shelf/ledger.jsonl", in_memory / "shelf", last.files)
    missing = selection(in_memory / "own", own, MISSING, shelf=in_memory / "shelf").choose(JOB)
    assert isinstance(missing, Reuse)
    assert missing.instead == (Send(2, "missing") if history is is_gone else None)


def test_pictures_under_another_path_are_delivered_and_those_on_shelves_come_after(
    in_memory: Path,
) -> None:
    """The own folder first; what is not whole there is no offer."""
    (in_memory / "shelf").mkdir()
    selection(in_memory / "shelf", is_done(in_memory / "shelf"))
    (in_memory / "own").mkdir()
    own = is_elsewhere(in_memory / "own")
    chosen = selection(in_memory / "own", own, shelf=in_memory / "shelf").choose(JOB)
    assert isinstance(chosen, Reuse)
    assert (chosen.ledger, chosen.folder) == ("ledger.jsonl", in_memory / "own")
    assert [file.path for file in chosen.files] == ["images/other.png"]
    assert [each.ledger for each in chosen.others] == ["shelf/ledger.jsonl"]
    (in_memory / "own" / "images" / "other.png").write_bytes(b"cut")
    chosen = selection(in_memory / "own", own, shelf=in_memory / "shelf").choose(JOB)
    assert isinstance(chosen, Reuse)
    assert (chosen.ledger, chosen.others) == ("shelf/ledger.jsonl", ())


@pytest.mark.parametrize(
    ("history", "choice"),
    [
        (is_new, Hold(1, "older_copy", is_news=True)),
        (may_pass, Hold(2, "older_copy", is_news=True)),
        (is_free, Send(2, "resolved")),  # the user has spoken
        (is_failed, Skip("failed")),
    ],
)
def test_a_picture_that_no_record_names_holds_its_job(
    in_memory: Path, history: History, choice: Choice
) -> None:
    """It was paid for by somebody; a resolution or a key named by hand overrides that."""
    kept(in_memory)
    records = history(in_memory)
    assert selection(in_memory, records).choose(JOB) == choice
    assert isinstance(selection(in_memory, records, KEY).choose(JOB), Send)


def test_what_is_unknown_and_asked_for_again_is_sent_though_a_picture_lies_there(
    in_memory: Path,
) -> None:
    """`--redo unknown` is the user's word; what may have been sent and was never answered alike."""
    kept(in_memory)
    again = Redo(unknown=True)
    assert selection(in_memory, is_unknown(in_memory), again).choose(JOB) == Send(2, "unknown")
    assert selection(in_memory, [BEGUN], again).choose(JOB) == Send(2, "sent")


def test_what_was_charged_says_the_user_and_lies_there_is_taken_over(in_memory: Path) -> None:
    """Its picture, as it is, becomes the Job's."""
    file = kept(in_memory)
    found = selection(in_memory, is_charged(in_memory)).choose(JOB)
    assert found == Reuse("ledger.jsonl", in_memory, (file,))


def test_a_rejected_picture_is_redone_on_the_users_word_alone(in_memory: Path) -> None:
    """Its next repeat is held until then; named by its key it is sent as any other."""
    job = JOB.redo()
    assert selection(in_memory, []).choose(job) == HoldRejected()
    assert selection(in_memory, [], Redo(rejected=True)).choose(job) == Send(1, "rejected")
    named = Redo(keys=frozenset([job.key]))
    assert selection(in_memory, [], named).choose(job) == Send(1, "new")


def test_a_further_place_is_filled_once_there_is_something_to_deliver(in_memory: Path) -> None:
    """Nothing before the work is done; then a delivery; then it is there."""
    copy = replace(JOB, output=f"too/{JOB.output}")
    assert selection(in_memory, is_unknown(in_memory)).choose_copy(copy) is None
    records = is_done(in_memory)
    chosen = selection(in_memory, records, MISSING).choose_copy(copy)
    assert isinstance(chosen, Reuse)
    assert (chosen.ledger, chosen.instead) == ("ledger.jsonl", None)
    delivered = Reused(
        key=JOB.key, attempt=1, source_ledger="ledger.jsonl", at=BEGUN.at,
        files=(kept(in_memory, f"too/{AT_HOME}"),),
    )  # fmt: skip
    there = selection(in_memory, [*records, delivered])
    assert there.choose_copy(copy) == Skip("reused")
    assert there.choose(JOB) == Skip("done")
    assert there.here(copy) == delivered.files
    assert selection(in_memory, []).here(copy) == ()


COUNTED: list[tuple[Choice, dict[str, object]]] = [
    (Skip("done"), {"done": 1}),
    (Skip("done", is_missing=True), {"done": 1, "missing": 1}),
    (Skip("reused"), {"reused": 1}),
    (Skip("failed"), {"failed": 1}),
    (Skip("charged"), {"failed": 1}),
    (Hold(1), {"held": 1, "holds": {"unanswered": 1}}),
    (Hold(1, "older_copy", is_news=True), {"held": 1, "holds": {"older_copy": 1}, "to_note": 1}),
    (HoldRejected(), {"rejected": 1}),
    (Poll(1, "t"), {"to_poll": 1}),
    (Send(1, "new"), {"to_send": 1, "reasons": {"new": 1}}),
    (Reuse("l", Path("f"), ()), {"to_take_over": 1}),
]
NUMBERS = (
    "done", "reused", "held", "rejected", "failed", "to_poll", "to_send", "reasons",
    "to_take_over", "missing", "to_note", "holds",
)  # fmt: skip


@pytest.mark.parametrize(("choice", "numbers"), COUNTED)
def test_each_choice_is_counted_as_what_it_is_and_nothing_else(
    choice: Choice, numbers: dict[str, object]
) -> None:
    """Twice counted is two; there is work where something is to be sent, asked for, taken over or
    written down."""
    count = LaneCount(lane(GEMINI, 1))
    assert not count.has_work
    count.count(choice)
    assert {name: getattr(count, name) for name in NUMBERS if getattr(count, name)} == numbers
    is_work = isinstance(choice, Send | Poll | Reuse) or "to_note" in numbers
    assert count.has_work is is_work
    count.count(choice)
    first = next(iter(numbers))
    assert getattr(count, first) == 2


@dataclass(frozen=True, slots=True)
class InTwoPlaces:
    """A lane of this Job and a further place of it."""

    given: Job

    def __getattr__(self, name: str) -> object:
        return getattr(lane(GEMINI, 1), name)

    def jobs(self) -> Iterator[Job]:
        return iter((self.given,))

    def copies(self) -> Iterator[Job]:
        return iter((replace(self.given, output=f"too/{self.given.output}"),))


def test_a_lane_is_counted_with_its_further_places(in_memory: Path) -> None:
    """Which are duplicates; what is to be brought to them is to be taken over."""
    given = InTwoPlaces(JOB)
    done_here = tally(given, selection(in_memory, is_done(in_memory)))  # type: ignore[arg-type]
    assert (done_here.done, done_here.duplicates, done_here.to_take_over) == (1, 1, 1)
    unsure = tally(given, selection(in_memory, is_unknown(in_memory)))  # type: ignore[arg-type]
    assert (unsure.held, unsure.duplicates, unsure.to_take_over) == (1, 1, 0)


def changed(**more: object) -> Job:
    return replace(JOB, **more)  # type: ignore[arg-type]


def test_why_a_job_is_sent_is_told_by_what_differs_from_before(in_memory: Path) -> None:
    """The same source and prompt under another Key: what changed, the fewest changes of all that
    were asked for before."""
    changes = Changes(selection(in_memory, is_unknown(in_memory)).state)
    new = Send(1, "new")
    other = lane(GEMINI, 2).all_jobs[1].source.picture
    text = Prompt(JOB.prompt.id, "another text")
    moved = msgspec.structs.replace(JOB.source, picture=other)
    asked = {
        "option changed": changed(options=(("n", 1), ("quality", "high"))),
        "prompt changed": changed(prompt=text),
        "input changed": changed(source=moved),
        "input and prompt changed": changed(source=moved, prompt=text),
        "new": changed(prompt=Prompt("other", "make it white")),
    }
    assert {word: changes.reason(job, new) for word, job in asked.items()} == {
        word: word for word in asked
    }
    assert changes.reason(replace(JOB, repeat=1), new) == "new"
    said = {"sent": "unknown", "resolved": "not charged", "failed": "failed", "missing": "missing"}
    assert {word: changes.reason(JOB, Send(2, word)) for word in said} == said


def test_of_several_earlier_terms_the_nearest_tells_what_changed(in_memory: Path) -> None:
    """And where none is on record, only that something did."""
    text = Prompt(JOB.prompt.id, "another text")
    first = replace(JOB, prompt=text, options=(("n", 1), ("quality", "high")))
    second = replace(JOB, prompt=text)
    records: list[AnyRecord] = []
    for job in (first, second):
        words = {**WORDS, "key": job.key}
        records += [
            msgspec.structs.replace(BEGUN, key=job.key, terms=terms_of(job)),
            unknown(0, **words),
        ]
    changes = Changes(selection(in_memory, records).state)
    assert changes.reason(JOB, Send(1, "new")) == "prompt changed"
    bare = msgspec.structs.replace(BEGUN, key=first.key, terms=None)
    changes = Changes(selection(in_memory, [bare]).state)
    assert changes.reason(JOB, Send(1, "new")) == "changed"


@dataclass(frozen=True, slots=True)
class AsAPlanHasIt(InTwoPlaces):
    """Counts its Jobs before one is made, and passes over what is over."""

    rejected: frozenset[str] = frozenset()

    @property
    def jobs_count(self) -> int:
        return 2  # with its further place

    @property
    def copies_count(self) -> int:
        return 1

    def asked(self, limit: int | None = None) -> Counter[tuple[int, int]]:
        return Counter()

    def jobs_left(self, is_over: Callable[[bytes, str], bool]) -> Iterator[Job]:
        if not is_over(bytes.fromhex(self.given.key), self.given.output_path(0)):
            yield self.given


@pytest.mark.parametrize(
    "history", [is_new, is_done, is_gone, is_elsewhere, is_unknown, is_failed, is_out, is_salvaged]
)
@pytest.mark.parametrize("redo", [NOTHING, KEY, MISSING])
def test_a_lane_is_counted_alike_whether_its_jobs_are_made_or_not(
    in_memory: Path, history: History, redo: Redo
) -> None:
    """A first run and a finished one are counted without a Job in hand: to the same numbers."""
    records = history(in_memory)
    one_by_one = tally(InTwoPlaces(JOB), selection(in_memory, records, redo))  # type: ignore[arg-type]
    given: Any = AsAPlanHasIt(JOB)
    at_once = tally(given, selection(in_memory, records, redo))
    assert at_once.lane is given
    assert replace(at_once, lane=one_by_one.lane) == one_by_one


@pytest.mark.parametrize(
    ("history", "choice"),
    [(may_pass, Hold(1)), (is_failed, Skip("failed")), (is_unknown, Hold(1)), (is_new, Hold(0))],
)
def test_a_job_that_is_known_by_its_records_alone_is_never_sent(
    in_memory: Path, history: Callable[[Path], list[AnyRecord]], choice: Choice
) -> None:
    """What it asked for is not known in full: what would be sent again is held, with its last
    Attempt."""
    known = JobOnFile(model=JOB.model, prompt=JOB.prompt, source=JOB.source, recorded_key=JOB.key)
    write(in_memory / "ledger.jsonl", [begins(), *history(in_memory)])
    selection = Selection(read(in_memory / "ledger.jsonl"), Outputs(in_memory))
    assert selection.choose(known) == choice
