"""What is told while a run goes on: each threshold once, and never at the run's cost."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from retouch.engine.budget import Cap, Purse
from retouch.engine.notices import NOTICE_SECONDS, NOTIFIED_FILE, Ending, Notice, Notices, Subject
from retouch.errors import BudgetReached, StorageFailed
from retouch.money import Money
from tests.support.virtual import run_in_virtual_time

AT = ("80%", "100%", "end")
KEY = "sk-canary-0123456789abcdef"


def _cny(amount: str | Decimal) -> Money:
    return Money(Decimal(amount), "CNY")


def _total(counted: str = "0", limit: str = "10", name: str = "the budget in total") -> Cap:
    return Cap(name, _cny(limit), Decimal(counted), counts_history=True)


@dataclass
class Told:
    """A receiver, and all it was told."""

    answer: Callable[[], Awaitable[str | None]] | None = None
    documents: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    async def deliver(self, notice: Notice) -> str | None:
        self.documents.append(json.loads(notice.document))
        return await self.answer() if self.answer else None

    @property
    def at(self) -> list[str]:
        return [each["at"] for each in self.documents]

    def notices(self, folder: Path, at: tuple[str, ...] = AT, **more: Any) -> Notices:
        subject = Subject("cats", "run-1", (KEY,))
        return Notices(at, subject, folder, self.deliver, self.said.append, **more)


async def _spend(notices: Notices, *caps: Cap, costs: list[str], wait: float = 1) -> None:
    """A run whose requests cost so much, one after the other."""
    purse = Purse(list(caps), watch=notices.watch, today=lambda: "2026-11-29")
    for cap in caps:
        notices.watch(cap)
    async with notices.sending():
        for cost in costs:
            try:
                reservation = await purse.reserve("gemini", _cny(cost))
            except BudgetReached:
                return
            with purse.holding(reservation):
                reservation.settle(_cny(cost))
            await anyio.sleep(wait)


def _run(main: Callable[[], Awaitable[None]]) -> None:
    run_in_virtual_time(main, seed=0)


def test_each_threshold_is_told_once_when_it_is_passed(tmp_path: Path) -> None:
    """80 % at exactly eight of ten; 100 % where a request does not fit any more."""
    told = Told()
    _run(lambda: _spend(told.notices(tmp_path), _total(), costs=["2"] * 4 + ["0.5", "0.5", "3"]))
    assert told.at == ["80%", "100%"]
    eighty, full = (each["budget"] for each in told.documents)
    assert (eighty["counted"], eighty["limit"]) == ("8.000000", "10.000000")
    assert (full["counted"], full["left"]) == ("9.000000", "1.000000")
    assert told.said == []


def test_two_passed_at_once_are_told_as_the_higher_one(tmp_path: Path) -> None:
    told = Told()
    _run(lambda: _spend(told.notices(tmp_path), _total(), costs=["10"]))
    assert told.at == ["100%"]


def test_a_resumed_run_does_not_tell_again(tmp_path: Path) -> None:
    """Over runs of one budget; one that is raised is another one, and so is a day's next day."""
    told = Told()
    _run(lambda: _spend(told.notices(tmp_path), _total(), costs=["8.5"]))
    _run(lambda: _spend(told.notices(tmp_path), _total("8.5"), costs=["0.1"]))
    assert told.at == ["80%"]
    _run(lambda: _spend(told.notices(tmp_path), _total("8.6", limit="10.5"), costs=["0.1"]))
    assert told.at == ["80%", "80%"]
    for day in ("2026-11-29", "2026-11-29", "2026-11-30"):
        cap = Cap("the budget for a day", _cny("1"), counts_history=True, day=day)
        _run(lambda cap=cap: _spend(told.notices(tmp_path), cap, costs=["0.9"]))  # type: ignore[misc]
    assert told.at == ["80%"] * 4
    assert len(json.loads((tmp_path / NOTIFIED_FILE).read_text())) == 3


def test_a_budget_for_one_run_is_anew_in_the_next(tmp_path: Path) -> None:
    """Its counting begins at nothing, so it is told in each."""
    told = Told()
    for _ in range(2):
        cap = Cap("the budget for one run", _cny("1"))
        _run(lambda cap=cap: _spend(told.notices(tmp_path), cap, costs=["0.9"]))  # type: ignore[misc]
    assert told.at == ["80%", "80%"]
    assert not (tmp_path / NOTIFIED_FILE).exists()


def test_what_a_crash_kept_from_being_told_is_told_by_the_next_run(tmp_path: Path) -> None:
    """Nothing on file, and 85 % counted when it begins."""
    told = Told()
    _run(lambda: _spend(told.notices(tmp_path), _total("8.5"), costs=["0.1"]))
    assert told.at == ["80%"]


async def _never() -> str | None:
    await anyio.sleep(3600)
    return None


async def _refused() -> str | None:
    raise OSError("the hook is broken")


async def _unwilling() -> str | None:
    return "hooks.example.com: HTTP 500"


@pytest.mark.parametrize("answer", [_never, _refused, _unwilling])
def test_a_hook_that_fails_is_tried_once_a_threshold_and_said_once(
    tmp_path: Path, answer: Callable[[], Awaitable[str | None]]
) -> None:
    """The run takes as long as without it, but for its end."""
    told = Told(answer)

    async def main() -> None:
        begin = anyio.current_time()
        await _spend(told.notices(tmp_path), _total(), costs=["8.5", "1", "0.5"], wait=30)
        assert anyio.current_time() - begin <= 90 + NOTICE_SECONDS

    _run(main)
    assert told.at == ["80%", "100%"]
    assert len(told.said) == 1
    assert told.said[0].startswith("run.notify: ")


def test_the_end_waits_for_a_slow_hook_only_so_long(tmp_path: Path) -> None:
    """Several are due when the run ends: the last one may be lost, the run is not."""
    told = Told(_never)

    async def main() -> None:
        begin = anyio.current_time()
        caps = [_total(name=f"the budget of {name}") for name in "abcd"]
        await _spend(told.notices(tmp_path), *caps, costs=["9"], wait=0)
        assert anyio.current_time() - begin <= NOTICE_SECONDS + 1

    _run(main)
    assert told.documents


def test_no_secret_and_no_signature_goes_out(tmp_path: Path) -> None:
    """Nor what a terminal would obey."""
    told = Told()
    notices = told.notices(tmp_path, is_virtual=True)
    reason = StorageFailed(f"\x1b[2J{KEY} https://u:p@h.example/x.png?Signature=abc&e=1")
    ending = Ending("stopped", 5, {"done": 2}, {"CNY": _cny("0.5")}, {"CNY": _cny("0.2")}, reason)
    _run(lambda: notices.end(ending))
    [found] = told.documents
    whole = json.dumps(found)
    assert not any(word in whole for word in (KEY, "Signature=abc", "u:p@"))
    assert "\x1b" not in found["text"]
    assert found["virtual"] is True
    assert found["text"].startswith("cats: stopped (")
    assert found["text"].endswith(
        "2 done; 0.5000 CNY confirmed, up to 0.2000 CNY unknown (virtual)"
    )
    assert (found["exit_code"], found["cost"]["confirmed"]) == (5, {"CNY": "0.500000"})


def test_nothing_is_told_that_was_not_asked_for(tmp_path: Path) -> None:
    told = Told()
    notices = told.notices(tmp_path, at=("50%",))
    _run(lambda: _spend(notices, _total(), costs=["4", "2", "4"]))
    _run(lambda: notices.end(Ending("finished", 0, {}, {}, {})))
    assert told.at == ["50%"]


def test_a_file_that_cannot_be_written_harms_nothing(tmp_path: Path) -> None:
    """It is told all the same, and said."""
    (tmp_path / NOTIFIED_FILE).mkdir()
    told = Told()
    _run(lambda: _spend(told.notices(tmp_path), _total(), costs=["9"]))
    assert told.at == ["80%"]
    assert len(told.said) == 1


# --- Documents, whole ----------------------------------------------------------------------------


def without_time(document: dict[str, Any]) -> dict[str, Any]:
    """A document but for its moment, which is one of now."""
    assert document["time"].endswith("Z")
    moment = datetime.strptime(document.pop("time"), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)
    return document


def test_the_document_of_a_budget_says_all_of_it(tmp_path: Path) -> None:
    """Which, of what model and day, how much, in amounts with six digits."""
    told = Told()
    cap = Cap(
        "the budget of gemini", _cny("10"), counts_history=True, day="2026-11-29", model="gemini"
    )
    _run(lambda: _spend(told.notices(tmp_path), cap, costs=["8.25"]))
    [found] = told.documents
    assert without_time(found) == {
        "event": "budget",
        "at": "80%",
        "text": "cats: 80 % of the budget of gemini are passed: 8.25 CNY of 10.00 CNY counted",
        "manifest": "cats",
        "run": "run-1",
        "virtual": False,
        "budget": {
            "name": "the budget of gemini", "model": "gemini", "day": "2026-11-29",
            "currency": "CNY", "limit": "10.000000", "counted": "8.250000", "left": "1.750000",
        },
    }  # fmt: skip
    assert list(found) == ["event", "at", "text", "manifest", "run", "virtual", "budget"]


def test_the_document_of_a_budget_that_is_reached(tmp_path: Path) -> None:
    """Nothing is left of it, also where more was counted; virtual money is said to be."""
    told = Told()
    notices = told.notices(tmp_path, is_virtual=True)
    _run(lambda: _spend(notices, _total("10.5"), costs=["1"]))
    [found] = told.documents
    assert without_time(found) == {
        "event": "budget",
        "at": "100%",
        "text": "cats: the budget in total is reached: 10.50 CNY of 10.00 CNY counted "
        "(virtual)",
        "manifest": "cats",
        "run": "run-1",
        "virtual": True,
        "budget": {
            "name": "the budget in total", "model": None, "day": None, "currency": "CNY",
            "limit": "10.000000", "counted": "10.500000", "left": "0.000000",
        },
    }  # fmt: skip


def _ended(told: Told, folder: Path, ending: Ending) -> dict[str, Any]:
    _run(lambda: told.notices(folder).end(ending))
    return without_time(told.documents[-1])


def test_the_document_of_an_end_says_all_of_it(tmp_path: Path) -> None:
    """Every count and every currency; what is unknown beside what is confirmed."""
    usd = Money(Decimal("1.5"), "USD")
    ending = Ending(
        "finished", 1, {"failed": 1200, "done": 3}, {"CNY": _cny("0.5"), "USD": usd},
        {"CNY": _cny("0.2"), "USD": usd},
    )  # fmt: skip
    assert _ended(Told(), tmp_path, ending) == {
        "event": "end",
        "at": "end",
        "text": "cats: finished: 3 done, 1,200 failed; 0.5000 CNY, 1.50 USD confirmed, up to "
        "0.2000 CNY unknown, up to 1.50 USD unknown",
        "manifest": "cats",
        "run": "run-1",
        "virtual": False,
        "outcome": "finished",
        "exit_code": 1,
        "counts": {"failed": 1200, "done": 3},
        "cost": {
            "confirmed": {"CNY": "0.500000", "USD": "1.500000"},
            "unknown_high": {"CNY": "0.200000", "USD": "1.500000"},
        },
        "reason": None,
    }


def test_the_document_of_an_end_without_work_and_of_one_with_a_reason(tmp_path: Path) -> None:
    found = _ended(Told(), tmp_path, Ending("finished", 0, {}, {}, {}))
    assert found["text"] == "cats: finished: no jobs; nothing confirmed"
    assert (found["counts"], found["cost"]) == ({}, {"confirmed": {}, "unknown_high": {}})
    reason = BudgetReached("the budget is reached")
    found = _ended(Told(), tmp_path, Ending("stopped", 6, {"done": 1}, {}, {}, reason))
    assert found["text"] == "cats: stopped (the budget is reached): 1 done; nothing confirmed"
    assert (found["reason"], found["exit_code"]) == ("the budget is reached", 6)


def test_what_was_told_is_on_file_by_budget_and_day(tmp_path: Path) -> None:
    """In order; a day's marks give way to the next day's, another budget's stay, and all of it can
    be read by people."""

    def told_of(*caps: Cap) -> list[dict[str, Any]]:
        _run(lambda: _spend(Told().notices(tmp_path), *caps, costs=[]))
        text = (tmp_path / NOTIFIED_FILE).read_text()
        assert text == json.dumps(json.loads(text), indent=2) + "\n"
        found: list[dict[str, Any]] = json.loads(text)
        return found

    def mark(budget: str, limit: str, day: str | None, percent: int) -> dict[str, Any]:
        return {"budget": budget, "limit": limit, "day": day, "percent": percent}

    def daily(day: str) -> Cap:
        return Cap("b", _cny("1"), Decimal("0.9"), counts_history=True, day=day)

    first = [
        mark("a", "10.000000 CNY", None, 80), mark("a", "10.000000 CNY", None, 100),
        mark("b", "1.000000 CNY", "2026-11-29", 80),
    ]  # fmt: skip
    assert told_of(daily("2026-11-29"), _total("10", name="a")) == first
    assert told_of(daily("2026-11-29"), _total("10", name="a")) == first
    second = [*first[:2], mark("b", "1.000000 CNY", "2026-11-30", 80)]
    assert told_of(daily("2026-11-30")) == second
    assert told_of(_total("8.4", "10.5", name="a")) == [
        *first[:2], mark("a", "10.500000 CNY", None, 80), second[2],
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "no JSON", "{}", '[{"budget": 5}]', "[1]", "\x00"])
def test_a_file_that_says_nothing_is_as_none(tmp_path: Path, text: str) -> None:
    """And is written anew."""
    (tmp_path / NOTIFIED_FILE).write_text(text)
    told = Told()
    _run(lambda: _spend(told.notices(tmp_path), _total(), costs=["9"]))
    assert told.at == ["80%"]
    assert json.loads((tmp_path / NOTIFIED_FILE).read_text()) == [
        {"budget": "the budget in total", "limit": "10.000000 CNY", "day": None, "percent": 80}
    ]


def test_a_file_may_be_called_otherwise(tmp_path: Path) -> None:
    told = Told()
    notices = told.notices(tmp_path, file="notified.1-of-2.json")
    _run(lambda: _spend(notices, _total(), costs=["9"]))
    assert (tmp_path / "notified.1-of-2.json").exists()
    assert not (tmp_path / NOTIFIED_FILE).exists()


def test_a_notice_that_is_not_taken_is_said_in_one_line(tmp_path: Path) -> None:
    """With the reason; the first alone."""

    async def refused() -> str | None:
        return f"hooks.example.com: HTTP 500\n{KEY}"

    told = Told(refused)
    _run(lambda: _spend(told.notices(tmp_path), _total(), costs=["8.5", "1.5"], wait=30))
    [said] = told.said
    assert said.startswith("run.notify: hooks.example.com: HTTP 500 ")
    assert said.endswith("; the run goes on")
    assert KEY not in said


def test_a_notice_that_takes_too_long_is_said(tmp_path: Path) -> None:
    told = Told(_never)
    _run(lambda: told.notices(tmp_path).end(Ending("finished", 0, {}, {}, {})))
    assert told.said == ["run.notify: not taken within 10 s; the run goes on"]


@pytest.mark.parametrize(
    ("counted", "limit", "is_told"),
    [("7.999999", "10", False), ("8", "10", True), ("0", "0", False), ("0.8", "1", True)],
)
def test_a_threshold_is_passed_at_its_very_amount(
    tmp_path: Path, counted: str, limit: str, is_told: bool
) -> None:
    """Of a budget of nothing none is."""
    told = Told()
    notices = told.notices(tmp_path, at=("80%",))
    _run(lambda: _spend(notices, _total(counted, limit), costs=[]))
    assert bool(told.documents) == is_told


def test_thresholds_are_told_highest_first_and_lower_ones_never_after(tmp_path: Path) -> None:
    """Whatever their order in the manifest, and each word once."""
    told = Told()
    notices = told.notices(tmp_path, at=("90%", "50%", "90%", "100%", "end"))
    _run(lambda: _spend(notices, _total(), costs=["9", "0.5", "0.5"]))
    assert told.at == ["90%", "100%"]
