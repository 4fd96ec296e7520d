"""Server-sent events of a streamed edit, read whole: partial pictures, then the completed ones.

`image_edit.completed` (and `image_generation.completed`) is the result; a stream that ends with
partial pictures alone has no result, and whether it was charged is not known. Source: OpenAI's
published API description, ImageEditStreamEvent; the event stream format is WHATWG HTML §9.2.
"""

from __future__ import annotations

from collections.abc import Iterator

from retouch.dialects.base import Reply
from retouch.dialects.openai_like.documents import Document, read_document

_COMPLETED = ("image_edit.completed", "image_generation.completed")
_PARTIAL = ("image_edit.partial_image", "image_generation.partial_image")


def is_stream(reply: Reply) -> bool:
    """Whether a reply is a stream of events, by its type or by how it begins."""
    if reply.headers.get("content-type", "").lower().startswith("text/event-stream"):
        return True
    return reply.body[:64].lstrip().startswith((b"event:", b"data:"))


def read_stream(body: bytes) -> tuple[Document | None, str]:
    """One document like an unstreamed reply's (`data`, `usage`), or None and what is missing.

    An error told within the stream is a document with `error`.
    """
    completed: list[Document] = []
    partial = 0
    for event in events_in(body):
        kind = event.get("type")
        if kind in _COMPLETED or (kind is None and isinstance(event.get("data"), list)):
            completed.append(event)
        elif kind in _PARTIAL:
            partial += 1
        elif kind == "error" or event.get("error"):
            return (event if event.get("error") else {"error": dict(event)}), ""
    if not completed:
        came = f"{partial} partial picture{'s' if partial != 1 else ''}"
        return None, f"the stream ended without a completed picture ({came} came)"
    last = completed[-1]
    if isinstance(last.get("data"), list):
        return last, ""
    data: list[object] = [{"b64_json": each.get("b64_json")} for each in completed]
    return {"data": data, "usage": last.get("usage")}, ""


def events_in(body: bytes) -> Iterator[Document]:
    """The JSON objects of a stream's `data:` fields, event by event; others are passed over."""
    for block in body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n"):
        lines = [line[5:] for line in block.split(b"\n") if line.startswith(b"data:")]
        text = b"\n".join(line.removeprefix(b" ") for line in lines)
        event = read_document(text) if text else None
        if event is not None:
            yield event
