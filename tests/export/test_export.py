"""`retouch export`: present jobs only, whole or not at all, the same bytes, one digest."""

from __future__ import annotations

import json
import subprocess
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from retouch.cli import main
from tests.support.studio_out import Pets, copy_of, files_of, finished

PROVENANCE = [
    "file", "key", "split", "source", "source_sha256", "source_bytes", "original", "prompt",
    "prompt_text", "model", "options", "sha256", "bytes", "width", "height", "cost", "currency",
    "run", "label", "labels",
]  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Pets:
    return finished(tmp_path_factory.mktemp("pets"))


@pytest.fixture
def pets(done: Pets, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Pets:
    return copy_of(done, tmp_path)


def digest_said(capsys: pytest.CaptureFixture[str]) -> str:
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("dataset digest ")
    return last.removeprefix("dataset digest ")


def test_all_that_is_there_with_its_labels(pets: Pets, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten edits of five sources, the class their folder, the caption carried, sizes counted."""
    assert pets.export("imagefolder") == 0
    said = capsys.readouterr()
    assert "10 pictures" in said.out
    assert "10 of 10 differ in size from their source" in said.err
    rows = pets.rows()
    assert sorted(row["label"] for row in rows) == ["cat"] * 6 + ["dog"] * 4
    assert {row["caption"] for row in rows} == {f"no {number}" for number in range(5)}
    for row in rows:
        assert row["file_name"].startswith(f"{row['label']}/")
        assert (pets.folder / "out" / "train" / row["file_name"]).is_file()


def test_provenance_says_where_each_picture_comes_from(pets: Pets) -> None:
    """The columns that readers rely on; costs add up to what the ledger has."""
    pets.export("coco", "--with-originals")
    table = pq.read_table(pets.folder / "out" / "provenance.parquet")
    assert table.column_names == PROVENANCE
    rows = table.to_pylist()
    assert len(rows) == 15
    edits = [row for row in rows if not row["original"]]
    assert sum(row["cost"] for row in edits) == Decimal("2.00")
    assert {row["key"] for row in edits} == set(pets.state.outcomes)
    originals = [row for row in rows if row["original"]]
    assert all(row["key"] is None and row["sha256"] == row["source_sha256"] for row in originals)
    assert {row["width"] for row in originals} == {192}
    assert all((pets.folder / "out" / row["file"]).is_file() for row in rows)


@pytest.mark.parametrize("name", ["imagefolder", "webdataset", "coco", "yolo", "voc", "parquet"])
def test_twice_the_same_bytes_and_sums_that_sha256sum_proves(
    pets: Pets, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pets.export(name)
    digest = digest_said(capsys)
    pets.export(name, to="again")
    assert digest_said(capsys) == digest
    out = pets.folder / "out"
    assert dict(files_of(out)) == dict(files_of(pets.folder / "again"))
    proof = subprocess.run(
        ["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=out, check=False
    )
    assert proof.returncode == 0
    listed = {line[66:] for line in (out / "SHA256SUMS").read_text().splitlines()}
    assert listed == {path for path, _ in files_of(out)} - {"SHA256SUMS"}
    about = json.loads((out / "dataset.json").read_text())
    assert (about["digest"], about["pictures"], about["format"]) == (digest, 10, name)
    assert (about["splits"], about["classes"]) == ({"train": 10}, ["cat", "dog"])


def test_another_machine_has_the_same_digest(
    pets: Pets, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other folder, other times, other run, other format: the digest is free of all that."""
    pets.export("imagefolder")
    here = digest_said(capsys)
    there = finished(tmp_path_factory.mktemp("elsewhere"))
    capsys.readouterr()
    there.export("parquet", "--image-format", "jpg", "--size", "source")
    assert digest_said(capsys) == here
    assert main(["verify", *pets.words, "--dataset", here]) == 0


def test_a_digest_is_proved_and_a_flipped_byte_is_found(
    pets: Pets, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 equal, 1 another data set, 3 a file that is changed; of folder and manifest alike."""
    pets.export("voc", "--with-originals")
    digest = digest_said(capsys)
    out = pets.folder / "out"
    assert main(["verify", str(out), "--dataset", digest]) == 0
    assert main(["verify", *pets.words, "--dataset", digest]) == 0
    other = "0" * 64
    assert main(["verify", str(out), "--dataset", other]) == 1
    assert main(["verify", *pets.words, "--dataset", other]) == 1
    (out / "JPEGImages" / "more.png").write_bytes(b"added")
    assert main(["verify", str(out), "--dataset", digest]) == 1
    for folder in (out / "JPEGImages", pets.outputs / "images"):
        victim = next(path for path in sorted(folder.rglob("*.png")) if path.name != "more.png")
        data = bytearray(victim.read_bytes())
        data[-20] ^= 1
        victim.write_bytes(data)
    capsys.readouterr()
    assert main(["verify", str(out), "--dataset", digest]) == 3
    assert main(["verify", *pets.words, "--dataset", digest]) == 3
    assert capsys.readouterr().out.count("changed: ") == 2


@pytest.mark.parametrize("flag", ["abc", "0" * 63])
def test_what_is_no_digest_is_refused(pets: Pets, flag: str) -> None:
    assert main(["verify", *pets.words, "--dataset", flag]) == 2


def test_present_jobs_only(pets: Pets, capsys: pytest.CaptureFixture[str]) -> None:
    """A reworded prompt's old pictures stay behind, and what is not done yet is told: exit 1, or 0
    with --partial."""
    text = pets.manifest.read_text().replace("black and white", "brighter")
    pets.manifest.write_text(text)
    assert pets.export("imagefolder") == 1
    assert "5 left out: is not done yet: photos/0.png, photos/1.png, photos/2.png and 2 more" in (
        capsys.readouterr().err
    )
    assert {row["prompt"] for row in pets.rows()} == {"dusk"}
    listed = (pets.outputs / "left-out.jsonl").read_text().splitlines()
    assert len(listed) == 5
    assert pets.export("imagefolder", "--partial", "--replace") == 0


def test_a_picture_gone_or_changed_is_left_out_and_told(
    pets: Pets, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, changed, *_ = sorted((pets.outputs / "images").rglob("*.png"))
    gone.unlink()
    data = bytearray(changed.read_bytes())
    data[-20] ^= 1
    changed.write_bytes(data)
    assert pets.export("yolo") == 1
    said = capsys.readouterr().err
    assert "there are no boxes, and yolo has no place for the class" in said
    assert "1 left out: has lost its picture" in said
    assert "1 left out: has lost its picture, or another one lies there" in said
    assert len(list((pets.folder / "out").rglob("*.png"))) == 8


def test_rejects_are_never_exported(pets: Pets, capsys: pytest.CaptureFixture[str]) -> None:
    """The last mark of a picture counts; a job's mark counts for its pictures."""
    first, second, third, *_ = pets.state.outcomes
    marks: list[dict[str, object]] = [
        {"key": first, "index": 0, "mark": "reject", "reason": "blurred"},
        {"key": second, "index": None, "mark": "reject", "reason": ""},
        {"key": third, "index": 0, "mark": "reject", "reason": ""},
        {"key": third, "index": 0, "mark": "keep", "reason": ""},
    ]
    lines = "".join(
        json.dumps({"v": 1, "at": "2026-11-01T00:00:00Z", **mark}) + "\n" for mark in marks
    )
    (pets.outputs / "review.jsonl").write_text(lines + '{"v": 1, "key": "cut of')
    assert pets.export("imagefolder") == 0
    assert "2 rejected pictures left out" in capsys.readouterr().err
    keys = {row["key"] for row in pets.rows()}
    assert len(keys) == 8
    assert not keys & {first, second}
    assert third in keys
    (pets.outputs / "review.jsonl").write_text(lines + '{"v": 1}\n', "utf-8")
    assert pets.export("imagefolder", "--replace") == 2
    assert "review.jsonl:5: not a mark" in capsys.readouterr().err


def test_a_folder_that_is_not_empty_is_left_alone(
    pets: Pets, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused before anything is read; --replace swaps a data set, and nothing but a data set."""
    out = pets.folder / "out"
    out.mkdir()
    assert pets.export("coco") == 0
    before = dict(files_of(out))
    assert pets.export("coco") == 2
    assert pets.export("imagefolder", "--replace") == 0
    assert "train/metadata.jsonl" in dict(files_of(out))
    assert not set(before) & {path for path, _ in files_of(out) if path.startswith("annotations/")}
    mine = pets.folder / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    capsys.readouterr()
    assert pets.export("imagefolder", "--replace", to="mine") == 2
    assert "this is none" in capsys.readouterr().err
    assert (mine / "thesis.txt").read_text() == "mine"


def test_an_export_that_fails_leaves_nothing(
    pets: Pets, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk says no in the middle: exit 5, the old data set untouched, no leftovers."""
    assert pets.export("coco") == 0
    before = dict(files_of(pets.folder / "out"))
    names = sorted(path.name for path in pets.folder.iterdir())

    def full(path: Path, *_: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("retouch.export.folder._swap", full)
    assert pets.export("coco", "--replace") == 5
    assert "No space left on device" in capsys.readouterr().err
    assert dict(files_of(pets.folder / "out")) == before
    assert sorted(path.name for path in pets.folder.iterdir()) == names


def test_nothing_to_export_is_said(pets: Pets, capsys: pytest.CaptureFixture[str]) -> None:
    (pets.outputs / "ledger.jsonl").unlink()
    (pets.outputs / "ledger.jsonl.head").unlink()
    assert pets.export("coco") == 1
    assert "there is no picture to export" in capsys.readouterr().err
    assert not (pets.folder / "out").exists()


def test_sizes_and_types_as_asked(pets: Pets) -> None:
    """Edits as large as their source, and as JPEG; originals keep their own size."""
    assert pets.export("coco", "--size", "source", "--image-format", "jpg", "--with-originals") == 0
    document = json.loads((pets.folder / "out/annotations/instances_train.json").read_text())
    assert {(each["width"], each["height"]) for each in document["images"]} == {(192, 128)}
    assert all(each["file_name"].endswith(".jpg") for each in document["images"])
    files = list((pets.folder / "out/images/train").iterdir())
    assert all(path.read_bytes()[:3] == b"\xff\xd8\xff" for path in files)


def test_pairs_hold_each_edits_source(pets: Pets) -> None:
    assert pets.export("imagefolder", "--pairs") == 0
    for row in pets.rows():
        before = pets.folder / "out/train" / row["input_image_file_name"]
        assert before.read_bytes() == (pets.folder / row["source"]).read_bytes()
    assert len(list((pets.folder / "out/train/inputs").iterdir())) == 5


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("coco", "--pairs"), "has no place for two pictures"),
        (("imagefolder", "--pairs", "--with-originals"), "leave --with-originals out"),
        (("coco", "--splits", "train,holdout"), "there is no holdout; there are train"),
        (("coco", "--splits", " , "), "name at least one"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(
    pets: Pets, flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pets.export(*flags) == 2
    assert said in capsys.readouterr().err


def test_for_programs_the_whole_is_json(pets: Pets, capsys: pytest.CaptureFixture[str]) -> None:
    assert pets.export("parquet", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["pictures"], found["incomplete"], found["splits"]) == (10, 0, {"train": 10})
    assert found["to"] == str(pets.folder / "out")
    assert len(found["digest"]) == 64


def test_a_mixture_of_types_is_said_where_a_reader_takes_one_alone(
    pets: Pets, capsys: pytest.CaptureFixture[str]
) -> None:
    """`datasets` drops from a tar what is of another type than its first samples."""
    name = pets.folder / "photos/0.png"
    with Image.open(name) as image:
        image.convert("RGB").save(name, "JPEG")
    pets.export("webdataset", "--with-originals")
    assert "several types (.png 12, .jpg 1)" in capsys.readouterr().err
    pets.export("webdataset", "--with-originals", "--image-format", "png", "--replace")
    assert "several types" not in capsys.readouterr().err
