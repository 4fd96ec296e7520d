"""Links to pictures: what they lead to is the picture, they are put once and tried once, and what
cannot be had is told without the link."""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from retouch.engine import links as module
from retouch.engine.links import (
    BucketLinks,
    RehearsedLinks,
    media_type_of,
    probe,
    refuse_unreachable,
)
from retouch.errors import Refused, WorkRefused
from retouch.job import Picture
from retouch.storage.bucket_url import BucketURL
from tests.support.buckets import Broken, S3Server, broken, moto_here
from tests.support.memory_bucket import FOLDER, MemoryBucket, fault
from tests.support.raw_server import Peer, Server, serving

DATA = b"a picture's bytes"
DIGEST = hashlib.sha256(DATA).hexdigest()
JPEG = Picture("sha256:1", file="/x.jpg", media_type="image/jpeg")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with moto_here() as server:
        yield server


@pytest.fixture
def front(s3: S3Server) -> Iterator[tuple[S3Server, Broken]]:
    """What is asked of the server is counted on the way."""
    with broken(s3, lambda _: False) as found:
        yield found


def links(
    front: tuple[S3Server, Broken], seconds: float = 600, *, allow_loopback: bool = True
) -> BucketLinks:
    folder = front[0].new_bucket() / "of/runs"
    front[1].paths.clear()
    return BucketLinks(front[0].at(folder), folder, seconds, allow_loopback)


def asked(front: tuple[S3Server, Broken]) -> list[str]:
    """Methods and names, in order, without what is signed."""
    return [
        f"{method} {path.partition('?')[0].rpartition('/')[2]}"
        for method, path in (each.split(" ", 1) for each in front[1].paths)
    ]


@pytest.mark.parametrize(
    ("picture", "kind"),
    [
        (JPEG, "image/jpeg"),
        (Picture("sha256:1", media_type="image/webp"), "image/webp"),
        (Picture("sha256:1", media_type="image/jpeg", transforms=("orient",)), "image/png"),
        (Picture("sha256:1"), "image/png"),
    ],
)
def test_a_picture_is_told_as_what_is_sent(picture: Picture, kind: str) -> None:
    """What a transform writes is PNG."""
    assert media_type_of(picture) == kind


def test_a_link_leads_to_the_picture_put_once_and_tried_once(
    front: tuple[S3Server, Broken],
) -> None:
    """By its digest, for so many seconds, whoever has the link; a link is made anew each time, and
    nothing more is asked for it."""
    made = links(front, 77.0)

    async def three() -> list[str]:
        return [await made.of(JPEG, DATA) for _ in range(3)]

    found = anyio.run(three)
    name = f"{DIGEST}.jpg"
    assert asked(front) == [f"PUT {name}", f"GET {name}"]
    for link in found:
        parts = urlsplit(link)
        assert parts.path == f"/{made.folder.bucket}/of/runs/{name}"
        assert parse_qs(parts.query)["X-Amz-Expires"] == ["77"]
    with urllib.request.urlopen(found[-1]) as reply:  # noqa: S310 - our own server
        assert reply.read() == DATA
        assert reply.headers["content-type"] == "image/jpeg"
    _, stat = front[0].at(made.folder).get(made.folder / name, 10**6)
    assert stat.sha256 == DIGEST


def test_a_second_picture_is_put_and_not_tried(front: tuple[S3Server, Broken]) -> None:
    """Its kind is in its name, none where it has no common one."""
    made = links(front)

    async def all_of_them() -> None:
        await made.of(JPEG, DATA)
        await made.of(Picture("sha256:2", media_type="image/gif"), b"gif")
        await made.of(Picture("sha256:3", media_type="image/webp"), b"webp")
        await made.of(Picture("sha256:4"), b"png")

    anyio.run(all_of_them)
    names = [
        f"{hashlib.sha256(data).hexdigest()}{suffix}"
        for data, suffix in ((b"gif", ""), (b"webp", ".webp"), (b"png", ".png"))
    ]
    assert asked(front)[2:] == [f"PUT {name}" for name in names]


def test_many_at_once_try_one(front: tuple[S3Server, Broken]) -> None:
    """The first link that is there; the others wait for what comes of it."""
    made = links(front)

    async def many() -> None:
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(made.of, JPEG, b"%d" % number)

    anyio.run(many)
    assert sorted(each[:3] for each in asked(front)) == ["GET"] + ["PUT"] * 8


def test_what_lies_there_already_is_linked_to(front: tuple[S3Server, Broken]) -> None:
    """Put by an earlier run, with the same bytes."""
    made = links(front)
    front[0].at(made.folder).put_new(made.folder / f"{DIGEST}.jpg", DATA, DIGEST, "image/jpeg")
    link = anyio.run(made.of, JPEG, DATA)
    with urllib.request.urlopen(link) as reply:  # noqa: S310 - our own server
        assert reply.read() == DATA


@pytest.mark.parametrize("there", [b"another's", b""])
def test_other_bytes_under_a_digest_are_refused_and_kept(
    front: tuple[S3Server, Broken], there: bytes
) -> None:
    made = links(front)
    place = made.folder / f"{DIGEST}.jpg"
    front[0].at(made.folder).put_over(place, there, "image/jpeg")
    with pytest.raises(Refused) as refused:
        anyio.run(made.of, JPEG, DATA)
    assert type(refused.value) is Refused
    assert refused.value.message == (
        f"publish: {place}: holds other bytes than its name says, and keeps them"
    )
    assert refused.value.hint == ("somebody else wrote there: move it away, or publish elsewhere")
    assert front[0].objects(made.folder) == {f"{DIGEST}.jpg": there}


@pytest.mark.parametrize(("why", "kind"), [("throttled", WorkRefused), ("denied", Refused)])
def test_what_the_bucket_refuses_is_told_with_its_remedy(why: str, kind: type[Refused]) -> None:
    """What may pass stops the lane alone, and results are still fetched."""
    bucket = MemoryBucket()
    bucket.hinder = _raises(lambda: fault(why, hint="do so"))  # type: ignore[arg-type]
    with pytest.raises(Refused) as refused:
        anyio.run(BucketLinks(bucket, FOLDER, 60).of, JPEG, DATA)
    assert type(refused.value) is kind
    assert (refused.value.message, refused.value.hint) == (f"publish: the store is {why}", "do so")


def _raises(make: Callable[[], Exception]) -> Callable[[str, str], None]:
    def hinder(_what: str, _key: str) -> None:
        raise make()

    return hinder


def test_a_store_that_signs_nothing_is_refused() -> None:
    """One in memory."""
    with pytest.raises(Refused, match="publish: s3://box/out/cats/"):
        anyio.run(BucketLinks(MemoryBucket(), FOLDER, 60).of, JPEG, DATA)


def test_a_link_that_leads_to_this_machine_is_refused_unless_allowed(
    front: tuple[S3Server, Broken],
) -> None:
    """It is put, and nobody asks for it."""
    with pytest.raises(Refused) as refused:
        anyio.run(links(front, allow_loopback=False).of, JPEG, DATA)
    assert "publish: its links would lead to 127.0.0.1" in refused.value.message
    assert asked(front) == [f"PUT {DIGEST}.jpg"]


def test_a_link_that_gives_no_picture_is_refused_each_time(s3: S3Server) -> None:
    """With the place and the reason, without the link; the next one is tried again."""

    def no_get(request: object) -> bool:
        if getattr(request, "command", "") != "GET":
            return False
        return bool(request.refuse(403, "AccessDenied"))  # type: ignore[attr-defined]

    with broken(s3, no_get) as (front, state):
        folder = front.new_bucket() / "x"
        made = BucketLinks(front.at(folder), folder, 60, allow_loopback=True)
        state.paths.clear()
        for _ in range(2):
            with pytest.raises(Refused) as refused:
                anyio.run(made.of, JPEG, DATA)
            assert type(refused.value) is Refused
            assert refused.value.message == (
                f"publish: a link to {folder}/{DIGEST}.jpg gives no picture: 127.0.0.1 answers "
                "403; nothing was sent"
            )
            assert refused.value.hint == (
                "the credentials need s3:GetObject there, and the endpoint must be one that the "
                "provider reaches"
            )
        assert [each[:3] for each in state.paths] == ["PUT", "GET", "GET"]


# --- Trying a link -------------------------------------------------------------------------------


def tried(
    script: Callable[[Peer], None], path: str = "/a/b.png?sig=s3cr3t&x=1"
) -> tuple[str, Server]:
    with serving(script) as server:
        return probe(f"{server.url}{path}"), server


def answering(status: str, kind: str | None, body: bytes = b"x") -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.read_request()
        headers = f"Content-Type: {kind}\r\n" if kind is not None else ""
        peer.answer(body, status=status, headers=headers)

    return script


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        ("200 OK", "image/png", ""),
        ("206 Partial Content", "image/jpeg", ""),
        ("200 OK", "text/html; charset=utf-8", "it is told as text/html; charset=utf-8"),
        ("200 OK", "application/octet-stream", "it is told as application/octet-stream"),
        ("200 OK", None, "it is told as nothing"),
        ("204 No Content", "image/png", "127.0.0.1 answers 204"),
        ("302 Found", "image/png", "127.0.0.1 answers 302"),
        ("403 Forbidden", "image/png", "127.0.0.1 answers 403"),
        ("404 Not Found", "application/xml", "127.0.0.1 answers 404"),
    ],
)
def test_a_link_is_tried_as_its_reader_will(status: str, kind: str | None, said: str) -> None:
    """One byte, by GET, with nothing that tells who asks."""
    found, server = tried(answering(status, kind))
    assert found == said
    [heard] = server.book
    assert heard.head.splitlines()[0] == "GET /a/b.png?sig=s3cr3t&x=1 HTTP/1.1"
    assert heard.header("Range") == "bytes=0-0"
    assert heard.header("Accept") == "image/*"
    assert heard.header("Authorization") is None


def test_a_large_answer_is_not_read_to_its_end() -> None:
    """A server that knows no ranges."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 999999\r\n\r\nx")
        peer.wait_for_the_end()

    assert tried(script)[0] == ""


def test_no_answer_is_told_without_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens, hangs, or speaks no HTTP."""
    assert probe("http://127.0.0.1:1/x?sig=s3cr3t") == (
        "127.0.0.1 does not answer (ConnectionRefusedError)"
    )

    def nonsense(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"what?\r\n\r\n")

    assert tried(nonsense)[0] == "127.0.0.1 does not answer (BadStatusLine)"
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.2)

    def silent(peer: Peer) -> None:
        peer.read_request()
        peer.wait_for_the_end()

    assert tried(silent)[0] == "127.0.0.1 does not answer (TimeoutError)"


def test_a_link_by_https_is_tried_so() -> None:
    """A server that speaks none is told as such."""

    def plain(peer: Peer) -> None:
        peer.connection.recv(1000)
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(plain) as server:
        said = probe(f"https://127.0.0.1:{server.port}/x")
    assert said == "127.0.0.1 does not answer (SSLError)"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "10.1.2.3", "192.168.0.5", "172.16.0.1", "169.254.1.1", "[::1]", "[fd00::1]",
     "localhost", "bucket.localhost", "0.0.0.0"],  # noqa: S104
)  # fmt: skip
def test_a_link_that_no_provider_reaches_is_refused(host: str) -> None:
    """Named, with what to do."""
    with pytest.raises(Refused) as refused:
        refuse_unreachable(f"https://{host}:9000/x?sig=s3cr3t")
    assert refused.value.message == (
        f"publish: its links would lead to {host.strip('[]')}, which no provider can reach; "
        "nothing was sent"
    )
    assert refused.value.hint == (
        "publish to a bucket with a public endpoint; for a provider on this machine write "
        "`publish: {allow_loopback: true}`"
    )


@pytest.mark.parametrize("host", ["8.8.8.8", "s3.cn-east-1.qiniucs.com", "[2606:4700::1111]"])
def test_a_link_to_the_world_is_fine(host: str) -> None:
    found = refuse_unreachable(f"https://{host}/x")  # type: ignore[func-returns-value]
    assert found is None


# --- Rehearsed -----------------------------------------------------------------------------------


def test_the_links_of_a_rehearsal_are_files_by_their_digest(tmp_path: Path) -> None:
    """Written whole and once; the rehearsal service answers them below its root."""
    folder = tmp_path / "a/b"
    made = RehearsedLinks(folder, "http://127.0.0.1:9/links")

    async def two() -> list[str]:
        return [
            await made.of(JPEG, DATA),
            await made.of(JPEG, DATA),
            await made.of(Picture("sha256:2", media_type="image/gif"), b"gif"),
        ]

    gif = hashlib.sha256(b"gif").hexdigest()
    assert anyio.run(two) == [
        f"http://127.0.0.1:9/links/{DIGEST}.jpg",
        f"http://127.0.0.1:9/links/{DIGEST}.jpg",
        f"http://127.0.0.1:9/links/{gif}",
    ]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        f"{DIGEST}.jpg": DATA, gif: b"gif",
    }  # fmt: skip
    (folder / f"{DIGEST}.jpg").write_bytes(b"kept")
    anyio.run(made.of, JPEG, DATA)
    assert (folder / f"{DIGEST}.jpg").read_bytes() == b"kept"


def test_the_bucket_of_links_is_the_folder_that_was_named() -> None:
    made = BucketLinks(MemoryBucket(), BucketURL("s3", "box", "x"), 60)
    assert (made.folder, made.seconds, made.allow_loopback) == (
        BucketURL("s3", "box", "x"), 60, False,
    )  # fmt: skip
