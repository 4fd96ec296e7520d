"""What errors mean for an attempt and its charge: every verdict is a row of `error_table`.

Type and code are believed before the message, the message before the status, for permanent
errors hide behind 503 (PROTOCOL §2, trap 2). Where the charge cannot be known the verdict is
Unreadable: never a guess. Of a body, one clean line is kept.
"""

from __future__ import annotations

from dataclasses import replace

from retouch.dialects.base import Billed, ErrorKind, Rejected, Reply, Unreadable
from retouch.dialects.openai_like.documents import (
    Document,
    clean,
    looks_like_a_page,
    read_document,
    text_in,
)
from retouch.dialects.openai_like.error_shapes import error_in, read_error, told_by
from retouch.dialects.openai_like.error_table import (
    CONTENT_WORDS,
    ROWS,
    VANISHED_WORDS,
    ErrorRow,
    ServerError,
    Told,
    says,
)

_REDIRECTS = {301, 302, 307, 308}
# Statuses in the body of a 200 that mean that no work was done.
_REFUSALS_IN_200 = {"401", "402", "403", "429"}


def is_refusal(document: Document) -> bool:
    """Whether a 2xx document says by itself that it is an error."""
    if document.get("error") or document.get("status") is False or document.get("success") is False:
        return True
    error = error_in(document)
    code = error.code if error is not None else ""
    is_told = bool(text_in(document, "message", "msg")) or "base_resp" in document
    return code.isdecimal() and int(code) >= 400 and is_told


def submit_refused(reply: Reply) -> Rejected | Unreadable:
    """What a submit's reply that is no result means for the attempt and its charge."""
    if reply.status in _REDIRECTS:
        return _redirected(reply)
    told = told_by(reply.status, reply.body)
    row = _row_for(told)
    is_behind_yes = 200 <= reply.status < 300
    if row is not None and row.kind is not None and not (is_behind_yes and row.kind == "transient"):
        verdict = _rejected(row.kind, reply, told.error)
        return replace(verdict, retry_safe=row.retry_safe, scope=row.scope)
    if row is None and told.error is not None and is_behind_yes:
        # A 2xx reply whose error the table does not know.
        return _rejected("bad_request", reply, told.error, billed="unknown")
    why = f" ({row.reason})" if row else ""
    return Unreadable(_described(reply, told.error) + why, reply.status)


def poll_refused(reply: Reply) -> Rejected | Unreadable:
    """What a poll's reply that tells no status means; the Task and its charge stand regardless.

    Polls are free: whatever may pass is `retry_safe`, and what does not say that the Task is over
    is Unreadable, to be asked again until the Task's deadline. `billed` is `unknown` throughout,
    for the refusal is the poll's and not the Task's. A Task that is gone is `expired`.
    """
    error = read_error(reply.body)
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
    return 200 <= reply.status < 500 and says(VANISHED_WORDS, error.message)


def tells_of_content(words: str) -> bool:
    """Whether words speak of content that was refused."""
    return says(CONTENT_WORDS, words)


def task_failed(document: Document, status: int, *, images: int | None) -> Rejected:
    """A Task that ended without pictures; billed only if the server counted some."""
    error = error_in(document)
    message = error.message if error else ""
    refused = error is not None and (says(CONTENT_WORDS, message) or "1301" in error.names)
    return Rejected(
        kind="content" if refused else "task_failed",
        status=status,
        code=(error.code or error.type or None) if error else None,
        message=message or "the task failed; the server gave no reason",
        billed="yes" if images else "no",
    )


def _row_for(told: Told) -> ErrorRow | None:
    """The first row that matches; behind a 2xx, by what the body says alone."""
    if not 200 <= told.status < 300:
        return next((row for row in ROWS if row.matches(told)), None)
    said = next((row for row in ROWS if row.is_said_by(told.error)), None)
    if said is None and told.error is not None and told.error.code in _REFUSALS_IN_200:
        return _row_for(replace(told, status=int(told.error.code)))
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
        wait_seconds=error.wait_seconds if error else None,
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
