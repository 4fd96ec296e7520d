"""What OpenAI's replies mean: pictures with their usage, a stream of events, refusals.

The id of a refused or lost request is kept in its message: whoever runs the server asks for it.
What a gateway says of its own retries is told, for each may have been charged. Nothing here raises.
"""

from __future__ import annotations

from dataclasses import replace

from retouch.dialects.base import Pending, Produced, Rejected, Reply, Unreadable, Usage
from retouch.dialects.openai_like import errors
from retouch.dialects.openai_like.documents import (
    Document,
    clean,
    pictures_in,
    read_document,
    reason_for_none,
    text_in,
)
from retouch.dialects.openai_like.events import is_stream, read_stream
from retouch.dialects.openai_like.usage import credible, usage_in

# OpenAI, Azure, new-api, LiteLLM: the first that is there.
_REQUEST_IDS = ("x-request-id", "apim-request-id", "x-oneapi-request-id", "x-litellm-call-id")
_GATEWAY_RETRIES = "x-litellm-attempted-retries"
_MOST_RETRIES = 1000


def read_submit(reply: Reply) -> Produced | Rejected | Unreadable:
    """What the reply to a submit means; a stream that ended without a picture is Unreadable."""
    return _with_request_id(_read(reply), reply)


def read_poll(reply: Reply) -> Produced | Pending | Rejected | Unreadable:
    """Never asked of this API, which has no tasks: whatever comes is not understood."""
    return Unreadable("this API has no tasks", reply.status)


def _read(reply: Reply) -> Produced | Rejected | Unreadable:
    if not 200 <= reply.status < 300:
        return errors.submit_refused(reply)
    if is_stream(reply):
        document, broke_off = read_stream(reply.body)
        if document is None:
            return Unreadable(broke_off, reply.status)
    else:
        document = read_document(reply.body)
    if document is None:
        return errors.submit_refused(reply)
    produced = _produced(document, reply)
    if produced.pictures:  # pictures are paid for, also beside an error
        return produced
    if errors.is_refusal(document):
        return errors.submit_refused(reply)
    if isinstance(document.get("data"), list) or produced.usage != Usage():
        return produced
    return Unreadable("the reply holds no pictures", reply.status)


def _produced(document: Document, reply: Reply) -> Produced:
    warnings: list[str] = []
    pictures = pictures_in(document.get("data"), warnings)
    usage = credible(usage_in(document, warnings), len(pictures), warnings)
    reason = "" if pictures else reason_for_none(document)
    if not pictures:
        warnings.append("the reply holds no picture")
    elif document.get("error"):
        warnings.append("the reply holds an error beside its pictures")
    if usage == Usage():
        warnings.append("the reply says nothing of its usage")
    return Produced(
        pictures,
        usage,
        tuple(warnings),
        reason=reason,
        is_refused=errors.tells_of_content(reason),
        model=text_in(document, "model"),
        told=_bought_before(reply),
    )


def _bought_before(reply: Reply) -> tuple[str, ...]:
    """What a gateway says of the tries before the one it answers with."""
    told = reply.headers.get(_GATEWAY_RETRIES, "")
    tries = int(told) if told.isascii() and told.isdecimal() and len(told) <= 9 else 0
    if not 0 < tries <= _MOST_RETRIES:
        return ()
    times = "once" if tries == 1 else f"{tries} times"
    return (
        f"the gateway says that it retried {times} by itself: each may have been charged, and this"
        " reply counts the last alone; have it retry nothing (LiteLLM: `num_retries: 0`)",
    )


def _with_request_id(
    verdict: Produced | Rejected | Unreadable, reply: Reply
) -> Produced | Rejected | Unreadable:
    found = (clean(reply.headers.get(name, ""), 80) for name in _REQUEST_IDS)
    request_id = next(filter(None, found), "")
    if not request_id or isinstance(verdict, Produced):
        return verdict
    return replace(verdict, message=f"{verdict.message} (request {request_id})")
