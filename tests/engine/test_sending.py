"""What goes out for a Job: objects in buckets as they were planned or not at all, links in place of
bytes; and pictures as they are made are in the mirror too. In virtual time."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from retouch.engine.mirror import Copied, Mirror
from retouch.engine.outputs import Outputs
from retouch.errors import StorageFailed
from retouch.job import Picture
from retouch.ledger.records import Done, Failed, TaskAccepted, Unknown
from retouch.manifest import Limits, Poll, RunSettings
from retouch.storage import bucket_lease
from tests.support.ledgers import begins, started, write
from tests.support.memory_bucket import FOLDER, MemoryBucket, OneBucket, fault
from tests.support.provider import Mishap, Provider, png
from tests.support.workbench import CANARY, GEMINI, KLING, Bench, filed, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]
DATA = png("in a bucket")
ADDRESS = f"{FOLDER}/in.png"


def in_bucket(digest: str = "", **more: object) -> Picture:
    """A picture that lies in a bucket; by its SHA-256, if by nothing else."""
    digest = digest or f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    return Picture(digest, media_type="image/png", object=ADDRESS, **more)  # type: ignore[arg-type]


def work_with(folder: Path, data: bytes = DATA) -> Bench:
    bucket = MemoryBucket()
    bucket.place("in.png", data)
    return Bench(folder, Provider(), buckets=OneBucket(bucket))


def sent(work: Bench) -> str:
    """What the provider was sent for the first Job."""
    return json.dumps(work.provider.posts[0].body)


def why_not(work: Bench) -> str:
    """Why the one Job was not sent: nothing was, and it may be sent another time."""
    assert not work.provider.posts
    [record] = work.records_of(Failed)
    assert (record.error.kind, record.final, record.billed) == ("bad_request", False, "no")
    return record.error.message


async def test_an_object_is_sent_whole_as_it_was_planned(in_memory: Path) -> None:
    """By its SHA-256."""
    work = work_with(in_memory)
    await work.run([lane(GEMINI, 1, file=in_bucket())])
    assert base64.b64encode(DATA).decode() in sent(work)
    assert len(work.records_of(Done)) == 1


async def test_an_object_is_known_by_its_etag_too(in_memory: Path) -> None:
    """As a plan has it that read the beginning alone: with its size."""
    work = work_with(in_memory)
    assert work.buckets is not None
    _, stat = work.buckets.at(FOLDER).get(FOLDER / "in.png", 10**6)
    etag = stat.etag.strip('"')
    await work.run([lane(GEMINI, 1, file=in_bucket(f"etag:{etag}:{len(DATA)}"))])
    assert base64.b64encode(DATA).decode() in sent(work)
    (in_memory / "other").mkdir()
    other = work_with(in_memory / "other")
    await other.run([lane(GEMINI, 1, file=in_bucket(f"etag:{etag}:{len(DATA) + 1}"))])
    assert why_not(other) == (f"not sent: {ADDRESS} has changed since it was planned; run again")


async def test_an_object_that_has_changed_is_not_sent(in_memory: Path) -> None:
    work = work_with(in_memory, png("another"))
    await work.run([lane(GEMINI, 1, file=in_bucket())])
    assert why_not(work) == f"not sent: {ADDRESS} has changed since it was planned; run again"


async def test_an_object_that_is_no_whole_picture_is_not_sent(in_memory: Path) -> None:
    """Cut short, or something else; told as what it is."""
    for number, data in enumerate((DATA[:-20], b"<html>hello")):
        (in_memory / f"{number}").mkdir()
        work = work_with(in_memory / f"{number}", data)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        await work.run([lane(GEMINI, 1, file=in_bucket(digest))])
        said = why_not(work)
        assert said.startswith(f"not sent: {ADDRESS} is no whole picture: it is ")
        assert said.endswith(", or cut short")


async def test_an_object_is_turned_into_what_its_model_takes(in_memory: Path) -> None:
    """A transform reads it whole; what is no picture is refused there."""
    work = work_with(in_memory)
    await work.run([lane(GEMINI, 1, file=in_bucket(transforms=("convert",)))])
    assert len(work.records_of(Done)) == 1
    assert base64.b64encode(DATA).decode() not in sent(work)


@pytest.mark.parametrize("why", ["missing", "denied", "unreachable"])
async def test_an_object_that_cannot_be_read_is_not_sent(in_memory: Path, why: str) -> None:
    """The bucket's own words; another run may send it."""

    def hinder(what: str, _key: str) -> None:
        if what == "get":
            raise fault(why)  # type: ignore[arg-type]

    work = work_with(in_memory)
    assert isinstance(work.buckets, OneBucket)
    work.buckets.bucket.hinder = hinder
    await work.run([lane(GEMINI, 1, file=in_bucket())])
    assert why_not(work) == f"not sent: the store is {why}"


async def test_an_object_that_is_too_large_is_not_sent(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retouch.engine.sending.FILE_CAP_BYTES", 10)
    work = work_with(in_memory)
    await work.run([lane(GEMINI, 1, file=in_bucket())])
    assert why_not(work) == (f"not sent: {ADDRESS}: has {len(DATA)} bytes, larger than 10 bytes")


async def test_an_object_that_nobody_can_reach_is_not_sent(in_memory: Path) -> None:
    """A run that was given no buckets."""
    work = Bench(in_memory, Provider())
    await work.run([lane(GEMINI, 1, file=in_bucket())])
    assert why_not(work) == (
        "not sent: an object is to be read, and nobody says how its bucket is reached"
    )


async def test_an_object_is_read_once_for_jobs_that_follow_one_another(in_memory: Path) -> None:
    """Its bytes are at hand for a moment."""
    work = work_with(in_memory)
    await work.run([lane(GEMINI, 5, file=in_bucket(), limits=Limits(concurrency=1))])
    assert isinstance(work.buckets, OneBucket)
    assert len(work.provider.posts) == 5
    assert work.buckets.bucket.count("get", "in.png") < 5


@dataclass
class Linked:
    """Makes links, and notes of what."""

    asked: list[tuple[Picture, bytes]] = field(default_factory=list)

    async def of(self, picture: Picture, data: bytes) -> str:
        self.asked.append((picture, data))
        return 'https://links.example.com/"x"?a=b'


async def test_a_picture_that_goes_by_link_is_sent_as_one(in_memory: Path) -> None:
    """The link stands where its bytes would, as JSON has it; they are handed to who makes it."""
    (in_memory / "out").mkdir()
    links = Linked()
    work = Bench(in_memory / "out", Provider(), links=links)
    picture = filed(in_memory)
    by_link = Picture(**{
        name: getattr(picture, name) for name in Picture.__struct_fields__ if name != "by_link"
    }, by_link=True)  # fmt: skip
    await work.run([lane(KLING, 1, file=by_link)])
    assert json.loads(sent(work))["image"] == 'https://links.example.com/"x"?a=b'
    assert links.asked == [(by_link, (in_memory / "filed.png").read_bytes())]


async def test_without_a_way_to_make_links_nothing_that_needs_one_is_sent(
    in_memory: Path,
) -> None:
    work = Bench(in_memory, Provider())
    picture = filed(in_memory)
    by_link = Picture(picture.digest, file=picture.file, media_type="image/png", by_link=True)
    await work.run([lane(KLING, 1, file=by_link)])
    assert why_not(work) == "not sent: a link to a picture is needed, and there is no `publish`"


async def test_what_a_run_makes_is_in_its_mirror(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every picture once it is kept; and what is taken over from elsewhere."""
    monkeypatch.setattr(bucket_lease, "SETTLE_SECONDS", 0.0)
    bucket = MemoryBucket()
    folder = in_memory / "cats"
    folder.mkdir()
    mirror = Mirror(bucket, FOLDER, folder, say=lambda _: None)
    mirror.begin("cats")
    work = Bench(folder, Provider(), mirror=mirror)
    await work.run([lane(GEMINI, 3, n=2)])
    here = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in (folder / "images").rglob("*.png")
    }
    assert len(here) == 6
    there = {name: data for name, data in bucket.objects().items() if name.startswith("images/")}
    assert there == here
    assert mirror.copied == Copied(put=6)
    assert mirror.finish(quick=False) == Copied(put=6)


@pytest.mark.parametrize(
    ("model", "is_linked"), [(GEMINI, False), (GEMINI, True), (KLING, False), (KLING, True)]
)
async def test_a_large_picture_comes_by_the_disk(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch, model: str, *, is_linked: bool
) -> None:
    """A file is made for it where it will be kept, in a reply or behind a link, a Task's too; for a
    smaller one none is."""
    picture = png("x" * 200_000)
    entry = {"b64_json": base64.b64encode(picture).decode()}
    if is_linked:
        entry = {"url": "http://127.0.0.1/files/image-9-0.png"}
    body = json.dumps({"data": [entry], "usage": {"output_tokens": 1290}}).encode()
    ended = {"task_id": "image-0", "status": "succeed", "quantity": 1, "data": [entry]}
    for spill, parts in ((100_000, 1), (1_000_000, 0)):
        monkeypatch.setattr("retouch.storage.gathered.SPILL_BYTES", spill)
        folder = in_memory / f"{spill}"
        folder.mkdir()
        made: list[str] = []

        def part(self: Outputs, stem: str, made: list[str] = made) -> object:
            made.append(stem)
            return whole(self, stem)

        monkeypatch.setattr(Outputs, "part", part)
        provider = Provider(
            mishaps=[Mishap(200, body, charged=True)] * (model == GEMINI),
            poll_mishaps=[Mishap(200, json.dumps(ended).encode())],
            file_mishaps=[Mishap(200, picture)],
        )
        work = Bench(folder, provider)
        await work.run([lane(model, 1)])
        [record] = work.records_of(Done)
        assert (folder / record.files[0].path).read_bytes() == picture
        assert made == [f"images/{model}/white/0-0"] * parts


whole = Outputs.part


async def test_each_folder_is_made_ready_though_the_source_is_at_hand(in_memory: Path) -> None:
    """The second Job of a source goes elsewhere, where nothing can be kept: it is not sent."""
    out = in_memory / "out"
    (out / "images").mkdir(parents=True)
    (out / "images/b").write_text("in the way")
    given = lane(GEMINI, 2, file=filed(in_memory), limits=Limits(concurrency=1))
    one, two = given.all_jobs
    jobs = (replace(one, output="images/a/{index}"), replace(two, output="images/b/{index}"))
    work = Bench(out, Provider())
    summary = await work.run([replace(given, all_jobs=jobs)])
    assert len(work.provider.posts) == 1
    assert isinstance(summary.stopped, StorageFailed)
    assert "images/b" in summary.stopped.message


async def test_a_task_whose_id_holds_the_key_is_on_file_nowhere(in_memory: Path) -> None:
    """It goes into the ledger and into paths: the request is unknown, its body put aside without
    the key."""
    body = json.dumps({"task_id": f"task-{CANARY}"}).encode()
    work = Bench(in_memory, Provider(mishaps=[Mishap(200, body, charged=True)]))
    await work.run([lane(KLING, 1)])
    [record] = work.records_of(Unknown)
    assert (record.error.kind, record.error.message) == (
        "broken_reply", "the task's id holds the API key",
    )  # fmt: skip
    assert record.task is None
    assert not any(CANARY.encode() in data for _, data in work.bytes_written())
    assert list((in_memory / "quarantine").iterdir())


async def test_a_text_that_is_no_tasks_id_is_not_asked_for(in_memory: Path) -> None:
    """A ledger of another origin may hold any: unknown, with its reason."""
    given = lane(KLING, 1)
    job = given.all_jobs[0]
    task = TaskAccepted(key=job.key, attempt=1, task="../../etc", at=started(0).at)
    write(in_memory / "ledger.jsonl", [begins(), task])
    work = Bench(in_memory, Provider())
    await work.run([given])
    assert work.provider.seen == []
    [record] = work.records_of(Unknown)
    assert (record.error.kind, record.task) == ("expired", "../../etc")
    assert record.error.message.startswith("not a task's id: ")


@pytest.mark.parametrize(
    ("request_seconds", "poll"), [(10.0, 600.0), (120.0, 25.0), (120.0, 600.0)]
)
async def test_a_poll_that_hangs_is_given_up_in_time(
    in_memory: Path, request_seconds: float, poll: float
) -> None:
    """After a request's own time, the Task's, or half a minute: whichever is the least; and asked
    again, or the Task's time is over."""

    class Hanging(Provider):
        """Answers no first poll."""

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["method"] == "GET":
                asked.append(anyio.current_time())
                if len(asked) == 1:
                    await anyio.sleep(1000)
            await super().__call__(scope, receive, send)

    asked: list[float] = []
    work = Bench(in_memory, Hanging(), RunSettings(timeout=request_seconds))
    await work.run([lane(KLING, 1, poll=Poll(interval=1.0, timeout=poll))])
    took = (asked[1] if len(asked) > 1 else anyio.current_time()) - asked[0]
    least = min(request_seconds, poll, 30.0)
    assert least <= took <= least + 9
    if poll == 25.0:
        [record] = work.records_of(Unknown)
        assert record.error.message.startswith("not finished after 26 s (last: ")
    else:
        assert len(work.records_of(Done)) == 1


async def test_what_is_fetched_and_is_no_picture_is_put_aside_by_its_attempt(
    in_memory: Path,
) -> None:
    """As it came, under the Job's key, the Attempt's number and the picture's."""
    work = Bench(in_memory, Provider(file_mishaps=[Mishap(200, b"\0\1\2 no picture")] * 4))
    given = lane(KLING, 1)
    await work.run([given])
    [kept] = (in_memory / "quarantine").glob("*-0.body")
    assert kept.name == f"{given.all_jobs[0].key}-1-0.body"
    assert kept.read_bytes() == b"\0\1\2 no picture"
