"""The dialect `openai`: `POST {base}/images/edits` as a form or as JSON.

`provider.encoding` says which: `multipart` (the default, what every server of this shape takes;
pictures as bytes) or `json` (`images: [{image_url}]`, data URIs and URLs). A job with a picture
given by URL goes as JSON, for a form holds bytes alone. Source: OpenAI's published API
description, operation createImageEdit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, cast

import orjson

from retouch.dialects.base import Capabilities, Endpoint, Raw, Request, Segment
from retouch.dialects.openai.models import MODELS, capabilities_of
from retouch.dialects.openai.replies import read_poll, read_submit
from retouch.dialects.openai_like.bodies import Json, PictureBody, sent_media_type
from retouch.job import Job, Options, Picture, Terms, plain

NAME: Final = "openai"
DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"

_ACCEPT = ("accept", "application/json, text/event-stream")
_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}

__all__ = [
    "DEFAULT_BASE_URL",
    "NAME",
    "capabilities",
    "models",
    "poll",
    "read_poll",
    "read_submit",
    "submit",
    "terms",
]


def models() -> tuple[str, ...]:
    """The models the table knows, for messages."""
    return tuple(MODELS)


def capabilities(model: str, *, images: int = 1, placement: str | None = None) -> Capabilities:  # noqa: ARG001 - one route for all
    """What `model` takes; there is one way to send pictures, whatever their number."""
    return capabilities_of(model)


def terms(options: Options) -> Terms:
    """`n`, and the size and quality that a price looks at."""
    given = dict(options)
    wanted, size, quality = given.get("n", 1), given.get("size"), given.get("quality")
    return Terms(
        n=wanted if isinstance(wanted, int) else 1,
        size=size if isinstance(size, str) else None,
        quality=quality if isinstance(quality, str) else None,
    )


def submit(job: Job, endpoint: Endpoint) -> Request:
    """The POST that asks for the job; what the plan let through is sent as given."""
    pictures = (*job.pictures, *([job.source.mask] if job.source.mask else []))
    as_json = endpoint.encoding == "json" or any(picture.url for picture in pictures)
    url = f"{endpoint.base}/images/edits"
    options: dict[str, Json] = {"n": 1} | {
        name: cast(Json, plain(value)) for name, value in job.options
    }
    if as_json:
        headers = (("content-type", "application/json"), _ACCEPT)
        return Request("POST", url, headers=headers, body=_json_body(job, options))
    boundary = f"retouch-{job.key[:32]}"
    headers = (("content-type", f"multipart/form-data; boundary={boundary}"), _ACCEPT)
    return Request("POST", url, headers=headers, body=tuple(_form(job, options, boundary)))


def poll(task: str, endpoint: Endpoint) -> Request:
    """Always ValueError: this API answers at once and has no tasks."""
    raise ValueError(f"{endpoint.base} has no tasks: {task[:40]!r} is none of it")


def _json_body(job: Job, options: dict[str, Json]) -> tuple[Segment, ...]:
    body = PictureBody()
    images: list[Json] = [{"image_url": body.place(picture)} for picture in job.pictures]
    fields: dict[str, Json] = {"model": job.model, "prompt": job.prompt.text, "images": images}
    if job.source.mask is not None:
        fields["mask"] = {"image_url": body.place(job.source.mask)}
    return body.splice({**fields, **options, **fields})  # fields last: no option replaces one


def _form(job: Job, options: dict[str, Json], boundary: str) -> Iterator[Segment]:
    """The form's parts: texts first, then the pictures' bytes, each with a name and a type."""
    fields: dict[str, Json] = {"model": job.model, "prompt": job.prompt.text}
    for name, value in _flat({**fields, **options, **fields}):
        if value is not None:
            yield _part(boundary, name) + b"\r\n" + _text(value) + b"\r\n"
    for index, picture in enumerate(job.pictures):
        yield from _file(boundary, "image[]", f"image-{index}", picture)
    if job.source.mask is not None:
        yield from _file(boundary, "mask", "mask", job.source.mask)
    yield f"--{boundary}--\r\n".encode()


def _flat(fields: Mapping[str, Json], within: str = "") -> Iterator[tuple[str, Json]]:
    """Fields with the members of mappings as fields of their own: `svg[reasoning][effort]`."""
    for key, value in fields.items():
        name = f"{within}[{key}]" if within else key
        if isinstance(value, dict):
            yield from _flat(value, name)
        else:
            yield name, value


def _part(boundary: str, name: str) -> bytes:
    escaped = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{escaped}"'
    return head.encode() + b"\r\n"


def _file(boundary: str, name: str, stem: str, picture: Picture) -> Iterator[Segment]:
    media_type = sent_media_type(picture)
    filename = f"{stem}.{_SUFFIXES.get(media_type, 'bin')}"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"'
    yield f"{head}\r\nContent-Type: {media_type}\r\n\r\n".encode()
    yield Raw(picture)
    yield b"\r\n"


def _text(value: Json) -> bytes:
    """A field's value as a form writes it: texts as they are, all else as JSON."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return orjson.dumps(value)
