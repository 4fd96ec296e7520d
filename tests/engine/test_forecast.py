"""The forecast: what a plan's Jobs would cost, and from which ledgers that is known."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from retouch.cli.workspace import make_plan, open_workspace
from retouch.engine.forecast import LaneForecast, forecast_lanes, highest, neighbours
from retouch.engine.outputs import Outputs
from retouch.engine.selection import Selection
from retouch.job import Job
from retouch.ledger import read
from retouch.ledger.records import AnyRecord
from retouch.ledger.state import Replay
from tests.support.ledgers import begins, done, started, write
from tests.support.priced import Priced, is_unknown, priced, was_done

PICTURES = 5


@pytest.fixture
def cats(tmp_path: Path) -> Priced:
    return priced(tmp_path, PICTURES)


def _forecast(
    cats: Priced,
    *,
    limit: int | None = None,
    others: list[Replay] | None = None,
    heard: list[tuple[Job, str]] | None = None,
) -> LaneForecast:
    workspace = open_workspace(cats.manifest, cats.outputs, rehearse=False)
    listener = None if heard is None else lambda job, reason: heard.append((job, reason))
    [found] = forecast_lanes(
        make_plan(workspace),
        Selection(read(cats.ledger), Outputs(workspace.folder)),
        workspace.prices,
        others or (),
        limit=limit,
        on_send=listener,
    )
    return found


def test_what_is_done_or_held_is_not_estimated(cats: Priced) -> None:
    """One done, one unknown: three of five are sent, and three are what it costs at most."""
    cats.write(price="{currency: CNY, per_image: 0.25}")
    cats.fill([was_done, is_unknown])
    found = _forecast(cats)
    assert (found.count.to_send, found.count.held) == (3, 1)
    assert found.estimate.cost.high == Decimal("0.75")


def test_of_a_lane_at_most_the_limit_is_estimated_and_all_are_counted(cats: Priced) -> None:
    """`--limit` bounds the cost that is confirmed, not what the plan says is to be sent."""
    cats.write(price="{currency: CNY, per_image: 0.25}")
    found = _forecast(cats, limit=2)
    assert found.count.to_send == PICTURES
    assert found.estimate.cost.likely == Decimal("0.50")


def test_each_job_to_be_sent_is_told_once_with_its_reason(cats: Priced) -> None:
    """What `plan --explain` lists: neither the done nor the held."""
    done_job, held_job, *rest = cats.fill([was_done, is_unknown])
    heard: list[tuple[Job, str]] = []
    found = _forecast(cats, heard=heard)
    assert [job.key for job, _ in heard] == [job.key for job in rest]
    assert sum(found.count.reasons.values()) == len(rest)
    assert {reason for _, reason in heard} == set(found.count.reasons)
    assert not {done_job.key, held_job.key} & {job.key for job, _ in heard}


def test_neighbours_are_asked_only_where_the_ledger_tells_too_little(cats: Priced) -> None:
    """A ledger with history of its own reads no other: they may be many and large."""

    def asked() -> Replay:
        raise AssertionError("a neighbour was read")

    workspace = open_workspace(cats.manifest, cats.outputs, rehearse=False)
    records: list[AnyRecord] = [begins()]
    for number in range(100, 160):
        records += [started(number), done(number)]
    write(cats.ledger, records)
    selection = Selection(read(cats.ledger), Outputs(workspace.folder))
    plan = make_plan(workspace)
    forecast_lanes(plan, selection, workspace.prices, (asked() for _ in range(1)))
    cats.ledger.unlink()
    bare = Selection(read(cats.ledger), Outputs(workspace.folder))
    with pytest.raises(AssertionError, match="a neighbour was read"):
        forecast_lanes(plan, bare, workspace.prices, (asked() for _ in range(1)))


def test_a_model_without_a_price_is_named_and_adds_to_no_sum(cats: Priced) -> None:
    """The most that a run may cost is not said where a part of it is not known."""
    cats.write(price="null")
    sums, unsure = highest([_forecast(cats)])
    assert (sums, unsure) == ({}, ["gemini-2.5-flash-image"])


def test_neighbours_are_the_readable_ledgers_of_the_same_provider(tmp_path: Path) -> None:
    """Left out: one's own, another provider's, a damaged one; each is read once."""
    own = write(tmp_path / "own" / "ledger.jsonl", [begins()])
    same = write(tmp_path / "same" / "ledger.jsonl", [begins(), started(1), done(1)])
    write(tmp_path / "virtual" / "ledger.jsonl", [begins("rehearsal"), started(2), done(2)])
    damaged = tmp_path / "damaged" / "ledger.jsonl"
    damaged.parent.mkdir()
    damaged.write_bytes(b"{}\n" + same.read_bytes())
    found = list(neighbours(own, tmp_path, [same, tmp_path / "none.jsonl"], "qiniu"))
    assert [list(state.outcomes) for state in found] == [[done(1).key]]
