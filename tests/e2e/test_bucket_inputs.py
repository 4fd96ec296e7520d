"""Pictures, tables, masks and lists in buckets, through the real commands on a real S3 server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from retouch.storage.bucket_url import BucketURL
from tests.support.buckets import S3Server, broken, client, seaweed

QUICK = (
    "models: [{model: gemini-2.5-flash-image, limits: {concurrency: 8}}]\n"
    "prompts: [{id: p, template: make it red}]\n"
)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with seaweed() as server:
        yield server


def retouch(
    folder: Path, server: S3Server, *words: str, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "retouch", *words],
        cwd=folder, env=os.environ | server.environment() | more,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def picture(number: int, *, noise: bool = False, size: int = 300) -> bytes:
    data = BytesIO()
    image = Image.new("RGB", (size, size), (number, 90, 90))
    if noise:
        image = Image.frombytes("RGB", (size, size), os.urandom(size * size * 3))
    image.save(data, "PNG")
    return data.getvalue()


def fill(s3: S3Server, folder: BucketURL, objects: dict[str, bytes]) -> None:
    store = client(s3)
    for name, data in objects.items():
        store.put_object(Bucket=folder.bucket, Key=(folder / name).key, Body=data)


def manifest(folder: Path, inputs: str, more: str = "") -> None:
    text = f"version: 1\nprovider: {{dialect: rehearsal}}\ninputs:\n{inputs}\n{QUICK}{more}"
    (folder / "m.yaml").write_text(text)


def planned(folder: Path, server: S3Server) -> tuple[dict[str, object], list[str], str]:
    """The plan's lane, its sources' names, and what was said."""
    done = retouch(folder, server, "plan", "m.yaml", "--json", "--explain")
    document = json.loads(done.stdout)
    return document["lanes"][0], [one["source"] for one in document.get("to_send", [])], done.stderr


def test_only_beginnings_are_read_until_pictures_are_sent(tmp_path: Path, s3: S3Server) -> None:
    """Large pictures by pattern: the plan reads a little of each, the second plan nothing; the run
    reads each once; names are the keys below the first wildcard."""
    folder = s3.new_bucket() / "set"
    large = {f"cats/{n}/{n}.png": picture(n, noise=True, size=400) for n in range(3)}
    fill(s3, folder, large | {"cats/0/note.txt": b"x", "dogs/0.png": picture(9)})
    manifest(tmp_path, f"  - {{glob: '{folder}/cats/**/*.png', exclude: ['2/*']}}")
    with broken(s3, lambda _request: False) as (front, seen):
        lane, names, said = planned(tmp_path, front)
        assert (lane["jobs"], names) == (2, ["0/0.png", "1/1.png"]), said
        gets = [path for path in seen.paths if path.startswith("GET") and "list-type" not in path]
        assert len(gets) == 2
        seen.paths.clear()
        planned(tmp_path, front)
        assert all("list-type" in path for path in seen.paths), seen.paths
        done = retouch(tmp_path, front, "run", "m.yaml")
        assert done.returncode == 0, done.stderr
        assert "2 done" in done.stderr
    got = float(done.stderr.partition(" put, ")[2].split()[0])
    whole = sum(len(large[name]) for name in ("cats/0/0.png", "cats/1/1.png"))
    assert whole / 1000 <= got * (1 if "kB got" in done.stderr else 1000) <= whole / 1000 * 1.05
    again = retouch(tmp_path, s3, "run", "m.yaml")
    assert "nothing to send" in again.stderr


def test_a_picture_is_the_same_work_from_the_disk_and_from_a_bucket(
    tmp_path: Path, s3: S3Server
) -> None:
    """Small ones by their bytes; what retouch itself mirrored by the digest it was put with."""
    folder = s3.new_bucket() / "set"
    (tmp_path / "here").mkdir()
    (tmp_path / "here/small.png").write_bytes(picture(1))
    (tmp_path / "here/large.png").write_bytes(picture(2, noise=True))
    manifest(tmp_path, "  - {glob: here/*.png}", f"output: {{mirror: '{folder}'}}\n")
    assert retouch(tmp_path, s3, "run", "m.yaml").returncode == 0
    fill(s3, folder, {"in/small.png": picture(1)})
    store, large = s3.at(folder), (tmp_path / "here/large.png").read_bytes()
    import hashlib  # noqa: PLC0415 - here alone

    store.put_new(folder / "in/large.png", large, hashlib.sha256(large).hexdigest(), "image/png")
    manifest(tmp_path, f"  - {{glob: '{folder}/in/*.png'}}")
    lane, names, said = planned(tmp_path, s3)
    assert (lane["to_send"], lane["reused"]) == (0, 2), (lane, names, said)


def test_tables_masks_and_lists_in_buckets(tmp_path: Path, s3: S3Server) -> None:
    """A table with its pictures beside it and addresses in full; masks by template; a list."""
    folder = s3.new_bucket() / "set"
    black = BytesIO()
    Image.new("L", (300, 300), 255).save(black, "PNG")
    fill(s3, folder, {
        "pics/a.png": picture(1), "pics/b.png": picture(2), "masks/a.png": black.getvalue(),
        "masks/b.png": black.getvalue(), "list.txt": f"{folder}/pics/a.png\n".encode(),
        "t.csv": f"image,animal\npics/a.png,cat\n{folder}/pics/b.png,dog\n".encode(),
    })  # fmt: skip
    manifest(tmp_path, f"  - {{table: '{folder}/t.csv', mask: '{folder}/masks/{{stem}}.png'}}")
    lane, names, said = planned(tmp_path, s3)
    assert (lane["jobs"], names) == (2, ["pics/a.png", "pics/b.png"]), said
    done = retouch(tmp_path, s3, "run", "m.yaml")
    assert done.returncode == 0, done.stderr
    manifest(tmp_path, f"  - {{urls: '{folder}/list.txt'}}")
    lane, names, said = planned(tmp_path, s3)
    assert (lane["jobs"], names) == (1, [f"{folder.bucket}/set/pics/a.png"]), said


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ("{glob: 's3://no-such-bucket/*.png'}", "no bucket 'no-such-bucket'"),
        ("{glob: '{folder}/nothing/*.png'}", "matches no object"),
        ("{glob: 's3://AK:SECRETWORD@b/x.png'}", "holds credentials"),
        ("{table: '{folder}/none.csv'}", "is not there"),
        ("{imagefolder: '{folder}/set'}", "labelled sets are read from a disk"),
        ("{glob: '{folder}/*.png'}", "is cut"),
        ("{glob: '{folder}/ok/*.png', mask: '{folder}/masks/none.png'}", "its mask"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(
    tmp_path: Path, s3: S3Server, inputs: str, said: str
) -> None:
    """By the plan: exit 2, with the manifest's line or the source's name, and no secret."""
    folder = s3.new_bucket()
    fill(s3, folder, {"cut.png": picture(1)[:-20], "ok/a.png": picture(1)})
    manifest(tmp_path, f"  - {inputs.replace('{folder}', str(folder).rstrip('/'))}")
    done = retouch(tmp_path, s3, "plan", "m.yaml")
    assert done.returncode == 2, done.stdout + done.stderr
    told = " ".join(done.stderr.split())
    assert said in told or (said == "is cut" and "cut.png" in told)
    assert "SECRETWORD" not in told
    assert "Traceback" not in told


def test_an_object_that_changed_since_it_was_planned_is_not_sent(
    tmp_path: Path, s3: S3Server
) -> None:
    """Nor one that is cut beyond what its beginning tells: failed, not final, nothing charged."""
    folder = s3.new_bucket()
    whole = picture(1, noise=True)
    fill(s3, folder, {"a.png": whole[:-100], "b.png": picture(2, noise=True)})
    manifest(tmp_path, f"  - {{glob: '{str(folder).rstrip('/')}/*.png'}}")
    done = retouch(tmp_path, s3, "run", "m.yaml")
    assert done.returncode == 1, done.stderr
    assert "1 done, 1 failed" in done.stderr
    fill(s3, folder, {"a.png": whole})
    assert retouch(tmp_path, s3, "run", "m.yaml").returncode == 0
