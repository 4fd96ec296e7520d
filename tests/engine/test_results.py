"""From a result to kept pictures: what can be kept is kept, what cannot is said."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from retouch.dialects.base import EncodedPicture, LinkedPicture, Produced, Usage
from retouch.engine.memory import Memory
from retouch.engine.outputs import Outputs
from retouch.engine.results import Received, expiry_of, patient_download, receive
from retouch.errors import StorageFailed
from retouch.job import Job, Picture, Prompt, Source, Terms
from retouch.ledger.records import FileRecord
from retouch.storage.gathered import Gathered
from retouch.threads import in_place
from retouch.transport import Downloaded, DownloadFailed
from tests.support.provider import Mishap, Provider, png
from tests.support.workbench import Bench

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


class Copies:
    """Stands where a mirror does, and keeps what it is given."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    async def put(self, file: FileRecord, data: bytes) -> None:
        self.held[file.path] = data


Files = bytes | DownloadFailed | Downloaded | list[bytes] | list[Downloaded]


async def received(
    folder: Path,
    *pictures: EncodedPicture | LinkedPicture,
    mirror: Copies | None = None,
    large: anyio.Lock | None = None,
    **files: Files,
) -> Received:
    """What is kept of these pictures; links lead to `files` by their URL: of several, one after
    the other, as often as it is fetched."""

    async def download(url: str) -> Downloaded | DownloadFailed:
        found = files[url]
        if isinstance(found, list):
            found = found.pop(0)
        return Downloaded(found) if isinstance(found, bytes) else found

    return await receive(
        JOB,
        1,
        Produced(pictures, Usage()),
        outputs=Outputs(folder),
        download=download,
        threads=in_place,
        mirror=mirror,  # type: ignore[arg-type]
        large=large,
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


PAGE = b"<html><body>sign in first</body></html>"
SCRAP = b"\x7fELF\2\1\1"


@pytest.mark.parametrize("harmed", [PAGE, b"{}", b"try later", png("b")[:-9]])
async def test_what_was_harmed_on_its_way_is_fetched_again(in_memory: Path, harmed: bytes) -> None:
    """A proxy's page, a text or a picture cut short in its place: free to fetch anew."""
    got = await received(in_memory, LinkedPicture("u"), u=[harmed, png("b")])
    assert got.is_whole
    assert (in_memory / got.files[0].path).read_bytes() == png("b")
    [kept] = (in_memory / "quarantine").iterdir()
    assert kept.read_bytes() == harmed


@pytest.mark.parametrize(
    ("harmed", "called"), [(PAGE, "an HTML page"), (png("b")[:-9], "a PNG picture")]
)
async def test_what_is_harmed_twice_is_a_download_that_failed(
    in_memory: Path, harmed: bytes, called: str
) -> None:
    """It says what came, and whose URL by its digest alone: the Task may be asked again."""
    got = await received(in_memory, LinkedPicture("u"), u=[harmed, harmed])
    assert got.failed == DownloadFailed(
        "broken_reply", 200, f"what comes is {called}, or cut short"
    )
    digest = hashlib.sha256(b"u").hexdigest()[:16]
    assert got.problems == (f"picture 0: {got.failed.message} (URL sha256:{digest})",)


async def test_what_was_never_a_picture_is_fetched_once(in_memory: Path) -> None:
    """Other bytes, whole: the same would come again."""
    got = await received(in_memory, LinkedPicture("u"), u=[SCRAP])
    assert (got.files, got.failed) == ((), None)
    assert got.problems == ("picture 0 is not a whole PNG, JPEG, WEBP, GIF or SVG",)


async def test_a_url_with_half_a_character_has_a_digest_too(in_memory: Path) -> None:
    """Whatever a server names as its picture's URL, what went wrong with it is said."""
    files: dict[str, Any] = {"\ud83d": BROKEN}
    got = await received(in_memory, LinkedPicture("\ud83d"), **files)
    assert "(URL sha256:" in got.problems[0]


async def test_every_picture_that_is_kept_is_copied_whole(in_memory: Path) -> None:
    """The mirror gets the bytes of each, encoded or fetched, in memory or beside it; what could
    not be kept is not copied."""
    copies = Copies()
    beside = Downloaded(gathered=Gathered(png("b")[:20], png("b")[20:]))
    pictures = (encoded(png("a")), LinkedPicture("u"), EncodedPicture("!"))
    got = await received(in_memory, *pictures, mirror=copies, u=beside)
    assert copies.held == {"images/s-0.png": png("a"), "images/s-1.png": png("b")}
    for file in got.files:
        data = copies.held[file.path]
        assert (file.sha256, file.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
        assert (file.media_type, file.width, file.height) == ("image/png", 8, 8)


async def test_damage_that_touches_no_pixel_is_said_by_the_pictures_number(
    in_memory: Path,
) -> None:
    """Kept all the same."""
    remark = png("b").replace(b"seed\0b", b"seed\0c")  # its checksum is wrong now
    got = await received(in_memory, encoded(remark), encoded(png("a")), encoded(remark))
    assert got.is_whole
    assert [warning[:11] for warning in got.warnings] == ["picture 0: ", "picture 2: "]
    assert len(got.warnings[0]) > 15


async def test_more_pictures_than_were_asked_for_are_counted_and_not_kept(in_memory: Path) -> None:
    """The first of them are."""
    got = await received(in_memory, *(encoded(png(str(number))) for number in range(5)))
    assert len(got.files) == 3
    assert got.problems == ("5 pictures came, 3 were asked for: the others were not kept",)


@pytest.mark.virtual_time
@pytest.mark.parametrize("data", [png("b"), SCRAP], ids=["a picture", "something else"])
@pytest.mark.parametrize("is_on_disk", [True, False])
async def test_what_went_to_the_disk_is_looked_through_one_at_a_time(
    in_memory: Path, data: bytes, is_on_disk: bool
) -> None:
    """Another large one is looked through for 10 s: what is on the disk waits for it, what is in
    memory does not."""
    large, began = anyio.Lock(), anyio.current_time()
    took: list[float] = []

    async def one() -> None:
        await received(in_memory, LinkedPicture("u"), large=large, u=[Downloaded(gathered=came)])
        took.append(anyio.current_time() - began)

    memory = Memory(0 if is_on_disk else 1_000_000)
    async with memory.lease(0, lambda: Outputs(in_memory).part("images/x")) as room:
        came = Gathered(room=room)
        came.add(data)
        assert (came.part is not None) is is_on_disk
        async with anyio.create_task_group() as group, large:
            group.start_soon(one)
            await anyio.sleep(10)
    assert took == [pytest.approx(10 if is_on_disk else 0)]


class Chance(random.Random):
    """Always the longest or the shortest of what may be."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self._share


BUSY = Mishap(502, b"<html>bad gateway</html>")
NOT_THERE = Mishap(404, b"no such file")
EXPIRED_URL = Mishap(403, b"expired")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def fetched(
    folder: Path, provider: Provider, *, query: str = "", within: float, share: float = 1.0
) -> tuple[Downloaded | DownloadFailed, list[float]]:
    """What a download came to, and at which seconds it was tried."""
    began = anyio.current_time()
    async with Bench(folder, provider).connected() as transport:
        got = await patient_download(
            transport,
            f"http://127.0.0.1/files/1.png{query}",
            timeout_seconds=within,
            chance=Chance(share),
            wall_clock=lambda: NOON,
        )
    return got, [seen.at - began for seen in provider.seen]


@pytest.mark.virtual_time
async def test_a_server_that_is_busy_is_asked_ever_more_rarely_until_the_timeout(
    in_memory: Path,
) -> None:
    """After 1, 2, 4, 8 s and then every 15 at most, never in less than a fifth of a second; no
    more once the next would come too late."""
    got, tried = await fetched(in_memory, Provider(file_mishaps=[BUSY] * 900), within=105.0)
    assert isinstance(got, DownloadFailed)
    assert got.status == 502
    assert tried == pytest.approx([0, 1, 3, 7, 15, 30, 45, 60, 75, 90])
    _, tried = await fetched(in_memory, Provider(file_mishaps=[BUSY] * 900), within=2.0, share=0.0)
    assert [later - one for one, later in pairwise(tried)] == pytest.approx([0.2] * 9, abs=1e-6)


@pytest.mark.virtual_time
async def test_a_download_that_hangs_is_tried_once_more(in_memory: Path) -> None:
    """Each try may take the whole timeout, and there are two."""

    class Hanging(Provider):
        async def _answer(self, *asked: Any) -> Any:
            answer = await super()._answer(*asked)
            await anyio.sleep(10_000)
            return answer

    got, tried = await fetched(in_memory, Hanging(), within=20.0)
    assert isinstance(got, DownloadFailed)
    assert tried == pytest.approx([0, 21])


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("query", "mishap", "tries"),
    [
        ("", NOT_THERE, 3),
        (f"?e={NOON.timestamp() + 1:.0f}", NOT_THERE, 3),
        (f"?e={NOON.timestamp():.0f}", NOT_THERE, 1),  # it says itself that it is over
        (f"?e={NOON.timestamp() + 99:.0f}", EXPIRED_URL, 1),
        ("", Mishap(410, b"gone"), 1),
        (f"?e={NOON.timestamp() - 99:.0f}", BUSY, 3),
    ],
)
async def test_what_is_not_there_may_only_not_be_there_yet(
    in_memory: Path, query: str, mishap: Mishap, tries: int
) -> None:
    """Unless its URL has expired, or the server says that it is no longer good."""
    provider = Provider(file_mishaps=[mishap] * 2)
    got, tried = await fetched(in_memory, provider, query=query, within=60.0)
    assert len(tried) == tries
    assert isinstance(got, Downloaded) is (tries == 3)


def brands() -> Iterable[tuple[str, str]]:
    for brand in ("Amz", "Goog", "oss", "Tos"):
        yield f"X-{brand}-Date=20260301T120000Z&X-{brand}-Expires=90", "+90"
        yield f"X-{brand}-Date=20260301T120000Z", "none"
        yield f"X-{brand}-Expires=90", "none"
        yield f"X-{brand}-Date=20260301T120000Z&X-{brand}-Expires=soon", "none"
    for name in ("e", "Expires", "x-oss-expires-at"):
        yield f"{name}={NOON.timestamp() + 90:.0f}", "+90"
    yield "X-Amz-Expires=5&X-Goog-Date=20260301T120000Z&X-Goog-Expires=90", "+90"
    yield "X-Amz-Date=20260301T120000Z&X-Tos-Date=20260301T120000Z&X-Tos-Expires=90", "+90"
    yield "se=2026-03-01T12:01:30Z", "+90"
    yield "se=2026-03-01T12:01:30", "+90"  # Azure's times are in UTC
    yield "se=2026-03-01T20:01:30%2B08:00", "+90"
    yield "se=soon", "none"


@pytest.mark.parametrize(("query", "end"), list(brands()))
def test_every_brand_of_signature_tells_its_end(query: str, end: str) -> None:
    """In UTC, whatever else the URL says; half of it says nothing."""
    expected = NOON + timedelta(seconds=90) if end == "+90" else None
    assert expiry_of(f"https://e.com/1.png?a=1&{query}&token=b") == expected
