"""Why a Job would be sent: new, or what of it has changed since it was sent before.

A Job is known again by its model, its Prompt's id and its Source's name; what stands in the
ledger's `started` records says which part of it is not what it was.
"""

from __future__ import annotations

from retouch.job import Job
from retouch.ledger.decision import Send
from retouch.ledger.records import AskedRecord
from retouch.ledger.state import Replay
from retouch.ledger.terms import asked_of

_WORDS = {"sent": "unknown", "resolved": "not charged"}


class Changes:
    """The reasons of Jobs to be sent, against one ledger's state."""

    def __init__(self, state: Replay) -> None:
        self._known: dict[tuple[str, str, str], list[AskedRecord | None]] = {}
        for outcome in state.outcomes.values():
            began = outcome.began
            if began is not None:
                place = (began.model, began.prompt, began.source)
                self._known.setdefault(place, []).append(began.asked)

    def reason(self, job: Job, send: Send) -> str:
        """One of: new, input/prompt/option changed, failed, unknown, missing, unsent, ..."""
        if send.reason != "new":
            return _WORDS.get(send.reason, send.reason)
        earlier = self._known.get((job.model, job.prompt.id, job.source.name))
        if not earlier:
            return "new"
        asked = asked_of(job)
        told = [_changed(asked, before) for before in earlier if before is not None]
        if not told:
            return "changed"
        parts = min(told, key=len)
        return f"{' and '.join(parts)} changed" if parts else "new"  # alike: one more repeat


def _changed(now: AskedRecord, before: AskedRecord) -> tuple[str, ...]:
    pairs = (
        ("input", now.input, before.input),
        ("prompt", now.prompt, before.prompt),
        ("option", now.options, before.options),
    )
    return tuple(name for name, new, old in pairs if new != old)
