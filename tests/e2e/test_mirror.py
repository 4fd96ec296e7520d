"""The real program with a mirror on a real S3 server; oracles: the provider's book, and boto3."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from retouch.cli import main
from retouch.ledger import Reader
from retouch.ledger.records import Done
from retouch.storage import bucket_lease
from retouch.storage.bucket_url import BucketURL
from retouch.storage.part import ledgers_in
from tests.e2e.house import CANARY, House, house
from tests.support.buckets import S3Server, broken, lost_answer, seaweed, slow_down

GEMINI = """
  - model: gemini-2.5-flash-image
    limits: {concurrency: 8}
    price: {currency: CNY, input_per_million: 2.1, output_per_million: 210}
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with seaweed() as server:
        yield server


@pytest.fixture
def mirror(s3: S3Server) -> BucketURL:
    return s3.new_bucket() / "out/cats"


def set_up(place: House, server: S3Server, mirror: BucketURL, pictures: int) -> None:
    """Pictures, and a manifest with the mirror; the environment says how to reach it."""
    place.pictures(pictures)
    place.manifest(GEMINI)
    with (place.folder / "manifest.yaml").open("a") as file:
        file.write(f"output: {{mirror: '{mirror}'}}\n")
    os.environ.update(server.environment())


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def tree(folder: Path) -> dict[str, str]:
    """Every picture of an outputs folder, by its digest."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "images").rglob("*.png")
    }


def mirrored(s3: S3Server, mirror: BucketURL) -> tuple[dict[str, str], bytes]:
    """The mirror's pictures by digest, and its ledger put together."""
    objects = s3.objects(mirror)
    pictures = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in objects.items()
        if name.startswith("images/")
    }
    parts = sorted(name for name in objects if name.startswith("ledger/"))
    return pictures, b"".join(objects[name] for name in parts)


def assert_equal(place: House, s3: S3Server, mirror: BucketURL) -> None:
    """The mirror is the tree, by digest, and its ledger the ledger, byte by byte."""
    pictures, ledger = mirrored(s3, mirror)
    assert pictures == tree(place.outputs)
    assert ledger == (place.outputs / "ledger.jsonl").read_bytes()


def test_a_run_with_mirror_is_there_and_in_the_book(
    tmp_path: Path, s3: S3Server, mirror: BucketURL
) -> None:
    """60 pictures: ledger equal to the book, mirror equal to the tree, the report there too; and
    a finished manifest sends nothing more."""
    with house(tmp_path, seconds=0.02) as place:
        set_up(place, s3, mirror, 60)
        done = place.retouch("run")
        assert done.returncode == 0, done.stderr
        assert f"60 pictures, ledger and report copied to {mirror}" in done.stderr
        assert "buckets: " in done.stderr
        assert_equal(place, s3, mirror)
        kept = [one for one in Reader(place.outputs / "ledger.jsonl") if isinstance(one, Done)]
        assert len(kept) == len(place.book) == 60
        objects = s3.objects(mirror)
        assert {"report/index.html", "manifest.yaml", "mirror.json"} <= set(objects)
        again = place.retouch("run")
        assert again.returncode == 0
        assert len(place.book) == 60
        compared = place.retouch("mirror")
        assert compared.returncode == 0, compared.stderr
        assert "60 pictures compared by digest" in compared.stderr


@pytest.mark.parametrize("mishap", [slow_down, lost_answer])
def test_every_third_call_fails_and_nothing_is_lost(
    tmp_path: Path, s3: S3Server, mirror: BucketURL, mishap: object
) -> None:
    """Throttled, or answers lost on their way back: all is there in the end."""
    with house(tmp_path, seconds=0.02) as place, broken(s3, mishap, every=3) as (front, state):  # type: ignore[arg-type]
        set_up(place, front, mirror, 20)
        done = place.retouch("run")
        assert done.returncode == 0, done.stderr
        assert state.broken >= 10
        assert len(place.book) == 20
        assert_equal(place, s3, mirror)


def test_a_server_that_is_gone_fails_no_job_and_is_caught_up(
    tmp_path: Path, s3: S3Server, mirror: BucketURL
) -> None:
    """Stopped in mid-run: every picture is kept and `done`, what lacks is said, exit 1; back
    again, `retouch mirror` completes it."""
    with house(tmp_path, held_after=10) as place:
        set_up(place, s3, mirror, 40)
        process = place.start("run")
        place.wait_until(lambda: len(place.book) == 10, process)
        s3.stop()
        place.release()
        try:
            _, errors = process.communicate(timeout=120)
        finally:
            s3.start()
        assert process.returncode == 1, errors
        assert "the mirror lacks" in errors
        assert "retouch mirror" in errors
        assert place.state.counts() == Counter(done=40)
        assert len(place.book) == 40
        done = place.retouch("mirror")
        assert done.returncode == 0, done.stderr
        assert_equal(place, s3, mirror)


def test_a_server_that_comes_back_in_mid_run_is_caught_up_at_the_end(
    tmp_path: Path, s3: S3Server, mirror: BucketURL
) -> None:
    """Stopped and started while the run goes on: exit 0, nothing missing."""
    with house(tmp_path, held_after=10) as place:
        set_up(place, s3, mirror, 40)
        process = place.start("run")
        place.wait_until(lambda: len(place.book) == 10, process)
        s3.stop()
        time.sleep(0.5)
        s3.start()
        place.release()
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert len(place.book) == 40
        assert_equal(place, s3, mirror)


def test_killed_again_and_again_the_mirror_is_the_tree(
    tmp_path: Path, s3: S3Server, mirror: BucketURL
) -> None:
    """kill -9 at three random moments (30 in the torture); then run to the end."""
    killed_with_mirror(tmp_path, s3, mirror, kills=3, seed=1)


def killed_with_mirror(
    folder: Path, s3: S3Server, mirror: BucketURL, *, kills: int, seed: int
) -> None:
    """Kill runs at random moments, then finish: nothing is bought twice, the mirror is the tree."""
    chance = random.Random(seed)
    with house(folder, seconds=0.05) as place:
        set_up(place, s3, mirror, kills * 8 + 8)
        for _ in range(kills):
            enough = len(place.book) + chance.randint(1, 6)
            process = place.start("run")
            while len(place.book) < enough and process.poll() is None:
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.1))
            process.kill()
            process.communicate()
        last = place.retouch("run")
        assert last.returncode in (0, 1), last.stderr
        assert "the mirror lacks" not in last.stderr
        bought = Counter(charge.request for charge in place.book)
        assert max(bought.values()) == 1
        assert_equal(place, s3, mirror)
        again = place.retouch("run", "--redo", "unknown")
        assert again.returncode == 0, again.stderr
        assert_equal(place, s3, mirror)


def test_a_second_machine_goes_on_and_nothing_is_bought_twice(
    tmp_path: Path, s3: S3Server, mirror: BucketURL
) -> None:
    """The first does some, ends; the second fetches and does the rest; the first then sees that
    it is behind, and fetches too."""
    with house(tmp_path, seconds=0.02) as place:
        set_up(place, s3, mirror, 20)
        assert place.retouch("run", "--limit", "8").returncode == 0
        os.environ["RETOUCH_OUTPUTS"] = "second"
        fetched = place.retouch_on("fetch", str(mirror))
        assert fetched.returncode == 0, fetched.stderr
        assert "8 pictures fetched" in fetched.stderr
        done = place.retouch("run")
        assert done.returncode == 0, done.stderr
        assert "12 done" in done.stderr
        assert len(place.book) == 20
        assert len({charge.request for charge in place.book}) == 20
        verified = place.retouch("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert tree(tmp_path / "second/manifest") == mirrored(s3, mirror)[0]
        del os.environ["RETOUCH_OUTPUTS"]
        behind = place.retouch("run")
        assert behind.returncode == 4, behind.stderr
        assert "another machine has gone on" in behind.stderr
        assert len(place.book) == 20
        assert place.retouch_on("fetch", str(mirror), "--to", "outputs").returncode == 0
        assert place.retouch("run").returncode == 0
        assert len(place.book) == 20


def test_two_machines_at_once_the_second_is_refused(
    tmp_path: Path, s3: S3Server, mirror: BucketURL
) -> None:
    """Who holds it is said; neither run nor fetch goes on, and nothing is bought by it."""
    with house(tmp_path, held_after=8) as place:
        set_up(place, s3, mirror, 30)
        first = place.start("run")
        place.wait_until(lambda: len(place.book) == 8, first)
        second = place.retouch("run", "--outputs", "second")
        assert second.returncode == 4, second.stderr
        assert "another run goes on from this mirror" in second.stderr
        assert not (tmp_path / "second/manifest/ledger.jsonl").exists()
        fetched = place.retouch_on("fetch", str(mirror), "--to", "third")
        assert fetched.returncode == 4, fetched.stderr
        place.release()
        _, errors = first.communicate(timeout=60)
        assert first.returncode == 0, errors
        assert len(place.book) == 30


def test_what_a_dead_machine_left_is_held_not_bought(
    tmp_path: Path,
    s3: S3Server,
    mirror: BucketURL,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Killed, its machine lost: the second refuses to go on unasked; fetched, what the ledger does
    not name is held until somebody says what is known."""
    with house(tmp_path, held_after=10) as place:
        set_up(place, s3, mirror, 20)
        assert place.retouch("run", "--limit", "5").returncode == 0
        process = place.start("run")
        place.wait_until(lambda: len(place.book) == 10, process)
        process.kill()
        process.communicate()
        bought = len(place.book)
        assert b'"released":false' in s3.objects(mirror)["lease/ledger.jsonl.json"]
        early = place.retouch_on("fetch", str(mirror), "--to", "second")
        assert early.returncode == 4  # it may be alive: nobody has waited long enough
        monkeypatch.setattr(bucket_lease, "STALE_SECONDS", 1.0)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("OPENAI_API_KEY", CANARY)
        time.sleep(2)
        assert main(["run", "manifest.yaml", "--outputs", "second"]) == 4
        assert "did not end" in capsys.readouterr().err
        assert main(["fetch", str(mirror), "--to", "second"]) == 1
        assert "no job that it does not name is sent" in capsys.readouterr().err
        held = place.retouch("run", "--outputs", "second")
        assert held.returncode == 1, held.stderr
        assert "15 jobs held" in held.stderr
        assert len(place.book) == bought
        late = place.retouch("run")  # the dead machine was alive after all
        assert late.returncode == 4, late.stderr
        assert len(place.book) == bought


def test_a_mirror_that_cannot_be_written_is_found_before_a_cent(
    tmp_path: Path, s3: S3Server
) -> None:
    """No such bucket: exit 4, nothing sent, no secret said; `--no-mirror` runs without it."""
    with house(tmp_path, seconds=0.02) as place:
        set_up(place, s3, BucketURL("s3", "no-such-bucket", "x"), 3)
        refused = place.retouch("run")
        assert refused.returncode == 4, refused.stderr
        assert "no bucket 'no-such-bucket'" in refused.stderr
        assert not place.book
        assert place.retouch("run", "--no-mirror").returncode == 0
        assert len(place.book) == 3


def test_a_server_that_does_not_answer_hinders_no_run(tmp_path: Path, s3: S3Server) -> None:
    """Said at once and at the end; the pictures are kept, exit 1."""
    with house(tmp_path, seconds=0.02) as place:
        set_up(place, S3Server("http://127.0.0.1:1"), BucketURL("s3", "bucket", "x"), 3)
        done = place.retouch("run")
        assert done.returncode == 1, done.stderr
        assert "goes on without it" in done.stderr
        assert place.state.counts() == Counter(done=3)


def test_a_stranger_in_the_mirror_is_never_written_over(
    tmp_path: Path, s3: S3Server, mirror: BucketURL
) -> None:
    """Other bytes under a picture's name: kept there, said, exit 1."""
    with house(tmp_path, seconds=0.02) as place:
        set_up(place, s3, mirror, 3)
        name = "images/gemini-2.5-flash-image/p0/pictures/001-0.png"
        s3.at(mirror).put_over(mirror / name, b"a stranger's", "image/png")
        done = place.retouch("run")
        assert done.returncode == 1, done.stderr
        assert "holds other bytes" in done.stderr
        assert s3.objects(mirror)[name] == b"a stranger's"
        assert place.state.counts() == Counter(done=3)


@pytest.mark.parametrize("outputs", [("outputs", "outputs"), ("outputs", "elsewhere")])
def test_shards_have_one_mirror_and_fetch_brings_all_of_it(
    tmp_path: Path, s3: S3Server, mirror: BucketURL, outputs: tuple[str, str]
) -> None:
    """Two shards, on one file system or each on its own: every picture and each shard's ledger are
    in the bucket, and a machine that fetches them has nothing left to buy."""
    with house(tmp_path, seconds=0.02) as place:
        set_up(place, s3, mirror, 12)
        for shard, folder in zip(("1/2", "2/2"), outputs, strict=True):
            done = place.retouch("run", "--shard", shard, "--outputs", folder)
            assert done.returncode == 0, done.stderr
        assert len(place.book) == 12
        fetched = place.retouch_on("fetch", str(mirror), "--to", "third")
        assert fetched.returncode == 0, fetched.stderr
        folders = {name: place.folder / name / "manifest" for name in (*outputs, "third")}
        made = {path: digest for name in outputs for path, digest in tree(folders[name]).items()}
        assert len(made) == 12
        assert tree(folders["third"]) == mirrored(s3, mirror)[0] == made
        for index, name in enumerate(outputs, 1):
            ledger = f"ledger.{index}-of-2.jsonl"
            there = (folders["third"] / ledger).read_bytes()
            assert there == (folders[name] / ledger).read_bytes()
        again = place.retouch("run", "--outputs", "third")
        assert "12 done" in again.stderr
        assert len(place.book) == 12


def test_a_run_on_ray_leaves_its_pictures_and_its_ledgers_in_the_mirror(
    tmp_path: Path, s3: S3Server, mirror: BucketURL
) -> None:
    """Each worker copies what its shards make; at the run's end all of it is there."""
    with house(tmp_path, seconds=0.02) as place:
        set_up(place, s3, mirror, 12)
        done = place.retouch("run", "--no-report", "--ray", "--workers", "2")
        assert done.returncode == 0, done.stderr
        assert len(place.book) == 12
        assert mirrored(s3, mirror)[0] == tree(place.outputs)
        objects = s3.objects(mirror)
        ledgers = ledgers_in(place.outputs)
        assert len(ledgers) == 8
        for ledger in ledgers:
            parts = sorted(name for name in objects if name.startswith(f"ledger/{ledger.stem}"))
            assert b"".join(objects[name] for name in parts) == ledger.read_bytes()
