"""Errors as servers tell them: every shape is read here, every verdict is a row of `error_table`.

Type and code are believed before the message, the message before the status, for permanent
errors hide behind 503 (PROTOCOL §2, trap 2). Where the charge cannot be known the verdict is
Unreadable: never a guess. Of a body, one clean line is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from retouch.dialects.base import Billed, ErrorKind, Rejected, Reply, Unreadable
from retouch.dialects.openai_like.documents import (
    Document,
    clean,
    looks_like_a_page,
    object_in,
    read_document,
    text_in,
)
from retouch.dialects.openai_like.error_table import (
    CONTENT_WORDS,
    ROWS,
    VANISHED_WORDS,
    ErrorRow,
    ServerError,
)

_REDIRECTS = {301, 302, 307, 308}
# A status told in the body of a 200 that says by itself that no work was done.
_REFUSALS_IN_200 = {"401", "402", "403", "429"}


def read_error(reply: Reply) -> ServerError | None:
    """The error a reply's body tells of, whatever its shape; None if it is no error document."""
    document = read_document(reply.body)
    return None if document is None else error_in(document)


def error_in(document: Document) -> ServerError | None:
    """The error in a document of any of the shapes of PROTOCOL §1 "Errors" (and FastAPI's)."""
    told = document.get("error")
    inner = told if isinstance(told, dict) else {}
    texts = (
        told if isinstance(told, str) else "",
        text_in(inner, "message", "msg", "detail", "reason"),
        text_in(document, "message", "msg", "status_message", "error_message", "reason"),
        *_details(document.get("detail")),
    )
    message = next((clean(text) for text in texts if text.strip()), "")
    kind = text_in(inner, "type") or text_in(document, "type", "error_type")
    code = _code(inner.get("code")) or _code(document.get("code")) or text_in(inner, "status")
    if not (message or kind or code):
        return None
    return ServerError(type=kind, code=code, message=message)


def is_refusal(document: Document) -> bool:
    """Whether a 2xx document says by itself that it is an error."""
    if document.get("error") or document.get("status") is False or document.get("success") is False:
        return True
    code = _code(document.get("code"))
    return code.isdecimal() and int(code) >= 400 and bool(text_in(document, "message", "msg"))


def submit_refused(reply: Reply) -> Rejected | Unreadable:
    """What a submit's reply that is no result means for the attempt and its charge."""
    if reply.status in _REDIRECTS:
        return _redirected(reply)
    error = read_error(reply)
    row = _row_for(reply.status, error)
    if row is not None and row.kind is not None:
        verdict = _rejected(row.kind, reply, error)
        return replace(verdict, retry_safe=row.retry_safe, scope=row.scope)
    if row is None and error is not None and 200 <= reply.status < 300:
        # It said no in words the table does not know, behind a status that says yes.
        return _rejected("bad_request", reply, error, billed="unknown")
    why = f" ({row.reason})" if row else ""
    return Unreadable(_described(reply, error) + why, reply.status)


def poll_refused(reply: Reply) -> Rejected | Unreadable:
    """What a poll's reply that tells no status means; the Task and its charge stand regardless.

    Polls are free: whatever may pass is `retry_safe`, and what does not say that the Task is over
    is Unreadable, to be asked again until the Task's deadline. `billed` is `unknown` throughout,
    for the refusal is the poll's and not the Task's. A Task that is gone is `expired`.
    """
    error = read_error(reply)
    if _is_vanished(reply, error):
        return _rejected("expired", reply, error, billed="unknown")
    verdict = submit_refused(reply)
    if isinstance(verdict, Rejected) and (verdict.scope == "run" or verdict.kind == "content"):
        return replace(verdict, billed="unknown", retry_safe=False)
    may_pass = isinstance(verdict, Rejected) and verdict.retry_safe
    if may_pass or reply.status >= 500 or reply.status in (404, 408, 410, 429, 499):
        kind = verdict.kind if isinstance(verdict, Rejected) and may_pass else "transient"
        return replace(_rejected(kind, reply, error, billed="unknown"), retry_safe=True)
    if isinstance(verdict, Rejected) and verdict.scope == "lane":
        return replace(verdict, billed="unknown")
    return Unreadable(_described(reply, error), reply.status)


def _is_vanished(reply: Reply, error: ServerError | None) -> bool:
    """Whether the service says it does not know the Task; a page's 404 is only a wrong address."""
    if error is None:
        return False
    if reply.status in (404, 410):
        return True
    return 200 <= reply.status < 500 and VANISHED_WORDS.search(error.message) is not None


def task_failed(document: Document, status: int, *, images: int | None) -> Rejected:
    """A Task that ended without pictures; billed only if the server counted some."""
    error = error_in({k: v for k, v in document.items() if k != "status"})
    message = error.message if error else ""
    refused = error is not None and (
        CONTENT_WORDS.search(message) is not None or "1301" in error.names
    )
    return Rejected(
        kind="content" if refused else "task_failed",
        status=status,
        code=(error.code or error.type or None) if error else None,
        message=message or "the task failed; the server gave no reason",
        billed="yes" if images else "no",
    )


def _row_for(status: int, error: ServerError | None) -> ErrorRow | None:
    """The first row that matches; behind a 2xx, by what the body says alone."""
    if not 200 <= status < 300:
        return next((row for row in ROWS if row.matches(status, error)), None)
    said = next((row for row in ROWS if row.is_said_by(error)), None)
    if said is None and error is not None and error.code in _REFUSALS_IN_200:
        return _row_for(int(error.code), error)
    return said


def _rejected(
    kind: ErrorKind, reply: Reply, error: ServerError | None, *, billed: Billed = "no"
) -> Rejected:
    return Rejected(
        kind=kind,
        status=reply.status,
        code=(error.code or error.type or None) if error else None,
        message=_described(reply, error),
        billed=billed,
    )


def _described(reply: Reply, error: ServerError | None) -> str:
    """The server's own message, or what can be said of its reply."""
    if error is not None:
        return error.message or f"HTTP {reply.status}: {error.type or error.code}"
    if not reply.body.strip():
        what = "an empty body"
    elif looks_like_a_page(reply.body):
        what = "a web page instead of JSON"
    elif read_document(reply.body) is None:
        what = "a body that is not a JSON object, or was cut"
    else:
        what = "a document that is neither a result nor an error"
    return f"HTTP {reply.status} with {what}"


def _redirected(reply: Reply) -> Rejected:
    """A redirect hands the work on undone (303 alone says it was done): nothing was charged, and
    every other job would meet it too."""
    target = clean(reply.headers.get("location", "")) or "another address"
    message = f"the server redirects to {target}; correct provider.base_url, redirects are refused"
    return Rejected("bad_request", reply.status, None, message, scope="run")


def _code(value: object) -> str:
    """An error's code as text, number or text; "" for none (0 is success)."""
    if isinstance(value, bool) or not isinstance(value, int | str) or value in (0, "0"):
        return ""
    return clean(value if isinstance(value, str) else _digits(value), 64)


def _digits(value: int) -> str:
    return str(value) if abs(value) < 10**18 else ""


def _details(detail: object) -> Iterator[str]:
    """FastAPI's `detail`: a text, or a list of objects with a `msg` each."""
    if isinstance(detail, str):
        yield detail
    for entry in detail[:3] if isinstance(detail, list) else [detail]:
        if isinstance(entry, dict):
            yield text_in(object_in({"entry": entry}, "entry"), "msg", "message")
