"""The dialect `qiniu`: Qiniu's AI inference service, and servers that speak like it.

Requests are built by the table in `qiniu_models`; replies are read by what they hold, never by
which model was asked (PROTOCOL §2, trap 4). Source: the seed's page 图生图 and PROTOCOL §1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from retouch.dialects.base import (
    Accepted,
    Capabilities,
    Endpoint,
    Pending,
    Produced,
    Rejected,
    Reply,
    Request,
    Unreadable,
)
from retouch.dialects.openai_like.bodies import Json, PictureBody
from retouch.dialects.qiniu import tasks
from retouch.dialects.qiniu.models import MODELS, Call, call_for, capabilities_of
from retouch.dialects.qiniu.usage import usage_bill as read_usage
from retouch.dialects.qiniu.usage import usage_requests
from retouch.job import Job, Members, Options, OptionValue, Picture, Terms

NAME: Final = "qiniu"
DEFAULT_BASE_URL: Final = "https://api.qnaigc.com/v1"

_HEADERS = (("content-type", "application/json"), ("accept", "application/json"))

__all__ = [
    "DEFAULT_BASE_URL",
    "NAME",
    "capabilities",
    "models",
    "poll",
    "read_poll",
    "read_submit",
    "read_usage",
    "submit",
    "terms",
    "usage_requests",
]


def models() -> tuple[str, ...]:
    """The models the table knows, for messages."""
    return tuple(MODELS)


def capabilities(model: str, *, images: int = 1, placement: str | None = None) -> Capabilities:
    """What `model` takes when sent `images` pictures in `placement` (default: by their number).

    The first of `placements` is the field the answer is about. kling-v2 and kling-v2-1 take one
    picture as `image` (files too) and two to four as `subject_image_list` (public URLs only).
    """
    return capabilities_of(model, images, placement)


def terms(options: Options) -> Terms:
    """`n` (`num_images` in the queue), and what a price looks at, also inside `image_config`
    (PROTOCOL §1)."""
    given = dict(options)
    config = given.get("image_config")
    inner = dict(config.items) if isinstance(config, Members) else {}

    def named(*names: str) -> OptionValue:
        return next((at[name] for at in (given, inner) for name in names if name in at), None)

    wanted = given.get("n", given.get("num_images", 1))
    return Terms(
        n=wanted if isinstance(wanted, int) else 1,
        size=_text(named("size", "resolution", "image_size")),
        quality=_text(named("quality")),
        aspect_ratio=_text(named("aspect_ratio")),
    )


def _text(value: OptionValue) -> str | None:
    return value if isinstance(value, str) else None


def submit(job: Job, endpoint: Endpoint) -> Request:
    """The POST that asks for the job; what the plan let through is sent as given."""
    call = call_for(job.like or job.model, len(job.pictures), job.placement)
    body = PictureBody()
    fields: dict[str, Json] = {"model": job.model} if call.names_model else {}
    fields |= {**_pictures(call, body, job.pictures), "prompt": job.prompt.text}
    if job.source.mask is not None:
        fields["mask"] = body.place(job.source.mask)  # white = edit here too: sent as it is
    wanted: dict[str, Json] = {call.count: 1} if call.count else {}
    options = {name: body.option(value) for name, value in job.options}
    document = {**fields, **wanted, **options, **fields}  # fields last: no option replaces one
    url = call.url.format(base=endpoint.base, root=endpoint.root)
    return Request("POST", url, headers=_HEADERS, body=body.splice(document))


def poll(task: str, endpoint: Endpoint) -> Request:
    """The GET that asks how a Task stands; ValueError if `task` is not one a reply gave."""
    return Request("GET", tasks.status_url(task, endpoint), headers=_HEADERS[1:])


def read_submit(reply: Reply) -> Produced | Accepted | Rejected | Unreadable:
    """What the reply to a submit means; see `replies`."""
    from retouch.dialects.qiniu import replies  # noqa: PLC0415 - start-up: `plan` reads none

    return replies.read_submit(reply)


def read_poll(reply: Reply) -> Produced | Pending | Rejected | Unreadable:
    """What the reply to a poll means; see `replies`."""
    from retouch.dialects.qiniu import replies  # noqa: PLC0415 - start-up: `plan` reads none

    return replies.read_poll(reply)


def _pictures(call: Call, body: PictureBody, pictures: Sequence[Picture]) -> dict[str, Json]:
    """The request fields that hold the pictures."""
    placed = [body.place(picture) for picture in pictures]
    match call.placement.name:
        case "subject_image_list":
            subjects: list[Json] = [{"subject_image": picture} for picture in placed]
            return {"image": "", "subject_image_list": subjects}  # the page sends the empty image
        case "image_urls":
            return {"image_urls": placed}
        case _:
            return {"image": placed[0] if len(placed) == 1 else placed}
