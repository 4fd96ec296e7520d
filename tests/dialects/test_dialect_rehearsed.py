"""The dialect against the stand-in service, which is written from the same page by other hands."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from retouch.dialects import rehearsal
from retouch.dialects.base import (
    Accepted,
    Endpoint,
    LinkedPicture,
    Pending,
    Produced,
    Rejected,
    Reply,
    Request,
)
from retouch.dialects.openai import requests as openai
from retouch.job import Job, Options, Picture, Prompt, Source
from retouch_rehearsal import Settings, create_app
from retouch_rehearsal.catalogue import MODELS

ENDPOINT = Endpoint("http://rehearsal.invalid/v1")
FILE = Picture("sha256:0", file="a.png", media_type="image/png")
LINK = Picture("url:x", url="https://pictures.example/a.png")


class Clock:
    """Unix time that stands still until told."""

    now = 1_760_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(clock: Clock, tmp_path: Path) -> Iterator[TestClient]:
    (tmp_path / "a.png").write_bytes(picture())
    app = create_app(
        Settings(seconds_per_task=3.0, url_map={"https://pictures.example/": tmp_path}),
        base_url=ENDPOINT.base,
        clock=clock,
    )
    with TestClient(app, base_url=ENDPOINT.root) as client:
        yield client


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (320, 320), "orange").save(file, "PNG")
    return file.getvalue()


def send(client: TestClient, request: Request) -> Reply:
    encoded = base64.b64encode(picture())
    body = b"".join(s if isinstance(s, bytes) else encoded for s in request.body)
    headers = {**dict(request.headers), "authorization": "Bearer rehearsal-key"}
    got = client.request(request.method, request.url, headers=headers, content=body)
    return Reply(got.status_code, dict(got.headers), got.content)


def job_of(model: str, sent: Picture, placement: str, options: Options = ()) -> Job:
    return Job(model, Prompt("p", "make it warmer"), Source("a", sent), options, placement)


def test_a_synchronous_model_answers_with_its_pictures(client: TestClient) -> None:
    """Two wanted, two there, with the tokens they took."""
    job = job_of("gemini-2.5-flash-image", FILE, "image", (("n", 2),))
    reading = rehearsal.read_submit(send(client, rehearsal.submit(job, ENDPOINT)))
    assert isinstance(reading, Produced), reading
    assert len(reading.pictures) == 2
    assert reading.usage.output_tokens is not None
    assert reading.warnings == ()


@pytest.mark.parametrize(
    ("model", "sent", "placement"),
    [
        ("kling-v1-5", FILE, "image"),
        ("kling-v2", FILE, "image"),
        ("kling-v2", LINK, "subject_image_list"),
        ("kling-image-o1", LINK, "image_urls"),
    ],
)
def test_a_task_is_polled_to_its_end(
    client: TestClient, clock: Clock, model: str, sent: Picture, placement: str
) -> None:
    """On every route: accepted, pending without a warning, then a link, with nothing amiss."""
    job = job_of(model, sent, placement)
    accepted = rehearsal.read_submit(send(client, rehearsal.submit(job, ENDPOINT)))
    assert isinstance(accepted, Accepted), accepted
    poll = rehearsal.poll(accepted.task, ENDPOINT)
    pending = rehearsal.read_poll(send(client, poll))
    assert isinstance(pending, Pending), pending
    assert pending.warning == ""
    clock.now += 10
    ended = rehearsal.read_poll(send(client, poll))
    assert isinstance(ended, Produced), ended
    assert len(ended.pictures) == 1
    assert isinstance(ended.pictures[0], LinkedPicture)
    assert ended.warnings == ()
    assert ended.usage.images == (None if placement == "image_urls" else 1)


@pytest.mark.parametrize(
    ("model", "wanted", "scope"),
    [("no-such-model", 1, "lane"), ("gemini-2.5-flash-image", 0, "job")],
)
def test_its_refusals_are_understood(
    client: TestClient, model: str, wanted: int, scope: str
) -> None:
    """A wrong model's 503 stops the lane; a wrong request is the job's own affair."""
    job = job_of(model, FILE, "image", (("n", wanted),))
    reading = rehearsal.read_submit(send(client, rehearsal.submit(job, ENDPOINT)))
    assert isinstance(reading, Rejected), reading
    assert (reading.kind, reading.scope, reading.billed) == ("bad_request", scope, "no")


def test_a_task_it_does_not_know_has_vanished(client: TestClient) -> None:
    """Unknown, with its id: never submitted again for that."""
    reading = rehearsal.read_poll(send(client, rehearsal.poll("image-0", ENDPOINT)))
    assert isinstance(reading, Rejected), reading
    assert (reading.kind, reading.billed) == ("expired", "unknown")


def test_both_know_the_same_models() -> None:
    """What can be sent can be rehearsed."""
    assert set(MODELS) == set(rehearsal.models()) | set(openai.models())
