"""The forecast: what a plan's Jobs would cost, and from which ledgers that is known."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from retouch.cli.workspace import make_plan, open_workspace
from retouch.costs.allowance import Need
from retouch.engine.forecast import LaneForecast, forecast_lanes, highest, neighbours
from retouch.engine.outputs import Outputs
from retouch.engine.selection import Selection
from retouch.job import Job
from retouch.ledger import read
from retouch.ledger.records import AnyRecord
from retouch.ledger.state import Replay
from retouch.money import Money
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


# --- Whole values --------------------------------------------------------------------------------


def test_a_forecast_is_the_same_whoever_listens(cats: Priced) -> None:
    """New Jobs are counted and estimated without being made, or one by one: alike, also of some."""
    cats.write(prompt="'a {stem} of its own'", n=2)
    for limit in (None, 3, 1):
        quick, slow = _forecast(cats, limit=limit), _forecast(cats, limit=limit, heard=[])
        assert (quick.estimate, quick.seconds, quick.ceiling) == (
            slow.estimate, slow.seconds, slow.ceiling,
        )  # fmt: skip
        for name in ("to_send", "reasons", "duplicates", "done", "held"):
            assert getattr(quick.count, name) == getattr(slow.count, name)
        assert quick.count.reasons == Counter(new=PICTURES)


def test_reasons_stand_in_their_order(cats: Priced) -> None:
    """By their words, however the plan's Jobs come."""
    cats.fill([was_done, is_unknown])
    cats.write(prompt="make it black")
    found = _forecast(cats, heard=[])
    assert list(found.count.reasons.items()) == [("new", 3), ("prompt changed", 2)]


def test_a_lanes_need_is_told_by_the_job(cats: Priced) -> None:
    """Likely and at most, in its own currency alone; what nobody can say is None."""
    cats.write(price="{currency: CNY, per_image: 0.25}")
    found = _forecast(cats)
    assert found.need("CNY") == Need(5, Decimal("0.25"), Decimal("0.25"))
    assert found.need("USD") == Need(5, None, None)
    assert LaneForecast(found.count, found.estimate, None, None).need("CNY") == Need(
        5, Decimal("0.25"), None
    )
    unsure = replace(found.estimate, cost=replace(found.estimate.cost, likely=None))
    assert replace(found, estimate=unsure).need("CNY") == Need(5, None, Decimal("0.25"))
    cats.write(price="null")
    assert _forecast(cats).need("CNY") == Need(5, None, None)
    cats.fill([was_done] * PICTURES)
    assert _forecast(cats).need("CNY") == Need(0, None, None)


def test_what_all_lanes_may_cost_is_summed_by_currency(tmp_path: Path) -> None:
    """Lanes that send nothing add nothing, and are not unsure."""
    found = []
    for number, price in enumerate([
        "{currency: CNY, per_image: 0.25}", "{currency: USD, per_image: 1}",
        "{currency: CNY, per_image: 1}", "null",
    ]):  # fmt: skip
        (tmp_path / f"{number}").mkdir()
        cats = priced(tmp_path / f"{number}", 2)
        cats.write(price=price)
        found.append(_forecast(cats))
    idle = priced(_new(tmp_path / "idle"), 1)
    idle.write(price="null")
    idle.fill([was_done])
    sums, unsure = highest([*found, _forecast(idle)])
    assert sums == {"CNY": Money(Decimal("2.5"), "CNY"), "USD": Money(Decimal(2), "USD")}
    assert unsure == ["gemini-2.5-flash-image"]
    assert highest([]) == ({}, [])


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_history_of_neighbours_makes_the_estimate(cats: Priced) -> None:
    """Where one's own ledger has too little: an Attempt's counts at today's price."""
    records: list[AnyRecord] = [begins()]
    for number in range(100, 130):
        records += [started(number), done(number)]
    other = read(write(cats.folder / "other.jsonl", records))
    found = _forecast(cats, others=[other])
    assert found.estimate.cost.likely == PICTURES * Decimal("0.2715321")
    assert _forecast(cats).estimate != found.estimate


def test_parts_of_a_neighbours_ledger_are_one(tmp_path: Path) -> None:
    """Read together, once; one's own parts are not read at all, nor what lies deeper."""
    root = tmp_path / "outputs"
    for folder in ("own", "shards", "deep/er"):
        (root / folder).mkdir(parents=True)
    own = write(root / "own/ledger.1-of-2.jsonl", [begins(), started(1), done(1)])
    write(root / "own/ledger.2-of-2.jsonl", [begins(), started(2), done(2)])
    write(root / "shards/ledger.1-of-2.jsonl", [begins(), started(3), done(3)])
    write(root / "shards/ledger.2-of-2.jsonl", [begins(), started(4), done(4)])
    write(root / "deep/er/ledger.jsonl", [begins(), started(5), done(5)])
    reused = write(tmp_path / "elsewhere/ledger.jsonl", [begins(), started(6), done(6)])
    found = list(neighbours(own, root, [reused, reused], "qiniu"))
    assert [set(state.outcomes) for state in found] == [
        {done(3).key, done(4).key}, {done(6).key},
    ]  # fmt: skip
    assert list(neighbours(own, root, [], "another")) == []
