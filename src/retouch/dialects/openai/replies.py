"""What OpenAI's replies mean: pictures with their usage, a stream of events, refusals.

The id of a refused request (`x-request-id`) is kept in its message: OpenAI's support asks for it.
Nothing here raises.
"""

from __future__ import annotations

from dataclasses import replace

from retouch.dialects.base import Pending, Produced, Rejected, Reply, Unreadable, Usage
from retouch.dialects.openai_like import errors
from retouch.dialects.openai_like.documents import clean, pictures_in, read_document
from retouch.dialects.openai_like.events import is_stream, read_stream
from retouch.dialects.openai_like.usage import credible, usage_in


def read_submit(reply: Reply) -> Produced | Rejected | Unreadable:
    """What the reply to a submit means; a stream that ended without a picture is Unreadable."""
    if 200 <= reply.status < 300:
        if is_stream(reply):
            document, broke_off = read_stream(reply.body)
            if document is None:
                return Unreadable(broke_off, reply.status)
        else:
            document = read_document(reply.body)
        if document is not None and not errors.is_refusal(document):
            warnings: list[str] = []
            entries = document.get("data")
            pictures = pictures_in(entries, warnings)
            usage = credible(usage_in(document, warnings), len(pictures), warnings)
            if pictures or isinstance(entries, list) or usage != Usage():
                if not pictures:
                    warnings.append("the reply holds no picture")
                if usage == Usage():
                    warnings.append("the reply says nothing of its usage")
                return Produced(pictures, usage, tuple(warnings))
            return Unreadable("the reply holds no pictures", reply.status)
    return _with_request_id(errors.submit_refused(reply), reply)


def read_poll(reply: Reply) -> Produced | Pending | Rejected | Unreadable:
    """Never asked of this API, which has no tasks: whatever comes is not understood."""
    return Unreadable("this API has no tasks", reply.status)


def _with_request_id(verdict: Rejected | Unreadable, reply: Reply) -> Rejected | Unreadable:
    request_id = clean(reply.headers.get("x-request-id", ""), 80)
    if not request_id:
        return verdict
    return replace(verdict, message=f"{verdict.message} (request {request_id})")
