"""Splits by path, column and ratios; groups; what is edited; what is in two of them."""

from __future__ import annotations

import io
import time
from collections import Counter
from typing import Any

import pytest
from PIL import Image, ImageEnhance

from retouch.job import Picture, Source
from retouch.manifest import Splits
from retouch.pictures import Facts
from retouch.plan import Plan, known_of
from retouch.plan.checked import Checked
from retouch.plan.columns import Columns
from retouch.plan.splits import LEAKS_KEPT, leaks_in
from tests.support.datasets import Made
from tests.support.studio import Studio, jobs, said

BY_PATH: dict[str, Any] = {"from": "path"}


def split_counts(plan: Plan) -> Counter[str]:
    return Counter(known_of(source).split for source in plan.inputs)


def a_tree(studio: Studio, *names: str) -> None:
    for number, name in enumerate(names):
        studio.make(name, Made(number).data)


def test_folders_name_splits_and_some_are_one(studio: Studio) -> None:
    """val, valid, dev and validation are one; only what is augmented is sent."""
    a_tree(studio, "data/train/a.png", "data/valid/b.png", "data/dev/c.png", "data/test/d.png")
    plan = studio.plan(prompts="x", splits={**BY_PATH, "augment": ["train"]})
    assert split_counts(plan) == {"train": 1, "validation": 2, "test": 1}
    assert [job.source.name for job in jobs(plan)] == ["data/train/a.png"]
    assert [known_of(source).is_augmented for source in plan.inputs].count(True) == 1


def test_a_source_in_no_split_is_told(studio: Studio) -> None:
    """By name, and how to say it otherwise."""
    a_tree(studio, "data/train/a.png", "data/b.png")
    told = said(studio.plan(prompts="x", splits=BY_PATH).problems)
    assert "1 source is (data/b.png) in no split" in told


def test_ratios_are_kept_and_move_none(studio: Studio) -> None:
    """About the shares; adding sources moves none; a group is never in two."""
    studio.make("t.csv", "image,patient\n")
    rows = []
    for number in range(300):
        studio.make(f"p/{number}.png", Made(number).data)
        rows.append(f"p/{number}.png,{number // 5}")
    splits = {"ratios": {"train": 0.8, "val": 0.1, "test": 0.1}, "leaks": {"near": "ignore"}}
    studio.make("t.csv", "image,patient\n" + "\n".join(rows[:200]) + "\n")
    first = studio.plan(inputs=[{"table": "t.csv"}], prompts="x", splits=splits)
    before = {source.name: known_of(source).split for source in first.inputs}
    studio.make("t.csv", "image,patient\n" + "\n".join(rows) + "\n")
    later = studio.plan(inputs=[{"table": "t.csv"}], prompts="x", splits=splits)
    after = {source.name: known_of(source).split for source in later.inputs}
    assert {name: after[name] for name in before} == before
    assert 210 <= split_counts(later)["train"] <= 270
    grouped = studio.plan(
        inputs=[{"table": "t.csv"}], prompts="x", splits={**splits, "group": "patient"}
    )
    places: dict[str, set[str]] = {}
    for source in grouped.inputs:
        places.setdefault(source.columns["patient"], set()).add(known_of(source).split)
    assert all(len(each) == 1 for each in places.values())


def test_a_group_in_two_splits_is_refused(studio: Studio) -> None:
    """With the group and two sources."""
    a_tree(studio, "a.png", "b.png")
    studio.make("t.csv", "image,split,patient\na.png,train,p7\nb.png,test,p7\n")
    splits = {"column": "split", "group": "patient"}
    told = said(studio.plan(inputs=[{"table": "t.csv"}], prompts="x", splits=splits).problems)
    assert "groups are in two splits: `p7` (a.png in train, b.png in test)" in told


@pytest.mark.parametrize(("key", "splits"), [
    ("nope", {"column": "nope"}), ("nope", {"from": "path", "group": "nope"}),
    ("tset", {"from": "path", "augment": ["tset"]}),
])  # fmt: skip
def test_what_is_not_there_is_told_with_what_is(
    studio: Studio, key: str, splits: dict[str, Any]
) -> None:
    """Columns and splits."""
    a_tree(studio, "data/train/a.png", "data/test/b.png")
    told = said(studio.plan(prompts="x", splits=splits).problems)
    assert f"`{key}`" in told
    assert "known: " in told or "there are: test, train" in told


def test_the_same_bytes_in_two_splits_are_refused(studio: Studio) -> None:
    """With both names, before a cent; without splits they are one piece of work at two places."""
    data = Made(1).data
    studio.make("data/train/cat/a.png", data)
    studio.make("data/test/dog/z.png", data)
    plan = studio.plan(prompts="x", splits=BY_PATH)
    told = said(plan.problems)
    assert "the same bytes are in two splits" in told
    assert "data/train/cat/a.png (train)" in told
    assert "data/test/dog/z.png (test)" in told
    assert [(leak.kind, leak.distance) for leak in plan.leaks] == [("exact", 0)]
    warned = studio.plan(prompts="x", splits={**BY_PATH, "leaks": {"exact": "warn"}})
    assert warned.problems == ()
    assert (warned.jobs_count, len(jobs(studio.plan(prompts="x")))) == (2, 1)


def brighter(data: bytes) -> bytes:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    written = io.BytesIO()
    ImageEnhance.Brightness(image).enhance(1.05).save(written, "JPEG", quality=90)
    return written.getvalue()


def test_what_looks_the_same_in_two_splits_is_warned_of(studio: Studio) -> None:
    """A brighter JPEG of a training picture in test is one pair; strangers are none."""
    pytest.importorskip("cv2")
    for number in range(12):
        studio.make(f"data/train/{number}.png", Made(number).data)
    studio.make("data/test/copy.jpg", brighter(Made(4).data))
    studio.make("data/test/other.png", Made(99).data)
    plan = studio.plan(prompts="x", splits=BY_PATH)
    assert plan.problems == ()
    (leak,) = plan.leaks
    assert (leak.kind, leak.a, leak.b) == ("near", "data/test/copy.jpg", "data/train/4.png")
    assert 0 <= leak.distance <= 4
    assert "look the same are in two splits" in said(plan.warnings)
    again = studio.plan(prompts="x", splits=BY_PATH)
    assert again.leaks == plan.leaks


def test_without_opencv_it_is_said(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact ones are found all the same, and the line to type is named."""
    monkeypatch.setattr("retouch.plan.lanes.can_hash", lambda: False)
    a_tree(studio, "data/train/a.png", "data/test/b.png")
    plan = studio.plan(prompts="x", splits=BY_PATH)
    assert plan.problems == ()
    assert "OpenCV is not installed; `make setup EXTRAS=rehearsal`" in said(plan.warnings)


def test_bytes_in_three_splits_are_told_as_each_pair(studio: Studio) -> None:
    """As reported of a public set: a picture in train, val and test, and once more in train."""
    data = Made(1).data
    for name in ("train/a.png", "train/b.png", "val/c.png", "test/d.png"):
        studio.make(f"data/{name}", data)
    leaks = studio.plan(prompts="x", splits=BY_PATH).leaks
    assert {frozenset(leak.splits) for leak in leaks} == {
        frozenset(pair) for pair in (("train", "validation"), ("train", "test"),
                                     ("validation", "test"))
    }  # fmt: skip
    assert {leak.kind for leak in leaks} == {"exact"}


def test_pictures_that_all_look_the_same_are_counted_not_compared_one_by_one() -> None:
    """10,000 blank scans in each of two splits: 100,000,000 pairs, told in a moment."""
    pytest.importorskip("cv2")
    given = Splits.model_validate({"from": "path"})
    checked = []
    for number in range(20_000):
        split = ("train", "test")[number % 2]
        source = Source(
            f"{split}/{number}.png",
            Picture(f"sha256:{number:064x}"),
            columns=Columns(f"{split}/{number}.png").in_split(split, is_augmented=True),
        )
        facts = Facts("", 1, "image/png", 9, 9, "RGB", looks="00000000000000ff")
        checked.append(Checked(source, 0, (facts,)))
    began = time.process_time()
    leaks = leaks_in(checked, given)
    assert time.process_time() - began < 5
    assert (leaks.exact, leaks.near) == (0, 100_000_000)
    assert len(leaks.found) == LEAKS_KEPT
