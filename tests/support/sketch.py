"""A second dialect, which lives in tests alone: small, synchronous, with names of its own.

It shows what adding one takes: this module and a line in the list. Nothing else knows its words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import date, timezone
from decimal import Decimal
from typing import Any, Final, cast

from retouch.dialects.base import (
    Accepted,
    Capabilities,
    EncodedPicture,
    Endpoint,
    Parameter,
    Pending,
    Placement,
    Produced,
    Rejected,
    Reply,
    Request,
    Unreadable,
    Usage,
)
from retouch.dialects.bill import Bill, Line
from retouch.dialects.openai_like.bodies import Json, PictureBody
from retouch.job import Job, Options, Terms, plain

NAME: Final = "sketch"
DEFAULT_BASE_URL: Final = "https://sketch.example/v1beta"
_PARAMETERS = (
    Parameter("how_many", "integer", minimum=1, maximum=4),
    Parameter("dims", "string", choices=("small", "large")),
)


def models() -> tuple[str, ...]:
    """The one model there is."""
    return ("pencil",)


def capabilities(model: str, *, images: int = 1, placement: str | None = None) -> Capabilities:
    """What a model takes: pictures in `canvas`."""
    return Capabilities(
        model=model,
        kind="sync",
        placements=(Placement("canvas", maximum=4),),
        parameters=_PARAMETERS,
        maximum_images_wanted=4,
        known=model in models(),
        reserved=("canvas",),
    )


def terms(options: Options) -> Terms:
    """`how_many` pictures, of which `dims`."""
    given = dict(options)
    wanted, size = given.get("how_many", 1), given.get("dims")
    return Terms(
        n=wanted if isinstance(wanted, int) else 1, size=size if isinstance(size, str) else None
    )


def submit(job: Job, endpoint: Endpoint) -> Request:
    """The POST that draws."""
    body = PictureBody()
    pictures = [body.place(picture) for picture in job.pictures]
    fields: dict[str, Json] = {name: cast(Json, plain(value)) for name, value in job.options}
    fields |= {"pen": job.model, "prompt": job.prompt.text, "canvas": cast(Json, pictures)}
    if job.source.mask is not None:
        fields["stencil"] = body.place(job.source.mask)
    headers = (("content-type", "application/json"),)
    return Request("POST", f"{endpoint.base}/draw", headers, body.splice(fields))


def poll(task: str, endpoint: Endpoint) -> Request:
    """There are no tasks; a ledger from elsewhere may hold one."""
    raise ValueError("sketch has no tasks")


def read_submit(reply: Reply) -> Produced | Accepted | Rejected | Unreadable:
    """`{"drawn": [base64, ...], "strokes": N}`."""
    if reply.status in (401, 403):
        return Rejected("auth", reply.status, None, "the key is not taken", scope="run")
    if 400 <= reply.status < 500:
        return Rejected("bad_request", reply.status, None, "refused")
    if reply.status != 200:
        return Unreadable("not drawn", reply.status)
    try:
        said: Any = json.loads(reply.body)
        pictures = tuple(EncodedPicture(str(each)) for each in said["drawn"])
        strokes = said["strokes"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return Unreadable("not what the page says", reply.status)
    counted = strokes if isinstance(strokes, int) and strokes > 0 else None
    return Produced(pictures, Usage(output_tokens=counted, images=len(pictures)))


def read_poll(reply: Reply) -> Produced | Pending | Rejected | Unreadable:
    """There are no tasks."""
    return Unreadable("sketch has no tasks", reply.status)


def usage_requests(endpoint: Endpoint, first: date, last: date) -> Iterator[Request]:
    """One GET for all days."""
    yield Request("GET", f"{endpoint.root}/spent?from={first}&to={last}")


def read_usage(name: str, replies: Iterable[bytes], zone: timezone) -> Bill:
    """`[{"day", "pen", "drawn"}]`."""
    lines = [
        Line(0, row["day"], row["pen"], {"images": Decimal(row["drawn"])})
        for reply in replies
        for row in json.loads(reply)
    ]
    return Bill(name, tuple(lines))
