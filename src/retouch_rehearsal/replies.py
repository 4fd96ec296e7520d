"""What goes back to the client: the service's documents."""

from __future__ import annotations

import io
from email.utils import formatdate
from typing import IO

import orjson
import pybase64
from starlette.responses import Response

from .faults import INSTEAD, NEEDS_SOCKET, Fault
from .files import Link, Signer
from .orders import Order
from .refusal import JsonObject, JsonValue, Refusal
from .sending import Reset, Stored, spoil
from .service import Edited
from .tasks import Task
from .usage import svg_document

BASE64_STEP = 3 * 256 * 1024  # bytes; a multiple of three, so that the pieces join
SUFFIXES = {"png": "png", "jpeg": "jpg", "webp": "webp", "gif": "gif", "svg": "svg"}
_FAULT_ERRORS: dict[str, tuple[int, str, str, str | int | None]] = {
    "429": (429, "rate limit reached", "rate_limit_error", "rate_limit_exceeded"),
    "1303": (429, "parallel task over resource pack limit", "rate_limit_error", 1303),
    "500": (500, "internal error", "internal_error", None),
    "502": (502, "bad gateway", "internal_error", None),
    "503": (503, "the service is overloaded", "overloaded_error", None),
    "504": (504, "gateway timeout", "internal_error", None),
    "refused": (400, "the content was refused by safety review", "invalid_request_error",
                "content_policy_violation"),
}  # fmt: skip


def json_reply(document: JsonObject, status: int = 200) -> Response:
    """A document as JSON."""
    return Response(orjson.dumps(document), status, media_type="application/json")


def refusal_reply(refusal: Refusal) -> Response:
    """A Refusal as the client sees it."""
    reply = json_reply(refusal.document(), refusal.status)
    reply.headers.update(refusal.headers)
    return reply


def edited_reply(edited: Edited, order: Order, now: float, spoilt: str | None) -> Response:
    """The reply of a synchronous model; `spoilt` names a fault of its content."""
    end: JsonObject = {
        "output_format": order.output_format,
        "usage": edited.usage.document(),
        "rehearsal": _note(edited.plan, edited.warnings),
    }
    if order.output_format == "svg":
        end["svg_usage"] = svg_document(edited.usage, order.author)
    if spoilt == "no_usage":
        end = {name: value for name, value in end.items() if not name.endswith("usage")}

    if order.partial_images is not None:
        return _streamed(edited, order, now, end, spoilt)

    def write(file: IO[bytes]) -> None:
        file.write(b'{"created":%d,"data":[' % now)
        for index, picture in enumerate(edited.pictures):
            file.write(b',{"b64_json":"' if index else b'{"b64_json":"')
            with picture:
                _write_base64(picture, file, spoilt)
            file.write(b'"}')
        file.write(b"]," + orjson.dumps(end)[1:])

    return Stored(write, "application/json")


def _streamed(
    edited: Edited, order: Order, now: float, end: JsonObject, spoilt: str | None
) -> Response:
    """The same as server-sent events: partial pictures, then each picture completed, the usage
    with the last (OpenAI's ImageEditStreamEvent)."""
    partial, usage = order.partial_images or 0, end.pop("usage", None)

    def event(file: IO[bytes], name: str, picture: IO[bytes], more: JsonObject) -> None:
        head = {"type": name, "created_at": int(now), "output_format": order.output_format}
        file.write(f"event: {name}\ndata: ".encode() + orjson.dumps({**head, **more})[:-1])
        file.write(b',"b64_json":"')
        picture.seek(0)
        _write_base64(picture, file, spoilt)
        file.write(b'"}\n\n')

    def write(file: IO[bytes]) -> None:
        for index, picture in enumerate(edited.pictures):
            with picture:
                for number in range(partial if index == 0 else 0):
                    which: JsonObject = {"partial_image_index": number}
                    event(file, "image_edit.partial_image", picture, which)
                is_last = index + 1 == len(edited.pictures)
                told: JsonObject = {**end, "usage": usage} if is_last and usage else {}
                event(file, "image_edit.completed", picture, told)

    return Stored(write, "text/event-stream")


def _write_base64(picture: IO[bytes], file: IO[bytes], spoilt: str | None) -> None:
    if spoilt == "not_a_picture":
        file.write(pybase64.b64encode(b"this is no picture"))
        return
    while piece := picture.read(BASE64_STEP):
        file.write(pybase64.b64encode(piece))
    if spoilt == "broken_base64":
        file.seek(-8, io.SEEK_CUR)
        file.write(b"!*")
        file.truncate()


def task_document(task: Task, signer: Signer, now: float, *, expired: bool) -> JsonObject:
    """The reply to a poll of `/images/tasks/{id}`."""
    status = task.status(now)
    document: JsonObject = {
        "task_id": task.id,
        "created": int(task.created),
        "status": status,
        "status_message": task.message(now),
        "rehearsal": _note(task.plan, task.warnings),
    }
    if status == "succeed":
        document["data"] = [
            {"index": index, "url": url}
            for index, url in enumerate(_urls(task, signer, now, expired=expired))
        ]
        document["quantity"] = task.images
    return document


def queue_document(
    task: Task, signer: Signer, root: str, now: float, *, expired: bool
) -> JsonObject:
    """The reply to a submit to the queue, and to a poll of it."""
    status = task.status(now)
    place = f"{root}/queue/fal-ai/kling-image/requests/{task.id}"
    names = {"submitted": "IN_QUEUE", "processing": "IN_PROGRESS", "succeed": "COMPLETED"}
    document: JsonObject = {
        "status": names.get(status, status.upper()),
        "request_id": task.id,
        "response_url": place,
        "status_url": f"{place}/status",
        "cancel_url": "",
        "rehearsal": _note(task.plan, task.warnings),
    }
    if status == "failed":
        document["error"] = task.message(now)
    if status == "succeed":
        images: list[JsonValue] = [
            {"url": url, "content_type": f"image/{task.order.output_format}"}
            for url in _urls(task, signer, now, expired=expired)
        ]
        document["result"] = {"images": images}
    return document


def _urls(task: Task, signer: Signer, now: float, *, expired: bool) -> list[str]:
    suffix = SUFFIXES[task.order.output_format]
    return [
        signer.sign(Link(task.id, index), suffix, now, expired=expired)
        for index in range(task.images)
    ]


def _note(plan: str, warnings: tuple[str, ...]) -> JsonObject:
    return {"plan": plan, "warnings": list(warnings)}


def struck(fault: Fault | None, reply: Response | None, now: float) -> Response:
    """What becomes of the service's own reply; None where the fault let no work be done."""
    if fault is not None and fault.kind in NEEDS_SOCKET:
        return Reset()
    if fault is not None and fault.kind in INSTEAD:
        return _instead(fault, now)
    assert reply is not None  # noqa: S101  every other fault comes after the work
    return reply if fault is None else spoil(fault, reply)


def _instead(fault: Fault, now: float) -> Response:
    """The reply a fault gives in place of the service's own."""
    if fault.kind == "redirect":
        return Response(status_code=307, headers={"Location": "http://elsewhere.invalid/v1/"})
    status, message, kind, code = _FAULT_ERRORS[fault.kind]
    if fault.kind == "503" and fault.is_charged:  # then it was not too busy
        message, kind = "service temporarily unavailable", "internal_error"
    reply = refusal_reply(Refusal(status, f"{message} (rehearsed)", kind=kind, code=code))
    if fault.kind in ("429", "1303", "503") and fault.seconds is not None:
        wait = fault.seconds
        as_date = fault.retry_after == "date"
        reply.headers["Retry-After"] = (
            formatdate(now + wait, usegmt=True) if as_date else f"{wait:g}"
        )
    return reply
