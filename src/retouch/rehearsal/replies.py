"""What goes back to the client: the service's documents, and the ways a fault spoils them."""

from __future__ import annotations

import html
from collections.abc import Callable
from email.utils import formatdate
from typing import cast

import anyio
import orjson
import pybase64
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .faults import Fault
from .files import Link, Signer
from .orders import Order
from .refusal import JsonObject, JsonValue, Refusal
from .service import Edited
from .tasks import Task

ABORT = "retouch.abort"
CLOSE = "retouch.close"
SUFFIXES = {"png": "png", "jpeg": "jpg", "webp": "webp"}
_FAULT_ERRORS: dict[str, tuple[int, str, str, str | int | None]] = {
    "429": (429, "rate limit reached", "rate_limit_error", "rate_limit_exceeded"),
    "1303": (429, "parallel task over resource pack limit", "rate_limit_error", 1303),
    "500": (500, "internal error", "internal_error", None),
    "502": (502, "bad gateway", "internal_error", None),
    "503": (503, "service temporarily unavailable", "internal_error", None),
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


def edited_document(edited: Edited, order: Order, now: float, spoilt: str | None) -> JsonObject:
    """The reply of a synchronous model; `spoilt` names a fault of its content."""
    encoded = [pybase64.b64encode(picture).decode("ascii") for picture in edited.pictures]
    if spoilt == "broken_base64":
        encoded = [f"{text[:-8]}!*" for text in encoded]
    elif spoilt == "not_a_picture":
        encoded = [pybase64.b64encode(b"this is no picture").decode("ascii") for _ in encoded]
    data: list[JsonValue] = [{"b64_json": text} for text in encoded]
    document: JsonObject = {
        "created": int(now),
        "data": data,
        "output_format": order.output_format,
        "usage": edited.usage.document(),
        "rehearsal": _note(edited.plan, edited.warnings),
    }
    if spoilt == "no_usage":
        del document["usage"]
    return document


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


def instead(fault: Fault, now: float) -> Response:
    """The reply a fault gives in place of the service's own."""
    if fault.kind == "redirect":
        return Response(status_code=307, headers={"Location": "http://elsewhere.invalid/v1/"})
    status, message, kind, code = _FAULT_ERRORS[fault.kind]
    reply = refusal_reply(Refusal(status, f"{message} (rehearsed)", kind=kind, code=code))
    if fault.kind in ("429", "1303", "503") and fault.seconds is not None:
        wait = fault.seconds
        as_date = fault.retry_after == "date"
        reply.headers["Retry-After"] = (
            formatdate(now + wait, usegmt=True) if as_date else f"{wait:g}"
        )
    return reply


def spoil(fault: Fault, reply: Response) -> Response:
    """The service's own reply, damaged on its way as the fault says."""
    body = bytes(reply.body)
    if fault.kind == "truncated":
        return Truncated(body, reply.status_code, media_type=reply.media_type)
    if fault.kind == "slow_body":
        seconds = 10.0 if fault.seconds is None else fault.seconds
        return Slow(body, reply.status_code, seconds, media_type=reply.media_type)
    if fault.kind == "not_json":
        return Response(b"{'data': [oops", 200, media_type="application/json")
    if fault.kind == "html":
        page = f"<!doctype html><title>{html.escape('502 Bad Gateway')}</title><h1>nginx</h1>"
        return Response(page, 200, media_type="text/html")
    return reply


class Reset(Response):
    """No reply at all: the connection is reset."""

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Reset the connection, if there is one."""
        cast("Callable[[], None]", scope[ABORT])()


class Truncated(Response):
    """Half the body: with a connection it then closes, without one the reply ends there."""

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the first half."""
        half = bytes(self.body)[: len(self.body) // 2]
        close = cast("Callable[[], None] | None", scope.get(CLOSE))
        if close is None:
            self.headers["content-length"] = str(len(half))
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        await send({"type": "http.response.body", "body": half, "more_body": close is not None})
        if close is not None:
            close()


class Slow(Response):
    """The body in twenty pieces, spread over `seconds`."""

    def __init__(
        self, content: bytes, status: int, seconds: float, media_type: str | None = None
    ) -> None:
        super().__init__(content, status, media_type=media_type)
        self._seconds = seconds

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send slowly."""
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        body = bytes(self.body)
        step = max(1, -(-len(body) // 20))
        for start in range(0, len(body), step):
            await anyio.sleep(self._seconds / 20)
            piece = body[start : start + step]
            more = start + step < len(body)
            await send({"type": "http.response.body", "body": piece, "more_body": more})
