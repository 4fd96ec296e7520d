"""A Job that is plainly done is counted and not made; what is not plain is looked at in full."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from retouch.dialects import DIALECTS
from retouch.engine.outputs import Outputs
from retouch.engine.selection import LaneCount, Selection, choices, left_to_choose, tally
from retouch.job import Job
from retouch.ledger import Reader, read
from retouch.ledger.decision import Redo, Skip
from retouch.ledger.records import AnyRecord, Done, Reused
from retouch.manifest import load
from retouch.plan import DigestCache, build, planned
from retouch.plan.planned import Lane
from tests.bench.scale_ledger import NAME, finished, write

Spoil = Callable[[Path, random.Random], object]
JOBS = 60


def opened(words: list[str]) -> tuple[list[Lane], Path]:
    """The lanes of a manifest, and its outputs folder."""
    outputs = Path(words[2])
    with DigestCache.open(outputs) as cache:
        plan = build(load(Path(words[0])), DIALECTS["qiniu"], outputs=outputs, cache=cache)
    return list(plan.lanes), outputs / NAME


def as_one_by_one(lane: Lane, selection: Selection) -> LaneCount:
    """The lane counted with every Job made."""
    counted = LaneCount(lane)
    for _, choice in choices(lane, selection):
        counted.count(choice)
    return counted


def test_of_a_finished_manifest_no_job_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [lane], folder = opened(finished(tmp_path, JOBS))
    selection = Selection(read(folder / "ledger.jsonl"), Outputs(folder))

    def no_job(*_: object) -> Job:
        raise AssertionError("a job was made")

    monkeypatch.setattr(planned, "Job", no_job)
    counted = tally(lane, selection)
    assert (counted.done, counted.has_work) == (JOBS, False)


def _picture(folder: Path, chance: random.Random) -> Path:
    return chance.choice(sorted((folder / "images").rglob("*.png")))


def _link(folder: Path, chance: random.Random) -> None:
    """A link to the picture, where it lay."""
    path = _picture(folder, chance)
    path.rename(folder / "elsewhere.png")
    path.symlink_to(folder / "elsewhere.png")


def _folder(folder: Path, chance: random.Random) -> None:
    path = _picture(folder, chance)
    path.unlink()
    path.mkdir()


def _other_records(change: Callable[[list[AnyRecord]], list[AnyRecord]]) -> Spoil:
    def spoil(folder: Path, _: random.Random) -> None:
        path = folder / "ledger.jsonl"
        write(path, _unchained(change(list(Reader(path)))))

    return spoil


def _unchained(records: list[AnyRecord]) -> list[AnyRecord]:
    return [msgspec.structs.replace(each, prev="") for each in records]


def _moved(records: list[AnyRecord]) -> list[AnyRecord]:
    """Every third picture is recorded at another place."""
    return [
        _at(each, f"images/other/{at}.png") if isinstance(each, Done) and at % 3 == 0 else each
        for at, each in enumerate(records)
    ]


def _at(record: Done, path: str) -> Done:

    file = msgspec.structs.replace(record.files[0], path=path)
    return msgspec.structs.replace(record, files=(file,))


def _delivered(records: list[AnyRecord]) -> list[AnyRecord]:
    """Every fourth was brought to its place from elsewhere, too."""
    more: list[AnyRecord] = [
        Reused(key=each.key, source_ledger="ledger.jsonl", files=each.files, at=each.at)
        for at, each in enumerate(records)
        if isinstance(each, Done) and at % 4 == 0
    ]
    return records + more


def _lengthen(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()  # its other names keep their bytes
    path.write_bytes(data + b" ")


def _behind_a_link(folder: Path, _: random.Random) -> None:
    (folder / "images").rename(folder / "aside")
    (folder / "images").symlink_to(folder / "aside")


SPOILS: dict[str, Spoil] = {
    "as it was": lambda *_: None,
    "a picture is gone": lambda folder, chance: _picture(folder, chance).unlink(),
    "a picture is longer": lambda folder, chance: _lengthen(_picture(folder, chance)),
    "a link stands in its place": _link,
    "a folder stands in its place": _folder,
    "the folder of pictures is a link": _behind_a_link,
    "only the beginnings are on record": _other_records(
        lambda records: [each for each in records if not isinstance(each, Done)]
    ),
    "half is on record": _other_records(lambda records: records[: len(records) // 2]),
    "recorded elsewhere": _other_records(_moved),
    "delivered": _other_records(_delivered),
}


@pytest.mark.parametrize("what", SPOILS)
def test_it_is_decided_as_with_every_job_made(tmp_path: Path, what: str) -> None:
    """Whatever became of ledger and pictures, and whatever is to be redone, for a lane as it is,
    with rejected pictures and with two pictures a request; what is left out is done and no more."""
    chance = random.Random(what)
    [lane], folder = opened(finished(tmp_path, JOBS))
    SPOILS[what](folder, chance)
    state = read(folder / "ledger.jsonl")
    keys = [job.key for job in lane.jobs()]
    some = frozenset(chance.sample(keys, 5))
    redos = (Redo(), Redo(keys=some), Redo(missing=True), Redo(rejected=True), Redo(failed=True))
    lanes = (lane, replace(lane, rejected=some), replace(lane, terms=replace(lane.terms, n=2)))
    for redo in redos:
        selection = Selection(state, Outputs(folder), redo=redo)
        for each in lanes:
            made = dict.fromkeys((job.key for job in each.jobs()), Skip("done"))
            every = {job.key: choice for job, choice in choices(each, selection)}
            counted = LaneCount(each)
            left = {job.key: choice for job, choice in left_to_choose(counted, selection)}
            assert {**made, **left} == every
            assert counted.done == len(every) - len(left)
            assert list(left) == [key for key in every if key in left]
            assert tally(each, selection) == as_one_by_one(each, selection)
