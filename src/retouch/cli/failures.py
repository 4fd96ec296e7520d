"""The Jobs that failed, and what to do about each: `retouch status --failed`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from retouch.job import KEY_DIGITS
from retouch.ledger.decision import Redo, Send, decide
from retouch.ledger.records import Failed
from retouch.ledger.state import Replay
from retouch.text import one_clean_line

_SAID = 5  # different messages: more are counted
_SENT = "next run sends it"
_REMEDIES = {
    "auth": "mend the key",
    "quota": "top up, or raise it",
    "content": "change prompt or source",
    "bad_request": "change what it names",
    "broken_reply": "look in quarantine/",
    "unpriced": "state a price",
}
_ELSE = "--redo failed"
_PAID = "--redo failed pays"


@dataclass(frozen=True, slots=True)
class Failure:
    """A Job whose latest Attempt failed, and what to do about it."""

    record: Failed
    remedy: str

    @property
    def document(self) -> dict[str, object]:
        """For programs."""
        record, error = self.record, self.record.error
        return {
            "key": record.key,
            "attempt": record.attempt,
            "at": record.at,
            "model": record.model,
            "prompt": record.prompt,
            "source": record.source,
            "kind": error.kind,
            "status": error.status,
            "code": error.code,
            "message": error.message,
            "billed": record.billed,
            "final": record.final,
            "remedy": self.remedy,
        }


def failures_of(state: Replay, redo: Redo) -> Iterator[Failure]:
    """Every Job that failed, in the ledger's order."""
    for key, outcome in state.outcomes.of_state("failed"):
        record = outcome.decided
        if isinstance(record, Failed):
            decision = decide(key, outcome, redo, state.lost_attempts(key))
            is_sent = isinstance(decision, Send)
            yield Failure(record, _SENT if is_sent else _remedy(record))


def _remedy(record: Failed) -> str:
    known = _REMEDIES.get(record.error.kind)
    return known or (_PAID if record.billed == "yes" else _ELSE)


def print_failures(failures: Sequence[Failure]) -> None:
    """A row a Job; below, what was said of each kind, for messages are long."""
    if not failures:
        print("nothing failed")
        return
    # Here and not above: start-up time.
    from retouch.cli.console import print_table, stdout_console  # noqa: PLC0415

    headings = ("key", "source", "prompt", "model", "error", "what to do", "message")
    rows = [
        (
            each.record.key[:KEY_DIGITS],
            one_clean_line(each.record.source, 200),
            one_clean_line(each.record.prompt, 100),
            one_clean_line(each.record.model, 100),
            each.record.error.kind.replace("_", " "),
            each.remedy,
            one_clean_line(each.record.error.message, 100),
        )
        for each in failures
    ]
    print_table(stdout_console(), headings, rows, folded=(1, 2, 5, 6), droppable=(6, 3))
    print("what was mended: `retouch run MANIFEST --redo failed` sends it again")
    counted = Counter((each.record.error.kind, each.record.error.message) for each in failures)
    for (kind, message), count in counted.most_common(_SAID):
        print(one_clean_line(f"{count:,} {kind.replace('_', ' ')}: {message}", 300))
    if len(counted) > _SAID:
        print(f"... {len(counted) - _SAID:,} more messages: --json has them all")
