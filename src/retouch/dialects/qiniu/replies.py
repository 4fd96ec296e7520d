"""What the service's replies mean: results, tasks, statuses, refusals.

Branches on what the reply holds: pictures win over everything (they are paid for), then a task's
id, then an error. Whatever is not understood is Unreadable and its charge unknown. Nothing here
raises.
"""

from __future__ import annotations

from dataclasses import replace

from retouch.dialects.base import Accepted, Pending, Produced, Rejected, Reply, Unreadable, Usage
from retouch.dialects.openai_like import errors
from retouch.dialects.openai_like.documents import (
    Document,
    clean,
    count_in,
    object_in,
    pictures_in,
    read_document,
    reason_for_none,
    repr_of,
    text_in,
)
from retouch.dialects.openai_like.events import is_stream, read_stream
from retouch.dialects.openai_like.usage import credible, usage_in
from retouch.dialects.qiniu import tasks

_SUCCEEDED = {"succeed", "succeeded", "success", "completed", "complete"}
_WAITING = {
    "submitted", "processing", "queued", "pending", "running", "in_queue", "in_progress",
    "created", "starting",
}  # fmt: skip
_FAILED = {"failed", "failure", "error", "cancelled", "canceled", "rejected"}


def read_submit(reply: Reply) -> Produced | Accepted | Rejected | Unreadable:
    """What the reply to a submit means; a result or a task by its own fields (trap 4)."""
    document = read_document(reply.body) if 200 <= reply.status < 300 else None
    if document is None and 200 <= reply.status < 300 and is_stream(reply):
        document, broke_off = read_stream(reply.body)
        if document is None:
            return Unreadable(broke_off, reply.status)
    if document is None:
        return errors.submit_refused(reply)
    produced = _produced(document)
    if produced.pictures:
        return produced
    is_task = document.get("task_id") is not None or _is_queued(document)
    if is_task and _status(document) in _FAILED:
        return _failed(document, reply)
    if is_task:
        return _accepted(document, reply)
    if errors.is_refusal(document) or _status(document) in _FAILED:
        return errors.submit_refused(reply)
    if _entries(document) is not None or isinstance(document.get("usage"), dict):
        return produced  # a whole answer without a picture: billed as its usage says
    return Unreadable("the reply holds neither pictures nor a task", reply.status)


def read_poll(reply: Reply) -> Produced | Pending | Rejected | Unreadable:
    """What the reply to a poll means; an unknown status is Pending with a warning."""
    document = read_document(reply.body) if 200 <= reply.status < 300 else None
    if document is None:
        return errors.poll_refused(reply)
    status = _status(document)
    if status in _WAITING:
        return Pending(status)
    produced = _produced(document)
    if produced.pictures:
        return produced
    if status in _FAILED or (status in _SUCCEEDED and document.get("error")):
        return _failed(document, reply)
    if status in _SUCCEEDED:
        return produced
    if errors.is_refusal(document) or document.get("status") is None:
        return errors.poll_refused(reply)
    shown = status or clean(repr_of(document["status"]), 64)
    return Pending(shown, f"unknown status {shown}: taken as not finished")


def _status(document: Document) -> str:
    return clean(text_in(document, "status").lower(), 64)


def _is_queued(document: Document) -> bool:
    """Whether it is a queue's receipt; an ordinary reply may carry a request_id too."""
    if document.get("request_id") is None or _entries(document) is not None:
        return False
    return bool(document.get("status_url") or document.get("response_url")) or (
        _status(document) in _WAITING
    )


def _accepted(document: Document, reply: Reply) -> Accepted | Unreadable:
    """The Task begun; an id that cannot be kept safely leaves it unknown (BAD-INPUT row 48)."""
    if document.get("task_id") is not None:
        task = tasks.task_id(document["task_id"])
    else:
        task = tasks.queue_handle(document["request_id"], document.get("status_url"))
    if task is None:
        return Unreadable("the reply's task id is not one that can be used", reply.status)
    return Accepted(task)


def _entries(document: Document) -> list[object] | None:
    """The list of pictures: `data`, or a queue's `images` or `result.images`."""
    for place in (document.get("data"), document.get("images")):
        if isinstance(place, list):
            return place
    nested = object_in(document, "result").get("images")
    return nested if isinstance(nested, list) else None


def _produced(document: Document) -> Produced:
    """The pictures of a reply, with what the service counted: tokens, or `quantity` for tasks.

    A queue's reply tells no quantity (PROTOCOL §1), so nothing is said of its absence there.
    """
    warnings: list[str] = []
    images = count_in(document, "quantity", warnings)
    usage = usage_in(document, warnings, images=images)
    pictures = pictures_in(_entries(document), warnings)
    reason = "" if pictures else reason_for_none(document)
    is_refused = errors.tells_of_content(reason) or errors.tells_of_content(
        text_in(document, "status_message")
    )
    usage = credible(usage, len(pictures), warnings)
    if not pictures:
        warnings.append("the reply holds no picture")
    elif document.get("error"):
        warnings.append("the reply holds an error beside its pictures")
    if usage == Usage() and document.get("request_id") is None:
        warnings.append("the reply says nothing of its usage")
    return Produced(
        pictures,
        usage,
        tuple(warnings),
        reason=reason or (text_in(document, "status_message") if is_refused else ""),
        is_refused=is_refused and not pictures,
        model=text_in(document, "model"),
    )


def _failed(document: Document, reply: Reply) -> Rejected:
    """A Task that ended without pictures, with what the service counted for it."""
    warnings: list[str] = []
    usage = usage_in(document, warnings, images=count_in(document, "quantity", warnings))
    return replace(
        errors.task_failed(document, reply.status, images=usage.images),
        usage=usage if usage != Usage() else None,
    )
