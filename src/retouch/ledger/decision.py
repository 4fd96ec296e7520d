"""What the next run does about a Job, from its Outcome and what the user asked to be redone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from retouch.ledger.outcome import Outcome

HoldReason = Literal["unanswered", "older_copy", "elsewhere", "salvaged"]


@dataclass(frozen=True, slots=True)
class Redo:
    """What the user asked to be paid for again, knowingly. `again`: an Attempt that may have been
    charged is made again so often a Job, within what the run has room for."""

    failed: bool = False
    unknown: bool = False
    again: int = 0
    missing: bool = False
    rejected: bool = False
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Send:
    """Start a new Attempt with this number."""

    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class Poll:
    """Ask for a Task that is on file; never submit it again."""

    attempt: int
    task: str


@dataclass(frozen=True, slots=True)
class Skip:
    """Nothing to do: the work is there, or it failed for good. `is_missing`: it was there, and a
    picture is gone, which who has seen the folder can say."""

    reason: Literal["done", "reused", "failed", "charged"]
    is_missing: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Hold:
    """No picture came, it may have been paid for, and nothing but the user's word settles that.

    `why`: `unanswered`; `older_copy`: its picture lies at its place and no Record names it;
    `elsewhere`: a ledger named by `reuse` has it in flight, unknown, charged, or done without its
    picture; `salvaged`: it may be in the lines that a damaged ledger has lost. `is_news`: no
    Record says so yet.
    """

    attempt: int
    why: HoldReason = "unanswered"
    is_news: bool = False


@dataclass(frozen=True, slots=True)
class HoldRejected:
    """Its picture was rejected; only the user may have another one made."""


PAY_AGAIN = "paying again"
Decision = Send | Poll | Skip | Hold | HoldRejected
NOTHING_REDONE = Redo()


def decide(
    key: str, outcome: Outcome | None, redo: Redo = NOTHING_REDONE, lost: int = 0
) -> Decision:
    """What the next run does about a Job (DESIGN §3, last column). `lost`: how many of its
    Attempts are open, charged or not: also one before the latest, which was paid for again.

    Nothing is sent again without the user's word where it may have been charged. Whether the
    files of a `done` Job still exist is not known here: that is the survey's to see.
    """
    if outcome is None:
        return Send(1, "new")
    again = Send(outcome.attempt + 1, outcome.state)
    if key in redo.keys and not (outcome.state == "accepted" and outcome.task):
        return Send(outcome.attempt + 1, "asked for")
    if outcome.is_polled and outcome.task:
        return Poll(outcome.attempt, outcome.task)
    match outcome.state:
        case "done" | "reused":
            return Skip(outcome.state)
        case "unsent":
            return _held(outcome, redo, lost) if lost and not redo.unknown else again
        case "accepted" | "sent" | "unknown":
            return again if redo.unknown else _held(outcome, redo, max(lost, 1))
        case "failed":
            return _decide_failed(outcome, redo, again, lost)
        case "resolved":
            # Only a key named by the user overrides a resolution.
            return Skip("charged") if outcome.verdict.is_charged else again


def _held(outcome: Outcome, redo: Redo, lost: int) -> Send | Hold:
    """It may have been paid for: held, or sent again on the terms of `run.on_unknown`."""
    if lost <= redo.again:
        return Send(outcome.attempt + 1, PAY_AGAIN)
    return Hold(outcome.attempt)


def _decide_failed(outcome: Outcome, redo: Redo, again: Send, lost: int) -> Decision:
    """A failure that may pass is tried again by itself only if it surely cost nothing."""
    if redo.failed:
        return again
    is_final, billed, *_ = outcome.verdict
    is_passing = not is_final and billed != "yes"
    if is_passing and (redo.unknown or (billed == "no" and not lost)):
        return again
    if is_passing:
        return _held(outcome, redo, max(lost, 1))
    if outcome.charge is not None and outcome.charge.standing == "unknown":
        return Hold(outcome.attempt)
    return Skip("failed")
