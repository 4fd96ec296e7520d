"""What a run says at its end: what was done, what is left, why it stopped, and what to do."""

from __future__ import annotations

from retouch.cli.output import say
from retouch.cli.workspace import Workspace
from retouch.engine.paying_again import PayingAgain
from retouch.engine.selection import LaneCount
from retouch.engine.summary import Summary
from retouch.errors import RetouchError
from retouch.text import how_many


def nothing_to_do(lanes: list[LaneCount]) -> int:
    """Say that nothing is to be sent, and what remains; returns the exit code."""
    there = sum(lane.done + lane.reused for lane in lanes)
    held, failed = sum(lane.held for lane in lanes), sum(lane.failed for lane in lanes)
    missing = sum(lane.missing for lane in lanes)
    rejected = sum(lane.rejected for lane in lanes)
    more = f", {rejected} rejected" if rejected else ""
    say(f"nothing to send: {there} done, {failed} failed, {held} held{more}")
    _say_what_remains(held=held, failed=failed, missing=missing, rejected=rejected)
    return 1 if held or failed or rejected else 0


def tell_end(workspace: Workspace, lanes: list[LaneCount], summary: Summary) -> int:
    """Say what was done, what is left and why it stopped; returns the exit code."""
    ended = summary.ended
    parts = [f"{ended['done']} done"]
    parts += [f"{ended[word]} {word}" for word in ("failed", "unknown", "accepted") if ended[word]]
    reused = summary.passed["reused"]
    parts += [f"{reused} reused"] if reused else []
    not_sent = sum(lane.to_send + lane.to_poll for lane in lanes) - sum(
        ended[word] for word in ("done", "failed", "unknown", "accepted")
    )
    parts += [f"{not_sent} not sent"] if not_sent > 0 else []
    say(f"{', '.join(parts)}; pictures and ledger in {workspace.folder}")
    _say_what_remains(
        held=summary.passed["held"] + ended["unknown"],
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
    there = sum(each.to_send + each.to_poll for each in lanes if each.lane.model.model == model)
    return there - summary.settled[model]


def _say_stop(error: RetouchError, left: str = "") -> None:
    say(f"retouch: {error.message}{left}" + (f"\n\nhint: {error.hint}" if error.hint else ""))


def _say_what_remains(*, held: int, failed: int, missing: int, rejected: int) -> None:
    if held:
        say(
            f"{how_many(held, 'job')} may have been charged without an answer: `retouch resolve` "
            "settles that, `--redo unknown` sends (and may pay) again"
        )
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
