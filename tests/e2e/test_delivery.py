"""Once paid, everywhere delivered: real runs on a provider that keeps its own book."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

from PIL import Image

from retouch.ledger import Reader
from retouch.ledger.records import Reused, Started
from retouch.ledger.terms import prompt_digest
from tests.e2e.house import House, house

SYNC = "  - {model: gemini-2.5-flash-image}"
IMAGES = "images/gemini-2.5-flash-image/p0/pictures"


def twins(place: House) -> None:
    """000.png, and the same bytes in another folder."""
    place.pictures(1)
    (place.folder / "pictures/more").mkdir()
    shutil.copy(place.folder / "pictures/000.png", place.folder / "pictures/more/twin.png")
    place.manifest(SYNC)
    path = place.folder / "manifest.yaml"
    path.write_text(path.read_text().replace("pictures/*.png", "pictures/**/*.png"))


def test_the_same_bytes_are_paid_for_once_and_delivered_to_each_place(tmp_path: Path) -> None:
    """One charge, two files, two records; what was asked is on file; then nothing is to do."""
    with house(tmp_path) as place:
        twins(place)
        ran = place.retouch("run")
        assert ran.returncode == 0, ran.stderr
        assert len(place.book) == 1
        one, two = place.outputs / IMAGES / "000-0.png", place.outputs / IMAGES / "more/twin-0.png"
        assert one.samefile(two)
        records = list(Reader(place.outputs / "ledger.jsonl"))
        (started,) = [each for each in records if isinstance(each, Started)]
        (reused,) = [each for each in records if isinstance(each, Reused)]
        assert (reused.key, reused.attempt, reused.source_ledger) == (
            started.key,
            1,
            "ledger.jsonl",
        )
        assert (reused.model, reused.prompt) == (started.model, "p0")
        assert reused.source == "pictures/more/twin.png"
        assert started.source_bytes == (place.folder / "pictures/000.png").stat().st_size
        assert started.source_sha256 == reused.source_sha256
        (line,) = (place.outputs / "prompts.jsonl").read_text().splitlines()
        assert json.loads(line) == {"digest": prompt_digest("edit 0"), "text": "edit 0"}
        assert started.terms is not None
        assert prompt_digest("edit 0").startswith(started.terms.prompt)
        document = json.loads(place.retouch("plan", "--json").stdout)
        (lane,) = document["lanes"]
        counted = (lane["jobs"], lane["duplicates"], lane["done"], lane["reused"], lane["to_send"])
        assert counted == (2, 1, 1, 1, 0)
        status = json.loads(place.retouch("status", "--json").stdout)
        assert status["outcomes"] == {"done": 1, "reused": 1}
        again = place.retouch("run")
        assert (again.returncode, len(place.book)) == (0, 1)
        assert "nothing to send" in again.stderr


def test_what_is_missing_is_restored_from_any_place_before_it_is_paid_for(tmp_path: Path) -> None:
    """Either place alone brings back the other; damage in one is found; nothing is bought."""
    with house(tmp_path) as place:
        twins(place)
        assert place.retouch("run").returncode == 0
        files = [place.outputs / IMAGES / name for name in ("000-0.png", "more/twin-0.png")]
        for gone, left in (files, files[::-1]):
            gone.unlink()
            assert "missing" in place.retouch("verify").stdout
            assert place.retouch("run", "--redo", "missing").returncode == 0
            assert gone.read_bytes() == left.read_bytes()
            assert place.retouch("verify").returncode == 0
        assert len(place.book) == 1
        data = bytearray(files[1].read_bytes())
        data[-1] ^= 1
        files[1].unlink()
        files[1].write_bytes(data)
        found = place.retouch("verify")
        assert found.returncode == 1
        assert "changed: images/gemini-2.5-flash-image/p0/pictures/more/twin-0.png" in found.stdout
        files[0].unlink()
        unfit = place.retouch("run")  # no bytes that fit are left: said, and not bought unasked
        assert (unfit.returncode, "were not taken over" in unfit.stderr) == (1, True)
        assert len(place.book) == 1
        assert place.retouch("run", "--redo", "missing").returncode == 0
        assert len(place.book) == 2


def test_prune_moves_what_no_job_owns_and_verify_still_finds_it(tmp_path: Path) -> None:
    """After a folder was renamed: old places are listed, then moved; nothing is deleted or paid."""
    with house(tmp_path) as place:
        twins(place)
        assert place.retouch("run").returncode == 0
        (place.folder / "pictures/more").rename(place.folder / "pictures/renamed")
        assert place.retouch("run").returncode == 0
        assert len(place.book) == 1
        old = f"{IMAGES}/more/twin-0.png"
        listed = place.retouch("prune")
        assert listed.stdout.splitlines() == [old]
        assert (place.outputs / old).exists()
        moved = place.retouch("prune", "--yes")
        assert moved.returncode == 0, moved.stderr
        assert not (place.outputs / old).exists()
        assert (place.outputs / "pruned" / old).exists()
        assert place.retouch("prune").stdout == ""
        sound = place.retouch("verify")
        assert (sound.returncode, "1 pruned" in sound.stdout) == (0, True)
        assert place.state.counts() == Counter(reused=1)


def test_problems_alike_are_told_in_a_few_lines(tmp_path: Path) -> None:
    """360 bad pictures: at most ten lines, the whole list in a file that is named."""
    with house(tmp_path) as place:
        (tmp_path / "pictures").mkdir()
        for number in range(360):
            (tmp_path / f"pictures/{number:03}.png").write_bytes(b"")
        place.manifest(SYNC)
        for command in ("plan", "run"):
            told = place.retouch(command)
            assert told.returncode == 2
            lines = told.stderr.strip().splitlines()
            assert len(lines) <= 10, told.stderr
            assert "360 sources (pictures/000.png, pictures/001.png, pictures/002.png, ...)" in (
                told.stderr
            )
        listed = next(line for line in lines if "are listed in" in line).split(" in ")[-1]
        assert len((tmp_path / listed).read_text().splitlines()) == 360
        explained = place.retouch("plan")
        assert len(explained.stdout.splitlines()) <= 20


def test_after_a_rename_a_reworded_prompt_and_a_lost_picture_only_what_is_new_is_paid_for(
    tmp_path: Path,
) -> None:
    """By the provider's book; `export` holds the present jobs and nothing else; `verify` finds a
    flipped byte in each of the places."""
    with house(tmp_path) as place:
        twins(place)
        for number in (1, 2):
            path = place.folder / f"pictures/{number:03}.png"
            Image.new("RGB", (300, 300), (number * 40, 7, 90)).save(path)
        place.manifest(SYNC, prompts=2)
        manifest = place.folder / "manifest.yaml"
        text = manifest.read_text().replace("pictures/*.png", "pictures/**/*.png")
        manifest.write_text(text)
        assert place.retouch("run").returncode == 0
        assert len(place.book) == 6  # three different pictures, two prompts

        (place.folder / "pictures/more").rename(place.folder / "pictures/renamed")
        manifest.write_text(text.replace("template: edit 1", "template: edit one"))
        (place.outputs / IMAGES / "001-0.png").unlink()  # nowhere else
        (place.outputs / IMAGES / "000-0.png").unlink()  # its twin's place has the same bytes
        ran = place.retouch("run")
        assert ran.returncode == 0, ran.stderr
        assert "1 done job without a picture on disk: `--redo missing` pays" in ran.stderr
        assert len(place.book) == 6 + 3
        assert place.retouch("run", "--redo", "missing").returncode == 0
        assert len(place.book) == 6 + 3 + 1
        again = place.retouch("run", "--redo", "missing")
        assert (again.returncode, len(place.book)) == (0, 10)

        out = place.folder / "out"
        exported = place.retouch("export", "--to", str(out), "--format", "imagefolder")
        assert exported.returncode == 0, exported.stderr
        lines = (out / "train/metadata.jsonl").read_text().splitlines()
        found = Counter((row["source"], row["prompt_text"]) for row in map(json.loads, lines))
        names = ("000.png", "001.png", "002.png", "renamed/twin.png")
        assert found == Counter(
            (f"pictures/{name}", text) for name in names for text in ("edit 0", "edit one")
        )

        images = place.outputs / "images/gemini-2.5-flash-image"
        present = [images / f"p{prompt}/pictures" for prompt in (0, 1)]
        stems = [name.removesuffix(".png") for name in names]
        files = [next(folder.glob(f"{stem}-0*")) for folder in present for stem in stems]
        for path in files:
            data = bytearray(path.read_bytes())
            path.unlink()  # its other names keep their bytes
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        told = place.retouch("verify")
        assert told.returncode == 1
        for path in files:
            assert f"changed: {path.relative_to(place.outputs)}" in told.stdout
