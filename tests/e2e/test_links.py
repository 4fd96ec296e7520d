"""Links to local pictures through the real service, which fetches them from a real S3 server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from retouch.ledger import Reader
from retouch.ledger.records import Done
from retouch.storage.bucket_url import BucketURL
from tests.support.buckets import S3Server, broken, seaweed
from tests.support.serving import serving

_SIGNATURE = re.compile(r"X-Amz-Signature=([0-9a-f]{64})")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with seaweed() as server:
        yield server


def retouch(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "retouch", *words],
        cwd=folder, env=os.environ | {"OPENAI_API_KEY": "any-key-0123456789"} | more,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (320, 320)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def set_up(folder: Path, to: BucketURL, *, base: str = "", more: str = "") -> None:
    """Two local subjects, one with a second picture, and a local style."""
    for number in range(2):
        picture(folder / f"pictures/{number}.png", (40 * number, 90, 90))
    picture(folder / "look/second.jpg", (200, 10, 10))
    picture(folder / "look/style.png", (10, 200, 10))
    address = f", base_url: '{base}'" if base else ""
    (folder / "manifest.yaml").write_text(
        f"version: 1\nprovider: {{dialect: qiniu{address}}}\n"
        "inputs: [{glob: pictures/*.png, images: [look/second.jpg]}]\n"
        "prompts: [{id: p, template: make it red}]\n"
        "models: [{model: kling-v2, images: subject_image_list, "
        "options: {style_image: look/style.png}, poll: {interval: 0.2}}]\n"
        f"publish: {{to: '{to}'{more}}}\n"
    )


def test_kling_gets_local_pictures_by_links_that_stand_nowhere(
    tmp_path: Path, s3: S3Server
) -> None:
    """Two subjects and a style a job, done; each put once by its digest, with its kind; no
    signature that the store saw is in any byte written or said."""
    to = s3.new_bucket() / "links"
    with (
        broken(s3, lambda _request: False) as (front, seen),
        serving("--seconds-per-task", "0") as served,
    ):
        set_up(tmp_path, to, base=f"{served.root}/v1", more=", allow_loopback: true")
        done = retouch(tmp_path, "run", "manifest.yaml", **front.environment())
        assert done.returncode == 0, done.stderr
        planned = retouch(tmp_path, "plan", "manifest.yaml", "--json", **front.environment())
    signatures = set(_SIGNATURE.findall("\n".join(seen.paths)))
    assert len(signatures) >= 4  # two subjects of their own, a shared second one, a style
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    told = (done.stdout + done.stderr + planned.stdout + planned.stderr).encode()
    for signature in signatures:
        assert not any(signature.encode() in data for data in (*written, told))
    puts = [path for path in seen.paths if path.startswith("PUT ")]
    assert len(puts) == len(set(puts)) == 4
    names = sorted(s3.objects(to))
    assert [name.partition(".")[2] for name in names].count("jpg") == 1
    assert all(re.fullmatch(r"[0-9a-f]{64}\.(png|jpg)", name) for name in names)
    ends = [
        one for one in Reader(tmp_path / "outputs/manifest/ledger.jsonl") if isinstance(one, Done)
    ]
    assert len(ends) == 2
    assert all(one.source_sha256 for one in ends)
    assert '"to_send": 0' in planned.stdout


def test_a_rehearsal_serves_its_links_itself(tmp_path: Path) -> None:
    """Offline: no bucket is reached, and there is none."""
    set_up(tmp_path, BucketURL("s3", "nowhere", "x"))
    done = retouch(
        tmp_path, "run", "manifest.yaml", "--rehearse", AWS_ENDPOINT_URL="http://127.0.0.1:1"
    )
    assert done.returncode == 0, done.stderr
    assert "2 done" in done.stderr


def test_links_that_no_provider_can_reach_are_refused_before_a_cent(
    tmp_path: Path, s3: S3Server
) -> None:
    """To this machine, unless that is meant; the message says what to write."""
    with serving("--seconds-per-task", "0", "--book", str(tmp_path / "book")) as served:
        set_up(tmp_path, s3.new_bucket() / "x", base=f"{served.root}/v1")
        refused = retouch(tmp_path, "run", "manifest.yaml", **s3.environment())
    assert refused.returncode == 4, refused.stderr
    assert "allow_loopback: true" in refused.stderr
    assert b'"started"' not in (tmp_path / "outputs/manifest/ledger.jsonl").read_bytes()


def test_a_link_that_gives_no_picture_is_found_before_a_cent(tmp_path: Path, s3: S3Server) -> None:
    """What is presigned by credentials that may not read leads to 403: exit 4, nothing sent."""
    if not any(True for _ in s3.objects(BucketURL("s3", s3.new_bucket("rights").bucket))):
        pass
    with serving("--seconds-per-task", "0") as served:
        set_up(
            tmp_path, BucketURL("s3", "rights", "x"), base=f"{served.root}/v1",
            more=", allow_loopback: true",
        )  # fmt: skip
        environment = s3.environment("AKWRITER", "secret-of-writer")
        refused = retouch(tmp_path, "run", "manifest.yaml", **environment)
    assert refused.returncode == 4, refused.stderr
    assert "answers 403" in refused.stderr
    assert "Signature" not in refused.stderr
    assert b'"started"' not in (tmp_path / "outputs/manifest/ledger.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("size", "name", "said"),
    [((299, 320), "style.png", "each side must have at least 300"),
     ((300, 751), "style.png", "at most 2.5:1"), ((320, 320), "style.webp", "takes JPEG, PNG")],
)  # fmt: skip
def test_klings_limits_hold_for_what_is_published(
    tmp_path: Path, size: tuple[int, int], name: str, said: str
) -> None:
    """A style's like a subject's, by the plan, at the option's place."""
    set_up(tmp_path, BucketURL("s3", "bucket", "x"))
    picture(tmp_path / "look" / name, (1, 2, 3), size)
    text = (tmp_path / "manifest.yaml").read_text().replace("look/style.png", f"look/{name}")
    (tmp_path / "manifest.yaml").write_text(text)
    planned = retouch(tmp_path, "plan", "manifest.yaml")
    assert planned.returncode == 2
    assert said in planned.stderr
    assert "manifest.yaml:5:" in planned.stderr
    picture(tmp_path / "pictures/0.png", (1, 2, 3), (299, 320))
    assert "each side must have at least 300" in retouch(tmp_path, "plan", "manifest.yaml").stderr


def test_without_publish_a_file_is_told_what_to_write(tmp_path: Path) -> None:
    """For sources and for options alike."""
    set_up(tmp_path, BucketURL("s3", "bucket", "x"))
    text = re.sub("publish: .*", "", (tmp_path / "manifest.yaml").read_text())
    (tmp_path / "manifest.yaml").write_text(text)
    planned = retouch(tmp_path, "plan", "manifest.yaml")
    assert planned.returncode == 2
    assert planned.stderr.count("publish: {to: s3://...}") >= 2
