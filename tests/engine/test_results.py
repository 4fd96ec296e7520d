"""From a result to kept pictures: what can be kept is kept, what cannot is said."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from retouch.dialects.base import EncodedPicture, LinkedPicture, Produced, Usage
from retouch.engine.outputs import Outputs
from retouch.engine.results import Received, receive
from retouch.errors import StorageFailed
from retouch.job import Job, Picture, Prompt, Source, Terms
from retouch.threads import in_place
from retouch.transport import Downloaded, DownloadFailed
from tests.support.provider import png

pytestmark = pytest.mark.anyio
JOB = Job(
    model="m",
    prompt=Prompt("p", "make it so"),
    source=Source("s.png", Picture("url:x", url="x")),
    output="images/s-{index}",
    terms=Terms(n=3),
)
EXPIRED = DownloadFailed("expired", 403, "expired", expired=True)
BROKEN = DownloadFailed("network", None, "reset", retryable=True)


def encoded(data: bytes) -> EncodedPicture:
    return EncodedPicture(base64.b64encode(data).decode())


async def received(
    folder: Path, *pictures: EncodedPicture | LinkedPicture, **files: bytes | DownloadFailed
) -> Received:
    """What is kept of these pictures; links lead to `files` by their URL."""

    async def download(url: str) -> Downloaded | DownloadFailed:
        found = files[url]
        return Downloaded(found) if isinstance(found, bytes) else found

    return await receive(
        JOB,
        1,
        Produced(pictures, Usage()),
        outputs=Outputs(folder),
        download=download,
        threads=in_place,
    )


async def test_pictures_are_kept_in_their_places(in_memory: Path) -> None:
    """Encoded or linked, each under its own number."""
    got = await received(in_memory, encoded(png("a")), LinkedPicture("u"), u=png("b"))
    assert [file.path for file in got.files] == ["images/s-0.png", "images/s-1.png"]
    assert got.is_whole
    assert (in_memory / "images/s-1.png").read_bytes() == png("b")


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (EncodedPicture("!!!"), "is not base64"),
        (EncodedPicture("猫"), "is not base64"),
        (encoded(b"<html>"), "is not a whole PNG, JPEG, WEBP, GIF or SVG"),
        (encoded(png()[:-9]), "is not a whole PNG, JPEG, WEBP, GIF or SVG"),
        (EncodedPicture(""), "is not a whole PNG, JPEG, WEBP, GIF or SVG"),
    ],
)
async def test_one_bad_picture_does_not_harm_the_others(
    bad: EncodedPicture, problem: str, in_memory: Path
) -> None:
    """The good ones keep their numbers; the bad one is said by its own."""
    got = await received(in_memory, encoded(png("a")), bad, encoded(png("c")))
    assert [file.path for file in got.files] == ["images/s-0.png", "images/s-2.png"]
    assert got.problems == (f"picture 1 {problem}",)
    assert not got.is_whole


async def test_a_download_that_is_no_picture_is_kept_in_quarantine(in_memory: Path) -> None:
    """It was paid for: people may want to look."""
    got = await received(in_memory, LinkedPicture("u"), u=b"<html>")
    assert not got.files
    (kept,) = (in_memory / "quarantine").iterdir()
    assert kept.name == f"{JOB.key}-1-0.body"
    assert kept.read_bytes() == b"<html>"


async def test_an_expired_url_is_what_matters_of_several_failures(in_memory: Path) -> None:
    """The Task can be asked for new URLs; a reset connection can only be tried again."""
    links = (LinkedPicture("a"), LinkedPicture("b"), LinkedPicture("c"))
    got = await received(in_memory, *links, a=BROKEN, b=EXPIRED, c=BROKEN)
    assert got.failed == EXPIRED
    assert len(got.problems) == 3


async def test_nothing_at_all_is_not_whole(in_memory: Path) -> None:
    """A reply without pictures holds no problem, and no result either."""
    got = await received(in_memory)
    assert got == Received((), ())
    assert not got.is_whole


async def test_a_full_disk_is_no_bad_picture(in_memory: Path) -> None:
    """It stops the run, and names the place."""
    (in_memory / "images").write_text("in the way")
    with pytest.raises(StorageFailed, match="images"):
        await received(in_memory, encoded(png()))
