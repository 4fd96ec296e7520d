"""What goes out for one Job and what its answer means: a request with its files, a poll, a fetch.

Nothing is written to the ledger here, and nothing is decided.
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial

import anyio
import orjson

from retouch.dialects.base import (
    Accepted,
    Aside,
    EncodedPicture,
    Endpoint,
    LinkedPicture,
    Produced,
    Rejected,
    Request,
)
from retouch.engine.classify import Uncertain, Verdict, classify
from retouch.engine.context import Context, LaneTools
from retouch.engine.memory import Lease
from retouch.engine.pacing import capped_wait, retry_after_seconds
from retouch.engine.polling import POLL_SECONDS, Answer
from retouch.engine.results import Received, patient_download, receive
from retouch.job import Job, Picture
from retouch.ledger.records import ErrorRecord
from retouch.pictures import FILE_CAP_BYTES, SourceChanged, called, measure, payload
from retouch.storage.bucket_errors import BucketFault
from retouch.storage.bucket_url import bucket_url
from retouch.storage.descriptors import when_free
from retouch.storage.gathered import Room
from retouch.text import holds_secret
from retouch.transport import Sending, held, restored, whole


@dataclass(frozen=True, slots=True)
class Came:
    """The raw body of a reply, or of what came of one: its document, and what is held aside."""

    document: bytes = b""
    aside: tuple[Aside, ...] = ()

    def whole(self) -> bytes:
        """As the server sent it."""
        return whole(self.document, self.aside)


async def load(
    job: Job, endpoint: Endpoint, context: Context
) -> tuple[Request, dict[Picture, bytes]]:
    """What to send. A place for what will come is made before it is paid for.

    Raises SourceChanged or OSError for a file, ValueError for what the dialect cannot say, Refused
    where a link is needed and cannot be had.
    """
    files = [picture for picture in job.sent_pictures if picture.url is None]

    def read() -> dict[Picture, bytes]:
        context.outputs.prepare(job.output_path(0))
        in_flight = sum(context.budget.in_flight.values())
        context.outputs.require_room(job.images_wanted * in_flight)
        return {file: payload(file, partial(_object, context)) for file in files}

    request = context.dialect.submit(job, endpoint)
    folder = job.output_path(0).rpartition("/")[0]
    loaded = context.recent.all_of(files, folder)
    if loaded is None:
        asked = anyio.current_time()
        loaded = await context.threads(partial(when_free, read))
        context.recent.note(loaded, folder, asked)
    for picture in loaded:
        if picture.by_link:
            if context.links is None:
                raise ValueError("a link to a picture is needed, and there is no `publish`")
            link = await context.links.of(picture, loaded[picture])
            loaded[picture] = orjson.dumps(link)[1:-1]
    return request, loaded


def _object(context: Context, picture: Picture) -> bytes:
    """An object in a bucket, whole, if it is what was planned. Raises SourceChanged."""
    if picture.object is None or context.buckets is None:
        raise ValueError("an object is to be read, and nobody says how its bucket is reached")
    url = bucket_url(picture.object)
    try:
        data, stat = context.buckets.at(url).get(url, FILE_CAP_BYTES)
    except BucketFault as fault:
        raise SourceChanged(fault.message) from None
    found = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if picture.digest.startswith("etag:"):
        found = f"etag:{stat.etag.strip(chr(34))}:{len(data)}"
    if found != picture.digest:
        raise SourceChanged(f"{url} has changed since it was planned; run again")
    if not picture.transforms and measure(data) is None:
        raise SourceChanged(f"{url} is no whole picture: it is {called(data)}, or cut short")
    return data


async def post(
    job: Job,
    request: Request,
    pictures: dict[Picture, bytes],
    context: Context,
    *,
    sending: Sending,
    room: Room,
) -> tuple[Verdict, Came]:
    """POST and classify; what came of a 2xx comes along, for quarantine. `sending` says how far it
    came when this is cancelled; `pictures` are let go when they were sent."""
    exchange = await context.transport.exchange(
        replace(request, variant=job.variant),
        pictures,
        timeout_seconds=context.settings.timeout,
        sending=sending,
        room=room,
    )
    reply = exchange.reply
    came = Came(reply.body, reply.aside) if reply else Came(exchange.partial, exchange.aside)
    verdict = classify(exchange, context.dialect.read_submit, context.unbilled_statuses)
    if isinstance(verdict, Accepted) and holds_secret(verdict.task, context.secrets):
        error = ErrorRecord(kind="broken_reply", message="the task's id holds the API key")
        verdict = Uncertain(error, came.document)  # an id goes into the ledger and into paths
    return (_produced(verdict, came) if isinstance(verdict, Produced) else verdict), came


def _produced(produced: Produced, came: Came) -> Produced:
    """A result whose pictures are as the server told them, but for those held aside."""
    if not came.aside:
        return produced
    return replace(produced, pictures=tuple(_told(each, came.aside) for each in produced.pictures))


def _told(
    picture: EncodedPicture | LinkedPicture, aside: tuple[Aside, ...]
) -> EncodedPicture | LinkedPicture:
    """A picture that is not just what is held aside: as the server told it."""
    if isinstance(picture, LinkedPicture):
        return LinkedPicture(restored(picture.url, aside))
    if held(picture.base64, aside) is not None:
        return picture
    return EncodedPicture(restored(picture.base64, aside))


async def ask(
    task: str, taker: Endpoint, lane: LaneTools, context: Context, room: Room
) -> tuple[Answer, Came]:
    """One poll, and the raw body of its reply; whatever the network does is only a poll that must
    be repeated."""
    try:
        request = context.dialect.poll(task, taker)
    except ValueError as error:  # a ledger of another origin may hold any text as a Task's id
        return Answer(Rejected("expired", None, None, f"not a task's id: {error}")), Came()
    # A connection that hangs must not outlast the Task's own deadline.
    seconds = min(context.settings.timeout, lane.model.poll.timeout, POLL_SECONDS)
    exchange = await context.transport.exchange(request, {}, timeout_seconds=seconds, room=room)
    if exchange.reply is None:
        message = exchange.error or "no answer"
        return Answer(Rejected("network", exchange.status, None, message, retry_safe=True)), Came()
    reading = context.dialect.read_poll(exchange.reply)
    came = Came(exchange.reply.body, exchange.reply.aside)
    if isinstance(reading, Produced):
        reading = _produced(reading, came)
    wait = retry_after_seconds(exchange.reply.headers, context.wall_clock())
    if wait is None and isinstance(reading, Rejected):
        wait = capped_wait(reading.wait_seconds)
    return Answer(reading, wait), came


async def fetch(
    job: Job,
    attempt: int,
    produced: Produced,
    context: Context,
    room: Room,
    *,
    came: Came = Came(),
) -> Received:
    """The pictures of a result, checked and written whole; `came`: the reply that holds them."""
    return await receive(
        job,
        attempt,
        produced,
        outputs=context.outputs,
        download=partial(
            patient_download,
            context.transport,
            timeout_seconds=context.settings.timeout,
            chance=context.chance,
            wall_clock=context.wall_clock,
            room=room,
        ),
        threads=context.threads,
        mirror=context.mirror,
        aside=came.aside,
        large=context.memory.large,
    )


def lease(job: Job, count: int, context: Context) -> AbstractAsyncContextManager[Lease]:
    """So many bytes of the run's memory for the Job, and files for what comes beyond."""
    return context.memory.lease(count, partial(context.outputs.part, job.output_path(0)))


def room_for(job: Job, context: Context) -> Lease:
    """Room for what replies about the Job bring, while nothing is sent; to be closed."""
    return Lease(context.memory, 0, partial(context.outputs.part, job.output_path(0)))
