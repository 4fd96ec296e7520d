"""What a run says at its end: what was done, what is left, why it stopped, and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from retouch.cli.output import say
from retouch.ledger.decision import HoldReason
from retouch.storage.part import ledgers_in, missing_beside
from retouch.text import how_many

if TYPE_CHECKING:  # start-up: `status` and `plan` run nothing
    from retouch.cli.workspace import Workspace
    from retouch.engine.outside import Outside
    from retouch.engine.paying_again import PayingAgain
    from retouch.engine.selection import LaneCount
    from retouch.engine.summary import Summary
    from retouch.errors import RetouchError
    from retouch.ledger.state import Replay


MISSING_NAMED = 3


def outside_text(tasks: int, held: int) -> str:
    """What is open outside the plan, in a sentence; "" where nothing is."""
    parts = [f"{how_many(tasks, 'task')} on file, which `retouch run` fetches, free"]
    parts = parts if tasks else []
    if held:
        parts.append(f"{how_many(held, 'job')} held, which `retouch resolve` settles")
    return f"open, and not in the plan any more: {'; '.join(parts)}" if parts else ""


def say_outside(outside: Outside) -> None:
    """Tell of it, where there is any."""
    if text := outside_text(outside.tasks, outside.held):
        say(text)


def missing_texts(folder: Path) -> Iterator[str]:
    """Which shards' ledgers are not here although others of the same number are."""
    missing = missing_beside(ledgers_in(folder))
    if missing:
        names = ", ".join(each.ledger for each in missing[:MISSING_NAMED])
        more = f" and {len(missing) - MISSING_NAMED:,} more" if len(missing) > MISSING_NAMED else ""
        yield (
            f"not here: {names}{more}; these shards have not begun, or their ledgers are kept "
            "elsewhere, and what they did is not counted"
        )


def nothing_to_do(lanes: list[LaneCount]) -> int:
    """Say that nothing is to be sent, and what remains; returns the exit code."""
    there = sum(lane.done + lane.reused for lane in lanes)
    held, failed = sum(lane.held for lane in lanes), sum(lane.failed for lane in lanes)
    missing = sum(lane.missing for lane in lanes)
    rejected = sum(lane.rejected for lane in lanes)
    more = f", {rejected} rejected" if rejected else ""
    say(f"nothing to send: {there} done, {failed} failed, {held} held{more}")
    _say_what_remains(
        holds=_holds(lanes), waiting=0, failed=failed, missing=missing, rejected=rejected
    )
    return 1 if held or failed or rejected else 0


def tell_end(workspace: Workspace, lanes: list[LaneCount], summary: Summary, state: Replay) -> int:
    """Say what was done, what is left and why it stopped; returns the exit code."""
    ended = summary.ended
    parts = [f"{ended['done']} done"]
    parts += [f"{ended[word]} {word}" for word in ("failed", "unknown", "accepted") if ended[word]]
    reused = summary.passed["reused"]
    parts += [f"{reused} reused"] if reused else []
    lost = state.counts()["sent"]  # begun, and its end could not be written
    parts += [f"{lost} sent without a record of the answer"] if lost else []
    not_sent = sum(lane.to_send + lane.to_poll for lane in lanes) - sum(
        (lost, *(ended[word] for word in ("done", "failed", "unknown", "accepted")))
    )
    parts += [f"{not_sent} not sent"] if not_sent > 0 else []
    say(f"{', '.join(parts)}; pictures and ledger in {workspace.folder}")
    waiting = state.tasks_out
    holds = _holds(lanes)
    holds["unanswered"] += ended["unknown"] - summary.unknown_with_task
    _say_what_remains(
        holds=holds,
        waiting=waiting,
        failed=summary.passed["failed"] + ended["failed"],
        missing=sum(lane.missing for lane in lanes),
        rejected=summary.passed["rejected"],
    )
    _say_what_was_paid_again(summary.again)
    if summary.stopped is not None:
        _say_stop(summary.stopped)
    for model, error in summary.lane_stops.items():
        _say_stop(error, f"; {_left(lanes, summary, model)} of its jobs are left")
    return summary.exit_code


def _say_what_was_paid_again(again: PayingAgain) -> None:
    """What the manifest let the run pay for again, knowingly."""
    if again.up_to is not None and (again.jobs or again.held):
        held = f"; {again.held:,} more are held, for the sum does not reach" if again.held else ""
        say(
            f"{how_many(again.jobs, 'job')} sent again though perhaps charged already "
            f"(run.on_unknown): {again.spent} of {again.up_to}{held}"
        )
    if again.empties_sent:
        say(
            f"{how_many(again.empties_sent, 'answer')} without a picture paid for and sent again "
            "(run.retry_empty)"
        )


def _left(lanes: list[LaneCount], summary: Summary, model: str) -> int:
    """How many Jobs of a lane the next run has to do."""
    there = sum(each.to_send + each.to_poll for each in lanes if each.lane.model.name == model)
    return there - summary.settled[model]


def _say_stop(error: RetouchError, left: str = "") -> None:
    say(f"retouch: {error.message}{left}" + (f"\n\nhint: {error.hint}" if error.hint else ""))


def _holds(lanes: list[LaneCount]) -> Counter[HoldReason]:
    """Why Jobs are held, counted."""
    return sum((lane.holds for lane in lanes), Counter[HoldReason]())


def held_texts(holds: Counter[HoldReason]) -> Iterator[str]:
    """What is held and why, and what to do about it, a sentence each."""
    if held := holds["unanswered"]:
        yield (
            f"{how_many(held, 'job')} may have been charged without an answer: `retouch resolve` "
            "settles that, `--redo unknown` sends (and may pay) again"
        )
    if held := holds["older_copy"]:
        yield (
            f"{how_many(held, 'job')} held: a picture lies at its place and this ledger does not "
            "know it. Is this an older copy? Put the newest ledger back; or `retouch resolve "
            "--charged` keeps such pictures, `--not-charged` buys new ones"
        )
    if held := holds["elsewhere"]:
        yield (
            f"{how_many(held, 'job')} held: a ledger that `reuse` names has the work in flight, "
            "unknown, charged, or done without its picture. Finish or settle it there; `--redo "
            "KEY` pays again"
        )
    if held := holds["salvaged"]:
        yield (
            f"{how_many(held, 'job')} held: lines of the salvaged ledger are lost, and any job may "
            "stand in them. `retouch resolve --all --not-charged` says that none does; `--redo "
            "KEY` sends one"
        )


def _say_what_remains(
    *, holds: Counter[HoldReason], waiting: int, failed: int, missing: int, rejected: int
) -> None:
    for text in held_texts(holds):
        say(text)
    if waiting:
        say(f"{how_many(waiting, 'task')} on file: run again to fetch what is paid for, free")
    if failed:
        say(
            f"{how_many(failed, 'job')} failed: the next run sends again what may pass, "
            "`--redo failed` all"
        )
    if rejected:
        say(
            f"{how_many(rejected, 'job')} rejected and held: `--redo rejected` has another "
            "picture made, and pays for it"
        )
    if missing:
        say(
            f"{how_many(missing, 'done job')} without a picture on disk: `--redo missing` pays "
            "for it again"
        )
